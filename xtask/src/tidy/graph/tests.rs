//! Graphs of small crates.

use super::*;

fn arrow(level: &str, from: &str, to: &str) -> Arrow {
    let (level, from, to) = (level.into(), from.into(), to.into());
    Arrow { level, from, to, file: PathBuf::new() }
}

/// A crate of files: a path and its text.
fn graph(files: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    for (path, text) in files {
        let module = module_of(Path::new(path));
        let mut reader = PathReader { at: module.clone(), module: Module::default() };
        reader.visit_file(&syn::parse_file(text).expect("Rust"));
        graph.modules.insert(module, reader.module);
    }
    graph.leave_out_tests();
    graph
}

fn names(arrows: &[Arrow]) -> Vec<(&str, &str, &str)> {
    arrows.iter().map(|arrow| (&*arrow.level, &*arrow.from, &*arrow.to)).collect()
}

#[test]
fn a_circle_is_found_through_a_third_module_and_a_re_export() {
    let graph = graph(&[
        ("lib.rs", "mod a; mod b; mod c; pub use c::Thing;"),
        ("a.rs", "use crate::b::{self, other};"),
        ("b.rs", "fn f() { println!(\"{}\", super::Thing::new()) }"),
        ("c.rs", "fn g() -> crate::a::Type { todo!() }"),
    ]);
    let arrows = graph.arrows();
    let expected = [("", "a", "b"), ("", "b", "c"), ("", "c", "a")];
    assert_eq!(names(&arrows), expected);
    assert_eq!(circles(&arrows).len(), 1);
    assert_eq!(names(&circles(&arrows)[0]), expected);
}

#[test]
fn a_module_and_those_within_it_are_one_whole() {
    let graph = graph(&[
        ("lib.rs", "mod table; mod event;"),
        ("table.rs", "mod dumps; use self::dumps::look; pub struct Table;"),
        ("table/dumps.rs", "use super::Table; use crate::event::Event;"),
        ("event.rs", "#[cfg(test)] mod tests { use crate::table::Table; }"),
        ("table/tests.rs", "use crate::event::Event;"),
    ]);
    assert_eq!(names(&graph.arrows()), [("", "table", "event")]);
    assert!(circles(&graph.arrows()).is_empty());
}

#[test]
fn an_arrow_up_or_across_or_of_a_module_without_a_floor_is_found() {
    let floors = Floors { level: "", floors: &[&["core"], &["kernel", "view"], &["cli"]] };
    let arrows = [
        arrow("", "cli", "core"),
        arrow("", "core", "view"),
        arrow("", "view", "kernel"),
        arrow("", "attic", "core"),
        arrow("view", "text", "listing"),
    ];
    assert_eq!(upward(&arrows, &floors), arrows[1..4]);
}
