//! Command lines with mistakes: each has the exit code 2, a line with the mistake, and a line with
//! the words to type.

use std::{env, fs, process};

use crate::help::netmon;

/// Runs netmon with a wrong command line. Returns the message.
fn message(line: &str) -> String {
    let args: Vec<_> = line.split_whitespace().collect();
    let output = netmon(&args);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
    assert!(output.stdout.is_empty(), "{line}");
    let lines: Vec<_> = stderr.lines().collect();
    let [wrong, advice] = lines[..] else { panic!("{line}: {stderr}") };
    assert!(wrong.starts_with("netmon: ") && advice.starts_with("  type: "), "{line}: {stderr}");
    format!("$ netmon {line}\n{stderr}\n")
}

#[test]
fn foreign_flags() {
    let flags = [
        "-s",
        "-g",
        "-M",
        "-K",
        "-m",
        "-Z",
        "-z",
        "-O",
        "-A inet",
        "-f inet",
        "-I=eth0",
        "-F",
        "-C",
        "-N blue",
        "-E",
        "-T",
        "-S",
        "-d",
        "-b",
        "-B",
        "-D file",
        "-tus",
        "--statistics",
        "--route",
        "--groups",
        "--inet",
        "--inet6",
        "--numeric-ports",
        "--numeric-hosts",
        "--net=blue",
        "--family=inet",
        "--query=inet",
        "--kill",
        "--oneline",
    ];
    let messages: String = flags.iter().map(|flag| message(flag)).collect();
    insta::assert_snapshot!(messages);
    // The same with the name of the command.
    assert!(message("snapshot -s").contains("netmon snapshot --summary"));
}

#[test]
fn other_mistakes() {
    let lines = [
        "port 80",
        "port https",
        "ports 443",
        ":443",
        "443",
        "list",
        "ls",
        "ss",
        "live",
        "kill",
        "check",
        "route",
        "version",
        "state established",
        "pid 812",
        "10.0.0.1",
        "snpshot",
        "sideways",
        "journal chek",
        "--json watch",
        "--lissten",
        "watch -t",
        "watch --jsn",
        "watch --sort local",
        "snapshot --sort size",
        "snapshot --at 03:12 --sort bytes",
        "export",
        "export --format xml",
        "record --max-size 10",
        "watch --count 0",
        "-c=0",
        "services a b",
        "help nothing",
        "snapshot --summary --sort pid",
        "verify --duration soon",
        "-v netstat -rn",
        "--color=never netstat -tan",
        "--color never snapshot --port 80",
        "record -v \u{e9}",
        "snapshot --journal /srv",
        "snapshot --at 03:12 --sort recvq",
    ];
    insta::assert_snapshot!(lines.iter().map(|line| message(line)).collect::<String>());
}

/// Flags of further tools, and flags of netmon's other commands.
#[test]
fn flags_of_other_commands() {
    let lines = [
        "snapshot --from 1m",
        "snapshot --csv",
        "snapshot --follow",
        "watch -i any",
        "watch -i eth1",
        "watch -w out.pcap",
        "watch -p",
        "watch -tnp",
        "watch --at 5m",
        "watch --follow",
        "watch --last 5",
        "history -tn",
        "history --at 5m",
        "history --since=yesterday",
        "history --until now",
        "history -f",
        "history --tail 5",
        "history -n 5",
        "history --follow --duration 1m",
        "history --csv",
        "history --dir j",
        "top --sort bytes",
        "record -w j",
        "record -o a'b",
        "record --dir",
        "export --json",
        "export --filter failed",
        "export --format jsonl failed",
        "export state close-wait --format csv",
        "export --format json",
        "export --format=json --utc",
    ];
    insta::assert_snapshot!(lines.iter().map(|line| message(line)).collect::<String>());
}

#[test]
fn words_of_filters_are_no_flags() {
    let lines = [
        "snapshot --port 8701",
        "snapshot --port=https -t",
        "snapshot --port",
        "snapshot --port '",
        "snapshot --pid 15408",
        "snapshot --state established",
        "snapshot --established",
        "snapshot --verdict refused",
        "snapshot --process nginx",
        "watch --verdict refused",
        "watch --failed",
        "history --comm a(b",
        "top --uid 0",
        "-iTCP:8701",
    ];
    insta::assert_snapshot!(lines.iter().map(|line| message(line)).collect::<String>());
    // record takes no filter.
    assert!(!message("record --port 1").contains("filter"));
}

#[test]
fn values_that_look_like_flags_and_flags_that_a_journal_has_not() {
    let lines = [
        "history --from -10m",
        "-natc2",
        "-tulpen --at 1m",
        "snapshot -x --at=1m",
        "snapshot --at 1m --info -t",
        "snapshot -o -n --at 1m",
        "filter",
        "states",
    ];
    insta::assert_snapshot!(lines.iter().map(|line| message(line)).collect::<String>());
    assert!(netmon(&["help", "filters"]).status.success());
}

#[test]
fn a_directory_is_no_filter() {
    let output = netmon(&["snapshot", "/tmp"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("write --journal /tmp"), "{stderr}");
}

#[test]
fn flags_that_mean_something_else_in_netstat_have_a_note_on_a_terminal() {
    let shown = |flags: &str| {
        let line = format!("{} snapshot {flags}", env!("CARGO_BIN_EXE_netmon"));
        let mut script = process::Command::new("script");
        let output = script.args(["-qec", &line, "/dev/null"]).stdin(process::Stdio::null());
        String::from_utf8(output.output().expect("script(1)").stdout).expect("UTF-8")
    };
    let routes = shown("-rn");
    assert_eq!(routes.matches("netmon: -r shows").count(), 1, "{routes}");
    assert!(shown("-i").contains("netmon: -i shows"));
    assert!(!shown("-tin").contains("-i shows"));
    let piped = netmon(&["snapshot", "-rn"]);
    assert!(!String::from_utf8_lossy(&piped.stderr).contains("-r shows"), "{piped:?}");
}

#[test]
fn arguments_in_messages_cannot_direct_a_terminal() {
    for args in [["\u{1b}[31m"].as_slice(), &["-t", "--\u{1b}]0;evil"], &["help", "\u{1b}c"]] {
        let output = netmon(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.contains(&0x1b), "{output:?}");
    }
}

#[test]
fn a_file_of_default_flags_is_read_and_its_mistakes_are_named() {
    let path = env::temp_dir().join(format!("netmon-flags-{}", process::id()));
    let run = |text: &str, args: &[&str]| {
        fs::write(&path, text).expect("written");
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_netmon"));
        command.args(args).env("NETMON_CONFIG", &path).output().expect("netmon")
    };
    let output = run("# mine\nservices --json\n", &["services", "22/tcp"]);
    assert!(output.stdout.starts_with(b"{"), "{output:?}");
    let output = run("services --jsno\n", &["services", "22/tcp"]);
    let stderr = String::from_utf8_lossy(&output.stderr).replace(&*path.to_string_lossy(), "FILE");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    insta::assert_snapshot!(stderr);
    fs::remove_file(&path).expect("removed");
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output = command.arg("services").env("NETMON_CONFIG", &path).output().expect("netmon");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output =
        command.args(["services", "ssh"]).env("NETMON_CONFIG", "").output().expect("netmon");
    assert!(output.status.success(), "{output:?}");
}
