//! `netmon netstat`: the command line of net-tools' netstat, its output, and its exit codes.

mod flags;
mod sockets;
mod tables;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    net::IpAddr,
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use self::flags::{Choice, Given};
use super::{
    Cli,
    args::tracing::CONFINING,
    help::layout,
    io::{stderr, stdout::Stdout},
    locale::Locale,
    names::{self, hosts},
};
use crate::{
    core::{network::NetworkNames, services::Services},
    kernel::host::privilege::{Duty, narrow},
    view::{
        listing::{name_cache::NameCache, netstat::Listening},
        net_tools::AddressNames,
    },
};

/// The exit code of net-tools for a wrong command line.
const WRONG_USAGE: u8 = 3;
/// The time between two listings with `-c`.
const SECOND: Duration = Duration::from_secs(1);

/// The families that `-A` takes, each with netstat's name for it.
const FAMILIES: [(&str, &str); 14] = [
    ("ax25", "ax25"),
    ("ip", "inet"),
    ("ip6", "inet6"),
    ("ipx", "ipx"),
    ("rose", "rose"),
    ("appletalk", "ddp"),
    ("netrom", "netrom"),
    ("inet", "inet"),
    ("inet6", "inet6"),
    ("ddp", "ddp"),
    ("unix", "unix"),
    ("tcpip", "inet"),
    ("econet", "ec"),
    ("x25", "x25"),
];

/// The command: the words after its name, as they were typed.
#[derive(Debug, Default)]
pub(super) struct NetstatCommand {
    words: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  netmon netstat -tulpen     what listens
  netmon netstat -rn         the routes
  netmon netstat -s          the counters of the protocols";

/// The flags are those of `flags.rs`, which clap describes and does not read.
impl Args for NetstatCommand {
    fn augment_args(command: Command) -> Command {
        let command = command
            .about("netstat itself: its command line, its columns, its words")
            .long_about(
                "netstat itself: its command line, its columns, its words\n\nnetmon netstat takes \
                 the flags of net-tools' netstat and prints what that netstat prints, with the \
                 owners of all sockets. A link to netmon with the name netstat does the same. \
                 docs/netstat.md lists every difference.",
            )
            .before_help(EXAMPLES);
        flags::add_to(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// clap never reads a command line of netstat: [`NetstatCommand::of_process`] takes it before.
impl FromArgMatches for NetstatCommand {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::default())
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

/// The end of a command line.
enum End {
    /// A message and the exit code.
    Failed(String, u8),
    /// The flags ask for a text alone.
    Text(String),
}

impl From<String> for End {
    fn from(message: String) -> Self {
        let advice = "  type: netstat -h for all flags";
        Self::Failed(format!("netstat: {message}\n{advice}\n"), WRONG_USAGE)
    }
}

/// The flags that were given, and how often.
#[derive(Debug, Default)]
struct Flags {
    choices: Vec<Choice>,
    /// The families, in the order of the command line.
    families: Vec<&'static str>,
}

impl Flags {
    fn count(&self, choice: Choice) -> usize {
        self.choices.iter().filter(|given| **given == choice).count()
    }

    fn has(&self, choice: Choice) -> bool {
        self.choices.contains(&choice)
    }

    fn has_family(&self, family: &str) -> bool {
        self.families.contains(&family)
    }

    /// Returns the families as netstat names them in messages.
    fn family_names(&self) -> String {
        if self.families.is_empty() { "inet".to_owned() } else { self.families.join(",") }
    }

    fn has_protocol(&self) -> bool {
        use Choice::{Raw, Sctp, Tcp, Udp, UdpLite};
        [Tcp, Sctp, Udp, UdpLite, Raw].into_iter().any(|protocol| self.has(protocol))
    }

    fn scope(&self) -> Listening {
        match (self.has(Choice::All), self.has(Choice::Listening)) {
            (true, _) => Listening::All,
            (_, true) => Listening::Listening,
            _ => Listening::Connected,
        }
    }

    fn numeric_hosts(&self) -> bool {
        self.has(Choice::Numeric) || self.has(Choice::NumericHosts)
    }

    fn numeric_ports(&self) -> bool {
        self.has(Choice::Numeric) || self.has(Choice::NumericPorts)
    }

    fn numeric_users(&self) -> bool {
        self.has(Choice::Numeric) || self.has(Choice::NumericUsers)
    }

    fn add(&mut self, (choice, value): Given) -> Result<(), End> {
        match choice {
            Choice::Family(family) => self.families.push(family),
            Choice::Families => {
                for word in value.split(',') {
                    let known = FAMILIES.iter().find(|(known, _)| *known == word);
                    let Some((_, family)) = known else {
                        let message = format!("Unknown address family `{word}'.\n");
                        return Err(End::Failed(message, 1));
                    };
                    self.families.push(family);
                }
            }
            Choice::Help => return Err(End::Text(help())),
            Choice::Usage => return Err(End::Failed(help(), WRONG_USAGE)),
            Choice::Version => {
                let version = env!("CARGO_PKG_VERSION");
                return Err(End::Text(format!("netmon {version}, with the flags of net-tools\n")));
            }
            Choice::Context => {
                let host = Path::new("/sys/fs/selinux/enforce").exists();
                let of = if host { "for this application" } else { "on this machine" };
                return Err(End::Failed(format!("SELinux is not enabled {of}.\n"), 1));
            }
            other => self.choices.push(other),
        }
        Ok(())
    }
}

/// Returns the help of the command.
fn help() -> String {
    let help = layout(Cli::command()).try_get_matches_from(["netmon", "netstat", "--help"]);
    help.err().map(|help| help.to_string()).unwrap_or_default()
}

impl NetstatCommand {
    /// Returns the command of this process, if the process was called as netstat, or if netstat is
    /// the first word.
    pub(super) fn of_process() -> Option<Self> {
        let mut words: Vec<_> = env::args_os().collect();
        let program = words.first().map(Path::new).and_then(Path::file_name)?.to_owned();
        let skipped = match words.get(1) {
            _ if program == "netstat" => 1,
            Some(word) if word == "netstat" => 2,
            _ => return None,
        };
        words.drain(..skipped);
        Some(Self { words })
    }

    /// Returns the duties of listings of sockets; the other tables are open to every user.
    pub(super) fn duties(&self) -> &'static [Duty] {
        &[Duty::Load, Duty::Lock, Duty::Use, Duty::Look]
    }

    /// Runs netstat. Returns its exit code.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut flags = Flags::default();
        let read = flags::read(&self.words, |given| flags.add(given));
        match read.and_then(|()| flags.check()) {
            Ok(()) => flags.run(),
            Err(End::Text(text)) => {
                let mut out = Stdout::lock();
                out.write_all(text.as_bytes())?;
                out.flush()?;
                Ok(ExitCode::SUCCESS)
            }
            Err(End::Failed(message, code)) => {
                // The message is all there is to do about a failure.
                let _ = stderr::write(message.as_bytes());
                Ok(ExitCode::from(code))
            }
        }
    }
}

impl Flags {
    /// Refuses flags that exclude each other.
    fn check(&self) -> Result<(), End> {
        use Choice::{Interfaces, Masquerade, Routes, Statistics};
        let tables = [Interfaces, Routes, Masquerade, Statistics];
        if tables.into_iter().map(|table| self.count(table)).sum::<usize>() > 1 {
            return Err("-r, -i, -M and -s exclude each other".to_owned().into());
        }
        Ok(())
    }

