//! Synthetic records of the kernel program: connections on loopback that close normally, as in
//! `xtask load`.

use std::collections::VecDeque;

use netmon::testing::{
    Anchor, ConnectionTable, Event, Mono, OfflineAssembler,
    TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    },
    Wall,
};
use netmon_common::{AF_INET, Child, End, Open, Process, Transition, flag, kind};

/// The number of connections that stay open, so that the table is not empty.
pub(crate) const HELD: u64 = 10_000;
/// The number of connections that come and go at a time, a step of each after a step of the other.
const AT_ONCE: usize = 4;
/// The number of transitions of a connection's two ends in the table. The first two transitions of
/// a child are one record.
pub(crate) const TRANSITIONS: u64 = 10;
/// The time between two records, ns.
const APART: u64 = 2_000;
const LISTENER: u64 = 1;
const PROCESS: Process = Process {
    cgroup: 77,
    pid: 4_242,
    uid: 1_000,
    comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
    host_pid: 0,
    run: 0,
    real_uid: 1_000,
    unused: 0,
};

/// Records, each as its bytes.
pub(crate) struct SyntheticRecords {
    /// Records of the listener, and of the connections that stay open.
    pub(crate) held: Vec<Vec<u8>>,
    /// Records of the connections that come and go.
    pub(crate) passing: Vec<Vec<u8>>,
}

impl SyntheticRecords {
    /// Makes the records, with `connections` connections that come and go.
    pub(crate) fn new(connections: u64) -> Self {
        let mut held = vec![open(0, LISTENER, Listen, (80, 0))];
        for number in 0..HELD {
            let ends = ends(number, HELD * 2);
            held.extend([born(0, &ends), answered(0, &ends), taken(0, &ends)]);
        }
        let mut passing = Vec::new();
        let mut lives: VecDeque<_> = VecDeque::new();
        let mut next = 0..connections;
        loop {
            while lives.len() < AT_ONCE
                && let Some(number) = next.next()
            {
                lives.push_back((ends(number, 2 * HELD + 2), 0));
            }
            let Some((ends, step)) = lives.pop_front() else { break };
            let time = (passing.len() as u64 + 1) * APART;
            let record = match step {
                0 => born(time, &ends),
                1 => taken(time, &ends),
                2 => answered(time, &ends),
                3 => client(time, &ends, Established, FinWait1),
                4 => server(time, &ends, Established, CloseWait),
                5 => client(time, &ends, FinWait1, FinWait2),
                6 => server(time, &ends, CloseWait, LastAck),
                7 => end(client_transition(time, &ends, FinWait2, Close), flag::DEAD | flag::DONE),
                _ => end(server_transition(time, &ends, LastAck, Close), flag::DEAD | flag::DONE),
            };
            passing.push(record);
            if step < 8 {
                lives.push_back((ends, step + 1));
            }
        }
        Self { held, passing }
    }

    /// The table with the listener and the connections that stay open.
    pub(crate) fn table(&self) -> ConnectionTable {
        let mut table = ConnectionTable::default();
        for event in events(&self.held) {
            let _ = table.apply(&event, |_| Ok::<_, ()>(()));
        }
        table
    }
}

/// The complete events of records.
pub(crate) fn events(records: &[Vec<u8>]) -> VecDeque<Event> {
    let (mut offline, mut events) = (OfflineAssembler::default(), VecDeque::new());
    for record in records {
        offline.record(record, &mut events).expect("a record of ours");
    }
    events
}

/// The wall time of the records.
pub(crate) fn anchor() -> Event {
    Event::Anchor(Anchor {
        monotonic: Mono::BOOT,
        wall: Wall::from_nanos(1_700_000_000_000_000_000),
    })
}

/// Both ends of a connection.
struct Ends {
    cookies: (u64, u64),
    port: u16,
    host: [u8; 4],
}

fn ends(number: u64, first: u64) -> Ends {
    let [.., a, b, c] = (number / 28_000 + first).to_be_bytes();
    let port = u16::try_from(32_768 + number % 28_000).unwrap_or_default();
    Ends { cookies: (first + number * 2, first + number * 2 + 1), port, host: [127, a, b, c] }
}

fn transition(time: u64, cookie: u64, states: (TcpState, TcpState), ends: &Ends) -> Transition {
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&ends.host);
    Transition {
        kind: kind::TRANSITION,
        old_state: states.0 as u8,
        new_state: states.1 as u8,
        family: AF_INET,
        flags: 0,
        errno: 0,
        interface: 0,
        time,
        cookie,
        local_addr: addr,
        remote_addr: addr,
        netns: 4_026_531_840,
        local_port: ends.port,
        remote_port: 80,
    }
}

fn client_transition(time: u64, ends: &Ends, old: TcpState, new: TcpState) -> Transition {
    transition(time, ends.cookies.0, (old, new), ends)
}

fn server_transition(time: u64, ends: &Ends, old: TcpState, new: TcpState) -> Transition {
    let client = transition(time, ends.cookies.1, (old, new), ends);
    Transition { local_port: client.remote_port, remote_port: client.local_port, ..client }
}

fn client(time: u64, ends: &Ends, old: TcpState, new: TcpState) -> Vec<u8> {
    bytemuck::bytes_of(&client_transition(time, ends, old, new)).to_vec()
}

fn server(time: u64, ends: &Ends, old: TcpState, new: TcpState) -> Vec<u8> {
    bytemuck::bytes_of(&server_transition(time, ends, old, new)).to_vec()
}

fn open(time: u64, cookie: u64, new: TcpState, (local_port, remote_port): (u16, u16)) -> Vec<u8> {
    let ends = Ends { cookies: (cookie, 0), port: local_port, host: [127, 0, 0, 1] };
    let transition = client_transition(time, &ends, Close, new);
    let transition = Transition { kind: kind::OPEN, remote_port, ..transition };
    bytemuck::bytes_of(&Open { transition, sock: 0, process: PROCESS }).to_vec()
}

/// The record of a client that connects. The port of the client is not known yet.
fn born(time: u64, ends: &Ends) -> Vec<u8> {
    let transition = client_transition(time, ends, Close, SynSent);
    let transition = Transition { kind: kind::OPEN, local_port: 0, ..transition };
    bytemuck::bytes_of(&Open { transition, sock: 0, process: PROCESS }).to_vec()
}

fn answered(time: u64, ends: &Ends) -> Vec<u8> {
    client(time, ends, SynSent, Established)
}

/// The record of a listener that takes the connection.
fn taken(time: u64, ends: &Ends) -> Vec<u8> {
    let transition = server_transition(time, ends, SynRecv, Established);
    let transition = Transition { kind: kind::CHILD, ..transition };
    let child = Child { transition, listener: LISTENER, syn_recv_time: time };
    bytemuck::bytes_of(&child).to_vec()
}

fn end(transition: Transition, flags: u8) -> Vec<u8> {
    let transition = Transition { kind: kind::END, flags, ..transition };
    let end =
        End { transition, bytes_sent: 100, bytes_received: 2_000, retransmits: 0, srtt_us: 160 };
    bytemuck::bytes_of(&end).to_vec()
}
