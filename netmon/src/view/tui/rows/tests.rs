//! A window of rows against all rows, sorted.

use std::net::{Ipv4Addr, SocketAddr};

use proptest::{array::uniform4, prelude::*};

use super::*;
use crate::core::{
    id::{Tuple, socket},
    table::ConnectionTable,
    tcp::TcpState,
};
use crate::view::tui::history::Histories;

fn id(cookie: u64) -> ConnectionId {
    ConnectionId { cookie: socket(cookie), epoch: Mono::BOOT }
}

fn table(ports: &[u16]) -> ConnectionTable {
    let rows = ports.iter().zip(1..).map(|(port, cookie)| {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let tuple = Tuple { netns: 1, interface: 0, local, remote };
        Connection::new(id(cookie), tuple, TcpState::Established)
    });
    ConnectionTable::restore(rows)
}

fn cookie(row: &Row) -> u64 {
    match row {
        Row::Connection { row, .. } => row.id.cookie.get(),
        Row::Group { .. } => 0,
    }
}

proptest! {
    /// The visible rows are the same as if all rows were sorted. The selected row is selected
    /// wherever it is, and stays on its line where the list has room.
    #[test]
    fn a_window_is_a_part_of_the_whole(
        ports in proptest::collection::vec(1..50_u16, 0..300),
        (top, line, height) in (0..320_usize, 0..40_usize, 0..40_usize),
        (reversed, chosen) in (any::<bool>(), proptest::option::of(1..300_u64)),
    ) {
        let table = table(&ports);
        let query = Query {
            filter: &Filter::default(),
            now: Mono::BOOT,
            sort: Column::Local,
            reversed,
            group: None,
            expanded: &FxHashSet::default(),
            selected: chosen.map(|cookie| RowKey::Connection(id(cookie))),
            traffic: TrafficOf { latest: None, histories: &Histories::default() },
            ranks: FxHashMap::default(),
        };
        let window = Window { top, selected: top + line, height };
        let rows = table.rows().map(|row| (row, None));
        let list = list(rows, &Flows::default(), &query, window);
        let mut all: Vec<_> = ports.iter().copied().zip(1..).collect();
        all.sort_by_key(|(port, cookie): &(u16, u64)| {
            (if reversed { !*port } else { *port }, *cookie)
        });
        prop_assert_eq!(list.length, ports.len());
        let end = (list.top + height).min(all.len());
        let cookies: Vec<_> = list.rows.iter().map(cookie).collect();
        let visible = &all[list.top.min(end)..end];
        let expected: Vec<_> = visible.iter().map(|(_, cookie)| *cookie).collect();
        prop_assert_eq!(cookies, expected);
        if height > 0 && !all.is_empty() {
            prop_assert!((list.top..end).contains(&list.selected));
        }
        let place_of = |wanted: u64| all.iter().position(|(_, cookie)| *cookie == wanted);
        if let Some(place) = chosen.and_then(place_of) {
            prop_assert_eq!(list.selected, place);
            if line < height && place >= line && place - line + height <= all.len() {
                prop_assert_eq!(list.selected - list.top, line);
            }
        }
    }
}

const STATES: [TcpState; 4] =
    [TcpState::Established, TcpState::SynSent, TcpState::FinWait1, TcpState::TimeWait];

/// Returns the groups by state after the list `before`, with so many connections in each state.
fn grouped(counts: [usize; 4], before: &List) -> List {
    let states = STATES.into_iter().zip(counts);
    let states = states.flat_map(|(state, count)| std::iter::repeat_n(state, count));
    let rows = states.zip(1..).map(|(state, cookie)| {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let tuple = Tuple { netns: 1, interface: 0, local: end, remote: end };
        Connection::new(id(cookie), tuple, state)
    });
    let query = Query {
        filter: &Filter::default(),
        sort: Column::Age,
        reversed: false,
        group: Some(GroupBy::State),
        expanded: &FxHashSet::default(),
        selected: None,
        traffic: TrafficOf { latest: None, histories: &Histories::default() },
        ranks: before.ranks(),
        now: Mono::BOOT,
    };
    let table = ConnectionTable::restore(rows);
    let rows = table.rows().map(|row| (row, None));
    list(rows, &Flows::default(), &query, Window { top: 0, selected: 0, height: 20 })
}

/// Returns each group with its number.
fn groups(list: &List) -> Vec<(GroupKey, usize)> {
    let group = |row: &Row| match row {
        Row::Group { key, count, .. } => Some((*key, *count)),
        Row::Connection { .. } => None,
    };
    list.rows.iter().filter_map(group).collect()
}

proptest! {
    /// Numbers that go up and down by one leave the groups where they are.
    #[test]
    fn groups_stay_in_their_places(
        counts in uniform4(2..40_usize),
        changes in proptest::collection::vec(uniform4(0..=2_usize), 1..6),
    ) {
        let first = grouped(counts, &List::default());
        let keys = |list: &List| groups(list).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let mut last = first.clone();
        for change in changes {
            last = grouped(std::array::from_fn(|at| counts[at] + change[at] - 1), &last);
            prop_assert_eq!(keys(&last), keys(&first));
        }
    }

    /// A group is not far behind smaller ones, after any numbers before.
    #[test]
    fn greater_groups_come_first(looks in proptest::collection::vec(uniform4(1..40_usize), 1..6)) {
        let mut list = List::default();
        for counts in looks {
            list = grouped(counts, &list);
            let counts: Vec<_> = groups(&list).into_iter().map(|(_, count)| count).collect();
            // Both ranks may be off by an eighth and one.
            prop_assert!(counts.is_sorted_by(|a, b| (a + 1) * 9 / 7 + 2 >= *b), "{:?}", counts);
        }
    }
}
