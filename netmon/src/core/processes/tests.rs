use super::*;
use crate::core::time::at;

/// No login, and namespaces that are not known.
const NO_MORE: (Option<Login>, Namespaces) = (None, Namespaces { mnt: 0, pid: 0, user: 0 });
/// The namespaces of the processes that a look finds.
const HOST: Namespaces = Namespaces { mnt: 1, pid: 2, user: 3 };

fn id(pid: u32, started: u64) -> ProcessId {
    ProcessId { key: ProcessKey::Inside(pid), started }
}

fn program(path: &str) -> Option<Program> {
    Some(Program { path: path.as_bytes().into(), is_deleted: false, arguments: None })
}

/// Returns the path of a process; `started`: 0 for any.
fn path(processes: &Processes, pid: u32, started: u64) -> Option<String> {
    let run = netmon_common::run(started * TICK, 0);
    let process = processes.of(ProcessKey::Inside(pid), run)?;
    let path = process.program.as_ref().map(|program| program.path.to_vec());
    path.map(|path| String::from_utf8(path).expect("UTF-8"))
}

fn ancestors(processes: &Processes, pid: u32) -> Vec<u32> {
    let process = processes.of(ProcessKey::Inside(pid), 0).expect("known");
    process.ancestors.iter().map(|ancestor| ancestor.pid).collect()
}

fn seen(pid: u32, parent: u32, path: &str) -> SeenProcess {
    let program = program(path).map(Arc::new);
    SeenProcess { id: id(pid, 5), time: at(10), parent, program, login: None, namespaces: HOST }
}

#[test]
fn a_copy_has_the_program_of_its_parent_until_it_runs_another() {
    let mut processes = Processes::new(Wall::EPOCH);
    processes.exec(at(1), (id(10, 100), 0), program("/bin/sh"), NO_MORE);
    processes.fork(at(2), (id(11, 101), 0), (ProcessKey::Inside(10), 0), NO_MORE);
    assert_eq!(path(&processes, 11, 101).as_deref(), Some("/bin/sh"));
    processes.exec(at(3), (id(11, 101), 0), program("/bin/nc"), NO_MORE);
    assert_eq!(path(&processes, 11, 0).as_deref(), Some("/bin/nc"));
    assert_eq!(path(&processes, 11, 102), None, "another process with that number");
    let process = processes.of(ProcessKey::Inside(11), 0).expect("known");
    assert_eq!((process.parent, process.started), (10, Wall::from_nanos(1_010_000_000)));
    assert_eq!(ancestors(&processes, 11), [10]);
}

#[test]
fn ancestors_are_few_and_outlive_their_processes() {
    let mut processes = Processes::new(Wall::EPOCH);
    processes.exec(at(1), (id(1, 1), 0), program("/sbin/init"), NO_MORE);
    for pid in 2..10_u32 {
        processes.fork(at(1), (id(pid, 2), 0), (ProcessKey::Inside(pid - 1), 0), NO_MORE);
        processes.exit(at(1), id(pid - 1, 2));
    }
    assert_eq!(ancestors(&processes, 9), [8, 7, 6, 5]);
}

#[test]
fn an_ended_process_stays_for_a_while() {
    let second = 1_000_000_000;
    let mut processes = Processes::new(Wall::EPOCH);
    processes.exec(at(0), (id(10, 1), 0), program("/bin/a"), NO_MORE);
    processes.exit(at(second), id(10, 1));
    processes.fork(at(5 * second), (id(11, 1), 0), (ProcessKey::Inside(1), 0), NO_MORE);
    assert!(path(&processes, 10, 1).is_some());
    // Another process with the number does not end with the first.
    processes.exec(at(6 * second), (id(10, 9), 0), program("/bin/b"), NO_MORE);
    processes.exit(at(6 * second), id(10, 1));
    processes.fork(at(20 * second), (id(12, 1), 0), (ProcessKey::Inside(1), 0), NO_MORE);
    assert_eq!(path(&processes, 10, 9).as_deref(), Some("/bin/b"));
}

