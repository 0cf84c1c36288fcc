//! Which rows are on the screen: those that match, in order, grouped; only what is in sight is sorted.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    groups::{Flows, GroupBy, GroupKey},
    history::Histories,
    rates::Counts,
};
use crate::core::{
    connection::Connection,
    event::{ConnectionId, Owner},
    filter::Filter,
    table::ConnectionTable,
    tcp::TcpState,
};

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Program,
    Local,
    Remote,
    State,
    /// How long it has been in its state; the shortest first.
    InState,
}

impl Column {
    pub(super) const ALL: [Self; 5] =
        [Self::Program, Self::Local, Self::Remote, Self::State, Self::InState];

    pub(super) fn after(self) -> Self {
        let at = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// What comes first has the least. What is unknown comes last.
    fn key(self, row: &Connection) -> (u128, u64) {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        match self {
            Self::Program => row.owner.as_ref().map_or((u128::MAX, 0), |owner| {
                let mut name = [0; 16];
                let length = owner.comm.len().min(name.len());
                name[..length].copy_from_slice(&owner.comm[..length]);
                (u128::from_be_bytes(name), owner.pid.into())
            }),
            Self::Local => (address(row.tuple.local.ip()), row.tuple.local.port().into()),
            Self::Remote => (address(row.tuple.remote.ip()), row.tuple.remote.port().into()),
            Self::State => (row.state as u128, !row.since.unwrap_or(0)),
            Self::InState => (0, !row.since.unwrap_or(0)),
        }
    }
}

/// What is asked for.
pub(super) struct Query<'a> {
    pub(super) filter: &'a Filter,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    pub(super) group: Option<GroupBy>,
    pub(super) expanded: &'a FxHashSet<GroupKey>,
    /// The row that is to be in sight, wherever it is.
    pub(super) follow: Option<ConnectionId>,
}

/// A row in sight.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Group {
        key: GroupKey,
        count: usize,
        /// Came and left, a second.
        flow: Option<[f64; 2]>,
        is_expanded: bool,
        /// One of its owners.
        owner: Option<Arc<Owner>>,
        name: String,
    },
    Connection {
        row: Connection,
        is_gone: bool,
    },
}

/// The rows in sight, and where they are.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    /// Which one the first of them is.
    pub(super) top: usize,
    /// Rows in all, those of groups included.
    pub(super) length: usize,
    /// Which one is selected.
    pub(super) selected: usize,
    /// Connections that match, those that are gone left out.
    pub(super) matching: usize,
    /// Connections that there are.
    pub(super) known: usize,
    /// Of each state.
    pub(super) counts: Counts,
    /// The one that was followed is not there any more, or does not match.
    pub(super) is_follow_lost: bool,
}

/// A row that may come into sight.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    key: (u128, u64),
    row: &'a Connection,
    is_gone: bool,
}

/// By what is sorted by; else by socket.
type Order = ((u128, u64), u64, u64);

impl Candidate<'_> {
    fn order(&self) -> Order {
        (self.key, self.row.id.cookie, self.row.id.epoch)
    }
}

/// How many connections there are in each state; half-open ones are SYN_RECV, whatever the kernel calls them.
pub(super) fn counts(table: &ConnectionTable) -> Counts {
    let mut counts = Counts::default();
    table.rows().for_each(|row| counts[place(row.state)] += 1);
    counts
}

fn place(state: TcpState) -> usize {
    let state = if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state };
    state as usize - 1
}

/// What is found, as far as it may come into sight.
enum Matches<'a> {
    Plain(Least<'a>),
    Grouped(FxHashMap<GroupKey, Group<'a>>, GroupBy),
}

#[derive(Default)]
struct Group<'a> {
    count: usize,
    owner: Option<&'a Arc<Owner>>,
    /// Of one that is unfolded.
    members: Vec<Candidate<'a>>,
}

impl<'a> Matches<'a> {
    fn add(&mut self, one: Candidate<'a>, expanded: &FxHashSet<GroupKey>) {
        match self {
            Self::Plain(least) => least.add(one),
            Self::Grouped(groups, by) => {
                let key = by.key(one.row);
                let group = groups.entry(key).or_default();
                group.count += usize::from(!one.is_gone);
                group.owner = group.owner.or(one.row.owner.as_ref());
                if expanded.contains(&key) {
                    group.members.push(one);
                }
            }
        }
    }
}

/// The first of many, in no order: to keep all of a few hundred thousand takes longer than to look at them.
struct Least<'a> {
    /// How many are wanted.
    most: usize,
    kept: Vec<Candidate<'a>>,
    /// Those behind this are not among them.
    limit: Option<Order>,
    /// All that were added.
    count: usize,
}

impl<'a> Least<'a> {
    fn new(most: usize) -> Self {
        Self { most, kept: Vec::new(), limit: None, count: 0 }
    }

