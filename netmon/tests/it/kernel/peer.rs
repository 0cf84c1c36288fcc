//! A TCP peer made of raw frames: it sends segments that a kernel never would, and keeps still on
//! purpose.
//!
//! The wire is a veth pair in the test's namespace. The kernel under test has 10.9.0.1 on `d0`, and
//! the peer is 10.9.0.2. The permanent neighbour entry of the peer is a MAC that no interface has,
//! so no kernel answers for the peer.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use nix::{ifaddrs::getifaddrs, sys::socket::bind};
use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel::{
    harness::{patience, slow},
    netns::sh,
};

const LOCAL: [u8; 4] = [10, 9, 0, 1];
const PEER: [u8; 4] = [10, 9, 0, 2];
const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const WINDOW: u16 = 64_000;

/// Flags of a segment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
}

pub(crate) const ACK: Flags = Flags { syn: false, fin: false, rst: false };
pub(crate) const SYN: Flags = Flags { syn: true, ..ACK };
pub(crate) const FIN: Flags = Flags { fin: true, ..ACK };
pub(crate) const RST: Flags = Flags { rst: true, ..ACK };

/// The far end of the wire, which a test makes once, within its namespace.
pub(crate) struct Wire {
    socket: Socket,
}

impl Wire {
    pub(crate) fn new() -> Self {
        sh("ip link add d0 address 02:00:00:00:00:01 type veth peer name d1
            ip link set d1 up
            ip addr add 10.9.0.1/24 dev d0
            ip link set d0 up
            ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:99 dev d0 nud permanent");
        let ipv4 = Protocol::from(i32::from(0x0800_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(ipv4)).expect("a packet socket");
        let link = getifaddrs()
            .expect("interfaces")
            .filter(|interface| interface.interface_name == "d1")
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .expect("d1");
        bind(socket.as_raw_fd(), &link).expect("bound to d1");
        Self { socket }
    }

    /// Asks a listener of the kernel for a connection that the peer will never complete.
    pub(crate) fn knock(&mut self, from: u16, to: u16) {
        self.send(from, to, 1, None, SYN, b"");
    }

    /// Sends data with a SYN: TCP Fast Open without a cookie.
    pub(crate) fn open_fast(&mut self, from: u16, to: u16) {
        self.send(from, to, 1, None, SYN, b"early");
    }

    /// Completes the handshake of [`Self::open_fast`]. `isn` is of [`Self::take_syn`].
    pub(crate) fn complete(&mut self, from: u16, to: u16, isn: u32) {
        self.send(from, to, 7, Some(isn.wrapping_add(1)), ACK, b"");
    }

    /// Waits for the kernel's SYN to `port`. Returns its sequence number.
    pub(crate) fn take_syn(&mut self, port: u16) -> u32 {
        self.receive(port, |tcp| tcp.syn).1
    }

    fn send(&mut self, from: u16, to: u16, seq: u32, ack: Option<u32>, flags: Flags, data: &[u8]) {
        let mut builder = PacketBuilder::ethernet2(PEER_MAC, LOCAL_MAC)
            .ipv4(PEER, LOCAL, 64)
            .tcp(from, to, seq, WINDOW);
        if let Some(ack) = ack {
            builder = builder.ack(ack);
        }
        if flags.syn {
            builder = builder.syn();
        }
        if flags.fin {
            builder = builder.fin();
        }
        if flags.rst {
            builder = builder.rst();
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, data).expect("a frame");
        self.socket.write_all(&frame).expect("sent");
    }

    /// Waits for a segment to `port` for which `wanted` holds. Returns its source port and sequence
    /// number.
    fn receive(
        &mut self,
        port: u16,
        wanted: impl Fn(&etherparse::TcpHeader) -> bool,
    ) -> (u16, u32) {
        let segment = self.receive_until(Instant::now() + patience(), port, wanted);
        segment.expect("the kernel did not send what the peer waits for")
    }

    /// Waits like [`Self::receive`]. Returns nothing if no such segment comes before `end`.
    fn receive_until(
        &mut self,
        end: Instant,
        port: u16,
        wanted: impl Fn(&etherparse::TcpHeader) -> bool,
    ) -> Option<(u16, u32)> {
        let mut frame = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            let length = match self.socket.read(&mut frame) {
                Ok(length) => length,
                // The kernel does not restart a read that has a timeout: any signal with a handler
                // interrupts it, and so does SIGCONT after a stop.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let Ok(packet) = SlicedPacket::from_ethernet(&frame[..length]) else { continue };
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { continue };
            let tcp = tcp.to_header();
            if tcp.destination_port == port && wanted(&tcp) {
                return Some((tcp.source_port, tcp.sequence_number));
            }
        }
    }
}

/// A connection of the kernel to the peer.
pub(crate) struct Connection<'w> {
    wire: &'w mut Wire,
    /// The kernel's end.
    pub(crate) socket: Socket,
    port: u16,
    kernel_port: u16,
    /// The next sequence number of the peer.
    next: u32,
    /// The next sequence number of the kernel, as acknowledged by the peer.
    acknowledged: u32,
}

impl<'w> Connection<'w> {
    /// Connects: the handshake is done when this returns.
    pub(crate) fn new(wire: &'w mut Wire, port: u16) -> Self {
        Self::bound(wire, port, None)
    }

    /// Connects like [`Self::new`], from a socket that is bound to a device.
    pub(crate) fn bound(wire: &'w mut Wire, port: u16, device: Option<&str>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind_device(device.map(str::as_bytes)).expect("SO_BINDTODEVICE");
        socket.set_nonblocking(true).expect("non-blocking");
        let address = SocketAddr::from((Ipv4Addr::from(PEER), port));
        let result = socket.connect(&address.into());
        assert_eq!(result.expect_err("no answer yet").raw_os_error(), Some(libc::EINPROGRESS));
        let (kernel_port, isn) = wire.receive(port, |tcp| tcp.syn);
        let mut connection =
            Self { wire, socket, port, kernel_port, next: 1000, acknowledged: isn.wrapping_add(1) };
        let is_done = |tcp: &etherparse::TcpHeader| tcp.ack && !tcp.syn;
        let end = Instant::now() + patience();
        while {
            connection.send(SYN, b"");
            // The kernel drops segments where its queue is full, by other tests on the same CPU.
            let again = Instant::now() + slow(Duration::from_secs(1));
            connection.wire.receive_until(again, port, is_done).is_none()
        } {
            assert!(Instant::now() < end, "the kernel does not take the answer to its SYN");
        }
        connection.next += 1;
        connection.socket.set_nonblocking(false).expect("blocking");
        connection
    }

    /// Sends a segment that repeats the last acknowledgement.
    pub(crate) fn send(&mut self, flags: Flags, data: &[u8]) {
        let ack = Some(self.acknowledged);
        self.wire.send(self.port, self.kernel_port, self.next, ack, flags, data);
    }

    /// Takes the kernel's FIN, which later segments acknowledge.
    pub(crate) fn take_fin(&mut self) {
        let (_, seq) = self.wire.receive(self.port, |tcp| tcp.fin);
        self.acknowledged = seq.wrapping_add(1);
    }

    /// Takes the kernel's FIN, which later segments do not acknowledge, unlike [`Self::take_fin`].
    pub(crate) fn see_fin(&mut self) {
        self.wire.receive(self.port, |tcp| tcp.fin);
    }

    /// Leaves the wire to other connections. Returns the kernel's end, which stays as it is.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Adds the sequence space that sent segments took up to the peer's next sequence number.
    pub(crate) fn advance(&mut self, by: u32) {
        self.next = self.next.wrapping_add(by);
    }
}
