//! Properties of every filter, every connection and every text.

use std::net::{IpAddr, SocketAddr};

use netmon_common::MAX_CLAUSES;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// Few values, so that filters and connections meet.
fn some_port() -> impl Strategy<Value = u16> {
    select(vec![0, 1, 2, 80, 443, 65534, 65535])
}

fn some_address() -> impl Strategy<Value = IpAddr> {
    let few = ["10.0.0.1", "10.1.2.3", "::ffff:10.0.0.1", "::", "::1", "2001:db8::1", "0.0.0.0"];
    select(few.map(|text| text.parse().expect("an address")).to_vec())
}

fn some_state() -> impl Strategy<Value = TcpState> {
    select(TcpState::ALL.to_vec())
}

fn some_side() -> impl Strategy<Value = Side> {
    select(vec![Side::Local, Side::Remote])
}

/// A term that the kernel program decides, negated or not.
fn decidable() -> impl Strategy<Value = Node> {
    let ranges = some_port()
        .prop_flat_map(|port| select(vec![[port, port], [0, port], [port, u16::MAX], [1, 0]]));
    prop_oneof![
        vec(some_state(), 1..4).prop_map(|states| Term::States(States::of(&states))),
        (some_side(), ranges).prop_map(|(side, range)| Term::Ports(side, range)),
    ]
    .prop_map(Node::Term)
}

fn any_term() -> impl Strategy<Value = Node> {
    let net = (some_address(), any::<u8>()).prop_map(|(address, prefix)| {
        let longest = if address.is_ipv4() { 33 } else { 129 };
        Net::new(address, prefix % longest).expect("a prefix that fits")
    });
    let comm = prop_oneof![
        select(vec!["nginx", "sshd", "", "and", "eq", "a b", "\"", "(x)", "é"])
            .prop_map(str::to_owned),
        any::<String>().prop_filter("as the kernel keeps it", |comm| comm.len() <= 15),
    ];
    let other = prop_oneof![
        (some_side(), net).prop_map(|(side, net)| Term::Address(side, net)),
        (0..3_u32).prop_map(Term::Pid),
        (some_text_fact(), comm).prop_filter_map("as parsed", |(fact, text)| {
            // A number is the number of a device.
            let is_name =
                fact != TextFact::Device || !text.is_empty() && text.parse::<u64>().is_err();
            is_name.then(|| Term::Text(fact, Text::equal(&text)))
        }),
        (some_text_fact(), select(vec!["ngin*", "*", "?", "e?h*", "é*"]))
            .prop_map(|(fact, text)| Term::Text(fact, Text::word(text))),
        (some_text_fact(), select(vec!["^ngin", "a b|c", "", "\"", "^(x|e)", "and", "[0-9]"]))
            .prop_map(|(fact, text)| Term::Text(fact, Text::regex(text).expect("a regex"))),
        (1..4_u64).prop_map(|number| Term::Cookie(SocketId::new(number).expect("not 0"))),
        select(Direction::ALL.to_vec()).prop_map(Term::Direction),
        (1..=u8::MAX).prop_map(Term::Errno),
        (some_quantity(), some_range())
            .prop_map(|(quantity, range)| Term::Quantity(quantity, range)),
        (0..3_u32).prop_map(Term::Parent),
        (0..3_u32).prop_map(Term::LoginUid),
        (0..3_u32).prop_map(Term::Uid),
        (0..3_u32).prop_map(Term::Netns),
        Just(Term::OwnNetns(Some(OWN))),
        (0..3_u32).prop_map(Term::Interface),
        (0..3_u64).prop_map(Term::Cgroup),
        proptest::sample::select(Verdict::ALL.to_vec()).prop_map(Term::Verdict),
    ];
    prop_oneof![
        2 => decidable(),
        4 => other.prop_map(Node::Term),
        1 => Just(Node::default()),
    ]
}

/// Texts of users and other names stand in filters of a journal only.
fn some_text_fact() -> impl Strategy<Value = TextFact> {
    let of_owners = TextFact::OF_OWNERS.into_iter().filter(|fact| *fact != TextFact::LoginUser);
    select(of_owners.chain([TextFact::Device]).collect::<Vec<_>>())
}

fn some_quantity() -> impl Strategy<Value = Quantity> {
    use Quantity::{Bytes, BytesReceived, BytesSent, Lifetime, Retransmits, Rtt};
    select(vec![Bytes, BytesReceived, BytesSent, Lifetime, Retransmits, Rtt])
}

fn some_range() -> impl Strategy<Value = [u64; 2]> {
    (0..4_u64).prop_flat_map(|number| {
        select(vec![[number, number], [0, number], [number, u64::MAX], [1, 0]])
    })
}

fn some_totals() -> impl Strategy<Value = Totals> {
    let some = || option::of(0..4_u64);
    (some(), some(), option::of(0..4_u32), option::of(0..4_u32)).prop_map(
        |(bytes_sent, bytes_received, retransmits, rtt_us)| Totals {
            bytes_sent,
            bytes_received,
            retransmits,
            rtt_us,
        },
    )
}

/// A tree over at most `most` leaves, of any shape.
fn tree(leaf: impl Strategy<Value = Node>, most: usize) -> impl Strategy<Value = Node> {
    let join = (any::<prop::sample::Index>(), any::<bool>(), any::<bool>());
    (vec(leaf, 1..=most), vec(join, most)).prop_map(|(mut nodes, joins)| {
        for (at, both, negated) in joins {
            let at = at.index(nodes.len());
            let one = nodes.remove(at);
            let joined = match nodes.len() {
                0 => one,
                rest => {
                    let other = nodes.remove(at % rest);
                    if both { Node::all([one, other]) } else { Node::any([one, other]) }
                }
            };
            nodes.push(if negated { joined.negated() } else { joined });
        }
        Node::all(nodes)
    })
}

