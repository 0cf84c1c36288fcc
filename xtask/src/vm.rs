//! `vm`: the kernel tests on the kernels of Debian's suites, in QEMU.
//!
//! A machine is a kernel of Debian's packages and an initramfs that holds the test program, netmon and what
//! they call; nothing is installed and no disk is made. Emulation works everywhere, KVM is used where it can be.

mod image;
mod kernel;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;

use self::{image::Image, kernel::Kernel};
use crate::shell::{cargo, output};

/// What the machine says when every test has passed: nothing else counts as success.
const SUCCESS: &str = "netmon-vm: all tests passed";
/// Emulated, the tests take some minutes; a machine that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// Run the kernel tests on other kernels, in QEMU
#[derive(Debug, Args)]
pub(crate) struct Vm {
    /// Of these kernels; all of them when none is named
    #[arg(value_parser = kernel::names())]
    kernels: Vec<String>,
    /// Only the tests whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// How many CPUs a machine has
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Look for newer packages than those that are there
    #[arg(long)]
    refresh: bool,
    /// Run this shell script there instead of the tests
    #[arg(long, value_name = "SCRIPT", conflicts_with = "only")]
    run: Option<String>,
}

impl Vm {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let program = test_program()?;
        let mut outcomes = Vec::new();
        let mut accelerator = None;
        for kernel in kernel::chosen(&self.kernels) {
            let kernel = Kernel::get(kernel, self.refresh)?;
            let command = self.run.clone().unwrap_or_else(|| {
                format!("{program} --test-threads={} {}", self.cpus, self.only.join(" "))
            });
            let image = Image::make(&kernel, &[program.as_str()], &command)?;
            let began = Instant::now();
            let accelerator = *accelerator.get_or_insert_with(|| accelerator_for(&kernel));
            let outcome = boot(&kernel, &image, self.cpus, accelerator);
            eprintln!(
                "vm: {}: {} after {:.0?}",
                kernel.name,
                outcome.as_ref().map_or_else(|error| format!("{error:#}"), Tally::to_string),
                began.elapsed()
            );
            outcomes.push((kernel.name, outcome));
        }
        let failed: Vec<_> =
            outcomes.iter().filter(|(_, o)| o.is_err()).map(|(name, _)| name.as_str()).collect();
        ensure!(failed.is_empty(), "the kernel tests fail on {}", failed.join(", "));
        Ok(())
    }
}

/// Tests by their outcome.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    ignored: usize,
    succeeded: bool,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tests passed", self.passed)
    }
}

impl Tally {
    fn line(&mut self, line: &str) {
        self.succeeded |= line == SUCCESS;
        // What a test prints may come before its outcome, on the same line.
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
            .filter(|(_, outcome)| !outcome.is_empty())
        else {
            return;
        };
        match outcome {
            "ok" => self.passed += 1,
            "ignored" => self.ignored += 1,
            _ => self.failed.push(name.to_owned()),
        }
    }

    fn judge(self) -> anyhow::Result<Self> {
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        ensure!(self.ignored == 0, "{} tests were skipped", self.ignored);
        ensure!(self.succeeded, "the machine ended without saying '{SUCCESS}'");
        Ok(self)
    }
}

/// Boots it and reads what its tests say.
fn boot(
    kernel: &Kernel,
    image: &Image,
    cpus: u32,
    accelerator: [&str; 4],
) -> anyhow::Result<Tally> {
    let console = image.path.with_extension("console");
    let mut command = qemu(kernel);
    command
        .args(accelerator)
        .args(["-m", "3G", "-smp", &cpus.to_string()])
        .arg("-initrd")
        .arg(&image.path)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    eprintln!("vm: {}: Linux {} boots", kernel.name, kernel.release);
    let mut machine =
        command.spawn().context("cannot run qemu-system-x86_64: install qemu-system-x86")?;
    let lines = BufReader::new(machine.stdout.take().context("its output")?);
    let outcome = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut tally = Tally::default();
            for line in lines.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end_matches('\r');
                println!("{}: {line}", kernel.name);
                tally.line(line);
            }
            tally
        });
        let ended = wait(&mut machine, LONGEST);
        let tally = reader.join().ok().context("reading what it says")?;
        ended?;
        tally.judge()
    });
    outcome.with_context(|| format!("its console ends with: {}", tail(&console)))
}

/// QEMU with that kernel, and nothing else.
fn qemu(kernel: &Kernel) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-display", "none", "-no-reboot", "-kernel"]).arg(&kernel.image);
    command
}

/// KVM where it boots a kernel, which then panics for want of a disk; emulation elsewhere. That there is
/// a /dev/kvm says little.
fn accelerator_for(kernel: &Kernel) -> [&'static str; 4] {
    let kvm = ["-accel", "kvm", "-cpu", "host"];
    let mut probe = qemu(kernel);
    probe.args(kvm).args(["-append", "panic=-1"]).stdin(Stdio::null());
    let is_usable = fs::exists("/dev/kvm").unwrap_or(false)
        && probe
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok_and(|mut machine| wait(&mut machine, Duration::from_secs(10)).is_ok());
    if is_usable { kvm } else { ["-accel", "tcg,thread=multi", "-cpu", "max"] }
}

/// Waits for its end, or ends it.
fn wait(machine: &mut Child, longest: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + longest;
    while Instant::now() < end {
        if let Some(status) = machine.try_wait()? {
            ensure!(status.success(), "QEMU ended with {status}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    machine.kill()?;
    machine.wait()?;
    bail!("it was not done after {longest:?}")
}

/// The last of what the kernel said.
fn tail(console: &std::path::Path) -> String {
    let text = fs::read(console).map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = text.unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// Builds the kernel tests and netmon, and says where the tests lie.
fn test_program() -> anyhow::Result<String> {
    let mut build = cargo();
    build.args(["test", "--no-run", "--package", "netmon", "--test", "kernel"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    let said = output(build.stderr(Stdio::inherit()))?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "kernel")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .context("cargo names no test program")
}
