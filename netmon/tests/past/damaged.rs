//! Files that are torn, changed, foreign or gone: that is said, and the rest is answered.

use std::fs::{self, File};

use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::metadata::KeyValue,
};

use super::{Directory, copy, netmon, record, replayed, said, said_of, scene::scene};

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
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let name = events[1].display().to_string();
    let reason = "is left out: it is of version 3 of the journal, and this netmon reads version 2";
    assert!(said.contains(&format!("{name} {reason}")), "{said}");
    // The rest is answered.
    assert!(said.contains("netmon: 10 transitions seen"), "{said}");
}

#[test]
fn what_is_torn_or_foreign_is_named() {
    let (directory, events) = copy("torn");
    let whole = fs::read(&events[0]).expect("a file");
    for (number, bytes) in
        [&b""[..], b"PAR1", &whole[..whole.len() / 2], b"no journal at all"].into_iter().enumerate()
    {
        fs::write(&events[0], bytes).expect("written");
        let read = |arguments: &[&str]| {
            let output = netmon(arguments, &directory.0);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{number}: {said}");
            let named = format!("{} is left out", events[0].display());
            assert_eq!(said.matches(&named).count(), 1, "{number}: {said}");
            assert!(!said.contains("panicked"), "{number}: {said}");
            output
        };
        let output = read(&["watch", "-n", "--json"]);
        read(&["history"]);
        read(&["export", "--format", "csv", "--dataset", "events"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("transition"), "{number}: the other segment is read");
        assert!(text.contains(r#""reason":"missing""#), "{number}: {text}");
        // The connections beside it are there.
        let history = said_of(&["history", "-n", "--json"], &directory.0);
        assert!(history.contains(r#""verdict":"refused""#), "{number}: {history}");
    }
}

/// Whichever segment cannot be read, the last among them: all that show the past name as many gaps.
#[test]
fn every_command_names_the_same_gaps() {
    let (directory, events) = copy("gaps");
    assert!(events.len() > 1, "{events:?}");
    let gaps = |arguments: &[&str]| {
        said_of(arguments, &directory.0).matches(r#""reason":"missing""#).count()
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

/// A bit that is flipped anywhere in any file is noticed by whoever reads it, and by the check.
#[test]
fn a_flipped_bit_is_said() {
    const FLIPS: usize = 40;
    let (directory, _) = copy("flipped");
    let whole = said(&["journal", "check"], &directory.0);
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
            // Spread over the whole file, each bit in turn.
            let at = (flip * good.len() + flip * 7_919) / FLIPS % good.len();
            bytes[at] ^= 1 << (flip % 8);
            fs::write(file, bytes).expect("written");
            let (after, said) = read(dataset);
            let is_said = said.contains(&file.display().to_string());
            assert!(is_said || after == before, "{dataset} at {at}: {said}");
            let check = netmon(&["journal", "check"], &directory.0);
            // The first bytes of a file are its format's name, which nobody needs.
            assert!(check.status.code() == Some(1) || at < 4, "{dataset} at {at}: {check:?}");
        }
        fs::write(file, good).expect("written");
    }
}

/// A segment that another version writes stays as it is; one that never got as far as a row goes.
#[test]
fn only_what_can_be_read_is_taken_over() {
    let directory = Directory::new("foreign");
    let live = directory.0.join("_live/host=here");
    fs::create_dir_all(&live).expect("a directory");
    let foreign = live.join("events-20251216T120000.000000Z.arrows");
    let empty = live.join("events-20251216T130000.000000Z.arrows");
    fs::write(&foreign, b"no journal, at least none of today").expect("written");
    fs::write(&empty, b"").expect("written");
    let _ = record(&directory.0, "here", scene()).close();
    assert!(foreign.exists());
    assert!(!empty.exists());
    assert!(!replayed(&directory.0).is_empty());
}

/// A recorder that hangs is not believed to have seen that nothing happened.
#[test]
fn a_silent_recorder_is_told() {
    let (directory, _) = copy("silent");
    let lock = File::create(directory.0.join("_live/host=ended/lock")).expect("a lock");
    lock.lock().expect("locked");
    let soon = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T19:33:40Z"], &directory.0);
    assert!(soon.status.success(), "{soon:?}");
    let later = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T20:00Z"], &directory.0);
    let said = String::from_utf8_lossy(&later.stderr);
    assert_eq!(later.status.code(), Some(1), "{said}");
    assert!(said.contains("its recorder runs, but has not written since"), "{said}");
}
