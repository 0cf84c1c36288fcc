//! The selection and the order of rows, while connections come and go.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::{
    core::{
        connection::Connection,
        id::{Tuple, socket},
        tcp::TcpState,
    },
    view::tui::rows::{Row, RowKey},
};

const HEIGHT: u16 = 15;

struct NoNames;

impl crate::core::filter::FilterNames for NoNames {}

fn screen() -> ScreenState {
    let options = ScreenOptions {
        host: "web1".to_owned(),
        own_netns: Some(1),
        filter: Default::default(),
        parse: Box::new(|text| {
            let filter = Filter::parse(text, &NoNames, crate::core::filter::RowKind::Connection);
            (!text.contains("slow")).then_some(filter)
        }),
        services: Services::default(),
        numeric: true,
        zone: TimeZone::UTC,
        colour: false,
        settings: ScreenSettings::default(),
        past: false,
        moment: Box::new(|text| Err(text.to_owned())),
        at: None,
    };
    ScreenState::new(options, Size::new(80, HEIGHT))
}

/// A table of these sockets; a socket with a greater number began later.
fn table(cookies: impl IntoIterator<Item = u64>) -> ConnectionTable {
    let rows = cookies.into_iter().map(|cookie| {
        let port = u16::try_from(1 + cookie * 7919 % 60_000).expect("a port");
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let tuple = Tuple { netns: 1, interface: 0, local, remote };
        let epoch = moment(cookie);
        let id = ConnectionId { cookie: socket(cookie), epoch };
        let state = if cookie % 3 == 0 { TcpState::CloseWait } else { TcpState::Established };
        let mut row = Connection::new(id, tuple, state);
        (row.first_sight, row.since) = (false, Some(epoch));
        row
    });
    ConnectionTable::restore(rows)
}

fn moment(cookie: u64) -> Mono {
    Mono::from_nanos(i64::try_from(cookie).expect("small") * 1_000_000)
}

