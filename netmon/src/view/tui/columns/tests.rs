use proptest::prelude::*;

use super::*;

proptest! {
    /// Columns do not overlap, keep their order, and have their least width at least.
    #[test]
    fn columns_fit_the_screen(
        (screen, address) in (40..400_u16, ADDRESS..60_u16),
        first in 0..Column::ALL.len(),
    ) {
        let chosen = &Column::ALL[first..];
        let places = places(chosen, screen, address);
        prop_assert!(!places.is_empty());
        for (place, column) in places.iter().zip(chosen) {
            prop_assert_eq!(place.column, *column);
            let least = column.least(screen, address).min(screen);
            prop_assert!(place.to - place.from >= least);
        }
        for two in places.windows(2) {
            prop_assert_eq!(two[1].from, two[0].to + 1);
        }
        prop_assert!(places.last().is_some_and(|last| last.to <= screen));
    }
}

#[test]
fn netstats_columns_fit_80_columns() {
    let places = places(&Column::ALL, 80, ADDRESS);
    assert_eq!(places.last().map(|last| (last.column, last.to)), Some((Column::InState, 80)));
}

/// IPv4 addresses leave room for every column; IPv6 addresses take the room that they need.
#[test]
fn addresses_take_the_room_that_they_need() {
    let width = |screen, address| {
        let places = places(&Column::ALL, screen, address);
        (places.len(), places[1].to - places[1].from)
    };
    assert_eq!(width(260, ADDRESS), (Column::ALL.len(), 21));
    assert_eq!(width(200, 47).1, 40);
}
