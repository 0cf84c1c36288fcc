//! `vm`: the kernel tests on the kernels of Debian's suites, in QEMU, and the tests of the unit.
//!
//! A machine is a kernel of Debian's packages and an initramfs with the test program, netmon and
//! the programs that both call. Nothing is installed, and no disk is made. KVM is used where it
//! works; emulation works everywhere, also for another architecture than this host's. For the tests
//! of the unit, the initramfs is a Debian system with systemd.

mod arch;
mod debian;
mod image;
mod kernel;
mod machine;
mod system;
mod tally;
mod userland;

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use self::{
    arch::Arch,
    image::Image,
    kernel::{Kernel, Suite},
    machine::{Accelerator, Cpus, Part, boot},
    tally::{Tally, heading, row},
    userland::Userland,
};
use crate::{
    run::KERNEL,
    shell::{cargo, output},
};

/// The profile that makes programs for emulated machines.
const PROFILE: &str = "vm";
/// The kernel for the tests of the unit, if none is named.
const UNIT_KERNEL: &str = "6.1";

/// Run the kernel tests on other kernels, in QEMU
#[derive(Debug, Args)]
pub(crate) struct Vm {
    /// Kernels to boot; all of them when none is named, and with --systemd 6.1
    #[arg(value_parser = kernel::names())]
    kernels: Vec<String>,
    /// Architecture of the machines
    #[arg(long, value_enum, default_value_t = Arch::HOST)]
    arch: Arch,
    /// Test netmon's unit, in a machine with systemd as process 1, instead of the kernel
    #[arg(long, conflicts_with_all = ["arch", "only", "skip", "without", "threads", "run"])]
    systemd: bool,
    /// Install this package in the machine, and test its upgrade and its removal too
    #[arg(long, value_name = "FILE", requires = "systemd")]
    deb: Option<PathBuf>,
    /// Run only the tests whose names contain TEXT
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Leave out the tests whose names contain TEXT
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,
    /// Do without a feature, though the kernel has it
    #[arg(long, value_enum)]
    without: Option<Feature>,
    /// Number of CPUs of a machine
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// Number of CPUs that the kernel must be prepared for; by default --cpus, and never fewer
    ///
    /// 255 at most. In emulation, only kernels up to 6.1 believe in CPUs that may be plugged in.
    /// Later kernels do where they know the hypervisor.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=255))]
    possible: Option<u32>,
    /// Number of tests that a machine runs at a time; by default two for each CPU of the host that
    /// the machine has
    ///
    /// An emulated machine has one.
    #[arg(long, value_name = "COUNT")]
    threads: Option<u32>,
    /// Number of machines that run at a time; by default one for each CPU of this host
    ///
    /// An emulated machine uses one CPU of the host. With fewer kernels than machines, the tests of
    /// each kernel are split among several machines.
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Use the debug build: slower in a machine, but it may exist already
    #[arg(long)]
    debug: bool,
    /// Look for newer packages than the downloaded ones
    #[arg(long)]
    refresh: bool,
    /// Run a shell script in the machine instead of the tests; $NETMON and $TESTS are the programs
    #[arg(long, value_name = "SCRIPT", conflicts_with_all = ["only", "skip"])]
    run: Option<String>,
}

/// A feature of the kernel that netmon is to do without.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Feature {
    /// The kernel's types
    Btf,
    /// Hooks on functions
    Fentry,
    /// BPF iterators
    Iterators,
}

impl Feature {
    const fn argument(self) -> &'static str {
        match self {
            Self::Btf => "--no-btf",
            Self::Fentry => "--no-fentry",
            Self::Iterators => "--source=proc",
        }
    }

    /// Returns the tier that a kernel of `tier` allows without the feature.
    fn tier(self, tier: &'static str) -> &'static str {
        match self {
            Self::Btf => "basic",
            Self::Fentry if tier == "exact" => "full",
            _ => tier,
        }
    }
}

/// The outcome of a machine.
struct Outcome<'a> {
    kernel: &'a Kernel,
    part: Part,
    tally: Tally,
    took: Duration,
    /// An error if the machine did not end by itself.
    ended: anyhow::Result<()>,
}

