//! The rows on the screen: matching, in order, grouped. Only visible rows are sorted.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    groups::{Flows, GroupBy, GroupKey},
    history::Histories,
    rates::Counts,
};
use crate::core::{
    connection::Connection,
    filter::Filter,
    id::{ConnectionId, SocketId},
    process::Owner,
    table::ConnectionTable,
    tcp::TcpState,
    time::Mono,
};

/// The column that rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortColumn {
    Program,
    Local,
    Remote,
    State,
    /// The time in the current state; the shortest first.
    InState,
}

impl SortColumn {
    pub(super) const ALL: [Self; 5] =
        [Self::Program, Self::Local, Self::Remote, Self::State, Self::InState];

    pub(super) fn after(self) -> Self {
        let at = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Returns the key that rows are sorted by. The least key comes first, an unknown value last.
    fn key(self, row: &Connection) -> (u128, i64) {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        // The latest comes first.
        let time = row.since.map_or(i64::MAX, |since| since.as_nanos().saturating_neg());
        match self {
            Self::Program => row.owner.as_ref().map_or((u128::MAX, 0), |owner| {
                let mut name = [0; 16];
                let length = owner.comm.len().min(name.len());
                name[..length].copy_from_slice(&owner.comm[..length]);
                (u128::from_be_bytes(name), owner.pid.into())
            }),
            Self::Local => (address(row.tuple.local.ip()), row.tuple.local.port().into()),
            Self::Remote => (address(row.tuple.remote.ip()), row.tuple.remote.port().into()),
            Self::State => (row.state as u128, time),
            Self::InState => (0, time),
        }
    }
}

/// The request for rows.
pub(super) struct Query<'a> {
    pub(super) filter: &'a Filter,
    pub(super) sort: SortColumn,
    pub(super) reversed: bool,
    pub(super) group: Option<GroupBy>,
    pub(super) expanded: &'a FxHashSet<GroupKey>,
    /// The connection whose row must be visible, wherever the row is.
    pub(super) follow: Option<ConnectionId>,
}

/// A visible row.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Group {
        key: GroupKey,
        count: usize,
        /// Connections that came and connections that left, a second.
        flow: Option<[f64; 2]>,
        is_expanded: bool,
        /// The owner of one of the connections.
        owner: Option<Arc<Owner>>,
        name: String,
    },
    Connection {
        row: Connection,
        is_gone: bool,
    },
}

/// The visible rows, and their place among all rows.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    /// The number of the first visible row.
    pub(super) top: usize,
    /// The number of all rows, rows of groups included.
    pub(super) length: usize,
    /// The number of the selected row.
    pub(super) selected: usize,
    /// The number of connections that match, without the gone ones.
    pub(super) matching: usize,
    /// The number of connections in the table.
    pub(super) total: usize,
    /// The number of connections in each state.
    pub(super) counts: Counts,
    /// The connection to follow has no row: it is not there any more, or does not match.
    pub(super) is_follow_lost: bool,
}

/// A row that may become visible.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    key: (u128, i64),
    row: &'a Connection,
    is_gone: bool,
}

/// The order of rows: by sort key, then by socket.
type Order = ((u128, i64), SocketId, Mono);

impl Candidate<'_> {
    fn order(&self) -> Order {
        (self.key, self.row.id.cookie, self.row.id.epoch)
    }
}

/// Returns the number of connections in each state. Half-open connections count as SYN_RECV,
/// whatever the kernel's name for their state.
pub(super) fn counts(table: &ConnectionTable) -> Counts {
    let mut counts = Counts::default();
    table.rows().for_each(|row| counts[place(row.state)] += 1);
    counts
}

fn place(state: TcpState) -> usize {
    let state = if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state };
    state as usize - 1
}

/// The matching rows, as far as rows may become visible.
enum Matches<'a> {
    Plain(Least<'a>),
    Grouped(FxHashMap<GroupKey, Group<'a>>, GroupBy),
}

#[derive(Default)]
struct Group<'a> {
    count: usize,
    owner: Option<&'a Arc<Owner>>,
    /// The rows of the group, if the group is unfolded.
    members: Vec<Candidate<'a>>,
}

impl<'a> Matches<'a> {
    fn add(&mut self, candidate: Candidate<'a>, expanded: &FxHashSet<GroupKey>) {
        match self {
            Self::Plain(least) => least.add(candidate),
            Self::Grouped(groups, by) => {
                let key = by.key(candidate.row);
                let group = groups.entry(key).or_default();
                group.count += usize::from(!candidate.is_gone);
                group.owner = group.owner.or(candidate.row.owner.as_ref());
                if expanded.contains(&key) {
                    group.members.push(candidate);
                }
            }
        }
    }
}

/// The first rows of many, in no order: to keep all of a few hundred thousand rows takes longer
/// than to look at the rows.
struct Least<'a> {
    /// The number of rows that are wanted.
    most: usize,
    candidates: Vec<Candidate<'a>>,
    /// Rows behind this place are not among the first rows.
    limit: Option<Order>,
    /// The number of rows that were added.
    count: usize,
}

impl<'a> Least<'a> {
    fn new(most: usize) -> Self {
        Self { most, candidates: Vec::new(), limit: None, count: 0 }
    }

