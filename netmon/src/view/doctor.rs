//! What works on a host and what does not: lines for people, or JSON Lines.
//!
//! JSON: one object of type `finding` for each thing that was looked at, then one of type `doctor`. What is
//! unknown, or of no meaning there, is absent.
//!
//! `finding`:
//!
//! | field | |
//! |---|---|
//! | `what` | `kernel`, `BTF`, `tracefs`, `object`, `capabilities`, `tier`, `transitions`, `resets`, `minisockets`, `accepting`, `local ports`, `hooks` (all of them, where none is attached), `iterators`, `ring buffers`, `self-test`, `cost`, `lost`, `accept calls` |
//! | `name` | which of several: the capability; the hook, as `tp_btf/NAME`, `tracepoint/CATEGORY/NAME`, `fentry/NAME` or `fexit/NAME` |
//! | `state` | `ok`, `degraded`, or `failed`: nothing is traced without it |
//! | `detail` | what was found, or what the kernel answered |
//! | `consequence`, `advice` | what that costs; what to do |
//! | `program`, `tells`, `status` | of a hook: the kernel program's function, what it tells, and `attached`, `absent`, `refused`, `unwanted` or `passed_over` |
//! | `purpose` | of a capability |
//! | `release`, `machine`, `bytes` | of the kernel; of BTF |
//! | `rings`, `bytes_each`, `cpus_online`, `cpus_possible` | of the ring buffers |
//! | `expected`, `seen`, `took_us` | of the self-test: transitions that a connection makes, those that came out, and when the last one had |
//! | `mean_ns`, `transitions`, `programs` | of the cost: of all programs together, for each transition; of how many; of each, in words |
//! | `count` | of lost events |
//! | `slower_ns`, `without_ns` | of the accept calls: by how much `--accept-syscalls` makes each system call slower, and what one takes without |
//!
//! `doctor`:
//!
//! | field | |
//! |---|---|
//! | `version` | netmon's |
//! | `state` | the worst of the findings |
//! | `exit` | the exit code: 0, 1 for `degraded`, 2 for `failed` |
//! | `tier` | `full` or `basic`; absent where nothing is traced |
//! | `watch`, `record` | whether they work |
//! | `snapshot` | what it reads: `iterators` or `proc` |

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::text::{json_object::JsonObject, output::Output};
use crate::core::{
    escape::Escaped,
    finding::{Diagnosis, Fact, Finding, FindingState},
};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";
/// Names on one line; JSON has all.
const NAMES: usize = 8;

/// Writes it as lines.
///
/// # Errors
/// What writing answered.
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
        let (on, off) = match finding.state {
            _ if !colour => ("", ""),
            FindingState::Ok => ("", ""),
            FindingState::Degraded => (YELLOW, PLAIN),
            FindingState::Failed => (RED, PLAIN),
        };
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

/// Whether one line tells of both.
fn is_alike(a: &Finding, b: &Finding) -> bool {
    (a.what, a.state, &a.detail, &a.consequence, &a.advice)
        == (b.what, b.state, &b.detail, &b.consequence, &b.advice)
}

/// Of what those are; a kind that several have stands before the first.
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
            let mut whats: Vec<&str> = diagnosis
                .findings
                .iter()
                .filter(|finding| finding.state == FindingState::Degraded)
                .map(|finding| finding.what)
                .collect();
            whats.dedup();
            format!(
                "netmon works here, degraded: `watch` and `record` follow every connection ({} tier), less well: {}; \
                 {listing}",
                tier.unwrap_or("no"),
                whats.join(", ")
            )
        }
        (FindingState::Failed, None) => {
            format!("netmon cannot trace here: no `watch`, no `record`; {listing}")
        }
        (FindingState::Failed, Some(_)) => {
            format!(
                "netmon does not work here as it should: do not rely on `watch` or `record`; {listing}"
            )
        }
    }
}

/// Writes it as JSON Lines; `version` is netmon's.
///
/// # Errors
/// What writing answered.
pub fn json(to: impl Write, diagnosis: &Diagnosis, version: &str) -> io::Result<()> {
    let mut out = Output::new(to);
    for finding in &diagnosis.findings {
        let mut object = JsonObject::begin(out.line()?, "{\"type\":\"finding\"");
        object.text(",\"what\":", finding.what.as_bytes());
        let told = |object: &mut JsonObject<'_>, key, text: &str| {
            if !text.is_empty() {
                object.text(key, text.as_bytes());
            }
        };
        told(&mut object, ",\"name\":", &finding.name);
        object.word(",\"state\":\"", finding.state.name());
        told(&mut object, ",\"detail\":", &finding.detail);
        told(&mut object, ",\"consequence\":", &finding.consequence);
        told(&mut object, ",\"advice\":", &finding.advice);
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
