//! The line with the words to type: a command line, with a part changed.

use std::ffi::OsString;

use super::Named;
use crate::core::escape::Escaped;

/// Returns the words in one line, quoted for a shell where that is necessary.
pub(super) fn line(words: &[OsString]) -> String {
    let words = words.iter().skip(1).map(|word| quoted(&word.to_string_lossy()));
    ["netmon".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// Returns a word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let word = Escaped(word.as_bytes()).to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:,=@%+".contains(c);
    let is_plain = !word.is_empty() && word.chars().all(is_plain);
    if is_plain { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Returns the letters of a word with short flags, without a value after `=`.
pub(super) fn letters(word: &str) -> Option<&str> {
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?;
    letters.split('=').next()
}

/// Returns the words without flags: `-t` also in `-tn`.
pub(super) fn without(words: &[OsString], flags: &[&str]) -> Vec<OsString> {
    let short = |c: char| flags.contains(&&*format!("-{c}"));
    let kept = words.iter().filter_map(|word| {
        let text = word.to_str().unwrap_or_default();
        if flags.contains(&text) {
            return None;
        }
        match letters(text).filter(|letters| letters.contains(short)) {
            Some(letters) => {
                let kept = text.replacen(letters, &letters.replace(short, ""), 1);
                (kept != "-").then(|| kept.into())
            }
            None => Some(word.clone()),
        }
    });
    kept.collect()
}

/// Returns the line with the words to type.
pub(super) fn typed(words: &str) -> String {
    format!("type: {words}")
}

/// Returns the line that leads to the help of the command.
pub(super) fn see(named: &Named<'_>) -> String {
    typed(&format!("{} --help, to see what there is", name(named)))
}

/// Returns the names of netmon and the command.
pub(super) fn name(named: &Named<'_>) -> String {
    ["netmon"].iter().chain(&named.path).copied().collect::<Vec<_>>().join(" ")
}
