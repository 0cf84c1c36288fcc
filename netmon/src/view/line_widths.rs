//! Tests of all line views: no line is wider than the terminal, whatever the rows are.

use std::{net::SocketAddr, num::NonZeroU64, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    changes::{
        appearance::Appearance,
        history::{HistoryEntry, HistoryRow, HistoryView},
        lines::Lines,
    },
    language::LANGUAGES,
    listing::{
        ListingNames, ListingView, NetstatColumns,
        name_cache::NameCache,
        netstat::{Listening, Netstat},
    },
    text::width::shown_columns,
};
use crate::{
    core::{
        change::{Change, Resync, Step},
        connection::{Connection, Direction},
        event::{ResetSide, Totals, Transition},
        id::{Binding, ConnectionId, HolderKey, SocketId, Tuple},
        loss::{Gap, Loss},
        process::{Owner, Process, SocketHolders},
        program::{KnownProcess, Program},
        services::Services,
        socket::{Protocol, Socket, TcpInfo, UnixSocket},
        table::ConnectionTable,
        tcp::TcpState,
        time::{Anchor, Mono, Wall},
        verdict::Verdict,
    },
    session::View,
};

/// A row that both views of connections and of sockets take.
#[derive(Clone, Debug)]
struct Row {
    ends: (SocketAddr, SocketAddr),
    device: Option<String>,
    states: (TcpState, TcpState),
    comm: Vec<u8>,
    numbers: (u32, u32, u64),
    verdict: Option<Verdict>,
    errno: Option<u8>,
    reset: Option<ResetSide>,
    direction: Option<Direction>,
    owners: usize,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let state = || select(&TcpState::ALL[..]);
    let row = (
        any::<(SocketAddr, SocketAddr)>(),
        option::of("\\PC{0,12}"),
        (state(), state()),
        vec(any::<u8>(), 0..16),
        any::<(u32, u32, u64)>(),
        option::of(select(&Verdict::ALL[..])),
        option::of(any::<u8>()),
        option::of(select(&ResetSide::ALL[..])),
        option::of(select(&Direction::ALL[..])),
        0..9_usize,
    );
    let row = row.prop_map(
        |(ends, device, states, comm, numbers, verdict, errno, reset, direction, owners)| Row {
            ends,
            device,
            states,
            comm,
            numbers,
            verdict,
            errno,
            reset,
            direction,
            owners,
        },
    );
    vec(row, 1..6)
}

impl Row {
    fn tuple(&self) -> Tuple {
        let interface = u32::from(self.device.is_some()) * self.numbers.0;
        let (local, remote) = self.ends;
        Tuple { netns: self.numbers.1, interface, local, remote }
    }

    fn binding(&self) -> Binding {
        Binding { device: self.device.as_deref().map(Into::into), v6only: Some(false) }
    }

    fn transition(&self) -> Transition {
        let (old, new) = self.states;
        let totals = Totals {
            bytes_sent: Some(self.numbers.2),
            bytes_received: Some(self.numbers.0.into()),
            retransmits: Some(self.numbers.1),
            rtt_us: None,
        };
        Transition {
            time: Mono::from_nanos(self.numbers.0.into()),
            errno: self.errno,
            reset: self.reset,
            totals: Some(totals),
            inferred: self.owners > 4,
            orphan: self.owners > 6,
            ..Transition::bare(SocketId::new(1).expect("not 0"), self.tuple(), old, new)
        }
    }

    fn connection(&self) -> Connection {
        let cookie = SocketId::new(1).expect("not 0");
        let id = ConnectionId { cookie, epoch: Mono::from_nanos(0) };
        let owner = Owner {
            pid: self.numbers.0,
            host_pid: 0,
            uid: 0,
            real_uid: None,
            cgroup: None,
            comm: self.comm.as_slice().into(),
            process: None,
        };
        let mut row = Connection::new(id, self.tuple(), self.states.1);
        row.owner = (self.owners > 0).then(|| Arc::new(owner));
        row.direction = self.direction;
        row.binding = self.binding();
        row.first_sight = self.owners > 4;
        row
    }

    fn socket(&self, inode: u64) -> Socket {
        Socket {
            protocol: if self.owners == 1 { Protocol::Udp } else { Protocol::Tcp },
            ipv6: self.ends.0.is_ipv6(),
            tuple: self.tuple(),
            binding: self.binding(),
            state: self.states.0,
            cookie: SocketId::new(self.numbers.2),
            recv_q: Some(self.numbers.0),
            send_q: None,
            uid: Some(self.numbers.1),
            inode: NonZeroU64::new(inode),
            cgroup: NonZeroU64::new(self.numbers.2),
            timer: None,
            retransmits: 3,
            probes: 0,
            info: Some(Box::new(TcpInfo { bytes_sent: self.numbers.2, ..TcpInfo::default() })),
            row: None,
        }
    }
}

