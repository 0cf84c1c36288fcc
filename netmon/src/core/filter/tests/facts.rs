//! Tests the words beyond those of `ss`, lists, patterns, and negation.

use super::*;

#[test]
fn either_end() {
    all_match(
        &connection(),
        &[
            "port = :443",
            "port 40000",
            "port https",
            ":443",
            ":https",
            ":40000",
            "port > 39999",
            "port < 1024",
            "host 10.1.2.3",
            "host = 192.0.2.0/24",
            "host 192.0.2.1:443",
            "host 10.0.0.0/8:40000",
            "host :443",
            "host *",
            "port != 80",
            "host != 10.0.0.1",
        ],
    );
    none_match(
        &connection(),
        &[
            "port = :80",
            ":80",
            "port > 40000",
            // An address and a port are of one end.
            "host 10.1.2.3:443",
            // Neither end is meant.
            "port != 443",
            "port != 40000",
            "host != 10.0.0.0/8",
            "not host 192.0.2.1",
        ],
    );
    same("port = 443", "sport = 443 or dport = 443");
    same("port != 443", "not ( sport = 443 or dport = 443 )");
    same("host 10.0.0.1:80", "src 10.0.0.1:80 or dst 10.0.0.1:80");
}

#[test]
fn names_of_hosts_are_all_of_their_addresses() {
    same("dst localhost", "dst 127.0.0.1 or dst ::1");
    same("dst localhost:443", "( dst 127.0.0.1 or dst ::1 ) and dport = :443");
    same("src != localhost", "not ( src 127.0.0.1 or src ::1 )");
    same("host localhost", "src 127.0.0.1 or src ::1 or dst 127.0.0.1 or dst ::1");
    let local = TestRow { remote: end("[::1]:443"), ..connection() };
    all_match(&local, &["dst localhost", "host localhost", "dst localhost:443"]);
    none_match(&local, &["src localhost", "dst localhost:80", "dst != localhost"]);
}

#[test]
fn lists_mean_any_of_their_values() {
    all_match(
        &connection(),
        &[
            "port in 80,443",
            "port in 80, 443",
            "port in (80, 443)",
            "port = 80,443",
            "dport 80,:https",
            ":80,:443",
            "port not in 80,81",
            "port != 80,81",
            "dst in 10.0.0.0/8,192.0.2.0/24",
            "host in localhost,10.1.2.3",
            "comm in httpd,nginx",
            "comm in httpd,ngin*",
            "pid in 1,812",
            "uid in root*,www-data",
            "state in listening,established",
            "state established,listening",
            "state = (closing, established) and port = 443",
            "exclude listening,time-wait",
            "dir in out,listen",
            "cookie in 1,sk:4f",
        ],
    );
    none_match(
        &connection(),
        &[
            "port in 80,81",
            "port not in 80,443",
            "port != 80,443",
            "state in listening,closing",
            "state not in listening,established",
            "exclude listening,established",
            "comm in httpd,sshd",
        ],
    );
    same("state in listening,closed", "state listening state closed");
    same("verdict in refused,aborted", "verdict = refused or verdict = aborted");
}

#[test]
fn the_own_network_namespace() {
    let own = TestRow { netns: OWN, ..connection() };
    all_match(&own, &["netns = self", "netns self", "netns in self,blue", "netns != blue"]);
    none_match(&own, &["netns != self", "netns not in self,blue", "netns = \"self\""]);
    all_match(&connection(), &["netns != self", "netns in self,blue"]);
    none_match(&connection(), &["netns = self"]);
    assert_eq!(filter("netns self").to_string(), "netns = self");
    assert_eq!(filter("netns = \"self\""), filter("netns = 2"));
    assert!(filter("port = 1 or netns = self").names_own_netns());
    assert!(!filter("netns = \"self\"").names_own_netns());
}

/// Each segment of a journal has its recorder's.
#[test]
fn the_own_network_namespace_of_a_recorder() {
    let recorded =
        |text: &str| Filter::parse(text, &Recorded, RowKind::Connection).expect("a filter");
    let labels = |own_netns, netns: &str| {
        Some(Labels { own_netns, netns: Some(netns.into()), ..Labels::default() })
    };
    let in_own = TestRow { labels: labels(Some(4_026_532_000), "blue"), ..connection() };
    let elsewhere = TestRow { labels: labels(Some(OWN), "self"), ..connection() };
    let unknown = TestRow { labels: labels(None, "blue"), ..connection() };
    let own = recorded("netns = self");
    assert!(own.matches(&in_own) && !own.matches(&elsewhere) && !own.matches(&unknown));
    // Rows of a journal have no use for netmon's own, which other rows are compared with.
    assert!(!filter("netns = self").matches(&TestRow { netns: OWN, ..in_own.clone() }));
    let named = recorded("netns = \"self\"");
    assert!(named.matches(&elsewhere) && !named.matches(&in_own));
    assert_eq!(recorded(&named.to_string()), named);
    assert_eq!(recorded(&own.to_string()), own);
}

