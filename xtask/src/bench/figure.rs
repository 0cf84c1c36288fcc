//! Figures: measured values, their spread, and their targets.

use std::{fmt, fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

/// The bound that a figure has to meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(least) => measured >= least,
            Self::AtMost(most) => measured <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {}", Short(*least)),
            Self::AtMost(most) => write!(f, "≤ {}", Short(*most)),
        }
    }
}

/// Something that was measured in several rounds.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// The name and the unit of the figure.
    pub(super) what: String,
    pub(super) target: Option<Target>,
    /// Every round is judged, not the median.
    by_the_worst: bool,
    /// One for each round.
    rounds: Vec<f64>,
}

impl Figure {
    pub(super) fn new(what: impl Into<String>, mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        Self { what: what.into(), target: None, by_the_worst: false, rounds }
    }

    /// Returns the median as a share of its target: above 1, it misses the target.
    pub(super) fn share_of_target(&self) -> Option<f64> {
        let median = self.median();
        Some(match self.target? {
            Target::AtMost(0.0) => median,
            Target::AtMost(most) => median / most,
            Target::AtLeast(least) => least / median,
        })
    }

    pub(super) fn at_least(self, least: f64) -> Self {
        Self { target: Some(Target::AtLeast(least)), ..self }
    }

    pub(super) fn at_most(self, most: f64) -> Self {
        Self { target: Some(Target::AtMost(most)), ..self }
    }

    /// Returns the figure, to be judged by every round.
    pub(super) fn by_the_worst(self) -> Self {
        Self { by_the_worst: true, ..self }
    }

    /// Returns the median of the rounds; NaN without rounds.
    pub(super) fn median(&self) -> f64 {
        let middle = self.rounds.len() / 2;
        match self.rounds.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => self.rounds[middle],
            _ => (self.rounds[middle - 1] + self.rounds[middle]) / 2.0,
        }
    }

    fn range(&self) -> Option<(f64, f64)> {
        Some((*self.rounds.first()?, *self.rounds.last()?))
    }

    /// Returns `met` or `missed`, or nothing for a figure without a target.
    pub(super) fn verdict(&self) -> &'static str {
        let is_met = |target: Target| match self.by_the_worst {
            true => {
                !self.rounds.is_empty() && self.rounds.iter().all(|round| target.is_met(*round))
            }
            false => target.is_met(self.median()),
        };
        match self.target.map(is_met) {
            None => "",
            Some(true) => "met",
            Some(false) => "missed",
        }
    }

    fn cells(&self) -> [String; 6] {
        let range = self.range().filter(|_| self.rounds.len() > 1);
        [
            self.what.clone(),
            if self.rounds.is_empty() { "absent".into() } else { Short(self.median()).to_string() },
            range.map_or_else(String::new, |(least, most)| {
                format!("{}..{}", Short(least), Short(most))
            }),
            self.rounds.len().to_string(),
            self.target.map_or_else(String::new, |target| target.to_string()),
            self.verdict().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let target = self.target.map(|target| target.to_string());
        json!({
            "what": self.what, "median": self.median(), "rounds": self.rounds,
            "target": target, "verdict": self.verdict(),
        })
    }
}

/// A number with three significant digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            0.0 => 0,
            small if small < 0.1 => 4,
            small if small < 10.0 => 2,
            middle if middle < 100.0 => 1,
            _ => 0,
        };
        let text = format!("{:.digits$}", self.0);
        let is_fraction = text.contains('.');
        f.write_str(if is_fraction {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        })
    }
}

const HEADING: [&str; 6] = ["figure", "measured", "range", "rounds", "target", ""];

/// Formats the figures as a table in Markdown, which a terminal shows as well.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    let body: String = rows[1..].iter().map(line).collect();
    format!("{}|{rule}\n{body}", line(&rows[0]))
}

/// Writes the figures as JSON, with the description of the machine.
pub(super) fn write_json(figures: &[Figure], machine: &str, to: &Path) -> anyhow::Result<()> {
    let figures: Vec<Value> = figures.iter().map(Figure::json).collect();
    let text = serde_json::to_string_pretty(&json!({ "machine": machine, "figures": figures }))?;
    fs::write(to, text + "\n").with_context(|| format!("writing {}", to.display()))
}

/// Measures two things, which take turns in going first from round to round, so that a drift of the
/// machine favours neither.
pub(super) fn in_turn<A, B>(
    round: u32,
    one: impl FnOnce() -> anyhow::Result<A>,
    other: impl FnOnce() -> anyhow::Result<B>,
) -> anyhow::Result<(A, B)> {
    if round % 2 == 1 {
        return Ok((one()?, other()?));
    }
    let other = other()?;
    Ok((one()?, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_median() {
        let figure = Figure::new("ratio", vec![0.9, 0.2, 0.8]).at_least(0.8);
        assert_eq!((figure.median(), figure.verdict()), (0.8, "met"));
        let figure = Figure::new("ns", vec![10.0, 30.0]).at_most(19.9);
        assert_eq!((figure.median(), figure.verdict()), (20.0, "missed"));
        assert_eq!(Figure::new("nothing", vec![]).at_most(1.0).verdict(), "missed");
        assert_eq!(Figure::new("any", vec![1.0]).verdict(), "");
        let lost = Figure::new("lost", vec![0.0, 0.0, 5.0]).at_most(0.0);
        assert_eq!((lost.clone().verdict(), lost.by_the_worst().verdict()), ("met", "missed"));
    }

    #[test]
    fn numbers_are_short() {
        let short = |number| Short(number).to_string();
        assert_eq!(
            [short(0.0), short(0.0219), short(0.85), short(0.8)],
            ["0", "0.0219", "0.85", "0.8"]
        );
        assert_eq!([short(45.25), short(283.4), short(44_000.0)], ["45.2", "283", "44000"]);
    }
}
