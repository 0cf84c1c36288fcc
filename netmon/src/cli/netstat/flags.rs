//! The flags of netstat, read as getopt_long(3) reads them: letters joined, names shortened, and
//! flags after other words. The errors are getopt's too.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// A flag.
struct Flag {
    /// The letter; none for a flag with a name alone.
    letter: Option<char>,
    name: Option<&'static str>,
    /// The name of the value; empty for a flag without a value.
    value: &'static str,
    help: &'static str,
    choice: Choice,
}

/// The meaning of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Routes,
    Interfaces,
    Groups,
    Statistics,
    Masquerade,
    Tcp,
    Udp,
    UdpLite,
    Sctp,
    Raw,
    Listening,
    All,
    Timers,
    Continuous,
    Extend,
    Programs,
    Context,
    Verbose,
    Wide,
    Numeric,
    NumericHosts,
    NumericPorts,
    NumericUsers,
    Symbolic,
    Cache,
    Fib,
    Bluetooth,
    Debug,
    /// The family is the value.
    Families,
    Family(&'static str),
    Help,
    Usage,
    Version,
}

const fn flag(letter: char, name: &'static str, choice: Choice, help: &'static str) -> Flag {
    Flag { letter: Some(letter), name: Some(name), value: "", help, choice }
}

const fn named(name: &'static str, choice: Choice, help: &'static str) -> Flag {
    Flag { letter: None, name: Some(name), value: "", help, choice }
}

const fn letter(letter: char, choice: Choice, help: &'static str) -> Flag {
    Flag { letter: Some(letter), name: None, value: "", help, choice }
}

/// Every flag, in the order of getopt's table of names, which decides about shortened names. A flag
/// without a help is left out of the help.
static FLAGS: [Flag; 50] = {
    use Choice::*;
    [
        named("ax25", Family("ax25"), ""),
        named("x25", Family("x25"), ""),
        named("ip", Family("inet"), ""),
        named("ipx", Family("ipx"), ""),
        named("appletalk", Family("ddp"), ""),
        named("netrom", Family("netrom"), ""),
        named("inet", Family("inet"), "Show IPv4"),
        named("inet6", Family("inet6"), "Show IPv6"),
        named("ddp", Family("ddp"), ""),
        named("rose", Family("rose"), ""),
        flag('x', "unix", Family("unix"), "Show Unix domain sockets"),
        named("bluetooth", Bluetooth, ""),
        named("tcpip", Family("inet"), ""),
        flag('V', "version", Version, "Show the version"),
        flag('i', "interfaces", Interfaces, "Show the network devices and their counters"),
        flag('h', "help", Help, "Show help"),
        flag('r', "route", Routes, "Show the routes"),
        flag('M', "masquerade", Masquerade, "Show masqueraded connections (Linux 2.2)"),
        Flag {
            letter: Some('A'),
            name: Some("protocol"),
            value: "FAMILY",
            help: "Show families: inet, inet6, unix, or several with commas",
            choice: Families,
        },
        flag('t', "tcp", Tcp, "Show TCP"),
        flag('S', "sctp", Sctp, "Show SCTP"),
        flag('u', "udp", Udp, "Show UDP"),
        flag('U', "udplite", UdpLite, "Show UDP-Lite"),
        flag('w', "raw", Raw, "Show raw IP sockets; with -s, IP and ICMP"),
        flag('2', "l2cap", Bluetooth, ""),
        flag('f', "rfcomm", Bluetooth, ""),
        flag('l', "listening", Listening, "Show only sockets that listen"),
        flag('a', "all", All, "Show sockets that listen, too; devices that are down, too"),
        flag('o', "timers", Timers, "Show timers"),
        flag('c', "continuous", Continuous, "Show again every second"),
        flag('e', "extend", Extend, "Show user and inode; other columns of routes and devices"),
        flag('p', "programs", Programs, "Show the processes that hold each socket"),
        flag('v', "verbose", Verbose, "Name the families that this kernel does not have"),
        flag('s', "statistics", Statistics, "Show the counters of the protocols"),
        flag('T', "notrim", Wide, ""),
        flag('W', "wide", Wide, "Show whole addresses, as netmon always does"),
        flag('n', "numeric", Numeric, "Show numbers instead of names"),
        named("numeric-hosts", NumericHosts, "Show addresses instead of names of hosts"),
        named("numeric-ports", NumericPorts, "Show numbers of ports"),
        named("numeric-users", NumericUsers, "Show numbers of users"),
        flag('N', "symbolic", Symbolic, ""),
        flag('C', "cache", Cache, "Show the cache of routes"),
        flag('F', "fib", Fib, "Show the table of routes, as without -C"),
        flag('g', "groups", Groups, "Show multicast groups"),
        flag('Z', "context", Context, "Show contexts of SELinux"),
        letter('4', Family("inet"), "Show IPv4"),
        letter('6', Family("inet6"), "Show IPv6"),
        letter('d', Debug, ""),
        letter('I', Interfaces, ""),
        letter('?', Usage, ""),
    ]
};

