//! Tests of texts: equality, a pattern with `*` and `?`, a regular expression.

use std::{fmt, mem::discriminant};

use regex::{Regex, RegexBuilder};
use wildmatch::WildMatch;

use super::{error::Bad, token};

/// The most memory that a regular expression may take, bytes. The time of a match is linear.
const MAX_REGEX: usize = 1 << 18;

/// A test of a text.
#[derive(Clone, Debug)]
pub struct Text {
    written: Box<str>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// The text is the written one.
    Equal,
    /// The text matches the written pattern as a whole.
    Glob(WildMatch),
    /// The text matches the regular expression at any place.
    Regex(Regex),
}

impl Text {
    pub(super) fn equal(text: &str) -> Self {
        Self { written: text.into(), test: Test::Equal }
    }

    /// Returns the test for a text that stands without quotes: `*` and `?` stand for other
    /// characters.
    pub(super) fn word(text: &str) -> Self {
        if has_wildcard(text) {
            Self { written: text.into(), test: Test::Glob(WildMatch::new(text)) }
        } else {
            Self::equal(text)
        }
    }

    pub(super) fn regex(text: &str) -> Result<Self, Bad> {
        let regex = RegexBuilder::new(text).size_limit(MAX_REGEX).build().map_err(|error| {
            // The message of a syntax error has several lines: the last line is the reason.
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            Bad::new(
                format!("bad regular expression: {reason}"),
                "one as ^ngin or \"^(nginx|httpd)$\", in quotes where it has one of ()&|!=<>~,",
            )
        })?;
        Ok(Self { written: text.into(), test: Test::Regex(regex) })
    }

    /// Returns the text that is the only one to pass, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        matches!(self.test, Test::Equal).then_some(&*self.written)
    }

    /// Returns whether a text passes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.test {
            Test::Equal => text == &*self.written,
            Test::Glob(pattern) => pattern.matches(text),
            Test::Regex(regex) => regex.is_match(text),
        }
    }

    /// Returns whether a name of a process passes, which may have any bytes. Bytes that are not
    /// UTF-8 count as U+FFFD, as a journal keeps them.
    pub(super) fn matches_bytes(&self, bytes: &[u8]) -> bool {
        self.matches(&String::from_utf8_lossy(bytes))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written && discriminant(&self.test) == discriminant(&other.test)
    }
}

impl Eq for Text {}

/// Writes the operator and the text; quotes the text unless it is a word.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = &*self.written;
        let is_plain = match &self.test {
            Test::Equal => token::is_word(written) && !has_wildcard(written),
            // Only a text without quotes is a pattern.
            Test::Glob(_) => true,
            Test::Regex(_) => token::is_word(written),
        };
        f.write_str(if matches!(self.test, Test::Regex(_)) { "~ " } else { "= " })?;
        if is_plain {
            f.write_str(written)
        } else {
            write!(f, "\"{}\"", written.replace('"', "\"\""))
        }
    }
}

pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}
