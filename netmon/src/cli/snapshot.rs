//! `netmon snapshot`: the sockets of this host, as netstat lists them.

mod at;
mod selection;
mod sort;
mod source;
pub(super) mod warnings;

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::Args;

pub(in crate::cli) use self::selection::states;
use self::{
    sort::{Sort, order},
    warnings::{Unowned, Warnings, unix_from_proc},
};
use super::{
    args::{
        journal::JournalArgs,
        tracing::{DumpSource, check_arguments, is_coloured},
    },
    io::{stderr::report, stdout::Stdout, terminal},
    locale::Locale,
    names::{self, hosts},
};
use crate::{
    core::{
        filter::{Filter, RowKind},
        services::Services,
        socket::{Socket, UnixSocket},
        time::Anchor,
    },
    kernel::{Dump, Namespaces, host::privilege::Duty},
    view::{
        listing::{
            ListingNames, ListingView, NetstatColumns,
            json::JsonRows,
            name_cache::NameCache,
            netstat::{Listening, Netstat},
        },
        summary::{Summary, SummaryForm},
    },
};

/// List sockets and their processes, as netstat does
///
/// Without any of -t -u -w -x -l -a, `netmon snapshot` is `netmon snapshot -tuap`: TCP and UDP
/// sockets, connected and listening, with the processes that hold them.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::FILTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "one for each of netstat's flags")]
pub(super) struct SnapshotCommand {
    /// List TCP sockets
    #[arg(short = 't', long)]
    tcp: bool,
    /// List UDP sockets
    #[arg(short = 'u', long)]
    udp: bool,
    /// List raw IP sockets
    #[arg(short = 'w', long)]
    raw: bool,
    /// List Unix domain sockets
    #[arg(short = 'x', long)]
    unix: bool,
    /// List only sockets that listen
    #[arg(short = 'l', long)]
    listening: bool,
    /// List sockets that listen, too
    #[arg(short = 'a', long)]
    all: bool,
    /// List only sockets of IPv4
    #[arg(short = '4', long)]
    ipv4: bool,
    /// List only sockets of IPv6, also IPv6 sockets that carry IPv4
    #[arg(short = '6', long)]
    ipv6: bool,
    /// List only this network namespace: a name, the id of a process in it, or self, which is
    /// netmon's own [default: all]
    #[arg(long, value_name = "NAME|PID")]
    netns: Option<String>,
    /// Show the listing of a past moment, from a journal: 03:12:07, '10m ago', 'yesterday 14:00'
    #[arg(long, value_name = "TIME")]
    #[arg(conflicts_with_all = ["continuous", "source", "udp", "raw", "unix", "timers", "info"])]
    at: Option<String>,
    /// List again and again, every second or every SECONDS
    #[arg(short = 'c', long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    continuous: Option<u32>,
    /// Show numbers instead of names of services and users
    #[arg(short = 'n', long, overrides_with = "resolve")]
    numeric: bool,
    /// Show names of hosts instead of addresses
    #[arg(short = 'r', long, overrides_with = "numeric")]
    resolve: bool,
    /// Show the processes that hold each socket
    #[arg(short = 'p', long, visible_aliases = ["programs", "processes"])]
    program: bool,
    /// Show each process on a line of its own, with its unit, container, program and arguments
    #[arg(long, hide_short_help = true)]
    wide_owner: bool,
    /// Show user and inode, cookie, namespace and cgroup
    #[arg(short = 'e', long)]
    extend: bool,
    /// Show the timer that runs, and its time left
    #[arg(short = 'o', long)]
    timers: bool,
    /// Show TCP's measurements: round trip time, window, retransmissions, bytes
    #[arg(short = 'i', long)]
    info: bool,
    /// Print no headings
    #[arg(short = 'H', long = "no-header", hide_short_help = true)]
    no_header: bool,
    /// Do not fit lines to the terminal; name all processes of a socket
    #[arg(short = 'W', long, hide_short_help = true)]
    wide: bool,
    /// Order by COLUMN, the largest queue or measurement first; measurements imply --info
    #[arg(long, value_enum, value_name = "COLUMN")]
    sort: Option<Sort>,
    /// Print counts instead of sockets
    #[arg(long, conflicts_with_all = ["sort", "resolve"])]
    summary: bool,
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    past: JournalArgs,
    /// Where to read sockets from [default: the faster one that is permitted]
    #[arg(long, value_enum, hide_short_help = true)]
    source: Option<DumpSource>,
    /// Leave out the arguments of processes, which may have secrets
    #[arg(long, hide_short_help = true, conflicts_with = "at")]
    no_args: bool,
    /// Sockets to list, as for ss: state established and dport = :443
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  netmon snapshot -tulpen                    what listens, with its process
  netmon snapshot 'dport = :443'             connections to that port
  netmon snapshot --at 'yesterday 14:00'     the listing of that moment";

impl SnapshotCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        if self.at.is_some() { super::READING } else { &Duty::ALL }
    }

    pub(super) fn run(mut self) -> anyhow::Result<()> {
        if self.sort.is_some_and(Sort::is_measured) {
            if self.at.is_some() {
                super::refuse(Sort::NOT_MEASURED);
            }
            self.info = true;
        }
        if self.at.is_some() && matches!(self.sort, Some(Sort::Recvq | Sort::Sendq)) {
            super::refuse(Sort::NO_QUEUES);
        }
        if let Some(at) = self.at.take() {
            return self.list_past(&at);
        }
        let filter = super::filter(&self.filter, RowKind::Socket);
        check_arguments(self.no_args, &filter);
        self.admit_states(&filter);
        let (mut dump, mut found) = self.open(&filter)?;
        let mut warnings = Warnings::default();
        loop {
            let start = Instant::now();
            warnings.left_out(&found.unreachable, filter.namespaces().is_some());
            self.list(&mut dump, &found, &filter, &mut warnings)?;
            let Some(seconds) = self.continuous else { return Ok(()) };
            thread::sleep(Duration::from_secs(seconds.into()).saturating_sub(start.elapsed()));
            // Namespaces may have come or gone.
            found = self.namespaces(&mut dump, &filter)?;
        }
    }

    /// Has a filter that names states admit sockets in them, listening or not, as for ss.
    fn admit_states(&mut self, filter: &Filter) {
        self.all |= filter.names_states() && !self.is_bare() && !self.listening;
    }

    /// Returns whether no option chooses sockets, which means `-tuap`.
    fn is_bare(&self) -> bool {
        !(self.tcp || self.udp || self.raw || self.unix || self.listening || self.all)
    }

    fn shows_owners(&self) -> bool {
        self.program || self.wide_owner || self.is_bare()
    }

    fn hosts(&self, sockets: &[Socket]) -> NameCache<IpAddr> {
        let addresses = sockets.iter().flat_map(|s| [s.tuple.local.ip(), s.tuple.remote.ip()]);
        if self.resolve { hosts::resolve(addresses) } else { NameCache::default() }
    }

    fn list(
        &self,
        dump: &mut Dump,
        found: &Namespaces,
        filter: &Filter,
        warnings: &mut Warnings,
    ) -> anyhow::Result<()> {
        let time = jiff::Timestamp::now();
        let (owners, hidden) =
            if dump.wants_owners() { dump.owners()? } else { Default::default() };
        let mut unowned = Unowned::new(hidden);
        self.narrow(dump, found)?;
        let collects = self.sort.is_some() || self.resolve;
        let mut collected = Vec::new();
        let namespaces = &found.reachable;
        let several = namespaces.len() > 1;
        let mut rows =
            if collects { None } else { Some(self.rows(&time, several, self.names(), None)) };
        let mut malformed = 0;
        for namespace in namespaces {
            let result = dump.sockets(namespace, |socket| {
                let is_shown = self.shows(&socket);
                let matches = is_shown && filter.matches(&(&socket, &owners));
                if is_shown {
                    unowned.count(socket.inode, &owners, matches);
                }
                if !matches {
                    return Ok(());
                }
                match &mut rows {
                    Some(rows) => rows.socket(&socket, &owners),
                    None => {
                        collected.push(socket);
                        Ok(())
                    }
                }
            });
            malformed += unless_ended(result, self.is_everywhere())?;
        }
        if let Some(sort) = self.sort {
            order(&mut collected, sort, &owners);
        }
        let mut rows = rows.unwrap_or_else(|| {
            let names = ListingNames { hosts: self.hosts(&collected), ..self.names() };
            self.rows(&time, several, names, None)
        });
        for socket in &collected {
            rows.socket(socket, &owners)?;
        }
        if self.unix {
            for namespace in namespaces {
                let result = Dump::unix(namespace, |socket| {
                    let is_shown = self.shows_unix(&socket);
                    let matches = is_shown && filter.matches(&(&socket, &owners));
                    if is_shown {
                        unowned.count(socket.inode, &owners, matches);
                    }
                    if matches { rows.unix(&socket, &owners) } else { Ok(()) }
                });
                let reading = unless_ended(result, self.is_everywhere())?;
                malformed += reading.malformed;
                if let Some(error) = reading.refused {
                    warnings.once("unix", &unix_from_proc(&error));
                }
            }
        }
        rows.finish(&owners)?;
        if self.shows_owners() || self.sort == Some(Sort::Pid) || filter.needs_owners() {
            warnings.unowned(&unowned, filter.needs_owners());
        }
        if malformed > 0 {
            report(format_args!(
                "{malformed} sockets were not understood and are not shown here: -v shows them"
            ));
        }
        Ok(())
    }

    fn shows(&self, socket: &Socket) -> bool {
        let family = self.ipv4 == self.ipv6 || self.ipv6 == socket.ipv6;
        family
            && match self.scope() {
                Listening::All => true,
                Listening::Listening => socket.is_listening(),
                Listening::Connected => !socket.is_listening(),
            }
    }

    fn shows_unix(&self, socket: &UnixSocket) -> bool {
        match self.scope() {
            Listening::All => true,
            Listening::Listening => socket.listening,
            Listening::Connected => !socket.listening,
        }
    }

    /// Returns the names that this host gives to numbers.
    fn names(&self) -> ListingNames {
        ListingNames {
            services: if self.numeric { Services::default() } else { Services::load() },
            hosts: NameCache::default(),
            users: if self.numeric { NameCache::default() } else { NameCache::new(names::user) },
            own_netns: names::own_netns(),
            namespaces: NameCache::new(names::namespaces()),
            cgroups: NameCache::new(names::cgroups()),
            language: Locale::of_user().language,
        }
    }

    fn rows(
        &self,
        time: &jiff::Timestamp,
        several: bool,
        mut names: ListingNames,
        past: Option<(Arc<str>, Anchor)>,
    ) -> Box<dyn ListingView> {
        let locale = Locale::of_user();
        if self.numeric {
            names.users = NameCache::default();
        }
        let terminal = if self.wide { None } else { terminal::width() };
        if self.summary {
            let ListingNames { services, users, .. } = names;
            let form = SummaryForm {
                json: self.json,
                owners: self.shows_owners(),
                services,
                users,
                terminal,
                colour: is_coloured(),
                language: locale.language,
            };
            let what = locale.language.summary.sockets;
            return Box::new(Summary::new(locale.stdout(), what, form));
        }
        if self.json {
            return Box::new(JsonRows::new(Stdout::lock(), names, time, past, self.shows_owners()));
        }
        let columns = NetstatColumns {
            heading: !self.no_header,
            owners: self.shows_owners(),
            wide_owner: self.wide_owner,
            extended: self.extend,
            timers: self.timers,
            info: self.info,
            netns: several,
        };
        let colour = is_coloured();
        Box::new(Netstat::new(locale.stdout(), columns, self.scope(), names, terminal, colour))
    }
}

/// Returns the outcome of reading sockets: nothing where the namespace ended meanwhile, unless it
/// is the one that was asked for.
pub(super) fn unless_ended<T: Default>(
    result: io::Result<T>,
    is_everywhere: bool,
) -> io::Result<T> {
    match result {
        Err(error) if is_everywhere && error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}