fn fits(text: &[u8], width: usize) -> Result<(), TestCaseError> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    for line in text.lines() {
        prop_assert!(shown_columns(line.as_bytes()) <= width, "{width}: {line:?}\n{text}");
    }
    Ok(())
}

fn look(width: usize, dated: bool, host_width: usize) -> Appearance {
    Appearance {
        services: Services::parse(b"a-service-with-a-name 80/tcp\n"),
        terminal: Some(width),
        colour: true,
        zone: TimeZone::UTC,
        dated,
        own_netns: Some(1),
        wide_owner: dated,
        host_width,
    }
}

proptest! {
    #[test]
    fn lines_of_connections_fit(
        rows in rows(),
        width in 1..240_usize,
        dated: bool,
        host_width in 0..20_usize,
    ) {
        let (mut out, mut past) = (Vec::new(), Vec::new());
        let names = |inum: u32| inum.is_multiple_of(2).then(|| "ein Netz 使用者".into());
        let look = || look(width, dated, host_width);
        let mut lines = Lines::new(&mut out, look(), Box::new(names)).expect("written");
        let mut history = HistoryView::lines(&mut past, look());
        let anchor = Anchor { monotonic: Mono::BOOT, wall: Wall::from_nanos(1_700_000_000 << 30) };
        let gap = Gap { time: Mono::BOOT, from: Mono::BOOT, count: u64::MAX, loss: Loss::RingFull };
        for row in &rows {
            let (transition, connection) = (row.transition(), row.connection());
            let step = Step {
                transition: &transition,
                connection: &connection,
                in_state: Some(Duration::from_millis(row.numbers.0.into())),
                verdict: row.verdict,
                corrected: false,
            };
            let (time, initial) = (Mono::BOOT, row.owners > 2);
            for change in [
                Change::Closed(step),
                Change::Found { time, connection: &connection, initial },
                Change::Gap(gap),
                Change::Resync(Resync::default()),
            ] {
                lines.change(&change).expect("written");
            }
            let host: Arc<str> = "a-host".into();
            for end in [Some(transition.clone()), None] {
                let (host, connection) = (Arc::clone(&host), connection.clone());
                let row = HistoryRow { host, anchor, connection, end };
                history.put(HistoryEntry::Row(Box::new(row))).expect("written");
            }
            history.put(HistoryEntry::Gap(host, anchor, gap)).expect("written");
        }
        lines.flush(&ConnectionTable::default()).expect("written");
        history.finish().expect("written");
        drop((lines, history));
        fits(&out, width)?;
        fits(&past, width)?;
    }

    #[test]
    fn listings_fit(
        rows in rows(),
        width in 1..240_usize,
        (heading, owners, extended) in any::<(bool, bool, bool)>(),
        (timers, info, netns, wide_owner) in any::<(bool, bool, bool, bool)>(),
        language in select(&LANGUAGES[..]),
    ) {
        let columns =
            NetstatColumns { heading, owners, wide_owner, extended, timers, info, netns };
        let mut holders = SocketHolders::default();
        for (inode, row) in (1..).zip(&rows) {
            for pid in 0..row.owners {
                let key = HolderKey::of_inode(NonZeroU64::new(inode).expect("not 0"));
                let pid = u32::MAX - u32::try_from(pid).expect("few");
                let (path, comm) = (row.comm.repeat(20).into(), &*row.comm);
                let program = Program { path, is_deleted: true, arguments: None };
                let program = Some(Arc::new(program));
                let known = KnownProcess { program, ..KnownProcess::started_at(Wall::EPOCH) };
                let (comm, known) = (comm.into(), Some(Arc::new(known)));
                holders.add_process(key, Process { pid, host_pid: 0, comm, known, cgroup: None });
            }
        }
        let names = ListingNames {
            services: Services::parse(b"a-service-with-a-name 80/tcp\n"),
            users: NameCache::new(|uid| (uid % 2 == 0).then(|| "ein Benutzer 使用者".to_owned())),
            cgroups: NameCache::new(|id| (id % 2 == 0).then(|| "/slice".repeat(40))),
            language,
            ..ListingNames::default()
        };
        let mut out = Vec::new();
        let mut view = Netstat::new(&mut out, columns, Listening::All, names, Some(width), true);
        for (inode, row) in (1..).zip(&rows) {
            view.socket(&row.socket(inode), &holders).expect("written");
        }
        for (inode, row) in (1..).zip(&rows) {
            let unix = UnixSocket {
                netns: 1,
                cookie: None,
                references: Some(row.numbers.0),
                listening: row.owners > 2,
                kind: 1,
                state: 1,
                inode: NonZeroU64::new(inode),
                peer: None,
                path: Some(row.comm.as_slice().into()),
                is_abstract: true,
            };
            view.unix(&unix, &holders).expect("written");
        }
        view.finish(&holders).expect("written");
        drop(view);
        fits(&out, width)?;
    }
}
