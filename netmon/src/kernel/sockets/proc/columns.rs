//! Parses the columns of a line, and the numbers in them, as the kernel's printf writes them.

use crate::core::escape::Escaped;

/// A line that the kernel does not write, as far as this program knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} in '{line}'")]
pub struct MalformedLine {
    /// The expected content of the first wrong column.
    pub expected: &'static str,
    /// The line, shortened, and escaped so that it can be shown.
    pub line: Box<str>,
}

impl MalformedLine {
    /// The number of shown bytes: enough to find the column. An IPv6 line reaches its inode within
    /// this.
    const SHOWN: usize = 200;

    pub(super) fn new(line: &[u8], expected: &'static str) -> Self {
        let line = match line.split_at_checked(Self::SHOWN) {
            Some((start, [_, ..])) => format!("{}...", Escaped(start)),
            _ => Escaped(line).to_string(),
        };
        Self { expected, line: line.into() }
    }
}

/// The columns of a line, one after the other.
pub(super) struct LineColumns<'a> {
    line: &'a [u8],
    rest: &'a [u8],
}

impl<'a> LineColumns<'a> {
    pub(super) const fn of(line: &'a [u8]) -> Self {
        Self { line, rest: line }
    }

    /// Returns the next column as `parse` reads it; `expected` describes the column for an error.
    #[inline]
    pub(super) fn next<T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, MalformedLine> {
        let start = self.rest.iter().position(|b| *b != b' ').unwrap_or(self.rest.len());
        let rest = &self.rest[start..];
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (column, rest) = rest.split_at(end);
        self.rest = rest;
        parse(column).ok_or_else(|| MalformedLine::new(self.line, expected))
    }

    /// Returns the rest of the line, from the space behind the last column.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Returns both sides of the first colon.
pub(super) fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|b| *b == b':')?;
    Some((&text[..colon], &text[colon + 1..]))
}

/// Parses a number of `%X`, padded or not.
#[inline]
pub(super) fn hex<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    // 16 digits cannot overflow.
    if !(1..=16).contains(&text.len()) {
        return None;
    }
    let mut value = 0u64;
    // The digits are looked up first and checked together, which halves the time for a whole line.
    let mut seen = 0;
    for &byte in text {
        let digit = DIGITS[usize::from(byte)];
        seen |= digit;
        value = value << 4 | u64::from(digit);
    }
    if seen == NO_DIGIT { None } else { value.try_into().ok() }
}

/// Parses a number of `%u`.
#[inline]
pub(super) fn decimal<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    value.try_into().ok()
}

const NO_DIGIT: u8 = 0xff;

/// The value of each byte as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digits[b"0123456789ABCDEF"[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(hex::<u8>(b"0f"), Some(15));
        assert_eq!(hex::<u8>(b"0000FF"), Some(255));
        assert_eq!(hex::<u64>(b"FFFFFFFFFFFFFFFF"), Some(u64::MAX));
        assert_eq!(decimal::<u32>(b"4294967295"), Some(u32::MAX));
        for wrong in ["", " ", "-1", "+1", "0x1", "g", "1.", "100"] {
            assert_eq!(hex::<u8>(wrong.as_bytes()), None, "{wrong}");
        }
        for wrong in ["", "a", "-1", "+1", "256", "18446744073709551616"] {
            assert_eq!(decimal::<u8>(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(hex::<u64>(b"10000000000000000"), None);
    }

    #[test]
    fn columns_are_apart_by_any_spaces() {
        let mut columns = LineColumns::of(b"  a bc   d");
        assert_eq!(columns.next("a", Some), Ok(&b"a"[..]));
        assert_eq!(columns.next("bc", Some), Ok(&b"bc"[..]));
        assert_eq!(columns.rest(), b"   d");
        assert_eq!(columns.next("d", Some), Ok(&b"d"[..]));
        assert_eq!(columns.next("nothing", Some), Ok(&b""[..]));
        assert!(columns.next("a number", decimal::<u8>).is_err());
    }

    #[test]
    fn an_error_shows_what_is_safe_and_short() {
        let short = MalformedLine::new(b"\x1b[2J\xff", "a state");
        assert_eq!(short.to_string(), "expected a state in '\\u{1b}[2J\\xff'");
        let whole = MalformedLine::new(&[b'x'; MalformedLine::SHOWN], "a state");
        assert_eq!(whole.line.len(), MalformedLine::SHOWN);
        let long = MalformedLine::new(&[b'x'; 100_000], "a state");
        assert_eq!(long.line.len(), MalformedLine::SHOWN + "...".len());
    }
}
