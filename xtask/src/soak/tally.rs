//! The ends of connections that a soak made, and those that netmon reports.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead, BufReader, Read},
    net::{IpAddr, SocketAddr},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context;
use serde_json::Value;

use super::{
    kind::{Kind, Service},
    place::{has_address, name_of},
};

/// Differences that are printed, at most.
const SHOWN: usize = 20;
/// The verdict of an end that no event reported, and that a comparison with the kernel found.
const VANISHED: &str = "vanished";
/// One in so many ends may be such an end: some machines withhold an event from BPF now and then
/// (docs/adr/0014-comparison-on-a-timer.md).
const WITHHELD: u64 = 1_000;

/// One side of a connection, as far as a soak knows its end before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct End {
    /// The server's address and port, which determine the kind.
    server: SocketAddr,
    direction: String,
    verdict: String,
    /// The owner is this process, which makes every connection of the soak.
    is_ours: bool,
}

impl End {
    fn made(server: SocketAddr, direction: &str, verdict: &str) -> Self {
        let [direction, verdict] = [direction, verdict].map(str::to_owned);
        Self { server, direction, verdict, is_ours: true }
    }

    /// Returns the end that a line of netmon's reports; none where neither side is at an address of
    /// a soak.
    fn reported(line: &Value) -> Option<Self> {
        let word = |name: &str| line[name].as_str().unwrap_or("none");
        let direction = word("direction");
        let side = if direction == "outbound" { "remote" } else { "local" };
        let ip: IpAddr = word(&format!("{side}_addr")).parse().ok()?;
        let port = u16::try_from(line[format!("{side}_port")].as_u64()?).ok()?;
        let is_ours = line["pid"].as_u64() == Some(process::id().into());
        let server = SocketAddr::new(ip, port);
        let made = Self::made(server, direction, word("verdict"));
        has_address(ip).then_some(Self { is_ours, ..made })
    }
}

/// A service of the soak.
#[derive(Clone, Copy, Debug)]
struct Label {
    site: u8,
    kind: Kind,
    family: &'static str,
}

/// A service, and the inode number of its namespace.
type Place = (SocketAddr, u64);

/// The ends that the soak made.
#[derive(Debug, Default)]
pub(super) struct Made {
    labels: HashMap<SocketAddr, Label>,
    ends: HashMap<End, u64>,
    places: HashSet<Place>,
}

impl Made {
    /// Adds a service of a namespace, which has a number and an inode number.
    pub(super) fn begin(&mut self, (site, inum): (u8, u64), service: &Service) {
        let label = Label { site, kind: service.kind, family: service.family() };
        self.labels.insert(service.shown(), label);
        self.places.insert((service.shown(), inum));
    }

    /// Adds connections of `kind` to the service. Returns the number of their ends.
    pub(super) fn add(&mut self, server: SocketAddr, kind: Kind, count: u64) -> u64 {
        let (client, accepted) = kind.verdicts();
        let ends = [("outbound", Some(client)), ("inbound", accepted)];
        let ends = ends.into_iter().filter_map(|(direction, verdict)| Some((direction, verdict?)));
        let mut all = 0;
        for (direction, verdict) in ends {
            *self.ends.entry(End::made(server, direction, verdict)).or_default() += count;
            all += count;
        }
        all
    }

    pub(super) fn join(&mut self, other: Self) {
        self.labels.extend(other.labels);
        self.places.extend(other.places);
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.ends.values().sum()
    }
}

/// The ends that netmon reports.
#[derive(Debug, Default)]
pub(super) struct Reported {
    ends: HashMap<End, u64>,
    places: HashSet<Place>,
    /// Lost events by their reason.
    pub(super) lost: BTreeMap<String, u64>,
}

