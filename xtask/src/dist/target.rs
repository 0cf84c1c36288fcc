//! The architectures that netmon is released for, by all their names.

use std::env;

use anyhow::bail;
use clap::ValueEnum;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Target {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Target {
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Returns this machine's architecture.
    pub(super) fn native() -> anyhow::Result<Self> {
        match env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => {
                bail!("netmon is released from x86_64 or aarch64, and this machine is {other}")
            }
        }
    }

    pub(super) fn is_native(self) -> bool {
        self.name() == env::consts::ARCH
    }

    /// Returns the name in `uname -m` and of rpm.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Returns the name of the Rust compiler's target.
    pub(super) const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Returns the name of dpkg and of images.
    pub(super) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Returns the prefix of GNU's tools.
    pub(super) const fn gnu(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// Returns the name in Debian's packages of GNU's tools.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// Returns the compiler of C. Debian has musl's headers for the machine's own architecture.
    pub(super) fn compiler(self) -> String {
        if self.is_native() { "musl-gcc".to_owned() } else { format!("{}-gcc", self.gnu()) }
    }

    /// Returns the flags of the compiler of C. Where the headers are glibc's, nothing may use
    /// functions that musl lacks.
    pub(super) fn flags(self) -> Vec<&'static str> {
        let mut flags = Vec::new();
        if !self.is_native() {
            flags.push("-U_FORTIFY_SOURCE");
        }
        if self == Self::Aarch64 {
            // The functions for atomics out of line are in libgcc, which is not linked.
            flags.push("-mno-outline-atomics");
        }
        flags
    }
}