fn press(state: &mut ScreenState, code: KeyCode) {
    state.event(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn shown(state: &ScreenState) -> Vec<u64> {
    let cookie = |row: &Row| match row.key() {
        RowKey::Connection(id) => id.cookie.get(),
        RowKey::Group(_) => 0,
    };
    state.list.rows.iter().map(cookie).collect()
}

fn selected(state: &ScreenState) -> Option<u64> {
    shown(state).get(state.list.selected - state.list.top).copied()
}

/// The sockets at each of some looks at the table.
fn looks() -> impl Strategy<Value = Vec<BTreeSet<u64>>> {
    proptest::collection::vec(proptest::collection::btree_set(1..80_u64, 0..60), 1..12)
}

/// A filter takes the age that a row has: a list that is held still has the ages of its moment.
#[test]
fn open_connections_are_chosen_by_lifetime() {
    let mut state = screen();
    "/lifetime > 50ms".chars().for_each(|key| press(&mut state, KeyCode::Char(key)));
    press(&mut state, KeyCode::Enter);
    state.settle(&table([10, 60]), moment(60));
    assert!(shown(&state).is_empty());
    state.settle(&table([10, 60]), moment(61));
    assert_eq!((shown(&state), state.tally.matching()), (vec![10], 1));
    press(&mut state, KeyCode::Char(' '));
    state.settle(&table([10, 60]), moment(61));
    state.settle(&table([10, 60]), moment(200));
    assert_eq!((shown(&state), state.tally.matching()), (vec![10], 2));
    press(&mut state, KeyCode::Char(' '));
    state.settle(&table([10, 60]), moment(200));
    assert_eq!(shown(&state), [60, 10]);
}

proptest! {
    /// The selected connection stays selected while it is listed, in any order of the rows.
    #[test]
    fn a_selected_row_stays_selected(
        looks in looks(),
        (downs, sorts) in (1..40_usize, 0..6_usize),
    ) {
        let mut state = screen();
        (0..sorts).for_each(|_| press(&mut state, KeyCode::Char('s')));
        state.settle(&table(1..50), moment(100));
        for _ in 0..downs {
            press(&mut state, KeyCode::Down);
            state.settle(&table(1..50), moment(100));
        }
        let mut before = selected(&state);
        prop_assert!(before.is_some());
        for (cookies, at) in looks.iter().zip(101..) {
            state.settle(&table(cookies.iter().copied()), moment(at));
            if before.is_some_and(|before| cookies.contains(&before)) {
                prop_assert_eq!(selected(&state), before);
            }
            before = selected(&state).or(before);
        }
    }

    /// In the order at the beginning no row overtakes another, and new rows come first.
    #[test]
    fn the_first_order_is_steady(
        looks in looks(),
    ) {
        let mut state = screen();
        for (cookies, at) in looks.iter().zip(100..) {
            state.settle(&table(cookies.iter().copied()), moment(at));
            let height = state.height();
            let first: Vec<u64> = cookies.iter().rev().copied().take(height).collect();
            prop_assert_eq!(shown(&state), first);
        }
    }

    /// A list that is held still has the same rows until it goes on, whatever happens.
    #[test]
    fn a_frozen_list_stays(
        looks in looks(),
    ) {
        let mut state = screen();
        press(&mut state, KeyCode::Char(' '));
        state.settle(&table(1..50), moment(100));
        let before = shown(&state);
        for (cookies, at) in looks.iter().zip(101..) {
            state.settle(&table(cookies.iter().copied()), moment(at));
            prop_assert_eq!(&shown(&state), &before);
            prop_assert_eq!(state.list_time(), moment(100));
            prop_assert_eq!(usize::try_from(state.tally.total()), Ok(cookies.len()));
        }
        press(&mut state, KeyCode::Char(' '));
        state.settle(&table([7, 9]), moment(200));
        prop_assert_eq!(shown(&state), [9, 7]);
    }
}

/// Connections that netmon saw begin come first, then open ones of unknown age, listeners, and
/// TIME_WAITs. The reversed order has the oldest first, and a TIME_WAIT of unknown age last again.
#[test]
fn the_newest_row_is_the_first() {
    use TcpState::{Established, Listen, TimeWait};
    let all = table(1..=8).rows().cloned().collect::<Vec<_>>();
    let rows = all.into_iter().map(|mut row| {
        let cookie = row.id.cookie.get();
        row.first_sight = cookie <= 6;
        row.state = match cookie {
            1 | 4 => TimeWait,
            2 | 5 => Listen,
            _ => Established,
        };
        row
    });
    let table = ConnectionTable::restore(rows);
    let mut state = screen();
    state.settle(&table, moment(100));
    assert_eq!(shown(&state), [8, 7, 6, 3, 5, 2, 4, 1]);
    press(&mut state, KeyCode::Char('S'));
    state.settle(&table, moment(100));
    assert_eq!(shown(&state), [2, 5, 3, 6, 7, 8, 4, 1]);
}

/// A filter whose names are looked up keeps nothing waiting, and comes in force with its answer,
/// unless another text was written meanwhile.
#[test]
fn a_filter_with_names_comes_later() {
    let mut state = screen();
    let write = |state: &mut ScreenState, text: &str| {
        press(state, KeyCode::Char('/'));
        text.chars().for_each(|c| press(state, KeyCode::Char(c)));
        press(state, KeyCode::Enter);
    };
    let filter =
        || Filter::parse("dport = :443", &NoNames, crate::core::filter::RowKind::Connection);
    let answer = |text: &str| ScreenAnswer::Filter(text.to_owned(), filter());
    write(&mut state, "dst slow");
    press(&mut state, KeyCode::Enter);
    assert!(matches!(&state.asks()[..], [ScreenQuery::Filter(text)] if text == "dst slow"));
    assert!(matches!(state.mode, Mode::Filter(..)));
    press(&mut state, KeyCode::Backspace);
    state.answer(answer("dst slow"));
    assert_eq!((state.filter_text.as_str(), state.resolving.as_deref()), ("", None));
    press(&mut state, KeyCode::Esc);
    write(&mut state, "dst slow");
    state.answer(answer("dst slow"));
    assert!(matches!(state.mode, Mode::List));
    assert_eq!((&state.filter, &*state.filter_text), (&filter().expect("a filter"), "dst slow"));
}
