//! Processes that change: the user by a program, by a login, the namespaces, the program from a
//! thread, and the process behind a number. And arguments of any size and kind.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output},
};

use rustix::{process::getpid, thread::gettid};
use serde_json::Value;

use super::programs::{CONNECTS, assert_fields, bash, clients, run, with_server};
use crate::kernel::{
    harness::Watch,
    recording::{Directory, Record, history, settle},
    tier::{Tier, has_types, netns, tier},
};

/// The user of a login, and a user without rights.
const ALICE: u32 = 4_242;
const UNPRIVILEGED: u32 = 65_534;
/// The variable with the address that the child of a test connects to.
const TO: &str = "NETMON_TEST_CONNECT_TO";

/// Logs in, becomes another user, and connects to the address of the first argument.
fn log_in(to: &str) {
    let script = format!(
        "echo {ALICE} > /proc/self/loginuid || exit 1; \
         exec setpriv --reuid={UNPRIVILEGED} --clear-groups {} -c '{CONNECTS}' \"$0\"",
        bash().display()
    );
    run(&bash(), &["-c", &script, to]);
}

#[test]
fn a_login_stays_whatever_user_the_process_becomes() {
    let directory = Directory::new();
    with_server(|address| {
        let record = Record::start(&directory.0);
        let mut watch = Watch::start(&[]);
        let to = address.to_string();
        log_in(&to);
        run(&bash(), &["-c", CONNECTS, &to]);
        let ends = clients(&mut watch, address, 2);
        assert_eq!(ends[0]["uid"], UNPRIVILEGED, "{}", ends[0]);
        assert_fields(&ends[0], &[("login_uid", ALICE.into())]);
        assert_eq!(ends[0]["login_session"].is_u64(), tier() != Tier::Basic, "{}", ends[0]);
        assert_ne!(ends[1]["login_uid"], ALICE, "{}", ends[1]);
        record.stop();
        settle(&directory);
        let rows = history(&directory.0, &format!("login_uid = {ALICE} and dir = out"));
        assert_eq!(rows.len(), usize::from(tier() != Tier::Basic), "{rows:#?}");
        for row in rows {
            assert_eq!((&row["login_uid"], &row["uid"]), (&ALICE.into(), &UNPRIVILEGED.into()));
            assert_eq!(row["real_uid"], UNPRIVILEGED, "{row}");
        }
    });
}

/// The kernel's types tell where the effective user is.
#[test]
fn a_program_that_sets_its_user_has_two() {
    let directory = Directory::new();
    let journal = Directory::new();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).expect("its owner");
    let copy = directory.0.join("setuid");
    fs::copy(bash(), &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("its owner");
    with_server(|address| {
        let record = Record::start(&journal.0);
        let mut watch = Watch::start(&[]);
        let user = format!("--reuid={UNPRIVILEGED}");
        let path = copy.to_string_lossy();
        // The program fails where the file system ignores the bit.
        let script = format!("[ $EUID = 0 ] && {CONNECTS}");
        let args = [&user, "--clear-groups", &path, "-p", "-c", &script, &address.to_string()];
        run(Path::new("setpriv"), &args);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        let effective = if has_types() { 0 } else { UNPRIVILEGED };
        assert_eq!(client["uid"], effective, "{client}");
        assert_eq!(client["real_uid"], UNPRIVILEGED, "{client}");
        let bash = format!("{path} -p -c");
        assert_fields(client, &[("exe", (*path).into())]);
        let args = client["args"].as_str();
        assert_eq!(args.is_some_and(|args| args.starts_with(&bash)), tier() != Tier::Basic);
        record.stop();
        settle(&journal);
        let port = address.port();
        let filter =
            format!("uid = {effective} and dir = out and dport = {port} and netns = {}", netns());
        let rows = history(&journal.0, &filter);
        let [row] = &rows[..] else { panic!("one: {rows:#?}") };
        assert_eq!(row["real_uid"], UNPRIVILEGED, "{row}");
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let number = UNPRIVILEGED.to_string();
        let user = users.lines().find(|line| line.split(':').nth(2) == Some(&number));
        let name = user.and_then(|user| user.split(':').next());
        assert_eq!(row["real_user"].as_str(), name, "{row}");
    });
}

