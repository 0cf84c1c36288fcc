//! `netmon routes`, `netmon interfaces` and `netmon stats`: the network besides its sockets.

use std::{io, thread, time::Duration};

use anyhow::Context;
use clap::Args;

use super::{args::tracing::CONFINING, io::stdout::Stdout, names, snapshot::unless_ended};
use crate::{
    core::{
        escape::Escaped,
        filter::OWN_NETNS,
        network::{Counter, LOCAL_TABLE, NetworkRow, NetworkRows, differences},
    },
    kernel::{
        Namespace, Namespaces,
        host::privilege::{Duty, narrow},
        network::{counters, interfaces, routes},
    },
    view::{
        listing::name_cache::NameCache,
        network::{NetworkJson, NetworkText, NetworkView},
    },
};

/// The options of each listing.
#[derive(Debug, Args)]
struct NetworkArgs {
    /// List another network namespace: a name, the id of a process in it, or all
    #[arg(long, value_name = "NAME|PID")]
    netns: Option<String>,
    /// Show the changes again and again, every second or every SECONDS
    #[arg(short = 'c', long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    continuous: Option<u32>,
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
}

/// Show the routes of this host
///
/// The routes of every table, but for those to the host's own addresses (--all).
#[derive(Debug, Args)]
#[command(before_help = ROUTES)]
pub(super) struct RoutesCommand {
    /// Show the routes to the host's own addresses, too
    #[arg(short = 'a', long)]
    all: bool,
    /// Show only routes of IPv4
    #[arg(short = '4', long)]
    ipv4: bool,
    /// Show only routes of IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
    #[command(flatten)]
    listing: NetworkArgs,
}

const ROUTES: &str = "\
Examples:
  netmon routes              the way to each destination
  netmon routes -c           the same, and then each change
  netmon netstat -rn         the table of net-tools";

/// Show the network devices of this host, with addresses and counters
#[derive(Debug, Args)]
#[command(before_help = INTERFACES)]
pub(super) struct InterfacesCommand {
    #[command(flatten)]
    listing: NetworkArgs,
}

const INTERFACES: &str = "\
Examples:
  netmon interfaces          devices, with the bytes and packets so far
  netmon interfaces -c 5     the same, and then the changes every 5 seconds
  netmon netstat -i          the table of net-tools";

/// Show the counters of the network protocols
///
/// Counters that are zero are left out (--all). docs/netstat.md has the sources.
#[derive(Debug, Args)]
#[command(before_help = STATS)]
pub(super) struct StatsCommand {
    /// Show counters that are zero, too
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    listing: NetworkArgs,
    /// The beginning of a protocol's name, in any case: tcp, ip6
    #[arg(value_name = "PROTOCOL")]
    protocol: Option<String>,
}

const STATS: &str = "\
Examples:
  netmon stats tcp           what TCP has counted since the host started
  netmon stats -c            the same of all, and then each change
  netmon netstat -s          the sentences of net-tools";

impl RoutesCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        self.listing.duties()
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { all, ipv4, ipv6, listing } = self;
        listing.run(
            |_| true,
            move || {
                let mut found = Vec::new();
                for family in [false, true] {
                    if ipv4 == ipv6 || ipv6 == family {
                        found.extend(routes(family)?);
                    }
                }
                let rows = found.into_iter().filter(|route| all || route.table != LOCAL_TABLE);
                Ok(rows.map(NetworkRow::Route).collect())
            },
        )
    }
}

impl InterfacesCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        self.listing.duties()
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        self.listing.run(
            |_| true,
            || {
                let found = interfaces()?.into_iter();
                Ok(found.map(|interface| NetworkRow::Interface(Box::new(interface))).collect())
            },
        )
    }
}

impl StatsCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        self.listing.duties()
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { all, listing, protocol } = self;
        let wanted = protocol.unwrap_or_default().to_lowercase();
        let shows = |row: &NetworkRow| match row {
            NetworkRow::Counter(counter) => all || counter.value != 0,
            _ => true,
        };
        listing.run(shows, move || {
            let mut rows = Vec::new();
            for table in counters(false)?.into_iter().chain(counters(true)?) {
                if !table.protocol.to_lowercase().starts_with(&wanted) {
                    continue;
                }
                for (name, value) in table.counters {
                    let protocol = table.protocol.clone();
                    rows.push(NetworkRow::Counter(Counter { protocol, name, value }));
                }
            }
            if rows.is_empty() && !wanted.is_empty() {
                return Err(io::Error::other(format!(
                    "no protocol with counters begins with '{}': netmon stats -a shows all",
                    Escaped(wanted.as_bytes())
                )));
            }
            Ok(rows)
        })
    }
}

impl NetworkArgs {
    /// Returns the name of a namespace to enter; none for netmon's own.
    fn other(&self) -> Option<&str> {
        self.netns.as_deref().filter(|name| *name != OWN_NETNS)
    }

    fn duties(&self) -> &'static [Duty] {
        if self.other().is_some() { &[Duty::Enter] } else { &[] }
    }

    fn is_everywhere(&self) -> bool {
        self.netns.as_deref() == Some("all")
    }

    fn namespaces(&self) -> io::Result<Namespaces> {
        match self.other() {
            Some("all") => Namespaces::find(),
            Some(name) => Ok(Namespaces::only(Namespace::named(name)?)),
            None => Ok(Namespaces::only(Namespace::current()?)),
        }
    }

    /// Lists the rows that `read` finds in each namespace and `shows` admits; with `-c`, then the
    /// changes of all rows.
    fn run(
        self,
        shows: impl Fn(&NetworkRow) -> bool,
        read: impl Fn() -> io::Result<Vec<NetworkRow>> + Sync,
    ) -> anyhow::Result<()> {
        let found = self.namespaces()?;
        if !found.has_others() && !self.is_everywhere() {
            narrow(&[]).context(CONFINING)?;
        }
        let mut view = self.view();
        let mut rows = self.rows(&found, &read)?;
        view.begin(jiff::Timestamp::now());
        for (netns, row) in rows.iter().filter(|(_, row)| shows(row)) {
            view.row(*netns, row, None)?;
        }
        view.finish()?;
        let Some(seconds) = self.continuous else { return Ok(()) };
        loop {
            thread::sleep(Duration::from_secs(seconds.into()));
            // Namespaces may have come or gone.
            let now = self.rows(&self.namespaces()?, &read)?;
            view.begin(jiff::Timestamp::now());
            for (netns, row, change) in differences(&rows, &now) {
                view.row(netns, row, Some(&change))?;
            }
            view.finish()?;
            rows = now;
        }
    }

    fn rows(
        &self,
        namespaces: &Namespaces,
        read: &(impl Fn() -> io::Result<Vec<NetworkRow>> + Sync),
    ) -> io::Result<NetworkRows> {
        let mut rows = NetworkRows::new();
        for namespace in &namespaces.reachable {
            let found = unless_ended(namespace.run(read), self.is_everywhere())?;
            rows.extend(found.into_iter().map(|row| (namespace.inum, row)));
        }
        Ok(rows)
    }

    fn view(&self) -> Box<dyn NetworkView> {
        let namespaces = NameCache::new(names::namespaces());
        if self.json {
            return Box::new(NetworkJson::new(Stdout::lock(), namespaces));
        }
        let own = names::own_netns();
        Box::new(NetworkText::new(Stdout::lock(), namespaces, own, self.is_everywhere()))
    }
}
