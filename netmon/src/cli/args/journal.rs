//! Common parts of the subcommands that read a journal.

mod range;

use std::{
    env,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use wildmatch::WildMatch;

pub(in crate::cli) use self::range::SpanArgs;
use super::{
    moment,
    past_table::PastTable,
    tracing::{CONFINING, is_coloured},
};
use crate::{
    cli::{
        io::{stderr::report, terminal},
        names::{LocalNames, RecordedNames, own_netns},
    },
    core::{
        connection::Connection,
        filter::{Filter, OWN_NETNS, RowKind},
        loss::Loss,
        services::Services,
        time::Wall,
    },
    journal::{HostJournal, Journal, JournalGap, ReadError},
    kernel::host::privilege::{Duty, narrow, narrowed},
    view::changes::appearance::Appearance,
};

/// The variable with the directory of the journal. Other than `--journal`, it makes no replay of a
/// `watch`.
const VARIABLE: &str = "NETMON_JOURNAL";
/// The directory of the journal without a choice.
const USUAL: &str = "/var/log/netmon";

/// The directory of a journal.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct JournalDir {
    /// Directory of the journal [default: $NETMON_JOURNAL, or /var/log/netmon]
    #[arg(long = "journal", value_name = "DIR", value_hint = ValueHint::DirPath)]
    path: Option<PathBuf>,
}

/// The journal to read, and the zone of its times.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct JournalArgs {
    #[command(flatten)]
    directory: JournalDir,
    /// Hosts to read, when DIR holds several: a name, or a pattern with * and ?
    #[arg(long, value_name = "GLOB", hide_short_help = true)]
    host: Option<String>,
    /// Read and print times in UTC
    #[arg(long)]
    utc: bool,
    /// The zone, once it is known.
    #[arg(skip)]
    zone: OnceLock<TimeZone>,
}

/// The form of lines about connections.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct FormArgs {
    /// Write JSON Lines
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Show port numbers instead of service names
    #[arg(short = 'n', long)]
    pub(in crate::cli) numeric: bool,
    /// Show each process on a line of its own, with its unit, container, program and arguments
    #[arg(long, hide_short_help = true)]
    pub(in crate::cli) wide_owner: bool,
    /// Do not fit lines to the terminal
    #[arg(short = 'W', long)]
    pub(in crate::cli) wide: bool,
}

impl JournalDir {
    /// Returns the directory: that of the command line, that of the environment, or the usual one.
    pub(in crate::cli) fn path(&self) -> PathBuf {
        let variable = || env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        self.path.clone().or_else(variable).unwrap_or_else(|| USUAL.into())
    }
}

impl JournalArgs {
    /// Returns whether a journal was named.
    pub(in crate::cli) fn is_chosen(&self) -> bool {
        self.directory.path.is_some() || self.host.is_some()
    }

    /// Returns the appearance of live lines.
    pub(in crate::cli) fn appearance(&self, form: FormArgs) -> Appearance {
        Appearance { own_netns: own_netns(), ..self.appearance_with(form, false, 0) }
    }

    /// Returns the appearance of a journal's lines, the same for every reader.
    pub(in crate::cli) fn appearance_of(&self, journal: &Journal, form: FormArgs) -> Appearance {
        let hosts = journal.hosts();
        let width = hosts.iter().map(|host| host.name().len()).max().unwrap_or(0);
        let host_width = if hosts.len() > 1 { width.max("Host".len()) } else { 0 };
        self.appearance_with(form, true, host_width)
    }

    fn appearance_with(&self, form: FormArgs, dated: bool, host_width: usize) -> Appearance {
        Appearance {
            services: if form.numeric { Services::default() } else { Services::load() },
            terminal: if form.wide { None } else { terminal::width() },
            colour: is_coloured(),
            zone: self.zone(),
            dated,
            own_netns: None,
            wide_owner: form.wide_owner,
            host_width,
        }
    }

    /// Opens the journal as [`Self::open_to_ask`] does, and closes to this thread everything else
    /// that reading the journal does not take.
    pub(in crate::cli) fn open(&self) -> anyhow::Result<Journal> {
        let journal = self.open_to_ask()?;
        // The zone may be any file.
        let _ = self.zone();
        journal.enclose();
        Ok(journal)
    }