#[test]
fn a_process_has_the_namespaces_that_its_program_began_in() {
    let own = |name: &str| {
        fs::metadata(format!("/proc/self/ns/{name}")).expect("its own namespace").ino()
    };
    let (mnt, pid, user) = (own("mnt"), own("pid"), own("user"));
    let directory = Directory::new();
    with_server(|address| {
        let record = Record::start(&directory.0);
        let mut watch = Watch::start(&[]);
        let bash = bash();
        let args = ["--mount", "--user", &bash.to_string_lossy(), "-c", CONNECTS];
        run(Path::new("unshare"), &[&args[..], &[&address.to_string()]].concat());
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        assert_fields(client, &[("pid_ns", pid.into())]);
        let is_other =
            |row: &Value, name: &str, own: u64| row[name].as_u64().is_some_and(|of| of != own);
        let others = [is_other(client, "mnt_ns", mnt), is_other(client, "user_ns", user)];
        assert_eq!(others, [tier() != Tier::Basic; 2], "{client}");
        let server = watch.events.iter().find(|event| event["direction"] == "inbound");
        let server = server.expect("the server");
        let ours = [("mnt_ns", mnt.into()), ("pid_ns", pid.into()), ("user_ns", user.into())];
        assert_fields(server, &ours);
        record.stop();
        settle(&directory);
        let port = address.port();
        let filter = format!("dir = out and dport = {port} and netns = {}", netns());
        let rows = history(&directory.0, &filter);
        let [row] = &rows[..] else { panic!("one: {rows:#?}") };
        for name in ["mnt_ns", "pid_ns", "user_ns"] {
            assert_eq!(row[name], client[name], "{name}");
        }
    });
}

/// The test is its own child too: there, a thread that is not the first calls exec.
#[test]
fn a_thread_that_calls_exec_becomes_its_process() {
    if let Ok(to) = env::var(TO) {
        assert_ne!(gettid(), getpid(), "the first thread");
        let error = Command::new(bash()).args(["-c", CONNECTS, &to]).exec();
        panic!("no exec: {error}");
    }
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let to = address.to_string();
        let mut command = Command::new(env::current_exe().expect("a path"));
        let name = "kernel::process_changes::a_thread_that_calls_exec_becomes_its_process";
        // With two threads, no test runs in the first.
        command.args([name, "--exact", "--test-threads=2"]).env(TO, &to);
        let child = command.spawn().expect("a process");
        let pid = child.id();
        let Output { status, .. } = child.wait_with_output().expect("its end");
        assert!(status.success(), "{status}");
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        assert_eq!(client["pid"], pid, "{client}");
        let line = format!("{} -c '{CONNECTS}' {to}", bash().display());
        let fields: [(&str, Value); 2] =
            [("exe", bash().to_string_lossy().into()), ("args", line.into())];
        assert_fields(client, &fields);
    });
}

#[test]
fn a_number_that_the_kernel_gives_again_is_another_process() {
    if tier() == Tier::Basic {
        return;
    }
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let to = address.to_string();
        let connects = |name: &str| {
            let mut command = Command::new(bash());
            let mut child = command.args(["-c", CONNECTS, &to, name]).spawn().expect("a process");
            assert!(child.wait().expect("its end").success());
            child.id()
        };
        let pid = connects("first");
        // Other tests may take the number.
        let comes_again = |_| {
            let last = (pid - 1).to_string();
            fs::write("/proc/sys/kernel/ns_last_pid", last).expect("CONFIG_CHECKPOINT_RESTORE");
            connects("second") == pid
        };
        assert!((0..300).any(comes_again), "{pid} did not come again");
        let of_pid = |events: &[Value]| -> Vec<String> {
            let is_it = |event: &&Value| {
                event["type"] == "closed" && event["pid"] == pid && event["direction"] == "outbound"
            };
            let args = events.iter().filter(is_it).filter_map(|event| event["args"].as_str());
            args.filter_map(|args| args.rsplit(' ').next().map(str::to_owned)).collect()
        };
        watch.until("both processes", |events| of_pid(events).len() >= 2);
        assert_eq!(of_pid(&watch.events), ["first", "second"]);
    });
}

#[test]
fn long_and_odd_arguments_are_bounded_and_marked() {
    let directory = Directory::new();
    with_server(|address| {
        let record = Record::start(&directory.0);
        let mut watch = Watch::start(&[]);
        let to = address.to_string();
        let mut command = Command::new(bash());
        command.args(["-c", CONNECTS, &to]).arg(OsStr::from_bytes(b"a\nb\xff\x1b[2J"));
        command.arg("x".repeat(100_000));
        assert!(command.status().expect("a process").success());
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        record.stop();
        settle(&directory);
        let port = address.port();
        let filter = format!("dir = out and dport = {port} and netns = {}", netns());
        let recorded = &history(&directory.0, &filter)[0];
        for row in [client, recorded] {
            assert_fields(row, &[("args_cut", true.into())]);
            let args = row["args"].as_str();
            let is_right = |args: &str| {
                args.contains("a\nb\u{fffd}\u{1b}[2J") && args.ends_with("xxx") && args.len() < 700
            };
            assert_eq!(args.is_some_and(is_right), tier() != Tier::Basic, "{row}");
        }
    });
}
