//! The errors for text that is not a filter: what is wrong, where, and what to write instead.

use std::{error, fmt};

use super::super::escape::Escaped;

/// The reason why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The text.
    pub text: String,
    /// The place of the error in the text, in bytes.
    pub at: usize,
    /// The error: one line, safe to show.
    pub message: String,
    /// The correct form: one line, safe to show. Begins with "write".
    pub advice: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped(self.text.as_bytes());
        let before = Escaped(self.text.get(..self.at).unwrap_or_default().as_bytes());
        let column = before.to_string().chars().count();
        // A width in the format would have 16 bits only.
        let pointer = format!("{}^", " ".repeat(column));
        write!(f, "{}\n  {text}\n  {pointer}\n{}", self.message, self.advice)
    }
}

impl error::Error for FilterError {}

/// An error without its place: the message, and the correct form.
#[derive(Debug)]
pub(super) struct Bad {
    message: String,
    advice: String,
}

impl Bad {
    pub(super) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: format!("write {}", advice.into()) }
    }

    /// Returns the error for a value of a kind, `what`, that has no meaning.
    pub(super) fn unknown(what: &str, value: &str, write: impl Into<String>) -> Self {
        Self::new(format!("unknown {what} '{}'", Escaped(value.as_bytes())), write)
    }

    pub(super) fn at(self, at: usize) -> Wrong {
        Wrong { at, bad: self }
    }
}

/// An error without the text of the filter.
pub(super) struct Wrong {
    at: usize,
    bad: Bad,
}

impl Wrong {
    pub(super) fn of(self, text: &str) -> FilterError {
        let Bad { message, advice } = self.bad;
        FilterError { text: text.to_owned(), at: self.at, message, advice }
    }
}

pub(super) fn wrong<T>(
    at: usize,
    message: impl Into<String>,
    write: impl Into<String>,
) -> Result<T, Wrong> {
    Err(Bad::new(message, write).at(at))
}

/// Returns the name that is most like `text`, if one is like it: a letter or two are different.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let most = if text.chars().count() < 5 { 1 } else { 2 };
    let distances = names.map(|name| (strsim::osa_distance(&text, name), name));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}
