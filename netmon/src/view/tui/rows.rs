//! The rows on the screen: matching, in order, grouped. Only visible rows are sorted.

use std::{cmp::Reverse, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    columns::{Column, SortKey},
    groups::{Flows, GroupBy, GroupKey},
    history::Gone,
    rates::Tally,
    traffic::{TrafficFigures, TrafficOf},
};
use crate::{
    core::{
        connection::Connection,
        filter::Filter,
        id::{ConnectionId, SocketId},
        prefetch::for_each_prefetched,
        process::Owner,
        time::Mono,
    },
    view::changes::why::Mark,
};

/// The request for rows.
pub(super) struct Query<'a> {
    pub(super) filter: &'a Filter,
    pub(super) now: Mono,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    pub(super) group: Option<GroupBy>,
    pub(super) expanded: &'a FxHashSet<GroupKey>,
    /// The selected row, wherever it is.
    pub(super) selected: Option<RowKey>,
    pub(super) traffic: TrafficOf<'a>,
    /// The ranks of the groups that were visible.
    pub(super) ranks: FxHashMap<GroupKey, u64>,
}

/// The part of the list that was on the screen: the number of the first row in sight, of the
/// selected row, and the lines of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) top: usize,
    pub(super) selected: usize,
    pub(super) height: usize,
}

/// The identity of a row, wherever the row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKey {
    Group(GroupKey),
    Connection(ConnectionId),
}

/// A visible row.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Group {
        key: GroupKey,
        /// The number that gives the group its place.
        rank: Option<u64>,
        count: usize,
        /// Connections that came and connections that left, a second.
        flow: Option<[f64; 2]>,
        /// The sums of the traffic of its connections.
        traffic: TrafficFigures,
        is_expanded: bool,
        /// The owner of one of the connections.
        owner: Option<Arc<Owner>>,
        name: String,
    },
    Connection {
        row: Connection,
        is_gone: bool,
        /// The last step, if netmon saw a step.
        last: Option<Mark>,
    },
}

impl Row {
    pub(super) fn key(&self) -> RowKey {
        match self {
            Self::Group { key, .. } => RowKey::Group(*key),
            Self::Connection { row, .. } => RowKey::Connection(row.id),
        }
    }
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
    /// The number of connections in each state.
    pub(super) tally: Tally,
}

/// A row that may become visible.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    key: SortKey,
    row: &'a Connection,
    is_gone: bool,
}

/// The order of rows: by sort key, then by socket.
type Order = (SortKey, SocketId, Mono);

impl Candidate<'_> {
    fn order(&self) -> Order {
        (self.key, self.row.id.cookie, self.row.id.epoch)
    }
}

/// The matching rows, as far as rows may become visible.
enum Matches<'a> {
    Plain(Least<'a>),
    Grouped(FxHashMap<GroupKey, Group<'a>>, GroupBy),
}

#[derive(Default)]
struct Group<'a> {
    count: usize,
    traffic: TrafficFigures,
    owner: Option<&'a Arc<Owner>>,
    /// The rows of the group, if the group is unfolded.
    members: Vec<Candidate<'a>>,
}

