//! Common parts of the subcommands that ask a journal.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    num::NonZeroU64,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use wildmatch::WildMatch;

use super::{
    moment,
    tracing::{CONFINING, is_coloured},
};
use crate::{
    cli::names::{LocalNames, Recorded},
    core::{
        connection::Connection,
        event::Loss,
        filter::Filter,
        process::SocketHolders,
        services::Services,
        socket::{Protocol, Socket},
        time::TimeSpan,
    },
    journal::{HostJournal, Journal, JournalGap, ReadError},
    kernel::host::privilege::{Duty, narrow, narrowed},
    view::changes::lines::Appearance,
};

/// Where a journal is.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct JournalDir {
    /// Directory of the journal; without this, /var/log/netmon
    #[arg(long = "journal", value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Which part of a journal.
#[derive(Debug, Args)]
pub(in crate::cli) struct SpanArgs {
    /// From this moment of a journal: 03:10, 'yesterday 14:00', '10m ago', RFC 3339
    #[arg(long, value_name = "TIME", long_help = moment::help("From this moment of a journal"))]
    from: Option<String>,
    /// Up to this moment of a journal: TIME as for --from
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl SpanArgs {
    /// Returns whether a moment was named.
    pub(in crate::cli) fn is_chosen(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// Which journal, and how moments are written.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct JournalArgs {
    #[command(flatten)]
    directory: JournalDir,
    /// Read these hosts only, where DIR holds several: a name, or a pattern with * and ?
    #[arg(long, value_name = "GLOB")]
    host: Option<String>,
    /// Read and print times in UTC
    #[arg(long)]
    utc: bool,
}

impl JournalDir {
    pub(in crate::cli) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("/var/log/netmon"))
    }
}

impl JournalArgs {
    /// Returns whether a journal was named.
    pub(in crate::cli) fn is_chosen(&self) -> bool {
        self.directory.path.is_some() || self.host.is_some()
    }

    /// How lines of now look.
    pub(in crate::cli) fn appearance(&self, numeric: bool) -> Appearance {
        let own = fs::metadata("/proc/self/ns/net").ok().and_then(|ns| ns.ino().try_into().ok());
        self.look(numeric, false, own.into_iter().collect(), 0)
    }

    /// How lines of a journal look: the same whoever reads it.
    pub(in crate::cli) fn appearance_of(&self, journal: &Journal, numeric: bool) -> Appearance {
        let hosts = journal.hosts();
        let netns = hosts.iter().filter_map(HostJournal::recorder_netns).collect();
        let width = hosts.iter().map(|host| host.name().len()).max().unwrap_or(0);
        let host_width = if hosts.len() > 1 { width.max("Host".len()) } else { 0 };
        self.look(numeric, true, netns, host_width)
    }

    fn look(&self, numeric: bool, dated: bool, netns: Vec<u32>, host_width: usize) -> Appearance {
        Appearance {
            services: if numeric { Services::default() } else { Services::load() },
            colour: is_coloured(),
            zone: self.zone(),
            dated,
            netns,
            host_width,
        }
    }

    /// Opens the journal, and gives up every privilege that reading it does not take.
    pub(in crate::cli) fn open(&self) -> anyhow::Result<Journal> {
        let opened = match narrowed(&[], || self.find()).context(CONFINING)? {
            // It is another user's: reading is all that is kept.
            Err(ReadError::Denied(..)) => {
                narrow(&[Duty::Open]).context(CONFINING)?;
                self.find()
            }
            opened => {
                narrow(&[]).context(CONFINING)?;
                opened
            }
        };
        Ok(opened?)
    }

    /// The journal of the one host that is asked for; this thread keeps its privileges.
    pub(in crate::cli) fn open_one(&self) -> anyhow::Result<HostJournal> {
        let journal = narrowed(&[Duty::Open], || self.find()).context(CONFINING)??;
        match journal.hosts() {
            [host] => Ok(host.clone()),
            hosts => {
                let names: Vec<_> = hosts.iter().map(|host| &**host.name()).collect();
                bail!(
                    "{} has the journals of several hosts, {}: choose one with --host",
                    self.directory.path().display(),
                    names.join(", ")
                )
            }
        }
    }

