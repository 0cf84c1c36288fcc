//! `netmon snapshot` against `ss`, and its two sources against each other, on sockets that keep
//! still.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    process::{Command, Output},
};

use serde_json::Value;

use crate::kernel::{
    every_state::{HeldSockets, SHARED, STATES},
    harness::{here, is_about_others},
    netns::Netns,
    tier::{has_iterators, sources},
};
use crate::schema::object;

fn netmon(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netmon"))
        .arg("snapshot")
        .args(here(args))
        .output()
        .expect("netmon starts")
}

fn text(args: &[&str]) -> String {
    let output = netmon(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = is_about_others(&stderr);
    assert!(output.status.success() && expected, "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The rows of `snapshot --json`, in no order.
fn rows(args: &[&str]) -> Vec<Value> {
    let mut all = vec!["--json"];
    all.extend(args);
    text(&all).lines().map(object).collect()
}

/// A socket as both programs print it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    proto: String,
    state: String,
    queues: (u64, u64),
    local: SocketAddr,
    remote: SocketAddr,
    uid: Option<u64>,
    inode: Option<u64>,
    cookie: Option<u64>,
    timer: Option<String>,
    pids: Vec<u64>,
}

fn row_of_netmon(row: &Value) -> Row {
    let end = |side: &str| {
        let address = row[format!("{side}_addr")].as_str().expect("an address");
        let port = row[format!("{side}_port")].as_u64().unwrap_or(0);
        SocketAddr::new(address.parse().expect("an address"), port.try_into().expect("a port"))
    };
    let word = |key: &str| row[key].as_str().expect("a word").to_owned();
    let mut pids: Vec<u64> = row["owners"]
        .as_array()
        .expect("owners")
        .iter()
        .map(|owner| owner["pid"].as_u64().expect("a pid"))
        .collect();
    pids.sort_unstable();
    Row {
        proto: word("proto"),
        state: word("state"),
        queues: (row["recv_q"].as_u64().expect("bytes"), row["send_q"].as_u64().expect("bytes")),
        local: end("local"),
        remote: end("remote"),
        // ss does not print the UID of root.
        uid: row["uid"].as_u64().filter(|uid| *uid != 0),
        inode: row["inode"].as_u64(),
        cookie: row["cookie"].as_u64(),
        timer: row["timer"].as_str().map(str::to_owned),
        pids,
    }
}

/// The row of a line of `ss -H -O -n -e -o -p`, which was asked for the protocol `proto` alone.
fn row_of_ss(proto: &str, line: &str) -> Row {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [state, recv_q, send_q, local, remote, rest @ ..] = words.as_slice() else {
        panic!("ss: {line}")
    };
    let state = match *state {
        "ESTAB" => "ESTABLISHED".to_owned(),
        "UNCONN" => "CLOSE".to_owned(),
        "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
        "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
        other => other.replace('-', "_"),
    };
    let end = |text: &str| {
        let (address, port) = text.rsplit_once(':').expect("a port");
        let address = address.split('%').next().expect("an address").trim_matches(['[', ']']);
        let address: IpAddr = match address {
            "*" => "::".parse().expect("an address"),
            other => other.parse().unwrap_or_else(|e| panic!("{e}: {line}")),
        };
        // ss may print the name of a raw socket's protocol.
        let port = match port {
            "*" => 0,
            "icmp" => 1,
            "ipv6-icmp" => 58,
            number => number.parse().unwrap_or_else(|e| panic!("{e}: {line}")),
        };
        SocketAddr::new(address.to_canonical(), port)
    };
    let field = |name: &str| rest.iter().find_map(|word| word.strip_prefix(name));
    let number = |name: &str| field(name).and_then(|text| text.parse().ok());
    let rest_of_line = rest.join(" ");
    let mut pids: Vec<u64> = rest_of_line
        .split("pid=")
        .skip(1)
        .filter_map(|rest| rest.split(',').next()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Row {
        proto: proto.to_owned(),
        state,
        queues: (recv_q.parse().expect("a queue"), send_q.parse().expect("a queue")),
        local: end(local),
        remote: end(remote),
        uid: number("uid:"),
        inode: number("ino:").filter(|inode| *inode != 0),
        cookie: field("sk:").and_then(|text| u64::from_str_radix(text, 16).ok()),
        timer: field("timer:(").map(|timer| {
            let kind = timer.split(',').next().expect("a kind");
            if kind == "persist" { "probe".to_owned() } else { kind.to_owned() }
        }),
        pids,
    }
}

/// The sockets that ss lists. Its own netlink socket is of another family.
fn ss(proto: &str, flags: &str) -> Vec<Row> {
    let output = Command::new("ss").arg(flags).output().expect("ss (iproute2)");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rows: Vec<Row> = text.lines().map(|line| row_of_ss(proto, line)).collect();
    rows.sort_unstable();
    rows
}

/// A raw socket without inode and cookie: ss prints neither when it has raw sockets from /proc, as
/// netmon does.
fn as_raw(mut row: Row) -> Row {
    (row.inode, row.cookie) = (None, None);
    row
}

#[test]
fn netmon_lists_the_sockets_that_ss_lists() {
    Netns::new().run(|| {
        let sockets = HeldSockets::open();
        // On a slow machine, the TIME_WAIT ends before the last comparison.
        let states: BTreeSet<String> = ss("tcp", "-tanHOeop")
            .into_iter()
            .chain(ss("udp", "-uanHOeop"))
            .map(|row| row.state)
            .collect();
        assert_eq!(
            states,
            STATES.map(str::to_owned).into(),
            "the sockets are not in all the states that they should be in"
        );
        for (proto, flags, ss_flags) in [
            ("tcp", "-tap", "-tanHOeop"),
            ("udp", "-uap", "-uanHOeop"),
            ("raw", "-wap", "-wanHOeop"),
        ] {
            for source in sources() {
                let compare = || {
                    let ours = rows(&[flags, "--source", source]);
                    let mut ours: Vec<Row> = ours.iter().map(row_of_netmon).collect();
                    ours.sort_unstable();
                    let theirs = ss(proto, ss_flags);
                    if proto == "raw" {
                        let raw = |rows: Vec<Row>| rows.into_iter().map(as_raw).collect::<Vec<_>>();
                        return (raw(ours), raw(theirs));
                    }
                    (ours, theirs)
                };
                let (mut ours, mut theirs) = compare();
                // Another test that starts a process shares all sockets with it for a moment.
                for _ in 0..5 {
                    if ours == theirs {
                        break;
                    }
                    (ours, theirs) = compare();
                }
                assert!(theirs.len() > 1, "{theirs:?}");
                assert_eq!(ours, theirs, "{proto} from {source}");
            }
        }
        drop(sockets);
    });
}

/// A row without the fields that change from one moment to the next: the time, and the fields that
/// a timer changes when it is due.
fn still(mut row: Value) -> Value {
    let object = row.as_object_mut().expect("an object");
    for key in ["time", "timer_ms", "timer_retransmits", "timer_probes"] {
        object.remove(key);
    }
    row
}

/// The rows of each list that are not in the other list.
fn differences(one: &[Value], other: &[Value]) -> Vec<Value> {
    let still = |rows: &[Value]| rows.iter().cloned().map(still).collect::<Vec<_>>();
    let (one, other) = (still(one), still(other));
    let only = |these: &[Value], those: &[Value]| {
        these.iter().filter(|row| !those.contains(row)).cloned().collect::<Vec<_>>()
    };
    [only(&one, &other), only(&other, &one)].concat()
}

/// Asserts that iterators that were asked for, and cannot be had, are an error, not an empty
/// listing.
fn assert_refused() {
    let output = netmon(&["-ta", "--source", "bpf"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty() && stderr.contains("refused dump_tcp"), "{stderr}");
}

#[test]
fn both_sources_list_the_same_sockets() {
    Netns::new().run(|| {
        if !has_iterators() {
            return assert_refused();
        }
        let _sockets = HeldSockets::open();
        for flags in ["-tapi", "-uap", "-wap", "-xap"] {
            let mut differing = Vec::new();
            // Between two dumps the kernel may retransmit a segment, and count it.
            for _ in 0..5 {
                let mut bpf = rows(&[flags, "--source", "bpf"]);
                let mut proc = rows(&[flags, "--source", "proc"]);
                assert!(bpf.len() > 1, "{flags}: {bpf:?}");
                differing = differences(&bpf, &proc);
                if differing.is_empty() {
                    let by_cookie = |row: &Value| row["cookie"].as_u64();
                    bpf.sort_by_key(by_cookie);
                    proc.sort_by_key(by_cookie);
                    // A timer that was due between the dumps begins again.
                    let same = |(bpf, proc): &(&Value, &Value)| {
                        bpf["timer_retransmits"] == proc["timer_retransmits"]
                    };
                    for (bpf, proc) in bpf.iter().zip(&proc).filter(same) {
                        let left = |row: &Value| row["timer_ms"].as_i64().unwrap_or(0);
                        // The sources were asked one after the other.
                        assert!((left(bpf) - left(proc)).abs() < 5_000, "{bpf} {proc}");
                    }
                    break;
                }
            }
            assert!(differing.is_empty(), "{flags}: {differing:#?}");
        }
    });
}

fn pids(row: &Value) -> BTreeSet<u64> {
    let owners = row["owners"].as_array().expect("owners").iter();
    owners.map(|owner| owner["pid"].as_u64().expect("a pid")).collect()
}

#[test]
fn a_shared_socket_has_every_owner() {
    Netns::new().run(|| {
        let sockets = HeldSockets::open();
        for source in sources() {
            let filter = format!("dport = {SHARED}");
            let expected = BTreeSet::from([std::process::id(), sockets.heir.id()].map(u64::from));
            let mut row = Value::Null;
            // A process that another test is starting has every descriptor of this process until
            // its exec.
            for _ in 0..20 {
                let mut found = rows(&["-tp", "--source", source, &filter]);
                assert_eq!(found.len(), 1, "{found:?}");
                row = found.remove(0);
                if pids(&row) == expected {
                    break;
                }
            }
            assert_eq!(pids(&row), expected, "{row}");
            let owners = row["owners"].as_array().expect("owners");
            let heir =
                |owner: &Value| owner["pid"] == sockets.heir.id() && owner["comm"] == "sleep";
            assert!(owners.iter().any(heir), "{row}");
            assert_eq!(row["timer"], "keepalive");
            let ms = row["timer_ms"].as_u64().expect("ms");
            assert!((3_500_000..=3_600_000).contains(&ms), "{row}");
            let by_pid = rows(&["-t", "--source", source, &format!("pid = {}", sockets.heir.id())]);
            assert_eq!(by_pid.len(), 1, "{by_pid:?}");
            assert!(
                rows(&["-t", "--source", source, "comm = sleep and not dport = 7001"]).is_empty()
            );
        }
    });
}

/// Returns the sockets that no timer of the kernel ends: on a slow machine, others are gone before
/// the next listing.
fn lasting<'r>(rows: impl IntoIterator<Item = &'r Value>) -> BTreeSet<u64> {
    let states = ["LISTEN", "ESTABLISHED", "CLOSE_WAIT", "CLOSE"];
    let lasts = |row: &&Value| row["state"].as_str().is_some_and(|state| states.contains(&state));
    rows.into_iter().filter(lasts).filter_map(|row| row["cookie"].as_u64()).collect()
}

#[test]
fn one_listing_has_every_namespace() {
    for source in sources() {
        // TIME_WAIT is over after a minute, so each source has sockets of its own.
        let (one, two) = (Netns::new(), Netns::new());
        let sockets = (one.run(HeldSockets::open), two.run(HeldSockets::open));
        let everywhere = rows(&["-tuap", "--netns", "all", "--source", source]);
        for netns in [&one, &two] {
            let here = everywhere.iter().filter(|row| row["netns"] == netns.inum);
            assert!(here.clone().count() > 20, "{everywhere:?}");
            let here = lasting(here);
            let by_name = rows(&["-tuap", "--netns", netns.name(), "--source", source]);
            assert!(by_name.iter().all(|row| row["netns"] == netns.inum), "{by_name:?}");
            assert_eq!(here, lasting(&by_name));
            let filtered = rows(&["-tuap", "--source", source, "netns", netns.name()]);
            assert_eq!(here, lasting(&filtered));
            assert!(here.len() > 5, "{here:?}");
        }
        // A process stands for its namespace.
        let mut sleeper = two.run(|| Command::new("sleep").arg("60").spawn().expect("sleep"));
        let by_pid = rows(&["-ta", "--netns", &sleeper.id().to_string(), "--source", source]);
        assert!(!by_pid.is_empty() && by_pid.iter().all(|row| row["netns"] == two.inum));
        let _ = sleeper.kill();
        let _ = sleeper.wait();
        drop(sockets);
    }
}

#[test]
fn the_kernel_filters_as_user_space_does() {
    Netns::new().run(|| {
        if !has_iterators() {
            return assert_refused();
        }
        let _sockets = HeldSockets::open();
        let all = rows(&["-tua"]);
        for filter in [
            "sport = 8001",
            "dport >= 7010 and dport < 7014",
            "not dport = 7000",
            "state time-wait or state fin-wait-2",
            "exclude connected",
            "( sport 8003 or dport 8003 ) and state established",
            "state listening and sport != :8001",
            "dst 127.0.0.0/8 and not src [::1]",
            "src 10.9.0.1:8000",
            "sport < 1 and sport > 1",
        ] {
            // No kernel program filters /proc.
            let mut bpf: Vec<_> =
                rows(&["-tua", "--source", "bpf", filter]).into_iter().map(still).collect();
            let mut proc: Vec<_> =
                rows(&["-tua", "--source", "proc", filter]).into_iter().map(still).collect();
            let key = |row: &Value| row["cookie"].as_u64();
            bpf.sort_by_key(key);
            proc.sort_by_key(key);
            assert_eq!(bpf, proc, "{filter}");
            assert!(bpf.len() < all.len(), "{filter} has all");
            assert!(filter.contains("< 1") || !bpf.is_empty(), "{filter} has none");
        }
        for (flags, family) in [("-ta4", false), ("-ta6", true)] {
            let some = text(&[flags, "-nH"]);
            assert!(!some.is_empty());
            assert!(some.lines().all(|line| line.starts_with("tcp6") == family), "{some}");
        }
        for (flags, listening) in [("-tl", true), ("-t", false)] {
            let some = rows(&[flags]);
            assert!(!some.is_empty());
            assert!(some.iter().all(|row| (row["state"] == "LISTEN") == listening), "{some:?}");
        }
        let listening = rows(&["-t", "state listening"]);
        assert_eq!(
            listening.len(),
            rows(&["-tl"]).len(),
            "a state in the filter counts, not the scope"
        );
        assert!(rows(&["-ul"]).iter().all(|row| row["state"] == "CLOSE"));
        assert!(rows(&["-u"]).iter().all(|row| row["state"] == "ESTABLISHED"));
        assert_eq!(rows(&["-u"]).len() + rows(&["-ul"]).len(), rows(&["-ua"]).len());
    });
}
