//! The meaning of a value after a word.

use super::{
    super::{connection::Direction, errno, escape::Escaped, id::SocketId, units, verdict::Verdict},
    FilterNames, Node, OWN_NETNS, Quantity, Side, Term, TextFact,
    address::{endpoint, id, is_number, port},
    error::{Bad, nearest},
    states::States,
    text::{Text, has_wildcard},
    token::Compare,
    words::{Fact, RowKind, Word},
};

/// The bytes that the kernel keeps of the name of a process: `TASK_COMM_LEN` without the NUL.
const MAX_COMM: usize = 15;
/// The bytes of the longest name of a network device: `IFNAMSIZ` without the NUL.
const MAX_DEVICE: usize = 15;
/// The words for the two sides that may begin a connection.
pub(super) const DIRECTIONS: [&str; 2] = ["in", "out"];
/// The most names of this host that a pattern may stand for: each is a term.
const MAX_NAMES: usize = 256;

/// A range without a number.
const NOTHING: [u64; 2] = [1, 0];

/// A value as it is written.
pub(super) struct Value<'a> {
    pub(super) text: &'a str,
    /// It stands in quotes: `*` and `?` are ordinary characters.
    pub(super) quoted: bool,
}

/// Returns the node for a word with a value. A negative operator reads as the positive one.
pub(super) fn node(
    word: &Word,
    compare: Compare,
    value: &Value<'_>,
    names: &dyn FilterNames,
    rows: RowKind,
) -> Result<Node, Bad> {
    let text = value.text;
    let term = match word.fact {
        Fact::State | Fact::Exclude => Term::States(states(text)?),
        Fact::Port(sides) => {
            let port = port(text, names).map_err(|bad| port_range(word, text).unwrap_or(bad))?;
            let [low, high] = range(compare, port.into(), u16::MAX.into());
            let ports = [low, high].map(|port| u16::try_from(port).unwrap_or(u16::MAX));
            return Ok(on_any(sides, |side| Node::Term(Term::Ports(side, ports))));
        }
        Fact::Address(sides) => {
            let (nets, port) = endpoint(text, names)?;
            return Ok(on_any(sides, |side| {
                let nets = nets.iter().map(|net| Node::Term(Term::Address(side, *net)));
                let nets = (nets.len() > 0).then(|| Node::any(nets));
                let port = port.map(|port| Node::Term(Term::Ports(side, [port, port])));
                Node::all(nets.into_iter().chain(port))
            }));
        }
        Fact::Pid => Term::Pid(id("pid", || "a number", text, |_| None)?),
        Fact::Text(fact) => return named(fact, compare, value, names, rows),
        Fact::Cookie => Term::Cookie(cookie(text)?),
        Fact::Direction => Term::Direction(direction(text)?),
        Fact::Verdict => Term::Verdict(verdict(text)?),
        Fact::Failed => return Ok(failed()),
        Fact::Errno => {
            let write = "a name as ECONNREFUSED, or a number from 1 to 255";
            let known = errno::number(text).filter(|errno| *errno > 0);
            Term::Errno(known.ok_or_else(|| Bad::unknown("error", text, write))?)
        }
        Fact::Quantity(quantity) => {
            let number = quantity_of(quantity, text)?;
            Term::Quantity(quantity, range(compare, number, u64::MAX))
        }
    };
    Ok(Node::Term(term))
}

/// Returns the error for `8701-8704`, as tcpdump has ranges.
fn port_range(word: &Word, text: &str) -> Option<Bad> {
    let (low, high) =
        text.split_once('-').filter(|(low, high)| is_number(low) && is_number(high))?;
    let name = word.name;
    Some(Bad::unknown("port", text, format!("{name} >= {low} and {name} <= {high}")))
}

fn on_any(sides: &[Side], node: impl Fn(Side) -> Node) -> Node {
    Node::any(sides.iter().map(|side| node(*side)))
}