impl Vm {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let netmon = match &self.deb {
            Some(deb) => Netmon::Package(deb.clone()),
            None => {
                Netmon::Built(Programs::build(if self.debug { "dev" } else { PROFILE }, self.arch)?)
            }
        };
        let cpus = Cpus {
            present: self.cpus,
            possible: self.possible.map_or(self.cpus, |possible| possible.max(self.cpus)),
        };
        let mut machines = Vec::new();
        let mut accelerator = None;
        let kernels = match &self.kernels[..] {
            [] if self.systemd => &[UNIT_KERNEL.to_owned()],
            kernels => kernels,
        };
        let suites = kernel::chosen(self.arch, kernels)?;
        let jobs = self.jobs.or_else(|| Some(thread::available_parallelism().ok()?.get()));
        let jobs = jobs.unwrap_or(1).max(1);
        // A few tests are over before a second machine has booted.
        let is_whole = !self.systemd && self.run.is_none() && self.only.is_empty();
        let parts = if is_whole { (jobs / suites.len()).max(1) } else { 1 };
        for suite in suites {
            let kernel = Kernel::get(suite, self.arch, self.refresh)?;
            let accelerator = *accelerator.get_or_insert_with(|| Accelerator::usable(&kernel));
            let image = match &netmon {
                Netmon::Built(programs) if !self.systemd => {
                    let userland = Userland::get(self.arch, self.refresh)?;
                    let command = self.command(suite, accelerator, parts > 1);
                    Image::make(&kernel, &userland, programs, &command)?
                }
                netmon => system::make(&kernel, netmon, self.refresh)?,
            };
            machines.push((kernel, image, accelerator));
        }
        let part = |number| Part { number, of: parts };
        let machines: Vec<_> = machines
            .iter()
            .flat_map(|machine| (1..=parts).map(move |number| (machine, part(number))))
            .collect();
        let (machines, outcomes) = (Mutex::new(machines.into_iter()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    let next = || machines.lock().unwrap_or_else(PoisonError::into_inner).next();
                    while let Some(((kernel, image, accelerator), part)) = next() {
                        let began = Instant::now();
                        let (tally, ended) = boot(kernel, image, cpus, *accelerator, part);
                        let outcome = Outcome { kernel, part, tally, took: began.elapsed(), ended };
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                });
            }
        });
        let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        report(outcomes, self.run.is_none())
    }

    /// Returns the shell command that the machine runs.
    fn command(&self, suite: Suite, accelerator: Accelerator, is_split: bool) -> String {
        if let Some(script) = &self.run {
            return script.clone();
        }
        // RUSTC_BOOTSTRAP lets the test program take an option of nightly Rust: the time of each
        // test. A failure is shown at once, not when the machine ends half an hour later.
        let mut command = format!(
            "NETMON_TEST_KERNEL={} NETMON_TEST_ARGS='{}' NETMON_TEST_PATIENCE={} RUSTC_BOOTSTRAP=1 \
             $TESTS -Zunstable-options --report-time --nocapture --test-threads={}",
            self.without.map_or(suite.tier, |without| without.tier(suite.tier)),
            self.without.map_or("", Feature::argument),
            accelerator.patience(),
            self.threads.unwrap_or(accelerator.cpus(self.cpus) * 2)
        );
        let mut chosen = String::new();
        for skip in &self.skip {
            chosen += &format!(" --skip '{skip}'");
        }
        if self.only.is_empty() {
            chosen += &format!(" '{KERNEL}'");
        }
        for only in &self.only {
            // A module is one of the kernel tests; a part of a test's name stands for itself.
            let is_module = only.contains("::") && !only.starts_with(KERNEL);
            chosen += &format!(" '{}{only}'", if is_module { KERNEL } else { "" });
        }
        if is_split {
            command += &format!(
                " --exact $($TESTS --list --format terse{chosen} | sed -n 's/: test$//p' \
                 | sed -n \"${{part}}p\")"
            );
        } else {
            command += &chosen;
        }
        command
    }
}

/// Prints the outcomes. Returns an error unless every machine succeeded.
fn report(mut outcomes: Vec<Outcome<'_>>, are_tests: bool) -> anyhow::Result<()> {
    outcomes.sort_by_key(|outcome| outcome.part.number);
    let mut kernels: Vec<Outcome<'_>> = Vec::new();
    for outcome in outcomes {
        let is_same = |known: &&mut Outcome<'_>| std::ptr::eq(known.kernel, outcome.kernel);
        match kernels.iter_mut().find(is_same) {
            Some(known) => {
                known.tally.add(outcome.tally);
                known.took = known.took.max(outcome.took);
                if known.ended.is_ok() {
                    known.ended = outcome.ended;
                }
            }
            None => kernels.push(outcome),
        }
    }
    let mut failed = Vec::new();
    for Outcome { kernel, tally, ended, .. } in &kernels {
        eprintln!("vm: {}: seconds by module:{}", kernel.name, tally.modules());
        let judged = tally.judge(are_tests);
        if let Err(error) = ended.as_ref().and(judged.as_ref()) {
            eprintln!("vm: {}: {error:#}", kernel.name);
            failed.push(kernel.name.as_str());
        }
    }
    eprintln!("\n{}", heading());
    for Outcome { kernel, tally, took, .. } in &kernels {
        eprintln!("{}", row(&kernel.name, &kernel.release, tally, *took));
    }
    ensure!(
        failed.is_empty(),
        "tests fail on {}; to run one of the kernel again: `cargo xtask vm {} --only NAME`",
        failed.join(", "),
        failed[0]
    );
    Ok(())
}

/// The netmon that a machine has.
enum Netmon {
    Built(Programs),
    /// A package of Debian.
    Package(PathBuf),
}

/// The programs that the machines run.
struct Programs {
    netmon: PathBuf,
    tests: PathBuf,
}

impl Programs {
    /// Builds the programs. [`PROFILE`] optimises only where the compiler takes less time than the
    /// machines save in emulation.
    fn build(profile: &str, arch: Arch) -> anyhow::Result<Self> {
        let mut build = cargo();
        build.args(["test", "--no-run", "--workspace", "--test", "it"]);
        build.args(["--profile", profile, "--message-format", "json-render-diagnostics"]);
        arch.build_for(&mut build)?;
        let stdout = output(build.stderr(Stdio::inherit()))?;
        let messages: Vec<serde_json::Value> =
            stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let executable = |target: &str, kind: &str| {
            messages
                .iter()
                .filter(|message| message["target"]["name"] == target)
                .filter(|message| message["target"]["kind"][0] == kind)
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .with_context(|| format!("cargo names no program of {target}"))
        };
        Ok(Self { netmon: executable("netmon", "bin")?, tests: executable("it", "test")? })
    }
}
