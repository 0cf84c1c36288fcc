//! `netmon verify`: follows every connection for a while, then compares its table with the
//! kernel's.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;
use tokio::sync::Notify;

use super::{
    args::tracing::{TracingArgs, attach, runtime, stop_on_signals},
    io::{progress::Steps, stderr::announce, stdout::Stdout},
};
use crate::{
    core::{
        change::Change,
        socket::Protocol,
        table::ConnectionTable,
        table_diff::{Difference, KernelTable},
        tcp::TcpState,
        units::duration,
    },
    kernel::{Dump, DumpRequest, Live, LoadError, Namespaces, netns_text},
    session::{Limits, Session, SessionScope, View},
};

/// The time in which all records that the ring held during a dump are read.
const CATCH_UP: Duration = Duration::from_millis(200);
/// The longest time between the two comparisons. Meanwhile the session compares the table with
/// dumps as often as it takes to be sure of a row.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most differences that are printed.
const SHOWN: usize = 20;

/// Compare netmon's table of connections with the kernel's
///
/// Follows every connection for a while, and then compares the tables row by row.
///
/// Exits with 0 when both agree, and 1 when they do not, or for any other error.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct VerifyCommand {
    /// Follow the connections for LENGTH: 30s, 5m, 1h
    #[arg(long, value_name = "LENGTH", default_value = "10s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    tracing: TracingArgs,
}

const EXAMPLES: &str = "\
Examples:
  sudo netmon verify                     ten seconds, then a comparison
  sudo netmon verify --duration 1m       a longer look";

/// A view that shows nothing: only the table counts.
struct NullView;

impl View for NullView {
    fn change(&mut self, _: &Change<'_>) -> io::Result<bool> {
        Ok(false)
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        Ok(())
    }
}

impl VerifyCommand {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        runtime()?.block_on(self.verify(log))
    }

    async fn verify(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(2 * PATIENCE, || {})?;
        announce(format_args!(
            "following every connection for {} s, then comparing with the kernel's tables",
            self.duration.as_secs()
        ));
        let steps = Steps::start("attaching the hooks");
        let options = self.tracing.options(log, KernelFilter::ANY);
        // First, since `attach` gives up the privileges for loading.
        let mut oracle = Oracle::open()?;
        let mut live = attach(options)?;
        let scope = SessionScope::default();
        let mut session = Session::new(&scope);
        steps.next("following every connection");
        follow(&mut session, &mut live, self.duration, &stop).await?;

        steps.next("comparing with the kernel's tables");
        let first = oracle.compare(&mut session, &mut live, &stop).await?;
        steps.next("waiting until the table has corrected itself");
        // A row that is behind now is not behind for long: this is what the table promises.
        let goal = session.reconciled() + 3;
        let begin = Instant::now();
        while session.reconciled() < goal && begin.elapsed() < PATIENCE {
            // At rest, dumps are a minute apart.
            live.expect_change();
            follow(&mut session, &mut live, CATCH_UP, &stop).await?;
        }
        steps.next("comparing again");
        let second = oracle.compare(&mut session, &mut live, &stop).await?;
        drop(steps);
        let lasting: HashSet<_> = first.differences.intersection(&second.differences).collect();

        let mut out = Stdout::lock();
        let summary = session.summary();
        let unowned = session.table().rows().filter(|row| {
            !matches!(row.state, TcpState::TimeWait | TcpState::SynRecv) && row.owner.is_none()
        });
        let mut elsewhere = BTreeMap::<u32, usize>::new();
        for row in session.table().rows() {
            if !second.kernel.compares(row.tuple.netns) {
                *elsewhere.entry(row.tuple.netns).or_default() += 1;
            }
        }
        let left_out: usize = elsewhere.values().sum();
        writeln!(
            out,
            "{} rows and {} sockets in {} network namespaces, {left_out} rows in others\n\
             {} transitions seen, {} events lost, {} rows corrected\n\
             {} rows without an owner\n\
             {} differences at first, {} still there {:.1} s later",
            session.table().len() - left_out,
            second.kernel.len(),
            second.kernel.namespaces(),
            summary.seen,
            summary.lost,
            summary.corrected,
            unowned.count(),
            first.differences.len(),
            lasting.len(),
            begin.elapsed().as_secs_f64(),
        )?;
        for (netns, count) in elsewhere.iter().take(SHOWN) {
            writeln!(out, "not compared, in {}: {count} rows", netns_text(&[*netns]))?;
        }
        for difference in lasting.iter().take(SHOWN) {
            writeln!(out, "{}", difference.text(|netns| netns_text(&[netns])))?;
        }
        out.flush()?;
        match lasting.len() {
            0 => Ok(()),
            count => bail!("table and kernel differ in {count} rows"),
        }
    }
}

