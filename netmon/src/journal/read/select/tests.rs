//! The columns of a row and the row itself answer every filter alike.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    core::{
        arguments::Arguments,
        cgroup::Cgroup,
        change::Step,
        connection::{Connection, Direction},
        event::{Totals, Transition},
        filter::{FilterNames, RowKind, WORDS},
        id::{Binding, ConnectionId, Tuple, socket},
        process::{Owner, Process},
        program::{Ancestor, KnownProcess, Login, Program},
        time::{Anchor, Mono, at},
        verdict::Verdict,
    },
    journal::schema::{ConnectionBuilder, ConnectionReader, NumberNames},
};

const ANCHOR: Anchor =
    Anchor { monotonic: at(17_000), wall: Wall::from_nanos(1_795_413_012_000_007_000) };

/// The names of the recorded host.
struct Names;

impl NumberNames for Names {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        (uid == 33).then(|| "www-data".into())
    }

    fn netns(&mut self, inum: u32) -> Option<Arc<str>> {
        (inum == 2).then(|| "blue".into())
    }
}

/// The names of a filter: those of the journal.
struct Recorded;

impl FilterNames for Recorded {
    fn service(&self, name: &str) -> Option<u16> {
        (name == "https").then_some(443)
    }

    fn are_recorded(&self) -> bool {
        true
    }
}

/// The last transition of a connection, and its row.
fn ended() -> impl Strategy<Value = (Transition, Connection)> {
    let end = || {
        (0..3_u8, select(vec![0_u16, 22, 443]))
            .prop_map(|(host, port)| (std::net::Ipv4Addr::new(10, 0, 0, host), port).into())
    };
    let place = (end(), end(), 1..3_u32, 0..2_u32);
    let count = || option::of(select(vec![0_u64, 1, 1 << 20, 1 << 21, u64::MAX]));
    let totals = option::of((count(), count(), option::of(0..3_u32), option::of(0..200_000_u32)));
    let comm = select(vec![&b"nginx"[..], b"ngin\xff", b"curl", b""]);
    let owner = option::of((812..814_u32, 32..34_u32, 6..10_u64, comm.clone()));
    let holder = option::of((812..815_u32, comm));
    let verdict = option::of(select(Verdict::ALL.to_vec()));
    let end = (verdict, option::of(select(vec![104_u8, 111, 200])), any::<bool>());
    let direction = option::of(select(Direction::ALL.to_vec()));
    let age = (0..2_000_000_u64, any::<bool>());
    (place, totals, (owner, holder), end, direction, age, 0x4e..0x50_u64).prop_map(
        |((local, remote, netns, interface), totals, processes, end, direction, age, cookie)| {
            let (owner, holder) = processes;
            let tuple = Tuple { netns, interface, local, remote };
            let new = if end.2 { TcpState::Close } else { TcpState::TimeWait };
            let bare = Transition::bare(socket(cookie), tuple, TcpState::LastAck, new);
            let time = Mono::BOOT + Duration::from_secs(10);
            let totals = totals.map(|(bytes_sent, bytes_received, retransmits, rtt_us)| Totals {
                bytes_sent,
                bytes_received,
                retransmits,
                rtt_us,
            });
            let transition = Transition { time, errno: end.1, totals, ..bare };
            let epoch = time - Duration::from_micros(age.0);
            let id = ConnectionId { cookie: socket(cookie), epoch };
            let mut row = Connection::new(id, tuple, new);
            (row.opened, row.first_sight) = (ANCHOR.wall_time(epoch), age.1);
            row.binding = Binding { device: (interface == 1).then(|| "eth0".into()), v6only: None };
            row.owner = owner.map(|(pid, uid, cgroup, comm)| {
                let (process, cgroup) = (process(comm), Some(Arc::new(cgroup_of(cgroup))));
                let (host_pid, real_uid, comm) = (0, Some(33), comm.into());
                Arc::new(Owner { pid, host_pid, uid, real_uid, cgroup, comm, process })
            });
            row.holder = holder.map(|(pid, comm)| {
                let (known, cgroup, comm) = (process(comm), None, comm.into());
                Arc::new(Process { pid, host_pid: 0, comm, known, cgroup })
            });
            (row.direction, row.verdict) = (direction, end.0);
            (transition, row)
        },
    )
}