    fn add(&mut self, candidate: Candidate<'a>) {
        self.count += 1;
        if self.limit.is_some_and(|limit| candidate.order() > limit) {
            return;
        }
        self.candidates.push(candidate);
        if self.candidates.len() >= self.most.saturating_mul(2) {
            let (_, last, _) =
                self.candidates.select_nth_unstable_by_key(self.most - 1, Candidate::order);
            self.limit = Some(last.order());
            self.candidates.truncate(self.most);
        }
    }
}

/// Returns the visible rows of a window of `height` rows. The window was at `top`, and must show
/// the row `selected`.
pub(super) fn list(
    table: &ConnectionTable,
    histories: &Histories,
    flows: &Flows,
    query: &Query<'_>,
    (top, selected, height): (usize, usize, usize),
) -> List {
    let mut list = List { total: table.len(), ..List::default() };
    let candidate = |row, is_gone| {
        let (first, second) = query.sort.key(row);
        let key = if query.reversed { (!first, !second) } else { (first, second) };
        Candidate { key, row, is_gone }
    };
    let mut matches = match query.group {
        Some(by) => Matches::Grouped(FxHashMap::default(), by),
        // The place of the followed row is known only when all rows are known.
        None if query.follow.is_some() => Matches::Plain(Least::new(usize::MAX)),
        None => Matches::Plain(Least::new((top.max(selected) + height).max(1))),
    };
    for row in table.rows() {
        list.counts[place(row.state)] += 1;
        if query.filter.matches(row) {
            list.matching += 1;
            matches.add(candidate(row, false), query.expanded);
        }
    }
    for gone in histories.gone().filter(|gone| query.filter.matches(&gone.step())) {
        matches.add(candidate(&gone.connection, true), query.expanded);
    }
    match matches {
        Matches::Plain(least) => list.plain(least, query.follow, (top, selected, height)),
        Matches::Grouped(mut groups, _) => {
            // The rate shows connections that came and left between two looks.
            flows.keys().for_each(|key| _ = groups.entry(key).or_default());
            list.grouped(groups, flows, query.expanded, (top, selected, height));
        }
    }
    list
}

impl List {
    /// Scrolls until the selected row is visible. Returns the range of visible rows.
    fn scroll(
        &mut self,
        length: usize,
        (top, selected, height): (usize, usize, usize),
    ) -> (usize, usize) {
        self.length = length;
        self.selected = selected.min(length.saturating_sub(1));
        let last = length.saturating_sub(height);
        let least = (self.selected + 1).saturating_sub(height);
        self.top = top.clamp(least, self.selected.max(least)).min(last);
        (self.top, (self.top + height).min(length))
    }

    fn plain(
        &mut self,
        mut least: Least<'_>,
        follow: Option<ConnectionId>,
        (top, mut selected, height): (usize, usize, usize),
    ) {
        let candidates = &mut least.candidates;
        // The epoch may be another: the beginning may have been reported since.
        let follow_row = follow.and_then(|id| {
            candidates.iter().find(|candidate| candidate.row.id.cookie == id.cookie)
        });
        self.is_follow_lost = follow.is_some() && follow_row.is_none();
        if let Some(order) = follow_row.map(Candidate::order) {
            selected = candidates.iter().filter(|candidate| candidate.order() < order).count();
        }
        let (from, to) = self.scroll(least.count, (top, selected, height));
        self.rows = window(candidates, from, to).iter().map(Row::from).collect();
    }

    fn grouped(
        &mut self,
        groups: FxHashMap<GroupKey, Group<'_>>,
        flows: &Flows,
        expanded: &FxHashSet<GroupKey>,
        place: (usize, usize, usize),
    ) {
        let mut order: Vec<_> = groups.into_iter().collect();
        order.sort_unstable_by_key(|(key, group)| (std::cmp::Reverse(group.count), *key));
        let length = order.iter().map(|(_, group)| 1 + group.members.len()).sum();
        let (from, to) = self.scroll(length, place);
        let mut at = 0;
        for (key, mut group) in order {
            if (from..to).contains(&at) {
                self.rows.push(Row::Group {
                    key,
                    count: group.count,
                    flow: flows.of(key),
                    is_expanded: expanded.contains(&key),
                    owner: group.owner.cloned(),
                    name: String::new(),
                });
            }
            at += 1;
            let members = group.members.len();
            let (first, last) = (from.clamp(at, at + members), to.clamp(at, at + members));
            let rows = window(&mut group.members, first - at, last - at);
            self.rows.extend(rows.iter().map(Row::from));
            at += members;
        }
    }
}

/// Returns the candidates that would be `from..to` if all candidates were sorted.
fn window<'a, 'b>(all: &'a mut [Candidate<'b>], from: usize, to: usize) -> &'a [Candidate<'b>] {
    let to = to.min(all.len());
    if from >= to {
        return &[];
    }
    if to < all.len() {
        all.select_nth_unstable_by_key(to, Candidate::order);
    }
    let all = &mut all[..to];
    if from > 0 {
        all.select_nth_unstable_by_key(from, Candidate::order);
    }
    all[from..].sort_unstable_by_key(Candidate::order);
    &all[from..]
}

impl From<&Candidate<'_>> for Row {
    fn from(candidate: &Candidate<'_>) -> Self {
        Self::Connection { row: candidate.row.clone(), is_gone: candidate.is_gone }
    }
}

#[cfg(test)]
mod tests;
