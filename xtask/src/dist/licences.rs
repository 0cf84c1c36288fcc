//! The licences of what is in the programs: netmon's own, and those of its crates and libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{
    release::{Release, packages},
    target::Target,
};
use crate::shell::{cargo, output, root};

/// The licence of a program as a whole (SPDX). Of a crate with a choice, one that is here is taken.
pub(super) const OF_PROGRAM: &str = "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only) AND \
     Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND LGPL-2.1-or-later AND MIT AND Zlib";
/// netmon's own licences.
const OWN: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "netmon-ebpf/LICENSE-GPL-2.0"];
/// The beginnings of the names of files with licences, and with notices that the Apache licence
/// (4d) wants to be passed on.
const NAMES: [&str; 6] = ["licen", "copying", "copyright", "notice", "unlicense", "authors"];
/// The deepest directory that is looked into: a library in C is some levels below its crate.
const DEEPEST: usize = 3;
const RULE: &str =
    "================================================================================";

/// Returns the files with all licences.
pub(super) fn files(release: &Release) -> anyhow::Result<Vec<PathBuf>> {
    let path = release.work("licences")?.join("licences");
    fs::write(&path, text(&packages()?)?).with_context(|| path.display().to_string())?;
    let library = release.rust.licence()?;
    // The packages have a file `copyright` of their own.
    let form = if library.extension().is_some() { "html" } else { "txt" };
    let copy = path.with_file_name(format!("COPYRIGHT-library.{form}"));
    fs::copy(&library, &copy).with_context(|| library.display().to_string())?;
    let mut files = OWN.map(|name| root().join(name)).to_vec();
    files.extend([copy, path]);
    Ok(files)
}

/// Returns the crates of the programs with the texts of their licences, each text once. `packages`
/// are the directories of crates.
fn text(packages: &BTreeSet<PathBuf>) -> anyhow::Result<String> {
    let mut text = "The static program of netmon contains musl and the crates below. The texts of \
                    their licences\nfollow. The file beside this one has the licences of Rust's \
                    standard library.\n\n"
        .to_owned();
    let musl = fs::read_to_string(root().join("dist/musl-copyright"))?;
    let mut texts = BTreeMap::from([(musl, vec!["musl".to_owned()])]);
    for (name, expression) in crates()? {
        let directory = packages.iter().find(|package| package.ends_with(&name));
        let directory = directory.with_context(|| format!("the source of {name} is missing"))?;
        let mut found = BTreeSet::new();
        collect(directory, DEEPEST, &mut found)?;
        ensure!(
            is_covered(&expression),
            "{name} is under {expression}, which is no part of {OF_PROGRAM}"
        );
        // The Apache licence has no name to fill in: its text is the same for every crate.
        ensure!(
            !found.is_empty() || expression.contains("Apache-2.0"),
            "{name} has no file with its licence, {expression}"
        );
        text.push_str(&format!("{name}: {expression}\n"));
        for found in found {
            texts.entry(found).or_default().push(name.clone());
        }
    }
    for (licence, names) in texts {
        text.push_str(&format!("\n{RULE}\n{}\n\n{}\n", names.join(", "), licence.trim_end()));
    }
    Ok(text)
}

/// Returns the crates in the programs, each as NAME-VERSION with its licence (SPDX).
fn crates() -> anyhow::Result<BTreeMap<String, String>> {
    let mut crates = BTreeMap::new();
    for target in Target::ALL {
        let tree = output(
            cargo()
                .args(["tree", "--locked", "--package", "netmon", "--target", target.triple()])
                .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
                .args(["--format", "{p}|{l}"]),
        )?;
        for line in tree.lines() {
            let (package, expression) = line.split_once('|').context("a crate and its licence")?;
            let mut words = package.split(' ');
            let (name, version) = (words.next(), words.next());
            let (Some(name), Some(version)) = (name, version) else { continue };
            let name = format!("{name}-{}", version.trim_start_matches('v'));
            // A line that repeats another ends with a mark. The crates here have a path.
            if !package.contains("(/") {
                crates.insert(name, expression.trim_end_matches(" (*)").to_owned());
            }
        }
    }
    Ok(crates)
}

/// Adds the files with licences in a directory to `found`.
fn collect(directory: &Path, depth: usize, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, found)?;
        } else if NAMES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".rs") {
            let content = fs::read(entry.path())?;
            found.insert(String::from_utf8_lossy(&content).into_owned());
        }
    }
    Ok(())
}

/// Returns whether [`OF_PROGRAM`] has one of the choices of an expression.
fn is_covered(expression: &str) -> bool {
    let is_part = |licence: &str| OF_PROGRAM.split(" AND ").any(|part| part == licence.trim());
    let mut choices = expression.split(" OR ").flat_map(|choice| choice.split('/'));
    choices.any(|choice| choice.split(" AND ").all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_the_whole_covers_a_crate() {
        for covered in ["MIT", "MIT/Unlicense", "Apache-2.0 AND MIT", "BSL-1.0 OR Apache-2.0"] {
            assert!(is_covered(covered), "{covered}");
        }
        for other in ["Unicode-3.0", "MIT AND Unicode-3.0", "", "EUPL-1.2 OR BSL-1.0"] {
            assert!(!is_covered(other), "{other}");
        }
    }

    /// The crates that netmon has now.
    #[test]
    fn every_crate_comes_with_its_licence() {
        let text = text(&packages().expect("the crates")).expect("their licences");
        for part in [
            "\nbtf-rs-2",
            "GNU LESSER GENERAL PUBLIC LICENSE",
            "\nmimalloc-0",
            "Microsoft Corporation",
            "Apache Arrow\nCopyright",
            "Meta Platforms",
            "Rich Felker",
        ] {
            assert!(text.contains(part), "{part:?} is missing");
        }
    }
}
