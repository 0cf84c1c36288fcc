//! What is said of capabilities is the same in the code, the documentation and the unit.

use std::{collections::BTreeSet, fs, path::Path};

use netmon::kernel::host::privilege::CAPABILITIES;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    let text = text("docs/privileges.md");
    let documented: Vec<&str> = text.lines().filter(|line| line.starts_with("| CAP_")).collect();
    let table: Vec<String> = CAPABILITIES
        .iter()
        .map(|known| {
            let cells = [known.name, known.purpose, known.kept, known.without];
            format!("| {} |", cells.join(" | "))
        })
        .collect();
    assert_eq!(documented, table, "docs/privileges.md should have:\n{}", table.join("\n"));
}

#[test]
fn the_unit_has_what_a_recorder_on_a_new_kernel_takes() {
    let text = text("dist/netmon.service");
    let of = |key: &str| -> BTreeSet<String> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(key));
        let line = lines.next().expect(key);
        assert_eq!(lines.next(), None, "{key} twice");
        line.split_whitespace().map(str::to_owned).collect()
    };
    // Its journal is in a directory of its own, and no limit is to be raised.
    let names = CAPABILITIES.iter().map(|known| known.name.to_owned());
    let names: BTreeSet<_> = names.filter(|name| *name != "CAP_SYS_RESOURCE").collect();
    assert_eq!(of("CapabilityBoundingSet="), names);
    assert_eq!(of("AmbientCapabilities="), names);
    assert_eq!(of("NoNewPrivileges="), BTreeSet::from(["yes".to_owned()]));
}
