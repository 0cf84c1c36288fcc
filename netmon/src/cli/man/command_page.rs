//! The page of a command, in section 1.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::{NO_DATE, Page, source};
use crate::cli::help::{TOPICS, examples};

/// The heading of positional arguments.
const ARGUMENTS: &str = "Arguments";

/// A variable or a file, its meaning, and the command or the argument that it belongs to; none for
/// every command.
type Used = (&'static str, &'static str, Option<&'static str>);

const ENVIRONMENT: [Used; 9] = [
    ("NETMON_JOURNAL", "The directory of the journal, without --journal.", Some("path")),
    ("NETMON_CONFIG", "A file of default flags, one a line, as they are typed.", None),
    ("NO_COLOR, CLICOLOR, CLICOLOR_FORCE", "The use of colours, without --color.", None),
    ("COLUMNS", "The width of a terminal that does not report its width.", None),
    ("PAGER, LESS", "The pager (without PAGER, less), and the options of less.", Some("no_pager")),
    ("TZ, TZDIR", "The zone of local time, and the directory of zones.", Some("utc")),
    ("XDG_STATE_HOME", "The directory below which netmon keeps the settings of top.", Some("top")),
    ("NETMON_EBPF_OBJECT", "Another kernel program, for root only.", Some("buffer")),
    ("RUST_LOG", "The log by module, as the Rust crate env_logger reads it.", None),
];

const FILES: [Used; 6] = [
    ("/var/log/netmon", "The journal, without --journal and NETMON_JOURNAL.", Some("path")),
    ("/etc/services", "The names of ports.", None),
    ("/run/netns", "The names of network namespaces.", Some("filter")),
    (
        "/proc",
        "Sockets and processes, where the kernel program does not list them.",
        Some("source"),
    ),
    ("/sys/kernel/btf/vmlinux", "The types of the kernel.", Some("buffer")),
    ("~/.local/state/netmon", "The settings of top.", Some("top")),
];

/// Returns a command with the names and headings that its pages show.
pub(super) fn built(root: Command) -> Command {
    fn headed(command: Command) -> Command {
        command
            .mut_args(|arg| if arg.is_positional() { arg.help_heading(ARGUMENTS) } else { arg })
            // clap_mangen leaves out the help of an option that -h leaves out.
            .mut_args(|arg| arg.hide_short_help(false))
            .mut_subcommands(headed)
    }
    let mut root = headed(root);
    root.build();
    root
}

/// Returns a command and all commands below, but for the hidden ones.
pub(super) fn shown(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    [command].into_iter().chain(below.flat_map(shown)).collect()
}

/// Returns the page of a command.
pub(super) fn page(command: &Command) -> Page {
    let man = Man::new(command.clone()).date(NO_DATE).source(source()).manual("netmon");
    let mut text = definitions();
    text += &part(|to| man.render_title(to));
    text += &part(|to| man.render_name_section(to));
    text += &part(|to| synopsis_section(command).to_writer(to));
    text += &part(|to| man.render_description_section(to));
    text += &part(|to| examples_section(command).to_writer(to));
    if command.has_subcommands() {
        text += &part(|to| man.render_subcommands_section(to));
    }
    text += &part(|to| man.render_options_section(to));
    text += &part(|to| last_sections(command).to_writer(to));
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    Page { name, section: 1, text }
}

/// Returns the usage, as the help has it: clap_mangen would name every option, without its value.
fn synopsis_section(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or(usage);
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]).text([bold(name), roman(rest)]);
    page
}

/// Returns the definitions that roff puts before everything that it renders.
fn definitions() -> String {
    Roff::new().render()
}

/// Returns a part of a page without the definitions.
fn part(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut bytes = Vec::new();
    // Writing to a vector does not fail.
    let _ = render(&mut bytes);
    String::from_utf8_lossy(&bytes).replace(&definitions(), "")
}

/// Returns the end of the description, which is the end of the help, and the examples.
fn examples_section(command: &Command) -> Roff {
    let mut page = Roff::new();
    // The end of netmon's own help is the list of topics, which is a section.
    if let Some(end) = command.get_after_help().filter(|_| !is_root(command)) {
        page.control("PP", []).text([roman(format!("{end}."))]);
    }
    page.control("SH", ["EXAMPLES"]);
    for (line, meaning) in examples(command) {
        page.control("TP", []).text([bold(line)]);
        if !meaning.is_empty() {
            page.text([roman(meaning)]);
        }
    }
    page
}

fn last_sections(command: &Command) -> Roff {
    let mut page = Roff::new();
    if is_root(command) {
        page.control("SH", ["TOPICS"]);
        for topic in &TOPICS {
            let line = format!("netmon help {}", topic.name);
            page.control("TP", []).text([bold(line)]).text([roman(topic.about)]);
        }
    }
    put_exit_codes(&mut page, command);
    put_used(&mut page, "ENVIRONMENT", &ENVIRONMENT, command);
    put_used(&mut page, "FILES", &FILES, command);
    page.control("SH", ["SEE ALSO"]);
    let others: [(&str, Option<&str>); 4] = [
        ("netmon(1)", None),
        ("netmon-filter(7)", Some("filter")),
        ("netmon-journal(5)", Some("path")),
        ("ss(8), netstat(8)", Some("snapshot")),
    ];
    let others = others.iter().filter(|(_, belongs)| is_for(*belongs, command));
    let others: Vec<_> = others.map(|(page, _)| *page).collect();
    page.text([roman(others[usize::from(is_root(command))..].join(", "))]);
    page
}

/// Appends the exit codes. A command with codes of its own has them in its description.
fn put_exit_codes(page: &mut Roff, command: &Command) {
    page.control("SH", ["EXIT STATUS"]);
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    if let Some(at) = about.find("Exits with ") {
        let own = about[at..].split("\n\n").next().unwrap_or_default().replace('\n', " ");
        page.text([roman(format!("{own} Exits with 2 for wrong usage, too."))]);
        return;
    }
    for (code, meaning) in [
        ("0", "Success, also when the reader of the output has left."),
        ("1", "An error: a message on standard error names the reason."),
        ("2", "Wrong usage, or a filter that cannot be read."),
    ] {
        page.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
}

fn put_used(page: &mut Roff, heading: &str, used: &[Used], command: &Command) {
    let mut used = used.iter().filter(|(_, _, belongs)| is_for(*belongs, command)).peekable();
    if used.peek().is_some() {
        page.control("SH", [heading]);
    }
    for (name, meaning, _) in used {
        page.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
    }
}

/// Returns whether something belongs to a command: by the command's name, or by an argument. The
/// page of netmon has everything.
fn is_for(belongs: Option<&str>, command: &Command) -> bool {
    let is_of_command = |id: &str| {
        command.get_name() == id || command.get_arguments().any(|arg| arg.get_id() == id)
    };
    is_root(command) || belongs.is_none_or(is_of_command)
}

fn is_root(command: &Command) -> bool {
    command.get_name() == env!("CARGO_PKG_NAME")
}
