//! Counts instead of rows: by state or verdict, process, remote address, port and user.
//!
//! JSON Lines: objects of type `summary`, in the order of the table; `docs/netmon.schema.json`
//! describes the fields. A socket of several processes counts for each process. The port of a
//! service is the local port where a socket listens, and the remote port of any other connection.
//!
//! Text has the same rows, of each table the ten largest.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    language::Language,
    listing::{ListingView, name_cache::NameCache},
    palette::{Palette, Tone},
    text::{
        json_object::JsonObject,
        layout::{Form, cut, end_line},
        output::Output,
        width::columns_of,
    },
};
use crate::core::{
    connection::{Connection, Direction},
    escape::{Escaped, EscapedName},
    id::Tuple,
    process::{Owner, PidText, Process, SocketHolders},
    services::Services,
    socket::{Protocol, Socket, UnixSocket},
    tcp::TcpState,
    verdict::Verdict,
};

/// The most rows of a table in text.
const ROWS: usize = 10;

/// The form of a summary.
pub struct SummaryForm {
    /// JSON Lines instead of text.
    pub json: bool,
    /// Sockets are counted by owner too.
    pub owners: bool,
    /// Names of ports.
    pub services: Services,
    /// Names of user ids.
    pub users: NameCache<u32>,
    /// The columns of the terminal that lines must fit; none for a file or a pipe.
    pub terminal: Option<usize>,
    /// States and verdicts have colours.
    pub colour: bool,
    /// The language of the text.
    pub language: &'static Language,
}

/// The subject of a count.
enum Subject<'a> {
    State(Protocol, bool, TcpState),
    Unix,
    Verdict(Verdict),
    Process(&'a Process),
    Unowned,
    Remote(IpAddr),
    Port(Protocol, u16),
    User(u32, Option<String>),
}

/// The counts of a table.
type Counts<'a> = Vec<(Subject<'a>, u64)>;

/// Counts rows, and writes the counts at the end.
pub struct Summary<W> {
    out: Output<W>,
    form: SummaryForm,
    /// The heading over the counts.
    what: &'static str,
    total: u64,
    states: BTreeMap<(Protocol, bool, TcpState), u64>,
    unix: u64,
    verdicts: FxHashMap<Verdict, u64>,
    processes: BTreeMap<Process, u64>,
    unowned: u64,
    remotes: FxHashMap<IpAddr, u64>,
    /// By protocol, local port and remote port, until every listening port is known.
    ports: FxHashMap<(Protocol, u16, u16), u64>,
    listening: FxHashSet<(Protocol, u16)>,
    users: FxHashMap<u32, u64>,
    /// Names that rows of a journal have.
    names: FxHashMap<u32, Arc<str>>,
}

impl<W: Write> Summary<W> {
    /// Writes to `to`. `what` is the heading over the counts: sockets or connections.
    pub fn new(to: W, what: &'static str, form: SummaryForm) -> Self {
        Self {
            out: Output::new(to),
            form,
            what,
            total: 0,
            states: BTreeMap::new(),
            unix: 0,
            verdicts: FxHashMap::default(),
            processes: BTreeMap::new(),
            unowned: 0,
            remotes: FxHashMap::default(),
            ports: FxHashMap::default(),
            listening: FxHashSet::default(),
            users: FxHashMap::default(),
            names: FxHashMap::default(),
        }
    }

    fn count_owners(&mut self, owners: &[&Process]) {
        self.unowned += u64::from(owners.is_empty());
        for process in owners {
            // Looked up by reference: a copy of the name for each socket would cost more than
            // counting.
            match self.processes.get_mut(*process) {
                Some(count) => *count += 1,
                None => {
                    self.processes.insert((*process).clone(), 1);
                }
            }
        }
    }

    fn count_ends(&mut self, protocol: Protocol, tuple: &Tuple, listens: bool) {
        let (local, remote) = (tuple.local.port(), tuple.remote);
        if listens {
            self.listening.insert((protocol, local));
        }
        if !remote.ip().is_unspecified() {
            *self.remotes.entry(remote.ip()).or_default() += 1;
        }
        *self.ports.entry((protocol, local, remote.port())).or_default() += 1;
    }