fn some_connection() -> impl Strategy<Value = TestRow> {
    let some_end = || (some_address(), some_port()).prop_map(SocketAddr::from);
    let comm = select(vec!["nginx", "sshd", "", "and"]).prop_map(|comm| comm.as_bytes().to_vec());
    (
        some_state(),
        some_end(),
        some_end(),
        0..3_u32,
        (0..3_u32, option::of(select(vec!["eth0", "é"]))),
        option::of(0..3_u32),
        option::of(0..3_u64),
        vec((0..3_u32, comm), 0..3),
        (
            option::of(1..4_u64),
            option::of(select(Direction::ALL.to_vec())),
            option::of(select(Verdict::ALL.to_vec())),
            option::of(1..=u8::MAX),
            some_totals(),
            option::of(0..4_u64),
        ),
    )
        .prop_map(|(state, local, remote, netns, device, uid, cgroup, owners, end)| TestRow {
            state,
            local,
            remote,
            netns,
            interface: device.0,
            device: device.1,
            uid,
            cgroup: cgroup.map(|id| Cgroup::new(id, None)),
            owners,
            process: None,
            cookie: end.0.and_then(SocketId::new),
            direction: end.1,
            verdict: end.2,
            errno: end.3,
            totals: end.4,
            lifetime: end.5,
            labels: None,
        })
}

fn parse_again(filter: &Filter) -> Result<Filter, FilterError> {
    Filter::parse(&filter.to_string(), &Host, RowKind::Connection)
}

fn admits(filter: &KernelFilter, connection: &TestRow, family: u8) -> bool {
    let (local, remote) = (connection.local.port(), connection.remote.port());
    filter.admits(connection.state as u8, family, connection.netns, local, remote)
}

/// Checks that `text` parses, or that the error has a place in the text and three lines.
fn check_parse(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text, &Host, RowKind::Connection) {
        Ok(filter) => prop_assert_eq!(parse_again(&filter), Ok(filter)),
        Err(error) => {
            prop_assert_eq!(&*error.text, text);
            prop_assert!(text.is_char_boundary(error.at), "{} of {text:?}", error.at);
            prop_assert_eq!(error.to_string().lines().count(), 4);
            prop_assert!(error.advice.starts_with("write "));
        }
    }
    Ok(())
}

const TOKENS: [&str; 80] = [
    "(",
    ")",
    "!",
    "not",
    "dev",
    "and",
    "&&",
    "&",
    "or",
    "||",
    "|",
    "=",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "eq",
    "ne",
    "geq",
    "state",
    "exclude",
    "sport",
    "dport",
    "src",
    "dst",
    "pid",
    "comm",
    "exe",
    "args",
    "parent",
    "login_uid",
    "uid",
    "netns",
    "cgroup",
    "unit",
    "container",
    "pod",
    "established",
    "listening",
    "all",
    ":443",
    "443",
    ":https",
    "*",
    "10.0.0.0/8",
    "[::1]:80",
    "::/0",
    "blue",
    "self",
    "\"self\"",
    "www-data",
    "/system.slice",
    "\"a b\"",
    "\"",
    "é",
    "\t",
    "in",
    "~",
    "!~",
    ",",
    "port",
    "host",
    ":443,:80",
    "failed",
    "errno",
    "ECONNRESET",
    "dir",
    "out",
    "cookie",
    "sk:4f",
    "bytes",
    "1M",
    "lifetime",
    "10ms",
    "verdict",
    "refused",
    "ngin*",
    "localhost",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_reads_the_same(node in tree(any_term(), 12)) {
        let filter = Filter(node);
        prop_assert_eq!(parse_again(&filter), Ok(filter));
    }

    #[test]
    fn the_kernel_admits_whatever_matches(
        node in tree(any_term(), 12),
        connections in vec(some_connection(), 30),
        family in select(vec![2_u8, 10]),
    ) {
        let filter = Filter(node);
        let clauses = filter.clauses();
        for connection in connections {
            let admitted = admits(&clauses, &connection, family);
            prop_assert!(admitted || !filter.matches(&connection), "{filter}: {connection:?}");
        }
    }

    /// Five terms of at most two clauses each stay below the limit of 64 during compilation. Only
    /// the result may have too many clauses, and then becomes one clause or none.
    #[test]
    fn the_kernel_decides_all_of_what_it_can(
        node in tree(decidable(), 5),
        netns in option::of(1..3_u32),
        connections in vec(some_connection(), 30),
    ) {
        let netns = netns.map(|netns| {
            Node::Term(if netns == OWN { Term::OwnNetns(Some(OWN)) } else { Term::Netns(netns) })
        });
        let filter = Filter(Node::all([node].into_iter().chain(netns)));
        let clauses = filter.clauses();
        prop_assert!(clauses.count as usize <= MAX_CLAUSES);
        if !clauses::gives_up(&filter.0) {
            for connection in connections {
                let admitted = admits(&clauses, &connection, 2);
                let matched = filter.matches(&connection);
                prop_assert_eq!(admitted, matched, "{}: {:?}", filter, connection);
            }
        }
    }

    #[test]
    fn reads_any_text_without_panic(text: String) {
        check_parse(&text)?;
    }

    #[test]
    fn reads_any_tokens_without_panic(
        tokens in vec((select(TOKENS.to_vec()), select(vec!["", " "])), 0..16),
    ) {
        let text: String = tokens.into_iter().flat_map(|(token, space)| [token, space]).collect();
        check_parse(&text)?;
    }
}
