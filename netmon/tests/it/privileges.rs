//! The capabilities of the code, the documentation and the unit agree.

use std::{collections::BTreeSet, fs, path::Path};

use netmon::testing::CAPABILITIES;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

#[test]
fn the_documentation_has_the_list_of_the_code() {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = one_line(&text("docs/privileges.md"));
    for known in &CAPABILITIES {
        let entry = format!(
            "- {}: {}. Kept: {}. Without it: {}.",
            known.name, known.purpose, known.kept, known.without
        );
        assert!(text.contains(&entry), "docs/privileges.md should have:\n{entry}");
    }
    assert_eq!(text.matches(" Without it: ").count(), CAPABILITIES.len(), "{text}");
}

#[test]
fn the_unit_has_the_capabilities_of_a_recorder_on_a_new_kernel() {
    let text = text("dist/netmon.service");
    let values = |key: &str| -> BTreeSet<String> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(key));
        let line = lines.next().expect(key);
        assert_eq!(lines.next(), None, "{key} twice");
        line.split_whitespace().map(str::to_owned).collect()
    };
    // The unit's journal is in a directory of its own, and a new kernel needs no higher limit.
    let names = CAPABILITIES.iter().map(|known| known.name.to_owned());
    let names: BTreeSet<_> = names.filter(|name| *name != "CAP_SYS_RESOURCE").collect();
    assert_eq!(values("CapabilityBoundingSet="), names);
    assert_eq!(values("AmbientCapabilities="), names);
    assert_eq!(values("NoNewPrivileges="), BTreeSet::from(["yes".to_owned()]));
}