    fn add(&mut self, one: Candidate<'a>) {
        self.count += 1;
        if self.limit.is_some_and(|limit| one.order() > limit) {
            return;
        }
        self.kept.push(one);
        if self.kept.len() >= self.most.saturating_mul(2) {
            let (_, last, _) =
                self.kept.select_nth_unstable_by_key(self.most - 1, Candidate::order);
            self.limit = Some(last.order());
            self.kept.truncate(self.most);
        }
    }
}

/// Finds what is in sight in a window of `height` rows that has been at `top`, where `selected` is to be seen.
pub(super) fn list(
    table: &ConnectionTable,
    histories: &Histories,
    flows: &Flows,
    query: &Query<'_>,
    (top, selected, height): (usize, usize, usize),
) -> List {
    let mut list = List { known: table.len(), ..List::default() };
    let candidate = |row, is_gone| {
        let (first, second) = query.sort.key(row);
        let key = if query.reversed { (!first, !second) } else { (first, second) };
        Candidate { key, row, is_gone }
    };
    let mut found = match query.group {
        Some(by) => Matches::Grouped(FxHashMap::default(), by),
        // Where the one that is followed is, is known only when all are.
        None if query.follow.is_some() => Matches::Plain(Least::new(usize::MAX)),
        None => Matches::Plain(Least::new((top.max(selected) + height).max(1))),
    };
    for row in table.rows() {
        list.counts[place(row.state)] += 1;
        if query.filter.matches(row) {
            list.matching += 1;
            found.add(candidate(row, false), query.expanded);
        }
    }
    for gone in histories.gone().filter(|gone| query.filter.matches(&gone.connection)) {
        found.add(candidate(&gone.connection, true), query.expanded);
    }
    match found {
        Matches::Plain(least) => list.plain(least, query.follow, (top, selected, height)),
        Matches::Grouped(mut groups, _) => {
            // What came and left between two looks is seen by its rate.
            flows.keys().for_each(|key| _ = groups.entry(key).or_default());
            list.grouped(groups, flows, query.expanded, (top, selected, height));
        }
    }
    list
}

impl List {
    /// Scrolls as far as it takes to see the selected row; the rows in sight.
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
        let found = &mut least.kept;
        // Its beginning may have been told since.
        let followed =
            follow.and_then(|id| found.iter().find(|one| one.row.id.cookie == id.cookie));
        self.is_follow_lost = follow.is_some() && followed.is_none();
        if let Some(order) = followed.map(Candidate::order) {
            selected = found.iter().filter(|one| one.order() < order).count();
        }
        let (from, to) = self.scroll(least.count, (top, selected, height));
        self.rows = window(found, from, to).iter().map(Row::from).collect();
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

/// Those that would be `from..to`, were all of them sorted.
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
    fn from(one: &Candidate<'_>) -> Self {
        Self::Connection { row: one.row.clone(), is_gone: one.is_gone }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::core::event::Tuple;

    fn table(ports: &[u16]) -> ConnectionTable {
        let rows = ports.iter().zip(1..).map(|(port, cookie)| {
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
            let tuple = Tuple { netns: 1, local, remote };
            Connection::new(ConnectionId { cookie, epoch: 1 }, tuple, TcpState::Established)
        });
        ConnectionTable::restore(rows)
    }

    proptest! {
        /// What is in sight is what would be, were all sorted.
        #[test]
        fn a_window_is_a_part_of_the_whole(
            ports in proptest::collection::vec(1..50_u16, 0..300),
            (top, selected, height) in (0..320_usize, 0..320_usize, 0..40_usize),
            (reversed, follow) in (any::<bool>(), proptest::option::of(1..300_u64)),
        ) {
            let table = table(&ports);
            let query = Query {
                filter: &Filter::default(),
                sort: Column::Local,
                reversed,
                group: None,
                expanded: &FxHashSet::default(),
                follow: follow.map(|cookie| ConnectionId { cookie, epoch: 1 }),
            };
            let (histories, flows) = (Histories::default(), Flows::default());
            let list = list(&table, &histories, &flows, &query, (top, selected, height));
            let mut all: Vec<_> = ports.iter().copied().zip(1..).collect();
            all.sort_by_key(|(port, cookie): &(u16, u64)| {
                (if reversed { !*port } else { *port }, *cookie)
            });
            prop_assert_eq!(list.length, ports.len());
            let end = (list.top + height).min(all.len());
            let seen: Vec<_> = list.rows.iter().map(|row| match row {
                Row::Connection { row, .. } => row.id.cookie,
                Row::Group { .. } => 0,
            }).collect();
            let expected: Vec<_> = all[list.top.min(end)..end].iter().map(|(_, cookie)| *cookie).collect();
            prop_assert_eq!(seen, expected);
            if height > 0 && !all.is_empty() {
                prop_assert!((list.top..end).contains(&list.selected));
            }
            if let Some(place) = follow.and_then(|id| all.iter().position(|(_, cookie)| *cookie == id)) {
                prop_assert_eq!(list.selected, place);
            }
        }
    }
}
