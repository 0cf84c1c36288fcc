//! The listing as JSON Lines: one object of type `connection` for each socket.
//!
//! An unknown value is absent, never 0 or "".
//!
//! | field | |
//! |---|---|
//! | `time` | beginning of the listing, or the moment of the past: RFC 3339, UTC |
//! | `host` | from a journal: the host that was recorded |
//! | `cookie` | the socket's cookie (`sk:` of `ss -e`, there in hexadecimal) |
//! | `netns` | inode number of the network namespace |
//! | `netns_name` | from a journal: the name of the namespace at that time |
//! | `interface` | number of the network device that the socket is bound to |
//! | `device` | name of that device; absent if it is not known |
//! | `v6only` | `true`: the socket waits for others, and takes IPv6 only |
//! | `proto` | `tcp`, `udp`, `raw` or `unix` |
//! | `family` | `ipv4` or `ipv6`, as on the wire; absent for unix |
//! | `local_addr`, `local_port` | the local end; for raw, the port is the IP protocol's number |
//! | `remote_addr`, `remote_port` | the other end; a listener has no `remote_port` |
//! | `state` | the kernel's name of the state; `CLOSE` for UDP without a connection |
//! | `recv_q`, `send_q` | bytes; of a listener, connections that wait, and the most that may wait |
//! | `uid`, `inode` | absent for TIME_WAIT buckets |
//! | `cgroup` | path of the cgroup v2 below its mount; absent for TIME_WAIT buckets |
//! | `cgroup_id` | id of the cgroup v2; absent for TIME_WAIT buckets |
//! | `timer` | the timer that runs: `on`, `keepalive`, `timewait` or `probe` |
//! | `timer_ms` | time that the timer has left, ms |
//! | `timer_retransmits` | how often the segment in flight was sent again by timeout |
//! | `timer_probes` | probes that were sent without an answer |
//! | `rtt_us`, `rttvar_us`, `rto_us` | with `-i`: round trip time, variation, timeout, µs |
//! | `mss` | with `-i`: maximum segment size, bytes |
//! | `cwnd`, `ssthresh` | with `-i`: congestion window, slow start threshold, segments |
//! | `unacked`, `retrans_out`, `retransmits` | with `-i`: segments |
//! | `bytes_sent`, `bytes_retrans`, `bytes_acked`, `bytes_received` | with `-i`: data bytes |
//! | `delivery_rate` | with `-i`: bytes a second |
//! | `owners` | with `-p`: a list of `{pid, host_pid, comm}`, every process that holds the socket |
//! | `references`, `kind`, `path` | unix only; an abstract name begins with `@` |
//! | `abstract` | unix only: `true` if `path` is an abstract name; a path may begin with `@` too |
//! | `peer` | unix only: the inode number of the other end |
//!
//! A unix socket has `kind` and `state` in the words of netstat.

use std::io::{self, Write};

use super::{ListingNames, ListingView};
use crate::{
    core::{
        escape::put_json_text,
        process::{Process, SocketHolders},
        socket::{Socket, TcpInfo, UnixSocket},
    },
    view::text::{json_object::JsonObject, output::Output},
};

/// Writes rows as JSON Lines.
pub struct JsonRows<W> {
    out: Output<W>,
    names: ListingNames,
    /// The beginning of every object: the type, the time and the host.
    head: String,
    owners: bool,
    /// The listing is of the past: objects have `netns_name`.
    is_past: bool,
}

impl<W: Write> JsonRows<W> {
    /// Writes to `to`. The listing began at `time`; with a `host`, the listing shows the past of
    /// `host` at `time`.
    pub fn new(
        to: W,
        names: ListingNames,
        time: &jiff::Timestamp,
        host: Option<&str>,
        owners: bool,
    ) -> Self {
        let mut head = format!("{{\"type\":\"connection\",\"time\":\"{time}\"");
        if let Some(host) = host {
            let mut json = Vec::new();
            put_json_text(host.as_bytes(), &mut json);
            head.push_str(",\"host\":");
            head.push_str(&String::from_utf8_lossy(&json));
        }
        Self { out: Output::new(to), names, head, owners, is_past: host.is_some() }
    }
}

