//! `docs`: the queries of docs/journal.md, run against a journal.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{
    netmon::Netmon,
    shell::{cargo, output, root, run},
};

/// What the page uses, as PyPI calls it.
const PACKAGES: [&str; 6] = ["duckdb", "pyarrow", "pandas", "polars", "chdb", "pytz"];
/// Enough that every kind of query has something to count.
const CONNECTIONS: &str = "2000";

pub(crate) fn docs() -> anyhow::Result<()> {
    // What the tests have built: the page asks for what is in a journal, not how fast it came there.
    run(cargo().args(["build", "--quiet", "--package", "netmon"]))?;
    let xtask = env::current_exe().context("where this program is")?;
    let netmon = xtask.with_file_name("netmon");
    let python = root().join("target/docs");
    run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    let python = python.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;

    let journal = env::temp_dir().join(format!("netmon-docs-{}", std::process::id()));
    let recorded = record(&netmon, &xtask, &journal);
    let checked = recorded.and_then(|()| {
        let mut check = Command::new(&python);
        check.arg(root().join("xtask/src/docs.py")).arg(root().join("docs/journal.md"));
        run(check.arg(&netmon).current_dir(&journal))
    });
    fs::remove_dir_all(&journal).with_context(|| format!("removing {}", journal.display()))?;
    checked
}

/// A journal with connections that ended well and badly, and one that nobody took.
fn record(netmon: &Path, xtask: &Path, journal: &Path) -> anyhow::Result<()> {
    let to = journal.to_str().context("a path that is text")?;
    let netmon = Netmon::start(netmon, &["record", "--journal", to], Stdio::null())?;
    for ending in ["reset", "close"] {
        output(Command::new(xtask).args([
            "load",
            "--connections",
            CONNECTIONS,
            "--ending",
            ending,
        ]))?;
    }
    let nobody = std::net::TcpStream::connect("127.0.0.1:1");
    ensure!(nobody.is_err(), "somebody listens on port 1");
    netmon.stop().map(drop)
}
