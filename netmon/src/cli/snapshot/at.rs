//! `netmon snapshot --at`: the listing of a past moment, from a journal.

use std::io::Write;

use super::{
    SnapshotCommand,
    sort::{Sort, order},
};
use crate::{
    cli::{
        args::{journal::report_unknown_self, past_table::PastTable},
        locale::Locale,
    },
    core::{
        escape::Escaped,
        filter::{OWN_NETNS, RowKind},
        socket::Socket,
    },
    view::listing::{ListingNames, name_cache::NameCache},
};

impl SnapshotCommand {
    /// Lists the sockets that the journal has at a moment, of every namespace unless one is chosen.
    pub(super) fn list_past(&mut self, at: &str) -> anyhow::Result<()> {
        let filter = self.past.filter(&self.filter, RowKind::PastSocket);
        self.admit_states(&filter);
        let (journal, at) = (self.past.open_to_ask()?, self.past.moment(at));
        let is_own = self.netns.as_deref() == Some(OWN_NETNS);
        let time = at.timestamp();
        // The names of hosts (-r) come from other programs, so this thread is not enclosed.
        let tables = journal.enclosed(|| {
            report_unknown_self(journal.hosts(), is_own || filter.names_own_netns());
            self.past.tables(&journal, at, &filter)
        })?;
        for table in tables {
            let PastTable {
                host,
                anchor,
                mut sockets,
                owners,
                own_netns,
                users,
                namespaces,
                cgroups,
            } = table;
            let netns = self.netns.as_deref().filter(|name| *name != "all");
            let is_there = |socket: &Socket| {
                let inum = socket.tuple.netns;
                netns.is_none_or(|name| {
                    name == OWN_NETNS && own_netns == Some(inum)
                        || namespaces.get(&inum).is_some_and(|known| known == name)
                        || name.parse() == Ok(inum)
                })
            };
            sockets.retain(|socket| is_there(socket) && self.shows(socket));
            order(&mut sockets, self.sort.unwrap_or(Sort::Local), &owners);
            if !self.json && !self.no_header {
                let (host, time) = (Escaped(host.as_bytes()), self.past.show(at));
                let locale = Locale::of_user();
                let line = locale.language.past.replace("{time}", &time);
                writeln!(locale.stdout(), "{}", line.replace("{host}", &host.to_string()))?;
            }
            let hosts = self.hosts(&sockets);
            let names = ListingNames {
                hosts,
                users: NameCache::new(move |uid| users.get(&uid).cloned()),
                namespaces: NameCache::new(move |inum| namespaces.get(&inum).cloned()),
                own_netns,
                cgroups: NameCache::new(move |id| cgroups.get(&id).cloned()),
                ..self.names()
            };
            let past = Some((host, anchor));
            let mut rows = self.rows(&time, self.is_everywhere(), names, past);
            for socket in &sockets {
                rows.socket(socket, &owners)?;
            }
            rows.finish(&owners)?;
        }
        Ok(())
    }
}
