//! Files that are torn, changed, foreign or gone are reported, and the rest is read.

use std::fs::{self, File};

use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::metadata::KeyValue,
};

use super::{Directory, all_output, copy, netmon, record, replayed, sample_events, stdout};

#[test]
fn another_version_is_named() {
    let (directory, events) = copy("version");
    let file = File::open(&events[1]).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let mut schema = reader.schema().as_ref().clone();
    schema.metadata.insert("netmon.version".to_owned(), "3".to_owned());
    let batches: Vec<_> = reader.build().expect("a reader").collect();
    let to = File::create(&events[1]).expect("a file");
    let mut writer = ArrowWriter::try_new(to, schema.clone().into(), None).expect("a writer");
    for batch in batches {
        let batch = batch.expect("a batch").with_schema(schema.clone().into());
        writer.write(&batch.expect("the same columns")).expect("written");
    }
    let (key, value) = ("netmon.version".to_owned(), "3".to_owned());
    writer.append_key_value_metadata(KeyValue::new(key, value));
    writer.close().expect("written");
    let output = netmon(&["watch", "-n", "--json"], &directory.0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let name = events[1].display().to_string();
    let reason = "is left out: it is of version 3 of the journal, and this netmon reads version 2";
    assert!(stderr.contains(&format!("{name} {reason}")), "{stderr}");
    // The rest of the journal is read.
    assert!(stderr.contains("netmon: 10 transitions seen"), "{stderr}");
}

#[test]
fn torn_and_foreign_files_are_named() {
    let (directory, events) = copy("torn");
    let whole = fs::read(&events[0]).expect("a file");
    for (number, bytes) in
        [&b""[..], b"PAR1", &whole[..whole.len() / 2], b"no journal at all"].into_iter().enumerate()
    {
        fs::write(&events[0], bytes).expect("written");
        let read = |arguments: &[&str]| {
            let output = netmon(arguments, &directory.0);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{number}: {stderr}");
            let named = format!("{} is left out", events[0].display());
            assert_eq!(stderr.matches(&named).count(), 1, "{number}: {stderr}");
            assert!(!stderr.contains("panicked"), "{number}: {stderr}");
            output
        };
        let output = read(&["watch", "-n", "--json"]);
        read(&["history"]);
        read(&["export", "--format", "csv", "--dataset", "events"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("transition"), "{number}: the other segment is read");
        assert!(text.contains(r#""reason":"missing""#), "{number}: {text}");
        // The connections beside the events are read.
        let history = stdout(&["history", "-n", "--json"], &directory.0);
        assert!(history.contains(r#""verdict":"refused""#), "{number}: {history}");
    }
}

/// The name of a directory may be anybody's choice: no message with the name directs a terminal.
#[test]
fn names_in_messages_are_escaped() {
    let directory = Directory::new("\u{1b}[2J\r");
    let _ = record(&directory.0, "ended", sample_events()).close();
    let shows = |arguments: &[&str], is_named: bool| {
        let output = netmon(arguments, &directory.0);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        let is_raw = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!text.contains(is_raw), "{arguments:?}: {text:?}");
        assert_eq!(text.contains(r"\u{1b}[2J\r"), is_named, "{arguments:?}: {text}");
    };
    shows(&["history", "-n", "--host", "none"], true);
    shows(&["history", "-n"], false);
    fs::write(&directory.files("events")[0], b"no journal at all").expect("written");
    for arguments in [
        &["history", "-n"][..],
        &["watch", "-n"],
        &["snapshot", "--at", "2025-12-17T19:33:20.2Z"],
        &["export", "--format", "jsonl"],
        &["journal", "check"],
    ] {
        shows(arguments, true);
    }
}

/// Breaks each segment in turn, the last one too. Every command that shows the past must name as
/// many gaps.
#[test]
fn every_command_names_the_same_gaps() {
    let (directory, events) = copy("gaps");
    assert!(events.len() > 1, "{events:?}");
    let gaps = |arguments: &[&str]| {
        stdout(arguments, &directory.0).matches(r#""reason":"missing""#).count()
    };
    for file in &events {
        let good = fs::read(file).expect("a file");
        fs::write(file, b"no journal at all").expect("written");
        let watched = gaps(&["watch", "--json"]);
        assert_eq!(watched, 1, "{}", file.display());
        assert_eq!(gaps(&["history", "--json"]), watched, "{}", file.display());
        fs::write(file, good).expect("written");
    }
}

/// Flips bits anywhere in files of every dataset. An export must name the file or stay the same,
/// and `netmon journal check` must fail.
#[test]
fn a_flipped_bit_is_reported() {
    const FLIPS: usize = 40;
    let (directory, _) = copy("flipped");
    let whole = all_output(&["journal", "check"], &directory.0);
    assert!(whole.contains("whole"), "{whole}");
    for dataset in ["events", "connections", "checkpoints", "processes", "namespaces"] {
        let files = directory.files(dataset);
        let file = files.last().expect("a file");
        let good = fs::read(file).expect("a file");
        let read = |name: &str| {
            let output = netmon(&["export", "--format", "csv", "--dataset", name], &directory.0);
            assert!(output.status.success(), "{output:?}");
            (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (before, _) = read(dataset);
        for flip in 0..FLIPS {
            let mut bytes = good.clone();
            // The flips are spread over the whole file, each bit in turn.
            let at = (flip * good.len() + flip * 7_919) / FLIPS % good.len();
            bytes[at] ^= 1 << (flip % 8);
            fs::write(file, bytes).expect("written");
            let (after, stderr) = read(dataset);
            let is_named = stderr.contains(&file.display().to_string());
            assert!(is_named || after == before, "{dataset} at {at}: {stderr}");
            let check = netmon(&["journal", "check"], &directory.0);
            // The first four bytes of a file are the name of its format, which no reader needs.
            assert!(check.status.code() == Some(1) || at < 4, "{dataset} at {at}: {check:?}");
        }
        fs::write(file, good).expect("written");
    }
}

/// A live segment of another version stays as it is. A live segment without a row is removed.
#[test]
fn only_readable_segments_are_taken_over() {
    let directory = Directory::new("foreign");
    let live = directory.0.join("_live/host=here");
    fs::create_dir_all(&live).expect("a directory");
    let foreign = live.join("events-20251216T120000.000000Z.arrows");
    let empty = live.join("events-20251216T130000.000000Z.arrows");
    fs::write(&foreign, b"no journal, at least none of today").expect("written");
    fs::write(&empty, b"").expect("written");
    let _ = record(&directory.0, "here", sample_events()).close();
    assert!(foreign.exists());
    assert!(!empty.exists());
    assert!(!replayed(&directory.0).is_empty());
}

/// The silence of a recorder that hangs does not mean that nothing happened.
#[test]
fn a_silent_recorder_is_reported() {
    let (directory, _) = copy("silent");
    let lock = File::create(directory.0.join("_live/host=ended/lock")).expect("a lock");
    lock.lock().expect("locked");
    let soon = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T19:33:40Z"], &directory.0);
    assert!(soon.status.success(), "{soon:?}");
    let later = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T20:00Z"], &directory.0);
    let stderr = String::from_utf8_lossy(&later.stderr);
    assert_eq!(later.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("its recorder runs, but has not written since"), "{stderr}");
}
