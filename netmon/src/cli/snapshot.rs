//! `netmon snapshot`: the sockets of this host, as netstat lists them.

mod at;
mod selection;
mod sort;
mod warnings;

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use self::{
    sort::{Sort, order},
    warnings::{Warnings, unix_from_proc},
};
use super::{
    args::{
        journal::JournalArgs,
        tracing::{CONFINING, DumpSource, is_coloured},
    },
    io::{stderr::report, stdout::Stdout, terminal},
    names::{self, hosts},
};
use crate::{
    core::{
        filter::{Filter, RowKind},
        process::SocketHolders,
        services::Services,
        socket::{Socket, UnixSocket},
        time::Anchor,
    },
    kernel::{
        self, Dump, DumpRequest, Namespace, Namespaces,
        host::privilege::{Duty, advice, narrow},
    },
    view::{
        listing::{
            ListingNames, ListingView,
            json::JsonRows,
            name_cache::NameCache,
            netstat::{Listening, Netstat, NetstatColumns},
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
    /// List another network namespace: its name, the id of a process in it, or all
    #[arg(long, value_name = "all|NAME|PID")]
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
    /// Order by COLUMN, the largest queue first
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

    /// Gives up the privileges that neither the rest of this listing takes, after the owners, nor a
    /// later listing.
    fn narrow(&self, dump: &Dump, filter: &Filter) -> anyhow::Result<()> {
        let enters = self.netns.is_some() || filter.names_namespaces();
        let reads = dump.duties(self.continuous.is_some());
        let duties: Vec<_> = reads.iter().copied().chain(enters.then_some(Duty::Enter)).collect();
        narrow(&duties).context(CONFINING)
    }

    pub(super) fn run(mut self) -> anyhow::Result<()> {
        if let Some(at) = &self.at {
            return self.list_past(at);
        }
        let filter = super::filter(&self.filter, RowKind::Socket);
        // As for ss: a filter that names states admits sockets in them, listening or not.
        self.all |= filter.names_states() && !self.is_bare() && !self.listening;
        let mut dump = self.open(&filter)?;
        let mut warnings = Warnings::default();
        loop {
            let start = Instant::now();
            // Namespaces may have come or gone since the last listing.
            let Namespaces { reachable, refused, unreachable } =
                self.namespaces(&mut dump, &filter)?;
            if let Some(hidden) = unreachable.filter(|hidden| !hidden.is_empty()) {
                let count = dump.count(&hidden)?;
                warnings.once(
                    "hidden",
                    &format!(
                        "{count} TCP sockets are left out, in {} network namespaces that this \
                         process cannot enter{}",
                        hidden.len(),
                        advice(Duty::Enter)
                    ),
                );
            } else if refused > 0 {
                warnings.once(
                    "namespaces",
                    &format!(
                        "{refused} processes or names do not let this one into their network \
                         namespace, which may be missing here{}",
                        advice(Duty::Enter)
                    ),
                );
            }
            self.list(&mut dump, &reachable, &filter, &mut warnings)?;
            let Some(seconds) = self.continuous else { return Ok(()) };
            thread::sleep(Duration::from_secs(seconds.into()).saturating_sub(start.elapsed()));
        }
    }

    /// Returns whether no option chooses sockets, which means `-tuap`.
    fn is_bare(&self) -> bool {
        !(self.tcp || self.udp || self.raw || self.unix || self.listening || self.all)
    }

    fn shows_owners(&self) -> bool {
        self.program || self.is_bare()
    }

    /// Opens the requested source, or the better one that works.
    fn open(&self, filter: &Filter) -> anyhow::Result<Dump> {
        let want = DumpRequest {
            protocols: self.protocols(),
            info: self.info || filter.needs_info(),
            identity: self.extend || self.json || filter.needs_identity(),
            filter: filter.clauses().restrict(self.states(), self.families()),
            everywhere: self.is_everywhere(filter),
            owners: self.shows_owners() || self.sort == Some(Sort::Pid) || filter.needs_owners(),
        };
        match self.source {
            Some(DumpSource::Bpf) => Ok(Dump::through_iterators(want)?),
            Some(DumpSource::Proc) => Ok(Dump::through_proc(want)),
            // One namespace only: the count does not have the sockets of any other.
            None if self.netns.is_none() && !want.everywhere && kernel::has_few_sockets() => {
                Ok(Dump::proc_then_iterators(want))
            }
            None => match Dump::through_iterators(want.clone()) {
                Ok(dump) => Ok(dump),
                // Expected without root; any other error should be known.
                Err(kernel::LoadError::Privilege(_)) => Ok(Dump::through_proc(want)),
                Err(error) => {
                    report(format_args!("{error}; reading /proc instead"));
                    Ok(Dump::through_proc(want))
                }
            },
        }
    }

    fn hosts(&self, sockets: &[Socket]) -> NameCache<IpAddr> {
        let addresses = sockets.iter().flat_map(|s| [s.tuple.local.ip(), s.tuple.remote.ip()]);
        if self.resolve { hosts::resolve(addresses) } else { NameCache::default() }
    }

    fn list(
        &self,
        dump: &mut Dump,
        namespaces: &[Namespace],
        filter: &Filter,
        warnings: &mut Warnings,
    ) -> anyhow::Result<()> {
        let time = jiff::Timestamp::now();
        let owners = if dump.wants_owners() {
            self.owners(dump, warnings)?
        } else {
            SocketHolders::default()
        };
        self.narrow(dump, filter)?;
        let collects = self.sort.is_some() || self.resolve;
        let mut collected = Vec::new();
        let several = namespaces.len() > 1 || self.netns.as_deref() == Some("all");
        let mut rows =
            if collects { None } else { Some(self.rows(&time, several, self.names(), None)) };
        let mut malformed = 0;
        for namespace in namespaces {
            let result = dump.sockets(namespace, |socket| {
                if !self.shows(&socket) || !filter.matches(&(&socket, &owners)) {
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
            malformed += unless_ended(result, several)?;
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
                    let is_shown = self.shows_unix(&socket) && filter.matches(&(&socket, &owners));
                    if is_shown { rows.unix(&socket, &owners) } else { Ok(()) }
                });
                let reading = unless_ended(result, several)?;
                malformed += reading.malformed;
                if let Some(error) = reading.refused {
                    warnings.once("unix", &unix_from_proc(&error));
                }
            }
        }
        rows.finish(&owners)?;
        if malformed > 0 {
            report(format_args!(
                "{malformed} sockets were not understood and are not shown here: -v shows them"
            ));
        }
        Ok(())
    }

    fn owners(&self, dump: &mut Dump, warnings: &mut Warnings) -> io::Result<SocketHolders> {
        let (owners, refused) = dump.owners()?;
        if refused > 0 && (self.shows_owners() || self.sort == Some(Sort::Pid)) {
            warnings.once(
                "owners",
                &format!(
                    "{refused} of the processes do not show what they hold, so that their sockets \
                     have no owner here{}",
                    advice(Duty::Look)
                ),
            );
        }
        Ok(owners)
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
            namespaces: NameCache::new(kernel::name_of),
            cgroups: NameCache::new(names::cgroups()),
        }
    }

    fn rows(
        &self,
        time: &jiff::Timestamp,
        several: bool,
        mut names: ListingNames,
        past: Option<(Arc<str>, Anchor)>,
    ) -> Box<dyn ListingView> {
        let out = Stdout::lock();
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
            };
            return Box::new(Summary::new(out, "Sockets", form));
        }
        if self.json {
            return Box::new(JsonRows::new(out, names, time, past, self.shows_owners()));
        }
        let columns = NetstatColumns {
            heading: !self.no_header,
            owners: self.shows_owners(),
            extended: self.extend,
            timers: self.timers,
            info: self.info,
            netns: several,
        };
        Box::new(Netstat::new(out, columns, self.scope(), names, terminal, is_coloured()))
    }
}

/// Returns the outcome of reading sockets: nothing where one of several namespaces ended meanwhile.
fn unless_ended<T: Default>(result: io::Result<T>, several: bool) -> io::Result<T> {
    match result {
        Err(error) if several && error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}