    /// Counts a connection by its verdict; without a verdict, by its state.
    pub(crate) fn connection(&mut self, row: &Connection) {
        self.total += 1;
        match row.verdict {
            Some(verdict) => *self.verdicts.entry(verdict).or_default() += 1,
            None => {
                let state = (Protocol::Tcp, row.tuple.local.is_ipv6(), row.state);
                *self.states.entry(state).or_default() += 1;
            }
        }
        match &row.owner {
            Some(owner) => {
                let Owner { pid, host_pid, .. } = **owner;
                self.count_owners(&[&Process {
                    pid,
                    host_pid,
                    comm: owner.comm.clone(),
                    known: None,
                    cgroup: None,
                }]);
                *self.users.entry(owner.uid).or_default() += 1;
                if let Some(name) = row.labels.as_ref().and_then(|labels| labels.user.as_ref()) {
                    self.names.entry(owner.uid).or_insert_with(|| Arc::clone(name));
                }
            }
            None => self.count_owners(&[]),
        }
        let direction = row.direction.or(row.inferred_direction);
        let listens = direction == Some(Direction::Inbound);
        self.count_ends(Protocol::Tcp, &row.tuple, listens);
    }

    /// Writes the counts.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let mut ports = FxHashMap::<_, u64>::default();
        for (&(protocol, local, remote), count) in &self.ports {
            let serves = remote == 0 || self.listening.contains(&(protocol, local));
            *ports.entry((protocol, if serves { local } else { remote })).or_default() += count;
        }
        let states = self.states.iter().map(|(key, count)| (*key, *count));
        let mut states =
            subjects(states, |(protocol, ipv6, state)| Subject::State(protocol, ipv6, state));
        states.extend((self.unix > 0).then_some((Subject::Unix, self.unix)));
        let mut processes = Counts::new();
        if self.form.owners {
            processes = subjects(sorted(&self.processes), Subject::Process);
            processes.extend((self.unowned > 0).then_some((Subject::Unowned, self.unowned)));
        }
        let (recorded, names) = (&self.names, &mut self.form.users);
        let user = |uid: &u32| {
            let name = match recorded.get(uid) {
                Some(name) => Some(&**name),
                None => names.name(*uid),
            };
            Subject::User(*uid, name.map(str::to_owned))
        };
        let Language { headings, summary: words, .. } = self.form.language;
        // Verdicts are in the summary of `history` alone, which is in English.
        let tables = [
            (headings.state, states),
            ("Verdict", subjects(sorted(&self.verdicts), |verdict| Subject::Verdict(*verdict))),
            (headings.program, processes),
            (words.remote_address, subjects(sorted(&self.remotes), |ip| Subject::Remote(*ip))),
            (
                words.port,
                subjects(sorted(&ports), |(protocol, port)| Subject::Port(*protocol, *port)),
            ),
            (headings.user, subjects(sorted(&self.users), user)),
        ];
        let out = self.out.line()?;
        if self.form.json {
            for (subject, count) in tables.iter().flat_map(|(_, rows)| rows) {
                subject.put_json(out, *count);
            }
        } else {
            put_tables(out, &self.form, (self.what, self.total), &tables);
        }
        self.out.flush()
    }
}

/// Returns counts in the order of their size, the largest first, and then of their keys.
fn sorted<'a, K: Ord + 'a>(
    counts: impl IntoIterator<Item = (&'a K, &'a u64)>,
) -> impl Iterator<Item = (&'a K, u64)> {
    let mut counts: Vec<_> = counts.into_iter().map(|(key, count)| (key, *count)).collect();
    counts.sort_unstable_by_key(|(key, count)| (Reverse(*count), *key));
    counts.into_iter()
}

fn subjects<'a, K>(
    counts: impl Iterator<Item = (K, u64)>,
    mut subject: impl FnMut(K) -> Subject<'a>,
) -> Counts<'a> {
    counts.map(|(key, count)| (subject(key), count)).collect()
}

