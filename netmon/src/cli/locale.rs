//! The locale of the user: the language and the charset of texts for people.

use std::{
    env,
    io::{self, Write},
};

use unicode_width::UnicodeWidthChar;

use super::io::stdout::Stdout;
use crate::view::language::Language;

/// The variables that decide about the language: the first one that is set, as in setlocale(3).
const LANGUAGE: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];
/// The variables that decide about the charset. `LC_MESSAGES` comes where nothing else does.
const CHARSET: [&str; 4] = ["LC_ALL", "LC_CTYPE", "LANG", "LC_MESSAGES"];

/// The locale of the user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locale {
    pub(super) language: &'static Language,
    charset: Charset,
}

/// The characters that the user's terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    /// All characters, in UTF-8.
    Unicode,
    /// The characters of ISO-8859-1, a byte each.
    Latin1,
    /// The characters of ASCII.
    Ascii,
}

impl Locale {
    /// Returns the locale that the environment of this process has.
    pub(super) fn of_user() -> Self {
        Self::of(|name| env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| variable(name));
            values.find(|value| !value.is_empty()).unwrap_or_default()
        };
        let language = Language::of_locale(&first(&LANGUAGE));
        let locale = first(&CHARSET);
        let charset = locale.split('@').next().and_then(|name| name.rsplit('.').next());
        let charset: String = charset.unwrap_or_default().to_ascii_lowercase();
        let charset = match charset.replace(['-', '_'], "").as_str() {
            "utf8" => Charset::Unicode,
            "iso88591" => Charset::Latin1,
            // The texts are ASCII. Names of programs and hosts stay as they are, also for scripts,
            // whose locale is often C.
            _ if language.locale == "en" => Charset::Unicode,
            _ => Charset::Ascii,
        };
        Self { language, charset }
    }

    /// Returns standard output for texts in the language.
    pub(super) fn stdout(self) -> LocaleStdout {
        LocaleStdout { to: Stdout::lock(), charset: self.charset }
    }
}

/// Standard output in the charset of the user. Every write has whole characters.
pub(super) struct LocaleStdout {
    to: Stdout,
    charset: Charset,
}

impl Write for LocaleStdout {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.charset == Charset::Unicode {
            return self.to.write(text);
        }
        self.to.write_all(&self.charset.encode(&String::from_utf8_lossy(text)))?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Charset {
    /// Returns the text in the charset, in as many columns.
    fn encode(self, text: &str) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(text.len());
        for c in text.chars() {
            match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => encoded.push(byte),
                // The bytes below are control characters.
                Ok(byte) if self == Self::Latin1 && byte >= 0xa0 => encoded.push(byte),
                Ok(byte) => encoded.push(without_accent(byte)),
                // The mark of a cut.
                Err(_) if c == '…' => encoded.push(b'~'),
                Err(_) => encoded.resize(encoded.len() + c.width().unwrap_or(0), b'?'),
            }
        }
        encoded
    }
}

/// Returns the ASCII character that looks most like a character of ISO-8859-1.
fn without_accent(byte: u8) -> u8 {
    const LETTERS: &[u8; 64] = b"AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTs\
                                 aaaaaaaceeeeiiiidnooooo/ouuuuyty";
    byte.checked_sub(0xc0).map_or(b'?', |place| LETTERS[usize::from(place)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(variables: &[(&str, &str)]) -> (&'static str, Charset) {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let locale = Locale::of(|name| find(name).map(|(_, value)| (*value).to_owned()));
        (locale.language.locale, locale.charset)
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        use Charset::{Ascii, Latin1, Unicode};
        for (variables, expected) in [
            (&[][..], ("en", Unicode)),
            (&[("LANG", "C")], ("en", Unicode)),
            (&[("LANG", "pt_BR.UTF-8")], ("pt_BR", Unicode)),
            (&[("LANG", "pt_BR.utf8")], ("pt_BR", Unicode)),
            (&[("LANG", "pt_BR.ISO-8859-1")], ("pt_BR", Latin1)),
            (&[("LANG", "pt_BR.ISO8859-1@x")], ("pt_BR", Latin1)),
            (&[("LANG", "pt_BR")], ("pt_BR", Ascii)),
            (&[("LANG", "pt.UTF-8")], ("pt_BR", Unicode)),
            (&[("LANG", "pt_PT.UTF-8")], ("en", Unicode)),
            (&[("LANG", "de_DE.ISO-8859-1")], ("en", Latin1)),
            (&[("LANG", "zz\u{fc}.\u{fc}@")], ("en", Unicode)),
            (&[("LANG", "pt_BR.UTF-8"), ("LC_ALL", "C")], ("en", Unicode)),
            (&[("LANG", "pt_BR.UTF-8"), ("LC_ALL", "")], ("pt_BR", Unicode)),
            (&[("LANG", "en_US.UTF-8"), ("LC_MESSAGES", "pt_BR")], ("pt_BR", Unicode)),
            (&[("LANG", "pt_BR.UTF-8"), ("LC_MESSAGES", "C")], ("en", Unicode)),
            (&[("LC_MESSAGES", "pt_BR.UTF-8")], ("pt_BR", Unicode)),
            (&[("LC_CTYPE", "UTF-8"), ("LANG", "pt_BR")], ("pt_BR", Unicode)),
            (&[("LC_CTYPE", "C"), ("LANG", "pt_BR.UTF-8")], ("pt_BR", Ascii)),
        ] {
            assert_eq!(locale(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_terminal_gets_the_characters_that_it_can_show() {
        let text = "OUÇA ÚLTIMO_ACK não × 2001:…:1 日本 €";
        assert_eq!(Charset::Ascii.encode(text), b"OUCA ULTIMO_ACK nao x 2001:~:1 ???? ?");
        let latin1 = b"OU\xc7A \xdaLTIMO_ACK n\xe3o \xd7 2001:~:1 ???? ?";
        assert_eq!(Charset::Latin1.encode(text), latin1);
        let letters: String = ('\u{80}'..='\u{ff}').collect();
        assert!(Charset::Ascii.encode(&letters).is_ascii());
        assert!(!Charset::Latin1.encode(&letters).contains(&0x9b), "CSI directs a terminal");
    }
}
