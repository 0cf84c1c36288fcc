//! `tidy`: the rules of the house that no compiler knows.

mod graph;

use anyhow::ensure;

use self::graph::{Arrow, Floors, Graph};
use crate::shell::root;

/// The floors of netmon: commands on top, the table and its types at the ground.
const FLOORS: [Floors; 2] = [
    Floors {
        level: "",
        floors: &[&["core"], &["session"], &["journal", "kernel", "view"], &["cli"]],
    },
    Floors {
        level: "kernel",
        floors: &[&["host"], &["ring"], &["program"], &["sockets"], &["stream"], &["doctor"]],
    },
];
/// The crates whose imports are looked at.
const CRATES: [&str; 4] = ["netmon-common", "netmon-ebpf", "netmon", "xtask"];

/// Checks every rule.
///
/// # Errors
/// When one is broken: each place is printed.
pub(crate) fn run() -> anyhow::Result<()> {
    let broken = imports()?;
    for broken in &broken {
        eprintln!("{broken}");
    }
    ensure!(broken.is_empty(), "{} places break a rule of the house", broken.len());
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

fn step(arrow: &Arrow) -> String {
    let file = arrow.file.strip_prefix(root()).unwrap_or(&arrow.file);
    format!("{}::{} -> {} ({})", arrow.level, arrow.from, arrow.to, file.display())
}
