//! `netmon services`: the known ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::{
    args::tracing::CONFINING,
    io::{stderr::report, stdout::Stdout},
    locale::Locale,
    own_sockets::{own_dump, own_sockets},
    snapshot::warnings::{Unowned, Warnings},
};
use crate::{
    core::{
        escape::{Escaped, EscapedName, put_json_text},
        process::{PidText, Process},
        services::{Service, Services as Database},
        socket::{Protocol, Socket},
    },
    kernel::host::privilege::{Duty, narrow},
    view::language::ServicesHeadings,
};

/// List the known ports and their names, from /etc/services
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ServicesCommand {
    /// Port, name, or part of a name: 443, :443, 22/tcp, ssh
    #[arg(value_name = "PORT|NAME")]
    word: Option<String>,
    /// Mark the ports that something listens on in netmon's own network namespace, and show the
    /// processes
    #[arg(short = 'l', long)]
    listening: bool,
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  netmon services :443           the name of a port
  netmon services sql            every name with sql in it
  netmon services --listening    the known ports, and the programs that listen";

/// The widest column of processes: a longer list shifts the rest of its line.
const PROCESSES: usize = 30;

/// The processes that listen on a port, by protocol and port.
type Listeners = BTreeMap<(&'static str, u16), BTreeSet<Process>>;

impl ServicesCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        if self.listening { &[Duty::Look] } else { &[] }
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        if let Some(reason) = Database::missing() {
            bail!("{reason}");
        }
        let listeners = if self.listening { listeners()? } else { Listeners::new() };
        let database = Database::load();
        let found = database.search(self.word.as_deref());
        ensure!(
            !found.is_empty(),
            match &self.word {
                Some(word) => format!(
                    "no service has the port or the name '{}': `netmon services` lists all",
                    Escaped(word.as_bytes())
                ),
                None => "/etc/services has no service".to_owned(),
            }
        );
        let rows = found.into_iter().map(|service| Row::new(service, &listeners));
        let mut out = Vec::new();
        let mut to: Box<dyn Write> = if self.json {
            rows.for_each(|row| row.put_json(&mut out));
            Box::new(Stdout::lock())
        } else {
            let locale = Locale::of_user();
            let headings = &locale.language.services;
            put_table(&mut out, headings, self.listening, &rows.collect::<Vec<_>>());
            Box::new(locale.stdout())
        };
        to.write_all(&out)?;
        Ok(to.flush()?)
    }
}

/// Returns the ports that something listens on, and the processes that do.
fn listeners() -> anyhow::Result<Listeners> {
    let mut dump = own_dump(&[Protocol::Tcp, Protocol::Udp]);
    let (owners, hidden) = dump.owners()?;
    let (mut unowned, mut listeners) = (Unowned::new(hidden), Listeners::new());
    narrow(&[]).context(CONFINING)?;
    let malformed = own_sockets(&mut dump, |socket: Socket| {
        if socket.is_listening() {
            unowned.count(socket.inode, &owners, true);
            let port = (socket.protocol.name(), socket.tuple.local.port());
            let processes = owners.of(socket.holder_key()).into_iter().cloned();
            listeners.entry(port).or_default().extend(processes);
        }
        Ok(())
    })?;
    let mut warnings = Warnings::default();
    warnings.unowned(&unowned, true);
    if malformed > 0 {
        report(format_args!("{malformed} sockets were not understood: -v shows them"));
    }
    Ok(listeners)
}

/// A service, with the processes that listen on its port.
struct Row<'a> {
    service: &'a Service,
    /// The processes, where something is known to listen.
    listeners: Option<&'a BTreeSet<Process>>,
}

impl<'a> Row<'a> {
    fn new(service: &'a Service, listeners: &'a Listeners) -> Self {
        let port = (service.protocol.as_str(), service.port);
        Self { service, listeners: listeners.get(&port) }
    }

    /// Returns the processes that listen; `-` where something listens, and no process is known.
    fn processes(&self) -> String {
        let text =
            |process: &Process| format!("{}/{}", PidText(process.pid), EscapedName(&process.comm));
        match self.listeners {
            Some(processes) if processes.is_empty() => "-".to_owned(),
            Some(processes) => processes.iter().map(text).collect::<Vec<_>>().join(","),
            None => String::new(),
        }
    }

    /// Writes an object of type `service`: `docs/netmon.schema.json` describes its fields.
    fn put_json(&self, out: &mut Vec<u8>) {
        let Service { name, port, protocol, aliases, comment } = self.service;
        out.extend_from_slice(br#"{"type":"service","name":"#);
        put_json_text(name.as_bytes(), out);
        // Writing to a vector does not fail, here and below.
        let _ = write!(out, r#","port":{port},"proto":"#);
        put_json_text(protocol.as_bytes(), out);
        out.extend_from_slice(br#","aliases":["#);
        for (place, alias) in aliases.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            put_json_text(alias.as_bytes(), out);
        }
        out.push(b']');
        if let Some(comment) = comment {
            out.extend_from_slice(br#","comment":"#);
            put_json_text(comment.as_bytes(), out);
        }
        if let Some(listeners) = self.listeners {
            out.extend_from_slice(br#","listening":true,"owners":["#);
            for (place, process) in listeners.iter().enumerate() {
                out.extend_from_slice(if place > 0 { ",{" } else { "{" }.as_bytes());
                for (key, pid) in [("pid", process.pid), ("host_pid", process.host_pid)] {
                    if pid != 0 {
                        let _ = write!(out, r#""{key}":{pid},"#);
                    }
                }
                out.extend_from_slice(br#""comm":"#);
                put_json_text(&process.comm, out);
                out.push(b'}');
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Writes the table, with a column of the processes if `listening`.
fn put_table(out: &mut Vec<u8>, headings: &ServicesHeadings, listening: bool, rows: &[Row<'_>]) {
    let processes: Vec<_> = rows.iter().map(Row::processes).collect();
    let heading = if listening { headings.listening } else { "" };
    let columns = processes.iter().map(|text| text.chars().count());
    let width = columns.max().unwrap_or(0).min(PROCESSES).max(heading.chars().count());
    let mut line = |name: &str, port: &str, processes: &str, rest: &str| {
        let space = if listening { " " } else { "" };
        let line = format!("{name:<16} {port:<11} {processes:<width$}{space}{rest}");
        // Writing to a vector does not fail.
        let _ = writeln!(out, "{}", line.trim_end());
    };
    line(headings.service, headings.port, heading, headings.aliases);
    for (Row { service, .. }, processes) in rows.iter().zip(&processes) {
        let name = Escaped(service.name.as_bytes()).to_string();
        let port = format!("{}/{}", service.port, Escaped(service.protocol.as_bytes()));
        let mut rest = service.aliases.join(", ");
        if let Some(comment) = &service.comment {
            rest = format!("{rest:<16} # {comment}");
        }
        line(&name, &port, processes, &Escaped(rest.as_bytes()).to_string());
    }
}
