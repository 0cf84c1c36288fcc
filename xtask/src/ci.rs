//! `ci`: everything that must hold before a change lands.

use std::{env, process::Command};

use anyhow::Context;

use crate::{
    docs::Docs,
    ebpf,
    run::test,
    setup::setup,
    shell::{cargo, root, run},
};

/// The cargo-deny that is installed.
const DENY_VERSION: &str = "0.20.2";

/// Runs the kernel tests that depend on the kernel most: on 5.10, the one kernel of the basic tier,
/// and on 6.1, of the exact tier.
fn machines() -> anyhow::Result<()> {
    const ONLY: [&str; 6] =
        ["lifecycle::", "minisockets::", "owners::", "verdicts::", "doctor::it_tells", "seeds::"];
    let mut machines = Command::new(env::current_exe()?);
    machines.args(["vm", "5.10", "6.1", "--debug"]);
    run(machines.args(ONLY.iter().flat_map(|only| ["--only", only])))
}

/// Checks the licences, the sources and the versions of dependencies (`deny.toml`). Advisories ask
/// the wider internet, and are no part of CI.
fn dependencies() -> anyhow::Result<()> {
    let tools = root().join("target/tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "cargo-deny", "--version", DENY_VERSION]);
        run(install.arg("--root").arg(&tools))?;
    }
    let mut check = Command::new(deny);
    check.current_dir(root()).args(["--log-level", "error", "check"]);
    run(check.args(["licenses", "bans", "sources"])).context("the rules of deny.toml")
}

pub(crate) fn ci() -> anyhow::Result<()> {
    // Checks of a second come before checks of minutes.
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "netmon-ebpf/Cargo.toml"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    test(None, false)?;
    // Each bench once: nothing else notices that a bench does not run any more.
    run(cargo().args(["test", "--quiet", "--package", "netmon", "--benches"]))?;
    // Without Spark, whose download is 456 MB.
    Docs::default().run()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))?;
    // Fuzzing takes a nightly compiler; a check that the targets compile does not.
    run(cargo()
        .args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target-dir", "target/fuzz"]))?;
    dependencies()?;
    machines().context("the kernel tests on other kernels")?;
    setup()?;
    ebpf::check()?;
    let fresh = ebpf::build_aside()?;
    test(Some(&fresh), true).context("the kernel tests with the object built just now")?;
    eprintln!("ci: all well");
    Ok(())
}
