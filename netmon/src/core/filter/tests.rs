//! Tests the language as a whole, construct by construct.

mod errors;
mod facts;
mod measured;
mod properties;
mod rows;

use super::*;
use crate::core::{
    arguments::Arguments,
    cgroup::{Cgroup, Names},
    connection::Labels,
    program::{Ancestor, KnownProcess, Login, Program},
    time::Wall,
};
pub(super) use rows::OWN;
use rows::{Host, Recorded, TestRow, connection, end, ended};

pub(super) fn filter(text: &str) -> Filter {
    Filter::parse(text, &Host, RowKind::Connection).unwrap_or_else(|error| panic!("{error}"))
}

/// Asserts that each text matches the connection, and its opposite does not.
#[track_caller]
fn all_match(connection: &TestRow, texts: &[&str]) {
    for text in texts {
        assert!(filter(text).matches(connection), "{text}");
        assert!(!filter(&format!("not ( {text} )")).matches(connection), "not {text}");
    }
}

#[track_caller]
fn none_match(connection: &TestRow, texts: &[&str]) {
    for text in texts {
        assert!(!filter(text).matches(connection), "{text}");
        assert!(filter(&format!("! ( {text} )")).matches(connection), "not {text}");
    }
}

#[track_caller]
fn same(one: &str, two: &str) {
    assert_eq!(filter(one), filter(two), "{one} / {two}");
}

#[test]
fn verdicts_are_words() {
    let refused = filter("verdict = refused");
    assert_eq!(refused, filter("verdict REFUSED"));
    assert_eq!(refused.to_string(), "verdict = refused");
    assert_eq!(filter("verdict != reset-by-peer").to_string(), "not verdict = reset-by-peer");
    // An open connection has no verdict.
    assert!(!refused.matches(&connection()));
    assert!(filter("verdict != refused").matches(&connection()));
}

#[test]
fn blank_text_admits_everything() {
    for text in ["", "  \t\n"] {
        assert_eq!(filter(text), Filter::default());
    }
    assert_eq!(Filter::default().to_string(), "");
    assert!(Filter::default().matches(&connection()));
    assert!(!Filter::default().needs_owners() && !Filter::default().needs_identity());
}

#[test]
fn the_example_of_the_manual() {
    let text = "state established and ( dport = :443 or dport = :https ) and not src 127.0.0.0/8";
    let (wanted, mut other) = (filter(text), connection());
    assert!(wanted.matches(&other));
    other.local = end("127.9.9.9:1");
    assert!(!wanted.matches(&other));
    assert_eq!(
        wanted.to_string(),
        "state established and ( dport = :443 or dport = :443 ) and not src 127.0.0.0/8"
    );
}

#[test]
fn states() {
    let established = connection();
    all_match(
        &established,
        &[
            "state established",
            "STATE Estab",
            "state = ESTABLISHED",
            "state connected",
            "state eq big",
            "exclude listening",
            "state != FIN_WAIT1",
            "state listening state established",
            "state=time-wait state==established state closing",
        ],
    );
    none_match(
        &established,
        &[
            "state listen",
            "exclude established",
            "state != established",
            "state bucket",
            "state listening and state established",
            "not state listening state established",
            "exclude time-wait exclude established",
            "state all state != established",
        ],
    );
    for state in [TcpState::SynRecv, TcpState::NewSynRecv] {
        let half_open = TestRow { state, ..connection() };
        all_match(&half_open, &["state syn-recv", "state new-syn-recv", "state bucket"]);
        none_match(&half_open, &["exclude SYN_RECV", "state big", "state established"]);
    }
}

#[test]
fn ports() {
    all_match(
        &connection(),
        &[
            "dport = :443",
            "dport=443",
            "dport :https",
            "dport https",
            "dport == :https",
            "dport eq 443",
            "dport != :80",
            "dport ne 80",
            "dport neq 80",
            "dport<:444",
            "dport lt :444",
            "dport>:442",
            "dport gt :442",
            "dport <= :443",
            "dport le 443",
            "dport leq 443",
            "dport>=443",
            "dport ge 443",
            "dport geq 443",
            "sport 40000",
            "SPORT > :1023",
        ],
    );
    none_match(
        &connection(),
        &[
            "dport = :80",
            "dport != :443",
            "dport < :443",
            "dport > :443",
            "dport <= :442",
            "dport >= :444",
            "dport < :0",
            "dport > :65535",
            "sport = :443",
        ],
    );
}

#[test]
fn addresses() {
    all_match(
        &connection(),
        &[
            "src 10.1.2.3",
            "src = 10.1.2.3:40000",
            "src==10.0.0.0/8",
            "src eq 10.99.99.99/8",
            "src 10.0.0.0/8:40000",
            "src != 10.1.2.4",
            "src != 10.1.2.3:40001",
            "dst 192.0.2.1:https",
            "dst *:443",
            "dst :443",
            "dst *",
            "dst *:*",
            "dst 0.0.0.0/0",
            "dst ::ffff:192.0.2.1",
            "dst [::ffff:192.0.2.1]:443",
            "dst ::ffff:192.0.0.0/104",
            "dst [::ffff:0.0.0.0]/96:443",
        ],
    );
    none_match(
        &connection(),
        &[
            "src 10.1.2.4",
            "src 11.0.0.0/8",
            "src 10.0.0.0/8:443",
            "src :443",
            "dst != :443",
            "dst ::/0",
            "dst ::ffff:192.0.0.0/95",
            "dst 192.0.2.1/32:80",
        ],
    );
    let ipv6 = TestRow { local: end("[::1]:80"), remote: end("[2001:db8::7]:9"), ..connection() };
    all_match(
        &ipv6,
        &[
            "src ::1",
            "src [::1]:80",
            "src [::1]",
            "src ::1/128",
            "src ::/0",
            "dst 2001:db8::/32",
            "dst 2001:db8:ffff::/32",
            "dst [2001:db8::]/32",
            "dst [2001:db8::]/32:9",
            "dst 2001:db8::/32:9",
        ],
    );
    none_match(
        &ipv6,
        &["src ::1:80", "src 0.0.0.0/0", "dst 2001:db9::/32", "dst [2001:db8::]/32:80"],
    );
    let mapped = TestRow { local: end("[::ffff:10.0.0.1]:80"), ..connection() };
    all_match(&mapped, &["src 10.0.0.1:80", "src ::ffff:10.0.0.1", "src 0.0.0.0/0"]);
    none_match(&mapped, &["src ::/0", "src 10.0.0.2"]);
}

