//! The processes that open and hold connections.

use super::*;

/// A process that has forked holds every descriptor of its parent until it calls exec.
#[test]
fn the_owner_stays_as_long_as_it_holds_the_connection() {
    let owner = |pid| {
        Arc::new(Owner {
            pid,
            host_pid: 0,
            uid: 0,
            real_uid: None,
            cgroup: None,
            comm: b"server".as_slice().into(),
            process: None,
        })
    };
    let held_by = |time, pids: &[u32]| {
        let holders = pids.iter().map(|pid| owner(*pid)).collect();
        let seed = Seed { holders, ..waiting(time, 2) };
        Event::Seed(Seed { state: TcpState::Established, minisocket: false, ..seed })
    };
    let (syn, open) = (TcpState::SynRecv, TcpState::Established);
    // An accept names the process that opened the connection, so that the holder is another fact.
    let other = |evidence| match evidence {
        Evidence::Accept => [Some(40), Some(30)],
        _ => [Some(30), None],
    };
    for evidence in [Evidence::Listen, Evidence::Accept, Evidence::FdScan] {
        let mut table = ConnectionTable::default();
        if evidence != Evidence::FdScan {
            // An accept by the process that listens is no news.
            let listener = owner(if evidence == Evidence::Accept { 39 } else { 40 });
            let listens = Transition {
                cookie: socket(6),
                opening: Opening::ByProcess(Some(listener)),
                ..transition(1, TcpState::Close, TcpState::Listen, Opening::None)
            };
            changes_of(&mut table, &Event::Transition(listens));
            let opening = Opening::FromListener(Some(socket(6)));
            changes_of(
                &mut table,
                &Event::Transition(transition(2, TcpState::Listen, syn, opening)),
            );
            changes_of(&mut table, &Event::Transition(transition(3, syn, open, Opening::None)));
        }
        if evidence == Evidence::Accept {
            let (time, cookie) = (at(4), socket(7));
            changes_of(&mut table, &Event::Accepted { time, cookie, owner: owner(40) });
        }
        let mut held = |time: i64, pids: &[u32]| {
            changes_of(&mut table, &held_by(time * SECOND, pids));
            let row = table.rows().find(|row| row.id.cookie == socket(7)).expect("a row");
            let owner = row.owner.as_ref().map(|owner| owner.pid);
            [owner, row.holder.as_ref().map(|holder| holder.pid)]
        };
        assert_eq!(held(2, &[40]), [Some(40), None], "{evidence:?}");
        assert_eq!(held(4, &[30, 40]), [Some(40), None], "a child, {evidence:?}");
        assert_eq!(held(6, &[30]), other(evidence), "it was handed over, {evidence:?}");
        assert_eq!(held(8, &[50, 30]), other(evidence), "one of several, {evidence:?}");
        assert_eq!(held(10, &[40]), [Some(40), None], "it was handed back, {evidence:?}");
    }
}

/// The process with a number, a name and a program.
fn runs(pid: u32, comm: &str, path: &str) -> Arc<Owner> {
    let path = path.as_bytes().into();
    let program = Some(Arc::new(Program { path, is_deleted: false, arguments: None }));
    let process = KnownProcess { program, ..KnownProcess::started_at(Wall::EPOCH) };
    let (comm, process) = (comm.as_bytes().into(), Some(Arc::new(process)));
    Arc::new(Owner { pid, host_pid: 0, uid: 0, real_uid: None, cgroup: None, comm, process })
}

/// A server that has become another program or another user since it began to listen.
#[test]
fn an_accept_has_the_program_and_the_user_of_then() {
    let listens = runs(40, "binder", "/bin/binder");
    let accept = |by: &Arc<Owner>| {
        let mut table = ConnectionTable::default();
        let opening = Opening::ByProcess(Some(Arc::clone(&listens)));
        let listen = transition(1, TcpState::Close, TcpState::Listen, opening);
        let listener = Transition { cookie: socket(6), ..listen };
        let opening = Opening::FromListener(Some(socket(6)));
        let opened = transition(2, TcpState::Listen, TcpState::SynRecv, opening);
        [listener, opened].into_iter().map(Event::Transition).for_each(|event| {
            changes_of(&mut table, &event);
        });
        let (time, cookie, owner) = (at(4), socket(7), Arc::clone(by));
        let changes = changes_of(&mut table, &Event::Accepted { time, cookie, owner });
        let row = table.rows().find(|row| row.id.cookie == socket(7)).expect("a row");
        assert_eq!(row.owner.as_ref(), Some(by));
        (changes, row.evidence)
    };
    assert_eq!(accept(&listens), (0, Some(Evidence::Listen)), "itself");
    let other = runs(40, "server", "/bin/server");
    assert_eq!(accept(&other), (1, Some(Evidence::Accept)), "another program");
    let user = Arc::new(Owner { uid: 33, ..(*listens).clone() });
    assert_eq!(accept(&user), (1, Some(Evidence::Accept)), "another user");
}