impl Subject<'_> {
    /// Returns the text of the subject, and its meaning.
    fn text(&self, services: &Services, language: &Language) -> (String, Tone) {
        let text = match self {
            Self::State(protocol, ipv6, state) => {
                let proto = format!("{}{}", protocol.name(), if *ipv6 { "6" } else { "" });
                return (
                    format!("{proto:<5} {}", (language.state)(*state)),
                    Tone::of_state(*state),
                );
            }
            Self::Verdict(verdict) => return (verdict.to_string(), Tone::of_verdict(*verdict)),
            Self::Unix => "unix".to_owned(),
            Self::Process(process) => {
                format!("{}/{}", PidText(process.pid), EscapedName(&process.comm))
            }
            Self::Unowned => "-".to_owned(),
            Self::Remote(address) => address.to_string(),
            Self::Port(protocol, port) => match services.name(*protocol, *port) {
                Some(name) => format!("{:<5} {}", protocol.name(), Escaped(name.as_bytes())),
                None => format!("{:<5} {port}", protocol.name()),
            },
            Self::User(_, Some(name)) => Escaped(name.as_bytes()).to_string(),
            Self::User(uid, None) => uid.to_string(),
        };
        (text, Tone::Plain)
    }

    fn put_json(&self, out: &mut Vec<u8>, count: u64) {
        let mut object = JsonObject::begin(out, "{\"type\":\"summary\"");
        match self {
            Self::State(protocol, ipv6, state) => {
                object.word(",\"proto\":\"", protocol.name());
                object.word(",\"family\":\"", if *ipv6 { "ipv6" } else { "ipv4" });
                object.word(",\"state\":\"", state.name());
            }
            Self::Unix => object.word(",\"proto\":\"", "unix"),
            Self::Verdict(verdict) => object.word(",\"verdict\":\"", verdict.name()),
            Self::Process(process) => {
                object.process(process.pid, process.host_pid, &process.comm);
            }
            Self::Unowned => object.raw(",\"unowned\":true"),
            Self::Remote(address) => object.address(",\"remote_addr\":\"", *address),
            Self::Port(protocol, port) => {
                object.word(",\"proto\":\"", protocol.name());
                object.number(",\"port\":", (*port).into());
            }
            Self::User(uid, name) => {
                object.number(",\"uid\":", (*uid).into());
                object.name(",\"user\":", name.as_deref());
            }
        }
        object.number(",\"count\":", count);
        object.end();
    }
}

/// Writes the tables with all counts in one column.
fn put_tables(
    out: &mut Vec<u8>,
    form: &SummaryForm,
    (what, total): (&str, u64),
    tables: &[(&str, Counts<'_>)],
) {
    let palette = Palette { colour: form.colour };
    let words = &form.language.summary;
    let texts: Vec<Vec<_>> = tables
        .iter()
        .map(|(_, rows)| {
            let rows = rows.iter().take(ROWS);
            rows.map(|row| row.0.text(&form.services, form.language)).collect()
        })
        .collect();
    let number = columns_of(what.as_bytes()).max(total.to_string().len());
    let headings = tables.iter().map(|(heading, _)| columns_of(heading.as_bytes()));
    let names = texts.iter().flatten().map(|(text, _)| columns_of(text.as_bytes()));
    let name = headings.chain(names).max().unwrap_or(0);
    let name = form.terminal.map_or(name, |terminal| name.min(terminal.saturating_sub(number + 1)));
    let mut line = |text: &str, tone, count: &str| {
        let text = cut(text, name, Form::Text);
        palette.put(out, tone, |out| out.extend_from_slice(text.as_bytes()));
        let pad = name - columns_of(text.as_bytes()) + number
            - columns_of(count.as_bytes()).min(number)
            + 1;
        out.resize(out.len() + pad, b' ');
        palette.put(out, if tone == Tone::Heading { tone } else { Tone::Plain }, |out| {
            out.extend_from_slice(count.as_bytes());
        });
        end_line(out);
    };
    line(words.total, Tone::Heading, &total.to_string());
    for ((heading, rows), texts) in
        tables.iter().zip(&texts).filter(|(table, _)| !table.1.is_empty())
    {
        line("", Tone::Plain, "");
        line(heading, Tone::Heading, what);
        for ((_, count), (text, tone)) in rows.iter().zip(texts) {
            line(text, *tone, &count.to_string());
        }
        let others = &rows[texts.len()..];
        if !others.is_empty() {
            let count: u64 = others.iter().map(|(_, count)| count).sum();
            line(&format!("{} {}", others.len(), words.others), Tone::Quiet, &count.to_string());
        }
    }
}

impl<W: Write> ListingView for Summary<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        self.total += 1;
        *self.states.entry((socket.protocol, socket.ipv6, socket.state)).or_default() += 1;
        if let Some(uid) = socket.uid {
            *self.users.entry(uid).or_default() += 1;
        }
        self.count_ends(socket.protocol, &socket.tuple, socket.is_listening());
        if self.form.owners {
            self.count_owners(&owners.of(socket.holder_key()));
        }
        Ok(())
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
        (self.total, self.unix) = (self.total + 1, self.unix + 1);
        if self.form.owners {
            self.count_owners(&owners.of(socket.holder_key()));
        }
        Ok(())
    }

    fn finish(&mut self, _: &SocketHolders) -> io::Result<()> {
        self.write()
    }
}
