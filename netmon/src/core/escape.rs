//! Makes text from outside safe to show: any process may set its name to escape sequences.
//!
//! Every output goes by [`is_safe`]: text and messages through [`Escaped`] and [`EscapedLines`],
//! JSON through [`put_json_text`], CSV through [`put_lines`].

use std::{
    fmt::{self, Write},
    io,
};

/// Shows the bytes as text. Bytes that are not UTF-8 become `\xNN`; control characters and
/// invisible formatting characters are escaped as in Rust.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f, is_safe)
    }
}

/// Shows the name of a process, in a list of `PID/NAME,PID/NAME`, as [`Escaped`] does. A comma and
/// a slash are escaped too: with both, a name could make up another process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EscapedName<'a>(pub &'a [u8]);

impl fmt::Display for EscapedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape_also(self.0, f, |byte| matches!(byte, b',' | b'/'))
    }
}

/// Shows a value on a line of `WORD:VALUE WORD:VALUE` as [`Escaped`] does, in quotes if it has a
/// blank, a comma or a quote: without quotes, a value could make up another word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EscapedValue<'a>(pub &'a [u8]);

impl fmt::Display for EscapedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| !c.is_whitespace() && !matches!(c, ',' | '"');
        if String::from_utf8_lossy(self.0).chars().all(is_plain) {
            return Escaped(self.0).fmt(f);
        }
        f.write_char('"')?;
        escape_also(self.0, f, |byte| byte == b'"')?;
        f.write_char('"')
    }
}

/// Escapes the ASCII characters of `also` too.
fn escape_also(bytes: &[u8], f: &mut fmt::Formatter<'_>, also: fn(u8) -> bool) -> fmt::Result {
    for part in bytes.split_inclusive(|byte| also(*byte)) {
        match part.split_last() {
            Some((byte, before)) if also(*byte) => {
                write!(f, "{}\\u{{{byte:x}}}", Escaped(before))?;
            }
            _ => fmt::Display::fmt(&Escaped(part), f)?,
        }
    }
    Ok(())
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

/// The largest integer that readers of JSON keep exact: most of them have numbers of 64 bits with a
/// fraction of 53 bits (RFC 8259, section 6).
pub(crate) const EXACT: u64 = 1 << 53;

/// Appends text as [`EscapedLines`] shows it.
pub(crate) fn put_lines(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, here and below.
    let _ = io::Write::write_fmt(out, format_args!("{}", EscapedLines(text.as_bytes())));
}

/// Appends the text as a JSON string, with U+FFFD in place of bytes that are not UTF-8.
pub(crate) fn put_json_text(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // A string always has a JSON form.
    let _ = serde_json::to_writer(&mut *out, &String::from_utf8_lossy(text));
    if out[start..].iter().any(|byte| !matches!(byte, b' '..=b'~')) {
        let json = out.split_off(start);
        put_json(&String::from_utf8_lossy(&json), out);
    }
}

/// Appends JSON, with a `\u` escape for each character that is not safe to show. JSON has
/// such characters within strings only, so the meaning stays.
fn put_json(json: &str, out: &mut Vec<u8>) {
    let mut kept = 0;
    for (at, c) in json.char_indices().filter(|(_, c)| *c != '\n' && !is_safe(*c)) {
        out.extend_from_slice(&json.as_bytes()[kept..at]);
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = io::Write::write_fmt(out, format_args!("\\u{unit:04x}"));
        }
        kept = at + c.len_utf8();
    }
    out.extend_from_slice(&json.as_bytes()[kept..]);
}

/// Returns whether `c` may reach a terminal: it neither moves the cursor nor turns the writing
/// direction, and a reader sees it.
///
/// Source: `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt of Unicode 16), the line
/// separators, the interlinear annotations, and the blank pattern of Braille.
pub(crate) fn is_safe(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !invisible
}

#[cfg(test)]
mod tests {
    use super::{
        Escaped, EscapedLines, EscapedName, EscapedValue, is_safe, put_json, put_json_text,
    };
    use proptest::prelude::*;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(Escaped(b"nginx: worker").to_string(), "nginx: worker");
        assert_eq!(Escaped(b"\x1b[31mred\n").to_string(), "\\u{1b}[31mred\\n");
        assert_eq!(Escaped(b"a\xffb").to_string(), "a\\xffb");
        assert_eq!(Escaped("caf\u{e9}\u{202e}".as_bytes()).to_string(), "caf\u{e9}\\u{202e}");
    }

    #[test]
    fn a_value_cannot_make_up_another() {
        assert_eq!(EscapedValue(b"/usr/bin/curl").to_string(), "/usr/bin/curl");
        let forged = b"/home/eve/x exe:/usr/sbin/sshd";
        assert_eq!(EscapedValue(forged).to_string(), "\"/home/eve/x exe:/usr/sbin/sshd\"");
        assert_eq!(EscapedValue(b"a\" uid:0").to_string(), "\"a\\u{22} uid:0\"");
    }

    #[test]
    fn invisible_and_turning_characters_are_escaped() {
        for c in [
            '\u{7f}',
            '\u{80}',
            '\u{9b}',
            '\u{9f}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let text = format!("a{c}b");
            assert_eq!(Escaped(text.as_bytes()).to_string(), format!("a{}b", c.escape_unicode()));
            let mut json = Vec::new();
            put_json_text(text.as_bytes(), &mut json);
            assert!(json.is_ascii(), "{json:?}");
            assert_eq!(serde_json::from_slice::<String>(&json).ok(), Some(text));
        }
        for c in ['a', ' ', '~', '\u{a0}', '\u{e9}', '\u{4e2d}', '\u{1f600}'] {
            assert!(is_safe(c), "{c:?}");
        }
    }

    #[test]
    fn a_name_is_one_process() {
        for (name, shown) in [
            (&b"nginx"[..], "nginx"),
            (b"", ""),
            (b"x,1/systemd", "x\\u{2c}1\\u{2f}systemd"),
            (b",\x1b/\xff", "\\u{2c}\\u{1b}\\u{2f}\\xff"),
        ] {
            assert_eq!(EscapedName(name).to_string(), shown);
        }
    }

    #[test]
    fn a_message_keeps_its_lines() {
        let message = b"a\tb\n\x1b[2Jc\r\n";
        assert_eq!(EscapedLines(message).to_string(), "a\tb\n\\u{1b}[2Jc\\r\n");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(bytes: Vec<u8>) {
            prop_assert!(Escaped(&bytes).to_string().chars().all(is_safe));
        }

        #[test]
        fn json_keeps_its_meaning(text: String) {
            let mut json = Vec::new();
            put_json_text(text.as_bytes(), &mut json);
            let json = String::from_utf8(json).expect("UTF-8");
            prop_assert!(json.chars().all(is_safe));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
            let mut again = Vec::new();
            put_json(&json, &mut again);
            prop_assert_eq!(again, json.as_bytes());
        }
    }
}
