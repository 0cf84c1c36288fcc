//! The docs list the columns and words of the journal that the code has.

use std::collections::BTreeSet;

use arrow_schema::DataType;
use netmon::testing::{Dataset, Direction, Evidence, FirstFin, Loss, ResetSide, TcpState, Verdict};

const PAGE: &str = include_str!("../../../docs/journal.md");
const EVENTS: &str = include_str!("../../src/journal/schema/events.rs");

/// The word of the page for a type.
fn type_word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "bool",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some(_)) => "timestamp",
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => "string",
        DataType::Utf8 => "string",
        other => panic!("no column is documented with the type {other}"),
    }
}

/// The cells of a table's row. A cell that is a single word in backquotes comes without them.
fn cells(row: &str) -> Option<Vec<&str>> {
    let cells = row.strip_prefix("| ")?.strip_suffix('|')?;
    Some(cells.split(" |").map(unquoted).collect())
}

fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    let word = cell.strip_prefix('`').and_then(|word| word.strip_suffix('`'));
    word.filter(|word| !word.contains('`')).unwrap_or(cell)
}

/// The part of the page below a heading, up to the next heading.
fn section(heading: &str) -> &'static str {
    let start = PAGE.find(&format!("\n{heading}\n")).expect(heading) + heading.len() + 2;
    let end = PAGE[start..].find("\n#").map_or(PAGE.len(), |end| start + end);
    &PAGE[start..end]
}

/// The words of the table below a heading.
fn words(heading: &str) -> BTreeSet<&'static str> {
    let rows = section(heading).lines().filter_map(cells);
    rows.map(|cells| cells[0]).filter(|word| *word != "word").collect()
}

/// The words in backquotes of a text.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[track_caller]
fn same<T: Ord + std::fmt::Debug>(code: &BTreeSet<T>, text: &BTreeSet<T>) {
    let undocumented: Vec<_> = code.difference(text).collect();
    let unknown: Vec<_> = text.difference(code).collect();
    assert!(undocumented.is_empty(), "in the code alone: {undocumented:?}");
    assert!(unknown.is_empty(), "in the text alone: {unknown:?}");
}

#[test]
fn every_column_stands_in_the_table() {
    let mut code = BTreeSet::new();
    for dataset in Dataset::ALL {
        let schema = dataset.schema().expect("a schema");
        for field in schema.fields() {
            let word = type_word(field.data_type());
            code.insert((field.name().clone(), word.to_owned(), dataset.name().to_owned()));
        }
    }
    let mut text = BTreeSet::new();
    let mut names = BTreeSet::new();
    for row in section("## Columns").lines().filter_map(cells) {
        let [name, word, datasets, _] = row[..] else { panic!("{row:?} has no four cells") };
        if name == "column" {
            continue;
        }
        assert!(names.insert(name), "{name} has two rows");
        let all = Dataset::ALL.map(Dataset::name).join(", ");
        let datasets = if datasets == "all" { all.as_str() } else { datasets };
        for dataset in datasets.split(", ") {
            text.insert((name.to_owned(), word.to_owned(), dataset.to_owned()));
        }
    }
    same(&code, &text);
}

#[test]
fn every_word_stands_in_its_table() {
    same(&Evidence::ALL.map(Evidence::name).into(), &words("### `owner_evidence`"));
    same(&Loss::ALL.map(Loss::name).into(), &words("### `reason`"));
    same(&Verdict::ALL.map(Verdict::name).into(), &words("### `verdict`"));
    same(&TcpState::ALL.map(TcpState::name).into(), &words("### `state`"));
}

/// The kinds of rows are private to the schema, so the test reads their words from its source.
#[test]
fn every_type_stands_in_its_table() {
    let start = EVENTS.find("impl EventKind {").expect("the kinds");
    let names = EVENTS[start..].split("fn name").nth(1).expect("their names");
    let names = &names[..names.find("\n    }\n").expect("an end")];
    let code: BTreeSet<_> = names.split('"').skip(1).step_by(2).collect();
    assert_eq!(code.len(), 6, "{code:?}");
    same(&code, &words("### `type`"));
}

#[test]
fn every_word_stands_with_its_column() {
    let words_in_row = |column: &str| {
        let rows = section("## Columns").lines().filter_map(cells);
        let [meaning] = rows
            .filter(|row| row[0] == column)
            .map(|row| row[3])
            .collect::<Vec<_>>()
            .try_into()
            .expect("one row");
        quoted(meaning)
    };
    same(&Direction::ALL.map(Direction::name).into(), &words_in_row("direction"));
    same(&ResetSide::ALL.map(ResetSide::name).into(), &words_in_row("reset"));
    same(&FirstFin::ALL.map(FirstFin::name).into(), &words_in_row("first_fin"));
}
