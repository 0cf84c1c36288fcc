//! Processes that change: the user by a program, by a login, and the program from a thread.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
};

use rustix::{process::getpid, thread::gettid};
use serde_json::Value;

use super::programs::{CONNECTS, assert_fields, bash, clients, run, with_server};
use crate::kernel::{
    harness::Watch,
    recording::{Directory, Record, history, settle},
    tier::{Tier, tier},
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
        }
    });
}

#[test]
fn a_program_that_sets_its_user_is_that_program() {
    let directory = Directory::new();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).expect("its owner");
    let copy = directory.0.join("setuid");
    fs::copy(bash(), &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("its owner");
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let user = format!("--reuid={UNPRIVILEGED}");
        let path = copy.to_string_lossy();
        // The program fails where the file system ignores the bit.
        let script = format!("[ $EUID = 0 ] && {CONNECTS}");
        let args = [&user, "--clear-groups", &path, "-p", "-c", &script, &address.to_string()];
        run(Path::new("setpriv"), &args);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        // The user is the real one, as in `ps -o ruser`.
        assert_eq!(client["uid"], UNPRIVILEGED, "{client}");
        let bash = format!("{path} -p -c");
        assert_fields(client, &[("exe", (*path).into())]);
        let args = client["args"].as_str();
        assert_eq!(args.is_some_and(|args| args.starts_with(&bash)), tier() != Tier::Basic);
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
