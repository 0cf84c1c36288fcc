//! `run` and `test`: build as the user, run as root.

use std::{env, ffi::OsString, fs, path::Path, process};

use anyhow::Context;

use crate::shell::{as_root, build_release, cargo, is_root, release_binary, root, run as shell};

/// Builds and runs netmon, and ends with its exit code.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<()> {
    build_release()?;
    let mut command = as_root(release_binary());
    let status = command.args(args).status().context("cannot start netmon (is sudo installed?)")?;
    process::exit(status.code().unwrap_or(1));
}

/// The test program that runs as root.
const KERNEL: &str = "kernel";

/// Returns the names of netmon's test programs: each is a file, or a directory with `main.rs`.
fn test_programs() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("netmon/tests"))? {
        let path = entry?.path();
        let is_program = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file();
        if let Some(name) = path.file_stem().filter(|_| is_program) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Runs the tests, or only the kernel tests. The kernel tests run as root, with `object` if given.
pub(crate) fn test(object: Option<&Path>, only_kernel: bool) -> anyhow::Result<()> {
    if !only_kernel {
        shell(cargo().args(["test", "--workspace", "--lib", "--bins"]))?;
        shell(cargo().args(["test", "--workspace", "--doc"]))?;
        let mut tests = cargo();
        tests.args(["test", "--package", "netmon"]);
        for name in test_programs()?.iter().filter(|name| *name != KERNEL) {
            tests.arg("--test").arg(name);
        }
        shell(&mut tests)?;
    }
    let mut tests = cargo();
    tests.args(["test", "--package", "netmon", "--test", KERNEL]);
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
        tests.env(runner, format!("sudo --preserve-env=NETMON_EBPF_OBJECT env PATH={path}"));
    }
    shell(&mut tests)
}

fn host() -> anyhow::Result<String> {
    let version = crate::shell::output(process::Command::new("rustc").arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_program_is_run() {
        let names = test_programs().expect("netmon's tests");
        for name in [KERNEL, "past", "scenarios"] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert!(
            !names.iter().any(|name| name == "sample_events"),
            "a module without tests: {names:?}"
        );
    }
}
