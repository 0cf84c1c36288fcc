//! The manual pages: some of them to the byte, and all of them through man and mandoc.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{help::netmon, tool::has_tool};

/// The pages in a directory of their own, removed on drop.
struct Pages(PathBuf);

impl Pages {
    fn write(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("netmon-man-{name}-{}", process::id()));
        let output = netmon(&["man", directory.to_str().expect("UTF-8")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pages = Self(directory);
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let mut printed: Vec<_> = printed.lines().map(PathBuf::from).collect();
        printed.sort();
        assert_eq!(printed, pages.paths());
        pages
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the pages");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a page").path()).collect();
        paths.sort();
        paths
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).expect(file)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a page as man(1) shows it on a terminal of 80 columns.
fn shown(path: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings=w", "--local-file"])
        .arg(path)
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .env("MANROFFOPT", "-Tutf8")
        .output()
        .expect("man");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", path.display());
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn pages_of_commands() {
    let pages = Pages::write("commands");
    let version = concat!("netmon ", env!("CARGO_PKG_VERSION"));
    for file in ["netmon.1", "netmon-history.1"] {
        insta::assert_snapshot!(file, pages.text(file).replace(version, "netmon VERSION"));
    }
    let root = String::from_utf8(netmon(&["man"]).stdout).expect("UTF-8");
    assert_eq!(root, pages.text("netmon.1"));
    let files = pages.paths();
    let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for name in ["netmon-journal-check.1", "netmon-journal.5", "netmon-filter.7", "netmon-man.1"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("shift")), "hidden: {names:?}");
}

/// Each table, list, example and heading of the document is in the page of section 7.
#[test]
fn the_page_of_filters_has_the_words_of_the_document() {
    let page = Pages::write("filter").text("netmon-filter.7").replace("\\-", "-");
    let document = include_str!("../../../docs/filter.md");
    let words = |text: &str| {
        let plain = text.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
        let plain = plain.replace("\\*(Aq", "'").replace("\\&", "").replace(['`', '|', '\\'], " ");
        let words =
            plain.split_whitespace().map(|word| word.trim_matches([',', '.', ';', ':', '"']));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let page = words(&page);
    for line in document.lines().filter(|line| !line.contains("](")) {
        let line = line.trim_start_matches(['#', '-', ' ']);
        if line.starts_with("|--") || line == "```" || line == "The filter language" {
            continue;
        }
        for word in words(line) {
            let is_there = |known: &String| known.eq_ignore_ascii_case(&word);
            assert!(page.iter().any(is_there), "{line}: {word}");
        }
    }
}

#[test]
fn man_shows_every_page_without_a_warning() {
    if !has_tool("man", "the manual pages") || !has_tool("groff", "the manual pages") {
        return;
    }
    let pages = Pages::write("man");
    for path in pages.paths() {
        let text = shown(&path);
        assert!(text.contains("NAME") && text.contains("SEE ALSO"), "{}", path.display());
        // The lines of examples stay as they are: 100 columns of a document, further in by 11.
        for line in text.lines() {
            assert!(line.chars().count() <= 111, "{}: {line}", path.display());
        }
    }
}

#[test]
fn mandoc_finds_no_error() {
    if !has_tool("mandoc", "the manual pages") {
        return;
    }
    let pages = Pages::write("mandoc");
    let mut mandoc = Command::new("mandoc");
    let output = mandoc.args(["-T", "lint", "-W", "error"]).args(pages.paths()).output();
    let output = output.expect("mandoc");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{found}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let output = netmon(&["man", "/proc/netmon-pages"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found = "cannot make /proc/netmon-pages: No such file or directory (os error 2); name a";
    assert!(stderr.contains(found), "{stderr}");
}
