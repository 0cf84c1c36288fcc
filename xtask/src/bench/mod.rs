//! `bench`: figures that anyone can reproduce, each taken in alternation with its baseline.

mod churn;
mod snapshot;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Throughput of connection churn with `watch --json` against none
    Churn(churn::Churn),
    /// Time and memory of listings against those of `ss`, and whether they say the same
    Snapshot(snapshot::Snapshot),
}

pub(crate) fn bench(what: &Bench) -> anyhow::Result<()> {
    match what {
        Bench::Churn(churn) => churn.run(),
        Bench::Snapshot(snapshot) => snapshot.run(),
    }
}

/// The middle of numbers in order; of none, nothing.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}
