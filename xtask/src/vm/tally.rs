//! The outcomes of a machine's tests, from its output.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use anyhow::ensure;

use crate::run::KERNEL;

/// The line that a machine prints when every test has passed. Nothing else counts as success.
pub(super) const SUCCESS: &str = "netmon-vm: all tests passed";

/// Tests by their outcome.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    pub(super) ignored: usize,
    /// Tests that are reported to take long and have not ended.
    running: Vec<String>,
    /// Seconds by module; tests that ran side by side each count in full.
    modules: BTreeMap<String, f64>,
    succeeded: bool,
}

impl Tally {
    /// Adds the outcomes of another machine, with another part of the tests.
    pub(super) fn add(&mut self, other: Self) {
        let Self { passed, failed, ignored, running, modules, succeeded } = other;
        self.passed += passed;
        self.failed.extend(failed);
        self.ignored += ignored;
        self.running.extend(running);
        for (module, seconds) in modules {
            *self.modules.entry(module).or_default() += seconds;
        }
        self.succeeded &= succeeded;
    }

    /// Takes a line of the machine's output.
    pub(super) fn line(&mut self, line: &str) {
        self.succeeded |= line == SUCCESS;
        let Some(rest) = line.strip_prefix("test ") else { return };
        if let Some((name, _)) = rest.split_once(" has been running for") {
            self.running.push(name.to_owned());
            return;
        }
        // The output of a test may stand before its outcome, on the same line.
        let Some((name, outcome)) =
            rest.split_once(" ... ").filter(|(_, outcome)| !outcome.is_empty())
        else {
            return;
        };
        self.running.retain(|running| running != name);
        // "ok <1.234s>"
        let (outcome, seconds) = outcome.split_once(" <").unwrap_or((outcome, ""));
        let name = name.strip_prefix(KERNEL).unwrap_or(name);
        let module = name.split("::").next().unwrap_or(name);
        let seconds = seconds.trim_end_matches("s>").parse().unwrap_or(0.0);
        *self.modules.entry(module.to_owned()).or_default() += seconds;
        match outcome {
            "ok" => self.passed += 1,
            "ignored" => self.ignored += 1,
            _ => self.failed.push(name.to_owned()),
        }
    }

    /// Returns an error unless the run is a success. A skipped test counts as a failure: the
    /// kernels are there to be tested.
    pub(super) fn judge(&self, are_tests: bool) -> anyhow::Result<()> {
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        ensure!(self.ignored == 0, "{} tests were skipped", self.ignored);
        ensure!(
            self.succeeded,
            "the machine ended without the line '{SUCCESS}'; {}",
            if self.running.is_empty() {
                "no test was slow".to_owned()
            } else {
                format!("running were {}", self.running.join(", "))
            }
        );
        ensure!(!are_tests || self.passed > 0, "no test has such a name");
        Ok(())
    }

    /// Returns the seconds of each module, as text.
    pub(super) fn modules(&self) -> String {
        let mut text = String::new();
        for (module, seconds) in &self.modules {
            let _ = write!(text, " {module} {seconds:.0}");
        }
        text
    }
}

/// Formats a row of the table at the end.
pub(super) fn row(name: &str, release: &str, tally: &Tally, took: Duration) -> String {
    format!(
        "{name:<8} {release:<26} {:>6} {:>6} {:>7} {:>7.0}",
        tally.passed,
        tally.failed.len(),
        tally.ignored,
        took.as_secs_f64()
    )
}

/// Formats the heading of the table at the end.
pub(super) fn heading() -> String {
    let [passed, failed, skipped, seconds] = ["passed", "failed", "skipped", "seconds"];
    format!("{:<8} {:<26} {passed:>6} {failed:>6} {skipped:>7} {seconds:>7}", "kernel", "Linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_decides() {
        let mut tally = Tally::default();
        tally.line("test a::b ... ok <0.500s>");
        tally.line("test a::c ... ok");
        assert!(tally.judge(true).is_err());
        tally.line(SUCCESS);
        assert!(tally.judge(true).is_ok());
        assert_eq!((tally.passed, tally.modules().as_str()), (2, " a 0"));
        tally.line("test a::d ... ignored");
        assert!(tally.judge(true).is_err(), "skipped is failed");
        let mut whole = Tally::default();
        whole.line("test a::b ... ok <0.500s>");
        whole.line(SUCCESS);
        let mut second = Tally::default();
        second.line("test a::c ... ok <2.000s>");
        whole.add(second);
        assert!(whole.judge(true).is_err(), "the second machine has not ended");
        assert_eq!((whole.passed, whole.modules().as_str()), (2, " a 2"));
        let mut tally = Tally::default();
        tally.line("test a::b has been running for over 60 seconds");
        let error = tally.judge(true).expect_err("it never ended").to_string();
        assert!(error.contains("running were a::b"), "{error}");
    }

    #[test]
    fn no_test_is_no_success() {
        let mut tally = Tally::default();
        tally.line(SUCCESS);
        assert!(tally.judge(true).is_err());
        assert!(tally.judge(false).is_ok());
    }
}
