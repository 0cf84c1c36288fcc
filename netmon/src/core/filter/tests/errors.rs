//! Tests the errors for text that is not a filter, and the bounds of the language.

use super::{
    super::{
        hints::{SYNONYMS, TERMS},
        words::Word,
    },
    *,
};

fn error(text: &str) -> FilterError {
    Filter::parse(text, &Host, RowKind::Connection).expect_err(text)
}

/// Returns the error as one line.
fn line(error: &FilterError) -> String {
    format!("{}: {}", error.message, error.advice)
}

/// A `^` in each text marks the place of the error.
#[test]
fn errors_say_what_and_where() {
    for (marked, message) in [
        ("state ^estb", "unknown state 'estb': write established, syn-sent, "),
        ("^sprot = 1", "unknown word 'sprot' (did you mean sport?): write sport = :22"),
        ("^usre = root", "unknown word 'usre' (did you mean user?): write user = www-data"),
        ("^wombat", "unknown word 'wombat': write state, exclude, port, sport, "),
        ("^443", "unknown word '443': write port = 443 or pid = 443"),
        ("^10.0.0.0/8", "unknown word '10.0.0.0/8': write host 10.0.0.0/8"),
        ("^listening", "unknown word 'listening': write state listening"),
        ("^refused", "unknown word 'refused': write verdict = refused"),
        ("dport 1 ^443", "unknown word '443'"),
        ("^\"dport\" 1", "unknown word '\"dport\"'"),
        ("dport =^", "'dport' has no value: write one, as dport = :443"),
        ("comm ^and pid 1", "'comm' has no value"),
        ("(pid ^)", "'pid' has no value"),
        ("exclude ^= listening", "'=' does not apply to exclude: write exclude time-wait"),
        ("port in 80,^", "'port' has no value: write one, as port = :443"),
        ("port in ^(80", "this list is never closed: write values with commas between them"),
        ("port = ^(80 or 443)", "this list is never closed"),
        ("port < 80^,443", "port takes a list only after = and !=: write one value"),
        ("^, pid 2", "',' is not between values: write a list after = or in"),
        ("failed ^= yes", "'failed' takes no value: write failed or not failed"),
        ("state ^estabished", "unknown state 'estabished': write established, syn-sent"),
        ("verdict = ^refusd", "unknown verdict 'refusd': write refused, closed-locally"),
        ("errno = ^EWOMBAT", "unknown error 'EWOMBAT': write a name as ECONNREFUSED"),
        ("errno = ^0", "unknown error '0'"),
        ("dir = ^up", "unknown direction 'up': write in, out or listen"),
        ("cookie = ^sk:", "unknown cookie 'sk:': write sk:4f as ss -e"),
        ("cookie = ^0", "unknown cookie '0'"),
        ("bytes > ^1X", "unknown size '1X': write a number of bytes, or 10K, 1M or 2G"),
        ("rtt > ^10", "unknown time '10': write a number and a unit"),
        ("retrans > ^1K", "unknown number '1K': write a number of segments"),
        ("comm ~ ^\"a(\"", "bad regular expression: unclosed group: write one as ^ngin"),
        ("comm ^> a", "'>' does not apply to comm: write one of = != ~ !~, as comm = ngin*"),
        ("port ^~ 80", "'~' does not apply to port: write one of = != < > <= >=, as port"),
        ("uid = ^mal*", "no name of the users of this host matches 'mal*': write another"),
        ("dst ^port 443", "bad address 'port': write dport = 443"),
        ("src ^port", "bad address 'port': write sport = :22"),
        ("host ^port 22", "bad address 'port': write port = 22"),
        ("port ^8701-8704", "unknown port '8701-8704': write port >= 8701 and port <= 8704"),
        ("port ^8701-x", "unknown port '8701-x': write 0 to 65535"),
        ("^tcp port 22", "unknown word 'tcp': write the filter without it: flags choose"),
        ("^process python3", "unknown word 'process': write comm = python3"),
        ("^name=\"a\"", "unknown word 'name': write comm = ngin*"),
        ("^Name!=a", "unknown word 'Name': write comm != a"),
        ("^127.0.0.1:8701", "unknown word '127.0.0.1:8701': write host 127.0.0.1:8701"),
        ("^ip 10.0.0.1", "unknown word 'ip': write host = 10.0.0.1"),
        ("^addr port", "unknown word 'addr': write host 10.0.0.1"),
        ("^duration > 1m", "unknown word 'duration': write lifetime > 1m"),
        ("^duration > x", "unknown word 'duration': write lifetime < 1s"),
        ("^reset", "unknown word 'reset': write verdict in reset-by-peer,reset-locally"),
        ("pid 1 and ^(pid 2", "'(' is never closed"),
        ("((pid 1) ^(", "'(' is never closed"),
        ("pid 1 ^) pid 2", "')' closes nothing"),
        ("^)", "')' closes nothing"),
        ("pid 1 and ^( )", "nothing in the parentheses"),
        ("pid 1 ^and", "'and' has nothing after it"),
        ("(pid 1 ^|| ) pid 2", "'||' has nothing after it"),
        ("pid 1 ^or or pid 2", "'or' has nothing after it"),
        ("^and pid 1", "'and' has nothing before it"),
        ("pid 1 and ^not", "'not' has nothing after it"),
        ("pid 1 ^< 2", "'<' has no name before it"),
        ("dport = ^:65536", "unknown port '65536': write 0 to 65535"),
        ("dport = ^-1", "unknown port '-1'"),
        ("dport ^:gopher", "unknown port 'gopher'"),
        ("dport ^:", "unknown port ''"),
        ("src ^10.0.0.256", "bad address '10.0.0.256': write 10.0.0.1, "),
        ("src ^nosuch.example", "no address of host 'nosuch.example': no such name is known"),
        ("src ^[10.0.0.1]:1", "bad address '[10.0.0.1]:1'"),
        ("src ^[::1", "bad address '[::1'"),
        ("src ^[::1]80", "bad address '[::1]80'"),
        ("src ^*/8", "bad address '*/8'"),
        ("src ^\"\"", "bad address ''"),
        ("dst ^10.0.0.0/33", "bad prefix length '33' of 10.0.0.0: write 0 to 32"),
        ("dst ^::/129", "bad prefix length '129' of ::: write 0 to 128"),
        ("dst ^10.0.0.0/+8", "bad prefix length '+8'"),
        ("dst ^10.0.0.0/:80", "bad prefix length ''"),
        ("dst ^10.0.0.0/8:80000", "unknown port '80000'"),
        ("pid ^nginx", "unknown pid 'nginx': write a number"),
        ("pid ^4294967296", "unknown pid '4294967296'"),
        ("uid ^mallory", "unknown user 'mallory': write a number or the name of a user"),
        ("netns = ^red", "unknown namespace 'red'"),
        (
            "dev ^a-name-that-is-too-long",
            "'a-name-that-is-too-long' is no device: write a name as ip link",
        ),
        ("dev ^4294967296", "unknown device '4294967296': write a number or a name"),
        ("dev ^< 5", "'<' does not apply to dev: write one of = != ~ !~"),
        ("pid ^< 5", "'<' does not apply to pid: write one of = !=, as pid = 812"),
        ("state ^GE listen", "'GE' does not apply to state"),
        ("src ^> ::1", "'>' does not apply to src"),
        ("comm ^\"a b", "this quote is never closed"),
        ("comm = a^\"b", "this quote is never closed: write \" at its end, and \"\" for a quote"),
        ("comm ^systemd-resolved", "'systemd-resolved' is too long: write the first 15 bytes"),
        ("comm é uid ^\"\u{1b}[31m\"", "unknown user '\\u{1b}[31m'"),
    ] {
        let (before, after) = marked.split_once('^').expect("a mark");
        let error = error(&format!("{before}{after}"));
        assert!(line(&error).starts_with(message), "{error}");
        assert_eq!(error.at, before.len(), "{error}");
        assert!(error.advice.starts_with("write "), "{error}");
    }
}

