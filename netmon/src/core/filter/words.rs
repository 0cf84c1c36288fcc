//! The words of the language: one table for the parser, its errors, the help and the documents.

use std::fmt;

use super::{Quantity, Side, TextFact, error::Bad};

/// A word that begins a term.
#[derive(Debug)]
pub(crate) struct Word {
    /// The name, as errors and the text of a filter have it.
    pub(crate) name: &'static str,
    /// Other names with the same meaning.
    pub(crate) aliases: &'static [&'static str],
    /// The operators that may follow.
    pub(crate) operators: Operators,
    /// A term with the word.
    pub(crate) example: &'static str,
    known: Known,
    pub(super) fact: Fact,
}

/// The operators that may follow a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operators {
    /// No operator.
    None,
    /// `=` and `!=`, with a list of values.
    Equality,
    /// Also `~` and `!~`, and patterns.
    Text,
    /// Also `<`, `>`, `<=` and `>=`.
    Order,
}

/// The fact that a word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    State,
    Exclude,
    Port(&'static [Side]),
    Address(&'static [Side]),
    Pid,
    Text(TextFact),
    Cookie,
    Direction,
    Verdict,
    Failed,
    Errno,
    Quantity(Quantity),
}

/// The rows that may have the fact of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Always,
    /// The kernel measures an open connection, and a journal keeps the measurements of its end.
    Measured,
    /// Known by following the connection from its beginning.
    Followed,
    /// Known once the connection has ended.
    Ended,
}

/// The rows that a command filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Connections that are followed to their ends: `watch`, `history`, `top`.
    Connection,
    /// Sockets as the kernel lists them: `snapshot`.
    Socket,
    /// Open connections as a journal has them: `snapshot --at`.
    PastSocket,
}

const LOCAL: &[Side] = &[Side::Local];
const REMOTE: &[Side] = &[Side::Remote];
const EITHER: &[Side] = &[Side::Local, Side::Remote];

/// The word that a port without a word stands for.
pub(super) static PORT: &Word = &WORDS[2];