#[test]
fn owners_users_and_places() {
    all_match(
        &connection(),
        &[
            "pid = 812",
            "pid 813",
            "pid!=814",
            "comm = nginx",
            "comm nginx",
            "comm \"nginx\"",
            "comm = \"a \"\"b\"\"\"",
            "comm ne \"and\"",
            "uid = www-data",
            "uid 33",
            "netns = blue",
            "netns 4026532000",
            "cgroup = /kubepods/*",
            r#"cgroup != "/a (b)\x2d""#,
            "cgroup = 18446744073709551615",
        ],
    );
    none_match(
        &connection(),
        &[
            "pid = 814",
            "pid != 812",
            "comm = NGINX",
            "comm = \"\"",
            "comm = eq",
            "uid = 0",
            "uid neq www-data",
            "netns != blue",
            "cgroup 1",
        ],
    );
}

#[test]
fn what_is_unknown_equals_nothing() {
    let unknown = TestRow { uid: None, cgroup: None, owners: Vec::new(), ..connection() };
    none_match(&unknown, &["uid = 33", "cgroup = 1", "pid = 812", "comm = nginx"]);
    all_match(&unknown, &["uid != 33", "cgroup != 1", "pid != 812", "comm != nginx"]);
}

#[test]
fn operators_have_the_precedence_of_ss() {
    same("pid 1 or pid 2 and pid 3", "pid 1 or (pid 2 and pid 3)");
    same("not pid 1 and pid 2", "(not pid 1) and pid 2");
    same("pid 1 || pid 2 | pid 3", "pid 1 OR (pid 2 or pid 3)");
    same("pid 1 && pid 2 & pid 3", "pid 1 pid 2 And pid 3");
    same("! pid 1 !pid 2", "not pid=1 and pid != 2");
    same("not not pid 1", "pid 1");
    same(
        "state established(dport=:443|dport=:80)",
        "state established and ( dport 443 or dport 80 )",
    );
    same("state listen state estab state closed", "state closed state listening state established");
    assert_ne!(filter("(pid 1 or pid 2) and pid 3"), filter("pid 1 or pid 2 and pid 3"));
    assert_ne!(filter("not (pid 1 and pid 2)"), filter("not pid 1 and pid 2"));
}

#[test]
fn says_what_it_needs() {
    let needs = |text: &str| (filter(text).needs_owners(), filter(text).needs_identity());
    assert_eq!(needs("dport 1 or not (uid 1 and pid 1)"), (true, false));
    assert_eq!(needs("comm != a"), (true, false));
    assert_eq!(needs("not (dport 1 or cgroup 1)"), (false, true));
    assert_eq!(needs("cookie = 1"), (false, true));
    assert_eq!(needs("uid 1 netns 1 state all src ::1"), (false, false));
    assert!(filter("not rtt > 1s or sport 1").needs_info());
    assert!(!filter("sport 1").needs_info());
    assert_eq!(needs("login_uid = 1"), (true, false));
    assert!(filter("not login_uid = 1").needs_programs() && !filter("pid = 1").needs_programs());
}

#[test]
fn is_written_back_in_one_form() {
    for (text, written) in [
        ("dport=https", "dport = :443"),
        ("sport ne 1", "not sport = :1"),
        ("sport < 1024 dport>1023", "sport <= :1023 and dport >= :1024"),
        ("sport < 0", "sport < :0"),
        ("exclude LISTEN", "not state listening"),
        ("state syn-recv state time_wait", "state bucket"),
        ("state listen state closed", "state closed state listening"),
        ("src 10.1.2.3/8:1", "src 10.0.0.0/8 and sport = :1"),
        ("dst 2001:db8::1/32", "dst [2001:db8::]/32"),
        ("dst ::1/128", "dst [::1]"),
        ("not (src *)", "not src *"),
        ("uid www-data|netns blue", "uid = 33 or netns = 4026532000"),
        (
            "pid 1 and (pid 2 or !(pid 3 pid 4))",
            "pid = 1 and ( pid = 2 or not ( pid = 3 and pid = 4 ) )",
        ),
        ("comm nginx", "comm = nginx"),
        ("comm \"a b\"", "comm = \"a b\""),
        ("comm \"Not\"", "comm = \"Not\""),
        ("comm ngin*", "comm = ngin*"),
        ("comm \"ngin*\"", "comm = \"ngin*\""),
        ("comm !~ \"^(a|b)\"", "not comm ~ \"^(a|b)\""),
        ("port 443", "sport = :443 or dport = :443"),
        ("lifetime < 1s", "lifetime <= 999999us"),
        ("bytes > 1M", "bytes >= 1048577"),
        ("bytes < 0", "bytes < 0"),
        ("errno 111", "errno = ECONNREFUSED"),
        ("errno 200", "errno = 200"),
        ("cookie 255", "cookie = sk:ff"),
        ("dir inbound", "dir = in"),
    ] {
        assert_eq!(filter(text).to_string(), written);
        assert_eq!(filter(written), filter(text));
    }
}
