//! The cells of a listing's row, each a pure function from data to bytes.

use std::io::Write;

use super::ListingNames;
use crate::{
    core::{
        escape::Escaped,
        socket::{Protocol, Socket, TcpInfo},
    },
    view::{
        language::Language,
        text::{host::Host, netns::Netns},
    },
};

pub(super) fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a number; `-` without a number.
pub(super) fn put_known(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => put_number(out, number),
        None => out.push(b'-'),
    }
}

pub(super) fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let _ = write!(out, "{}", Escaped(text));
}

/// Writes the address of a unix socket. An `@` at the beginning is of an abstract name: that of a
/// path is escaped.
pub(in crate::view) fn put_unix_path(out: &mut Vec<u8>, path: &[u8], is_abstract: bool) {
    match path.strip_prefix(b"@") {
        Some(rest) if !is_abstract => {
            out.extend_from_slice(b"\\u{40}");
            put_escaped(out, rest);
        }
        _ => put_escaped(out, path),
    }
}

/// Writes an address and its port.
pub(super) fn put_endpoint(
    out: &mut Vec<u8>,
    names: &mut ListingNames,
    protocol: Protocol,
    (host, port): (Host<'_>, u16),
) {
    match names.hosts.name(host.address) {
        Some(name) => {
            put_escaped(out, name.as_bytes());
            host.put_device(out);
        }
        None => host.put(out),
    }
    out.push(b':');
    match (port, names.services.name(protocol, port)) {
        (0, _) => out.push(b'*'),
        (_, Some(name)) => put_escaped(out, name.as_bytes()),
        (port, None) => put_number(out, u64::from(port)),
    }
}

/// Writes the timer as netstat does: its name, seconds left, retransmissions, probes.
pub(in crate::view) fn put_timer(out: &mut Vec<u8>, socket: &Socket, language: &Language) {
    let name = (language.timer)(socket.timer.map(|timer| timer.kind));
    let left = socket.timer.map_or(0.0, |timer| timer.left.as_secs_f64());
    let _ = write!(out, "{name} ({left:.2}/{}/{})", socket.retransmits, socket.probes);
}

/// Writes cookie, namespace and cgroup as `ss -e` does.
pub(super) fn put_identity(out: &mut Vec<u8>, socket: &Socket, names: &mut ListingNames) {
    if let Some(cookie) = socket.cookie {
        let _ = write!(out, " sk:{:x}", cookie.get());
    }
    let _ = write!(out, " netns:{}", Netns { own: None, ..names.netns(socket.tuple.netns) });
    if let Some(cgroup) = socket.cgroup {
        out.extend_from_slice(b" cgroup:");
        match names.cgroups.name(cgroup.get()) {
            Some(path) => put_escaped(out, path.as_bytes()),
            None => put_number(out, cgroup.get()),
        }
    }
}

/// Writes TCP's measurements as `ss -i` does.
pub(super) fn put_info(out: &mut Vec<u8>, info: &TcpInfo) {
    let ms = |us: u32| f64::from(us) / 1_000.0;
    if let Some(rtt) = info.rtt_us {
        let _ = write!(out, " rtt:{:.3}/{:.3}", ms(rtt), ms(info.rttvar_us));
    }
    let _ = write!(out, " rto:{} mss:{} cwnd:{}", ms(info.rto_us), info.mss, info.cwnd);
    if let Some(ssthresh) = info.ssthresh {
        let _ = write!(out, " ssthresh:{ssthresh}");
    }
    let _ = write!(
        out,
        " bytes_sent:{} bytes_retrans:{} bytes_acked:{} bytes_received:{} unacked:{} retrans:{}/{}",
        info.bytes_sent,
        info.bytes_retrans,
        info.bytes_acked,
        info.bytes_received,
        info.unacked,
        info.retrans_out,
        info.retransmits
    );
    if let Some(rate) = info.delivery_rate {
        let _ = write!(out, " delivery_rate:{}bps", rate.saturating_mul(8));
    }
}
