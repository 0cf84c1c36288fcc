//! The architectures of machines, and their names in Rust, Debian, QEMU and Linux.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::shell::{find, output, root, run};

/// An architecture for which machines are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arch {
    #[value(name = "x86-64")]
    X86_64,
    Aarch64,
}

/// The names and the devices of an architecture.
pub(super) struct Facts {
    /// The target of Rust.
    pub(super) triple: &'static str,
    /// The architecture of Debian's packages.
    pub(super) debian: &'static str,
    /// The directory of libraries, and the prefix of the GNU tools.
    pub(super) gnu: &'static str,
    /// Debian's packages of a compiler for the architecture on another one.
    compiler_packages: &'static str,
    /// The emulator, and Debian's package of it.
    pub(super) qemu: &'static str,
    pub(super) qemu_package: &'static str,
    /// The emulator's arguments for a board.
    pub(super) board: &'static [&'static str],
    /// The CPU in emulation.
    pub(super) emulated_cpu: &'static str,
    /// The kernel's parameters.
    pub(super) parameters: &'static str,
    /// The emulator's arguments that add the channel of the tests, on standard output, to the
    /// console.
    pub(super) channel: &'static [&'static str],
    /// The device of that channel.
    pub(super) channel_device: &'static str,
}

const X86_64: Facts = Facts {
    triple: "x86_64-unknown-linux-gnu",
    debian: "amd64",
    gnu: "x86_64-linux-gnu",
    compiler_packages: "gcc-x86-64-linux-gnu and libc6-dev-amd64-cross",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    board: &[],
    emulated_cpu: "max",
    // tsc=reliable: of the clocks, the TSC costs no exit to the hypervisor.
    parameters: "console=ttyS0 tsc=reliable",
    channel: &["-serial", "stdio"],
    channel_device: "/dev/ttyS1",
};

const AARCH64: Facts = Facts {
    triple: "aarch64-unknown-linux-gnu",
    debian: "arm64",
    gnu: "aarch64-linux-gnu",
    compiler_packages: "gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
    qemu: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    board: &["-machine", "virt,gic-version=3"],
    // The CPU `max` boots eight times as slowly: it signs pointers.
    emulated_cpu: "cortex-a76",
    parameters: "console=ttyAMA0",
    // The board has one port.
    channel: &["-chardev", "stdio,id=channel", "-device", "pci-serial,chardev=channel"],
    channel_device: "/dev/ttyS0",
};

impl Arch {
    /// The architecture of this host.
    pub(super) const HOST: Self =
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    pub(super) const fn facts(self) -> &'static Facts {
        match self {
            Self::X86_64 => &X86_64,
            Self::Aarch64 => &AARCH64,
        }
    }

    /// Returns the GNU tool `name` for this architecture.
    pub(super) fn tool(self, name: &str) -> Command {
        if self == Self::HOST {
            return Command::new(name);
        }
        Command::new(format!("{}-{name}", self.facts().gnu))
    }

    /// Makes `cargo` build for this architecture.
    pub(super) fn build_for(self, cargo: &mut Command) -> anyhow::Result<()> {
        if self == Self::HOST {
            return Ok(());
        }
        let Facts { triple, gnu, compiler_packages, .. } = self.facts();
        let compiler = format!("{gnu}-gcc");
        ensure!(find(&compiler).is_some(), "there is no {compiler}: install {compiler_packages}");
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "target-libdir", "--target", triple]).current_dir(root());
        if !Path::new(&output(&mut rustc)?).exists() {
            run(Command::new("rustup").args(["target", "add", triple]).current_dir(root()))
                .with_context(|| format!("Rust has no standard library for {triple}"))?;
        }
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
        cargo.args(["--target", triple]).env(linker, compiler);
        Ok(())
    }
}
