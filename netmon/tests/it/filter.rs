//! Filters on the command line: each mistake ends with exit code 2, and names the correct form.

use std::process::{Command, Output};

fn netmon(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netmon")).args(args).output().expect("netmon starts")
}

/// Asserts that the error has four lines: the mistake, the text, a pointer, and the correct form.
fn refuses(args: &[&str], mistake: &str, column: usize, correct: &str) {
    let output = netmon(args);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let lines: Vec<_> = stderr.lines().collect();
    let [first, text, pointer, last] = lines[..] else { panic!("{args:?}: {stderr}") };
    assert!(first.starts_with(&format!("netmon: {mistake}")), "{stderr}");
    assert!(text.starts_with("  ") && args.iter().any(|arg| text.contains(arg)), "{stderr}");
    assert_eq!(pointer.find('^'), Some(2 + column), "{stderr}");
    assert!(last.starts_with("write ") && last.contains(correct), "{stderr}");
}

#[test]
fn mistakes_name_the_correct_form() {
    for (filter, mistake, column, correct) in [
        ("prot = 443", "unknown word 'prot' (did you mean port?)", 0, "port = :443"),
        ("dport = 44x", "unknown port '44x'", 8, "0 to 65535"),
        ("port in 80,", "'port' has no value", 11, "port = :443"),
        ("443", "unknown word '443'", 0, "port = 443"),
        ("time-wait", "unknown word 'time-wait'", 0, "state time-wait"),
        ("dst no.such.host.invalid", "no address of host 'no.such.host.invalid'", 4, "an address"),
        ("state estabished", "unknown state 'estabished'", 6, "established, "),
        ("bytes > lots", "unknown size 'lots'", 8, "1M"),
        ("rtt > 10", "unknown time '10'", 6, "10ms"),
        ("comm ~ \"(\"", "bad regular expression", 7, "^ngin"),
        ("user = no-user-of-this-name", "unknown user", 7, "the name of a user"),
        ("port ~ 80", "'~' does not apply to port", 5, "= != < >"),
    ] {
        refuses(&["snapshot", filter], mistake, column, correct);
        refuses(&["top", "--once", filter], mistake, column, correct);
    }
    refuses(&["watch", "failed = yes"], "'failed' takes no value", 7, "not failed");
}

#[test]
fn a_listing_refuses_what_it_cannot_know() {
    for (filter, instead) in [
        ("verdict = refused", "netmon history 'verdict = refused'"),
        ("failed", "netmon history 'failed'"),
        ("errno = 111", "netmon history 'errno = ECONNREFUSED'"),
        ("lifetime < 1s", "netmon top 'lifetime < 1s'"),
        ("dir = in", "netmon top 'dir = in'"),
    ] {
        let word = filter.split(' ').next().expect("a word");
        let mistake = format!("'{word}' is not known here: ");
        refuses(&["snapshot", filter], &mistake, 0, instead);
    }
    let past = ["snapshot", "--at", "1s ago", "rtt > 1s"];
    refuses(&past, "'rtt' is not known here: ", 0, "netmon history 'rtt > 100ms'");
}

#[test]
fn arguments_that_are_left_out_are_no_filter() {
    for args in [["watch", "--no-args", "args ~ x"], ["snapshot", "--no-args", "not args ~ x"]] {
        let output = netmon(&args);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(
            stderr.starts_with("netmon: with --no-args, nothing is known of 'args'"),
            "{stderr}"
        );
    }
}