/// Returns the numbers from 0 to `most` that compare so with `value`, both ends included.
fn range(compare: Compare, value: u64, most: u64) -> [u64; 2] {
    match compare {
        Compare::Less => value.checked_sub(1).map_or(NOTHING, |high| [0, high]),
        Compare::Greater if value >= most => NOTHING,
        Compare::Greater => [value + 1, most],
        Compare::AtMost => [0, value],
        Compare::AtLeast => [value, most],
        Compare::Equal | Compare::Unequal | Compare::Like | Compare::Unlike => [value, value],
    }
}

/// Returns the set of states with a name.
fn states(text: &str) -> Result<States, Bad> {
    States::named(text).ok_or_else(|| Bad::unknown("state", text, choice(text, &States::choice())))
}

/// Returns the names to choose from. The name that is most like `text` comes first.
fn choice(text: &str, names: &[&str]) -> String {
    let near = nearest(text, names.iter().copied());
    let others = names.iter().copied().filter(|name| Some(*name) != near);
    near.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// Returns the node for a value that is a name of something, or its number.
fn named(
    fact: TextFact,
    compare: Compare,
    value: &Value<'_>,
    names: &dyn FilterNames,
    rows: RowKind,
) -> Result<Node, Bad> {
    let text = value.text;
    let is_regex = matches!(compare, Compare::Like | Compare::Unlike);
    let is_pattern = is_regex || !value.quoted && has_wildcard(text);
    let test = match (is_regex, value.quoted) {
        (true, _) => Text::regex(text)?,
        (false, true) => Text::equal(text),
        (false, false) => Text::word(text),
    };
    let is_number = is_number(text) && !is_pattern;
    let term = match fact {
        TextFact::Comm if !is_pattern && text.len() > MAX_COMM => {
            return Err(Bad::new(
                format!("'{}' is too long", Escaped(text.as_bytes())),
                format!("the first {MAX_COMM} bytes, all that the kernel keeps"),
            ));
        }
        // The name of a device means another device in each namespace, so that no name is unknown.
        TextFact::Device if is_number => {
            Term::Interface(id("device", || "a number or a name", text, |_| None)?)
        }
        TextFact::Device if !is_pattern && (text.is_empty() || text.len() > MAX_DEVICE) => {
            return Err(Bad::new(
                format!("'{}' is no device", Escaped(text.as_bytes())),
                "a name as ip link shows it, or a number",
            ));
        }
        TextFact::Parent if is_number => Term::Parent(id("parent", || "a number", text, |_| None)?),
        TextFact::Comm
        | TextFact::Device
        | TextFact::Parent
        | TextFact::Exe
        | TextFact::Args
        | TextFact::Unit
        | TextFact::UserUnit
        | TextFact::Container
        | TextFact::ContainerId
        | TextFact::Pod => Term::Text(fact, test),
        TextFact::Netns if !value.quoted && !is_regex && text == OWN_NETNS => {
            Term::OwnNetns(names.own_netns())
        }
        // A unit that starts again has another cgroup with the same path.
        TextFact::Cgroup if rows == RowKind::Connection && !is_number => Term::Text(fact, test),
        _ if names.are_recorded() && !is_number => Term::Text(fact, test),
        _ if is_pattern => {
            let found = names.all(fact).into_iter().filter(|(name, _)| test.matches(name));
            return numbered(fact, text, found.map(|(_, number)| number).collect());
        }
        TextFact::User | TextFact::LoginUser => {
            let write = || match names.no_users() {
                Some(reason) => format!("a number: {reason}"),
                None => "a number or the name of a user".to_owned(),
            };
            let uid = id("user", write, text, |name| names.user(name))?;
            if fact == TextFact::User { Term::Uid(uid) } else { Term::LoginUid(uid) }
        }
        TextFact::Netns => {
            let write = "a name as of ip netns, an inode number, or self";
            Term::Netns(id("namespace", || write, text, |name| names.netns(name))?)
        }
        TextFact::Cgroup => {
            let write = "a path as in /proc/PID/cgroup or an id";
            Term::Cgroup(id("cgroup", || write, text, |path| names.cgroup(path))?)
        }
    };
    Ok(Node::Term(term))
}

/// Returns the node for the numbers whose names match a pattern.
fn numbered(fact: TextFact, pattern: &str, mut numbers: Vec<u64>) -> Result<Node, Bad> {
    numbers.sort_unstable();
    numbers.dedup();
    let (what, word) = match fact {
        TextFact::User => ("users", "uid"),
        TextFact::LoginUser => ("users", "login_uid"),
        TextFact::Netns => ("network namespaces", "netns"),
        _ => ("cgroups", "cgroup"),
    };
    let shown = Escaped(pattern.as_bytes());
    match numbers.len() {
        0 => Err(Bad::new(
            format!("no name of the {what} of this host matches '{shown}'"),
            format!("another pattern, or a number: {word} = N"),
        )),
        1..=MAX_NAMES => Ok(Node::any(numbers.into_iter().map(|number| {
            let short = u32::try_from(number).unwrap_or(u32::MAX);
            Node::Term(match fact {
                TextFact::User => Term::Uid(short),
                TextFact::LoginUser => Term::LoginUid(short),
                TextFact::Netns => Term::Netns(short),
                _ => Term::Cgroup(number),
            })
        }))),
        many => Err(Bad::new(
            format!("'{shown}' matches {many} {what}"),
            format!("a pattern that matches {MAX_NAMES} at most"),
        )),
    }
}

/// Reads a cookie: in hexadecimal after `sk:`, as `ss -e` shows it, or in decimal.
fn cookie(text: &str) -> Result<SocketId, Bad> {
    let number = match text.strip_prefix("sk:") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        _ => text.parse().ok().filter(|_| is_number(text)),
    };
    let write = "sk:4f as ss -e and netmon top show it, or the number of the JSON";
    number.and_then(SocketId::new).ok_or_else(|| Bad::unknown("cookie", text, write))
}

