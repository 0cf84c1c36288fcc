//! The mix that `converge` runs: connections that begin and end in every way, as fast as it goes.
//!
//! Each process is either a client or a server and has addresses of its own. Every socket that a
//! process makes has one of these addresses as its local address, which so identifies the process.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::Args;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, recv},
};
use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

/// The port where servers accept connections.
const OPEN: u16 = 7000;
/// The port where servers listen with a full queue: a SYN gets no answer.
const FULL: u16 = 7001;
/// The port without a listener.
const CLOSED: u16 = 7002;
/// Threads of each client, and of each listener: more than one, so that a thread that waits does
/// not stop everything.
const THREADS: usize = 2;
/// The timeout of a step, longer than a step should take, so that nothing waits for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time that servers stay longer than clients, for connections of the last moment.
const GRACE: Duration = Duration::from_secs(10);
/// The time until some ports in TIME_WAIT are free again.
const PAUSE: Duration = Duration::from_millis(20);
/// Errors that a process prints at most: there may be millions.
const SHOWN: u64 = 3;

/// The identity of a process, which determines its addresses.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of the namespace
    #[arg(long)]
    pub(crate) network: u8,
    /// Number of the process in the namespace
    #[arg(long)]
    pub(crate) host: u8,
}

impl Place {
    /// Returns an address of each family. All of 127.0.0.0/8 is on the loopback; the IPv6 address
    /// has to be added to it.
    pub(crate) fn addresses(self) -> [IpAddr; 2] {
        [
            Ipv4Addr::new(127, self.network.wrapping_add(10), self.host, 1).into(),
            Ipv6Addr::new(0xfd00, self.network.into(), self.host.into(), 0, 0, 0, 0, 1).into(),
        ]
    }
}

#[derive(Args, Debug)]
pub(crate) struct Mix {
    #[command(flatten)]
    place: Place,
    /// A host of the same namespace to connect to; by default, the process serves
    #[arg(long)]
    server: Vec<u8>,
    /// Length of the mix; it ends sooner when its standard input ends
    #[arg(long)]
    seconds: u64,
}

impl Mix {
    /// Serves or connects until the end. Then prints the number of connections of each kind, as a
    /// JSON object.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(self.seconds);
        let counts = if self.server.is_empty() {
            serve(self.place, limit + GRACE)?
        } else {
            self.connect(limit)?
        };
        println!("{}", json!(counts));
        Ok(())
    }

    fn connect(&self, limit: Duration) -> anyhow::Result<Counts> {
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            let thread = |first| scope.spawn(move || self.churn(first, stop));
            let threads: Vec<_> = (0..THREADS).map(thread).collect();
            let waited = wait(limit);
            stop.store(true, Ordering::Relaxed);
            let mut counts = Counts::new();
            for thread in threads {
                let of_thread = thread.join().map_err(|_| anyhow!("a client panicked"))?;
                add(&mut counts, of_thread);
            }
            waited?;
            Ok(counts)
        })
    }

    /// Makes one connection after the other: every kind in turn, then another server and family.
    fn churn(&self, first: usize, stop: &AtomicBool) -> Counts {
        let ends: Vec<(IpAddr, IpAddr)> = (self.server.iter())
            .map(|&host| Place { host, ..self.place }.addresses())
            .flat_map(|servers| self.place.addresses().into_iter().zip(servers))
            .collect();
        let mut counts = Counts::new();
        for (from, to) in ends.into_iter().cycle().skip(first) {
            for kind in Kind::ALL {
                if stop.load(Ordering::Relaxed) {
                    return counts;
                }
                match one(kind, from, to) {
                    Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                        bump(&mut counts, EXHAUSTED);
                        thread::sleep(PAUSE);
                        continue;
                    }
                    Err(error) if bump(&mut counts, ERRORS) <= SHOWN => {
                        eprintln!("mix: {from} to {to}, {}: {error}", kind.name());
                    }
                    _ => {}
                }
                bump(&mut counts, kind.name());
            }
        }
        counts
    }
}

/// The count of connections that failed.
pub(crate) const ERRORS: &str = "errors";
/// The count of connects for which no port was left.
pub(crate) const EXHAUSTED: &str = "ports-exhausted";

/// The number of connections of each kind.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Adds `more` to `sum`.
pub(crate) fn add(sum: &mut Counts, more: Counts) {
    for (name, count) in more {
        *sum.entry(name).or_default() += count;
    }
}

fn bump(counts: &mut Counts, name: &str) -> u64 {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
        return *count;
    }
    counts.insert(name.to_owned(), 1);
    1
}

/// The course of a connection. The first byte of the client names the kind to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The client closes first.
    ClientFirst,
    /// The server closes first.
    ServerFirst,
    /// SO_LINGER 0: the client resets.
    Reset,
    /// The port has no listener.
    Refused,
    /// The client closes its direction, and receives an answer after that.
    HalfClose,
    /// The client closes before it has read the data that came, which resets too.
    Unread,
    /// The client closes right after a non-blocking connect, which the loopback completes at once.
    Hasty,
    /// The client closes right after a non-blocking connect that gets no answer.
    Unanswered,
}

