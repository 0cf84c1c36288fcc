//! `netmon verify`: follows every connection for a while, then compares its table with the
//! kernel's.

use std::{
    collections::HashSet,
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
    args::{
        tracing::{TracingArgs, attach, runtime, stop_on_signals},
        units::duration,
    },
    io::stdout::Stdout,
};
use crate::{
    core::{
        connection::{Change, Connection},
        socket::Protocol,
        table::ConnectionTable,
        table_diff::{Difference, KernelTable},
        tcp::TcpState,
    },
    kernel::{Dump, DumpRequest, Live, LoadError, Namespace},
    session::{Limits, Session, SessionScope, View},
};

/// What the ring held when the dump was made has been read after this time.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Between the two looks the table is compared with the kernel's as often as it takes to be sure of
/// a row; for no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Differences that are printed.
const SHOWN: usize = 20;

/// Follow every connection for a while, then compare the table with the kernel's own
///
/// Exits with 0 when they agree, and 1 when they do not.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// For how long: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    tracing: TracingArgs,
}

/// Shows nothing: it is the table that counts.
struct NullView;

impl View for NullView {
    fn change(&mut self, _: &Change<'_>) -> io::Result<bool> {
        Ok(false)
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        Ok(())
    }
}

impl Verify {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        runtime()?.block_on(self.verify(log))
    }

    async fn verify(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(2 * PATIENCE, || {})?;
        let options = self.tracing.options(log, KernelFilter::ANY);
        // First, since what loading takes is given up then.
        let mut oracle = Oracle::open()?;
        let mut live = attach(options)?;
        let scope = SessionScope::default();
        let mut session = Session::new(&scope);
        follow(&mut session, &mut live, self.duration, &stop).await?;

        let first = oracle.look(&mut session, &mut live, &stop).await?;
        // What is behind now is not behind for long: that is what the table promises.
        let sure = session.reconciled() + 3;
        let begin = Instant::now();
        while session.reconciled() < sure && begin.elapsed() < PATIENCE {
            follow(&mut session, &mut live, CATCH_UP, &stop).await?;
        }
        let second = oracle.look(&mut session, &mut live, &stop).await?;
        let differ: HashSet<_> = first.differences.intersection(&second.differences).collect();

        let mut out = Stdout::lock();
        let summary = session.summary();
        let unowned = session.table().rows().filter(|row| {
            !matches!(row.state, TcpState::TimeWait | TcpState::SynRecv) && row.owner.is_none()
        });
        let is_elsewhere = |row: &&Connection| !second.kernel.has_namespace(row.tuple.netns);
        let elsewhere = session.table().rows().filter(is_elsewhere).count();
        writeln!(
            out,
            "{} rows and {} sockets in {} network namespaces, {elsewhere} rows in others\n\
             {} transitions seen, {} events lost, {} rows corrected\n\
             {} rows without an owner\n\
             {} differences at first, {} still there {:.1} s later",
            session.table().len() - elsewhere,
            second.kernel.len(),
            second.kernel.namespaces(),
            summary.seen,
            summary.lost,
            summary.corrected,
            unowned.count(),
            first.differences.len(),
            differ.len(),
            begin.elapsed().as_secs_f64(),
        )?;
        for difference in differ.iter().take(SHOWN) {
            writeln!(out, "{difference}")?;
        }
        out.flush()?;
        match differ.len() {
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

/// Asks the kernel by a way of its own: iterators loaded apart from those of the table. None while
/// it is asked.
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
            filter: KernelFilter::ANY,
        };
        let dump = Dump::through_iterators(want.clone()).or_else(|error| match error {
            // Then there is nothing to compare with it either.
            LoadError::Privilege(_) => Err(error),
            error => {
                log::info!("compared with /proc and sock_diag: {error}");
                Ok(Dump::through_proc(want))
            }
        });
        Ok(Self(Some(dump?)))
    }

    /// What the kernel has, and where the table, which follows meanwhile, says otherwise.
    async fn look(
        &mut self,
        session: &mut Session<'_>,
        live: &mut Live,
        stop: &Notify,
    ) -> anyhow::Result<TableComparison> {
        let mut dump = self.0.take().context("the kernel's tables could not be read before")?;
        // One of this thread's, with its privileges, which those of the runtime do not have.
        let empty =
            if live.knows_cookies() { KernelTable::default() } else { KernelTable::by_place() };
        let looking = thread::Builder::new().spawn(move || (kernel(&mut dump, empty), dump))?;
        while !looking.is_finished() {
            follow(session, live, CATCH_UP / 10, stop).await?;
        }
        let (kernel, dump) = looking
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
    let (namespaces, _) = Namespace::all()?;
    for namespace in &namespaces {
        let read = dump.sockets(namespace, |socket| {
            if let Some(cookie) = socket.cookie {
                kernel.add(cookie.get(), socket.tuple, socket.state);
            }
            Ok(())
        });
        match read {
            Ok(_) => kernel.add_namespace(namespace.inum),
            // It has ended meanwhile, or cannot be entered.
            Err(error) => log::debug!("network namespace {}: {error}", namespace.inum),
        }
    }
    Ok(kernel)
}
