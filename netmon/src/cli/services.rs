//! `netmon services`: the known ports.

use std::io::Write;

use anyhow::{bail, ensure};
use clap::Args;

use super::io::stdout::Stdout;
use crate::core::{
    escape::{Escaped, put_json_text},
    services::{Service, Services as Database},
};

/// List the known ports and their names, from /etc/services
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ServicesCommand {
    /// Port, name, or part of a name: 443, :443, 22/tcp, ssh
    #[arg(value_name = "PORT|NAME")]
    word: Option<String>,
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  netmon services :443       the name of a port
  netmon services ssh        the port of a name
  netmon services sql        every name with sql in it";

impl ServicesCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if let Some(reason) = Database::missing() {
            bail!("{reason}");
        }
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
        let mut out = Vec::new();
        if self.json {
            found.into_iter().for_each(|service| put_json(&mut out, service));
        } else {
            // Writing to a vector does not fail, here and below.
            let _ = writeln!(out, "{:<16} {:<10} Also known as", "Service", "Port/Proto");
            found.into_iter().for_each(|service| put_line(&mut out, service));
        }
        let mut stdout = Stdout::lock();
        stdout.write_all(&out)?;
        Ok(stdout.flush()?)
    }
}

fn put_line(out: &mut Vec<u8>, service: &Service) {
    let name = Escaped(service.name.as_bytes()).to_string();
    let port = format!("{}/{}", service.port, Escaped(service.protocol.as_bytes()));
    let mut rest = service.aliases.join(", ");
    if let Some(comment) = &service.comment {
        rest = format!("{rest:<16} # {comment}");
    }
    let line = format!("{name:<16} {port:<10} {}", Escaped(rest.as_bytes()));
    let _ = writeln!(out, "{}", line.trim_end());
}

/// Writes an object of type `service`: `docs/netmon.schema.json` describes its fields.
fn put_json(out: &mut Vec<u8>, service: &Service) {
    out.extend_from_slice(br#"{"type":"service","name":"#);
    put_json_text(service.name.as_bytes(), out);
    let _ = write!(out, r#","port":{},"proto":"#, service.port);
    put_json_text(service.protocol.as_bytes(), out);
    out.extend_from_slice(br#","aliases":["#);
    for (place, alias) in service.aliases.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put_json_text(alias.as_bytes(), out);
    }
    out.push(b']');
    if let Some(comment) = &service.comment {
        out.extend_from_slice(br#","comment":"#);
        put_json_text(comment.as_bytes(), out);
    }
    out.extend_from_slice(b"}\n");
}