    fn find(&self) -> Result<Journal, ReadError> {
        let wanted = self.host.as_deref().map(WildMatch::new);
        Journal::open(self.directory.path(), self.host.as_deref(), |host| {
            wanted.as_ref().is_none_or(|wanted| wanted.matches(host))
        })
    }

    /// The filter that the words of a command line make, with the names of when the journal was
    /// recorded.
    pub(in crate::cli) fn filter(&self, words: &[String]) -> Filter {
        crate::cli::filter_with(words, &Recorded(LocalNames::load()))
    }

    pub(in crate::cli) fn zone(&self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }

    /// The moment that is written so, ns since 1970, UTC.
    pub(in crate::cli) fn moment(&self, text: &str) -> anyhow::Result<i64> {
        let now = Zoned::now().with_time_zone(self.zone());
        let moment = moment::moment(text, &now).map_err(|error| anyhow!(error))?;
        if let Some(note) = moment.note {
            say(&note);
        }
        Ok(moment.time)
    }

    /// A moment with its zone.
    pub(in crate::cli) fn show(&self, moment: i64) -> String {
        let moment = Timestamp::from_nanosecond(moment.into()).unwrap_or_default();
        moment.to_zoned(self.zone()).strftime("%Y-%m-%d %H:%M:%S%.f %:z").to_string()
    }

    /// The stretch of time that is asked for, if the journal has anything of it; all there is
    /// without. What was understood is said, and which part of it the journal does not cover.
    pub(in crate::cli) fn span(
        &self,
        journal: &Journal,
        stretch: &SpanArgs,
    ) -> anyhow::Result<TimeSpan> {
        let covered = journal.span(now());
        let moment =
            |text: &Option<String>| text.as_ref().map(|text| self.moment(text)).transpose();
        let from = moment(&stretch.from)?.unwrap_or(covered.from);
        let to = moment(&stretch.to)?.unwrap_or(covered.to);
        if from > to {
            bail!("{} is after {}", self.show(from), self.show(to));
        }
        if from > covered.to || to < covered.from {
            bail!(self.not_covered(covered, journal.is_live()));
        }
        if stretch.is_chosen() {
            say(&format!("from {} to {}", self.show(from), self.show(to)));
        }
        for host in journal.hosts() {
            self.say_part(journal, host, TimeSpan { from, to });
        }
        Ok(TimeSpan { from, to })
    }

    /// Says which part of a stretch of time a host's journal covers, where that is not all.
    fn say_part(&self, journal: &Journal, host: &HostJournal, span: TimeSpan) {
        let covered = host.span(now());
        // Up to now is as far as anybody can ask.
        let is_all = covered.from <= span.from && covered.to >= span.to.min(now());
        if is_all {
            return;
        }
        let whose = match journal.hosts() {
            [_] => "the journal".to_owned(),
            _ => format!("the journal of {}", host.name()),
        };
        if covered.from > span.to || covered.to < span.from {
            say(&format!("{whose} covers nothing of it"));
        } else {
            let from = self.show(covered.from.max(span.from));
            let to = self.show(covered.to.min(span.to));
            say(&format!("{whose} covers of it only {from} to {to}"));
        }
    }

    fn not_covered(&self, covered: TimeSpan, is_live: bool) -> String {
        let is_silent = is_live && covered.to < now();
        format!(
            "the journal does not cover that: it goes from {} to {}{}",
            self.show(covered.from),
            self.show(covered.to),
            if is_silent { "; its recorder runs, but has not written since" } else { "" }
        )
    }

    /// Fails for a moment that the journal of a host does not cover.
    pub(in crate::cli) fn check_host(&self, host: &HostJournal, moment: i64) -> anyhow::Result<()> {
        let covered = host.span(now());
        if covered.contains(moment) {
            return Ok(());
        }
        bail!("{}: {}", self.show(moment), self.not_covered(covered, false))
    }

