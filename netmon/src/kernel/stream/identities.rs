//! Gives ids to sockets where the kernel program cannot read cookies.
//!
//! The classic tracepoints name sockets by address, which is unique until CLOSE. An address must
//! not leave netmon: it would show readers of a journal how the kernel's memory is laid out. So
//! this module replaces every address in a record, except `Open::sock`, which serves to read the
//! local port and goes into no event. Dumps name sockets by cookie. Both have the tuple. So a
//! socket that a dump found first keeps its cookie, and any other socket gets a number of netmon's
//! own, which no cookie reaches.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netmon_common::{Process, state};
use rustc_hash::FxHashMap;

use crate::{
    core::{
        event::Seed,
        id::{SocketId, Tuple},
        tcp::TcpState,
    },
    kernel::ring::record::{Record, tuple},
};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[derive(Clone, Copy)]
struct Identity {
    id: SocketId,
    /// The socket has closed: the next use of the address is another socket.
    closed: bool,
    /// The number of dumps since then that did not have the socket.
    missed: u8,
    /// The cookie in a dump; none before a dump had the socket.
    cookie: Option<SocketId>,
    /// Several sockets listen there (SO_REUSEPORT), and share this identity.
    is_shared: bool,
}

/// Sockets by address and by tuple.
pub(super) struct Identities {
    by_address: FxHashMap<u64, Identity>,
    by_tuple: FxHashMap<Tuple, Identity>,
    /// The number of sockets that have got an id of netmon's own.
    count: u64,
}

impl Identities {
    pub(in crate::kernel) fn new() -> Self {
        Self { by_address: FxHashMap::default(), by_tuple: FxHashMap::default(), count: 0 }
    }

    /// Replaces the addresses in `record` by ids.
    pub(in crate::kernel) fn name(&mut self, record: &mut Record) {
        let place = record.transition().copied();
        let opens = matches!(record, Record::Open(_));
        let Some((own, listener)) = record.ids() else { return };
        if let (Some(listener), Some(place)) = (listener, place) {
            let by_address = self.by_address.get(listener).map(|identity| identity.id);
            let id = by_address.or_else(|| self.listener(tuple(&place)));
            *listener = id.map_or(0, SocketId::get);
        }
        let Some(place) = place else {
            // A RST follows a CLOSE. The RST of a bucket, which has an address of its own, belongs
            // to no known socket.
            *own = self.by_address.get(own).map_or(0, |identity| identity.id.get());
            return;
        };
        let tuple = tuple(&place);
        let is_whole = tuple.local.port() != 0;
        let there = self.by_tuple.get(&tuple).filter(|identity| !identity.closed && is_whole);
        let same = self.by_address.get(own).filter(|identity| !identity.closed).or(there);
        let identity = same.filter(|_| !opens).copied().unwrap_or_else(|| {
            self.count += 1;
            let is_shared = there.is_some() && place.new_state == state::LISTEN;
            Identity {
                id: SocketId::own(self.count),
                closed: false,
                missed: 0,
                cookie: None,
                is_shared,
            }
        });
        let identity = Identity { closed: place.new_state == state::CLOSE, ..identity };
        self.by_address.insert(*own, identity);
        if is_whole {
            self.by_tuple.insert(tuple, identity);
        }
        *own = identity.id.get();
        if let Record::Open(open) = record {
            name_process(&mut open.process);
        }
    }

    /// Returns the listener that took the connection: the listener at its address, or else at any
    /// address (`__inet_lookup_listener`, net/ipv4/inet_hashtables.c).
    fn listener(&self, tuple: Tuple) -> Option<SocketId> {
        let port = tuple.local.port();
        let on = |interface: u32, ip: IpAddr| {
            let any = if ip.is_ipv4() { ANY } else { ANY_V6 };
            let (local, remote) = (SocketAddr::new(ip, port), SocketAddr::new(any, 0));
            let place = Tuple { interface, local, remote, ..tuple };
            self.by_tuple.get(&place).filter(|identity| !identity.closed)
        };
        // A listener that is not bound to the device takes connections of link-local addresses.
        let at = |ip: IpAddr| on(tuple.interface, ip).or_else(|| on(0, ip));
        let any = if tuple.local.is_ipv4() { at(ANY) } else { None };
        let listener = at(tuple.local.ip()).or(any).or_else(|| at(ANY_V6));
        listener.filter(|identity| !identity.is_shared).map(|identity| identity.id)
    }

    /// Replaces the cookie of a dumped socket by its id.
    pub(in crate::kernel) fn seed(&mut self, seed: &mut Seed) {
        let Seed { cookie, tuple, state, .. } = *seed;
        let fresh = Identity {
            id: cookie,
            closed: false,
            missed: 0,
            cookie: Some(cookie),
            is_shared: false,
        };
        let identity = self.by_tuple.entry(tuple).or_insert(fresh);
        identity.is_shared |=
            state == TcpState::Listen && identity.cookie.is_some_and(|known| known != cookie);
        (identity.missed, identity.cookie) = (0, Some(cookie));
        seed.cookie = identity.id;
    }

    /// Takes the end of a complete dump: forgets sockets that have closed and were in none of the
    /// last dumps.
    pub(super) fn dumped(&mut self) {
        self.by_address.retain(|_, identity| !identity.closed);
        self.by_tuple.retain(|_, identity| {
            identity.missed = identity.missed.saturating_add(1);
            !identity.closed || identity.missed < 3
        });
    }
}

