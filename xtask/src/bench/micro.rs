//! `bench micro`: the cost of an event in user space, measured by `cargo bench`.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::Value;

use super::figure::Figure;
use crate::shell::{cargo, root, run};

/// The figures of the merge of few rings and of many, as the table names them.
pub(super) const MERGE_OF_2: &str = "merge of 2 rings: ns a record";
pub(super) const MERGE_OF_128: &str = "merge of 128 rings: ns a record";

/// Runs the benches of netmon; criterion keeps the results below `target/criterion`.
pub(super) fn measure() -> anyhow::Result<()> {
    run(cargo()
        .args(["bench", "--quiet", "--package", "netmon"])
        .args(["--bench", "events", "--bench", "journal"]))
}

/// Reads the results of the last run.
pub(super) fn figures() -> anyhow::Result<Vec<Figure>> {
    let apply = of("events", "decode and apply")?;
    let json = of("events", "decode, apply, JSON")?;
    let hand_over = of("journal", "decode, apply, hand over")?;
    let more: Vec<f64> = hand_over.iter().map(|ns| ns - middle(&apply)).collect();
    Ok(vec![
        Figure::new("user side, decode and apply: ns an event", apply).at_most(120.0),
        Figure::new("user side, decode, apply, JSON line: ns an event", json).at_most(320.0),
        Figure::new(
            "user side, decode, apply, text line: ns an event",
            of("events", "decode, apply, text")?,
        ),
        Figure::new("journal on the reader: ns an event", more).at_most(150.0),
        Figure::new("journal on its own thread: ns an event", of("journal", "write")?)
            .at_most(250.0),
        Figure::new("journal, read and applied again: ns an event", of("journal", "read, apply")?),
        Figure::new("filter of five terms: ns a row", of("filter", "five terms")?),
        Figure::new(MERGE_OF_2, of("merge", "2 rings")?),
        Figure::new("merge of 16 rings: ns a record", of("merge", "16 rings")?),
        Figure::new(MERGE_OF_128, of("merge", "128 rings")?).at_most(60.0),
    ])
}

fn middle(rounds: &[f64]) -> f64 {
    Figure::new("", rounds.to_vec()).median()
}

/// Reads the nanoseconds an element, one for each sample.
fn of(group: &str, name: &str) -> anyhow::Result<Vec<f64>> {
    // In criterion's names, characters that a file system does not take are underscores.
    let directory = root().join("target/criterion").join(group).join(name).join("new");
    let sample = json(&directory.join("sample.json"))?;
    let benchmark = json(&directory.join("benchmark.json"))?;
    let elements = benchmark["throughput"]["Elements"].as_f64().context("how many elements")?;
    let numbers = |key: &str| -> anyhow::Result<Vec<f64>> {
        let list = sample[key].as_array().with_context(|| format!("{key} of a sample"))?;
        Ok(list.iter().filter_map(Value::as_f64).collect())
    };
    let (times, iterations) = (numbers("times")?, numbers("iters")?);
    Ok(times
        .iter()
        .zip(iterations)
        .map(|(time, iterations)| time / iterations / elements)
        .collect())
}

fn json(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("{}: run `cargo xtask bench micro` first", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
