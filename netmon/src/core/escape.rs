//! Makes text from outside safe to show: any process may set its name to escape sequences.

use std::fmt::{self, Write};

/// Shows the bytes as text. Bytes that are not UTF-8 become `\xNN`; control characters and
/// invisible formatting characters are escaped as in Rust.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f, is_safe)
    }
}

/// Shows a message of several lines as [`Escaped`] does, with its line ends and tabs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EscapedLines<'a>(pub &'a [u8]);

impl fmt::Display for EscapedLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f, |c| is_safe(c) || matches!(c, '\n' | '\t'))
    }
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>, is_kept: fn(char) -> bool) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_kept(c) { f.write_char(c)? } else { write!(f, "{}", c.escape_default())? }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Returns whether `c` may reach a terminal: it neither moves the cursor nor turns the writing
/// direction.
fn is_safe(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !c.is_control() && !invisible
}

#[cfg(test)]
mod tests {
    use super::{Escaped, EscapedLines};
    use proptest::prelude::*;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(Escaped(b"nginx: worker").to_string(), "nginx: worker");
        assert_eq!(Escaped(b"\x1b[31mred\n").to_string(), "\\u{1b}[31mred\\n");
        assert_eq!(Escaped(b"a\xffb").to_string(), "a\\xffb");
        assert_eq!(Escaped("caf\u{e9}\u{202e}".as_bytes()).to_string(), "caf\u{e9}\\u{202e}");
    }

    #[test]
    fn a_message_keeps_its_lines() {
        let message = b"a\tb\n\x1b[2Jc\r\n";
        assert_eq!(EscapedLines(message).to_string(), "a\tb\n\\u{1b}[2Jc\\r\n");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(bytes: Vec<u8>) {
            prop_assert!(!Escaped(&bytes).to_string().chars().any(char::is_control));
        }
    }
}
