//! The diagnosis of a host, as lines for people or as JSON Lines.
//!
//! JSON: one object of type `finding` for each subject, then one object of type `doctor`;
//! `docs/netmon.schema.json` describes the fields.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    palette::{Palette, Tone},
    text::{json_object::JsonObject, output::Output},
};
use crate::core::{
    escape::Escaped,
    finding::{Diagnosis, Fact, Finding, FindingState},
};

/// The most names on one line; JSON has all names.
const NAMES: usize = 8;

/// Writes the diagnosis as lines.
///
/// # Errors
/// The error of the output.
pub fn text(to: impl Write, diagnosis: &Diagnosis, colour: bool) -> io::Result<()> {
    let mut out = Output::new(to);
    for alike in diagnosis.findings.chunk_by(is_alike) {
        let [finding, ..] = alike else { continue };
        let mut line = names(alike);
        if !line.is_empty() {
            line += ": ";
        }
        line += &finding.detail;
        for (sign, text) in [("; ", &finding.consequence), (" -> ", &finding.advice)] {
            if !text.is_empty() {
                line = line + sign + text;
            }
        }
        let (on, off) = Palette { colour }.around(match finding.state {
            FindingState::Ok => Tone::Plain,
            FindingState::Degraded => Tone::Warning,
            FindingState::Failed => Tone::Bad,
        });
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(
            out.line()?,
            "{on}{:<8}{off}  {:<12}  {}",
            finding.state.name(),
            finding.what,
            Escaped(line.as_bytes())
        );
    }
    let _ = writeln!(out.line()?, "\n{} (exit {})", sum(diagnosis), diagnosis.exit());
    out.flush()
}

/// Returns whether one line shows both findings.
fn is_alike(a: &Finding, b: &Finding) -> bool {
    (a.what, a.state, &a.detail, &a.consequence, &a.advice)
        == (b.what, b.state, &b.detail, &b.consequence, &b.advice)
}

/// Returns the names of alike findings. Neighbours of the same kind show the kind once, before the
/// first name.
fn names(alike: &[Finding]) -> String {
    let mut names: Vec<&str> = alike.iter().map(|finding| finding.name.as_str()).collect();
    names.dedup();
    let mut line = String::new();
    let mut last = None;
    for (i, name) in names.iter().take(NAMES).enumerate() {
        let kind = name.rsplit_once('/').map(|(kind, _)| kind);
        let is_same = kind.is_some() && kind == last;
        let short = if is_same { name.rsplit('/').next().unwrap_or(name) } else { name };
        line += if i == 0 { "" } else { ", " };
        line += short;
        last = kind;
    }
    if names.len() > NAMES {
        // Writing to a string does not fail.
        let _ = write!(line, " and {} more", names.len() - NAMES);
    }
    line
}

fn sum(diagnosis: &Diagnosis) -> String {
    let listing = if diagnosis.iterators {
        "`snapshot` reads iterators"
    } else {
        "`snapshot` works from /proc"
    };
    match (diagnosis.state(), diagnosis.tier) {
        (FindingState::Ok, _) => {
            format!(
                "netmon works here in full: `watch` and `record` see everything exactly; {listing}"
            )
        }
        (FindingState::Degraded, tier) => {
            let mut subjects: Vec<&str> = diagnosis
                .findings
                .iter()
                .filter(|finding| finding.state == FindingState::Degraded)
                .map(|finding| finding.what)
                .collect();
            subjects.dedup();
            format!(
                "netmon works here, degraded: `watch` and `record` follow every connection \
                 ({} tier), less well: {}; {listing}",
                tier.unwrap_or("no"),
                subjects.join(", ")
            )
        }
        (FindingState::Failed, None) => {
            format!("netmon cannot trace here: no `watch`, no `record`; {listing}")
        }
        (FindingState::Failed, Some(_)) => {
            format!(
                "netmon does not work here as it should: do not rely on `watch` or `record`; \
                 {listing}"
            )
        }
    }
}

/// Writes the diagnosis as JSON Lines; `version` is the version of netmon.
///
/// # Errors
/// The error of the output.
pub fn json(to: impl Write, diagnosis: &Diagnosis, version: &str) -> io::Result<()> {
    let mut out = Output::new(to);
    for finding in &diagnosis.findings {
        let mut object = JsonObject::begin(out.line()?, "{\"type\":\"finding\"");
        object.text(",\"what\":", finding.what.as_bytes());
        let put_text = |object: &mut JsonObject<'_>, key, text: &str| {
            if !text.is_empty() {
                object.text(key, text.as_bytes());
            }
        };
        put_text(&mut object, ",\"name\":", &finding.name);
        object.word(",\"state\":\"", finding.state.name());
        put_text(&mut object, ",\"detail\":", &finding.detail);
        put_text(&mut object, ",\"consequence\":", &finding.consequence);
        put_text(&mut object, ",\"advice\":", &finding.advice);
        for (name, fact) in &finding.facts {
            object.raw(",\"");
            object.raw(name);
            match fact {
                Fact::Number(value) => object.number("\":", *value),
                Fact::Text(value) => object.text("\":", value.as_bytes()),
            }
        }
        object.end();
    }
    let traces = diagnosis.state() != FindingState::Failed;
    let mut object = JsonObject::begin(out.line()?, "{\"type\":\"doctor\"");
    object.text(",\"version\":", version.as_bytes());
    object.word(",\"state\":\"", diagnosis.state().name());
    object.number(",\"exit\":", u64::from(diagnosis.exit()));
    if let Some(tier) = diagnosis.tier {
        object.word(",\"tier\":\"", tier);
    }
    object.raw(if traces {
        ",\"watch\":true,\"record\":true"
    } else {
        ",\"watch\":false,\"record\":false"
    });
    object.word(",\"snapshot\":\"", if diagnosis.iterators { "iterators" } else { "proc" });
    object.end();
    out.flush()
}
