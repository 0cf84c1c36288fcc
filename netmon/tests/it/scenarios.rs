//! Scenarios: events in, changes and the table out. Each scenario is a file that can be read from
//! top to bottom.
//!
//! A line that begins with a time in milliseconds is an event. The indented lines below an event
//! are the changes that the table made of it. This test makes these lines again and compares. With
//! `SCENARIOS=write` it writes them. An empty line and a line that begins with `#` have no effect.
//!
//! | event | |
//! |---|---|
//! | `TIME COOKIE OLD>NEW [OPTION …]` | a transition |
//! | `TIME COOKIE dump STATE [by=PID] [at=PORT]` | a socket that a dump had |
//! | `TIME COOKIE accepted PID` | a process accepted the connection |
//! | `TIME COOKIE ended` | the minisocket is gone |
//! | `TIME COOKIE failed ERRNO` | a closed socket that a dump had, and why it closed |
//! | `TIME dumping` | a dump begins |
//! | `TIME dumped [NETNS]` | the dump had the whole namespace (1 by default), since that time |
//! | `TIME reconciled` | the dump had all namespaces |
//! | `TIME lost N` | records were lost |
//! | `table` | the rows of the table |
//!
//! | option | |
//! |---|---|
//! | `connect=PID` | the process called connect |
//! | `listen=PID` | the process called listen |
//! | `from=COOKIE` | the listener that took the connection |
//! | `errno=N` | the error of the socket |
//! | `reset=sent` | this host sent a RST |
//! | `by=PID` | the process that holds the socket |
//! | `at=PORT` | the local port; 1000 plus the cookie by default |

use std::{env, fmt::Write, fs, net::SocketAddr, path::Path, sync::Arc};

use netmon::testing::{
    Binding, Change, Connection, ConnectionTable, DumpScope, Event, Gap, Loss, Mono, Opening,
    Owner, ResetSide, Seed, SocketId, Step, TcpState, Totals, Transition, Tuple,
};

const MS: i64 = 1_000_000;
const LISTENER_PORT: u16 = 80;

#[test]
fn every_scenario_goes_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut played = 0;
    for file in fs::read_dir(directory).expect("scenarios") {
        let path = file.expect("a file").path();
        let written = fs::read_to_string(&path).expect("text");
        let made = play(&written).unwrap_or_else(|line| panic!("{}: {line}", path.display()));
        if env::var_os("SCENARIOS").is_some_and(|value| value == "write") {
            fs::write(&path, &made).expect("written");
        } else {
            assert!(made == written, "{}: this is what it makes:\n{made}", path.display());
        }
        played += 1;
    }
    assert!(played > 10, "{played}");
}

