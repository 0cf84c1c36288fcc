//! Journals of several hosts, of several boots, and of a clock that was set back.

use std::time::SystemTime;

use super::*;
use crate::schema::object;

/// A recorder's clock is set back by an hour: nothing is lost, and both hours can be asked for.
#[test]
fn a_clock_is_set_back() {
    let directory = Directory::new("back");
    let listens = |ms, cookie, port: &str| {
        let at = (&*format!("0.0.0.0:{port}"), "0.0.0.0:0");
        let opening = owner(1, b"sshd");
        Event::Transition(Transition { opening, ..transition(ms, cookie, at, Close, Listen) })
    };
    let hour = Duration::from_secs(3_600);
    let anchor = |ms: i64, wall| {
        let since_boot = Duration::from_millis(ms.unsigned_abs());
        Event::Anchor(Anchor { monotonic: at_ms(ms), wall: wall + since_boot })
    };
    let events = vec![
        anchor(0, NOON),
        listens(1_000, 1, "1001"),
        anchor(60_000, NOON),
        anchor(61_000, NOON - hour),
        listens(62_000, 2, "1002"),
        anchor(122_000, NOON - hour),
    ];
    let _ = record(&directory.0, "here", events).close();
    let ports = |at: &str| {
        let out = all_output(&["snapshot", "-tnlH", "--utc", "--at", at], &directory.0);
        let lines = out.lines().filter(|line| line.starts_with("tcp"));
        lines
            .filter_map(|line| Some(line.split_once(":100")?.1.get(..1)?.to_owned()))
            .collect::<String>()
    };
    assert_eq!(ports("2025-12-18T12:00:30Z"), "1");
    assert_eq!(ports("2025-12-18T11:01:30Z"), "12");
    assert_eq!(replayed(&directory.0).iter().filter(|line| line.contains("transition")).count(), 2);
}

/// A host begins with a clock that is ahead, and has the right time soon after: the next recording
/// goes on from the one before, not from the segment with the latest date.
#[test]
fn a_recording_after_a_clock_was_set_back_goes_on_from_the_last_one() {
    let directory = Directory::new("ahead");
    let hour = Duration::from_secs(3_600);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now = Wall::EPOCH + since;
    for (name, wall) in [("ahead", now + 2 * hour), ("right", now - hour)] {
        let mut recorder = open(&directory.0, "here", "a boot");
        play(&mut Script::new(listeners(name, 1..4, wall)), &mut recorder, &scope());
        let _ = recorder.close();
    }
    let mut recorder = open(&directory.0, "here", "a boot");
    let rows = recorder.former_rows(Anchor { monotonic: at_ms(20_000), wall: now });
    let names: Vec<_> = rows.iter().filter_map(|row| row.owner.as_ref()).collect();
    assert_eq!(names.len(), 3, "{rows:?}");
    assert!(names.iter().all(|owner| &*owner.comm == b"right"), "{rows:?}");
}

/// Listeners of a host: each number is a cookie, and its port is 1000 more.
fn listeners(boot: &str, numbers: std::ops::Range<u64>, wall: Wall) -> Vec<Event> {
    let mut events = vec![Event::Anchor(Anchor { monotonic: Mono::BOOT, wall })];
    events.extend(numbers.map(|number| {
        let at = format!("0.0.0.0:{}", 1000 + number);
        // The name of the process is that of its boot: all boots have the same cookies.
        let opening = owner(1, boot.as_bytes());
        let transition =
            transition(number.cast_signed(), number, (&at, "0.0.0.0:0"), Close, Listen);
        Event::Transition(Transition { opening, ..transition })
    }));
    let wall = wall + Duration::from_secs(10);
    events.push(Event::Anchor(Anchor { monotonic: at_ms(10_000), wall }));
    events
}

