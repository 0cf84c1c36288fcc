//! The licences of what is in the programs: netmon's own, and those of its crates and libraries.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::release::Release;
use crate::{
    cargo_tool::cargo_tool,
    shell::{root, run},
};

/// The version of cargo-about.
pub(super) const VERSION: &str = "0.9.3";
/// The licence of a program as a whole (SPDX). Of crates with a choice, `dist/licences.toml` takes
/// Apache-2.0 where it may.
pub(super) const OF_PROGRAM: &str = "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only) AND \
     Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND LGPL-2.1-or-later AND MIT AND Zlib";
/// netmon's own licences.
const OWN: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "netmon-ebpf/LICENSE-GPL-2.0"];
/// The line above the name of a licence.
const RULE: &str = "================";

/// Writes all licences into a directory, and returns the directory.
pub(super) fn write(release: &Release) -> anyhow::Result<PathBuf> {
    let directory = release.work("licences")?;
    for from in OWN.map(|name| root().join(name)).into_iter().chain([release.rust.licence()?]) {
        let to = directory.join(from.file_name().context("a file")?);
        fs::copy(&from, to).with_context(|| format!("the licence in {}", from.display()))?;
    }
    let path = directory.join("licences");
    // The tool compares texts for minutes, if it is not optimised.
    run(Command::new(cargo_tool("cargo-about", VERSION, &["--features", "cli"])?)
        .args(["about", "generate", "--locked", "--fail", "--config"])
        .arg(root().join("dist/licences.toml"))
        .arg("--output-file")
        .arg(&path)
        .arg(root().join("dist/licences.hbs"))
        .current_dir(root().join("netmon")))
    .context("the licences of the crates")?;
    let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    check(&text)?;
    text.push_str(&fs::read_to_string(root().join("dist/musl-copyright"))?);
    for notice in notices(release)? {
        text.push_str(&format!("\n{RULE}\n{notice}"));
    }
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(directory)
}

/// Returns the notices of the crates, which the Apache licence (4d) wants to be passed on.
fn notices(release: &Release) -> anyhow::Result<BTreeSet<String>> {
    let mut notices = BTreeSet::new();
    for package in release.packages()? {
        for file in fs::read_dir(&package)?.flatten() {
            if file.file_name().to_string_lossy().starts_with("NOTICE") {
                let text = fs::read_to_string(file.path());
                notices.insert(text.with_context(|| file.path().display().to_string())?);
            }
        }
    }
    let has_arrow = notices.iter().any(|notice| notice.contains("Apache Software Foundation"));
    ensure!(has_arrow, "no crate has the notice of Apache Arrow");
    Ok(notices)
}

/// Fails if a text of a licence has no names in it, or if the licences are not those of
/// [`OF_PROGRAM`].
fn check(text: &str) -> anyhow::Result<()> {
    ensure!(!text.contains("<copyright holders>"), "a crate has no text of its licence");
    let lines: Vec<_> = text.lines().collect();
    let names = lines.windows(2).filter(|lines| lines[0].starts_with(RULE)).map(|lines| lines[1]);
    let found: BTreeSet<_> =
        names.filter_map(|name| Some(name.rsplit_once('(')?.1.trim_end_matches(')'))).collect();
    let expected: BTreeSet<_> =
        OF_PROGRAM.split(" AND ").filter(|part| !part.starts_with('(')).collect();
    ensure!(found == expected, "the crates are under {found:?}, and OF_PROGRAM has {expected:?}");
    Ok(())
}

/// Returns the files of a directory.
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        files.push(file?.path());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> String {
        names.iter().map(|name| format!("{RULE}====\nA licence ({name})\ntext\n")).collect()
    }

    #[test]
    fn licences_that_the_whole_does_not_name_are_refused() {
        let all =
            ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "LGPL-2.1-or-later", "MIT", "Zlib"];
        check(&texts(&all)).expect("all of them");
        check(&texts(&all[1..])).expect_err("one is missing");
        check(&texts(&[&all[..], &["EUPL-1.2"]].concat())).expect_err("one more");
        check(&(texts(&all) + "Copyright (c) <year> <copyright holders>")).expect_err("no names");
    }
}
