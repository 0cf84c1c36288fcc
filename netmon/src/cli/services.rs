//! `netmon services`: the known ports.

use std::io::Write;

use anyhow::ensure;
use clap::Args;

use super::io::stdout::Stdout;
use crate::core::{escape::Escaped, services::Services as Database};

/// List the known ports, from the services database (/etc/services)
#[derive(Debug, Args)]
pub(super) struct ServicesCommand {
    /// Port, or name, or the beginning of a name
    #[arg(value_name = "WORD|PORT")]
    word: Option<String>,
}

impl ServicesCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let database = Database::load();
        let found = database.search(self.word.as_deref());
        ensure!(
            !found.is_empty(),
            match &self.word {
                Some(word) => format!(
                    "no service is called or begins with '{}': `netmon services` lists all",
                    Escaped(word.as_bytes())
                ),
                None => "this host has no services database: install it (on Debian, the package \
                         netbase) to get /etc/services"
                    .to_owned(),
            }
        );
        let mut out = Vec::new();
        // Writing to a vector does not fail.
        let _ = writeln!(out, "{:<16} {:<10} Also known as", "Service", "Port/Proto");
        for service in found {
            let name = Escaped(service.name.as_bytes()).to_string();
            let port = format!("{}/{}", service.port, Escaped(service.protocol.as_bytes()));
            let mut rest = service.aliases.join(", ");
            if let Some(comment) = &service.comment {
                rest = format!("{rest:<16} # {comment}");
            }
            let line = format!("{name:<16} {port:<10} {}", Escaped(rest.as_bytes()));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        let mut stdout = Stdout::lock();
        stdout.write_all(&out)?;
        Ok(stdout.flush()?)
    }
}