fn direction(text: &str) -> Result<Direction, Bad> {
    let lower = text.to_ascii_lowercase();
    match &*lower {
        word if word == DIRECTIONS[0] => Ok(Direction::Inbound),
        word if word == DIRECTIONS[1] => Ok(Direction::Outbound),
        _ => {
            let known = Direction::ALL.into_iter().find(|direction| direction.name() == lower);
            known.ok_or_else(|| Bad::unknown("direction", text, "in, out or listen"))
        }
    }
}

fn verdict(text: &str) -> Result<Verdict, Bad> {
    let is_it = |verdict: &Verdict| verdict.name().eq_ignore_ascii_case(text);
    Verdict::ALL.into_iter().find(is_it).ok_or_else(|| {
        Bad::unknown("verdict", text, choice(text, &Verdict::ALL.map(Verdict::name)))
    })
}

/// Returns the node for connections that failed.
pub(super) fn failed() -> Node {
    let failures = Verdict::ALL.into_iter().filter(|verdict| verdict.is_failure());
    Node::any(failures.map(|verdict| Node::Term(Term::Verdict(verdict))))
}

/// Reads a number of a quantity. Times have a unit, and become microseconds.
fn quantity_of(quantity: Quantity, text: &str) -> Result<u64, Bad> {
    let (number, what, write) = match quantity {
        Quantity::Lifetime | Quantity::Rtt => {
            let length = units::length(text);
            let micros = length.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            (micros, "time", "a number and a unit: 500us, 10ms, 1s, 5m or 1h")
        }
        Quantity::Retransmits => {
            (text.parse().ok().filter(|_| is_number(text)), "number", "a number of segments")
        }
        Quantity::Bytes | Quantity::BytesSent | Quantity::BytesReceived => {
            (units::bytes(text), "size", "a number of bytes, or 10K, 1M or 2G")
        }
    };
    number.ok_or_else(|| Bad::unknown(what, text, write))
}