async fn follow(
    session: &mut Session<'_>,
    live: &mut Live,
    time: Duration,
    stop: &Notify,
) -> io::Result<()> {
    let limits = Limits { duration: Some(time), count: None };
    session.follow(live, &mut NullView, limits, stop).await
}

/// The kernel's sockets by a way of its own: iterators that are loaded apart from those of the
/// table. `None` while a thread reads them.
struct Oracle(Option<Dump>);

struct TableComparison {
    kernel: KernelTable,
    differences: HashSet<Difference, rustc_hash::FxBuildHasher>,
}

impl Oracle {
    fn open() -> anyhow::Result<Self> {
        let want = DumpRequest {
            protocols: vec![Protocol::Tcp],
            info: false,
            identity: true,
            owners: false,
            programs: None,
            filter: KernelFilter::ANY,
            everywhere: true,
        };
        let dump = Dump::through_iterators(want.clone()).or_else(|error| match error {
            // Without privileges there is no table to compare either.
            LoadError::Privilege(_) => Err(error),
            error => {
                log::info!("compared with /proc and sock_diag: {error}");
                Ok(Dump::through_proc(want))
            }
        });
        Ok(Self(Some(dump?)))
    }

    /// Compares the kernel's sockets with the table, which follows meanwhile.
    async fn compare(
        &mut self,
        session: &mut Session<'_>,
        live: &mut Live,
        stop: &Notify,
    ) -> anyhow::Result<TableComparison> {
        let mut dump = self.0.take().context("the kernel's tables could not be read before")?;
        // A thread that this thread starts has its privileges; threads of the runtime have none.
        let empty =
            if live.knows_cookies() { KernelTable::default() } else { KernelTable::by_place() };
        let reader = thread::Builder::new().spawn(move || (kernel(&mut dump, empty), dump))?;
        while !reader.is_finished() {
            follow(session, live, CATCH_UP / 10, stop).await?;
        }
        let (kernel, dump) = reader
            .join()
            .map_err(|_| anyhow!("the thread that reads the kernel's tables panicked"))?;
        self.0 = Some(dump);
        let kernel = kernel?;
        follow(session, live, CATCH_UP, stop).await?;
        let differences = kernel.differences(session.table().rows());
        Ok(TableComparison { kernel, differences })
    }
}

fn kernel(dump: &mut Dump, mut kernel: KernelTable) -> anyhow::Result<KernelTable> {
    let Namespaces { reachable, unreachable, is_all } = dump.namespaces()?;
    if is_all {
        let existing = reachable.iter().map(|namespace| namespace.inum).chain(unreachable);
        kernel.set_existing(existing.collect());
    }
    for namespace in &reachable {
        let result = dump.sockets(namespace, |socket| {
            if let Some(cookie) = socket.cookie {
                kernel.add(cookie, socket.tuple.as_recorded(), socket.state);
            }
            Ok(())
        });
        match result {
            Ok(_) => kernel.add_namespace(namespace.inum),
            // The namespace has ended meanwhile, or cannot be entered.
            Err(error) => log::debug!("network namespace {}: {error}", namespace.inum),
        }
    }
    Ok(kernel)
}
