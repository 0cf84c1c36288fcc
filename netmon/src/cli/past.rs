//! What the subcommands that ask a journal have in common.

use std::{
    fs,
    io::{self, Write},
    num::NonZeroU64,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{anyhow, bail};
use clap::Args;
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{live::is_coloured, when};
use crate::{
    core::{
        connection::Connection,
        event::Loss,
        names::Services,
        owners::Owners,
        socket::{Protocol, Socket},
    },
    journal::{Journal, Span},
    view::lines::Appearance,
};

/// Where a journal is.
#[derive(Clone, Debug, Args)]
pub(super) struct Directory {
    /// Where the journal is; without this, /var/log/netmon
    #[arg(long = "journal", value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Which part of a journal.
#[derive(Debug, Args)]
pub(super) struct Stretch {
    /// From this moment of a journal: 03:10, 'yesterday 14:00', '10m ago', RFC 3339
    #[arg(long, value_name = "TIME", long_help = when::help("From this moment of a journal"))]
    from: Option<String>,
    /// Up to this moment of a journal: TIME as for --from
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Stretch {
    /// Whether a moment was named.
    pub(super) fn is_chosen(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

/// Which journal, and how moments are written.
#[derive(Clone, Debug, Args)]
pub(super) struct Past {
    #[command(flatten)]
    directory: Directory,
    /// Whose, where the journal is of several hosts
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Moments are UTC, those that are written here and those that are shown, instead of local time
    #[arg(long)]
    utc: bool,
}

impl Directory {
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("/var/log/netmon"))
    }
}

impl Past {
    /// Whether a journal was named.
    pub(super) fn is_chosen(&self) -> bool {
        self.directory.path.is_some() || self.host.is_some()
    }

    /// How lines look; `dated` are those that are not of now.
    pub(super) fn appearance(&self, numeric: bool, dated: bool) -> Appearance {
        Appearance {
            services: if numeric { Services::default() } else { Services::load() },
            colour: is_coloured(),
            zone: self.zone(),
            dated,
            netns: fs::metadata("/proc/self/ns/net").ok().and_then(|ns| ns.ino().try_into().ok()),
        }
    }

    pub(super) fn open(&self) -> anyhow::Result<Journal> {
        Ok(Journal::open(self.directory.path(), self.host.as_deref())?)
    }

    pub(super) fn zone(&self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }

    /// The moment that is written so, ns since 1970, UTC.
    pub(super) fn moment(&self, text: &str) -> anyhow::Result<i64> {
        let now = Zoned::now().with_time_zone(self.zone());
        let moment = when::moment(text, &now).map_err(|error| anyhow!(error))?;
        if let Some(note) = moment.note {
            // Nobody may be left to read that.
            let _ = writeln!(io::stderr(), "netmon: {note}");
        }
        Ok(moment.time)
    }

    /// A moment with its zone.
    pub(super) fn show(&self, moment: i64) -> String {
        let moment = Timestamp::from_nanosecond(moment.into()).unwrap_or_default();
        moment.to_zoned(self.zone()).strftime("%Y-%m-%d %H:%M:%S%.f %:z").to_string()
    }

    /// The stretch of time that is asked for, if the journal has anything of it; all there is without.
    pub(super) fn span(&self, journal: &Journal, stretch: &Stretch) -> anyhow::Result<Span> {
        let covered = journal.span(now())?;
        let moment =
            |text: &Option<String>| text.as_ref().map(|text| self.moment(text)).transpose();
        let from = moment(&stretch.from)?.unwrap_or(covered.from);
        let to = moment(&stretch.to)?.unwrap_or(covered.to);
        if from > to {
            bail!("{} is after {}", self.show(from), self.show(to));
        }
        if from > covered.to || to < covered.from {
            bail!(self.not_covered(journal, covered));
        }
        Ok(Span { from, to })
    }

    fn not_covered(&self, journal: &Journal, covered: Span) -> String {
        let is_silent = journal.is_live() && covered.to < now();
        format!(
            "the journal does not cover that: it goes from {} to {}{}",
            self.show(covered.from),
            self.show(covered.to),
            if is_silent { "; its recorder runs, but has not written since" } else { "" }
        )
    }

    /// Fails for a moment that the journal does not cover.
    pub(super) fn check(&self, journal: &Journal, moment: i64) -> anyhow::Result<()> {
        let covered = journal.span(now())?;
        if (covered.from..=covered.to).contains(&moment) {
            Ok(())
        } else {
            bail!("{}: {}", self.show(moment), self.not_covered(journal, covered))
        }
    }

    /// The sockets at a moment, with their owners; what is missing just there is said.
    pub(super) fn sockets(
        &self,
        journal: &Journal,
        moment: i64,
    ) -> anyhow::Result<(Vec<Socket>, Owners)> {
        self.check(journal, moment)?;
        let (table, _, gaps) = journal.table_at(moment);
        for gap in gaps {
            let what = match gap.loss {
                Loss::NotRecorded => {
                    "nothing was recorded then: this is what was there before".into()
                }
                _ => {
                    let count = match gap.count {
                        0 => "events".to_owned(),
                        count => format!("{count} events"),
                    };
                    format!("{count} around then were lost, so that rows may be wrong")
                }
            };
            // Nobody may be left to read that.
            let _ = writeln!(io::stderr(), "netmon: {what}");
        }
        let mut owners = Owners::default();
        let sockets = table.rows().map(|row| socket(row, &mut owners)).collect();
        Ok((sockets, owners))
    }
}

/// Nanoseconds since 1970, UTC.
pub(super) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// A row of the table as a listing has it.
fn socket(row: &Connection, owners: &mut Owners) -> Socket {
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
