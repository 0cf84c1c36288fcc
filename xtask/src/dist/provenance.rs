//! `provenance.txt`: the sources and the tools of a release.

use std::{fs, path::Path, process::Command};

use anyhow::Context;

use super::{
    packages,
    program::{Program, c_flags},
    release::{PROVENANCE, Release},
    rust::Rust,
    sbom,
};
use crate::{digest::digest, shell::root};

/// Files whose digests say what was built, besides the commit.
const SOURCES: [&str; 2] = ["Cargo.lock", "netmon-ebpf/prebuilt/netmon.bpf.o"];

/// Debian's packages whose programs make the bytes of a release.
const PACKAGES: [&str; 7] =
    ["binutils", "binutils-aarch64-linux-gnu", "musl-dev", "git", "tar", "gzip", "buildah"];

/// Writes the provenance of `programs`.
pub(super) fn write(release: &Release, programs: &[Program]) -> anyhow::Result<()> {
    let changed = if release.is_changed { ", and changes that no commit has" } else { "" };
    let mut text = format!("netmon {}\ncommit: {}{changed}\n", release.version, release.commit);
    for source in SOURCES {
        let content = fs::read(root().join(source)).context(source)?;
        text.push_str(&format!("{source}: sha256 {}\n", digest(&content)));
    }
    let rustc = release.rust.version(&root())?;
    for line in rustc.lines().filter(|line| !line.starts_with("binary")) {
        text.push_str(&format!("rustc: {line}\n"));
    }
    text.push_str(&format!(
        "{}\ncargo-deb: {}\ncargo-generate-rpm: {}\ncargo-cyclonedx: {}\n",
        release.rust.origin(),
        packages::DEB,
        packages::RPM,
        sbom::VERSION
    ));
    text.push_str(&installed()?);
    for program in programs {
        text.push_str(&of_program(&release.rust, program)?);
    }
    fs::write(release.directory.join(PROVENANCE), text)
        .with_context(|| format!("writing {PROVENANCE}"))
}

/// Returns the versions of the packages that are installed, a line each.
fn installed() -> anyhow::Result<String> {
    // The program fails if one of the packages is missing, which prints the others.
    let shown = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package}: ${Version}\n"])
        .args(PACKAGES)
        .output()
        .context("dpkg-query")?;
    Ok(String::from_utf8_lossy(&shown.stdout).into_owned())
}

fn of_program(rust: &Rust, program: &Program) -> anyhow::Result<String> {
    let target = program.target;
    let compiler = rust.c_compiler(target)?;
    let content = fs::read(&program.path)?;
    Ok(format!(
        "\n{}\nprofile: dist (Cargo.toml)\nflags of rustc: {}\ncompiler of C: {compiler}\n\
         flags of C: {}\nprogram: sha256 {}, {} bytes\n",
        target.triple(),
        without_paths(&rust.flags(&root())?),
        without_paths(&c_flags(&root(), target)?),
        digest(&content),
        content.len()
    ))
}

/// Returns the flags with `…` for paths of this machine.
fn without_paths(flags: &[String]) -> String {
    let flags = flags.iter().map(|flag| match flag.split_once("=/") {
        Some((name, rest)) => {
            let instead = rest.rsplit('=').next().filter(|part| Path::new(part).is_absolute());
            format!("{name}=…={}", instead.unwrap_or("…"))
        }
        None => flag.clone(),
    });
    let mut flags: Vec<_> = flags.collect();
    // Several registries of crates have the same name.
    flags.dedup();
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_no_path_of_the_machine() {
        let flags =
            ["-U_FORTIFY_SOURCE", "-ffile-prefix-map=/home/me/netmon=/netmon", "-Clink-arg=--a=b"];
        let flags = flags.map(ToOwned::to_owned);
        let expected = "-U_FORTIFY_SOURCE -ffile-prefix-map=…=/netmon -Clink-arg=--a=b";
        assert_eq!(without_paths(&flags), expected);
    }
}
