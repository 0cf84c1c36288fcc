//! The listing as JSON Lines: one object of type `connection` for each socket.
//!
//! `docs/netmon.schema.json` describes every field. A unix socket has `kind` and `state` in the
//! words of netstat.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{ListingNames, ListingView};
use crate::{
    core::{
        connection::Direction,
        id::SocketId,
        process::{Evidence, Process, SocketHolders},
        socket::{Socket, TcpInfo, UnixSocket},
        tcp::TcpState,
        time::Anchor,
    },
    view::{
        changes::{
            json::{JsonContext, put_row},
            owner_fields::put_path,
        },
        text::{json_object::JsonObject, output::Output},
    },
};

/// Writes rows as JSON Lines.
pub struct JsonRows<W> {
    out: Output<W>,
    names: ListingNames,
    context: JsonContext,
    /// The beginning of every object: the type and the time.
    head: String,
    owners: bool,
}

impl<W: Write> JsonRows<W> {
    /// Writes to `to`. The listing began at `time`; with a host, it shows the past of the host at
    /// `time`, and the anchor ties the clocks of that time.
    pub fn new(
        to: W,
        names: ListingNames,
        time: &jiff::Timestamp,
        past: Option<(Arc<str>, Anchor)>,
        owners: bool,
    ) -> Self {
        let head = format!("{{\"type\":\"connection\",\"time\":\"{time}\"");
        let mut context = JsonContext::new(Box::new(|_| None));
        if let Some((host, anchor)) = past {
            (context.host, context.clock.anchor) = (Some(host), anchor);
        }
        Self { out: Output::new(to), names, context, head, owners }
    }
}

impl<W: Write> ListingView for JsonRows<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        let mut object = self.context.begin(self.out.line()?, &self.head);
        let holders = if self.owners { owners.of(socket.holder_key()) } else { Vec::new() };
        match &socket.row {
            Some(row) => put_row(&mut object, &mut self.context, row),
            None => {
                put_socket(&mut object, &mut self.names, socket);
                put_owner(&mut object, &mut self.context, holders.first().copied());
            }
        }
        if self.owners {
            put_owners(&mut object, &mut self.context, &holders);
        }
        object.end();
        Ok(())
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
        let mut object = self.context.begin(self.out.line()?, &self.head);
        object.some(",\"cookie\":", socket.cookie.map(SocketId::get));
        object.number(",\"netns\":", u64::from(socket.netns));
        object.name(",\"netns_name\":", self.names.namespaces.name(socket.netns));
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
            object.flag(",\"abstract\":", socket.is_abstract);
        }
        if self.owners {
            let holders = owners.of(socket.holder_key());
            put_owner(&mut object, &mut self.context, holders.first().copied());
            put_owners(&mut object, &mut self.context, &holders);
        }
        object.end();
        Ok(())
    }

    fn finish(&mut self, _: &SocketHolders) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes the facts of a socket.
fn put_socket(object: &mut JsonObject<'_>, names: &mut ListingNames, socket: &Socket) {
    object.some(",\"cookie\":", socket.cookie.map(SocketId::get));
    object.number(",\"netns\":", u64::from(socket.tuple.netns));
    object.name(",\"netns_name\":", names.namespaces.name(socket.tuple.netns));
    object.ends(socket.protocol, &socket.tuple, &socket.binding);
    object.word(",\"state\":\"", socket.state.name());
    object.some(",\"recv_q\":", socket.recv_q.map(u64::from));
    object.some(",\"send_q\":", socket.send_q.map(u64::from));
    object.some(",\"inode\":", socket.inode.map(Into::into));
    if socket.state == TcpState::Listen {
        object.word(",\"direction\":\"", Direction::Listen.name());
    }
    if let Some(uid) = socket.uid {
        object.number(",\"uid\":", u64::from(uid));
        object.name(",\"user\":", names.users.name(uid));
    }
    if let Some(cgroup) = socket.cgroup {
        object.number(",\"cgroup_id\":", cgroup.get());
        object.name(",\"cgroup\":", names.cgroups.name(cgroup.get()));
    }
    if let Some(timer) = socket.timer {
        object.word(",\"timer\":\"", timer.kind.name());
        let ms = u64::try_from(timer.left.as_millis()).unwrap_or(u64::MAX);
        object.number(",\"timer_ms\":", ms);
        object.number(",\"timer_retransmits\":", u64::from(socket.retransmits));
        object.number(",\"timer_probes\":", u64::from(socket.probes));
    }
    if let Some(info) = &socket.info {
        put_info(object, info);
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

/// Writes the process that the views of changes would name.
fn put_owner(object: &mut JsonObject<'_>, context: &mut JsonContext, owner: Option<&Process>) {
    if let Some(process) = owner {
        object.process(process.pid, process.host_pid, &process.comm);
        put_known(object, context, process);
        object.word(",\"owner_evidence\":\"", Evidence::FdScan.name());
    }
}

fn put_known(object: &mut JsonObject<'_>, context: &mut JsonContext, process: &Process) {
    if let Some(known) = &process.known {
        context.owners.put_process(object, known);
    }
    if let Some(cgroup) = &process.cgroup {
        context.owners.put_workload(object, cgroup);
    }
}

fn put_owners(object: &mut JsonObject<'_>, context: &mut JsonContext, owners: &[&Process]) {
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
        put_known(object, context, process);
        if let Some(cgroup) = &process.cgroup {
            put_path(object, cgroup);
        }
        object.raw("}");
    }
    object.raw("]");
}
