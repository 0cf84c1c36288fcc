//! Tests the assembler with a kernel that answers from a script.

use bytemuck::Zeroable;
use netmon_common::flag;

use super::*;
use crate::core::{
    id::socket,
    tcp::TcpState::{Close, Established, FinWait2, LastAck, SynRecv, SynSent, TimeWait},
    time::at,
};
use crate::kernel::stream::fate::ECONNRESET;

mod minisockets;

/// A kernel that gives the scripted answers, and counts the questions.
#[derive(Default)]
struct ScriptedKernel {
    port: Option<u16>,
    state: Option<BucketState>,
    /// The time of an answer.
    answer_time: Mono,
    questions: usize,
}

impl KernelQueries for ScriptedKernel {
    fn local_port(&mut self, _sock: u64, _cookie: SocketId) -> Option<u16> {
        self.questions += 1;
        self.port
    }

    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, Mono) {
        self.questions += queries.len();
        (vec![self.state.unwrap_or(BucketState::Unknown); queries.len()], self.answer_time)
    }
}

struct Bench {
    assembler: Assembler,
    out: EventQueue,
    script: ScriptedKernel,
}

impl Bench {
    fn new() -> Self {
        Self {
            assembler: Assembler::new(false, Wall::EPOCH),
            out: EventQueue::new(),
            script: ScriptedKernel::default(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a record is made for the call")]
    fn take(&mut self, record: Record) {
        self.assembler.record(&record, &mut self.out);
    }

    fn advance(&mut self, now: Mono) {
        self.assembler.advance(now, &mut self.script, &mut self.out);
    }

    /// Returns the events since the last call.
    fn events(&mut self) -> Vec<Transition> {
        let transition = |event| match event {
            Event::Transition(transition) => transition,
            other => panic!("{other:?}"),
        };
        self.out.drain(..).map(transition).collect()
    }

    fn states(&mut self) -> Vec<(TcpState, TcpState)> {
        self.events().iter().map(|event| (event.old, event.new)).collect()
    }
}

const COOKIE: SocketId = socket(7);

const MS: u64 = 1_000_000;

fn at_ms(ms: i64) -> Mono {
    at(ms * 1_000_000)
}

fn wire(old: TcpState, new: TcpState, time: u64) -> wire::Transition {
    wire::Transition {
        kind: wire::kind::TRANSITION,
        old_state: old as u8,
        new_state: new as u8,
        family: wire::AF_INET,
        flags: 0,
        errno: 0,
        interface: 0,
        time,
        cookie: COOKIE.get(),
        local_addr: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        remote_addr: [127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        netns: 1,
        local_port: 40_000,
        remote_port: 80,
    }
}

fn moved(old: TcpState, new: TcpState, time: u64) -> Record {
    Record::Transition(wire(old, new, time))
}

fn closed(old: TcpState, flags: u8, errno: u8, time: u64) -> Record {
    Record::Transition(wire::Transition { flags, errno, ..wire(old, Close, time) })
}

fn connect(time: u64) -> Record {
    let transition =
        wire::Transition { local_port: 0, kind: wire::kind::OPEN, ..wire(Close, SynSent, time) };
    let comm = *b"curl\0\0\0\0\0\0\0\0\0\0\0\0";
    let process = wire::Process { cgroup: 1, pid: 42, uid: 1000, comm, ..wire::Process::zeroed() };
    Record::Open(wire::Open { transition, sock: 0xffff, process })
}

fn reset(state: TcpState, time: u64) -> Record {
    let (kind, state) = (wire::kind::RESET, state as u8);
    Record::Note(wire::Note { kind, state, port: 0, reserved: [0; 4], time, cookie: COOKIE.get() })
}

#[test]
fn a_connect_gets_its_port_from_the_next_event() {
    let mut bench = Bench::new();
    bench.take(connect(100));
    bench.advance(at(99) + PORT_WAIT);
    assert!(bench.events().is_empty(), "no view may see port 0");
    bench.take(moved(SynSent, Established, 200));
    let events = bench.events();
    assert_eq!(events[0].time, at(100), "its own time");
    assert_eq!(events[0].tuple.local.port(), 40_000);
    let Opening::ByProcess(Some(owner)) = &events[0].opening else { panic!("{events:?}") };
    assert_eq!((owner.pid, &*owner.comm), (42, &b"curl"[..]));
    assert_eq!((events[1].old, events[1].new), (SynSent, Established));
    bench.advance(at(0) + PORT_WAIT * 2);
    assert!(bench.events().is_empty(), "not twice");
    assert_eq!(bench.script.questions, 0);
}

#[test]
fn a_connect_without_an_answer_is_asked_about() {
    let mut bench = Bench::new();
    bench.script.port = Some(50_000);
    bench.take(connect(100));
    assert_eq!(bench.assembler.next_due(), Some(at(100) + PORT_WAIT));
    bench.advance(at(100) + PORT_WAIT);
    let events = bench.events();
    assert_eq!((events[0].time, events[0].tuple.local.port()), (at(100), 50_000));
    assert_eq!(bench.assembler.next_due(), None);
}

#[test]
fn a_connect_that_is_kept_from_its_port_is_asked_about_again() {
    let mut bench = Bench::new();
    bench.take(connect(100));
    bench.advance(at(100) + PORT_WAIT);
    assert!(bench.events().is_empty(), "no view may see port 0");
    bench.script.port = Some(50_000);
    bench.advance(at(100) + PORT_WAIT * 2);
    assert_eq!(bench.events()[0].tuple.local.port(), 50_000);
    assert_eq!(bench.assembler.next_due(), None);
    // The questions end after a while, and with the session.
    bench.script.port = None;
    bench.take(connect(100));
    bench.advance(at(100) + PORT_PATIENCE);
    assert_eq!(bench.events()[0].tuple.local.port(), 0);
    bench.take(connect(2_000 * MS));
    bench.assembler.finish(at_ms(2_000), &mut bench.script, &mut bench.out);
    assert_eq!(bench.states(), [(Close, SynSent)]);
}

#[test]
fn a_close_waits_for_the_reset_that_follows_it() {
    let mut bench = Bench::new();
    bench.take(closed(Established, 0, 0, 100));
    assert!(bench.events().is_empty());
    bench.take(reset(Close, 120));
    assert_eq!(bench.events()[0].reset, Some(ResetSide::Sent));
    bench.take(closed(Established, 0, 0, 300));
    bench.advance(at(300) + RESET_WAIT);
    assert_eq!(bench.events()[0].reset, None, "none followed");
}

#[test]
fn a_dump_does_not_report_an_end_that_is_held() {
    let mut bench = Bench::new();
    bench.take(closed(Established, 0, 0, 100));
    bench.assembler.failed(at(200), COOKIE, 104, &mut bench.out);
    assert!(bench.events().is_empty());
    bench.advance(at(100) + RESET_WAIT);
    assert_eq!(bench.states(), [(Established, Close)]);
    bench.assembler.failed(at(300) + RESET_WAIT, COOKIE, 104, &mut bench.out);
    assert!(matches!(bench.out.pop_front(), Some(Event::SocketFailed { cookie: COOKIE, .. })));
}

#[test]
fn a_reset_before_its_close_counts_too() {
    let mut bench = Bench::new();
    bench.take(reset(Established, 90));
    bench.take(closed(Established, 0, 103, 100));
    let events = bench.events();
    assert_eq!((events[0].reset, events[0].errno), (Some(ResetSide::Sent), Some(103)));
}

#[test]
fn a_received_reset_needs_no_wait() {
    let mut bench = Bench::new();
    bench.take(closed(Established, flag::RESET_RECEIVED, ECONNRESET, 100));
    assert_eq!(bench.events()[0].reset, Some(ResetSide::Received));
}

#[test]
fn our_reset_in_fin_wait1_is_not_the_peers() {
    let mut bench = Bench::new();
    let flags = flag::RESET_RECEIVED | flag::DEAD;
    bench.take(closed(TcpState::FinWait1, flags, ECONNRESET, 100));
    assert!(bench.events().is_empty(), "it may be ours");
    bench.take(reset(Close, 120));
    assert_eq!(bench.events()[0].reset, Some(ResetSide::Sent));
}

#[test]
fn a_socket_that_connects_again_lets_its_last_end_out_first() {
    let mut bench = Bench::new();
    bench.take(closed(Established, 0, 0, 100));
    bench.take(connect(150));
    bench.take(moved(SynSent, Established, 200));
    assert_eq!(bench.states(), [(Established, Close), (Close, SynSent), (SynSent, Established)]);
}

#[test]
fn an_accepted_connection_begins_at_its_listener() {
    let mut bench = Bench::new();
    let transition =
        wire::Transition { kind: wire::kind::CHILD, ..wire(SynRecv, Established, 100) };
    bench.take(Record::Child(wire::Child { transition, listener: 5, syn_recv_time: 90 }));
    let events = bench.events();
    assert_eq!((events[0].old, events[0].new, events[0].time), (TcpState::Listen, SynRecv, at(90)));
    assert_eq!(events[0].opening, Opening::FromListener(Some(socket(5))));
    assert_eq!((events[1].new, &events[1].opening), (Established, &Opening::None));
}

#[test]
fn an_old_error_means_nothing_but_at_the_end() {
    let mut bench = Bench::new();
    let left_over = wire::Transition { errno: 111, ..wire(SynSent, Established, 100) };
    bench.take(Record::Transition(left_over));
    assert_eq!(bench.events()[0].errno, None);
}

#[test]
fn a_connect_without_a_syn_has_the_error_that_connect_returned() {
    for (flags, local_port, errno) in
        [(0, 40_000, None), (flag::NO_SYN, 40_000, Some(99)), (0, 0, Some(99))]
    {
        let mut bench = Bench::new();
        let end = wire::Transition { flags, local_port, ..wire(SynSent, Close, 100) };
        bench.take(Record::Transition(end));
        assert_eq!(bench.events()[0].errno, errno);
    }
    // A socket without a port may end in another state: its port was given back.
    let mut bench = Bench::new();
    let end = wire::Transition { local_port: 0, ..wire(Established, Close, 100) };
    bench.take(Record::Transition(end));
    bench.advance(at(100) + RESET_WAIT);
    assert_eq!(bench.events()[0].errno, None);
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut mapped = wire(SynSent, Established, 100);
    mapped.family = wire::AF_INET6;
    mapped.local_addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1];
    mapped.remote_addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut bench = Bench::new();
    bench.take(Record::Transition(mapped));
    let tuple = bench.events()[0].tuple;
    assert_eq!(tuple.local.to_string(), "10.0.0.1:40000");
    assert_eq!(tuple.remote.to_string(), "[::1]:80");
}

/// Returns a bench whose kernel reports TIME_WAIT buckets.
fn reporting() -> Bench {
    Bench { assembler: Assembler::new(true, Wall::EPOCH), ..Bench::new() }
}

fn note(kind: u8, state: TcpState, port: u16, time: u64) -> Record {
    let state = state as u8;
    Record::Note(wire::Note { kind, state, port, reserved: [0; 4], time, cookie: COOKIE.get() })
}

const WAITS: u8 = flag::DEAD | flag::MINISOCKET | flag::WAITS;

#[test]
fn a_connect_has_its_port_as_soon_as_it_is_reported() {
    let mut bench = reporting();
    bench.take(connect(100));
    bench.take(note(kind::PORT, Close, 4_321, 101));
    let [event] = &bench.events()[..] else { panic!("one event") };
    assert_eq!((event.time, event.tuple.local.port()), (at(100), 4_321));
    bench.take(note(kind::PORT, Close, 4_321, 102));
    assert!(bench.events().is_empty());
}

#[test]
fn an_accept_is_reported_unless_by_the_kernel() {
    let mut bench = reporting();
    let mut process = wire::Process {
        cgroup: 1,
        pid: 42,
        uid: 0,
        comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
        ..wire::Process::zeroed()
    };
    let accept = |process| {
        let (kind, reserved) = (kind::ACCEPT, [0; 7]);
        Record::Accept(wire::Accept { kind, reserved, time: 9, cookie: COOKIE.get(), process })
    };
    bench.take(accept(process));
    let Some(Event::Accepted { time, cookie, owner }) = bench.out.pop_front() else {
        panic!("accepted")
    };
    assert_eq!((time, cookie), (at(9), COOKIE));
    assert_eq!((owner.pid, &*owner.comm), (42, &b"nginx"[..]));
    // A process outside of the pid namespace of `/proc`, and a kernel thread.
    (process.pid, process.host_pid) = (0, 4711);
    bench.take(accept(process));
    let Some(Event::Accepted { owner, .. }) = bench.out.pop_front() else { panic!("accepted") };
    assert_eq!((owner.pid, owner.host_pid, &*owner.comm), (0, 4711, &b"nginx"[..]));
    (process.pid, process.host_pid) = (0, 0);
    bench.take(accept(process));
    assert!(bench.out.is_empty());
}

#[test]
fn totals_at_unknown_offsets_are_absent() {
    let transition = wire::Transition { kind: kind::END, ..wire(LastAck, Close, 100) };
    let unknown = wire::End {
        transition,
        bytes_sent: u64::MAX,
        bytes_received: u64::MAX,
        retransmits: u32::MAX,
        srtt_us: 0,
    };
    let totals = |end| {
        let mut bench = Bench::new();
        bench.take(Record::End(end));
        bench.advance(at(100) + RESET_WAIT);
        bench.events()[0].totals
    };
    assert_eq!(totals(unknown), None);
    let some = Totals { bytes_received: Some(0), retransmits: Some(2), ..Totals::default() };
    assert_eq!(totals(wire::End { bytes_received: 0, retransmits: 2, ..unknown }), Some(some));
}