    fn run(self) -> anyhow::Result<ExitCode> {
        use Choice::{Interfaces, Masquerade, Routes, Statistics};
        let tables = [Masquerade, Statistics, Routes, Interfaces];
        if tables.into_iter().any(|table| self.has(table)) {
            narrow(&[]).context(CONFINING)?;
        }
        if self.has(Masquerade) {
            // Linux has had no such table since 2.4.
            return Ok(unsupported("ip_masquerade"));
        }
        if self.has(Statistics) {
            return self.statistics();
        }
        if self.has(Routes) {
            return self.repeat(Self::routes);
        }
        if self.has(Interfaces) {
            print(format!("{}\n", tables::words().devices).as_bytes())?;
            return self.repeat(Self::interfaces);
        }
        sockets::list(&self)
    }

    /// Prints a table, with `-c` again and again.
    fn repeat(
        &self,
        table: impl Fn(&Self, &mut Vec<u8>) -> anyhow::Result<Option<ExitCode>>,
    ) -> anyhow::Result<ExitCode> {
        loop {
            let mut out = Vec::new();
            let code = table(self, &mut out)?;
            print(&out)?;
            if code.is_some() || !self.has(Choice::Continuous) {
                return Ok(code.unwrap_or(ExitCode::SUCCESS));
            }
            thread::sleep(SECOND);
        }
    }

    /// Returns the names of this host that the flags ask for. Names of hosts take some seconds at
    /// most.
    fn names(&self, addresses: impl Iterator<Item = IpAddr>) -> AddressNames {
        // For a table of routes, -N means numbers too.
        let numeric_hosts =
            self.numeric_hosts() || self.has(Choice::Routes) && self.has(Choice::Symbolic);
        let numeric_ports = self.numeric_ports();
        let is_network = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets()[3] == 0,
            IpAddr::V6(_) => false,
        };
        AddressNames {
            numeric_hosts,
            numeric_ports,
            services: if numeric_ports { Services::default() } else { Services::load() },
            networks: NetworkNames::load(),
            hosts: if numeric_hosts {
                NameCache::default()
            } else {
                hosts::resolve(addresses.filter(|address| !is_network(address)))
            },
            users: if self.numeric_users() {
                NameCache::default()
            } else {
                NameCache::new(names::user)
            },
        }
    }
}

/// Prints a part of the output.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = Locale::of_user().stdout();
    out.write_all(text)?;
    out.flush()
}

/// Reports a table that this kernel does not have. Returns the exit code.
fn unsupported(name: &str) -> ExitCode {
    // The message is all there is to do about a failure.
    let _ = stderr::write(format!("netstat: no support for `{name}' on this system.\n").as_bytes());
    ExitCode::FAILURE
}
