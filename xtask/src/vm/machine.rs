//! A machine: QEMU, by KVM where that works and by emulation elsewhere.

use std::{
    fmt, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    arch::{Arch, Facts},
    image::{Image, LONGEST},
    kernel::Kernel,
    tally::Tally,
};

/// The numbers of present and of possible CPUs of a machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpus {
    pub(super) present: u32,
    pub(super) possible: u32,
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each CPU is in a socket of its own: Linux expects none to be plugged into a present
        // socket.
        let Self { present, possible } = self;
        write!(f, "{present},maxcpus={possible},sockets={possible},cores=1,threads=1")
    }
}

/// The way in which QEMU runs the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    Emulation,
}

impl Accelerator {
    /// Returns KVM where it boots `kernel`, which then panics without a disk. The existence of
    /// /dev/kvm alone proves little.
    pub(super) fn usable(kernel: &Kernel) -> Self {
        let mut probe = qemu(kernel);
        probe.args(Self::Kvm.arguments(kernel.arch)).args(["-append", "panic=-1"]);
        let is_usable = kernel.arch == Arch::HOST
            && fs::exists("/dev/kvm").unwrap_or(false)
            && probe
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .is_ok_and(|mut machine| wait(&mut machine, Duration::from_secs(10)).is_ok());
        if is_usable { Self::Kvm } else { Self::Emulation }
    }

    const fn arguments(self, arch: Arch) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // The CPUs run in turn, on one thread. With a thread for each, a CPU may keep to the
            // breakpoint by which another CPU has changed the kernel's code (`text_poke_bp_batch`,
            // arch/x86/kernel/alternative.c). The kernel then dies of the breakpoint, or runs into
            // it for ever.
            Self::Emulation => ["-accel", "tcg,thread=single", "-cpu", arch.facts().emulated_cpu],
        }
    }

    /// Returns the number of the host's CPUs that a machine with `present` CPUs uses.
    pub(super) const fn cpus(self, present: u32) -> u32 {
        match self {
            Self::Kvm => present,
            Self::Emulation => 1,
        }
    }

    /// Returns the factor by which the tests may wait longer than on hardware.
    pub(super) const fn patience(self) -> u32 {
        match self {
            Self::Kvm => 3,
            Self::Emulation => 12,
        }
    }
}

/// A part of a kernel's tests: every `of`th test from the `number`th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) of: usize,
}

impl Part {
    /// Returns the name of the machine with this part of the tests of a kernel.
    pub(super) fn name(self, kernel: &str) -> String {
        let Self { number, of } = self;
        if of == 1 { kernel.to_owned() } else { format!("{kernel} {number}/{of}") }
    }
}

/// Boots a machine. Returns the tally of its tests, and an error if it did not end by itself.
pub(super) fn boot(
    kernel: &Kernel,
    image: &Image,
    cpus: Cpus,
    accelerator: Accelerator,
    part: Part,
) -> (Tally, anyhow::Result<()>) {
    let console = image.path.with_extension(format!("{}.console", part.number));
    let mut tally = Tally::default();
    let ended = run(kernel, image, cpus, accelerator, part, &console, &mut tally);
    let log = fs::read(&console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join(" | ");
    (tally, ended.with_context(|| format!("its console ends with: {last}")))
}

fn run(
    kernel: &Kernel,
    image: &Image,
    cpus: Cpus,
    accelerator: Accelerator,
    part: Part,
    console: &Path,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let Facts { parameters, channel, qemu: program, qemu_package, .. } = kernel.arch.facts();
    // The kernel hands words that it does not know to the script, as variables.
    let parameters = format!(
        "{parameters} quiet panic=-1 mitigations=off {} part={}~{}",
        image.parameters, part.number, part.of
    );
    let name = part.name(&kernel.name);
    let mut command = qemu(kernel);
    command
        .args(accelerator.arguments(kernel.arch))
        .args(["-m", "3G", "-smp", &cpus.to_string()])
        .arg("-initrd")
        .arg(&image.path)
        .args(["-append", &parameters, "-serial", &format!("file:{}", console.display())])
        .args(*channel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    eprintln!("vm: {name}: Linux {} boots", kernel.release);
    let mut machine =
        command.spawn().with_context(|| format!("cannot run {program}: install {qemu_package}"))?;
    let lines = BufReader::new(machine.stdout.take().context("its output")?);
    thread::scope(|scope| {
        scope.spawn(|| {
            for line in lines.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end_matches('\r');
                println!("{name}: {line}");
                tally.line(line);
            }
        });
        wait(&mut machine, LONGEST)
    })
}

/// Returns the command for QEMU with `kernel` and no default devices.
fn qemu(kernel: &Kernel) -> Command {
    let Facts { qemu, board, .. } = kernel.arch.facts();
    let mut command = Command::new(qemu);
    command
        .args(*board)
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-kernel"])
        .arg(&kernel.image);
    command
}

/// Waits for the end of the machine, and kills it after `longest`.
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