    /// Opens the journal, and gives up every privilege that reading the journal does not take. This
    /// thread may still ask other programs for names, and write files.
    pub(in crate::cli) fn open_to_ask(&self) -> anyhow::Result<Journal> {
        let opened = match narrowed(&[], || self.find()).context(CONFINING)? {
            // The journal is another user's: only the privilege to read is kept.
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

    /// Opens the journal of one host; this thread keeps its privileges.
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
        let pattern = self.host.as_deref().map(WildMatch::new);
        Journal::open(&self.directory.path(), self.host.as_deref(), |host| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(host))
        })
    }

    /// Returns the filter that the words of a command line make, with the names that the journal
    /// recorded.
    pub(in crate::cli) fn filter(&self, words: &[String], rows: RowKind) -> Filter {
        crate::cli::filter_with(words, &RecordedNames(LocalNames::new()), rows)
    }

    pub(in crate::cli) fn zone(&self) -> TimeZone {
        let zone = || if self.utc { TimeZone::UTC } else { TimeZone::system() };
        self.zone.get_or_init(zone).clone()
    }

    /// Reads a moment. Prints a note where the text has more than one reading; a text that is no
    /// moment ends the program.
    pub(in crate::cli) fn moment(&self, text: &str) -> Wall {
        let now = Zoned::now().with_time_zone(self.zone());
        let moment = moment::moment(text, &now).unwrap_or_else(|error| crate::cli::refuse(error));
        if let Some(note) = moment.note {
            report(&note);
        }
        moment.time
    }

    /// Returns a function that reads a moment, for a screen on which nothing else is printed.
    pub(in crate::cli) fn reader_of_moments(
        &self,
    ) -> impl Fn(&str) -> Result<Wall, String> + use<> {
        let zone = self.zone();
        move |text| {
            let now = Zoned::now().with_time_zone(zone.clone());
            Ok(moment::moment(text, &now)?.time)
        }
    }

    /// Returns the text of a moment, with its zone.
    pub(in crate::cli) fn show(&self, moment: Wall) -> String {
        moment.timestamp().to_zoned(self.zone()).strftime("%Y-%m-%d %H:%M:%S%.f %:z").to_string()
    }

    /// Returns the tables of a moment, host by host, with the rows that `filter` admits. Reports on
    /// stderr the gaps in which the moment lies.
    pub(in crate::cli) fn tables(
        &self,
        journal: &Journal,
        moment: Wall,
        filter: &Filter,
    ) -> anyhow::Result<Vec<PastTable>> {
        let coverage = journal.span(now());
        self.check(coverage, moment, || journal.is_live())?;
        report(format_args!("at {}", self.show(moment)));
        let mut tables = Vec::new();
        for host in journal.hosts() {
            if !host.span(now()).contains(moment) {
                report(format_args!("the journal of {} does not cover that", host.name()));
                continue;
            }
            let (table, anchor, gaps) = host.table_at(moment);
            gaps.iter().for_each(report_gap);
            let is_shown = |row: &&Connection| filter.matches(&(*row, anchor.monotonic));
            let rows: Vec<_> = table.rows().filter(is_shown).collect();
            tables.push(PastTable::new(Arc::clone(host.name()), anchor, &rows));
        }
        Ok(tables)
    }
}

/// Reports the hosts whose journals do not have the network namespace `self`, if it `is_asked` for.
pub(in crate::cli) fn report_unknown_self(hosts: &[HostJournal], is_asked: bool) {
    for host in hosts.iter().filter(|host| is_asked && host.recorder_netns().is_none()) {
        report(format_args!(
            "the journal of {} does not have its recorder's network namespace, so that \
             '{OWN_NETNS}' is none there",
            host.name()
        ));
    }
}

/// Reports the loss at a moment.
fn report_gap(gap: &JournalGap) {
    let loss = match gap.gap.loss {
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
    report(format_args!("{}: {loss}", gap.host));
}

/// Returns the current time.
pub(in crate::cli) fn now() -> Wall {
    Wall::from_timestamp(Timestamp::now()).unwrap_or(Wall::MAX)
}
