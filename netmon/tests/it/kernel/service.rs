//! `netmon record` as a service.

use std::{
    collections::BTreeSet,
    hint,
    net::TcpStream,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::retry_on_intr,
    net::{RecvFlags, recv},
};

use crate::kernel::{
    harness::{Over, load, patience},
    netns::sh,
    recording::{Directory, Record, netmon, settle},
};

/// The number of times that each pair of signals is sent: a wrong end shows in some runs only.
const ROUNDS: usize = 10;

#[test]
fn a_service_manager_is_notified() {
    let directory = Directory::new();
    let path = directory.0.join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(patience())).expect("a timeout");
    let message = || {
        let mut news = [0; 200];
        let receive = || recv(&manager, news.as_mut_slice(), RecvFlags::empty());
        let (length, _) = retry_on_intr(receive).expect("news");
        String::from_utf8_lossy(&news[..length]).trim().to_owned()
    };
    let mut record = netmon(&["record", "--journal"], &directory.0)
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .spawn()
        .expect("netmon starts");
    assert_eq!(message(), "READY=1");
    // A finished segment has two files for a moment.
    let segments = || {
        let files = directory.dataset_files("events", "");
        files.iter().filter_map(|path| path.file_stem()).collect::<BTreeSet<_>>().len()
    };
    let until = |count| {
        let end = Instant::now() + patience();
        while segments() < count && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(segments(), count);
    };
    until(1);
    sh(&format!("kill -HUP {}", record.id()));
    until(2);
    sh(&format!("kill -TERM {}", record.id()));
    let mut last = message();
    while last.starts_with("STATUS=") {
        last = message();
    }
    assert_eq!(last, "STOPPING=1");
    assert!(record.wait().expect("it ends").success());
    let more = settle(&directory);
    assert_eq!(directory.dataset_files("events", ".parquet").len(), 2 + more);
}

/// The thread that makes Parquet has a low priority. A host that is busy for long does not keep the
/// recorder from its end.
#[test]
fn a_recorder_ends_on_a_busy_host() {
    let directory = Directory::new();
    let is_over = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..cores {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let record = Record::start(&directory.0);
        for _ in 0..4 {
            for _ in 0..load(500) {
                TcpStream::connect("127.0.0.1:9").expect_err("no listener");
            }
            record.signal("HUP");
            thread::sleep(Duration::from_millis(700));
        }
        record.stop();
    });
    // The end takes 30 s at most, and what is left then stays as it is.
    assert_eq!(directory.dataset_files("events", ".arrows"), Vec::<PathBuf>::new());
}

/// timeout(1) sends two signals as well: to its child, and then to its group.
#[test]
fn two_signals_at_once_are_one() {
    let directory = Directory::new();
    // The kernel may merge two signals of the same kind. Signals of two kinds are always two.
    for signals in [["TERM", "TERM"], ["TERM", "INT"]].repeat(ROUNDS) {
        let record = Record::start(&directory.0);
        let id = record.id();
        sh(&signals.map(|signal| format!("kill -{signal} {id}")).join("; "));
        let stderr = record.ended();
        assert!(stderr.contains("events recorded"), "{signals:?}: {stderr}");
    }
}