#[test]
fn only_namespaces_that_can_match() {
    for (text, namespaces) in [
        ("", None),
        ("netns = 5", Some(vec![5])),
        ("netns = self and dport = 80", Some(vec![OWN])),
        ("(netns = 5 or netns = self) and not pid = 1", Some(vec![5, OWN])),
        ("netns = 5 or dport = 80", None),
        ("netns != 5", None),
        ("not netns = self", None),
        ("sport < 0", None),
    ] {
        assert_eq!(filter(text).namespaces(), namespaces, "{text}");
    }
}

#[test]
fn patterns_and_regular_expressions() {
    all_match(
        &connection(),
        &[
            "comm = ngin*",
            "comm = n?inx",
            "comm ~ ^ngin",
            "comm ~ \"^(nginx|httpd)$\"",
            "comm ~ inx",
            "comm~^ngin",
            "comm !~ httpd",
            "comm != http*",
            // In quotes, the characters mean themselves.
            "comm != \"ngin*\"",
            "dev = eth*",
            "dev ~ [0-9]$",
            "uid = www-*",
            "user = www-data",
            "netns = bl*",
            "netns ~ ue",
        ],
    );
    none_match(
        &connection(),
        &[
            "comm = ngin?x",
            "comm = \"ngin*\"",
            "comm = gin*",
            "comm ~ ^inx",
            "comm !~ ngin",
            "comm != ngin*",
            "dev = wlan*",
            "uid = roo*",
        ],
    );
    same("uid = www-*", "uid = 33 or uid = 34");
    same("login_uid = www-*", "login_uid = 33 or login_uid = 34");
    all_match(
        &connection(),
        &[
            "exe = /usr/sbin/*",
            "exe = /usr/sbin/nginx",
            "exe ~ nginx$",
            "args ~ \"daemon off\"",
            "args = \"nginx -g 'daemon off;'\"",
            "exe != /usr/bin/*",
            "parent = 700",
            "parent = */bash",
            "parent ~ bash$",
            "login_uid = 33",
            "login_user = www-data",
            "login_uid = www-*",
            "login_uid != alice",
        ],
    );
    none_match(&connection(), &["exe = /usr/bin/*", "exe = nginx", "args ~ manage.py"]);
    none_match(&connection(), &["parent = 701", "parent = bash", "parent = 0"]);
    let unknown = TestRow { process: None, ..connection() };
    none_match(
        &unknown,
        &["exe = *", "args ~ \"\"", "parent = *", "parent = 700", "login_uid = 33"],
    );
    all_match(
        &connection(),
        &[
            "container = 3f2a3f2a3f2a",
            "container_id = 3f2a*",
            "pod = web-*",
            "pod ~ ^web",
            "unit != nginx.service",
        ],
    );
    none_match(&connection(), &["unit = *", "user_unit = *", "container = 3f2a", "pod = 0f1e*"]);
    let path = b"/user.slice/user-1.slice/user@1.service/a.slice/b.service"[..].into();
    let user = TestRow { cgroup: Some(Cgroup::new(7, Some(path))), ..connection() };
    all_match(&user, &["unit = user@1.service", "user_unit = b.service", "cgroup = 7"]);
    none_match(&user, &["unit = b.service", "container = *", "pod = *"]);
    // A name that is not UTF-8.
    let odd = TestRow { owners: vec![(1, b"a\xffb".to_vec())], ..connection() };
    all_match(&odd, &["comm = a?b", "comm ~ ^a.b$"]);
}

#[test]
fn names_of_a_journal_match_as_they_were() {
    let names = Labels { user: Some("www-old".into()), ..Labels::default() };
    let row = TestRow { labels: Some(names), ..connection() };
    let matches = |text: &str| {
        let filter = Filter::parse(text, &Recorded, RowKind::Connection).expect(text);
        filter.matches(&row)
    };
    assert!(matches("user = www-old") && matches("user = www-*") && matches("uid ~ old$"));
    assert!(matches("login_uid = www-data") && matches("login_user ~ ^www"));
    assert!(matches("login_uid = 33") && !matches("login_uid = alice"));
    assert!(matches("uid = 33") && !matches("user = root") && !matches("netns = *"));
}