#[test]
fn the_table_is_bounded() {
    let mut processes = Processes::new(Wall::EPOCH);
    let most = u32::try_from(MOST).expect("32 bits");
    for pid in 1..=most {
        processes.exec(at(0), (id(pid, 1), 0), program("/bin/a"), NO_MORE);
    }
    processes.exec(at(1), (id(most + 1, 1), 0), program("/bin/b"), NO_MORE);
    assert_eq!((processes.take_not_kept(), path(&processes, most + 1, 1)), (1, None));
    processes.exit(at(2), id(7, 1));
    processes.exec(at(3), (id(most + 1, 1), 0), program("/bin/b"), NO_MORE);
    assert_eq!((processes.take_not_kept(), path(&processes, 7, 1)), (0, None));
    assert_eq!(path(&processes, most + 1, 1).as_deref(), Some("/bin/b"));
    assert_eq!(processes.known.len(), MOST);
}

#[test]
fn a_lost_exec_leaves_no_former_program() {
    let mut processes = Processes::new(Wall::EPOCH);
    let (key, run) = (ProcessKey::Inside(10), |execs| netmon_common::run(100 * TICK, execs));
    processes.exec(at(1), (id(10, 100), 7), program("/bin/sh"), NO_MORE);
    assert!(processes.of(key, run(7)).is_some());
    assert_eq!(processes.of(key, run(8)), None, "it runs another program");
    // Its child neither.
    processes.fork(at(2), (id(11, 101), 8), (key, run(8)), NO_MORE);
    assert_eq!(path(&processes, 11, 0), None);
    assert_eq!(ancestors(&processes, 11), [0; 0]);
    // The child of another process that had the number.
    processes.fork(at(3), (id(12, 102), 7), (key, netmon_common::run(99 * TICK, 7)), NO_MORE);
    assert_eq!(path(&processes, 12, 0), None);
    // A look does not know the number of programs.
    processes.seed(&[seen(20, 1, "/bin/found")]);
    let run = netmon_common::run(5 * TICK, 200);
    assert!(processes.of(ProcessKey::Inside(20), run).is_some());
}

#[test]
fn a_process_that_proc_lacks_has_ended() {
    let mut processes = Processes::new(Wall::EPOCH);
    processes.exec(at(1), (id(7, 5), 0), program("/bin/lost"), NO_MORE);
    processes.exec(at(1), (id(8, 5), 0), program("/bin/there"), NO_MORE);
    processes.exec(at(20), (id(9, 5), 0), program("/bin/younger"), NO_MORE);
    let late = at(20) + KEPT;
    processes.seed(&[seen(8, 1, "/bin/there")]);
    processes.forget(late);
    assert!(path(&processes, 7, 5).is_some(), "`/proc` hides processes");
    processes.seed(&[seen(1, 0, "/sbin/init"), seen(8, 1, "/bin/there")]);
    processes.forget(late);
    assert_eq!(path(&processes, 7, 5), None);
    assert!(path(&processes, 8, 5).is_some() && path(&processes, 9, 5).is_some());
}

#[test]
fn a_look_completes_a_process_and_takes_nothing_from_it() {
    let mut processes = Processes::new(Wall::EPOCH);
    // The fork was lost.
    processes.exec(at(1), (id(3, 5), 0), program("/bin/nc"), NO_MORE);
    processes.seed(&[seen(1, 0, "/sbin/init"), seen(2, 1, "/bin/sh"), seen(3, 2, "/bin/nc")]);
    assert_eq!(ancestors(&processes, 3), [2, 1]);
    // A zombie.
    processes.seed(&[SeenProcess { program: None, ..seen(3, 2, "") }]);
    assert_eq!(path(&processes, 3, 5).as_deref(), Some("/bin/nc"));
    // The records of before the look come after it.
    processes.fork(at(9), (id(3, 5), 0), (ProcessKey::Inside(2), 0), NO_MORE);
    assert_eq!(path(&processes, 3, 5).as_deref(), Some("/bin/nc"));
    processes.fork(at(9), (id(4, 6), 0), (ProcessKey::Inside(2), 0), NO_MORE);
    assert_eq!(path(&processes, 4, 6).as_deref(), Some("/bin/sh"));
    // A look after the end of the parent shows another one.
    processes.seed(&[seen(6, 1, "/bin/orphan")]);
    processes.fork(at(9), (id(6, 5), 0), (ProcessKey::Inside(2), 0), NO_MORE);
    let orphan = processes.of(ProcessKey::Inside(6), 0).expect("known");
    assert_eq!((orphan.parent, ancestors(&processes, 6)), (2, vec![2, 1]));
    assert_eq!(path(&processes, 6, 5).as_deref(), Some("/bin/orphan"));
    // A parent that has run another program since.
    processes.exec(at(30), (id(2, 5), 1), program("/bin/late"), NO_MORE);
    processes.fork(at(29), (id(5, 6), 0), (ProcessKey::Inside(2), 0), NO_MORE);
    assert_eq!(path(&processes, 5, 6), None);
}

