//! Prints the table of connections at the end of a capture of rings, without root and without the
//! kernel that wrote the rings:
//!
//! `cargo run --package netmon --example table -- netmon/tests/rings/6.18.rings`

use std::{convert::Infallible, env, error::Error, fs};

use netmon::testing::{Change, ConnectionTable, events_of_capture};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("give the file of a capture: `netmon record --raw`")?;
    let capture = fs::read(path)?;
    let mut table = ConnectionTable::default();
    let (mut opened, mut ended) = (0, 0);
    for event in events_of_capture(&capture)? {
        let Ok(()) = table.apply(&event, |change| {
            opened += u32::from(matches!(change, Change::Opened(_)));
            ended += u32::from(matches!(change, Change::Closed(_)));
            Ok::<_, Infallible>(())
        });
    }
    println!("{opened} connections and listeners opened, {ended} ended; the table at the end:");
    let mut rows: Vec<_> = table.rows().collect();
    rows.sort_by_key(|row| row.id.epoch);
    for row in rows {
        let owner = row.owner.as_ref().map(|owner| String::from_utf8_lossy(&owner.comm));
        let owner = owner.unwrap_or("-".into());
        println!("{} {} {} {owner}", row.tuple.local, row.tuple.remote, row.state.name());
    }
    Ok(())
}
