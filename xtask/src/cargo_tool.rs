//! Tools that cargo installs, below `target/tools`.

use std::{fs, path::PathBuf};

use anyhow::Context;

use crate::shell::{cargo, root, run};

/// Returns the path of the tool `name` in `version`. Installs the tool if it is missing.
pub(crate) fn cargo_tool(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let directory = root().join("target/tools").join(format!("{name}-{version}"));
    let tool = directory.join("bin").join(name);
    if !fs::exists(&tool)? {
        let mut install = cargo();
        // The tools run for seconds, and optimised ones take minutes to build. Only their parts in
        // C have much to do: compression.
        install.args(["install", "--quiet", "--locked", "--debug", name, "--version", version]);
        install.env("CFLAGS", "-O2");
        run(install.arg("--root").arg(&directory))
            .with_context(|| format!("{name} {version} cannot be installed"))?;
    }
    Ok(tool)
}
