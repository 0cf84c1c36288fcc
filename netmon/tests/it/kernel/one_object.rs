//! One connection in the JSON of every command: the same fields with the same values.

use std::{net::TcpListener, process::Command, thread, time::Duration};

use serde_json::Value;

use crate::{
    kernel::{
        harness::{Watch, close_in_turn, cookie, slow},
        journal::now,
        netns::Netns,
        recording::{Directory, Record, objects, pair},
    },
    schema::object,
};

/// Fields that every command knows of a connection.
const SHARED: [&str; 11] = [
    "type",
    "time",
    "cookie",
    "netns",
    "proto",
    "family",
    "local_addr",
    "local_port",
    "remote_addr",
    "remote_port",
    "comm",
];
/// Fields that differ from moment to moment, or from command to command.
const OWN: [&str; 5] = ["type", "time", "state", "since", "owner_evidence"];

/// Returns the one object about a socket, without owners that are other processes than this one: a
/// child that a test beside this one makes has every socket of this process until it calls exec.
#[track_caller]
fn one(rows: impl IntoIterator<Item = Value>, kind: &str, cookie: u64) -> Value {
    let is_it = |row: &Value| row["type"] == kind && row["cookie"] == cookie;
    let rows: Vec<_> = rows.into_iter().filter(is_it).collect();
    let [row] = &rows[..] else { panic!("{} rows: {rows:?}", rows.len()) };
    let mut row = row.clone();
    if let Some(owners) = row.get_mut("owners").and_then(Value::as_array_mut) {
        owners.retain(|owner| owner["pid"] == std::process::id());
    }
    row
}

/// Compares the fields that two objects share. The wall time of two programs differs by less than a
/// millisecond, so that `opened` is not of this comparison unless both have it from one journal.
#[track_caller]
fn agree(one: &Value, other: &Value, without: &[&str]) {
    let (one_fields, other_fields) =
        (one.as_object().expect("one"), other.as_object().expect("one"));
    for name in SHARED {
        assert!(one_fields.contains_key(name), "no {name}: {one}");
        assert!(other_fields.contains_key(name), "no {name}: {other}");
    }
    for (name, value) in one_fields {
        if OWN.contains(&name.as_str()) || without.contains(&name.as_str()) {
            continue;
        }
        if let Some(known) = other_fields.get(name) {
            assert!(is_same(value, known), "{name}: {one}\n{other}");
        }
    }
}

/// Returns whether values are equal, of objects in a list the fields that both have: on the basic
/// tier, a listing alone knows the programs of owners.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let mut shared = one.iter().filter_map(|(name, value)| Some((value, other.get(name)?)));
            shared.all(|(one, other)| one == other)
        }
        _ => one == other,
    }
}

#[test]
fn every_command_has_the_same_fields_of_a_connection() {
    let directory = Directory::new();
    let journal = &*directory.0;
    let netns = Netns::new();
    netns.run(|| {
        let record = Record::start(journal);
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let (client, server) = pair(&listener);
        let id = cookie(&client);
        let mut snapshot = Command::new(env!("CARGO_BIN_EXE_netmon"));
        let text = snapshot.args(["snapshot", "-tanp", "--json"]).output().expect("netmon").stdout;
        let text = String::from_utf8(text).expect("UTF-8");
        let listed = one(text.lines().map(object), "connection", id);
        thread::sleep(slow(Duration::from_millis(100)));
        let moment = now();
        thread::sleep(slow(Duration::from_millis(100)));
        close_in_turn(client, server);
        let closed = watch.closed(id);
        // The recorder writes 0.3 s later at the latest, and ends after it has written.
        watch.stop();
        record.stop();

        let then = objects(&["snapshot", "-tanp", "--json", "--at", &moment, "--journal"], journal);
        let then = one(then, "connection", id);
        let past = one(objects(&["history", "--json", "--journal"], journal), "closed", id);
        let replayed = one(objects(&["watch", "--json", "--journal"], journal), "closed", id);
        let export = |dataset: &str| {
            let args = ["export", "--format", "jsonl", "--dataset", dataset, "--journal"];
            objects(&args, journal)
        };
        let exported = one(export("connections"), "closed", id);

        for live in [&listed, &closed] {
            for recorded in [&then, &past, &replayed, &exported] {
                agree(live, recorded, &["opened", "lifetime_us"]);
            }
        }
        agree(&listed, &closed, &[]);
        for (one, other) in [(&then, &past), (&then, &exported), (&past, &exported)] {
            agree(one, other, &[]);
            // The key of a connection.
            for name in ["host", "boot_id", "cookie", "opened"] {
                assert!(!one[name].is_null() && one[name] == other[name], "{name}: {one}\n{other}");
            }
        }
        agree(&past, &replayed, &[]);
        assert_eq!(then["owners"][0]["comm"], listed["owners"][0]["comm"]);
        export("events");
        export("checkpoints");
        export("processes");
        export("namespaces");
    });
}