impl Reported {
    /// Reads JSON Lines to their end. `count` is the number of ends so far.
    pub(super) fn read(from: impl Read, count: &AtomicU64) -> anyhow::Result<Self> {
        let mut from = BufReader::with_capacity(1 << 20, from);
        let mut reported = Self::default();
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            let is = |kind: &str| line.starts_with(format!(r#"{{"type":"{kind}""#).as_bytes());
            if is("closed") || is("lost") {
                let value: Value = serde_json::from_slice(&line).context("a line of netmon's")?;
                if is("lost") {
                    let reason = value["reason"].as_str().unwrap_or("unknown").to_owned();
                    let count = value["lost"].as_u64().unwrap_or(1);
                    *reported.lost.entry(reason).or_default() += count;
                } else if let Some(end) = End::reported(&value) {
                    let netns = value["netns"].as_u64().unwrap_or(0);
                    reported.places.insert((end.server, netns));
                    *reported.ends.entry(end).or_default() += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            line.clear();
        }
        Ok(reported)
    }
}

/// Numbers of ends: made, recorded, watched.
type Row = [u64; 3];

/// Prints the table of all ends. Returns every difference.
pub(super) fn compare(made: &Made, recorded: &Reported, watched: &Reported) -> Vec<String> {
    let mut rows: BTreeMap<&End, Row> = BTreeMap::new();
    for (column, ends) in [&made.ends, &recorded.ends, &watched.ends].into_iter().enumerate() {
        for (end, count) in ends {
            // Another program may use the loopback too.
            if made.labels.contains_key(&end.server) {
                rows.entry(end).or_default()[column] += count;
            }
        }
    }
    let withheld = take_withheld(&mut rows);
    show(made, &rows);
    println!("found by comparison, without an event: {withheld}\n");
    let is_equal = |row: &Row| row[0] == row[1] && row[0] == row[2];
    let unequal = rows.iter().filter(|(_, row)| !is_equal(row));
    let mut differences: Vec<_> = unequal.map(|(end, row)| difference(made, end, *row)).collect();
    for (name, reported) in [("recorded", recorded), ("watched", watched)] {
        let is_wrong =
            |place: &&Place| made.labels.contains_key(&place.0) && !made.places.contains(place);
        let wrong = reported.places.iter().filter(is_wrong);
        differences.extend(wrong.map(|(server, netns)| {
            format!("{name}: {server} in the namespace {netns}, which is another's")
        }));
    }
    if withheld > made.total() / WITHHELD {
        differences.push(format!("{withheld} ends without an event are too many"));
    }
    if differences.len() > SHOWN {
        let more = differences.len() - SHOWN;
        differences.truncate(SHOWN);
        differences.push(format!("{more} more differences"));
    }
    differences
}

/// Counts ends that a comparison found, in both reports alike, as the ends that were made. Returns
/// their number.
fn take_withheld(rows: &mut BTreeMap<&End, Row>) -> u64 {
    let is_lacking = |row: &Row| row[1] < row[0] && row[1] == row[2];
    let lacking: Vec<&End> =
        rows.iter().filter(|(_, row)| is_lacking(row)).map(|(end, _)| *end).collect();
    let mut taken = 0;
    for end in lacking {
        let vanished = End { verdict: VANISHED.to_owned(), ..end.clone() };
        let Some(&[0, recorded, watched]) = rows.get(&vanished) else { continue };
        let Some(row) = rows.get_mut(end) else { continue };
        let count = (row[0] - row[1]).min(recorded).min(watched);
        add(row, &[0, count, count]);
        taken += count;
        if let Some(row) = rows.get_mut(&vanished) {
            *row = [0, recorded - count, watched - count];
        }
    }
    taken
}

/// Prints the sums by kind, by family and by namespace.
fn show(made: &Made, rows: &BTreeMap<&End, Row>) {
    println!("\n{:<28} {:>10} {:>10} {:>10}", "ends of connections", "made", "recorded", "watched");
    let (mut kinds, mut families, mut sites) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut all = Row::default();
    for (end, row) in rows {
        let label = made.labels[&end.server];
        for sum in [
            kinds.entry(label.kind.name().to_owned()).or_default(),
            families.entry(label.family.to_owned()).or_default(),
            sites.entry(name_of(label.site)).or_default(),
            &mut all,
        ] {
            add(sum, row);
        }
    }
    for rows in [kinds, families, sites, BTreeMap::from([("all".to_owned(), all)])] {
        for (name, [made, recorded, watched]) in rows {
            println!("{name:<28} {made:>10} {recorded:>10} {watched:>10}");
        }
        println!();
    }
}

fn add(sum: &mut Row, row: &Row) {
    sum.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
}

fn difference(made: &Made, end: &End, [count, recorded, watched]: Row) -> String {
    let Label { site, kind, family } = made.labels[&end.server];
    let owner = if end.is_ours { "" } else { ", of another owner or none" };
    format!(
        "{}, {} over {family} to {}, {} {}{owner}: {count} made, {recorded} recorded, {watched} \
         watched",
        name_of(site),
        kind.name(),
        end.server,
        end.direction,
        end.verdict,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_an_event_counts_if_both_reports_have_it_so() {
        let end = |verdict| End::made(([127, 0, 0, 2], 7000).into(), "outbound", verdict);
        let (timed_out, vanished) = (end("timed-out"), end(VANISHED));
        for (row, found, taken, left) in [
            ([9, 7, 7], [0, 2, 2], 2, [0, 0, 0]),
            // One report has an end that the other lacks.
            ([9, 7, 8], [0, 2, 1], 0, [0, 2, 1]),
            // An end that was never made.
            ([9, 8, 8], [0, 2, 2], 1, [0, 1, 1]),
            ([9, 9, 9], [0, 1, 1], 0, [0, 1, 1]),
            // An end that neither report has.
            ([9, 7, 7], [0, 1, 1], 1, [0, 0, 0]),
        ] {
            let mut rows = BTreeMap::from([(&timed_out, row), (&vanished, found)]);
            assert_eq!(take_withheld(&mut rows), taken, "{row:?} {found:?}");
            assert_eq!(rows[&vanished], left, "{row:?} {found:?}");
            assert_eq!(rows[&timed_out], [9, row[1] + taken, row[2] + taken]);
        }
    }
}
