//! Paths of the machine that builds, and the names that compilers write instead. Without them a
//! program would contain the paths of its build, and differ from one directory to the other.

use std::{env, fs, path::Path, path::PathBuf};

use anyhow::Context;

/// A path, and the name instead.
pub(crate) type Remap = (PathBuf, String);

/// Returns the remaps for sources in `source` and for crates. Of several that apply, compilers take
/// the last: they go from the general to the particular.
pub(crate) fn remaps(source: &Path) -> anyhow::Result<Vec<Remap>> {
    let home = cargo_home()?;
    let mut remaps =
        vec![(source.to_owned(), "/netmon".to_owned()), (home.clone(), "/cargo".to_owned())];
    for registry in fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten() {
        remaps.push((registry.path(), "/crates".to_owned()));
    }
    Ok(remaps)
}

/// Returns the flag of a compiler for a remap.
pub(crate) fn flag(name: &str, (path, instead): &Remap) -> String {
    format!("{name}={}={instead}", path.display())
}

/// Returns cargo's home: the crates and the installed tools.
pub(crate) fn cargo_home() -> anyhow::Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("no home directory: set CARGO_HOME")
}
