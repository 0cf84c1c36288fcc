//! The languages of texts for people. English is in the tests of each text.

use std::process::{Command, Output};

use netmon::testing::{
    Listening, ListingNames, Netstat, NetstatColumns, PT_BR, Summary, SummaryForm,
};

use crate::{
    help::without_examples,
    listing::{PLAIN, names, shown},
};

fn portuguese() -> ListingNames {
    ListingNames { language: &PT_BR, ..names() }
}

fn netmon(args: &[&str], locale: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output = command.args(args).env("LC_ALL", locale).output().expect("netmon");
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    output
}

#[test]
fn a_listing_in_portuguese() {
    let columns = NetstatColumns { owners: true, extended: true, timers: true, ..PLAIN };
    insta::assert_snapshot!(shown(|out| {
        Netstat::new(out, columns, Listening::All, portuguese(), None, false)
    }));
}

#[test]
fn a_listing_in_portuguese_fits_a_terminal() {
    let columns = NetstatColumns { owners: true, ..PLAIN };
    let frames = [40, 80, 120].map(|width| {
        let frame = shown(|out| {
            Netstat::new(out, columns, Listening::Listening, portuguese(), Some(width), false)
        });
        assert!(frame.lines().all(|line| line.chars().count() <= width), "{frame}");
        format!("{width} columns\n{frame}")
    });
    insta::assert_snapshot!(frames.join("\n"));
}

#[test]
fn a_summary_in_portuguese() {
    let ListingNames { services, users, language, .. } = portuguese();
    let (terminal, colour) = (None, false);
    let form =
        SummaryForm { json: false, owners: true, services, users, terminal, colour, language };
    insta::assert_snapshot!(shown(|out| Summary::new(out, "Sockets", form)));
}

#[test]
fn topics_for_learners_in_portuguese() {
    for topic in ["states", "ports", "columns"] {
        let text = netmon(&["help", topic], "pt_BR.UTF-8").stdout;
        let text = String::from_utf8(text).expect("UTF-8");
        insta::assert_snapshot!(format!("portuguese_{topic}"), without_examples(&text));
    }
}

#[test]
fn other_texts_have_no_language() {
    for args in [&["--help"][..], &["help", "filter"], &["services", "--json"], &["man"]] {
        let outputs = ["C", "pt_BR.UTF-8", "pt_BR.ISO-8859-1"].map(|to| netmon(args, to).stdout);
        assert!(outputs.iter().all(|output| *output == outputs[0]), "{args:?}");
    }
}

#[test]
fn headings_have_the_charset_of_the_locale() {
    for (locale, expected) in [
        ("pt_BR.UTF-8", "Servi\u{e7}o ".as_bytes()),
        ("pt_BR.ISO-8859-1", b"Servi\xe7o "),
        ("pt_BR", b"Servico "),
        ("C", b"Service "),
        ("no_such.locale", b"Service "),
    ] {
        let output = netmon(&["services", "ssh"], locale).stdout;
        assert!(output.starts_with(expected), "{locale}: {}", String::from_utf8_lossy(&output));
    }
}
