//! The kinds of connections that a soak makes, each with the end that it is known to have.
//!
//! One thread has both ends of a connection and waits for each step, so that no race decides how a
//! connection ends.

use std::{
    io::{self, Read},
    net::{IpAddr, Shutdown, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::TcpFastOpenConnect};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, recv},
};
use socket2::{Domain, Socket, Type};

/// The longest time of a step. A machine that is busy with other work may need seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// TCP_USER_TIMEOUT of connections that time out.
const USER_TIMEOUT: Duration = Duration::from_millis(300);
/// The size of the receive buffers that a sender fills, and of the send buffers that do it.
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;
/// The first port that is tried for a listener, and the number of tries.
const FIRST_PORT: u16 = 7000;
const TRIES: u16 = 10_000;
const BACKLOG: i32 = 128;

/// The course of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The client closes first.
    ClientFirst,
    /// The server closes first.
    ServerFirst,
    /// The client closes its direction, and receives an answer after that.
    HalfClose,
    /// The client sends its data with the SYN.
    FastOpen,
    /// The client resets, by SO_LINGER 0.
    ResetByClient,
    /// The server resets, by SO_LINGER 0.
    ResetByServer,
    /// The client closes before it has read the data that came, which resets.
    Unread,
    /// The port has no listener.
    Refused,
    /// The client closes while the connect waits for an answer.
    Aborted,
    /// The listener ends before a process has accepted the connection.
    Unaccepted,
    /// Both sides close before either has the FIN of the other.
    Simultaneous,
    /// The server reads nothing until the client's data times out.
    Stalled,
    /// The connect times out.
    Unanswered,
}

impl Kind {
    /// Kinds that take no longer than their packets.
    pub(super) const QUICK: [Self; 10] = [
        Self::ClientFirst,
        Self::ServerFirst,
        Self::HalfClose,
        Self::FastOpen,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::Unread,
        Self::Refused,
        Self::Aborted,
        Self::Unaccepted,
    ];
    /// Kinds that wait for a timer of the kernel.
    pub(super) const SLOW: [Self; 3] = [Self::Simultaneous, Self::Stalled, Self::Unanswered];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClientFirst => "client-first",
            Self::ServerFirst => "server-first",
            Self::HalfClose => "half-close",
            Self::FastOpen => "fast-open",
            Self::ResetByClient => "reset-by-client",
            Self::ResetByServer => "reset-by-server",
            Self::Unread => "unread",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Unaccepted => "unaccepted",
            Self::Simultaneous => "simultaneous",
            Self::Stalled => "stalled",
            Self::Unanswered => "unanswered",
        }
    }

    /// Returns the verdicts of the client, and of the server if the connection reaches it.
    pub(super) const fn verdicts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::ClientFirst | Self::HalfClose | Self::FastOpen => {
                ("closed-locally", Some("closed-by-peer"))
            }
            Self::ServerFirst => ("closed-by-peer", Some("closed-locally")),
            Self::ResetByClient | Self::Unread => ("reset-locally", Some("reset-by-peer")),
            Self::ResetByServer | Self::Unaccepted => ("reset-by-peer", Some("reset-locally")),
            Self::Refused => ("refused", None),
            Self::Aborted => ("aborted", None),
            Self::Simultaneous => ("closed-locally", Some("closed-locally")),
            Self::Stalled => ("timed-out", Some("reset-locally")),
            Self::Unanswered => ("timed-out", None),
        }
    }

    /// Returns the length of the accept queue; none without a listener.
    const fn backlog(self) -> Option<i32> {
        match self {
            Self::Refused => None,
            // The queue takes one connection, and a later SYN gets no answer.
            Self::Aborted | Self::Unanswered => Some(0),
            _ => Some(BACKLOG),
        }
    }
}

/// A port that serves the connections of one kind and family.
pub(super) struct Service {
    pub(super) kind: Kind,
    /// The address as the sockets have it: `::ffff:127.0.0.1` where IPv6 sockets speak IPv4.
    address: SocketAddr,
    listener: Socket,
    /// The connection that fills an accept queue.
    filler: Option<Socket>,
}

