//! Tests the measurements of a filter.

use super::*;
use crate::core::{
    connection::Connection,
    id::{ConnectionId, Tuple},
    time::Mono,
};

#[test]
fn measurements_are_named_once() {
    let named = |text: &str| filter(text).measured_words();
    assert_eq!(named("rtt > 1s or not ( bytes > 1M and bytes < 2M )"), ["bytes", "rtt"]);
    assert_eq!(named("received > 1 and sent > 1"), ["bytes_sent", "bytes_received"]);
    assert!(named("lifetime > 1s and failed and port = 1").is_empty());
}

/// A connection is counted where a measurement decides, and nowhere else.
#[test]
fn an_open_connection_lacks_measurements() {
    for text in [
        "bytes > 1M",
        "state established and retrans > 0",
        "rtt > 1s or failed",
        "port = 443 and ( bytes > 1M or port = 80 )",
        "not ( port = 80 or rtt != 1s )",
    ] {
        assert!(filter(text).lacks_measurements(&connection()), "{text}");
    }
    for text in [
        "",
        "port = 80 and bytes > 1M",
        "port = 443 or bytes > 1M",
        "not bytes > 1M",
        "not ( port = 443 or bytes = 0 )",
        "failed and bytes > 1M",
        "failed",
        "verdict = refused",
        "errno = ETIMEDOUT",
        "lifetime > 1s",
        "lifetime > 1s and bytes > 1M",
    ] {
        assert!(!filter(text).lacks_measurements(&connection()), "{text}");
    }
}

/// An open connection has lived up to now, one in TIME_WAIT up to its end, and one that netmon did
/// not see begin for an unknown time.
#[test]
fn rows_have_lifetimes() {
    let second = |number: i64| Mono::from_nanos(number * 1_000_000_000);
    let id = ConnectionId { cookie: SocketId::new(1).expect("a cookie"), epoch: second(10) };
    let tuple =
        Tuple { netns: 1, interface: 0, local: end("10.0.0.1:1"), remote: end("10.0.0.2:2") };
    let open = Connection {
        first_sight: false,
        since: Some(second(20)),
        ..Connection::new(id, tuple, TcpState::CloseWait)
    };
    let matches = |text: &str, row: &Connection, now| filter(text).matches(&(row, second(now)));
    assert!(matches("lifetime = 60s", &open, 70) && matches("not lifetime < 1m", &open, 70));
    assert!(matches("lifetime < 1m", &open, 69) && !matches("lifetime > 1m", &open, 70));
    let time_wait = Connection { state: TcpState::TimeWait, ..open.clone() };
    assert!(matches("lifetime = 10s", &time_wait, 70));
    let first_sight = Connection { first_sight: true, ..open.clone() };
    assert!(!matches("lifetime >= 0us", &first_sight, 70));
    assert!(!matches("bytes >= 0 or rtt >= 0us", &open, 70));
}
