//! The tools that a release takes, installed where they are missing.

use anyhow::ensure;

use super::{Kind, rust::Rust, target::Target};
use crate::{debian, shell::find};

/// Installs the missing tools, and returns the compiler. First prints what it installs.
pub(super) fn install(
    targets: &[Target],
    makes: impl Fn(Kind) -> bool,
    is_trial: bool,
) -> anyhow::Result<Rust> {
    let rust = Rust::install(targets)?;
    packages(&needed(targets, rust.takes_gcc(), makes, is_trial))?;
    Ok(rust)
}

/// Returns the programs, each with the packages of Debian that have it.
fn needed(
    targets: &[Target],
    takes_gcc: bool,
    makes: impl Fn(Kind) -> bool,
    is_trial: bool,
) -> Vec<(String, Vec<String>)> {
    let mut needed = Vec::new();
    let mut need = |program: &str, packages: &[&str]| {
        needed.push((program.to_owned(), packages.iter().map(ToString::to_string).collect()));
    };
    need("git", &["git"]);
    for target in targets {
        let (gnu, package) = (target.gnu(), target.package());
        need(&format!("{gnu}-objcopy"), &[&format!("binutils-{package}")]);
        if !takes_gcc {
            continue;
        }
        if target.is_native() {
            need("musl-gcc", &["musl-tools"]);
        } else {
            let headers = format!("libc6-dev-{}-cross", target.debian());
            need(&format!("{gnu}-gcc"), &[&format!("gcc-{package}"), &headers]);
        }
    }
    if makes(Kind::Image) {
        need("buildah", &["buildah"]);
    }
    if is_trial {
        need("debootstrap", &["debootstrap"]);
        need("rpm", &["rpm"]);
        need("umoci", &["umoci"]);
        need("runc", &["runc"]);
        for target in Target::ALL.into_iter().filter(|target| !target.is_native()) {
            need(&format!("qemu-{}", target.name()), &["qemu-user"]);
        }
    }
    needed
}

/// Installs Debian's packages of the programs that are missing.
fn packages(needed: &[(String, Vec<String>)]) -> anyhow::Result<()> {
    let missing: Vec<_> = needed.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().flat_map(|(_, packages)| packages).collect();
    let names: Vec<_> = packages.iter().map(|name| name.as_str()).collect();
    eprintln!("dist: installs these packages of Debian: {}", names.join(" "));
    ensure!(
        find("apt-get").is_some(),
        "this machine has no apt-get: install {} by other means",
        missing.iter().map(|(program, _)| program.as_str()).collect::<Vec<_>>().join(", ")
    );
    debian::install(&names)
}
