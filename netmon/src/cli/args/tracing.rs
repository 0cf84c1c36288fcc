//! Common parts of the subcommands that trace: options, the runtime, the end.

use std::{
    io, process,
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use clap::{Args, ValueEnum};
use log::LevelFilter;
use netmon_common::KernelFilter;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    cli::{io::stderr::report, refuse},
    core::{filter::Filter, units::size},
    kernel::{Live, Options, Shortage, Without, default_size, host::privilege},
};

/// The longest time for the last steps.
const TIDY: Duration = Duration::from_millis(500);
/// The time after a signal in which another signal means the same: timeout(1) signals its child and
/// then its group, within microseconds, and a person is slower.
const ECHO: Duration = Duration::from_millis(200);
/// Sizes that the kernel accepts: from a page of most kernels to the most that a 32-bit size holds.
/// Where pages are larger, a ring has a page.
const SMALLEST_BUFFER: u64 = 4 << 10;
const LARGEST_BUFFER: u64 = 1 << 30;
const STARTING: &str = "starting the runtime";
pub(in crate::cli) const CONFINING: &str = "giving up the privileges that are not needed";

#[derive(Debug, Args)]
pub(in crate::cli) struct TracingArgs {
    /// Size of all ring buffers between kernel and netmon, 4K to 1G, rounded up to a power of two
    /// and to a page [default: 1M for each CPU, at least 16M]
    #[arg(long, value_name = "SIZE", value_parser = buffer, hide_short_help = true)]
    buffer: Option<u32>,
    /// Trace accept(2) to name the accepting process (slows every system call; `netmon doctor`
    /// measures it)
    #[arg(long, hide_short_help = true)]
    accept_syscalls: bool,
    /// Leave out the arguments of processes, which may have secrets
    #[arg(long, hide_short_help = true)]
    no_args: bool,
    /// Do without the kernel's types (BTF), as on a kernel that publishes none
    #[arg(long, hide_short_help = true)]
    no_btf: bool,
    /// Do without hooks on kernel functions, as where the kernel refuses them
    #[arg(long, hide_short_help = true)]
    no_fentry: bool,
    /// Where to read sockets from for dumps [default: the faster one that is permitted]
    #[arg(long, value_enum, hide_short_help = true)]
    source: Option<DumpSource>,
}

/// A source of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DumpSource {
    /// BPF iterators: fast, and complete about owners; needs root
    Bpf,
    /// /proc and sock_diag: work for every user, and show owners among the user's own processes
    Proc,
}

impl TracingArgs {
    /// Refuses a filter that needs what these options leave out.
    pub(in crate::cli) fn check(&self, filter: &Filter) {
        check_arguments(self.no_args, filter);
    }

    pub(in crate::cli) fn options(&self, log: LevelFilter, filter: KernelFilter) -> Options {
        let without = Without {
            btf: self.no_btf,
            fentry: self.no_fentry,
            iterators: self.source == Some(DumpSource::Proc),
        };
        let accept_syscalls = self.accept_syscalls;
        let buffer = self.buffer.unwrap_or_else(default_size);
        let arguments = !self.no_args;
        Options { buffer, log, filter, accept_syscalls, arguments, without }
    }
}

/// Refuses a filter that tests arguments where they are left out.
pub(in crate::cli) fn check_arguments(no_args: bool, filter: &Filter) {
    if no_args && filter.needs_arguments() {
        refuse("with --no-args, nothing is known of 'args': leave one of them out");
    }
}

/// Starts the runtime, with one thread for signals and timers. The calling thread has the loop.
pub(in crate::cli) fn runtime() -> anyhow::Result<Runtime> {
    // tokio would panic where no thread can start.
    let thread = thread::Builder::new().spawn(|| ()).map_err(Shortage::of_thread);
    let _ = thread.context(STARTING)?.join();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("netmon:signals")
        .on_thread_start(|| {
            if let Err(error) = privilege::narrow(&[]) {
                log::warn!("a thread has more privileges than it needs: {error}");
            }
        })
        .enable_all()
        .build()
        .map_err(|error| Shortage::of(&error).map_or(error, io::Error::other))
        .context(STARTING)
}

/// Attaches the hooks, and gives up the privileges for loading.
pub(in crate::cli) fn attach(options: Options) -> anyhow::Result<Live> {
    let live = Live::start(options)?;
    privilege::narrow(live.duties()).context(CONFINING)?;
    Ok(live)
}

/// Returns whether standard output has colours: by `--color`, by the variables that other programs
/// obey as well, or because standard output is a terminal.
pub(in crate::cli) fn is_coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Returns a notification for the session to end in order, which SIGINT and SIGTERM send.
///
/// A second signal, or a session that has not ended within `grace`, ends the program at once, after
/// `tidy`. A signal within [`ECHO`] of the first is no second signal.
pub(in crate::cli) fn stop_on_signals(grace: Duration, tidy: fn()) -> anyhow::Result<Arc<Notify>> {
    let stop = Arc::new(Notify::new());
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let notify = Arc::clone(&stop);
    tokio::spawn(async move {
        let code = either(&mut interrupt, &mut terminate).await;
        notify.notify_one();
        let echoes = Instant::now() + ECHO;
        while timeout_at(echoes, either(&mut interrupt, &mut terminate)).await.is_ok() {}
        // The end is the same for a second signal and for a grace that is over.
        let _ = timeout(grace, either(&mut interrupt, &mut terminate)).await;
        // `tidy` may hang, on a terminal without a reader.
        let (done, is_done) = channel();
        thread::spawn(move || {
            tidy();
            report("ended before its last lines were written");
            let _ = done.send(());
        });
        let _ = is_done.recv_timeout(TIDY);
        process::exit(code);
    });
    Ok(stop)
}

/// Waits for one of the two signals. Returns the exit code of a program that ends by that signal.
async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 }
}

/// Reads a size, as a power of two that the kernel accepts.
fn buffer(text: &str) -> Result<u32, String> {
    let size = Some(size(text)?)
        .filter(|size| (SMALLEST_BUFFER..=LARGEST_BUFFER).contains(size))
        .ok_or_else(|| {
        format!("'{text}' is not possible: the ring buffer takes from 4K to 1G")
    })?;
    u32::try_from(size.next_power_of_two()).map_err(|_| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_powers_of_two() {
        assert_eq!(buffer("16M"), Ok(16 << 20));
        assert_eq!(buffer("16MiB"), Ok(16 << 20));
        assert_eq!(buffer("5000"), Ok(8192));
        assert_eq!(buffer("1g"), Ok(1 << 30));
        for bad in ["", "0", "1K", "2G", "lots", "16T", "-1", "1.5M", "99999999999999999999"] {
            assert!(buffer(bad).is_err(), "{bad}");
        }
    }
}
