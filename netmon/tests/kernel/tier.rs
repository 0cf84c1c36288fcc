//! What the kernel under test allows, as told by whoever runs the tests: never by netmon.
//!
//! Where netmon cannot know the cookies of sockets, its events are found by their addresses and ports, so that
//! each test is the same for every kernel.

use std::{
    collections::HashMap,
    env, fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use socket2::SockRef;

use crate::harness::kernel;

/// `full`, the default; `exact` where functions can be hooked to as well; `basic` where the classic tracepoints
/// are all there is.
const KERNEL: &str = "NETMON_TEST_KERNEL";
/// More arguments for what traces, to force a fallback: `--no-btf`, say.
const ARGUMENTS: &str = "NETMON_TEST_ARGS";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Basic,
    Full,
    Exact,
}

static TIER: LazyLock<Tier> = LazyLock::new(|| match env::var(KERNEL).as_deref() {
    Ok("basic") => Tier::Basic,
    Ok("exact") => Tier::Exact,
    Ok("full") | Err(_) => Tier::Full,
    Ok(other) => panic!("{KERNEL}={other}: full, exact or basic"),
});

pub(crate) fn tier() -> Tier {
    *TIER
}

pub(crate) fn arguments() -> Vec<String> {
    let text = env::var(ARGUMENTS).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether netmon knows the kernel's types.
pub(crate) fn has_types() -> bool {
    !arguments().iter().any(|argument| argument == "--no-btf")
}

/// Where a socket was when its cookie was asked for: local end, and remote end if it had one; nowhere if its
/// connect had failed.
type Place = Option<(SocketAddr, Option<SocketAddr>)>;

/// A socket that was at a place, and the number that netmon has for it, once that is known.
struct Known {
    cookie: u64,
    number: Option<u64>,
}

/// By namespace and place, in order.
type Places = HashMap<(u64, Place), Vec<Known>>;

static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);
/// How many cookies were asked for: what could not be identified may be now.
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// Numbers of netmon's own begin here.
const OWN: u64 = 1 << 62;

/// This thread's network namespace.
pub(crate) fn netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino()
}

/// A namespace begins: its number was another's before.
pub(crate) fn begin(netns: u64) {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| *known != netns);
}

/// Whether netmon knows how many TIME_WAIT buckets a namespace has to spare, or sees minisockets made: else it
/// takes a dump to find that there is no TIME_WAIT.
pub(crate) fn knows_buckets() -> bool {
    tier() == Tier::Exact || has_types() && kernel() >= (6, 1)
}

/// Whether iterators can be had: what they tell sockets by, cookies, tracing programs have since Linux 5.12.
pub(crate) fn has_iterators() -> bool {
    kernel() >= (5, 12)
}

/// Where listings can come from.
pub(crate) fn sources() -> &'static [&'static str] {
    if has_iterators() { &["bpf", "proc"] } else { &["proc"] }
}

/// Whether this may be how the owner of a connection is known that a listener took: where functions can be
/// hooked to, who accepted is told.
pub(crate) fn is_listeners(evidence: &Value) -> bool {
    evidence == "listen" || evidence == "accept" && tier() == Tier::Exact
}

/// The socket's cookie; from now on what is said of its place is said of it.
pub(crate) fn cookie<'s>(socket: impl Into<SockRef<'s>>) -> u64 {
    let socket = socket.into();
    let cookie = socket.cookie().expect("SO_COOKIE");
    let canonical = |address: socket2::SockAddr| {
        let address = address.as_socket()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    };
    let local = socket.local_addr().ok().and_then(canonical).filter(|local| local.port() != 0);
    let remote = socket.peer_addr().ok().and_then(canonical);
    let is_listener = socket.is_listener().unwrap_or_default();
    let place = local.filter(|_| remote.is_some() || is_listener).map(|local| (local, remote));
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let there = places.entry((netns(), place)).or_default();
    if there.iter().all(|known| known.cookie != cookie) {
        there.push(Known { cookie, number: None });
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
    cookie
}

/// Gives events the cookies of the sockets that they are about; `done` says how many have been looked at, after how
/// many cookies.
pub(crate) fn identify_all(events: &mut [Value], done: &mut (usize, usize)) {
    let asked = ASKED.load(Ordering::Relaxed);
    let begin = if done.1 == asked { done.0.min(events.len()) } else { 0 };
    events[begin..].iter_mut().for_each(identify);
    *done = (events.len(), asked);
}

/// Gives an event the cookie of the socket that it is about, where netmon could not know that.
pub(crate) fn identify(event: &mut Value) {
    let Some(number) = event["cookie"].as_u64().filter(|number| *number >= OWN) else { return };
    assert_eq!(tier(), Tier::Basic, "netmon is to know the socket: {event}");
    let end = |kind: &str| {
        let address = event[format!("{kind}_addr")].as_str()?.parse().ok()?;
        let port = u16::try_from(event[format!("{kind}_port")].as_u64()?).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let (Some(netns), Some(local)) = (event["netns"].as_u64(), end("local")) else { return };
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let nowhere = (event["direction"] == "outbound").then_some(None);
    for place in [Some(Some((local, end("remote")))), nowhere].into_iter().flatten() {
        let there = places.entry((netns, place)).or_default();
        let known = there.iter().position(|known| known.number == Some(number));
        let new = there.iter().position(|known| known.number.is_none());
        // Of another netmon the numbers are other ones.
        if let Some(known) = known.or(new).or(there.len().checked_sub(1)) {
            there[known].number.get_or_insert(number);
            event["cookie"] = there[known].cookie.into();
            return;
        }
    }
}
