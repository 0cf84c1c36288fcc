//! The text of an export, made safe for its readers: terminals, programs that read JSON, and
//! spreadsheets.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray,
    types::{ArrowDictionaryKeyType, Int8Type, Int32Type},
};
use arrow_json::{Encoder, EncoderFactory, EncoderOptions, writer::NullableEncoder};
use arrow_schema::{ArrowError, FieldRef};

use crate::core::escape::EXACT;

/// A writer that escapes text on its way.
pub(super) struct EscapingWriter<W> {
    to: W,
    /// The function that appends text in its escaped form; none to write the text as it is.
    escape: Option<fn(&str, &mut Vec<u8>)>,
    /// The beginning of a character whose end has not come yet.
    rest: Vec<u8>,
    escaped: Vec<u8>,
}

impl<W: Write> EscapingWriter<W> {
    pub(super) fn new(to: W, escape: Option<fn(&str, &mut Vec<u8>)>) -> Self {
        Self { to, escape, rest: Vec::new(), escaped: Vec::new() }
    }
}

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(escape) = self.escape else { return self.to.write(bytes) };
        self.rest.extend_from_slice(bytes);
        let whole = match str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.rest.split_off(whole);
        self.escaped.clear();
        escape(str::from_utf8(&self.rest).unwrap_or_default(), &mut self.escaped);
        self.rest = rest;
        self.to.write_all(&self.escaped)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes integers of 64 bits into JSON: as a string of digits if most readers would round them.
#[derive(Debug)]
pub(super) struct ExactIntegers;

struct ExactEncoder<'a>(&'a Int64Array);

impl EncoderFactory for ExactIntegers {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let integers = array.as_any().downcast_ref::<Int64Array>();
        Ok(integers.map(|integers| {
            NullableEncoder::new(Box::new(ExactEncoder(integers)), integers.nulls().cloned())
        }))
    }
}

impl Encoder for ExactEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        let quote: &[u8] = if value.unsigned_abs() > EXACT { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        out.extend_from_slice(quote);
    }
}

/// Returns the rows with a `'` before each text that a spreadsheet would take for a formula.
///
/// # Errors
/// Never fails: the columns keep their types and lengths.
pub(super) fn defused(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| {
        let texts = column.as_any().downcast_ref::<StringArray>();
        texts
            .map(|texts| Arc::new(defused_texts(texts)) as ArrayRef)
            .or_else(|| defused_words::<Int8Type>(column))
            .or_else(|| defused_words::<Int32Type>(column))
            .unwrap_or_else(|| Arc::clone(column))
    });
    RecordBatch::try_new(batch.schema(), columns.collect())
}

fn defused_words<K: ArrowDictionaryKeyType>(column: &ArrayRef) -> Option<ArrayRef> {
    let words = column.as_any().downcast_ref::<DictionaryArray<K>>()?;
    let texts = words.values().as_any().downcast_ref::<StringArray>()?;
    Some(Arc::new(words.with_values(Arc::new(defused_texts(texts)))))
}

fn defused_texts(texts: &StringArray) -> StringArray {
    if !texts.iter().flatten().any(is_taken_for_formula) {
        return texts.clone();
    }
    let defuse = |text| match text {
        text if is_taken_for_formula(text) => Cow::Owned(format!("'{text}")),
        text => Cow::Borrowed(text),
    };
    texts.iter().map(|text| text.map(defuse)).collect()
}

/// Returns whether a spreadsheet may take a cell for a formula: Excel, LibreOffice and Google
/// Sheets go by the first character, also in its wide form. A cell that begins with `'` gets
/// another, so that one `'` is always netmon's.
fn is_taken_for_formula(text: &str) -> bool {
    let firsts = "=+-@\t\r\n'\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}";
    text.starts_with(|first| firsts.contains(first))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::core::escape::{put_json, put_lines};

    #[test]
    fn characters_in_two_writes_are_escaped_whole() {
        for (escape, expected) in [
            (put_lines as fn(&str, &mut Vec<u8>), "\\u{9b}2J\\u{202e}\u{e9}\n"),
            (put_json, "\\u009b2J\\u202e\u{e9}\n"),
        ] {
            let mut out = Vec::new();
            let mut writer = EscapingWriter::new(&mut out, Some(escape));
            for byte in "\u{9b}2J\u{202e}\u{e9}\n".as_bytes() {
                writer.write_all(&[*byte]).expect("written");
            }
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn no_integer_is_rounded() {
        let exact = EXACT.cast_signed();
        let field = Field::new("n", DataType::Int64, true);
        let values = vec![Some(exact), Some(exact + 1), None, Some(-exact), Some(-exact - 1)];
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(values))];
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema, columns).expect("a batch");
        let mut out = Vec::new();
        let builder = arrow_json::WriterBuilder::new();
        let mut writer = builder
            .with_encoder_factory(Arc::new(ExactIntegers))
            .build::<_, arrow_json::writer::LineDelimited>(&mut out);
        writer.write(&batch).and_then(|()| writer.finish()).expect("written");
        let expected = concat!(
            "{\"n\":9007199254740992}\n{\"n\":\"9007199254740993\"}\n{}\n",
            "{\"n\":-9007199254740992}\n{\"n\":\"-9007199254740993\"}\n"
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn no_text_is_a_formula() {
        let texts = ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "'=1", "\u{ff1d}1", "a=1", ""];
        let wanted =
            ["'=1+1", "'+1", "'-1", "'@a", "'\t=1", "'\r=1", "''=1", "'\u{ff1d}1", "a=1", ""];
        let words: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let plain = StringArray::from(texts.to_vec());
        let fields = vec![
            Field::new("words", words.data_type().clone(), true),
            Field::new("plain", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![Arc::new(words), Arc::new(plain)];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch");
        let batch = defused(&batch).expect("a batch");
        let words = batch.column(0).as_any().downcast_ref::<DictionaryArray<Int32Type>>();
        let words = words.expect("words").downcast_dict::<StringArray>().expect("texts");
        assert!(words.into_iter().flatten().eq(wanted));
        let plain = batch.column(1).as_any().downcast_ref::<StringArray>().expect("texts");
        assert!(plain.iter().flatten().eq(wanted));
    }
}
