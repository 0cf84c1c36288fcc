//! `tidy`: the rules of the house that no compiler knows.

mod graph;
mod text;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use clap::CommandFactory;

use self::{
    graph::{Arrow, Floors, Graph},
    text::Broken,
};
use crate::{
    Cli,
    shell::{output, root},
};

/// The floors of netmon: commands on top, the table and its types at the ground.
const FLOORS: [Floors; 2] = [
    Floors {
        level: "",
        floors: &[
            &["core", "enclosure"],
            &["session"],
            &["journal", "kernel", "view"],
            &["cli", "testing"],
        ],
    },
    Floors {
        level: "kernel",
        floors: &[
            &["host"],
            &["ring"],
            &["program"],
            &["sockets"],
            &["network"],
            &["stream"],
            &["doctor"],
        ],
    },
];
/// The crates whose imports are looked at.
const CRATES: [&str; 4] = ["netmon-common", "netmon-ebpf", "netmon", "xtask"];

/// Checks every rule.
///
/// # Errors
/// When one is broken: each place is printed.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut broken = imports()?;
    broken.extend(texts()?);
    for broken in &broken {
        eprintln!("{broken}");
    }
    ensure!(broken.is_empty(), "places that break a rule of the house: {}", broken.len());
    Ok(())
}

/// Circles of imports, and arrows up.
fn imports() -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for name in CRATES {
        let graph = Graph::read(&root().join(name).join("src"))?;
        let arrows = graph.arrows();
        eprintln!("{name}: {} files, {} arrows", graph.files(), arrows.len());
        for circle in graph::circles(&arrows) {
            let steps: Vec<_> = circle.iter().map(step).collect();
            broken.push(format!("{name}: a circle of imports: {}", steps.join(", ")));
        }
        for floors in FLOORS.iter().filter(|_| name == "netmon") {
            let up = graph::upward(&arrows, floors);
            broken.extend(
                up.iter().map(|arrow| format!("{name}: an import goes up: {}", step(arrow))),
            );
        }
    }
    Ok(broken)
}

/// Lines, words and names in every text of the repository.
fn texts() -> anyhow::Result<Vec<String>> {
    let files = output(Command::new("git").arg("-C").arg(root()).args([
        "ls-files",
        "--",
        "*.rs",
        "*.md",
        "*.py",
        "*.toml",
        "*.service",
        ".ci/run",
    ]))
    .context("listing the files of the repository")?;
    let mut broken = Vec::new();
    let mut add = |name: &str, places: Vec<Broken>| {
        let places = places.into_iter();
        broken.extend(places.map(|place| format!("{name}:{}: {}", place.line, place.rule)));
    };
    // `cargo xtask bench` writes the figures.
    for name in files.lines().filter(|name| !name.starts_with("docs/figures/")) {
        let text = fs::read_to_string(root().join(name)).with_context(|| name.to_owned())?;
        let is_rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
        // The rules themselves have the words.
        let is_rule = name.starts_with("xtask/src/tidy/");
        add(name, text::columns(&text));
        if !is_rule {
            add(name, text::words(&text));
        }
        if is_rust {
            add(name, text::length(&text));
            add(name, text::openings(&text));
        }
        // Decisions and the list of changes name the files of their time.
        let is_history = name.starts_with("docs/adr/") || name == "CHANGELOG.md";
        if !is_rust && name.ends_with(".md") && !is_history {
            // ARCHITECTURE leaves the directory of the program out.
            let read = |path: &str| {
                let mut places = ["", "netmon", "netmon/src"].into_iter();
                places.find_map(|place| fs::read_to_string(root().join(place).join(path)).ok())
            };
            add(name, text::sources(&text, read));
        }
        if is_rust && name.starts_with("netmon/src/") && name != "netmon/src/core/id.rs" {
            add(name, text::masks(&text));
        }
    }
    let testing = "docs/testing.md";
    let page = fs::read_to_string(root().join(testing)).context(testing)?;
    let targets = fs::read_dir(root().join("fuzz/fuzz_targets"))?;
    let targets = targets.map(|entry| Ok(entry?.path().with_extension("")));
    let targets: Vec<_> = targets.collect::<anyhow::Result<_>>()?;
    let targets = targets.iter().filter_map(|path| path.file_name()?.to_str());
    add(testing, text::unnamed(&page, targets));
    let cli = Cli::command();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> =
        commands.map(|command| format!("cargo xtask {}", command.get_name())).collect();
    add(testing, text::unnamed(&page, commands.iter().map(String::as_str)));
    Ok(broken)
}

fn step(arrow: &Arrow) -> String {
    let file = arrow.file.strip_prefix(root()).unwrap_or(&arrow.file);
    format!("{}::{} -> {} ({})", arrow.level, arrow.from, arrow.to, file.display())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        super::run().expect("no place that breaks a rule of the house");
    }
}
