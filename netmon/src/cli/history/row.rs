//! The rows of a history, and their order.

use std::{cmp::Reverse, net::SocketAddr, sync::Arc, time::Duration};

use clap::ValueEnum;

use crate::{
    cli::args::journal::now,
    core::{filter::Filter, tcp::TcpState, time::TimeSpan},
    journal::{HistoryItem, Journal},
    view::changes::history::{HistoryEntry, HistoryRow},
};

/// The column by which connections are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    Ended,
    Opened,
    Lifetime,
    Bytes,
    Program,
    Local,
    Remote,
    Verdict,
}

/// Calls `take` with the connections that ended in `span`, and the gaps, in the order of time, and
/// then with the connections that were open at the end. Returns the number of open connections that
/// are left out since a journal has no measurements of them.
pub(super) fn items<E>(
    journal: &Journal,
    span: TimeSpan,
    filter: &Arc<Filter>,
    mut take: impl FnMut(HistoryEntry) -> Result<(), E>,
) -> Result<usize, E> {
    let mut unmeasured = 0;
    ended(journal, span, filter, &mut take)?;
    for host in journal.hosts() {
        let (table, anchor, _) = host.table_at(span.to.min(host.span(now()).to));
        // Listeners are no connections, and a connection in TIME_WAIT has ended.
        let is_open =
            |state| !matches!(state, TcpState::Listen | TcpState::TimeWait | TcpState::Close);
        let mut rows: Vec<_> = table.rows().filter(|row| is_open(row.state)).collect();
        rows.retain(|row| {
            let facts = (*row, anchor.monotonic);
            unmeasured += usize::from(filter.lacks_measurements(&facts));
            filter.matches(&facts)
        });
        rows.sort_by_key(|row| (row.opened, row.id.cookie));
        for row in rows {
            let (host, connection) = (Arc::clone(host.name()), row.clone());
            take(HistoryEntry::Row(Box::new(HistoryRow { host, anchor, connection, end: None })))?;
        }
    }
    Ok(unmeasured)
}

/// Calls `take` with the connections that ended in `span`, and the gaps, in the order of time.
pub(super) fn ended<E>(
    journal: &Journal,
    span: TimeSpan,
    filter: &Arc<Filter>,
    mut take: impl FnMut(HistoryEntry) -> Result<(), E>,
) -> Result<(), E> {
    journal.ended(span, filter, |number, item| {
        let host = Arc::clone(journal.hosts()[number].name());
        let ended = match item {
            HistoryItem::Gap(gap) => return take(HistoryEntry::Gap(host, gap.moment, gap.gap)),
            HistoryItem::Connection(ended) => ended,
        };
        let (connection, end) = (ended.connection.clone(), Some(ended.transition.clone()));
        let row = HistoryRow { host, anchor: ended.moment, connection, end };
        if row.step().is_some_and(|step| filter.matches(&step)) {
            take(HistoryEntry::Row(Box::new(row)))
        } else {
            Ok(())
        }
    })
}

/// Orders rows: the longest lifetimes and the most bytes first, other columns from the least on.
pub(super) fn order(rows: &mut [HistoryRow], sort: Sort) {
    let place = |end: SocketAddr| (end.ip(), end.port());
    match sort {
        // An open connection comes last, as one that will end.
        Sort::Ended => rows.sort_by_key(|row| (row.end.is_none(), row.anchor.wall)),
        Sort::Opened => rows.sort_by_key(|row| row.connection.opened),
        Sort::Lifetime => rows.sort_by_key(|row| Reverse(lifetime(row))),
        Sort::Bytes => rows.sort_by_key(|row| Reverse(bytes(row))),
        Sort::Program => rows.sort_by_cached_key(|row| {
            let owner = row.connection.owner.as_ref();
            // Connections without an owner come last.
            (owner.is_none(), owner.map(|owner| (owner.comm.clone(), owner.pid)))
        }),
        Sort::Local => rows.sort_by_key(|row| place(row.connection.tuple.local)),
        Sort::Remote => rows.sort_by_key(|row| place(row.connection.tuple.remote)),
        Sort::Verdict => rows.sort_by_key(|row| row.connection.verdict),
    }
}

fn lifetime(row: &HistoryRow) -> Option<Duration> {
    let time = row.end.as_ref().map_or(row.anchor.monotonic, |end| end.time);
    row.connection.lifetime(time)
}

fn bytes(row: &HistoryRow) -> u64 {
    let totals = row.end.as_ref().and_then(|end| end.totals).unwrap_or_default();
    totals.bytes_sent.unwrap_or(0).saturating_add(totals.bytes_received.unwrap_or(0))
}
