//! `ci`: everything that must hold before a change lands.

use std::{env, process::Command};

use anyhow::Context;

use crate::{
    docs::Docs,
    ebpf,
    run::test,
    setup::setup,
    shell::{cargo, run},
};

/// Kernel tests that depend on the kernel most, on one that has the least and on one that has it all.
fn machines() -> anyhow::Result<()> {
    const ONLY: [&str; 6] =
        ["lifecycle::", "minisockets::", "owners::", "verdicts::", "doctor::it_tells", "seeds::"];
    let mut machines = Command::new(env::current_exe()?);
    machines.args(["vm", "5.10", "6.1", "--debug"]);
    run(machines.args(ONLY.iter().flat_map(|only| ["--only", only])))
}

pub(crate) fn ci() -> anyhow::Result<()> {
    // What takes a second, before what takes minutes.
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "netmon-ebpf/Cargo.toml"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    test(None, false)?;
    // Without Spark, whose download is 456 MB.
    Docs::default().run()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))?;
    // Fuzzing itself takes a nightly compiler; that the targets still fit does not.
    run(cargo()
        .args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target-dir", "target/fuzz"]))?;
    machines().context("the kernel tests on other kernels")?;
    setup()?;
    ebpf::check()?;
    let fresh = ebpf::build_aside()?;
    test(Some(&fresh), true).context("the kernel tests with the object built just now")?;
    eprintln!("ci: all well");
    Ok(())
}