/// Every word.
pub(crate) static WORDS: [Word; 34] = [
    Word::new("state", "state established", Operators::Equality, Fact::State),
    Word::new("exclude", "exclude time-wait", Operators::None, Fact::Exclude),
    Word::new("port", "port = :443", Operators::Order, Fact::Port(EITHER)),
    Word::new("sport", "sport = :22", Operators::Order, Fact::Port(LOCAL)),
    Word::new("dport", "dport = :443", Operators::Order, Fact::Port(REMOTE)),
    Word::new("host", "host 10.0.0.1", Operators::Equality, Fact::Address(EITHER)),
    Word::new("src", "src 10.0.0.0/8", Operators::Equality, Fact::Address(LOCAL)),
    Word::new("dst", "dst [2001:db8::]/32", Operators::Equality, Fact::Address(REMOTE)),
    Word::new("pid", "pid = 812", Operators::Equality, Fact::Pid),
    Word::new("comm", "comm = ngin*", Operators::Text, Fact::Text(TextFact::Comm)),
    Word::new("exe", "exe = /usr/bin/*", Operators::Text, Fact::Text(TextFact::Exe)),
    Word::new("args", "args ~ manage.py", Operators::Text, Fact::Text(TextFact::Args)),
    Word::new("parent", "parent = */bash", Operators::Text, Fact::Text(TextFact::Parent)),
    Word {
        aliases: &["user"],
        ..Word::new("uid", "uid = www-data", Operators::Text, Fact::Text(TextFact::User))
    },
    Word {
        aliases: &["login_user"],
        ..Word::new(
            "login_uid",
            "login_uid = alice",
            Operators::Text,
            Fact::Text(TextFact::LoginUser),
        )
    },
    Word::new("netns", "netns = blue", Operators::Text, Fact::Text(TextFact::Netns)),
    Word {
        aliases: &["device"],
        ..Word::new("dev", "dev = eth0", Operators::Text, Fact::Text(TextFact::Device))
    },
    Word::new(
        "cgroup",
        "cgroup = /system.slice/nginx.service",
        Operators::Text,
        Fact::Text(TextFact::Cgroup),
    ),
    Word::new("unit", "unit = nginx.service", Operators::Text, Fact::Text(TextFact::Unit)),
    Word::new(
        "user_unit",
        "user_unit = app-*.scope",
        Operators::Text,
        Fact::Text(TextFact::UserUnit),
    ),
    Word::new("container", "container = web", Operators::Text, Fact::Text(TextFact::Container)),
    Word::new(
        "container_id",
        "container_id = 3f2a9c*",
        Operators::Text,
        Fact::Text(TextFact::ContainerId),
    ),
    Word::new("pod", "pod = web-*", Operators::Text, Fact::Text(TextFact::Pod)),
    Word::new("cookie", "cookie = sk:4f", Operators::Equality, Fact::Cookie),
    Word {
        aliases: &["direction"],
        known: Known::Followed,
        ..Word::new("dir", "dir = in", Operators::Equality, Fact::Direction)
    },
    Word {
        known: Known::Ended,
        ..Word::new("verdict", "verdict = refused", Operators::Equality, Fact::Verdict)
    },
    Word { known: Known::Ended, ..Word::new("failed", "failed", Operators::None, Fact::Failed) },
    Word {
        known: Known::Ended,
        ..Word::new("errno", "errno = ECONNREFUSED", Operators::Equality, Fact::Errno)
    },
    Word {
        known: Known::Followed,
        ..Word::quantity("lifetime", "lifetime < 1s", Quantity::Lifetime)
    },
    Word::quantity("bytes", "bytes > 1M", Quantity::Bytes),
    Word {
        aliases: &["sent"],
        ..Word::quantity("bytes_sent", "bytes_sent > 1M", Quantity::BytesSent)
    },
    Word {
        aliases: &["received"],
        ..Word::quantity("bytes_received", "bytes_received > 1M", Quantity::BytesReceived)
    },
    Word {
        aliases: &["retransmits"],
        ..Word::quantity("retrans", "retrans > 0", Quantity::Retransmits)
    },
    Word::quantity("rtt", "rtt > 100ms", Quantity::Rtt),
];

impl Word {
    const fn new(
        name: &'static str,
        example: &'static str,
        operators: Operators,
        fact: Fact,
    ) -> Self {
        let known = Known::Always;
        Self { name, aliases: &[], operators, example, known, fact }
    }

    const fn quantity(name: &'static str, example: &'static str, quantity: Quantity) -> Self {
        let word = Self::new(name, example, Operators::Order, Fact::Quantity(quantity));
        Self { known: Known::Measured, ..word }
    }

    /// Returns the word with a name, in capitals or not.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        WORDS.iter().find(|word| word.names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }

    /// Returns every name of every word.
    pub(super) fn all_names() -> impl Iterator<Item = &'static str> {
        WORDS.iter().flat_map(Self::names)
    }

    /// Fails if no row of a command can have the fact.
    pub(super) fn check(&self, rows: RowKind) -> Result<(), Bad> {
        let Self { name, example, .. } = self;
        let (reason, write) = match (self.known, rows) {
            (Known::Ended, RowKind::Socket | RowKind::PastSocket) => (
                "a listing has no connections that ended",
                format!("netmon history '{example}' for the past, netmon watch for the present"),
            ),
            (Known::Followed, RowKind::Socket) => (
                "the kernel does not keep who began a connection, and when",
                format!("netmon top '{example}', or add --at for a moment of a journal"),
            ),
            (Known::Measured, RowKind::PastSocket) => (
                "a journal has it only of connections that ended",
                format!("netmon history '{example}'"),
            ),
            _ => return Ok(()),
        };
        Err(Bad::new(format!("'{name}' is not known here: {reason}"), write))
    }
}

impl fmt::Display for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "",
            Self::Equality => "= !=",
            Self::Text => "= != ~ !~",
            Self::Order => "= != < > <= >=",
        })
    }
}
