//! Commands that xtask runs: a failure is an error that names the command.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// Returns the top of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns the cargo that runs this program, at the top of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Returns the directory of cargo's builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the path of netmon's release build, which benches and runs use.
pub(crate) fn release_binary() -> PathBuf {
    target().join("release/netmon")
}

/// Builds netmon as its users do. The first build takes minutes, and shows its progress.
pub(crate) fn build_release() -> anyhow::Result<()> {
    run(cargo().args(["build", "--release", "--package", "netmon"]))
}

/// Returns the command for `program`, through sudo when this process is not root's.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--preserve-env=NETMON_EBPF_OBJECT,NO_COLOR,TZ").arg(program);
    command
}

/// Returns the directories with programs, in the order in which a shell looks there.
pub(crate) fn program_directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect()
}

/// Returns the path of the program `name` on this machine.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    program_directories().iter().map(|place| place.join(name)).find(|path| path.is_file())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints and runs `command`; a failure is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("+ {}", words(command));
    let status = command.status().with_context(|| missing(command))?;
    ensure!(status.success(), "{} failed: {status}", words(command));
    Ok(())
}

/// Returns the standard output of `command`, trimmed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| missing(command))?;
    if !output.status.success() {
        bail!("{} failed: {}", words(command), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn missing(command: &Command) -> String {
    format!("cannot run {}", command.get_program().to_string_lossy())
}

fn words(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Returns the path of this program's release build.
pub(crate) fn xtask() -> PathBuf {
    release_binary().with_file_name("xtask")
}
