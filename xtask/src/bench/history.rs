//! History: one line for each whole run, and a plot of the shares of the targets.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{
    figure::Figure,
    plot::{Curve, Plot},
};

const FILE: &str = "history.jsonl";

/// Adds a run to the history in `directory`, and draws the plot anew.
pub(super) fn add(figures: &[Figure], machine: &str, directory: &Path) -> anyhow::Result<()> {
    let path = directory.join(FILE);
    let mut text = if path.exists() {
        fs::read_to_string(&path).with_context(|| path.display().to_string())?
    } else {
        String::new()
    };
    text.push_str(&format!("{}\n", line(figures, machine)));
    fs::write(&path, &text).with_context(|| path.display().to_string())?;
    plot(&text)?.write(directory)
}

/// The median of each figure that has a target, and its share of the target: 1 meets it just so.
fn line(figures: &[Figure], machine: &str) -> Value {
    let mut medians = Map::new();
    for figure in figures {
        if let Some(share) = figure.share_of_target() {
            medians.insert(
                figure.what.clone(),
                json!({ "median": figure.median(), "share_of_target": share }),
            );
        }
    }
    json!({ "machine": machine, "figures": medians })
}

/// A curve for each figure, over the runs.
fn plot(history: &str) -> anyhow::Result<Plot> {
    let mut curves: Vec<Curve> = Vec::new();
    for (run, line) in (1..).zip(history.lines()) {
        let line: Value = serde_json::from_str(line).with_context(|| format!("run {run}"))?;
        for (name, figure) in line["figures"].as_object().into_iter().flatten() {
            let Some(share) = figure["share_of_target"].as_f64() else { continue };
            let known = curves.iter().position(|curve| curve.name == *name);
            let place = known.unwrap_or_else(|| {
                curves.push(Curve::new(name));
                curves.len() - 1
            });
            curves[place].points.push((f64::from(run), share));
        }
    }
    // A share beyond this is a miss in any case, and would hide the others.
    const MOST: f64 = 3.0;
    for curve in &mut curves {
        curve.points.iter_mut().for_each(|(_, share)| *share = share.min(MOST));
    }
    Ok(Plot::new("history", "run", "share of the target (3 at most); above 1 misses it", curves))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_a_line_and_a_point_of_each_curve() {
        let directory = std::env::temp_dir().join(format!("netmon-history-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        for median in [50.0, 200.0] {
            let figures = [
                Figure::new("cost", vec![median]).at_most(100.0),
                Figure::new("ratio", vec![0.5]).at_least(1.0),
                Figure::new("without a target", vec![7.0]),
            ];
            add(&figures, "a machine", &directory).expect("added");
        }
        let text = fs::read_to_string(directory.join(FILE)).expect("the history");
        assert!(directory.join("history.svg").exists());
        fs::remove_dir_all(&directory).expect("removed");
        let shares: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let share = |run: usize, name: &str| &shares[run]["figures"][name]["share_of_target"];
        assert_eq!((share(0, "cost"), share(1, "cost")), (&json!(0.5), &json!(2.0)));
        assert_eq!(share(0, "ratio"), &json!(2.0));
        assert_eq!(share(0, "without a target"), &Value::Null);
    }
}