#[test]
fn ends_of_connections() {
    all_match(
        &ended(),
        &[
            "failed",
            "verdict in refused,reset-by-peer",
            "errno = ECONNRESET",
            "errno econnreset",
            "errno = 104",
            "errno != ETIMEDOUT",
            "lifetime = 1.5s",
            "lifetime < 2s",
            "lifetime > 1400ms",
            "lifetime <= 1500000us",
            "bytes > 1M",
            "bytes = 1049576",
            "bytes_sent = 1M",
            "sent >= 1024k",
            "received < 1K",
            "bytes_received = 1000",
            "retrans > 0",
            "retransmits = 3",
            "rtt > 10ms",
            "rtt < 1m",
            "rtt != 1s",
            "dir = out",
            "direction outbound",
            "dir out",
            "cookie = sk:4f",
            "cookie 79",
        ],
    );
    none_match(
        &ended(),
        &[
            "not failed",
            "errno = ETIMEDOUT",
            "lifetime < 1500ms",
            "bytes < 1M",
            "bytes > 1G",
            "retrans = 0",
            "rtt < 0us",
            "bytes > 18446744073709551615",
            "dir in",
            "dir = listen",
            "dir != out",
            "cookie = 80",
        ],
    );
    for (verdict, failed) in [
        (Verdict::Refused, true),
        (Verdict::TimedOut, true),
        (Verdict::ClosedByPeer, false),
        (Verdict::ResetLocally, false),
    ] {
        let row = TestRow { verdict: Some(verdict), ..ended() };
        assert_eq!(filter("failed").matches(&row), failed, "{verdict}");
    }
}

/// An open connection knows nothing of its end. Each term is untrue, and its opposite true.
#[test]
fn what_is_not_known_yet_is_no_number() {
    none_match(
        &connection(),
        &[
            "failed",
            "verdict = refused",
            "errno = 104",
            "bytes = 0",
            "bytes < 1M",
            "bytes >= 0",
            "lifetime < 1h",
            "rtt >= 0us",
            "retrans = 0",
        ],
    );
    all_match(&connection(), &["bytes != 0", "errno != 104", "not failed", "not bytes < 1M"]);
    // Of two numbers, one is not known.
    let mut half = ended();
    half.totals.bytes_received = None;
    none_match(&half, &["bytes > 0", "received >= 0"]);
    all_match(&half, &["sent > 0"]);
}

/// `A != B` is `not A = B` for every word and value.
#[test]
fn unequal_is_not_equal() {
    for word in &WORDS {
        let Some((_, value)) = word.example.rsplit_once(' ') else { continue };
        if word.operators == super::super::words::Operators::None {
            continue;
        }
        let name = word.name;
        same(&format!("{name} != {value}"), &format!("not {name} = {value}"));
        same(&format!("{name} ne {value}"), &format!("not ( {name} {value} )"));
        same(&format!("{name} not in {value}"), &format!("! {name} in {value}"));
        if word.operators == super::super::words::Operators::Order {
            for row in [connection(), ended()] {
                let matches =
                    |operator: &str| filter(&format!("{name} {operator} {value}")).matches(&row);
                let is_number = matches("<=") || matches(">=");
                assert!(is_number || !matches("=") && !matches("<") && !matches(">"), "{name}");
                // One end of a connection may be below and the other above.
                if is_number && name != "port" {
                    assert_eq!(matches("<"), !matches(">="), "{name}");
                    assert_eq!(matches(">"), !matches("<="), "{name}");
                }
            }
        }
    }
}

#[test]
fn each_word_has_its_help() {
    for word in &WORDS {
        let text = word.example.replace("/system.slice/nginx.service", "/system.slice");
        assert!(text.starts_with(word.name), "{text}");
        let parsed = filter(&text);
        assert_eq!(filter(&parsed.to_string()), parsed, "{text}");
        for alias in word.aliases {
            same(&text.replacen(word.name, alias, 1), &text);
        }
        let page = include_str!("../../../../../docs/filter.md");
        assert!(page.contains(&format!("`{}", word.name)), "docs/filter.md lacks {}", word.name);
    }
    assert_eq!(super::words::PORT.name, "port");
}