impl<W: Write> ListingView for JsonRows<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        let mut object = JsonObject::begin(self.out.line()?, &self.head);
        if let Some(cookie) = socket.cookie {
            object.number(",\"cookie\":", cookie.get());
        }
        object.number(",\"netns\":", u64::from(socket.tuple.netns));
        if self.is_past
            && let Some(name) = self.names.namespaces.name(socket.tuple.netns)
        {
            object.text(",\"netns_name\":", name.as_bytes());
        }
        object.binding(&socket.tuple, &socket.binding);
        object.word(",\"proto\":\"", socket.protocol.name());
        let (local, remote) = (socket.tuple.local, socket.tuple.remote);
        object.word(",\"family\":\"", if local.is_ipv4() { "ipv4" } else { "ipv6" });
        object.address(",\"local_addr\":\"", local.ip());
        object.some(",\"local_port\":", Some(u64::from(local.port())).filter(|port| *port != 0));
        object.address(",\"remote_addr\":\"", remote.ip());
        object.some(",\"remote_port\":", Some(u64::from(remote.port())).filter(|port| *port != 0));
        object.word(",\"state\":\"", socket.state.name());
        object.some(",\"recv_q\":", socket.recv_q.map(u64::from));
        object.some(",\"send_q\":", socket.send_q.map(u64::from));
        object.some(",\"uid\":", socket.uid.map(u64::from));
        object.some(",\"inode\":", socket.inode.map(Into::into));
        if let Some(cgroup) = socket.cgroup {
            if let Some(path) = self.names.cgroups.name(cgroup.get()) {
                object.text(",\"cgroup\":", path.as_bytes());
            }
            object.number(",\"cgroup_id\":", cgroup.get());
        }
        if let Some(timer) = socket.timer {
            object.word(",\"timer\":\"", timer.kind.name());
            let ms = u64::try_from(timer.left.as_millis()).unwrap_or(u64::MAX);
            object.number(",\"timer_ms\":", ms);
            object.number(",\"timer_retransmits\":", u64::from(socket.retransmits));
            object.number(",\"timer_probes\":", u64::from(socket.probes));
        }
        if let Some(info) = &socket.info {
            put_info(&mut object, info);
        }
        if self.owners {
            put_owners(&mut object, &owners.of(socket.holder_key()));
        }
        object.end();
        Ok(())
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
        let mut object = JsonObject::begin(self.out.line()?, &self.head);
        if let Some(cookie) = socket.cookie {
            object.number(",\"cookie\":", cookie.get());
        }
        object.number(",\"netns\":", u64::from(socket.netns));
        object.raw(",\"proto\":\"unix\"");
        object.word(",\"kind\":\"", socket.kind_name());
        if !socket.state_name().is_empty() {
            object.word(",\"state\":\"", socket.state_name());
        }
        object.some(",\"references\":", socket.references.map(u64::from));
        object.some(",\"inode\":", socket.inode.map(Into::into));
        object.some(",\"peer\":", socket.peer.map(Into::into));
        if let Some(path) = &socket.path {
            object.text(",\"path\":", path);
            if socket.is_abstract {
                object.raw(",\"abstract\":true");
            }
        }
        if self.owners {
            put_owners(&mut object, &owners.of(socket.holder_key()));
        }
        object.end();
        Ok(())
    }

    fn finish(&mut self, _: &SocketHolders) -> io::Result<()> {
        self.out.flush()
    }
}

fn put_info(object: &mut JsonObject<'_>, info: &TcpInfo) {
    object.some(",\"rtt_us\":", info.rtt_us.map(u64::from));
    if info.rtt_us.is_some() {
        object.number(",\"rttvar_us\":", u64::from(info.rttvar_us));
    }
    object.number(",\"rto_us\":", u64::from(info.rto_us));
    object.number(",\"mss\":", u64::from(info.mss));
    object.number(",\"cwnd\":", u64::from(info.cwnd));
    object.some(",\"ssthresh\":", info.ssthresh.map(u64::from));
    object.number(",\"unacked\":", u64::from(info.unacked));
    object.number(",\"retrans_out\":", u64::from(info.retrans_out));
    object.number(",\"retransmits\":", u64::from(info.retransmits));
    object.number(",\"bytes_sent\":", info.bytes_sent);
    object.number(",\"bytes_retrans\":", info.bytes_retrans);
    object.number(",\"bytes_acked\":", info.bytes_acked);
    object.number(",\"bytes_received\":", info.bytes_received);
    object.some(",\"delivery_rate\":", info.delivery_rate);
}

fn put_owners(object: &mut JsonObject<'_>, owners: &[&Process]) {
    object.raw(",\"owners\":[");
    for (i, process) in owners.iter().enumerate() {
        object.raw(if i == 0 { "{" } else { ",{" });
        for (key, pid) in [("\"pid\":", process.pid), ("\"host_pid\":", process.host_pid)] {
            if pid != 0 {
                object.number(key, u64::from(pid));
                object.raw(",");
            }
        }
        object.text("\"comm\":", &process.comm);
        object.raw("}");
    }
    object.raw("]");
}
