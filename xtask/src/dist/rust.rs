//! The Rust compiler with a standard library for the targets: rustup's, or else Debian's compiler,
//! which builds the library from source and links by zig.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::target::Target;
use crate::{
    debian::install,
    python::python,
    remaps::{Remap, flag, remaps},
    shell::{cargo, find, output, root, run},
};

/// Debian's compiler, and its packages: with the source of the library.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The packages at PyPI of zig, which has musl and a linker, and of its wrapper for cargo.
const ZIG: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.15.2"];

/// A compiler with a standard library.
pub(super) enum Rust {
    Rustup,
    /// Debian's, with the programs of [`ZIG`] in a directory.
    Debian {
        zig: PathBuf,
    },
}

impl Rust {
    /// Finds or installs the standard library for `targets`. First prints what it installs.
    pub(super) fn install(targets: &[Target]) -> anyhow::Result<Self> {
        match rustup(targets) {
            Ok(()) => Ok(Self::Rustup),
            Err(error) => {
                eprintln!("dist: {error:#}; instead, Debian's compiler builds it, and zig links");
                debian()
            }
        }
    }

    /// Returns the command that builds from the checkout in `source`, to be followed by the
    /// arguments of `cargo build`.
    pub(super) fn build(&self, source: &Path, target: Target) -> anyhow::Result<Command> {
        let variable = |name: &str| format!("{name}_{}", target.triple().replace('-', "_"));
        let mut command = match self {
            Self::Rustup => {
                let mut command = cargo();
                // The compiler's own linker: the bytes do not depend on this machine's.
                let linker = variable("CARGO_TARGET").to_uppercase() + "_LINKER";
                command.env(linker, "rust-lld");
                command.env(variable("CC"), target.compiler());
                command.env(variable("AR"), format!("{}-ar", target.gnu()));
                command.arg("build");
                command
            }
            Self::Debian { zig } => {
                let mut command = Command::new(zig.join("cargo-zigbuild"));
                command.args(["zigbuild", "-Zbuild-std=std,panic_unwind"]);
                command.env("RUSTC", RUSTC).env("CARGO", CARGO).env("RUSTC_BOOTSTRAP", "1");
                command.env("CARGO_ZIGBUILD_PYTHON_PATH", zig.join("python"));
                // The cargo that runs this program is of another toolchain.
                command.env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        };
        command
            .current_dir(source)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(source)?.join("\x1f"));
        Ok(command)
    }

    /// Returns the flags of the compiler.
    pub(super) fn flags(&self, source: &Path) -> anyhow::Result<Vec<String>> {
        let flags: &[&str] = match self {
            // Packed relocations save a megabyte, and so do functions of different types that have
            // the same code.
            Self::Rustup => &[
                "-Clink-arg=--build-id=sha1",
                "-Clink-arg=--pack-dyn-relocs=relr",
                "-Clink-arg=--icf=all",
            ],
            Self::Debian { .. } => &["-Clink-self-contained=no"],
        };
        let mut flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        let mut remaps = remaps(source)?;
        remaps.push(self.library(source)?);
        flags.extend(remaps.iter().map(|remap| flag("--remap-path-prefix", remap)));
        Ok(flags)
    }

    /// Returns the remap of the library's source. The compiler knows the library by the name there,
    /// and replaces the name by the source on this machine where that is installed.
    fn library(&self, source: &Path) -> anyhow::Result<Remap> {
        let sysroot = output(self.rustc(source).args(["--print", "sysroot"]))?;
        let version = self.version(source)?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
        let library = library.canonicalize().unwrap_or(library);
        Ok((library, format!("/rustc/{}", commit.unwrap_or("unknown"))))
    }

    /// Returns `rustc -vV`.
    pub(super) fn version(&self, source: &Path) -> anyhow::Result<String> {
        output(self.rustc(source).arg("-vV"))
    }

    fn rustc(&self, source: &Path) -> Command {
        let mut rustc = Command::new(match self {
            Self::Rustup => "rustc",
            Self::Debian { .. } => RUSTC,
        });
        rustc.current_dir(source);
        rustc
    }

    /// Returns the origin of the library and the linker, for the provenance.
    pub(super) fn origin(&self) -> String {
        match self {
            Self::Rustup => "standard library: rustup's\nlinker: rust-lld of this rustc".to_owned(),
            Self::Debian { .. } => {
                format!("standard library: built from Debian's source\nlinker: {}", ZIG.join(", "))
            }
        }
    }

    /// Returns the first line of the version of the compiler of C.
    pub(super) fn c_compiler(&self, target: Target) -> anyhow::Result<String> {
        match self {
            Self::Rustup => {
                let version = output(Command::new(target.compiler()).arg("--version"))?;
                Ok(version.lines().next().unwrap_or("unknown").to_owned())
            }
            Self::Debian { .. } => Ok(ZIG[1].to_owned()),
        }
    }

    /// Returns the file with the licences of the standard library.
    pub(super) fn licence(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Rustup => {
                let sysroot = output(self.rustc(&root()).args(["--print", "sysroot"]))?;
                Ok(Path::new(&sysroot).join("share/doc/rust/COPYRIGHT-library.html"))
            }
            Self::Debian { .. } => Ok("/usr/share/doc/rustc-web/copyright".into()),
        }
    }

    /// Returns whether the compiler of C is Debian's.
    pub(super) const fn takes_gcc(&self) -> bool {
        matches!(self, Self::Rustup)
    }
}

/// Installs the library by rustup.
fn rustup(targets: &[Target]) -> anyhow::Result<()> {
    let rustup = || Command::new("rustup");
    let installed = output(rustup().args(["target", "list", "--installed"]))
        .context("no rustup for the standard library of musl")?;
    for target in targets {
        let triple = target.triple();
        if !installed.lines().any(|line| line == triple) {
            eprintln!("dist: installs the standard library of Rust for {triple}");
            run(rustup().args(["target", "add", triple]))?;
        }
    }
    Ok(())
}

/// Installs Debian's compiler, and zig.
fn debian() -> anyhow::Result<Rust> {
    if !Path::new(RUSTC).exists() {
        ensure!(
            find("apt-get").is_some(),
            "this machine has no apt-get: install rustup with {}",
            Target::ALL.map(Target::triple).join(" and ")
        );
        eprintln!("dist: installs these packages of Debian: {}", PACKAGES.join(" "));
        install(PACKAGES)?;
    }
    eprintln!("dist: installs these packages of PyPI: {}", ZIG.join(" "));
    let python = python("zig", &ZIG)?;
    let zig = python.parent().context("a directory of programs")?.to_owned();
    ensure!(zig.join("cargo-zigbuild").exists(), "{} has no cargo-zigbuild", zig.display());
    Ok(Rust::Debian { zig })
}
