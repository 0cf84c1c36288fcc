//! The flags of netstat and ss that netmon does not have, and the commands that people try.

/// Notes for flags that netmon has, with another meaning in netstat.
pub(super) const ROUTES: &str =
    "-r shows the names of hosts here; for the routes of netstat -r, type: ip route";
pub(super) const INTERFACES: &str =
    "-i shows TCP's measurements here; for the interfaces of netstat -i, type: ip -s link";

/// A flag of netstat or ss.
pub(super) struct ForeignFlag {
    /// The spellings.
    pub(super) names: &'static [&'static str],
    /// The meaning there.
    pub(super) meaning: &'static str,
    /// The words to type.
    pub(super) instead: &'static str,
}

const fn flag(
    names: &'static [&'static str],
    meaning: &'static str,
    instead: &'static str,
) -> ForeignFlag {
    ForeignFlag { names, meaning, instead }
}

/// The flags of netstat and ss that `netmon snapshot` does not have.
pub(super) const FLAGS: [ForeignFlag; 21] = [
    flag(
        &["-s", "--statistics"],
        "counters of each protocol in netstat, counts of sockets in ss",
        "netmon snapshot --summary (counters: nstat -az)",
    ),
    flag(&["--route"], "netstat's routes", "ip route"),
    flag(&["-I", "--interfaces"], "netstat's interfaces", "ip -s link"),
    flag(&["-g", "--groups"], "netstat's multicast groups", "ip maddress"),
    flag(&["-M", "--masquerade", "--mptcp"], "netstat's NAT, ss's MPTCP", "conntrack -L, or ss -M"),
    flag(&["-F", "--fib", "-C", "--cache"], "netstat's route tables", "ip route show table all"),
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

/// Returns the foreign flag with a spelling.
pub(super) fn find(name: &str) -> Option<&'static ForeignFlag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

/// Words that people try as commands, and the words to type.
const COMMANDS: [(&[&str], &str); 8] = [
    (
        &["list", "ls", "show", "ps", "ss", "netstat", "sockets", "connections", "stat", "dump"],
        "netmon snapshot (once) or sudo netmon watch (live)",
    ),
    (
        &["live", "monitor", "trace", "tail", "follow", "start", "run", "events"],
        "sudo netmon watch (lines) or sudo netmon top (full screen)",
    ),
    (&["log", "logs", "past", "replay"], "netmon history, or netmon watch --from 03:10"),
    (&["check", "test", "diagnose", "info", "status"], "sudo netmon doctor"),
    (&["kill", "close"], "ss -K FILTER: netmon changes no connection"),
    (&["route", "routes"], "ip route"),
    (&["interface", "interfaces"], "ip -s link"),
    (&["version"], "netmon --version"),
];

/// Returns the words to type instead of a word that is no command.
pub(super) fn command(word: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, instead)| *instead)
}
