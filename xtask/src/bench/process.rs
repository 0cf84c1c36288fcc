//! The resources that a running netmon has used so far, as the kernel counts them.

use std::{
    ffi::OsStr,
    fs,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::shell::{as_root, output, xtask};

/// Ticks a second of the fields in /proc/PID/stat (`USER_HZ`, which is the same everywhere).
const USER_HZ: u64 = 100;
/// A limit that is longer than a TIME_WAIT and the second by which its end may be late.
const LONGEST: Duration = Duration::from_secs(75);

/// A netmon that runs; killed when dropped.
pub(super) struct KilledOnDrop(pub(super) Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The time and memory that a command used from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) seconds: f64,
    /// Peak memory.
    pub(super) megabytes: f64,
    /// Seconds of CPU.
    pub(super) cpu: f64,
}

/// Runs a command without its output. Returns its time and memory.
pub(super) fn used(command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<Used> {
    let line = output(as_root(xtask()).arg("measure").args(command))?;
    let figures = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [seconds, kilobytes, cpu] = figures[..] else { bail!("no three figures: {line}") };
    Ok(Used { seconds, megabytes: kilobytes / 1024.0, cpu })
}

/// Returns the CPU time of the process, to 10 ms. Threads that have ended are included.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name may contain any character.
    let rest = stat.rsplit_once(')').context("a name")?.1;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>().context("CPU times")?;
    Ok(Duration::from_millis(ticks * 1000 / USER_HZ))
}

/// Returns the CPU time of the threads with the name `name`.
pub(super) fn cpu_of_thread(pid: u32, name: &str) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if read(&task.join("comm").to_string_lossy())?.trim_end() == name {
            let stat = read(&task.join("schedstat").to_string_lossy())?;
            sum += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("ns")?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Returns the bytes of anonymous memory of the process.
pub(super) fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.context("its memory")? * 1024)
}

/// Returns the nanoseconds that the kernel programs of the process have run for, while
/// [`Statistics`] are kept.
pub(super) fn programs(pid: u32) -> anyhow::Result<u64> {
    let mut seen = Vec::new();
    let mut sum = 0;
    for fd in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // The descriptor may be closed by now.
        let Ok(info) = fs::read_to_string(fd?.path()) else { continue };
        let number = |key: &str| {
            info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
        };
        let (Some(id), Some(time)) = (number("prog_id:"), number("run_time_ns:")) else { continue };
        if !seen.contains(&id) {
            seen.push(id);
            sum += time;
        }
    }
    ensure!(!seen.is_empty(), "no programs of process {pid} are visible");
    Ok(sum)
}

/// The kernel's count of the run time of its programs, which costs some 60 ns for each run. While
/// the value lives, the count is on or off, also when another program has set it otherwise.
pub(super) struct Statistics(String);

const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Statistics {
    pub(super) fn kept(are_kept: bool) -> anyhow::Result<Self> {
        let before = read(SYSCTL)?;
        fs::write(SYSCTL, if are_kept { "1" } else { "0" }).context(SYSCTL)?;
        Ok(Self(before))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        let _ = fs::write(SYSCTL, self.0.trim());
    }
}

/// Waits until the TIME_WAITs of the measurement before are over, as netmon would follow their
/// ends.
pub(super) fn quiet() -> anyhow::Result<()> {
    const FEW: u32 = 100;
    let end = Instant::now() + LONGEST;
    loop {
        let sockets = read("/proc/net/sockstat")?;
        let waiting = sockets.split_once(" tw ").and_then(|(_, rest)| rest.split(' ').next());
        let waiting: u32 = waiting.and_then(|count| count.parse().ok()).context("TIME_WAITs")?;
        if waiting < FEW {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "another program makes connections: there are {waiting} TIME_WAITs"
        );
        thread::sleep(Duration::from_secs(1));
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}