impl Service {
    /// Takes the first free port of `ip`, and listens there if the kind has a listener.
    pub(super) fn new(kind: Kind, ip: IpAddr) -> io::Result<Self> {
        let listener = Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None)?;
        // A port that the kernel chooses would go with the first end of the listener.
        let mut ports = (FIRST_PORT..FIRST_PORT + TRIES).map(|port| SocketAddr::new(ip, port));
        let address = loop {
            let address = ports.next().ok_or_else(|| io::Error::other("no port is free"))?;
            match listener.bind(&address.into()) {
                Ok(()) => break address,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        };
        if matches!(kind, Kind::Simultaneous | Kind::Stalled) {
            // Accepted connections have the buffer of the listener.
            listener.set_recv_buffer_size(SMALL)?;
        }
        listener.set_read_timeout(Some(PATIENCE))?;
        let mut service = Self { kind, address, listener, filler: None };
        if let Some(backlog) = kind.backlog() {
            service.listener.listen(backlog)?;
        }
        if kind.backlog() == Some(0) {
            let filler = service.client()?;
            service.connect(&filler)?;
            service.until_queued()?;
            service.filler = Some(filler);
        }
        Ok(service)
    }

    /// Returns the address as netmon shows it.
    pub(super) fn shown(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip().to_canonical(), self.address.port())
    }

    /// Returns the family of the sockets and of their packets.
    pub(super) fn family(&self) -> &'static str {
        match (self.address, self.shown()) {
            (SocketAddr::V4(_), _) => "IPv4",
            (SocketAddr::V6(_), SocketAddr::V4(_)) => "v4-mapped",
            (SocketAddr::V6(_), SocketAddr::V6(_)) => "IPv6",
        }
    }

    /// Makes `count` connections, at the same time where the kind waits for a timeout.
    pub(super) fn make(&self, count: usize) -> io::Result<()> {
        match self.kind {
            Kind::Stalled => self.stall(count),
            Kind::Unanswered => self.go_unanswered(count),
            _ => (0..count).try_for_each(|_| self.one()),
        }
    }

    fn one(&self) -> io::Result<()> {
        match self.kind {
            Kind::Refused => return self.be_refused(),
            Kind::Aborted => return self.begin(None).map(drop),
            Kind::Unaccepted => {
                self.end_unaccepted()?;
                return self.listener.listen(BACKLOG);
            }
            Kind::FastOpen => return self.open_fast(),
            _ => {}
        }
        let (client, server) = self.pair()?;
        match self.kind {
            Kind::ServerFirst => {
                drop(server);
                until_closed(&client)?;
            }
            Kind::HalfClose => {
                client.shutdown(Shutdown::Write)?;
                until_closed(&server)?;
                server.send(b"answer")?;
                drop(server);
                until_closed(&client)?;
            }
            Kind::ResetByClient => {
                client.set_linger(Some(Duration::ZERO))?;
                drop(client);
                until_reset(&server)?;
            }
            Kind::ResetByServer => {
                server.set_linger(Some(Duration::ZERO))?;
                drop(server);
                until_reset(&client)?;
            }
            Kind::Unread => {
                server.send(b"unread")?;
                retry_on_intr(|| recv(&client, &mut [0], RecvFlags::PEEK))?;
                drop(client);
                until_reset(&server)?;
            }
            Kind::Simultaneous => {
                // The client's FIN waits behind data that the server has no room for.
                fill(&client)?;
                client.shutdown(Shutdown::Write)?;
                server.shutdown(Shutdown::Write)?;
                until_closed(&client)?;
                until_closed(&server)?;
            }
            _ => {
                drop(client);
                until_closed(&server)?;
            }
        }
        Ok(())
    }

    fn client(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        be_patient(&socket)?;
        Ok(socket)
    }

    fn connect(&self, socket: &Socket) -> io::Result<()> {
        socket.connect(&self.address.into())
    }

    fn pair(&self) -> io::Result<(Socket, Socket)> {
        let client = self.client()?;
        self.connect(&client)?;
        Ok((client, self.accept()?))
    }

    fn accept(&self) -> io::Result<Socket> {
        let (server, _) = self.listener.accept()?;
        be_patient(&server)?;
        Ok(server)
    }

    /// Begins a connect that gets no answer.
    fn begin(&self, timeout: Option<Duration>) -> io::Result<Socket> {
        let socket = self.client()?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_user_timeout(timeout)?;
        match self.connect(&socket) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                Ok(socket)
            }
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other("a full queue took a connection")),
        }
    }

    fn be_refused(&self) -> io::Result<()> {
        match self.connect(&self.client()?) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other("not refused")),
        }
    }

    fn open_fast(&self) -> io::Result<()> {
        let client = self.client()?;
        setsockopt(&client, TcpFastOpenConnect, &true)?;
        self.connect(&client)?;
        client.send(b"fast")?;
        let server = self.accept()?;
        drop(client);
        until_closed(&server)
    }

    fn end_unaccepted(&self) -> io::Result<()> {
        let client = self.client()?;
        self.connect(&client)?;
        self.end_listener(&client)
    }

    /// Ends the listener, and the connection in its queue with it. The port stays bound.
    fn end_listener(&self, client: &Socket) -> io::Result<()> {
        self.until_queued()?;
        self.listener.shutdown(Shutdown::Read)?;
        until_reset(client)
    }

    /// Waits until a connection is in the accept queue.
    fn until_queued(&self) -> io::Result<()> {
        until(&self.listener, PollFlags::IN)
    }

    fn stall(&self, count: usize) -> io::Result<()> {
        let pair = |_| {
            let (client, server) = self.pair()?;
            client.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            fill(&client)?;
            Ok((client, server))
        };
        let pairs: Vec<_> = (0..count).map(pair).collect::<io::Result<_>>()?;
        pairs.iter().try_for_each(|(client, _)| until_timed_out(client))
    }

    fn go_unanswered(&self, count: usize) -> io::Result<()> {
        let begin = |_| self.begin(Some(USER_TIMEOUT));
        let clients: Vec<_> = (0..count).map(begin).collect::<io::Result<_>>()?;
        clients.iter().try_for_each(until_timed_out)
    }

    /// Ends the service. Returns the kind of the last connection, if there was one.
    pub(super) fn end(self) -> io::Result<Option<Kind>> {
        let Some(filler) = &self.filler else { return Ok(None) };
        self.end_listener(filler)?;
        Ok(Some(Kind::Unaccepted))
    }
}

