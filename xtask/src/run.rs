//! `run` and `test`: build as the user, run as root.

use std::{env, ffi::OsString, path::Path, process};

use anyhow::Context;

use crate::shell::{as_root, build_release, cargo, is_root, release_binary, run as shell};

/// Builds and runs netmon, and ends with its exit code.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<()> {
    build_release()?;
    let mut command = as_root(release_binary());
    let status = command.args(args).status().context("cannot start netmon (is sudo installed?)")?;
    process::exit(status.code().unwrap_or(1));
}

/// The names of the tests for root begin with this.
pub(crate) const KERNEL: &str = "kernel::";
/// The program of the integration tests. Every command compiles the whole workspace, so that each
/// crate is compiled once, with one set of features.
pub(crate) const PROGRAM: [&str; 4] = ["test", "--workspace", "--test", "it"];

/// Runs the tests, or only the kernel tests. The kernel tests run as root, with `object` if given.
pub(crate) fn test(object: Option<&Path>, only_kernel: bool) -> anyhow::Result<()> {
    if !only_kernel {
        shell(cargo().args(["test", "--workspace", "--lib", "--bins"]))?;
        shell(in_english().args(PROGRAM).args(["--", "--skip", KERNEL]))?;
        shell(cargo().args(["test", "--workspace", "--doc"]))?;
    }
    let mut tests = in_english();
    tests.args(PROGRAM).args(["--", KERNEL]);
    if let Some(object) = object {
        let object = object.canonicalize().with_context(|| format!("{}", object.display()))?;
        eprintln!("kernel tests with {}", object.display());
        tests.env("NETMON_EBPF_OBJECT", object);
    } else {
        tests.env_remove("NETMON_EBPF_OBJECT");
    }
    if !is_root() {
        // Cargo builds as this user and starts only the test program through sudo.
        let runner = format!("CARGO_TARGET_{}_RUNNER", host()?.replace('-', "_").to_uppercase());
        let path = env::var("PATH").unwrap_or_default();
        tests.env(
            runner,
            format!("sudo --preserve-env=NETMON_EBPF_OBJECT env PATH={path} LC_ALL=C"),
        );
    }
    shell(&mut tests)
}

/// Returns cargo for tests that read the texts of netmon, which has the language of its user.
fn in_english() -> process::Command {
    let mut command = cargo();
    command.env("LC_ALL", "C");
    command
}

fn host() -> anyhow::Result<String> {
    let version = crate::shell::output(process::Command::new("rustc").arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}
