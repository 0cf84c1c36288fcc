//! The flags of other tools that netmon does not have, and the commands that people try.

/// Notes for flags that netmon has, with another meaning in netstat.
pub(super) const ROUTES: &str =
    "-r shows the names of hosts here; for the routes of netstat -r, type: netmon routes";
pub(super) const INTERFACES: &str =
    "-i shows TCP's measurements here; for the devices of netstat -i, type: netmon interfaces";

/// A flag of another tool, or of another command.
pub(super) struct ForeignFlag {
    /// The commands that lack it.
    pub(super) commands: &'static [&'static str],
    /// The spellings.
    pub(super) names: &'static [&'static str],
    /// The meaning there.
    pub(super) meaning: &'static str,
    pub(super) instead: Instead,
}

/// The words to type instead of a foreign flag.
#[derive(Clone, Copy)]
pub(super) enum Instead {
    /// These words. `{}` is the command, and `[WORD]` the value of the flag, or else WORD.
    Words(&'static str),
    /// The same command line without the flag.
    Nothing,
    /// A filter with this word and the value of the flag.
    Filter(&'static str),
}

const fn flag(
    names: &'static [&'static str],
    meaning: &'static str,
    words: &'static str,
) -> ForeignFlag {
    other(&["snapshot"], names, meaning, Instead::Words(words))
}

const fn other(
    commands: &'static [&'static str],
    names: &'static [&'static str],
    meaning: &'static str,
    instead: Instead,
) -> ForeignFlag {
    ForeignFlag { commands, names, meaning, instead }
}

/// The flags of netstat and ss that `netmon snapshot` does not have.
pub(super) static FLAGS: [ForeignFlag; 21] = [
    flag(
        &["-s", "--statistics"],
        "counters of each protocol in netstat, counts of sockets in ss",
        "netmon snapshot --summary (counters: netmon stats)",
    ),
    flag(&["--route"], "netstat's routes", "netmon routes"),
    flag(&["-I", "--interfaces"], "netstat's interfaces", "netmon interfaces"),
    flag(&["-g", "--groups"], "netstat's multicast groups", "netmon netstat -g"),
    flag(&["-M", "--masquerade", "--mptcp"], "netstat's NAT, ss's MPTCP", "conntrack -L, or ss -M"),
    flag(&["-F", "--fib", "-C", "--cache"], "netstat's route tables", "netmon routes --all"),
    flag(&["-K", "--kill"], "ss closes the sockets; netmon changes none", "ss -K FILTER"),
    flag(&["-m", "--memory"], "ss's memory of sockets", "ss -m"),
    flag(&["-Z", "-z", "--context", "--contexts"], "ss's SELinux contexts", "ss -Z"),
    flag(&["-O", "--oneline"], "ss's line for each socket", "netmon snapshot --json"),
    flag(
        &["-A", "--query", "--socket", "-f", "--family", "--protocol"],
        "a choice of kinds of sockets",
        "netmon snapshot with -t, -u, -w, -x, -4 or -6",
    ),
    flag(&["--inet", "--ip", "--tcpip"], "netstat's sockets of IPv4", "netmon snapshot -4"),
    flag(&["--inet6"], "netstat's sockets of IPv6", "netmon snapshot -6"),
    flag(
        &["--numeric-ports", "--numeric-hosts", "--numeric-users"],
        "one kind of numbers in netstat",
        "netmon snapshot -n (addresses are numbers without -r)",
    ),
    flag(&["-N", "--net"], "ss's network namespace", "netmon snapshot --netns NAME (or self)"),
    flag(&["-E", "--events"], "ss's sockets as they close", "sudo netmon watch"),
    flag(
        &["-T", "--notrim", "--threads"],
        "netstat's whole addresses, ss's threads",
        "netmon snapshot -W",
    ),
    flag(
        &["-S", "--sctp", "-d", "--dccp", "-U", "--udplite", "-0", "--packet", "--vsock"],
        "sockets of another protocol",
        "ss with the same flag",
    ),
    flag(
        &["-b", "--bpf", "--tos", "--inet-sockopt"],
        "options of sockets in ss",
        "ss -b, ss --tos",
    ),
    flag(&["-B", "--bound-inactive"], "ss's sockets that only have a port", "ss -B"),
    flag(&["-D", "--diag"], "ss's raw copy of the listing", "netmon snapshot --json"),
];

