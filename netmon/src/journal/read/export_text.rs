//! The text of an export: CSV (RFC 4180) and JSON Lines, made safe for their readers: terminals,
//! programs that read JSON, and spreadsheets.

use std::io::{self, Write};

use arrow_array::{
    Array, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
    types::{ArrowDictionaryKeyType, Int8Type, Int32Type},
};
use arrow_schema::Schema;

use crate::{
    core::{
        escape::{EXACT, put_json_text, put_lines},
        time::Wall,
    },
    journal::error::{Malformed, Result},
};

/// A column of a batch.
enum Column<'a> {
    Texts(&'a StringArray),
    FewWords(&'a DictionaryArray<Int8Type>, &'a StringArray),
    Words(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Small(&'a Int32Array),
    Large(&'a Int64Array),
    Flags(&'a BooleanArray),
    Times(&'a TimestampMicrosecondArray),
}

/// A value of a row.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
    Time(Wall),
}

impl<'a> Column<'a> {
    /// Returns the column; none for a type that no dataset has.
    fn new(array: &'a dyn Array) -> Option<Self> {
        let any = array.as_any();
        any.downcast_ref()
            .map(Self::Texts)
            .or_else(|| words(array).map(|(keys, words)| Self::FewWords(keys, words)))
            .or_else(|| words(array).map(|(keys, words)| Self::Words(keys, words)))
            .or_else(|| any.downcast_ref().map(Self::Small))
            .or_else(|| any.downcast_ref().map(Self::Large))
            .or_else(|| any.downcast_ref().map(Self::Flags))
            .or_else(|| any.downcast_ref().map(Self::Times))
    }

    /// Returns the value of a row; none for an unknown one.
    fn get(&self, row: usize) -> Option<Value<'a>> {
        let word = |values: &'a StringArray, key: Option<usize>| {
            key.filter(|key| values.is_valid(*key)).map(|key| Value::Text(values.value(key)))
        };
        match self {
            Self::Texts(array) => array.is_valid(row).then(|| Value::Text(array.value(row))),
            Self::FewWords(keys, words) => word(words, keys.key(row)),
            Self::Words(keys, words) => word(words, keys.key(row)),
            Self::Small(array) => {
                array.is_valid(row).then(|| Value::Number(array.value(row).into()))
            }
            Self::Large(array) => array.is_valid(row).then(|| Value::Number(array.value(row))),
            Self::Flags(array) => array.is_valid(row).then(|| Value::Flag(array.value(row))),
            Self::Times(array) => {
                array.is_valid(row).then(|| Value::Time(Wall::from_micros(array.value(row))))
            }
        }
    }
}

fn words<K: ArrowDictionaryKeyType>(
    array: &dyn Array,
) -> Option<(&DictionaryArray<K>, &StringArray)> {
    let keys = array.as_any().downcast_ref::<DictionaryArray<K>>()?;
    Some((keys, keys.values().as_any().downcast_ref()?))
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// CSV; for a terminal, characters that a terminal obeys are escaped.
    Csv {
        /// The reader is a terminal.
        is_terminal: bool,
    },
    /// JSON Lines, without unknown values and without flags that are false.
    Jsonl,
}

/// Writes rows as lines of text.
pub(super) struct TextWriter<W> {
    to: W,
    format: TextFormat,
    line: Vec<u8>,
    escaped: Vec<u8>,
}

impl<W: Write> TextWriter<W> {
    /// Writes the heading, if the format has one.
    pub(super) fn new(to: W, format: TextFormat, schema: &Schema) -> Result<Self> {
        let mut writer = Self { to, format, line: Vec::new(), escaped: Vec::new() };
        if format != TextFormat::Jsonl {
            let names: Vec<&str> =
                schema.fields().iter().map(|field| field.name().as_str()).collect();
            writer.line.extend_from_slice(names.join(",").as_bytes());
            writer.end_line()?;
        }
        Ok(writer)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let columns: Option<Vec<_>> = names
            .zip(batch.columns())
            .map(|(name, array)| Some((name, Column::new(array)?)))
            .collect();
        let columns = columns.ok_or(Malformed::Column("of an unknown type"))?;
        for row in 0..batch.num_rows() {
            match self.format {
                TextFormat::Csv { .. } => put_csv_row(&columns, row, &mut self.line),
                TextFormat::Jsonl => put_json_row(&columns, row, &mut self.line),
            }
            self.end_line()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        if self.format == (TextFormat::Csv { is_terminal: true }) {
            self.escaped.clear();
            put_lines(&String::from_utf8_lossy(&self.line), &mut self.escaped);
            self.to.write_all(&self.escaped)?;
        } else {
            self.to.write_all(&self.line)?;
        }
        self.line.clear();
        Ok(())
    }
}

fn put_csv_row(columns: &[(&str, Column<'_>)], row: usize, out: &mut Vec<u8>) {
    for (number, (_, column)) in columns.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        match column.get(row) {
            None => {}
            Some(Value::Text(text)) => put_csv_text(text, out),
            Some(Value::Number(number)) => put_number(number, out),
            Some(other) => put_word(other, out),
        }
    }
}

/// Appends a text, with a `'` before it if a spreadsheet would take it for a formula, and in quotes
/// where RFC 4180 wants them.
fn put_csv_text(text: &str, out: &mut Vec<u8>) {
    let mark = if is_taken_for_formula(text) { "'" } else { "" };
    let is_quoted = text.contains(['"', ',', '\n', '\r']);
    let quote: &[u8] = if is_quoted { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    out.extend_from_slice(mark.as_bytes());
    for (number, part) in text.split('"').enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(quote);
}

/// Returns whether a spreadsheet may take a cell for a formula: Excel, LibreOffice and Google
/// Sheets go by the first character, also in its wide form. A cell that begins with `'` gets
/// another, so that one `'` is always netmon's.
fn is_taken_for_formula(text: &str) -> bool {
    let firsts = "=+-@\t\r\n'\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}";
    text.starts_with(|first| firsts.contains(first))
}

/// Appends an object with the known values, without flags that are false. An integer that most
/// readers would round is a string of digits.
fn put_json_row(columns: &[(&str, Column<'_>)], row: usize, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (name, column) in columns {
        let Some(value) = column.get(row) else { continue };
        if matches!(value, Value::Flag(false)) {
            continue;
        }
        out.extend_from_slice(&[before, b'"']);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        before = b',';
        let is_quoted = match value {
            Value::Number(number) => number.unsigned_abs() > EXACT,
            Value::Time(_) => true,
            Value::Text(_) | Value::Flag(_) => false,
        };
        let quote: &[u8] = if is_quoted { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        match value {
            Value::Text(text) => put_json_text(text.as_bytes(), out),
            Value::Number(number) => put_number(number, out),
            other => put_word(other, out),
        }
        out.extend_from_slice(quote);
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn put_number(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a flag, or a time in UTC as RFC 3339 has it, with nanoseconds as the JSON of the views.
fn put_word(value: Value<'_>, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = match value {
        Value::Flag(flag) => write!(out, "{flag}"),
        Value::Time(time) => write!(out, "{:.9}", time.timestamp()),
        Value::Text(_) | Value::Number(_) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::ArrayRef;

    use super::*;

    fn written(format: TextFormat, columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        );
        let batch = batch.expect("a batch");
        let mut out = Vec::new();
        let mut writer = TextWriter::new(&mut out, format, &batch.schema()).expect("a heading");
        writer.write(&batch).expect("written");
        writer.finish().expect("written");
        String::from_utf8(out).expect("text")
    }

    fn all_types() -> Vec<(&'static str, ArrayRef)> {
        let few: DictionaryArray<Int8Type> = [Some("a"), None].into_iter().collect();
        let words: DictionaryArray<Int32Type> = [None, Some("b \"c\",\nd")].into_iter().collect();
        let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]);
        vec![
            ("text", Arc::new(StringArray::from(vec![Some("\u{9b}2J\u{202e}\u{e9}"), None]))),
            ("few", Arc::new(few)),
            ("words", Arc::new(words)),
            ("small", Arc::new(Int32Array::from(vec![None, Some(-7)]))),
            ("large", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("time", Arc::new(times.with_timezone("+00:00"))),
        ]
    }

    #[test]
    fn values_of_each_type_are_written_and_unknown_values_are_not() {
        let json = written(TextFormat::Jsonl, all_types());
        let expected = concat!(
            "{\"text\":\"\\u009b2J\\u202e\u{e9}\",\"few\":\"a\",\"large\":1,\"flag\":true,",
            "\"time\":\"1970-01-01T00:00:01.500000000Z\"}\n",
            "{\"words\":\"b \\\"c\\\",\\nd\",\"small\":-7}\n"
        );
        assert_eq!(json, expected);
        let csv = written(TextFormat::Csv { is_terminal: false }, all_types());
        let expected = concat!(
            "text,few,words,small,large,flag,time\n",
            "\u{9b}2J\u{202e}\u{e9},a,,,1,true,1970-01-01T00:00:01.500000000Z\n",
            ",,\"b \"\"c\"\",\nd\",-7,,,\n"
        );
        assert_eq!(csv, expected);
        let shown = written(TextFormat::Csv { is_terminal: true }, all_types());
        assert!(shown.contains("\n\\u{9b}2J\\u{202e}\u{e9},a,"), "{shown}");
        let nothing = vec![("n", Arc::new(Int64Array::from(vec![None])) as ArrayRef)];
        assert_eq!(written(TextFormat::Jsonl, nothing), "{}\n");
    }

    #[test]
    fn no_integer_is_rounded() {
        let exact = EXACT.cast_signed();
        let values = vec![exact, exact + 1, -exact, -exact - 1];
        let json =
            written(TextFormat::Jsonl, vec![("n", Arc::new(Int64Array::from(values)) as ArrayRef)]);
        let expected = concat!(
            "{\"n\":9007199254740992}\n{\"n\":\"9007199254740993\"}\n",
            "{\"n\":-9007199254740992}\n{\"n\":\"-9007199254740993\"}\n"
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn no_text_is_a_formula() {
        let texts = ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "'=1", "\u{ff1d}1", "a=1", ""];
        let wanted =
            ["'=1+1", "'+1", "'-1", "'@a", "'\t=1", "\"'\r=1\"", "''=1", "'\u{ff1d}1", "a=1", ""];
        let words: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let plain = StringArray::from(texts.to_vec());
        let columns: Vec<(&str, ArrayRef)> =
            vec![("words", Arc::new(words)), ("plain", Arc::new(plain))];
        let csv = written(TextFormat::Csv { is_terminal: false }, columns);
        let mut lines = csv.split('\n');
        assert_eq!(lines.next(), Some("words,plain"));
        for wanted in wanted {
            assert_eq!(lines.next(), Some(&*format!("{wanted},{wanted}")));
        }
    }
}
