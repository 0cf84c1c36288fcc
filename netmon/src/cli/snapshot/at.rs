//! `netmon snapshot --at`: what there was, of a journal.

use std::io::Write;

use super::{Snapshot, Sort, order};
use crate::{
    cli::stdout::Stdout,
    core::{filter::Filter, socket::Socket},
    kernel::Namespace,
};

impl Snapshot {
    /// Lists what the journal says was there.
    pub(super) fn list_past(&self, at: &str, filter: &Filter) -> anyhow::Result<()> {
        let (journal, at) = (self.past.open()?, self.past.moment(at)?);
        let (sockets, owners) = self.past.sockets(&journal, at)?;
        let is_elsewhere = self.elsewhere(&sockets, filter)?;
        let mut sockets: Vec<Socket> = sockets
            .into_iter()
            .filter(|socket| !is_elsewhere(socket) && self.shows(socket))
            .filter(|socket| filter.matches(&(socket, &owners)))
            .collect();
        order(&mut sockets, self.sort.unwrap_or(Sort::Local), &owners);
        let several = sockets.windows(2).any(|pair| pair[0].tuple.netns != pair[1].tuple.netns);
        if !self.json && !self.no_header {
            let time = self.past.show(at);
            writeln!(Stdout::lock(), "What there was on {} at {time}", journal.host())?;
        }
        let time = jiff::Timestamp::from_nanosecond(at.into())?;
        let mut rows = self.rows(&time, several, self.hosts(&sockets));
        for socket in &sockets {
            rows.socket(socket, &owners)?;
        }
        Ok(rows.finish(&owners)?)
    }

    /// Tells which sockets of the past are of namespaces that are not asked for: as with what is there now,
    /// another than this program's, where the journal has any of its own.
    fn elsewhere(
        &self,
        sockets: &[Socket],
        filter: &Filter,
    ) -> anyhow::Result<impl Fn(&Socket) -> bool + use<>> {
        let own = match self.netns.as_deref() {
            Some("all") => None,
            Some(name) => Some(match name.parse() {
                Ok(inum) => inum,
                Err(_) => Namespace::named(name)?.inum,
            }),
            None if filter.names_namespaces() => None,
            None => Namespace::current().ok().map(|own| own.inum),
        };
        let is_named = self.netns.is_some();
        let own = own.filter(|own| is_named || sockets.iter().any(|s| s.tuple.netns == *own));
        Ok(move |socket: &Socket| own.is_some_and(|own| socket.tuple.netns != own))
    }
}
