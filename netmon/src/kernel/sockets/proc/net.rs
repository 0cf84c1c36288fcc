//! Parses a line of `/proc/net/tcp`, `tcp6`, `udp`, `udp6`, `raw` or `raw6`.
//!
//! The line is `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout
//! inode …`, as printed by `get_tcp4_sock`, `get_openreq4` and `get_timewait4_sock`
//! (net/ipv4/tcp_ipv4.c), `udp4_format_sock` (net/ipv4/udp.c), `raw_sock_seq_show` (net/ipv4/raw.c)
//! and their counterparts in net/ipv6. The columns after the inode differ between these functions;
//! netmon shows none of them.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    time::Duration,
};

use super::columns::{LineColumns, MalformedLine, decimal, hex, pair};
use crate::core::{
    id::{Binding, Tuple},
    socket::{Protocol, Socket, Timer, TimerKind},
    tcp::TcpState,
};

/// Milliseconds in a clock tick of user space, USER_HZ: 100 ticks a second on every machine.
const TICK: u64 = 10;

/// Parses one line, without its end, of the table of that protocol and family.
///
/// The kernel maps user ids into the user namespace of the process that opened the table.
///
/// # Errors
/// Fails for a line that the kernel does not write.
pub fn parse_inet(
    line: &[u8],
    protocol: Protocol,
    ipv6: bool,
    netns: u32,
) -> Result<Socket, MalformedLine> {
    let mut columns = LineColumns::of(line);
    columns.next("a number and a colon", label)?;
    let local = columns.next("a local address", |text| end(text, ipv6))?;
    let remote = columns.next("a remote address", |text| end(text, ipv6))?;
    let state = columns.next("a state", state)?;
    let (send_q, recv_q) = columns.next("tx_queue:rx_queue", queues)?;
    let timer = columns.next("a timer", timer)?;
    let retransmits = columns.next("retrnsmt", hex)?;
    let uid = columns.next("a user id", decimal)?;
    // The column has an old name, but shows icsk_probes_out.
    let probes = columns.next("timeout", decimal)?;
    let inode = columns.next("an inode", decimal)?;
    // This table does not have a listener's maximum.
    let is_listener = protocol == Protocol::Tcp && state == TcpState::Listen;
    let is_minisocket = timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    Ok(Socket {
        protocol,
        ipv6,
        tuple: Tuple { netns, interface: 0, local, remote },
        binding: Binding::default(),
        state,
        cookie: None,
        recv_q: Some(recv_q),
        send_q: (!is_listener).then_some(send_q),
        uid: (!is_minisocket).then_some(uid),
        inode: NonZeroU64::new(inode),
        cgroup: None,
        timer,
        retransmits,
        probes,
        info: None,
        row: None,
    })
}

/// Parses `sl`, printed as `%4d:`; the number grows with the table.
fn label(text: &[u8]) -> Option<u64> {
    decimal(text.strip_suffix(b":")?)
}

fn end(text: &[u8], ipv6: bool) -> Option<SocketAddr> {
    let (address, port) = text.split_at_checked(if ipv6 { 32 } else { 8 })?;
    let ip = if ipv6 { ipv6_address(address)? } else { IpAddr::from(word(address)?) };
    Some(SocketAddr::new(ip, hex(port.strip_prefix(b":")?)?))
}

/// Returns an IPv6 address; a v4-mapped one becomes the IPv4 address.
fn ipv6_address(text: &[u8]) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    for (bytes, text) in bytes.chunks_exact_mut(4).zip(text.chunks_exact(8)) {
        bytes.copy_from_slice(&word(text)?);
    }
    Some(Ipv6Addr::from(bytes).to_canonical())
}

/// Returns four bytes of an address. The kernel prints them as a number in this machine's byte
/// order.
fn word(text: &[u8]) -> Option<[u8; 4]> {
    hex(text).map(u32::to_ne_bytes)
}

/// Returns the state. A half-open connection is in SYN_RECV, though its request socket has
/// NEW_SYN_RECV.
fn state(text: &[u8]) -> Option<TcpState> {
    let state = TcpState::from_number(hex(text)?)?;
    Some(if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state })
}

fn queues(text: &[u8]) -> Option<(u32, u32)> {
    let (tx, rx) = pair(text)?;
    Some((hex(tx)?, hex(rx)?))
}

fn timer(text: &[u8]) -> Option<Option<Timer>> {
    let (code, ticks) = pair(text)?;
    let left = Duration::from_millis(hex::<u64>(ticks)?.saturating_mul(TICK));
    let kind = match hex(code)? {
        0u8 => return Some(None),
        1 => TimerKind::On,
        2 => TimerKind::Keepalive,
        3 => TimerKind::TimeWait,
        4 => TimerKind::Probe,
        _ => return None,
    };
    Some(Some(Timer { kind, left }))
}

#[cfg(test)]
mod tests;