impl<'a> Matches<'a> {
    fn add(&mut self, candidate: Candidate<'a>, query: &Query<'_>) {
        match self {
            Self::Plain(least) => least.add(candidate),
            Self::Grouped(groups, by) => {
                let key = by.key(candidate.row);
                let group = groups.entry(key).or_default();
                group.count += usize::from(!candidate.is_gone);
                group.owner = group.owner.or(candidate.row.owner.as_ref());
                // Without an answer about all sockets, sums would be of a part of them.
                if query.traffic.is_of_all()
                    && !candidate.is_gone
                    && let Some(figures) = query.traffic.row(candidate.row)
                {
                    group.traffic.add(&figures);
                }
                if query.expanded.contains(&key) {
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

/// Returns the visible rows of `rows`, some of which are gone. The window shows the selected
/// row on the line on which the row was, wherever the row is now.
pub(super) fn list<'a>(
    rows: impl Iterator<Item = (&'a Connection, Option<&'a Gone>)>,
    flows: &Flows,
    query: &Query<'_>,
    window: Window,
) -> List {
    let mut list = List::default();
    let mut matches = match query.group {
        Some(by) => Matches::Grouped(FxHashMap::default(), by),
        // The place of the selected row is known only when all rows are known.
        None if query.selected.is_some() => Matches::Plain(Least::new(usize::MAX)),
        None => {
            Matches::Plain(Least::new((window.top.max(window.selected) + window.height).max(1)))
        }
    };
    let load = |(row, _): &(&Connection, _)| row.id.epoch.as_nanos() ^ row.state as i64;
    for_each_prefetched(rows, load, |(row, gone)| {
        let is_gone = gone.is_some();
        let is_match = match gone {
            Some(gone) => query.filter.matches(&gone.step()),
            None => query.filter.matches(&(row, query.now)),
        };
        if !is_gone {
            list.tally.add(row, is_match);
        }
        if is_match {
            let state = gone.map_or(row.state, Gone::last_state);
            let key = query.sort.key(row, state, query.reversed, query.traffic);
            matches.add(Candidate { key, row, is_gone }, query);
        }
    });
    match matches {
        Matches::Plain(least) => list.plain(least, query.selected, window),
        Matches::Grouped(mut groups, _) => {
            // The rate shows connections that came and left between two looks.
            flows.keys().for_each(|key| _ = groups.entry(key).or_default());
            list.grouped(groups, flows, query, window);
        }
    }
    list
}

impl List {
    /// Returns the ranks of the visible groups.
    pub(super) fn ranks(&self) -> FxHashMap<GroupKey, u64> {
        let rank = |row: &Row| match row {
            Row::Group { key, rank, .. } => Some((*key, (*rank)?)),
            Row::Connection { .. } => None,
        };
        self.rows.iter().filter_map(rank).collect()
    }

    /// Scrolls so that the selected row, which is `selected` now, stays on its line, and is visible
    /// in any case. Returns the range of visible rows.
    fn scroll(&mut self, length: usize, selected: usize, window: Window) -> (usize, usize) {
        let Window { top, selected: before, height } = window;
        self.length = length;
        self.selected = selected.min(length.saturating_sub(1));
        let top = (top + self.selected).saturating_sub(before);
        let last = length.saturating_sub(height);
        let least = (self.selected + 1).saturating_sub(height);
        self.top = top.clamp(least, self.selected.max(least)).min(last);
        (self.top, (self.top + height).min(length))
    }

    fn plain(&mut self, mut least: Least<'_>, selected: Option<RowKey>, window: Window) {
        let candidates = &mut least.candidates;
        let place = selected.and_then(|key| place_of(key, candidates));
        let (from, to) = self.scroll(least.count, place.unwrap_or(window.selected), window);
        self.rows = sorted_part(candidates, from, to).iter().map(Row::from).collect();
    }

    fn grouped(
        &mut self,
        groups: FxHashMap<GroupKey, Group<'_>>,
        flows: &Flows,
        query: &Query<'_>,
        window: Window,
    ) {
        let rank = |key: &GroupKey, group: &Group<'_>| {
            let value = if query.sort.is_traffic() && query.traffic.is_of_all() {
                query.sort.figure(&group.traffic)?
            } else {
                u64::try_from(group.count).unwrap_or(u64::MAX)
            };
            Some(steady(value, query.ranks.get(key).copied()))
        };
        let groups =
            groups.into_iter().map(|(key, group)| (Reverse(rank(&key, &group)), key, group));
        let mut order: Vec<_> = groups.collect();
        order.sort_unstable_by_key(|(rank, key, _)| (*rank, *key));
        let (mut length, mut place) = (0, None);
        for (_, key, group) in &order {
            place = place.or_else(|| match query.selected? {
                RowKey::Group(selected) => (selected == *key).then_some(length),
                selected => Some(length + 1 + place_of(selected, &group.members)?),
            });
            length += 1 + group.members.len();
        }
        let (from, to) = self.scroll(length, place.unwrap_or(window.selected), window);
        let mut at = 0;
        for (Reverse(rank), key, mut group) in order {
            if (from..to).contains(&at) {
                self.rows.push(Row::Group {
                    key,
                    rank,
                    count: group.count,
                    flow: flows.of(key),
                    traffic: group.traffic,
                    is_expanded: query.expanded.contains(&key),
                    owner: group.owner.cloned(),
                    name: String::new(),
                });
            }
            at += 1;
            let members = group.members.len();
            let (first, last) = (from.clamp(at, at + members), to.clamp(at, at + members));
            let rows = sorted_part(&mut group.members, first - at, last - at);
            self.rows.extend(rows.iter().map(Row::from));
            at += members;
        }
    }
}

/// Returns the rank of a group with a number that had the rank `before`. A rank follows its number
/// only if they differ by more than an eighth and one: numbers that go up and down do not shuffle
/// the groups at each look.
const fn steady(number: u64, before: Option<u64>) -> u64 {
    match before {
        Some(before) if number.abs_diff(before) <= 1 + before / 8 => before,
        _ => number,
    }
}

/// Returns the place that a connection would have if all candidates were sorted.
fn place_of(key: RowKey, candidates: &[Candidate<'_>]) -> Option<usize> {
    let RowKey::Connection(id) = key else { return None };
    let of_socket = |candidate: &&Candidate<'_>| candidate.row.id.cookie == id.cookie;
    let is_it = |candidate: &&Candidate<'_>| candidate.row.id == id;
    // The epoch may be another: the beginning may have been reported since.
    let found = candidates.iter().find(is_it).or_else(|| candidates.iter().find(of_socket))?;
    let order = found.order();
    Some(candidates.iter().filter(|candidate| candidate.order() < order).count())
}

/// Returns the candidates that would be `from..to` if all candidates were sorted.
fn sorted_part<'a, 'b>(
    all: &'a mut [Candidate<'b>],
    from: usize,
    to: usize,
) -> &'a [Candidate<'b>] {
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
        let row = candidate.row.clone();
        Self::Connection { row, is_gone: candidate.is_gone, last: None }
    }
}

#[cfg(test)]
mod tests;
