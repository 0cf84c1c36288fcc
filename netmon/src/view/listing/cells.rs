//! The cells of a listing's row, each a pure function from data to bytes.

use std::io::Write;

use super::ListingNames;
use crate::{
    core::{
        escape::{Escaped, EscapedName},
        process::Process,
        socket::{Protocol, Socket, TcpInfo, Timer},
    },
    view::text::host::Host,
};

/// Writes the bytes of `put`, and spaces up to `width` columns.
#[inline]
pub(in crate::view) fn put_left(out: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let used = columns_of(&out[start..]);
    out.resize(out.len() + width.saturating_sub(used), b' ');
}

/// Writes a space and a number, aligned to the right of `width` columns; `-` without a number.
#[inline]
pub(super) fn put_right(out: &mut Vec<u8>, width: usize, number: Option<u32>) {
    let mut digits = itoa::Buffer::new();
    let text = number.map_or("-", |number| digits.format(number));
    out.resize(out.len() + 1 + width.saturating_sub(text.len()), b' ');
    out.extend_from_slice(text.as_bytes());
}

pub(in crate::view) fn digits(number: Option<u32>) -> usize {
    number.map_or(1, |number| number.checked_ilog10().map_or(1, |log| log as usize + 1))
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let _ = write!(out, "{}", Escaped(text));
}

/// Writes the address of a unix socket. An `@` at the beginning is of an abstract name: that of a
/// path is escaped.
pub(super) fn put_unix_path(out: &mut Vec<u8>, path: &[u8], is_abstract: bool) {
    match path.strip_prefix(b"@") {
        Some(rest) if !is_abstract => {
            out.extend_from_slice(b"\\u{40}");
            put_escaped(out, rest);
        }
        _ => put_escaped(out, path),
    }
}

/// Returns the number of columns of the text. Each character counts as one column: names from
/// outside were escaped, and wide scripts are rare in names.
pub(super) fn columns_of(text: &[u8]) -> usize {
    if text.is_ascii() { text.len() } else { String::from_utf8_lossy(text).chars().count() }
}

/// Writes an address and its port; cuts the address if both do not fit `width`.
pub(super) fn put_endpoint(
    out: &mut Vec<u8>,
    names: &mut ListingNames,
    protocol: Protocol,
    (host, port): (Host<'_>, u16),
    width: usize,
) {
    let start = out.len();
    match names.hosts.name(host.address) {
        Some(name) => {
            put_escaped(out, name.as_bytes());
            host.put_device(out);
        }
        None => host.put(out),
    }
    let host = out.len();
    out.push(b':');
    match (port, names.services.name(protocol, port)) {
        (0, _) => out.push(b'*'),
        (_, Some(name)) => put_escaped(out, name.as_bytes()),
        (port, None) => put_number(out, u64::from(port)),
    }
    if width == usize::MAX || columns_of(&out[start..]) <= width {
        return;
    }
    let port = out.split_off(host);
    let text = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start);
    let room = width.saturating_sub(columns_of(&port) + 1);
    out.extend(text.chars().take(room).collect::<String>().bytes());
    out.extend_from_slice("…".as_bytes());
    out.extend_from_slice(&port);
}

/// Writes the first `most` processes, and the number of the others.
pub(super) fn put_owners(out: &mut Vec<u8>, owners: &[&Process], most: usize) {
    if owners.is_empty() {
        out.push(b'-');
    }
    for (i, process) in owners.iter().take(most).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match process.pid {
            0 => out.push(b'-'),
            pid => put_number(out, u64::from(pid)),
        }
        out.push(b'/');
        let _ = write!(out, "{}", EscapedName(&process.comm));
    }
    let others = owners.len().saturating_sub(most);
    if others > 0 {
        let _ = write!(out, ",+{others}");
    }
}

/// Writes the timer as netstat does: its name, seconds left, retransmissions, probes.
pub(super) fn put_timer(out: &mut Vec<u8>, socket: &Socket) {
    let (name, left) = match socket.timer {
        Some(Timer { kind, left }) => (kind.name(), left.as_secs_f64()),
        None => ("off", 0.0),
    };
    let _ = write!(out, "{name} ({left:.2}/{}/{})", socket.retransmits, socket.probes);
}

/// Writes cookie, namespace and cgroup as `ss -e` does.
pub(super) fn put_identity(out: &mut Vec<u8>, socket: &Socket, names: &mut ListingNames) {
    if let Some(cookie) = socket.cookie {
        let _ = write!(out, " sk:{:x}", cookie.get());
    }
    let _ = write!(out, " netns:{}", socket.tuple.netns);
    if let Some(cgroup) = socket.cgroup {
        out.extend_from_slice(b" cgroup:");
        match names.cgroups.name(cgroup.get()) {
            Some(path) => put_escaped(out, path.as_bytes()),
            None => put_number(out, cgroup.get()),
        }
    }
}

/// Writes TCP's measurements as `ss -i` does, on a line of their own.
pub(super) fn put_info(out: &mut Vec<u8>, info: &TcpInfo) {
    let ms = |us: u32| f64::from(us) / 1_000.0;
    out.push(b'\t');
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
    out.push(b'\n');
}

pub(in crate::view) fn end_line(out: &mut Vec<u8>) {
    while out.last() == Some(&b' ') {
        out.pop();
    }
    out.push(b'\n');
}