/// Only a listing looks a path up.
#[test]
fn a_listing_knows_the_cgroups_of_its_host() {
    for (text, message) in [
        ("cgroup = /slice/*", "'/slice/*' matches 300 cgroups: write a pattern that matches 256"),
        ("cgroup = /none", "unknown cgroup '/none'"),
    ] {
        let error = Filter::parse(text, &Host, RowKind::Socket).expect_err(text);
        assert!(line(&error).starts_with(message), "{error}");
        assert!(Filter::parse(text, &Host, RowKind::Connection).is_ok(), "{text}");
    }
}

/// A word of another tool is none of the language, and what to write instead is a filter.
#[test]
fn terms_for_the_words_of_other_tools_are_filters() {
    for (name, others) in SYNONYMS {
        assert!(Word::named(name).is_some(), "{name}");
        for word in others.iter().chain(TERMS.iter().map(|(word, _)| word)) {
            assert!(Word::named(word).is_none(), "{word}");
            let term = term(word, None, None, &Host).expect(word);
            filter(&term);
        }
    }
    assert_eq!(term("comm", None, Some("a b\"'"), &Host).as_deref(), Some("comm = \"a b\"\"'\""));
}

#[test]
fn an_error_points_at_a_column() {
    assert_eq!(error("pid x").to_string(), "unknown pid 'x'\n  pid x\n      ^\nwrite a number");
    // The columns count the shown characters, not the bytes of the text.
    assert_eq!(
        error("comm é\t pid x").to_string(),
        "unknown pid 'x'\n  comm é\\t pid x\n               ^\nwrite a number"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth| format!("{}pid 1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(filter(&nested(64)), filter("pid 1"));
    let deep = error(&nested(65));
    assert_eq!((deep.at, line(&deep).as_str()), (64, "too deep: write at most 64 parentheses"));

    assert_eq!(filter(&format!("{} pid 1", "!".repeat(10_001))), filter("not pid 1"));
    let inner = format!("{}pid 1{}", "not (".repeat(64), ")".repeat(64));
    assert_eq!(filter(&inner), filter("pid 1"));
    let long = filter(&vec!["pid 1"; 1500].join(" or "));
    assert!(matches!(&long.0, Node::Any(parts) if parts.len() == 1500));

    assert_eq!(filter(&" ".repeat(16 << 10)), Filter::default());
    // Each character is shown as six.
    let too_long = error(&"\u{1b}".repeat((16 << 10) + 1));
    assert_eq!((too_long.at, too_long.text.len()), (16 << 10, 16 << 10));
    assert_eq!(line(&too_long), "the filter is too long: write at most 16384 bytes");
    assert_eq!(error(&"é".repeat(9000)).at, 16 << 10);
}

/// A word for a fact that no row of a command has is refused, with the command that knows it.
#[test]
fn unknown_facts_are_refused() {
    let refused = |text: &str, rows| {
        Filter::parse(text, &Host, rows).err().map(|error| (error.at, line(&error)))
    };
    for word in ["verdict = refused", "failed", "errno = 111"] {
        for rows in [RowKind::Socket, RowKind::PastSocket] {
            let (at, line) = refused(&format!("port = 1 and {word}"), rows).expect(word);
            assert_eq!(at, 13);
            assert!(
                line.contains("is not known here: a listing has no connections that"),
                "{line}"
            );
            assert!(line.contains(": write netmon history '"), "{line}");
        }
        assert_eq!(refused(word, RowKind::Connection), None);
    }
    let (_, line) = refused("dir = in", RowKind::Socket).expect("refused");
    assert!(line.ends_with("write netmon top 'dir = in', or add --at for a moment of a journal"));
    let (_, line) = refused("lifetime > 1m", RowKind::Socket).expect("refused");
    assert!(line.contains("the kernel does not keep who began a connection, and when"), "{line}");
    assert!(line.ends_with("netmon top 'lifetime < 1s', or add --at for a moment of a journal"));
    let (_, line) = refused("rtt > 1s", RowKind::PastSocket).expect("refused");
    assert!(line.ends_with("write netmon history 'rtt > 100ms'"), "{line}");
    for known in ["rtt > 1s", "bytes > 1M", "retrans > 0", "cookie = 1", "port = 1"] {
        assert_eq!(refused(known, RowKind::Socket), None, "{known}");
    }
    for known in ["dir = in", "lifetime > 1m", "cookie = 1", "user = root*"] {
        let filter = Filter::parse(known, &Recorded, RowKind::PastSocket);
        assert!(filter.is_ok(), "{known}");
    }
}
