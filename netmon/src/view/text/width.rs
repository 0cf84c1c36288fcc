//! The columns that a text takes on a terminal.

use unicode_width::UnicodeWidthChar;

/// Returns the number of columns that the text takes on a terminal.
#[inline]
pub(in crate::view) fn columns_of(text: &[u8]) -> usize {
    if text.is_ascii() { text.len() } else { columns(&String::from_utf8_lossy(text)) }
}

/// Returns the number of columns that the text takes, without its escape sequences.
pub(in crate::view) fn shown_columns(text: &[u8]) -> usize {
    if !text.contains(&ESCAPE) {
        return columns_of(text);
    }
    let mut sequences = Sequences::default();
    let text = String::from_utf8_lossy(text);
    let shown = text.chars().filter(|c| !sequences.has(*c));
    shown.map(|c| c.width().unwrap_or(0)).sum()
}

const ESCAPE: u8 = 0x1b;

/// The escape sequences in a text. All are colours, since text from outside is escaped.
#[derive(Default)]
pub(super) struct Sequences {
    is_within: bool,
}

impl Sequences {
    /// Returns whether the next character `c` belongs to a sequence.
    pub(super) fn has(&mut self, c: char) -> bool {
        let is_within = self.is_within || c == char::from(ESCAPE);
        self.is_within = is_within && c != 'm';
        is_within
    }
}

pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}
