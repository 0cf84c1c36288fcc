//! `netmon watch`: live transitions, one line each.

use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    process,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use jiff::tz::TimeZone;
use log::LevelFilter;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::sleep,
};

use super::stdout::Stdout;
use crate::{
    core::names::Services,
    kernel::{Live, Options},
    session::{Limits, Scope, Summary, View, run},
    view::{
        json::Json,
        lines::{Appearance, Lines},
    },
};

/// How long the end may take after a signal: a reader that stopped reading must not hold it up.
const GRACE: Duration = Duration::from_secs(2);
/// Sizes that the kernel takes: from a page to what a 32-bit size holds.
const SMALLEST_BUFFER: u64 = 4 << 10;
const LARGEST_BUFFER: u64 = 1 << 30;

/// Show TCP connections changing state, live, one line each
#[derive(Debug, Args)]
#[command(after_help = super::FILTER_HELP)]
pub(super) struct Watch {
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
    /// Show port numbers instead of service names
    #[arg(short = 'n', long)]
    numeric: bool,
    /// First show the connections that are there already
    #[arg(long)]
    initial: bool,
    /// End after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// End after this many transitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Size of the ring buffer between kernel and netmon, rounded up to a power of two: 4K to 1G
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = buffer)]
    buffer: u32,
    /// Which transitions, as for ss: dport = :443 and not dst 10.0.0.0/8; `state` is the new one
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Watch {
    /// Watches until a limit, a signal or a closed output.
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting the runtime")?;
        runtime.block_on(self.watch(log))
    }

    async fn watch(self, log: LevelFilter) -> anyhow::Result<()> {
        let filter = super::filter(&self.filter);
        let stop = stop_on_signals()?;
        let options = Options { buffer: self.buffer, log, filter: filter.clauses().in_any_state() };
        let scope = Scope { filter, initial: self.initial };
        let mut live = Live::start(options)?;
        let limits = Limits { duration: self.duration, count: self.count };
        let summary = if self.json {
            run(&mut live, &mut Json::new(Stdout::lock()), &scope, limits, &stop).await?
        } else {
            let mut view = Lines::new(Stdout::lock(), self.appearance())?;
            view.flush()?;
            run(&mut live, &mut view, &scope, limits, &stop).await?
        };
        report(&summary);
        Ok(())
    }

    fn appearance(&self) -> Appearance {
        let colour =
            io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Appearance {
            services: if self.numeric { Services::default() } else { Services::load() },
            colour,
            zone: TimeZone::system(),
            netns: fs::metadata("/proc/self/ns/net").ok().and_then(|ns| ns.ino().try_into().ok()),
        }
    }
}

fn report(summary: &Summary) {
    // Nobody may be left to read that either.
    let _ = writeln!(
        io::stderr(),
        "netmon: {} transitions seen, {} shown, {} events lost{}",
        summary.seen,
        summary.shown,
        summary.lost(),
        match summary.corrected {
            0 => String::new(),
            corrected => format!(", {corrected} connections corrected"),
        }
    );
}

/// SIGINT and SIGTERM end the session in order; a second one, or one that is not obeyed, at once.
fn stop_on_signals() -> anyhow::Result<Arc<Notify>> {
    let stop = Arc::new(Notify::new());
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let notify = Arc::clone(&stop);
    tokio::spawn(async move {
        let code = tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 };
        notify.notify_one();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, () = sleep(GRACE) => {} }
        let _ = writeln!(io::stderr(), "netmon: ended before its last lines were written");
        process::exit(code);
    });
    Ok(stop)
}

/// A time with a unit; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time: write 30s, 5m or 1h");
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let span = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
            span.try_into().map_err(|_| wrong())?
        }
    };
    if duration.is_zero() { Err(wrong()) } else { Ok(duration) }
}

/// A size with an optional unit, as a power of two that the kernel takes.
fn buffer(text: &str) -> Result<u32, String> {
    let wrong = || format!("'{text}' is no size: write 64K, 16M or 1G");
    let lower = text.to_ascii_lowercase();
    let unit = lower.trim_start_matches(|c: char| c.is_ascii_digit());
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = lower[..lower.len() - unit.len()].parse().map_err(|_| wrong())?;
    let size = number
        .checked_mul(1 << shift)
        .filter(|size| (SMALLEST_BUFFER..=LARGEST_BUFFER).contains(size))
        .ok_or_else(|| format!("'{text}' is not possible: the ring buffer takes from 4K to 1G"))?;
    u32::try_from(size.next_power_of_two()).map_err(|_| wrong())
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

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "0", "x", "-3s", "0s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
