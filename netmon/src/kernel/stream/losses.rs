//! Counts the losses that the kernel and the decoder report.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
    programs::Program,
};
use netmon_common::counter;

use crate::{
    core::{
        loss::{Gap, Loss},
        time::Mono,
    },
    kernel::{
        host::clock::now,
        program::{
            error::{LoadError, refused},
            hook_catalog::{LOSSLESS_WHEN_SKIPPED, STANDBY, TRANSITIONS},
            hooks::Hooks,
            object::take,
        },
    },
};

/// Counters that only grow, and the part of them that has been reported.
pub(super) struct Losses {
    counters: PerCpuArray<MapData, u64>,
    /// The number of records that could not be decoded.
    pub(in crate::kernel) malformed: u64,
    reported: [u64; 4],
    /// The time of the last count.
    last_count: Mono,
}

impl Losses {
    pub(in crate::kernel) fn new(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let counters = PerCpuArray::try_from(take(ebpf, "COUNTERS")?)
            .map_err(|error| refused("the counters", &error))?;
        Ok(Self { counters, malformed: 0, reported: [0; 4], last_count: now() })
    }

    /// Returns the losses since the last call, by reason.
    pub(in crate::kernel) fn count(&mut self, hooks: &Hooks, ebpf: &Ebpf) -> io::Result<Vec<Gap>> {
        let (from, time) = (self.last_count, now());
        self.last_count = time;
        let full = self.counter(counter::LOST_TRANSITIONS)? + self.counter(counter::LOST_NOTES)?;
        let totals = [
            (Loss::RingFull, full),
            (Loss::Recursion, self.recursion_misses(hooks, ebpf)?),
            (Loss::Malformed, self.malformed),
            (Loss::Storage, self.counter(counter::LOST_BIRTHS)?),
        ];
        let mut gaps = Vec::new();
        for ((loss, total), reported) in totals.into_iter().zip(&mut self.reported) {
            let count = total.saturating_sub(*reported);
            if count > 0 {
                *reported = total;
                gaps.push(Gap { from, time, count, loss });
            }
        }
        Ok(gaps)
    }

    fn counter(&self, index: u32) -> io::Result<u64> {
        let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
        Ok(values.iter().sum())
    }

    /// Returns how often the kernel skipped a program that was already running on that CPU, without
    /// a substitute.
    fn recursion_misses(&self, hooks: &Hooks, ebpf: &Ebpf) -> io::Result<u64> {
        let (mut transitions, mut others) = (0, 0);
        let mut each = Vec::new();
        for program in hooks.programs() {
            let misses = misses(ebpf, program)?;
            match program {
                TRANSITIONS => transitions = misses,
                STANDBY => {}
                program if LOSSLESS_WHEN_SKIPPED.contains(&program) => {}
                _ => others += misses,
            }
            if misses > 0 {
                each.push(format!("{program} {misses}"));
            }
        }
        let stood_in = self.counter(counter::STANDBY_TOOK)?;
        if !each.is_empty() {
            log::trace!("skipped: {}; standby took {stood_in}", each.join(", "));
        }
        Ok(transitions.saturating_sub(stood_in) + others)
    }
}

/// Returns the misses in fdinfo (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c), which needs no
/// bpf(2).
fn misses(ebpf: &Ebpf, name: &str) -> io::Result<u64> {
    // A program that is not loaded has missed nothing.
    let Some(Ok(fd)) = ebpf.program(name).map(Program::fd) else {
        return Ok(0);
    };
    let fd = fd.as_fd().as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}