/// Hosts with the same cookies: each host has its own table, and each line names its host.
#[test]
fn hosts_are_kept_apart() {
    let directory = Directory::new("hosts");
    for (host, numbers) in [("web1", 1..4), ("web2", 2..6), ("db1", 1..2)] {
        let mut recorder = open(&directory.0, host, host);
        let events = listeners(host, numbers, NOON);
        play(&mut Script::new(events), &mut recorder, &scope());
        let _ = recorder.close();
    }
    let at = "2025-12-18T12:00:05Z";
    let ports = |host: &str| {
        let list = ["snapshot", "-tnlp", "--json", "--utc", "--at", at, "--host", host];
        let text = stdout(&list, &directory.0);
        let mut rows: Vec<(String, u64, String)> = text
            .lines()
            .map(|line| {
                let row = object(line);
                let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
                (
                    text(&row["host"]),
                    row["local_port"].as_u64().expect("a port"),
                    text(&row["owners"][0]["comm"]),
                )
            })
            .collect();
        rows.sort();
        rows
    };
    let expected = |host: &str, numbers: std::ops::Range<u64>| {
        numbers.map(|number| (host.to_owned(), 1000 + number, host.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(ports("web*"), [expected("web1", 1..4), expected("web2", 2..6)].concat());
    assert_eq!(
        ports("*"),
        [expected("db1", 1..2), expected("web1", 1..4), expected("web2", 2..6)].concat()
    );
    // The lines of all hosts are in the order of time, each with its host.
    let lines = stdout(&["watch", "-n", "--utc", "--from", "2025-12-18"], &directory.0);
    let listening: Vec<&str> = lines.lines().filter(|line| line.contains("LISTEN")).collect();
    assert_eq!(listening.len(), 3 + 4 + 1, "{lines}");
    assert!(listening.is_sorted_by_key(|line| line.get(..26)), "{lines}");
    assert_eq!(listening.iter().filter(|line| line.contains(" web2 ")).count(), 4, "{lines}");
    let json = stdout(&["watch", "--json"], &directory.0);
    assert_eq!(json.matches(r#""host":"db1""#).count(), 1, "{json}");
    let json = stdout(&["watch", "--json", "--host", "db1"], &directory.0);
    assert!(json.lines().all(|line| object(line)["host"] == "db1"), "{json}");
    let output = netmon(&["watch", "--host", "db2"], &directory.0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no journal of db2, but of db1, web1, web2"), "{stderr}");
}

/// Two boots with the same cookies: the sockets that the first boot left open have ended, and the
/// second boot has rows of its own.
#[test]
fn boots_are_kept_apart() {
    let directory = Directory::new("boots");
    for (boot, wall) in [("first", NOON), ("second", NOON + Duration::from_secs(3_600))] {
        let mut recorder = open(&directory.0, "web1", boot);
        let mut events = listeners(boot, 1..4, wall);
        events.insert(4, Event::DumpEnded { time: at_ms(5) });
        let scope = scope();
        let mut session = netmon::testing::Session::new(&scope);
        session.remember(recorder.former_rows(Anchor { monotonic: Mono::BOOT, wall }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let stop = Notify::new();
        let mut script = Script::new(events);
        let played = async {
            session.follow(&mut script, &mut recorder, Limits::default(), &stop).await?;
            session.finish(&mut script, &mut recorder).await
        };
        runtime.expect("a runtime").block_on(played).expect("played");
        let _ = recorder.close();
    }
    let owners = |at: &str| {
        let text = stdout(&["snapshot", "-tnlpH", "--utc", "--at", at], &directory.0);
        text.lines()
            .filter_map(|line| line.split('/').nth(1))
            .map(|name| name.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(owners("2025-12-18T12:00:00.5Z"), ["first"; 3]);
    assert_eq!(owners("2025-12-18T13:00:00.005Z"), ["second"; 3]);
    let text = stdout(&["export", "--format", "jsonl"], &directory.0);
    let closed: Vec<&str> =
        text.lines().filter(|line| line.contains(r#""new_state":"CLOSE""#)).collect();
    assert_eq!(closed.len(), 3, "{text}");
    // The gap is noticed when the next recording begins.
    let until = ["--from", "2025-12-18T12:00:00Z", "--to", "2025-12-18T12:30:00Z"];
    for command in
        [&["history", "--json"][..], &["watch", "--json"], &["export", "--format", "jsonl"]]
    {
        let text = stdout(&[command, &until].concat(), &directory.0);
        assert_eq!(text.matches("not_recorded").count(), 1, "{command:?}: {text}");
    }
    // The closed rows have the boot and the opening time of the first boot.
    assert!(closed.iter().all(|line| line.contains(r#""boot_id":"first""#)), "{closed:?}");
    assert!(closed.iter().all(|line| line.contains(r#""opened":"2025-12-18T12:00:00"#)));
}

/// Records more sockets than may wait otherwise: all of them come at once.
#[test]
fn every_initial_socket_is_recorded() {
    const SOCKETS: u64 = 600_000;
    let directory = Directory::new("many");
    let mut recorder = open(&directory.0, "here", "a boot");
    let mut show = |change: Change<'_>| {
        recorder.change(&change).expect("recorded");
    };
    show(Change::Anchor(Anchor { monotonic: Mono::BOOT, wall: NOON }));
    let (local, remote) = (([10, 0, 0, 1], 443).into(), ([10, 0, 0, 2], 40_000).into());
    for cookie in 1..=SOCKETS {
        let id = ConnectionId { cookie: socket(cookie), epoch: Mono::BOOT };
        let row = Connection::new(id, Tuple { netns: 1, interface: 0, local, remote }, Established);
        show(Change::Found { time: at_ms(1), connection: &row, initial: true });
    }
    recorder.flush(&ConnectionTable::default()).expect("recorded");
    let health = recorder.close();
    assert_eq!(health.unwritten, 0, "{health:?}");
    assert!(health.written > SOCKETS, "{health:?}");
}
