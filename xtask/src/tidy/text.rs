//! Rules for lines and words: each returns the places in a text that break it.

/// The most columns of a line.
const COLUMNS: usize = 100;
/// The most lines of a Rust file.
const LINES: usize = 400;
/// Words that no document and no comment opens with, since their clause has no head.
const HEADLESS: [&str; 8] =
    ["What", "Whatever", "Whether", "Who", "Whoever", "Whom", "Whose", "Those"];
/// Words that netmon does without, and the words that say it.
const BANNED: [(&str, &str); 10] = [
    ("told", "reported, shown"),
    ("said", "reported, logged, printed"),
    ("nobody", "no process, no program, nothing"),
    ("whoever", "the process that, the reader that"),
    ("lest", "so that … not"),
    ("befall", "happen to"),
    ("befell", "happened to"),
    ("for want of", "without"),
    ("be it that", "also when"),
    ("heretofore", "until now"),
];

/// A place that breaks a rule: its line, from 1, and the rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) rule: String,
}

/// Lines that are too long, but for those that are one word, such as a link.
pub(crate) fn columns(text: &str) -> Vec<Broken> {
    let is_long =
        |line: &str| line.chars().count() > COLUMNS && line.split_whitespace().nth(1).is_some();
    broken(text, |line| {
        is_long(line).then(|| format!("the line has {} columns", line.chars().count()))
    })
}

/// A Rust file that is too long.
pub(crate) fn length(text: &str) -> Vec<Broken> {
    let lines = text.lines().count();
    let rule = format!("the file has {lines} lines: {LINES} are enough");
    (lines > LINES).then_some(Broken { line: lines, rule }).into_iter().collect()
}

/// Doc blocks of Rust that open without a head.
pub(crate) fn openings(text: &str) -> Vec<Broken> {
    let mut was_doc = false;
    broken(text, |line| {
        let doc = ["/// ", "//! "].iter().find_map(|mark| line.trim_start().strip_prefix(mark));
        let is_first = doc.is_some() && !was_doc;
        was_doc = doc.is_some() || line.trim_start().starts_with("//") && was_doc;
        let first = doc.filter(|_| is_first)?.split_whitespace().next()?;
        let is_headless = HEADLESS.contains(&first.trim_end_matches(','));
        is_headless.then(|| format!("a doc comment opens with '{first}'"))
    })
}

/// Words that stand outside of backticks and that netmon does without.
pub(crate) fn words(text: &str) -> Vec<Broken> {
    broken(text, |line| {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let outside = outside.to_lowercase();
        BANNED
            .iter()
            .find(|(word, _)| has_word(&outside, word))
            .map(|(word, instead)| format!("'{word}' is not used here: {instead}"))
    })
}

/// Private bits of a number of 64 bits.
pub(crate) fn masks(text: &str) -> Vec<Broken> {
    broken(text, |line| {
        let code = line.split("//").next().unwrap_or_default();
        let has = ["<< 62", "<< 63"].iter().any(|mask| code.contains(mask));
        has.then(|| "a private bit: core/id.rs is the place for it".to_owned())
    })
}

/// Names that a document does not have.
pub(crate) fn unnamed<'a>(document: &str, names: impl Iterator<Item = &'a str>) -> Vec<Broken> {
    let is_named = |name: &&str| document.contains(&format!("`{name}`"));
    let unnamed = names.filter(|name| !is_named(name));
    unnamed.map(|name| Broken { line: 0, rule: format!("it does not name `{name}`") }).collect()
}

/// Source files that a document names and that are not there, and names that it gives after a file
/// in parentheses and that the file does not have. `read` returns the text of a file.
pub(crate) fn sources(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Broken> {
    let mut broken = Vec::new();
    // Odd parts are in backticks.
    let parts: Vec<&str> = document.split('`').collect();
    let mut line = 1;
    let mut source: Option<(&str, String)> = None;
    for (number, part) in parts.iter().enumerate() {
        let is_quoted = number % 2 == 1;
        let after = parts.get(number + 1).copied().unwrap_or_default();
        if is_quoted && part.ends_with(".rs") && part.contains('/') {
            let text = read(part);
            if text.is_none() {
                broken.push(Broken { line, rule: format!("there is no file `{part}`") });
            }
            let has_names = after.trim() == "(";
            source = text.filter(|_| has_names).map(|text| (*part, text));
        } else if is_quoted && let Some((path, text)) = &source {
            let name = part.rsplit("::").next().unwrap_or_default();
            if !has_word(text, name.trim_end_matches("()")) {
                let rule = format!("`{path}` has no `{part}`");
                broken.push(Broken { line, rule });
            }
        } else if part.contains(')') {
            source = None;
        }
        line += part.matches('\n').count();
    }
    broken
}

fn broken(text: &str, mut rule: impl FnMut(&str) -> Option<String>) -> Vec<Broken> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(line, text)| Some(Broken { line, rule: rule(text)? })).collect()
}

/// Returns whether the word is there by itself, not as a part of another or of a name.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(broken: &[Broken]) -> Vec<usize> {
        broken.iter().map(|broken| broken.line).collect()
    }

    #[test]
    fn long_lines_are_found_but_for_links() {
        let long =
            format!("{}\n{} b\nhttps://{}\n", "a".repeat(100), "a".repeat(99), "a".repeat(99));
        assert_eq!(lines(&columns(&long)), [2]);
        // Columns are characters.
        assert!(columns(&format!("{} b", "ä".repeat(98))).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert!(length(&"\n".repeat(400)).is_empty());
        assert_eq!(lines(&length(&"\n".repeat(401))), [401]);
    }

    #[test]
    fn a_doc_comment_without_a_head_is_found() {
        let text = "//! What it is.\n\n/// Those of a host,\n/// What follows is no opening.\n\
                    fn a() {}\n    /// Whether it is.\n// What a comment may.\n/// Returns it.\n";
        assert_eq!(lines(&openings(text)), [1, 3, 6]);
    }

    #[test]
    fn a_banned_word_is_found_outside_of_backticks_and_names() {
        let text = "Nobody is there.\n`told` is a word, is_told a name.\nfor want of it\nretold\n";
        assert_eq!(lines(&words(text)), [1, 3]);
    }

    #[test]
    fn a_private_bit_is_found() {
        assert_eq!(lines(&masks("a << 6;\nb << 63;\n// c << 62\n")), [2]);
    }

    #[test]
    fn a_file_and_a_name_that_are_not_there_are_found() {
        let read = |path: &str| (path == "a/b.rs").then(|| "struct Here;".to_owned());
        let document = "`a/b.rs` (`Here`, `a::Here`)\n`a/c.rs`\n`a/b.rs`\n(`There`) and `There`\n";
        assert_eq!(lines(&sources(document, read)), [2, 4]);
    }

    #[test]
    fn an_unnamed_command_is_found() {
        assert_eq!(unnamed("`a` and b", ["a", "b"].into_iter()).len(), 1);
    }
}
