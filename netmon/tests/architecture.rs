//! The dependency rule of ARCHITECTURE.md: which module may name which.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Module and what it may import of this crate, besides itself.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("core", &[]),
    ("kernel", &["core", "session"]),
    ("journal", &["core", "session"]),
    ("view", &["core", "session"]),
    ("session", &["core"]),
    ("cli", &["core", "journal", "kernel", "session", "view"]),
];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            files(&entry.expect("an entry").path(), found);
        }
    } else {
        found.push(path.to_owned());
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in sources() {
        let relative =
            file.strip_prefix(&source).expect("below src").to_string_lossy().into_owned();
        let module = relative.split(['/', '.']).next().expect("a name");
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else { continue };
        seen += 1;
        let text = fs::read_to_string(&file).expect("a source");
        for (name, _) in
            MAY_USE.iter().filter(|(name, _)| *name != module && !allowed.contains(name))
        {
            // `use crate::{ a::…, b::… }` spreads over lines: any line that begins with the module.
            let imports = text.lines().map(str::trim_start).any(|line| {
                line.starts_with(&format!("{name}::")) || line.contains(&format!("crate::{name}"))
            });
            assert!(!imports, "{relative} imports {name}, which ARCHITECTURE.md forbids");
        }
    }
    assert!(seen > 15, "only {seen} files were looked at");
}

#[test]
fn unsafe_stays_at_the_kernels_door() {
    for file in sources() {
        let text = fs::read_to_string(&file).expect("a source");
        let has = text
            .lines()
            .any(|line| line.contains("unsafe {") && !line.trim_start().starts_with("//"));
        assert!(
            !has || file.components().any(|part| part.as_os_str() == "kernel"),
            "{}",
            file.display()
        );
    }
}