/// The cgroup with an id, whose path is not always known.
fn cgroup_of(id: u64) -> Cgroup {
    let pod = "/kubepods/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let path = match id {
        6 => None,
        7 => Some("/system.slice/nginx.service".to_owned()),
        8 => Some("/user.slice/user-1000.slice/user@1000.service/app.service".to_owned()),
        _ => Some(format!("{pod}/{}", "3f2a".repeat(16))),
    };
    Cgroup::new(id, path.map(|path| path.into_bytes().into()))
}

/// The process with a name, which is not always known.
fn process(comm: &[u8]) -> Option<Arc<KnownProcess>> {
    let directory: &[u8] = if comm == b"curl" { b"/usr/bin/" } else { b"/opt/" };
    let program = Program {
        path: [directory, comm].concat().into(),
        is_deleted: false,
        arguments: Arguments::new(b"curl\0manage.py\0", 15).filter(|_| comm == b"curl"),
    };
    let program = (!comm.is_empty()).then(|| Arc::new(program));
    let shell = Program { path: b"/bin/bash"[..].into(), is_deleted: false, arguments: None };
    let above = Ancestor { pid: 811, program: Arc::new(shell) };
    let process = KnownProcess {
        program,
        parent: 811,
        login: Login::new(33, 2).filter(|_| comm == b"curl"),
        ancestors: if comm == b"curl" { Box::new([above]) } else { Box::default() },
        ..KnownProcess::started_at(ANCHOR.wall)
    };
    (comm != b"ngin\xff").then(|| Arc::new(process))
}

/// Filters of one term: the example of each word, and others.
fn terms() -> Vec<String> {
    let more = [
        "comm ~ ^ng",
        "comm = nginx",
        "comm = ngin?",
        "exe = /opt/nginx",
        "exe ~ ^/opt",
        "args != *",
        "parent = 811",
        "parent != */bash",
        "pid = 814",
        "login_uid = 33",
        "login_uid != 33",
        "login_user = www-*",
        "comm = curl",
        "dev != 1",
        "dev = 0",
        "uid = 33",
        "user = www-*",
        "netns = 1",
        "netns = self",
        "netns ~ ^b",
        "cgroup = 7",
        "cgroup = /system*",
        "unit = nginx.service",
        "unit ~ ^user and user_unit = app.*",
        "container = 3f2a3f2a3f2a",
        "pod != 0f1e*",
        "dir in out,listen",
        "verdict in refused,vanished",
        "errno = 200",
        "lifetime >= 0us",
        "bytes = 0",
        "bytes_received < 2M",
        "retrans = 0",
        "rtt <= 10ms",
        "port < 100",
        "host 10.0.0.1:443",
        "pid in 812,1",
        "cookie = 78",
    ];
    WORDS.iter().map(|word| word.example).chain(more).map(ToOwned::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn columns_answer_as_rows(
        ended in vec(ended(), 1..20),
        one in select(terms()),
        two in select(terms()),
        joint in select(vec!["and", "or", "and not", "or not"]),
        own in option::of(0..3_u32),
    ) {
        let mut builder = ConnectionBuilder::new(&Arc::from("boot"));
        for (transition, connection) in &ended {
            let verdict = connection.verdict;
            let step = Step { transition, connection, in_state: None, verdict, corrected: false };
            builder.push(ANCHOR, &step);
        }
        let mut batch = builder.finish(&mut Names).expect("a batch");
        if let Some(own) = own {
            batch.schema_metadata_mut().insert(NETNS_KEY, own.to_string());
        }
        let mut reader = ConnectionReader::new(&batch).expect("the columns");
        let all = TimeSpan { from: Wall::MIN, to: Wall::MAX };
        for text in [one.clone(), format!("not {two}"), format!("{one} {joint} {two}")] {
            let filter = Filter::parse(&text, &Recorded, RowKind::Connection).expect(&text);
            let chosen = selected(&batch, all, &filter).expect("the columns");
            for row in 0..batch.num_rows() {
                let ended = reader.get(row).expect("a row");
                let matched = filter.matches(&ended.step());
                prop_assert_eq!(chosen.value(row), matched, "{}: {:?}", text, ended);
            }
        }
    }
}
