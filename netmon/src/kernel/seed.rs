//! What was there before: every TCP socket of every namespace, with a process that holds it.

use std::{collections::VecDeque, io, sync::Arc};

use aya::Ebpf;
use rustix::time::{ClockId, clock_gettime};

use super::{
    iter::{self, Walk},
    netns::Namespace,
};
use crate::core::{
    event::{Event, Evidence, Owner, Seed},
    owners::Owners,
    socket::{Socket, TimerKind},
    tcp::TcpState,
};

/// Appends a seed for each full socket.
///
/// Minisockets and half-open connections are left out: a transition tells when they come to be, none
/// when they end.
pub(super) fn seeds(ebpf: &mut Ebpf, events: &mut VecDeque<Event>) -> io::Result<()> {
    let owners = iter::owners(ebpf)?;
    let (namespaces, refused) = Namespace::all()?;
    if refused > 0 {
        log::debug!("{refused} processes or names do not let netmon into their network namespace");
    }
    for namespace in &namespaces {
        let time = clock_gettime(ClockId::Monotonic);
        let time = (time.tv_sec * 1_000_000_000 + time.tv_nsec).cast_unsigned();
        let walked = iter::sockets(ebpf, Walk::Tcp, namespace, |socket| {
            events.extend(seed(&socket, &owners, time).map(Event::Seed));
            Ok(())
        });
        // One that ended meanwhile, or cannot be entered, does not keep the others from being seen.
        if let Err(error) = walked {
            log::warn!("network namespace {}: {error}", namespace.inum);
        }
    }
    Ok(())
}

fn seed(socket: &Socket, owners: &Owners, time: u64) -> Option<Seed> {
    let is_minisocket = socket.timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    if is_minisocket || socket.state == TcpState::SynRecv {
        return None;
    }
    let owner = owners.of(socket.inode).first().map(|process| {
        Arc::new(Owner {
            pid: process.pid,
            uid: socket.uid.unwrap_or_default(),
            cgroup: socket.cgroup.map_or(0, Into::into),
            comm: process.comm.clone(),
            evidence: Evidence::FdScan,
        })
    });
    Some(Seed {
        time,
        cookie: socket.cookie?.get(),
        tuple: socket.tuple,
        state: socket.state,
        owner,
    })
}