fn be_patient(socket: &Socket) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    // The timeout of writing is the timeout of the connect too.
    socket.set_write_timeout(Some(PATIENCE))
}

/// Sends as much as both buffers take.
fn fill(socket: &Socket) -> io::Result<()> {
    socket.set_send_buffer_size(LARGE)?;
    socket.set_nonblocking(true)?;
    let filled = loop {
        match socket.send(&[0; LARGE]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    socket.set_nonblocking(false)?;
    filled
}

/// Reads until the peer has closed its direction.
fn until_closed(mut socket: &Socket) -> io::Result<()> {
    io::copy(&mut socket, &mut io::sink()).map(drop)
}

/// Waits for a RST of the peer.
fn until_reset(mut socket: &Socket) -> io::Result<()> {
    match socket.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("not reset")),
    }
}

fn until_timed_out(socket: &Socket) -> io::Result<()> {
    until(socket, PollFlags::empty())?;
    match socket.take_error()? {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
        Some(error) => Err(error),
        None => Err(io::Error::other("not timed out")),
    }
}

/// Waits for `events`, or for an error of the socket.
fn until(socket: &Socket, events: PollFlags) -> io::Result<()> {
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let count = retry_on_intr(|| poll(&mut [PollFd::new(socket, events)], Some(&patience)))?;
    if count == 0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}
