//! What was lost, as the kernel and the decoder count it.

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
    core::event::{Gap, Loss},
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

/// Counters that only grow, and what of them was told.
pub(super) struct Losses {
    counters: PerCpuArray<MapData, u64>,
    /// Records that could not be decoded.
    pub(in crate::kernel) malformed: u64,
    told: [u64; 4],
    /// When they were last looked at, ns.
    counted: u64,
}

impl Losses {
    pub(in crate::kernel) fn new(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let counters = PerCpuArray::try_from(take(ebpf, "COUNTERS")?)
            .map_err(|error| refused("the counters", &error))?;
        Ok(Self { counters, malformed: 0, told: [0; 4], counted: now() })
    }

    /// What was lost since the last look, by its reason.
    pub(in crate::kernel) fn count(&mut self, hooks: &Hooks, ebpf: &Ebpf) -> io::Result<Vec<Gap>> {
        let (from, time) = (self.counted, now());
        self.counted = time;
        let full = self.counter(counter::LOST_TRANSITIONS)? + self.counter(counter::LOST_NOTES)?;
        let totals = [
            (Loss::RingFull, full),
            (Loss::Recursion, self.recursion_misses(hooks, ebpf)?),
            (Loss::Malformed, self.malformed),
            (Loss::Storage, self.counter(counter::LOST_BIRTHS)?),
        ];
        let mut gaps = Vec::new();
        for ((loss, total), told) in totals.into_iter().zip(&mut self.told) {
            let count = total.saturating_sub(*told);
            if count > 0 {
                *told = total;
                gaps.push(Gap { from, time, count, loss });
            }
        }
        Ok(gaps)
    }

    fn counter(&self, index: u32) -> io::Result<u64> {
        let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
        Ok(values.iter().sum())
    }

    /// How often the kernel skipped a program that was running on that CPU already, and nothing stood in.
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

/// What fdinfo says of it (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c), without a system call of our own.
fn misses(ebpf: &Ebpf, name: &str) -> io::Result<u64> {
    // One that is not loaded has missed nothing.
    let Some(Ok(fd)) = ebpf.program(name).map(Program::fd) else {
        return Ok(0);
    };
    let fd = fd.as_fd().as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}
