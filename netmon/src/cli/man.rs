//! `netmon man`: the manual pages, from the definitions of the commands and from documents.

mod command_page;
mod document;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use clap::{Args, Command, ValueHint};
use roff::{Roff, roman};

use super::{help::layout, io::stdout::Stdout};

/// Print the manual page netmon(1), or write every page into DIR
///
/// A command has a page in section 1, the language of filters one in section 7, and the journal one
/// in section 5. netmon prints the path of each page that it writes.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ManCommand {
    /// Directory for the pages; netmon makes it if necessary
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  netmon man | man -l -      read netmon(1)
  netmon man pages           write netmon.1, netmon-snapshot.1 and so on";

/// The date of a page. The same sources make the same pages, and an empty argument would be lost.
const NO_DATE: &str = " ";

/// A manual page.
struct Page {
    /// The name: `netmon-snapshot`.
    name: String,
    section: u8,
    /// The source, in roff.
    text: String,
}

/// A document that is a page too.
struct DocumentPage {
    name: &'static str,
    section: u8,
    about: &'static str,
    markdown: &'static str,
}

const DOCUMENTS: [DocumentPage; 2] = [
    DocumentPage {
        name: "netmon-filter",
        section: 7,
        about: "the language of netmon's filters",
        markdown: include_str!("../../../docs/filter.md"),
    },
    DocumentPage {
        name: "netmon-journal",
        section: 5,
        about: "the files of netmon's journal, and their columns",
        markdown: include_str!("../../../docs/journal.md"),
    },
];

impl ManCommand {
    pub(super) fn run(self, root: Command) -> anyhow::Result<()> {
        let mut out = Stdout::lock();
        let Some(directory) = self.directory else {
            let root = command_page::built(layout(root));
            out.write_all(command_page::page(&root).text.as_bytes())?;
            return Ok(out.flush()?);
        };
        let failed = |step: &str, path: &Path, error: &io::Error| {
            let path = path.display();
            anyhow!("cannot {step} {path}: {error}; name a directory that this user may write into")
        };
        fs::create_dir_all(&directory).map_err(|error| failed("make", &directory, &error))?;
        for Page { name, section, text } in pages(root) {
            let path = directory.join(format!("{name}.{section}"));
            fs::write(&path, text).map_err(|error| failed("write", &path, &error))?;
            writeln!(out, "{}", path.display())?;
        }
        Ok(out.flush()?)
    }
}

/// Returns every page.
fn pages(root: Command) -> Vec<Page> {
    let root = command_page::built(layout(root));
    let commands = command_page::shown(&root).into_iter().map(command_page::page);
    commands.chain(DOCUMENTS.iter().map(DocumentPage::page)).collect()
}

impl DocumentPage {
    fn page(&self) -> Page {
        let Self { name, section, about, markdown } = *self;
        let mut page = Roff::new();
        page.control("TH", [name, &section.to_string(), NO_DATE, &source(), "netmon"]);
        page.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
        document::put(&mut page, markdown);
        page.control("SH", ["SEE ALSO"]).text([roman("netmon(1)")]);
        Page { name: name.to_owned(), section, text: page.render() }
    }
}

/// Returns the name and the version of the program, for the foot of a page.
fn source() -> String {
    concat!("netmon ", env!("CARGO_PKG_VERSION")).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_page_has_a_file_of_its_own_and_names_pages_that_exist() {
        let pages = pages(Cli::command());
        let names: Vec<_> =
            pages.iter().map(|page| format!("{}({})", page.name, page.section)).collect();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
        for page in &pages {
            // roff escapes hyphens.
            let text = page.text.replace("\\-", "-");
            for word in text.split(|c: char| c.is_whitespace() || c == ',') {
                let word = word.trim_end_matches(['.', ':', ';']);
                if word.starts_with("netmon") && word.ends_with(')') && word.contains('(') {
                    assert!(names.iter().any(|name| name == word), "{}: {word}", page.name);
                }
            }
        }
    }
}
