//! The memory and the descriptors of a running netmon over time.

use std::fs;

use anyhow::Context;

/// The difference of memory that is allowed, in parts of a hundred.
const PERCENT: u64 = 3;
/// Samples of a lasting difference: a conversion to Parquet takes memory for a second.
const LASTING: usize = 3;
/// The growth of the number of descriptors that is allowed: each dump opens a few.
const DESCRIPTORS: u64 = 2;

/// The samples of one process.
pub(super) struct Gauge {
    name: &'static str,
    pid: u32,
    /// Resident memory, KiB.
    memory: Vec<u64>,
    descriptors: Vec<u64>,
}

impl Gauge {
    pub(super) fn new(name: &'static str, pid: u32) -> Self {
        Self { name, pid, memory: Vec::new(), descriptors: Vec::new() }
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self) -> anyhow::Result<()> {
        let path = format!("/proc/{}", self.pid);
        let status = fs::read_to_string(format!("{path}/status")).context("its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        self.memory.push(kilobytes.context("its memory")?);
        let descriptors = fs::read_dir(format!("{path}/fd")).context("its descriptors")?;
        self.descriptors.push(descriptors.count() as u64);
        Ok(())
    }

    /// Returns the last sample as text.
    pub(super) fn last(&self) -> String {
        let last = |values: &[u64]| values.last().copied().unwrap_or(0);
        let (memory, descriptors) = (last(&self.memory), last(&self.descriptors));
        format!("{} {}, {descriptors} descriptors", self.name, mebibytes(memory))
    }

    /// Prints the samples of the last half. Returns the growth that is too much.
    pub(super) fn judge(&self) -> Vec<String> {
        let (memory, descriptors) = (Half::of(&self.memory), Half::of(&self.descriptors));
        let [least, median, most] = [memory.least, memory.median, memory.most].map(mebibytes);
        println!("{}: memory {least} to {most}, median {median}", self.name);
        println!(
            "{}: {} to {} descriptors, median {}",
            self.name, descriptors.least, descriptors.most, descriptors.median
        );
        let mut faults = Vec::new();
        let limit = memory.least * (100 + PERCENT) / 100;
        let is_more = |samples: &[u64]| samples.iter().all(|sample| *sample > limit);
        if self.memory[self.memory.len() / 2..].windows(LASTING).any(is_more) {
            faults.push(format!("{}: memory is not steady: {:?} KiB", self.name, self.memory));
        }
        if descriptors.last_least > descriptors.least + DESCRIPTORS {
            faults.push(format!("{}: descriptors grow: {:?}", self.name, self.descriptors));
        }
        faults
    }
}

/// The last half of the samples, and its own last half.
struct Half {
    least: u64,
    median: u64,
    most: u64,
    last_least: u64,
}

impl Half {
    fn of(values: &[u64]) -> Self {
        let half = &values[values.len() / 2..];
        let last = &half[half.len() / 2..];
        let mut sorted = half.to_vec();
        sorted.sort_unstable();
        let least = |values: &[u64]| values.iter().copied().min().unwrap_or(0);
        let most = |values: &[u64]| values.iter().copied().max().unwrap_or(0);
        Self {
            least: least(half),
            median: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            most: most(half),
            last_least: least(last),
        }
    }
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{} MiB", kibibytes >> 10, ((kibibytes & 1023) * 10) >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(memory: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Gauge {
        let samples = || 0..60;
        Gauge {
            name: "record",
            pid: 0,
            memory: samples().map(memory).collect(),
            descriptors: samples().map(descriptors).collect(),
        }
    }

    #[test]
    fn a_start_and_short_peaks_are_no_growth() {
        let start = |sample: u64| 100_000 * sample.min(20);
        assert!(gauge(start, |sample| 60 + sample % 5).judge().is_empty());
    }

    #[test]
    fn a_short_peak_is_no_growth_but_a_lasting_one_is() {
        let peak = |samples: std::ops::Range<u64>| {
            move |sample: u64| if samples.contains(&sample) { 80_000 } else { 60_000 }
        };
        assert!(gauge(peak(40..42), |_| 60).judge().is_empty());
        assert_eq!(gauge(peak(42..45), |_| 60).judge().len(), 1);
    }

    #[test]
    fn steady_growth_is_found() {
        let faults = gauge(|sample| 50_000 + 500 * sample, |sample| 60 + sample / 4).judge();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
