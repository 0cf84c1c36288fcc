//! Tools that cargo installs, below `target/tools`.

use std::{fs, path::PathBuf};

use anyhow::Context;

use crate::shell::{cargo, root, run};

/// The arguments of `cargo install` for most tools: a tool runs for seconds, and an optimised tool
/// takes minutes to build. Only the parts in C have much to do: compression.
pub(crate) const QUICKLY: &[&str] = &["--debug"];

/// Returns the path of the tool `name` in `version`. Installs the tool if it is missing.
pub(crate) fn cargo_tool(name: &str, version: &str, how: &[&str]) -> anyhow::Result<PathBuf> {
    let directory = root().join("target/tools").join(format!("{name}-{version}"));
    let tool = directory.join("bin").join(name);
    if !fs::exists(&tool)? {
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", name, "--version", version]).args(how);
        install.env("CFLAGS", "-O2");
        run(install.arg("--root").arg(&directory))
            .with_context(|| format!("{name} {version} cannot be installed"))?;
    }
    Ok(tool)
}
