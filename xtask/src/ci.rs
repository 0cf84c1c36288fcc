//! `ci`: everything that must hold before a change lands.

use anyhow::Context;

use crate::{
    docs::docs,
    ebpf,
    run::test,
    setup::setup,
    shell::{cargo, run},
};

pub(crate) fn ci() -> anyhow::Result<()> {
    test(None, false)?;
    docs()?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "netmon-ebpf/Cargo.toml"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))?;
    // Fuzzing itself takes a nightly compiler; that the targets still fit does not.
    run(cargo()
        .args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target-dir", "target/fuzz"]))?;
    setup()?;
    ebpf::check()?;
    let fresh = ebpf::build_aside()?;
    test(Some(&fresh), true).context("the kernel tests with the object built just now")?;
    eprintln!("ci: all well");
    Ok(())
}