    /// The tables of a moment, host by host, as far as `filter` lets rows pass. Gaps in which the
    /// moment lies are reported on stderr.
    pub(in crate::cli) fn tables(
        &self,
        journal: &Journal,
        moment: i64,
        filter: &Filter,
    ) -> anyhow::Result<Vec<PastTable>> {
        let covered = journal.span(now());
        if !covered.contains(moment) {
            bail!("{}: {}", self.show(moment), self.not_covered(covered, journal.is_live()));
        }
        say(&format!("at {}", self.show(moment)));
        let mut tables = Vec::new();
        for host in journal.hosts() {
            if !host.span(now()).contains(moment) {
                say(&format!("the journal of {} does not cover that", host.name()));
                continue;
            }
            let (table, _, gaps) = host.table_at(moment);
            gaps.iter().for_each(say_gap);
            let rows: Vec<_> = table.rows().filter(|row| filter.matches(*row)).collect();
            tables.push(PastTable::new(Arc::clone(host.name()), &rows));
        }
        Ok(tables)
    }
}

/// Says something on stderr; nobody may be left to read it.
pub(in crate::cli) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "netmon: {text}");
}

/// Says what is missing at a moment.
fn say_gap(gap: &JournalGap) {
    let what = match gap.gap.loss {
        Loss::NotRecorded => "nothing was recorded then: this is what was there before".to_owned(),
        Loss::Missing => {
            "a part of the journal is missing there: this is what was there before".to_owned()
        }
        _ => {
            let count = match gap.gap.count {
                0 => "events".to_owned(),
                count => format!("{count} events"),
            };
            format!("{count} around then were lost, so that rows may be wrong")
        }
    };
    say(&format!("{}: {what}", gap.host));
}

/// The table of a host at a moment, as a listing takes it.
pub(in crate::cli) struct PastTable {
    /// The host.
    pub(in crate::cli) host: Arc<str>,
    pub(in crate::cli) sockets: Vec<Socket>,
    pub(in crate::cli) owners: SocketHolders,
    /// Names of then.
    pub(in crate::cli) users: HashMap<u32, String>,
    pub(in crate::cli) namespaces: HashMap<u32, String>,
    pub(in crate::cli) cgroups: HashMap<u64, String>,
}

impl PastTable {
    fn new(host: Arc<str>, rows: &[&Connection]) -> Self {
        let mut owners = SocketHolders::default();
        let sockets = rows.iter().map(|row| socket(row, &mut owners)).collect();
        let (mut users, mut namespaces, mut cgroups) =
            (HashMap::new(), HashMap::new(), HashMap::new());
        for row in rows {
            let Some(labels) = &row.labels else { continue };
            if let Some(name) = &labels.netns {
                namespaces.insert(row.tuple.netns, name.to_string());
            }
            let Some(owner) = &row.owner else { continue };
            if let Some(name) = &labels.user {
                users.insert(owner.uid, name.to_string());
            }
            if let Some(path) = &labels.cgroup {
                cgroups.insert(owner.cgroup, path.to_string());
            }
        }
        Self { host, sockets, owners, users, namespaces, cgroups }
    }
}

/// Nanoseconds since 1970, UTC.
pub(in crate::cli) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// A row of the table as a listing has it.
fn socket(row: &Connection, owners: &mut SocketHolders) -> Socket {
    let socket = Socket {
        protocol: Protocol::Tcp,
        ipv6: row.tuple.local.is_ipv6(),
        tuple: row.tuple,
        state: row.state,
        cookie: NonZeroU64::new(row.id.cookie),
        recv_q: None,
        send_q: None,
        uid: row.owner.as_ref().map(|owner| owner.uid),
        inode: None,
        cgroup: row.owner.as_ref().and_then(|owner| NonZeroU64::new(owner.cgroup)),
        timer: None,
        retransmits: 0,
        probes: 0,
        info: None,
    };
    if let (Some(owner), Some(key)) = (&row.owner, socket.owners_key()) {
        owners.add(key.get(), owner.pid, &owner.comm);
    }
    socket
}