/// Returns the scenario with the output of the current table, or the line that is no event.
fn play(written: &str) -> Result<String, String> {
    let mut table = ConnectionTable::default();
    let mut made = String::new();
    for line in written.lines().filter(|line| !line.starts_with("  ")) {
        made += line;
        made += "\n";
        if line == "table" {
            let mut rows: Vec<_> = table.rows().collect();
            rows.sort_by_key(|row| (row.id.cookie, row.id.epoch));
            for row in rows {
                let since =
                    row.since.map_or("?".to_owned(), |since| (since.as_nanos() / MS).to_string());
                let _ = writeln!(made, "  {} {} since {since}", describe(row), row.state);
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let event = parse(line).ok_or_else(|| line.to_owned())?;
            let result: Result<(), std::fmt::Error> = table.apply(&event, |change| {
                let text = change_text(&change);
                if text.is_empty() { Ok(()) } else { writeln!(made, "  {text}") }
            });
            result.map_err(|error| error.to_string())?;
        }
    }
    Ok(made)
}

fn parse(line: &str) -> Option<Event> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let option = |name: &str| -> Option<u64> {
        words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let time = Mono::from_nanos(words.first()?.parse::<i64>().ok()? * MS);
    match words.get(1..)? {
        ["dumped", rest @ ..] => {
            let netns = rest.first().map_or(Some(1), |inum| inum.parse().ok())?;
            Some(Event::Dumped { scope: DumpScope::Namespace(netns), began: time })
        }
        ["dumping"] => Some(Event::DumpBegan),
        ["reconciled"] => Some(Event::DumpEnded { time }),
        ["lost", count] => {
            let count = count.parse().ok()?;
            Some(Event::Lost(Gap { from: Mono::BOOT, time, count, loss: Loss::RingFull }))
        }
        [cookie, "failed", errno] => {
            let (cookie, errno) = (SocketId::new(cookie.parse().ok()?)?, errno.parse().ok()?);
            Some(Event::SocketFailed { time, cookie, errno })
        }
        [cookie, "accepted", pid] => {
            let (cookie, owner) = (SocketId::new(cookie.parse().ok()?)?, owner(pid.parse().ok()?));
            Some(Event::Accepted { time, cookie, owner })
        }
        [cookie, "ended"] => {
            Some(Event::TimeWaitEnded { time, cookie: SocketId::new(cookie.parse().ok()?)? })
        }
        [cookie, "dump", state, ..] => {
            let (cookie, state) = (cookie.parse().ok()?, parse_state(state)?);
            let holders = option("by").map(owner).into_iter().collect();
            let minisocket = state == TcpState::TimeWait;
            let tuple = tuple(cookie, option("at"), state == TcpState::Listen);
            let cookie = SocketId::new(cookie)?;
            Some(Event::Seed(Seed {
                time,
                cookie,
                tuple,
                binding: Binding::default(),
                state,
                minisocket,
                holders,
                young: Box::default(),
            }))
        }
        [cookie, step, ..] => {
            let (old, new) = step.split_once('>')?;
            let (cookie, old, new) = (cookie.parse().ok()?, parse_state(old)?, parse_state(new)?);
            let opening = match (option("connect"), option("listen"), option("from")) {
                (Some(pid), ..) => Opening::ByProcess(Some(owner(pid))),
                (_, Some(pid), _) => Opening::ByProcess(Some(owner(pid))),
                (.., Some(listener)) => Opening::FromListener(SocketId::new(listener)),
                _ => Opening::None,
            };
            let is_listener = TcpState::Listen == old || TcpState::Listen == new;
            let is_listener = is_listener && option("from").is_none();
            Some(Event::Transition(Transition {
                time,
                cookie: SocketId::new(cookie)?,
                tuple: tuple(cookie, option("at"), is_listener),
                binding: Binding::default(),
                old,
                new,
                errno: option("errno").and_then(|errno| errno.try_into().ok()),
                reset: words.contains(&"reset=sent").then_some(ResetSide::Sent),
                totals: (new == TcpState::Close).then(Totals::default),
                orphan: false,
                silent: false,
                inferred: false,
                opening,
            }))
        }
        _ => None,
    }
}

fn parse_state(name: &str) -> Option<TcpState> {
    TcpState::ALL.into_iter().find(|state| state.name() == name)
}

fn owner(pid: u64) -> Arc<Owner> {
    let pid = u32::try_from(pid).expect("a pid");
    Arc::new(Owner {
        pid,
        host_pid: 0,
        uid: 0,
        real_uid: None,
        cgroup: None,
        comm: b"test"[..].into(),
        process: None,
    })
}

fn tuple(cookie: u64, port: Option<u64>, is_listener: bool) -> Tuple {
    let end = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let port = u16::try_from(port.unwrap_or(1000 + cookie)).expect("a port");
    if is_listener {
        Tuple { netns: 1, interface: 0, local: end(LISTENER_PORT), remote: end(0) }
    } else {
        Tuple { netns: 1, interface: 0, local: end(port), remote: end(LISTENER_PORT) }
    }
}

fn describe(row: &Connection) -> String {
    let mut text = format!("#{}", row.id.cookie.get());
    if !row.first_sight {
        let _ = write!(text, "/{}", row.id.epoch.as_nanos() / MS);
    }
    let _ = write!(text, " :{}", row.tuple.local.port());
    if let Some(direction) = row.direction {
        let _ = write!(text, " {}", direction.name());
    }
    if let (Some(owner), Some(evidence)) = (&row.owner, row.evidence) {
        let _ = write!(text, " {} by {}", evidence.name(), owner.pid);
    }
    if let Some(holder) = &row.holder {
        let _ = write!(text, " held by {}", holder.pid);
    }
    text
}

fn change_text(change: &Change<'_>) -> String {
    match change {
        Change::Found { connection, initial, .. } => {
            let when = if *initial { "initial" } else { "found" };
            format!("{when} {} {}", describe(connection), connection.state)
        }
        Change::Opened(step) => step_text("opened", step),
        Change::StateChanged(step) => step_text("moved", step),
        Change::Closed(step) => step_text("closed", step),
        Change::Expired(step) => step_text("expired", step),
        Change::Gap(gap) => format!("gap of {}", gap.count),
        Change::Owned { connection, .. } => format!("owned {}", describe(connection)),
        Change::Anchor(_) | Change::Host(_) | Change::Reconciled { .. } | Change::Resync(_) => {
            String::new()
        }
    }
}

fn step_text(word: &str, step: &Step<'_>) -> String {
    let Step { transition: t, connection, in_state, verdict, corrected } = step;
    let mut text = format!("{word} {} {}>{}", describe(connection), t.old, t.new);
    if let Some(in_state) = in_state {
        let _ = write!(text, " after {}", in_state.as_millis());
    }
    if let Some(verdict) = verdict {
        let _ = write!(text, ", {verdict}");
    }
    if *corrected {
        text += ", corrected";
    }
    text
}