#[test]
fn records_say_more_than_an_older_look() {
    let mut processes = Processes::new(Wall::EPOCH);
    processes.exec(at(20), (id(3, 5), 0), program("/bin/new"), NO_MORE);
    processes.exec(at(2), (id(4, 5), 0), program("/bin/lost"), NO_MORE);
    processes.seed(&[
        seen(1, 0, "/sbin/init"),
        seen(2, 1, "/bin/sh"),
        seen(3, 2, "/bin/old"),
        seen(4, 2, "/bin/found"),
    ]);
    assert_eq!(path(&processes, 3, 5).as_deref(), Some("/bin/new"));
    assert_eq!(path(&processes, 4, 5).as_deref(), Some("/bin/found"));
    assert_eq!(ancestors(&processes, 4), [2, 1]);
    assert_eq!(ancestors(&processes, 1), [0; 0]);
    // The number of a parent that was given to a later process.
    let later = SeenProcess { id: id(20, 6), ..seen(20, 1, "/bin/later") };
    processes.seed(&[seen(1, 0, "/sbin/init"), later, seen(21, 20, "/bin/child")]);
    assert_eq!(ancestors(&processes, 21), [0; 0]);
    // A process that is its own parent, as a race in `/proc` may show.
    processes.seed(&[seen(9, 9, "/bin/loop")]);
    assert_eq!(ancestors(&processes, 9), [9; 4]);
}

#[test]
fn a_login_is_that_of_the_last_record_or_look() {
    let login = |uid| (Login::new(uid, 7), HOST);
    let mut processes = Processes::new(Wall::EPOCH);
    let of = |processes: &Processes, pid| {
        let process = processes.of(ProcessKey::Inside(pid), 0)?;
        process.login.as_ref().map(|login| (login.uid, login.session))
    };
    processes.exec(at(1), (id(10, 100), 0), program("/usr/sbin/sshd"), login(u32::MAX));
    processes.fork(at(2), (id(11, 101), 0), (ProcessKey::Inside(10), 0), login(1_000));
    assert_eq!(of(&processes, 11), Some((1_000, 7)));
    assert_eq!(of(&processes, 10), Some((1_000, 7)), "it has logged in before the fork");
    // It becomes another user by the exec of `su`, and stays the same login.
    processes.exec(at(3), (id(11, 101), 1), program("/usr/bin/su"), login(1_000));
    assert_eq!(of(&processes, 11), Some((1_000, 7)));
    // A login takes no exec: the next look at `/proc` finds it.
    processes.exec(at(4), (id(12, 5), 0), program("/usr/sbin/cron"), NO_MORE);
    let found = SeenProcess { login: login(1_001).0, ..seen(12, 1, "/usr/sbin/cron") };
    processes.seed(&[found]);
    assert_eq!(of(&processes, 12), Some((1_001, 7)));
    // A look that does not know of the login takes none away.
    processes.seed(&[SeenProcess { time: at(20), ..seen(12, 1, "/usr/sbin/cron") }]);
    assert_eq!(of(&processes, 12), Some((1_001, 7)));
}

#[test]
fn namespaces_are_those_of_the_last_record_or_look() {
    let mut processes = Processes::new(Wall::EPOCH);
    let of = |processes: &Processes| {
        processes.of(ProcessKey::Inside(12), 0).map(|process| process.namespaces)
    };
    let inside = Namespaces { mnt: 7, ..HOST };
    processes.exec(at(4), (id(12, 5), 0), program("/usr/bin/unshare"), (None, HOST));
    processes.exec(at(5), (id(12, 5), 1), program("/bin/sh"), (None, inside));
    assert_eq!(of(&processes), Some(inside));
    // Another process has moved it (setns), or it has moved itself.
    processes.seed(&[seen(12, 1, "/bin/sh")]);
    assert_eq!(of(&processes), Some(HOST));
    // A process that hides its namespaces from a look keeps them.
    let hidden = NO_MORE.1;
    let later = SeenProcess { time: at(20), namespaces: hidden, ..seen(12, 1, "/bin/sh") };
    processes.seed(&[later]);
    assert_eq!(of(&processes), Some(HOST));
}
