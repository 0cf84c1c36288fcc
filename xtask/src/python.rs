//! Python with packages of its own: what a checking script is written in.

use std::{path::PathBuf, process::Command};

use crate::shell::{root, run};

/// The interpreter of an environment below `target` that has `packages`, as PyPI calls them; made
/// if it is not there.
pub(crate) fn python(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let environment = root().join("target").join(name);
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    Ok(python)
}