impl Kind {
    /// All kinds. Kinds whose client waits at the end stand between kinds whose client does not.
    /// Otherwise the accept queues would overflow, and SYNs would wait a second to be sent again.
    pub(crate) const ALL: [Self; 8] = [
        Self::ClientFirst,
        Self::ServerFirst,
        Self::Reset,
        Self::Refused,
        Self::HalfClose,
        Self::Unread,
        Self::Hasty,
        Self::Unanswered,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ClientFirst => "client-first",
            Self::ServerFirst => "server-first",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::HalfClose => "half-close",
            Self::Unread => "unread",
            Self::Hasty => "hasty",
            Self::Unanswered => "unanswered",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Refused => CLOSED,
            Self::Unanswered => FULL,
            _ => OPEN,
        }
    }
}

/// Makes the client's part of one connection.
fn one(kind: Kind, from: IpAddr, to: IpAddr) -> io::Result<()> {
    let socket = socket_at(from)?;
    let to = SocketAddr::new(to, kind.port()).into();
    if matches!(kind, Kind::Hasty | Kind::Unanswered) {
        socket.set_nonblocking(true)?;
        return match socket.connect(&to) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(()),
            other => other,
        };
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    // The timeout of writing is the timeout of the connect too.
    socket.set_write_timeout(Some(PATIENCE))?;
    match (kind, socket.connect(&to)) {
        (Kind::Refused, Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Ok(());
        }
        (Kind::Refused, Ok(())) => return Err(io::Error::other("not refused")),
        (_, result) => result?,
    }
    let mut stream = TcpStream::from(socket);
    stream.write_all(&[kind as u8])?;
    match kind {
        Kind::ServerFirst => read_all(&mut stream)?,
        Kind::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO))?,
        Kind::HalfClose => {
            stream.shutdown(std::net::Shutdown::Write)?;
            read_all(&mut stream)?;
        }
        Kind::Unread => {
            retry_on_intr(|| recv(&stream, &mut [0], RecvFlags::PEEK))?;
        }
        Kind::ClientFirst | Kind::Refused | Kind::Hasty | Kind::Unanswered => {}
    }
    Ok(())
}

/// Returns a socket that will connect from `from`.
pub(crate) fn socket_at(from: IpAddr) -> io::Result<Socket> {
    let from = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None)?;
    // The port is chosen at the connect, and may be the port of a connection to somewhere else. A
    // port that is chosen at the bind would have to be one that no other socket has.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&from.into())?;
    Ok(socket)
}

/// Reads to the end of the stream. A signal interrupts a read with a timeout, but not this
/// function.
fn read_all(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

fn serve(place: Place, limit: Duration) -> anyhow::Result<Counts> {
    let counts = Arc::new([const { AtomicU64::new(0) }; 2]);
    let mut full = Vec::new();
    for address in place.addresses() {
        let listener = listen(address, FULL, 0).context("listening")?;
        // The queue takes one connection, which this process makes itself.
        let filler = socket_at(address)?;
        filler.connect(&SocketAddr::new(address, FULL).into()).context("filling a queue")?;
        full.push((listener, filler));
        let listener = Arc::new(listen(address, OPEN, 4096).context("listening")?);
        for _ in 0..THREADS {
            let (listener, counts) = (Arc::clone(&listener), Arc::clone(&counts));
            // The threads are never joined: they wait for a connection when this process ends.
            thread::spawn(move || accept(&listener, &counts));
        }
    }
    println!("ready");
    io::stdout().flush()?;
    wait(limit)?;
    let [accepted, errors] = [0, 1].map(|which: usize| counts[which].load(Ordering::Relaxed));
    Ok([("accepted".to_owned(), accepted), ("server-errors".to_owned(), errors)].into())
}

fn listen(address: IpAddr, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, [accepted, errors]: &[AtomicU64; 2]) {
    loop {
        let result = listener.accept().and_then(|(stream, _)| {
            accepted.fetch_add(1, Ordering::Relaxed);
            answer(stream)
        });
        match result {
            Err(error) if is_reset(&error) => {}
            Err(error) if errors.fetch_add(1, Ordering::Relaxed) < SHOWN => {
                eprintln!("mix: serving: {error}");
            }
            _ => {}
        }
    }
}

/// Returns whether the error comes from the client's RST, which some kinds send.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Makes the server's part of one connection.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    match stream.read_exact(&mut byte) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        result => result?,
    }
    match Kind::ALL.into_iter().find(|kind| *kind as u8 == byte[0]) {
        Some(Kind::ServerFirst) => Ok(()),
        Some(Kind::HalfClose) => {
            read_all(&mut stream)?;
            stream.write_all(b"!")
        }
        Some(Kind::Unread) => {
            stream.write_all(b"unread")?;
            read_all(&mut stream)
        }
        _ => read_all(&mut stream),
    }
}

/// Waits for the end of `limit`, or of standard input.
fn wait(limit: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    let stdin = io::stdin();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("a time")?;
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left)) {
            // A signal is no end.
            Err(Errno::INTR) => {}
            result => return result.map(drop).context("waiting"),
        }
    }
}
