//! `ci`: everything that must hold before a change lands.

use std::{env, process::Command, time::Instant};

use anyhow::Context;

use crate::{
    cargo_tool::cargo_tool,
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
    let mut check = Command::new(cargo_tool("cargo-deny", DENY_VERSION)?);
    check.current_dir(root()).args(["--log-level", "error", "check"]);
    run(check.args(["licenses", "bans", "sources"])).context("the rules of deny.toml")
}

/// Checks the form of every crate's sources.
fn format() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "netmon-ebpf/Cargo.toml"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}

/// Runs each bench once: nothing else notices that a bench does not run any more.
fn benches() -> anyhow::Result<()> {
    run(cargo().args(["test", "--quiet", "--package", "netmon", "--benches"]))
}

fn lints() -> anyhow::Result<()> {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Checks that the fuzz targets compile. Fuzzing itself takes a nightly compiler.
fn fuzz_targets() -> anyhow::Result<()> {
    run(cargo()
        .args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target-dir", "target/fuzz"]))
}

/// Builds the object from source, and compares it with the committed one. An object of other bytes
/// is tested as the committed one was.
fn fresh_object() -> anyhow::Result<()> {
    let Some(fresh) = ebpf::check()? else { return Ok(()) };
    test(Some(&fresh), true).context("the kernel tests with the object built just now")
}

type Check = fn() -> anyhow::Result<()>;

/// The checks by name. Checks of a second come before checks of minutes.
const CHECKS: [(&str, Check); 9] = [
    ("format", format),
    ("tests", || test(None, false)),
    ("benches", benches),
    // Without Spark, whose download is 456 MB.
    ("docs", || Docs::default().run()),
    ("lints", lints),
    ("fuzz targets", fuzz_targets),
    ("dependencies", dependencies),
    ("machines", machines),
    ("kernel object", || setup().and_then(|()| fresh_object())),
];

/// Runs every check, and prints the time of each.
pub(crate) fn ci() -> anyhow::Result<()> {
    let mut times = Vec::new();
    for (name, check) in CHECKS {
        let began = Instant::now();
        check().with_context(|| format!("ci: {name}"))?;
        times.push(format!("{name} {} s", began.elapsed().as_secs()));
    }
    eprintln!("ci: all well: {}", times.join(", "));
    Ok(())
}
