//! Tests the errors for text that is not a filter, and the bounds of the language.

use super::*;

fn error(text: &str) -> FilterError {
    Filter::parse(text, &Host).expect_err(text)
}

/// A `^` in each text marks the place of the error.
#[test]
fn errors_say_what_and_where() {
    for (marked, message) in [
        ("state ^estb", "unknown state 'estb': write established, syn-sent, "),
        ("^port = 1", "unknown word 'port': write state, exclude, sport, "),
        ("dport 1 ^443", "unknown word '443'"),
        ("^\"dport\" 1", "unknown word '\"dport\"'"),
        ("dport =^", "'dport' has no value: write one, as dport = :443"),
        ("comm ^and pid 1", "'comm' has no value"),
        ("(pid ^)", "'pid' has no value"),
        ("exclude ^= listening", "'exclude' has no value"),
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
        ("src ^localhost", "bad address 'localhost'"),
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
        ("cgroup = ^/none", "unknown cgroup '/none'"),
        (
            "dev ^a-name-that-is-too-long",
            "'a-name-that-is-too-long' is no device: write a name as ip link",
        ),
        ("dev ^4294967296", "unknown device '4294967296': write a number or a name"),
        ("dev ^< 5", "'<' does not apply to dev: write = or !="),
        ("pid ^< 5", "'<' does not apply to pid: write = or !="),
        ("state ^GE listen", "'GE' does not apply to state"),
        ("src ^> ::1", "'>' does not apply to src"),
        ("comm ^\"a b", "this quote is never closed"),
        ("comm = a^\"b", "this quote is never closed: write \" at its end, and \"\" for a quote"),
        ("comm ^systemd-resolved", "'systemd-resolved' is too long: write the first 15 bytes"),
        ("comm é uid ^\"\u{1b}[31m\"", "unknown user '\\u{1b}[31m'"),
    ] {
        let (before, after) = marked.split_once('^').expect("a mark");
        let error = error(&format!("{before}{after}"));
        assert!(error.message.starts_with(message), "{error}");
        assert_eq!(error.at, before.len(), "{error}");
    }
}

#[test]
fn an_error_points_at_a_column() {
    assert_eq!(error("pid x").to_string(), "unknown pid 'x': write a number\n  pid x\n      ^");
    // The columns count the shown characters, not the bytes of the text.
    assert_eq!(
        error("comm é\t pid x").to_string(),
        "unknown pid 'x': write a number\n  comm é\\t pid x\n               ^"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth| format!("{}pid 1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(filter(&nested(64)), filter("pid 1"));
    let deep = error(&nested(65));
    assert_eq!((deep.at, &*deep.message), (64, "too deep: nest at most 64 parentheses"));

    assert_eq!(filter(&format!("{} pid 1", "!".repeat(10_001))), filter("not pid 1"));
    let inner = format!("{}pid 1{}", "not (".repeat(64), ")".repeat(64));
    assert_eq!(filter(&inner), filter("pid 1"));
    let long = filter(&vec!["pid 1"; 1500].join(" or "));
    assert!(matches!(&long.0, Node::Any(parts) if parts.len() == 1500));

    assert_eq!(filter(&" ".repeat(16 << 10)), Filter::default());
    // Each character is shown as six.
    let too_long = error(&"\u{1b}".repeat((16 << 10) + 1));
    assert_eq!((too_long.at, too_long.text.len()), (16 << 10, 16 << 10));
    assert!(
        too_long.to_string().starts_with("the filter is too long: write at most 16384 bytes\n")
    );
    assert_eq!(error(&"é".repeat(9000)).at, 16 << 10);
}
