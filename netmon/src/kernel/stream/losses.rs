//! Counts the losses that the kernel and the decoder report.

use std::{
    fs::File,
    io, mem,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::FileExt,
    },
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
            hook_catalog::{LOSSLESS_WHEN_SKIPPED, STANDBY, TRANSITIONS, fills_processes},
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
    reported: [u64; 5],
    /// The time of the last count.
    last_count: Mono,
    programs: Vec<CountedProgram>,
    /// `true` once a failed count was reported.
    was_reported: bool,
}

impl Losses {
    /// Opens the files with the counts of the attached programs, so that a later count takes no
    /// descriptor.
    pub(in crate::kernel) fn new(ebpf: &mut Ebpf, hooks: &Hooks) -> Result<Self, LoadError> {
        let counters = PerCpuArray::try_from(take(ebpf, "COUNTERS")?)
            .map_err(|error| refused("the counters", &error))?;
        let programs = hooks.programs().map(|name| CountedProgram::open(ebpf, name));
        let programs: io::Result<_> = programs.collect();
        let programs = programs.map_err(|error| refused("the counts of the programs", &error))?;
        let (malformed, reported, last_count) = (0, [0; 5], now());
        Ok(Self { counters, malformed, reported, last_count, programs, was_reported: false })
    }

    /// Returns the time of the last count.
    pub(in crate::kernel) const fn last_count(&self) -> Mono {
        self.last_count
    }

    /// Returns the losses since the last call, by reason. A count that fails is reported, and made
    /// up for by the next: the counters only grow.
    pub(in crate::kernel) fn count(&mut self) -> Vec<Gap> {
        self.try_count().unwrap_or_else(|error| {
            let first = !mem::replace(&mut self.was_reported, true);
            let level = if first { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "cannot read the counts of lost events: {error}; netmon tries again");
            Vec::new()
        })
    }

    fn try_count(&mut self) -> io::Result<Vec<Gap>> {
        let (from, time) = (self.last_count, now());
        let full = self.counter(counter::LOST_TRANSITIONS)? + self.counter(counter::LOST_NOTES)?;
        let Misses { events, processes } = self.recursion_misses()?;
        let totals = [
            (Loss::RingFull, full),
            (Loss::Recursion, events),
            (Loss::Malformed, self.malformed),
            (Loss::Storage, self.counter(counter::LOST_BIRTHS)?),
            (Loss::Processes, self.counter(counter::LOST_PROCESSES)? + processes),
        ];
        self.last_count = time;
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
    fn recursion_misses(&self) -> io::Result<Misses> {
        let (mut transitions, mut others, mut processes) = (0, 0, 0);
        let mut each = Vec::new();
        for program in &self.programs {
            let misses = program.misses()?;
            match program.name {
                TRANSITIONS => transitions = misses,
                STANDBY => {}
                name if LOSSLESS_WHEN_SKIPPED.contains(&name) => {}
                name if fills_processes(name) => processes += misses,
                _ => others += misses,
            }
            if misses > 0 {
                each.push(format!("{} {misses}", program.name));
            }
        }
        let stood_in = self.counter(counter::STANDBY_TOOK)?;
        if !each.is_empty() {
            log::trace!("skipped: {}; standby took {stood_in}", each.join(", "));
        }
        Ok(Misses { events: transitions.saturating_sub(stood_in) + others, processes })
    }
}

/// The skipped runs that nothing made up for.
struct Misses {
    events: u64,
    processes: u64,
}

/// A program, and the file in which the kernel counts its skipped runs.
struct CountedProgram {
    name: &'static str,
    /// None for a program that is not loaded, which has missed nothing.
    info: Option<File>,
}

impl CountedProgram {
    fn open(ebpf: &Ebpf, name: &'static str) -> io::Result<Self> {
        let info = match ebpf.program(name).map(Program::fd) {
            Some(Ok(fd)) => {
                let fd = fd.as_fd().as_raw_fd();
                Some(File::open(format!("/proc/self/fdinfo/{fd}"))?)
            }
            _ => None,
        };
        Ok(Self { name, info })
    }

    /// Returns the misses in fdinfo (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c), which needs no
    /// bpf(2). The kernel writes the text anew for each read from its beginning.
    fn misses(&self) -> io::Result<u64> {
        let Some(info) = &self.info else { return Ok(0) };
        // The text has some 300 bytes.
        let mut text = [0; 4_096];
        let length = info.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..length]);
        let value = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
        Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }
}
