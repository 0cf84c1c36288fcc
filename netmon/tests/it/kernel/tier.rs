//! The abilities of the kernel under test, as set by the environment of the tests, never by netmon.
//!
//! Where netmon cannot know the cookies of sockets, the tests find events by addresses and ports,
//! so that each test is the same for every kernel.

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

use crate::kernel::harness::kernel;

/// The variable with the tier: `full`, the default; `exact` where functions can be hooked as well;
/// `basic` where there are only the classic tracepoints.
const KERNEL: &str = "NETMON_TEST_KERNEL";
/// The variable with more arguments for commands that trace, to force a fallback: `--no-btf`, for
/// example.
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

/// Returns whether netmon knows the kernel's types.
pub(crate) fn has_types() -> bool {
    !arguments().iter().any(|argument| argument == "--no-btf")
}

/// The place of a socket when its cookie was asked for: its local end, and its remote end if it had
/// one. None for a socket whose connect had failed.
type Place = Option<(SocketAddr, Option<SocketAddr>)>;

/// A socket that was at a place, and the number that netmon has for it, once the number is known.
struct NumberedSocket {
    cookie: u64,
    number: Option<u64>,
}

/// The known sockets by namespace and place, in order.
type Places = HashMap<(u64, Place), Vec<NumberedSocket>>;

static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);
/// The number of cookies that were asked for. A new cookie may identify older events.
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// The first of netmon's own numbers for sockets.
const OWN: u64 = 1 << 52;

/// This thread's network namespace.
pub(crate) fn netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino()
}

/// Forgets the sockets of an older namespace that had the number of a new one.
pub(crate) fn begin(netns: u64) {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| *known != netns);
}

/// Returns whether netmon knows how many TIME_WAIT buckets a namespace has to spare, or sees
/// minisockets made. Otherwise it takes a dump to find that there is no TIME_WAIT.
pub(crate) fn knows_buckets() -> bool {
    tier() == Tier::Exact || has_types() && kernel() >= (6, 1)
}

/// Returns whether iterators can be had: they identify sockets by cookies, which tracing programs
/// have since Linux 5.12.
pub(crate) fn has_iterators() -> bool {
    kernel() >= (5, 12)
}

/// The sources of listings.
pub(crate) fn sources() -> &'static [&'static str] {
    if has_iterators() { &["bpf", "proc"] } else { &["proc"] }
}

/// Returns whether `evidence` is possible for the owner of a connection that a listener took. Where
/// functions can be hooked, the kernel reports the process that accepted.
pub(crate) fn is_listeners(evidence: &Value) -> bool {
    evidence == "listen" || evidence == "accept" && tier() == Tier::Exact
}

/// Returns the socket's cookie. From now on events about the socket's place are about the socket.
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
        there.push(NumberedSocket { cookie, number: None });
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
    cookie
}

/// Gives events the cookies of their sockets. `done` has the number of events that were done
/// before, and the number of cookies at that time.
pub(crate) fn identify_all(events: &mut [Value], done: &mut (usize, usize)) {
    let asked = ASKED.load(Ordering::Relaxed);
    let begin = if done.1 == asked { done.0.min(events.len()) } else { 0 };
    events[begin..].iter_mut().for_each(identify);
    *done = (events.len(), asked);
}

/// Gives an event the cookie of its socket, where netmon could not know the cookie.
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
        // Another netmon has other numbers.
        if let Some(known) = known.or(new).or(there.len().checked_sub(1)) {
            there[known].number.get_or_insert(number);
            event["cookie"] = there[known].cookie.into();
            return;
        }
    }
}
