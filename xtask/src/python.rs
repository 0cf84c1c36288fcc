//! Python with packages of its own, for the scripts that check.

use std::{path::PathBuf, process::Command};

use crate::shell::{root, run};

/// Returns the interpreter of a virtual environment below `target` that has `packages`, by their
/// names at PyPI. Makes the environment if it is missing.
pub(crate) fn python(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let environment = root().join("target").join(name);
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    Ok(python)
}
