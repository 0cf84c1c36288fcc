//! What scenario files cannot say.

use std::{convert::Infallible, net::SocketAddr};

use super::*;
use crate::core::event::Seed;

#[test]
fn a_row_takes_at_most_three_hundred_bytes() {
    // Rows are boxed: what malloc adds, and its rounding to 16.
    let row = (size_of::<Connection>() + 8).next_multiple_of(16);
    // Both indexes, a byte of control for each entry, half full but one eighth after they grew.
    let indexes = 2 * (size_of::<(u64, u64)>() + 1) * 16 / 7;
    assert!(row + indexes <= 300, "{row} + {indexes}");
}

#[test]
fn a_view_that_fails_does_not_keep_the_table_from_its_events() {
    let end = SocketAddr::from(([127, 0, 0, 1], 80));
    let tuple = Tuple { netns: 1, local: end, remote: end };
    let mut table = ConnectionTable::default();
    for cookie in 1..=3 {
        let state = TcpState::Established;
        let seed = Seed { time: 1, cookie, tuple, state, minisocket: false, owner: None };
        assert_eq!(table.apply(&Event::Seed(seed), |_| Err("full")), Err("full"));
    }
    assert_eq!(table.len(), 3);
    for time in [SECOND, 2 * SECOND, 3 * SECOND] {
        let dumped = Event::Dumped { netns: 1, began: time };
        let result: Result<(), Infallible> = table.apply(&dumped, |_| Ok(()));
        result.expect("infallible");
        assert_eq!(table.apply(&Event::Reconciled { time }, |_| Err("full")), Err("full"));
    }
    assert!(table.is_empty());
}