/// A flag of a command line, with its value.
pub(super) type Given = (Choice, String);

/// Hands each flag of a command line to `each`, in order.
///
/// # Errors
/// The first error of `each`, or of a flag: getopt's message.
pub(super) fn read<E: From<String>>(
    words: &[OsString],
    mut each: impl FnMut(Given) -> Result<(), E>,
) -> Result<(), E> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if let Some(text) = word.strip_prefix("--") {
            let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
            let flag = by_name(name)?;
            let shown = flag.name.unwrap_or_default();
            let value = match (flag.value.is_empty(), value) {
                (true, Some(_)) => {
                    return Err(format!("option '--{shown}' doesn't allow an argument").into());
                }
                (true, None) => String::new(),
                (false, Some(value)) => value.to_owned(),
                (false, None) => {
                    let missing = || format!("option '--{shown}' requires an argument");
                    words.next().ok_or_else(missing)?.into_owned()
                }
            };
            each((flag.choice, value))?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                let is_it = |flag: &&Flag| flag.letter == Some(letter);
                let Some(flag) = FLAGS.iter().find(is_it) else {
                    return Err(format!("invalid option -- '{letter}'").into());
                };
                let mut value = String::new();
                if !flag.value.is_empty() {
                    value = letters.by_ref().collect();
                    if value.is_empty() {
                        let missing = || format!("option requires an argument -- '{letter}'");
                        value = words.next().ok_or_else(missing)?.into_owned();
                    }
                }
                each((flag.choice, value))?;
            }
        }
    }
    Ok(())
}

/// Returns the flag with a name, or the only one whose name begins so.
fn by_name(name: &str) -> Result<&'static Flag, String> {
    let known = || FLAGS.iter().filter_map(|flag| Some((flag, flag.name?)));
    if let Some((flag, _)) = known().find(|(_, known)| *known == name) {
        return Ok(flag);
    }
    let found: Vec<_> = known().filter(|(_, known)| known.starts_with(name)).collect();
    let Some(((first, shown), rest)) = found.split_first() else {
        return Err(format!("unrecognized option '--{name}'"));
    };
    // All names of families have one meaning for getopt, which then takes the first.
    let is_family = |flag: &Flag| flag.letter.is_none() && matches!(flag.choice, Choice::Family(_));
    let is_same = |flag: &Flag| flag.choice == first.choice || is_family(flag) && is_family(first);
    let others: String = rest
        .iter()
        .filter(|(flag, _)| !is_same(flag))
        .map(|(_, known)| format!(" '--{known}'"))
        .collect();
    match others.is_empty() {
        true => Ok(first),
        false => Err(format!("option '--{name}' is ambiguous; possibilities: '--{shown}'{others}")),
    }
}

/// Adds the flags to the definition of a command, for its help and for completions.
pub(super) fn add_to(command: Command) -> Command {
    FLAGS.iter().filter(|flag| !flag.help.is_empty()).fold(command, |command, flag| {
        let id = flag.name.map_or_else(|| flag.letter.unwrap_or_default().to_string(), Into::into);
        let mut arg = Arg::new(id).help(flag.help);
        if let Some(letter) = flag.letter {
            arg = arg.short(letter);
        }
        if let Some(name) = flag.name {
            arg = arg.long(name);
        }
        arg = if flag.value.is_empty() {
            arg.action(if flag.choice == Choice::Help {
                ArgAction::Help
            } else {
                ArgAction::SetTrue
            })
        } else {
            arg.value_name(flag.value)
        };
        command.arg(arg)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(line: &str) -> Result<Vec<Given>, String> {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        let mut all = Vec::new();
        read(&words, |given| {
            all.push(given);
            Ok::<_, String>(())
        })?;
        Ok(all)
    }

    #[test]
    fn flags_are_read_as_getopt_reads_them() {
        use Choice::*;
        let choices = |line| -> Vec<_> {
            read_all(line).expect(line).into_iter().map(|(choice, _)| choice).collect()
        };
        assert_eq!(choices("-tan other --list -- -Q"), [Tcp, All, Numeric, Listening]);
        assert_eq!(choices("--numeric --ine --unix"), [Numeric, Family("inet"), Family("unix")]);
        for line in ["-Ainet6", "-A inet6", "--protocol=inet6", "--proto inet6"] {
            assert_eq!(read_all(line), Ok(vec![(Families, "inet6".to_owned())]), "{line}");
        }
    }

    #[test]
    fn wrong_flags_have_the_messages_of_getopt() {
        for (line, message) in [
            ("-tQ", "invalid option -- 'Q'"),
            ("--foo", "unrecognized option '--foo'"),
            ("-tA", "option requires an argument -- 'A'"),
            ("--protocol", "option '--protocol' requires an argument"),
            ("--tcp=1", "option '--tcp' doesn't allow an argument"),
            (
                "--num",
                "option '--num' is ambiguous; possibilities: '--numeric' '--numeric-hosts' \
                 '--numeric-ports' '--numeric-users'",
            ),
        ] {
            assert_eq!(read_all(line), Err(message.to_owned()), "{line}");
        }
    }
}