/// Reads the name of the process from `/proc` if the kernel program could not. The process has only
/// just acted, so it mostly still exists.
fn name_process(process: &mut Process) {
    if process.comm[0] != 0 || process.pid == 0 {
        return;
    }
    let name = fs::read(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
    // The last byte stays NUL.
    for (to, from) in
        process.comm[..15].iter_mut().zip(name.split(|b| *b == b'\n').next().into_iter().flatten())
    {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use netmon_common::{AF_INET, Note, Open, Transition, kind};

    use super::*;
    use crate::core::{
        id::{Binding, socket},
        time::at,
    };

    fn transition(address: u64, new_state: u8, local_port: u16) -> Transition {
        Transition {
            kind: kind::TRANSITION,
            old_state: if new_state == state::ESTABLISHED { state::SYN_SENT } else { 1 },
            new_state,
            family: AF_INET,
            flags: 0,
            errno: 0,
            interface: 0,
            time: 1,
            cookie: address,
            local_addr: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote_addr: [127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            netns: 1,
            local_port,
            remote_port: 80,
        }
    }

    fn named(identities: &mut Identities, mut record: Record) -> u64 {
        identities.name(&mut record);
        *record.ids().expect("a socket").0
    }

    fn moved(identities: &mut Identities, address: u64, new_state: u8, port: u16) -> u64 {
        named(identities, Record::Transition(transition(address, new_state, port)))
    }

    fn connect(identities: &mut Identities, address: u64) -> u64 {
        let process = Process::zeroed();
        let transition = transition(address, state::SYN_SENT, 0);
        named(identities, Record::Open(Open { transition, sock: address, process }))
    }

    fn seed(identities: &mut Identities, cookie: u64, port: u16) -> u64 {
        let place = tuple(&transition(0, state::ESTABLISHED, port));
        let mut seed = Seed {
            time: at(1),
            cookie: socket(cookie),
            tuple: place,
            binding: Binding::default(),
            state: TcpState::Established,
            minisocket: false,
            holders: Box::default(),
            young: Box::default(),
        };
        identities.seed(&mut seed);
        seed.cookie.get()
    }

    #[test]
    fn no_address_leaves_and_one_connection_has_one_name() {
        let mut identities = Identities::new();
        let id = connect(&mut identities, 0xffff_8880_0000_1000);
        assert_eq!(SocketId::new(id).and_then(SocketId::cookie), None, "{id:x}");
        assert_eq!(id, SocketId::own(1).get());
        assert_eq!(moved(&mut identities, 0xffff_8880_0000_1000, state::ESTABLISHED, 4000), id);
        assert_eq!(seed(&mut identities, 7, 4000), id, "a dump has its tuple");
        assert_eq!(moved(&mut identities, 0xffff_8880_0000_1000, state::CLOSE, 4000), id);
        // A RST is sent after the CLOSE; the rest of the connection is a bucket.
        let note = |address| {
            let reserved = [0; 4];
            Record::Note(Note {
                kind: kind::RESET,
                state: 7,
                port: 0,
                reserved,
                time: 2,
                cookie: address,
            })
        };
        assert_eq!(named(&mut identities, note(0xffff_8880_0000_1000)), id);
        assert_eq!(named(&mut identities, note(0xffff_8880_0000_2000)), 0, "no known socket");
    }

    #[test]
    fn an_address_is_another_sockets_after_its_close() {
        let mut identities = Identities::new();
        let first = connect(&mut identities, 0x1000);
        moved(&mut identities, 0x1000, state::CLOSE, 4000);
        let second = connect(&mut identities, 0x1000);
        assert_ne!(first, second);
        assert_eq!(moved(&mut identities, 0x1000, state::ESTABLISHED, 4001), second);
        // The end was lost; a connect still begins a new connection.
        assert_ne!(connect(&mut identities, 0x1000), second);
    }

    #[test]
    fn the_same_ends_on_two_devices_are_two_sockets() {
        let mut identities = Identities::new();
        let mut ids = Vec::new();
        for interface in [2, 3] {
            let record = Transition { interface, ..transition(0, state::ESTABLISHED, 4000) };
            let mut seed = Seed {
                time: at(1),
                cookie: socket(interface.into()),
                tuple: tuple(&record),
                binding: Binding::default(),
                state: TcpState::Established,
                minisocket: false,
                holders: Box::default(),
                young: Box::default(),
            };
            identities.seed(&mut seed);
            let cookie = 0x1000 + u64::from(interface);
            let moved = Transition { cookie, new_state: state::FIN_WAIT2, ..record };
            ids.push((seed.cookie.get(), named(&mut identities, Record::Transition(moved))));
        }
        assert_eq!(ids, [(2, 2), (3, 3)]);
    }

    #[test]
    fn what_a_dump_had_first_goes_by_its_cookie() {
        let mut identities = Identities::new();
        assert_eq!(seed(&mut identities, 7, 4000), 7);
        assert_eq!(moved(&mut identities, 0x1000, state::FIN_WAIT2, 4000), 7);
        assert_eq!(moved(&mut identities, 0x1000, state::CLOSE, 4000), 7);
        identities.dumped();
        assert_eq!(seed(&mut identities, 7, 4000), 7, "its minisocket");
        for _ in 0..4 {
            identities.dumped();
        }
        assert!(identities.by_tuple.is_empty() && identities.by_address.is_empty());
    }
}