/// The flags of further tools, and of other commands.
pub(super) static OTHERS: [ForeignFlag; 26] = {
    use Instead::{Filter, Nothing, Words};
    const FOLLOWING: &[&str] = &["watch", "history", "top"];
    const LIVE: &[&str] = &["watch", "top"];
    const STRETCHES: &[&str] = &["watch", "history", "export"];
    const MOMENTS: &[&str] = &["snapshot", "top"];
    [
        other(FOLLOWING, &["-t", "--tcp"], "it follows TCP only", Nothing),
        other(
            FOLLOWING,
            &["-p", "--program", "--programs", "--processes"],
            "it always shows processes",
            Nothing,
        ),
        other(FOLLOWING, &["-a", "--all"], "it follows every connection", Nothing),
        other(LIVE, &["-f", "--follow"], "it goes on until it is ended", Nothing),
        other(
            FOLLOWING,
            &["-i", "--interface"],
            "tcpdump's device; without it, all are followed",
            Filter("dev"),
        ),
        other(
            FOLLOWING,
            &["-w", "--write"],
            "netmon keeps connections, not packets",
            Words("sudo netmon record --journal DIR (packets: tcpdump -w FILE)"),
        ),
        other(
            &["record"],
            &["-w", "-o", "-d", "--write", "--output", "--dir", "--directory"],
            "a journal is a directory",
            Words("sudo netmon record --journal [DIR]"),
        ),
        other(
            &["snapshot", "watch", "history", "top", "export"],
            &["--dir", "--directory"],
            "the directory of a journal",
            Words("netmon {} --journal [DIR]"),
        ),
        other(STRETCHES, &["--since"], "journalctl's --from", Words("netmon {} --from [TIME]")),
        other(STRETCHES, &["--until"], "journalctl's --to", Words("netmon {} --to [TIME]")),
        other(STRETCHES, &["--at"], "it shows a stretch of time", Words("netmon {} --from [TIME]")),
        other(
            MOMENTS,
            &["--from", "--since", "--to", "--until"],
            "it shows one moment",
            Words("netmon {} --at [TIME]"),
        ),
        other(&["history"], &["-f"], "--follow is the long form", Words("netmon {} --follow")),
        other(
            &["history"],
            &["--duration"],
            "timeout(1) ends a command",
            Words("timeout [30s] netmon history --follow"),
        ),
        other(
            &["history"],
            &["-n N", "--last", "--tail", "--lines", "--count"],
            "--limit is a number of connections",
            Words("netmon {} --limit [N]"),
        ),
        other(
            &["history"],
            &["--head"],
            "with --sort, --limit is a number of connections from the first on",
            Words("netmon {} --sort ended --limit [N]"),
        ),
        other(
            &["watch"],
            &["-n N", "--last", "--tail", "--head", "--lines", "--limit"],
            "--count is a number of transitions",
            Words("sudo netmon {} --count [N]"),
        ),
        other(
            &["snapshot", "watch"],
            &["--interval"],
            "-c lists again and again",
            Words("netmon snapshot -c [SECONDS]"),
        ),
        other(&["snapshot"], &["--follow"], "-c lists again and again", Words("netmon {} -c")),
        other(&["top"], &["--sort"], "a key orders the rows", Words("sudo netmon top, and then s")),
        other(
            &["snapshot", "watch", "history", "top", "record"],
            &["--csv"],
            "export writes CSV, from a journal",
            Words("netmon export --format csv > events.csv"),
        ),
        other(
            &["export"],
            &["--csv"],
            "--format names the format",
            Words("netmon export --format csv > events.csv"),
        ),
        other(
            &["export"],
            &["--json", "--jsonl"],
            "--format names the format",
            Words("netmon export --format jsonl"),
        ),
        other(
            &["export"],
            &["--filter"],
            "export writes all of a stretch of time",
            Words("netmon history --json [FILTER]"),
        ),
        other(
            &["snapshot", "watch", "history", "top"],
            &["--filter"],
            "a filter stands without a flag",
            Words("netmon {} [FILTER]"),
        ),
        other(
            &["record"],
            &["--filter"],
            "record keeps every connection",
            Words("netmon history [FILTER], once they are recorded"),
        ),
    ]
};

/// Returns the foreign flag with a spelling that a command lacks.
pub(super) fn find(command: &str, name: &str) -> Option<&'static ForeignFlag> {
    let is_it =
        |flag: &&ForeignFlag| flag.commands.contains(&command) && flag.names.contains(&name);
    FLAGS.iter().chain(&OTHERS).find(is_it)
}

/// Words that people try as commands, and the words to type.
const COMMANDS: [(&[&str], &str); 8] = [
    (
        &["list", "ls", "show", "ps", "ss", "sockets", "connections", "stat", "dump"],
        "netmon snapshot (once) or sudo netmon watch (live)",
    ),
    (
        &["live", "monitor", "trace", "tail", "follow", "start", "run", "events"],
        "sudo netmon watch (lines) or sudo netmon top (full screen)",
    ),
    (&["log", "logs", "past", "replay"], "netmon history, or netmon watch --from 03:10"),
    (&["check", "test", "diagnose", "info", "status"], "sudo netmon doctor"),
    (&["kill", "close"], "ss -K FILTER: netmon changes no connection"),
    (&["route"], "netmon routes"),
    (&["interface"], "netmon interfaces"),
    (&["version"], "netmon --version"),
];

/// Returns the words to type instead of a word that is no command.
pub(super) fn command(word: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, instead)| *instead)
}