/// The shape of a reverse shell: a script connects, and becomes a shell, or leaves the connection
/// to a child which does.
#[test]
fn a_connection_keeps_its_opener_beside_its_holder() {
    let python = || runs(40, "python3", "/usr/bin/python3");
    let shell = |pid| runs(pid, "sh", "/usr/bin/dash");
    let mut table = ConnectionTable::default();
    let opening = Opening::ByProcess(Some(python()));
    let syn_sent = TcpState::SynSent;
    changes_of(&mut table, &Event::Transition(transition(1, TcpState::Close, syn_sent, opening)));
    let mut held_by = |time: i64, holders: &[Arc<Owner>]| {
        let seed = Seed { holders: holders.into(), ..waiting(time * SECOND, 2) };
        let seed = Seed { state: syn_sent, minisocket: false, ..seed };
        let news = changes_of(&mut table, &Event::Seed(seed));
        let row = table.rows().next().expect("a row");
        assert_eq!((row.owner.as_ref(), row.evidence), (Some(&python()), Some(Evidence::Connect)));
        let holder = row.holder.as_ref().map(|holder| (holder.pid, holder.comm.to_vec()));
        (news, holder)
    };
    // A thread may have another name.
    let shown = |pid| Some((pid, b"sh".to_vec()));
    assert_eq!(held_by(2, &[runs(40, "worker", "/usr/bin/python3")]), (0, None));
    assert_eq!(held_by(4, &[shell(40)]), (1, shown(40)));
    assert_eq!(held_by(6, &[shell(40)]), (0, shown(40)));
    assert_eq!(held_by(8, &[shell(41)]), (1, shown(41)));
    assert_eq!(held_by(10, &[python()]), (1, None));
    // The script waits for the shell.
    assert_eq!(held_by(12, &[python(), shell(42)]), (1, shown(42)));
    assert_eq!(held_by(14, &[shell(39), python(), shell(42)]), (0, shown(42)), "it is known");
    assert_eq!(held_by(16, &[shell(39), python()]), (1, shown(39)));
    // A copy of the script, as a worker is, and one that becomes a shell while it is known.
    let copy = || runs(43, "python3", "/usr/bin/python3");
    assert_eq!(held_by(18, &[python(), copy()]), (1, None));
    let copied = || Some((43, b"python3".to_vec()));
    assert_eq!(held_by(20, &[copy()]), (1, copied()));
    assert_eq!(held_by(22, &[copy(), shell(44)]), (1, shown(44)), "the child of the copy");
    assert_eq!(held_by(24, &[copy()]), (1, copied()));
    let cron = runs(30, "cron", "/usr/sbin/cron");
    assert_eq!(held_by(26, &[cron, shell(43)]), (1, shown(43)), "the known process");
    // A name alone is no news.
    assert_eq!(held_by(28, &[runs(43, "job 7", "/usr/bin/dash")]), (0, shown(43)));
}

/// A command that the opener starts has inherited the connection, and lives for a moment.
#[test]
fn a_young_process_is_no_holder_beside_another() {
    let mut table = ConnectionTable::default();
    let mut holder = |time: i64, holders: &[Arc<Owner>], young: &[&Arc<Owner>]| {
        let young = young.iter().map(|holder| holder.key()).collect();
        let seed = Seed { holders: holders.into(), young, ..waiting(time * SECOND, 2) };
        let state = TcpState::Established;
        changes_of(&mut table, &Event::Seed(Seed { state, minisocket: false, ..seed }));
        let row = table.rows().next().expect("a row");
        let numbers = (row.owner.as_ref()?.pid, row.holder.as_ref().map(|holder| holder.pid));
        Some(numbers)
    };
    let (server, date) = (runs(40, "server", "/usr/bin/server"), runs(41, "date", "/usr/bin/date"));
    let both = [Arc::clone(&server), Arc::clone(&date)];
    assert_eq!(holder(2, &both, &[&date]), Some((40, None)));
    assert_eq!(holder(4, &both, &[]), Some((40, Some(41))), "it stays");
    assert_eq!(holder(6, &both, &[&date]), Some((40, Some(41))), "and is known");
    assert_eq!(holder(8, &both[1..], &[&date]), Some((41, None)), "the server is gone");
}
