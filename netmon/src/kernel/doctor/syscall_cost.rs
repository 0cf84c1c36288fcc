//! Measures the cost of `--accept-syscalls`: a tracepoint on one system call slows every system
//! call of the host.

use std::time::{Duration, Instant};

use aya::EbpfLoader;
use netmon_common::{DumpOptions, KernelFilter, TracepointFormat};

use crate::{
    core::finding::{Finding, FindingState},
    kernel::program::{
        error::LoadError,
        hook_catalog::ACCEPT,
        hooks::Hooks,
        object::{Options, Programs, Without, open},
        offsets_probed::unknown,
        tracefs,
    },
};

/// The number of rounds, each without and with the tracepoint.
const ROUNDS: usize = 7;
/// The number of system calls in a round.
const CALLS: u32 = 20_000;

/// Measures the cost with the cheapest of system calls.
#[must_use]
pub(crate) fn accept_syscalls() -> Finding {
    let finding = |detail| Finding::new("accept calls", FindingState::Ok, detail);
    match measure() {
        Ok((without, with)) => {
            let more = with.saturating_sub(without);
            finding(format!(
                "--accept-syscalls makes every system call of the host {more} ns slower \
                 ({without} ns without)"
            ))
            .number("slower_ns", more)
            .number("without_ns", without)
        }
        Err(error) => finding(format!("the cost of --accept-syscalls was not measured: {error}")),
    }
}

/// Returns the nanoseconds of a system call without and with the tracepoint. The least of all
/// rounds counts, since other processes can only add time.
fn measure() -> Result<(u64, u64), LoadError> {
    let (log, filter, without) = (log::LevelFilter::Off, KernelFilter::ANY, Without::default());
    let (accept_syscalls, arguments) = (true, false);
    let options = Options { buffer: 4096, log, filter, accept_syscalls, arguments, without };
    // The measured call is not an accept, so the program does not look into a process.
    let accept_ret = tracefs::within(tracefs::accept_format)??;
    let format = TracepointFormat { accept_ret, ..TracepointFormat::default() };
    let mut ebpf = open(EbpfLoader::new(), options, DumpOptions::default(), &unknown(), &format)?;
    ACCEPT[0].load(&mut Programs::of(&mut ebpf), None)?;
    let mut least = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        least[0] = least[0].min(calls());
        let mut hooks = Hooks::default();
        tracefs::within(|_| hooks.attach(&mut ebpf, &ACCEPT[..1]))??;
        least[1] = least[1].min(calls());
    }
    let each = |time: Duration| u64::try_from(time.as_nanos() / u128::from(CALLS)).unwrap_or(0);
    Ok((each(least[0]), each(least[1])))
}

fn calls() -> Duration {
    let begin = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(rustix::process::getppid());
    }
    begin.elapsed()
}
