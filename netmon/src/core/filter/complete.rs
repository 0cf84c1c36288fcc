//! The completion of a filter that is being typed: the words that may stand at its end.

use super::{
    super::{connection::Direction, errno, verdict::Verdict},
    FilterNames, OWN_NETNS, RowKind, TextFact,
    states::States,
    token::{COMPARISONS, Token, TokenKind, is_word, tokens},
    value::DIRECTIONS,
    words::{Fact, Operators, WORDS, Word},
};

/// The words that combine terms.
const COMBINING: [&str; 3] = ["and", "or", "not"];
/// The characters that no shell reads as more than text, besides letters and digits. Any process
/// may choose the name of a cgroup, and a completion becomes a part of a command line.
const PLAIN: &str = "-_./@";

/// The words that may complete the end of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The place in the text at which the words begin, in bytes.
    pub(crate) at: usize,
    /// The words, each from its beginning.
    pub(crate) words: Vec<String>,
}

/// A place in a filter.
#[derive(Clone, Copy)]
enum Place {
    /// A term begins here.
    Term,
    /// After the word of a term: an operator, or a value.
    Operator(&'static Word),
    Value(&'static Word),
    /// After a term, whose word takes a list of values.
    End(Option<&'static Word>),
}

/// Returns the words that may stand at the end of `text`, where its last word may be incomplete;
/// no words after a mistake.
pub(crate) fn complete(text: &str, names: &dyn FilterNames, rows: RowKind) -> Completion {
    let nothing = Completion { at: text.len(), words: Vec::new() };
    let Ok(mut tokens) = tokens(text) else { return nothing };
    tokens.pop_if(|token| token.kind == TokenKind::End);
    let is_at_end = |token: &Token<'_>| token.at + token.source.len() == text.len();
    // `and`, too: it may be the beginning of a name.
    let is_word = |token: &Token<'_>| {
        token.kind == TokenKind::Word || token.source.starts_with(char::is_alphabetic)
    };
    let begun = tokens.pop_if(|token| is_word(token) && is_at_end(token));
    let begun = begun.map_or("", |token| token.source);
    let is_whole = |token: &Token<'_>| matches!(token.kind, TokenKind::Close | TokenKind::Quoted);
    if begun.is_empty() && tokens.last().is_some_and(|last| is_whole(last) && is_at_end(last)) {
        return nothing;
    }
    let Some(place) = place(&tokens) else { return nothing };
    let mut words = words_at(place, names, rows);
    words.retain(|word| word.starts_with(begun));
    Completion { at: text.len() - begun.len(), words }
}

/// Returns the place after some tokens; nothing after a mistake.
fn place(tokens: &[Token<'_>]) -> Option<Place> {
    let mut place = Place::Term;
    for token in tokens {
        let is_comparison =
            COMPARISONS.iter().any(|(word, _)| word.eq_ignore_ascii_case(token.source));
        place = match (token.kind, place) {
            // `not in`, and `!=` in two words, as bash splits it
            (TokenKind::Not, Place::Operator(word)) => Place::Operator(word),
            (TokenKind::And | TokenKind::Or | TokenKind::Not, _) => Place::Term,
            (TokenKind::Open | TokenKind::Comma, Place::Value(word)) => Place::Value(word),
            (TokenKind::Open, _) => Place::Term,
            (TokenKind::Close, _) => Place::End(None),
            (TokenKind::Compare(_), Place::Operator(word)) => Place::Value(word),
            (TokenKind::Word, Place::Operator(word)) if is_comparison => Place::Value(word),
            (TokenKind::Word | TokenKind::Quoted, Place::Operator(word) | Place::Value(word)) => {
                Place::End(Some(word))
            }
            (TokenKind::Comma, Place::End(Some(word))) => Place::Value(word),
            (TokenKind::Word, Place::Term | Place::End(_)) => match Word::named(token.source) {
                Some(word) if word.fact == Fact::Failed => Place::End(None),
                Some(word) => Place::Operator(word),
                None if token.source.starts_with(':') => Place::End(None),
                None => return None,
            },
            _ => return None,
        };
    }
    Some(place)
}

fn words_at(place: Place, names: &dyn FilterNames, rows: RowKind) -> Vec<String> {
    let known = WORDS.iter().filter(|word| word.check(rows).is_ok()).map(|word| word.name);
    match place {
        Place::Term => strings(known.chain(["not"])),
        Place::End(_) => strings(known.chain(COMBINING)),
        Place::Value(word) => values(word, names),
        // `=` may be left out.
        Place::Operator(word) => match values(word, names) {
            none if none.is_empty() && word.operators != Operators::None => {
                strings(word.operators.to_string().split(' '))
            }
            values => values,
        },
    }
}

/// Returns the values of a word, as far as they have names.
fn values(word: &Word, names: &dyn FilterNames) -> Vec<String> {
    match word.fact {
        Fact::State | Fact::Exclude => strings(States::choice()),
        Fact::Direction => strings(DIRECTIONS.into_iter().chain([Direction::Listen.name()])),
        Fact::Verdict => strings(Verdict::ALL.map(Verdict::name)),
        Fact::Errno => strings((1..=u8::MAX).filter_map(errno::name)),
        Fact::Text(fact) => {
            let own = (fact == TextFact::Netns).then_some(OWN_NETNS);
            let mut found = names.all(fact);
            found.retain(|(name, _)| {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c);
                is_word(name) && name.chars().all(is_plain)
            });
            let found = found.into_iter().map(|(name, _)| name);
            own.map(str::to_owned).into_iter().chain(found).collect()
        }
        _ => Vec::new(),
    }
}

fn strings<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::filter::Filter;

    struct Users;

    impl FilterNames for Users {
        fn all(&self, kind: TextFact) -> Vec<(String, u64)> {
            let users = ["root", "www-data", "two words", "and", "$(reboot)"];
            let users = users.map(|name| (name.to_owned(), 1));
            match kind {
                TextFact::User | TextFact::LoginUser => users.into(),
                _ => Vec::new(),
            }
        }
    }

    /// Returns the words, and the text that they complete.
    fn of(text: &str) -> (Vec<String>, &str) {
        let completion = complete(text, &Users, RowKind::Connection);
        (completion.words, &text[completion.at..])
    }

    #[track_caller]
    fn assert_completes(text: &str, expected: &[&str]) {
        assert_eq!(of(text).0, expected, "{text}");
    }

    #[test]
    fn a_term_begins_with_a_word() {
        assert_completes("sta", &["state"]);
        assert_completes("not sta", &["state"]);
        assert_completes("( sta", &["state"]);
        assert_completes("state established sta", &["state"]);
        assert_completes("pid = 1 o", &["or"]);
        assert_completes("failed an", &["and"]);
        assert_completes(":80 an", &["and"]);
        assert_completes("(pid = 1) an", &["and"]);
        let words = of("").0;
        assert!(WORDS.iter().all(|word| words.contains(&word.name.to_owned())), "{words:?}");
    }

    #[test]
    fn values_follow_their_word() {
        assert_completes("state est", &["established"]);
        assert_completes("exclude time", &["time-wait"]);
        assert_completes("verdict = ref", &["refused"]);
        assert_completes("verdict ! = ref", &["refused"]);
        assert_completes("verdict not in ref", &["refused"]);
        assert_completes("verdict=ref", &["refused"]);
        assert_completes("verdict in (refused, tim", &["timed-out"]);
        assert_completes("verdict = refused,tim", &["timed-out"]);
        assert_completes("dir = ", &["in", "out", "listen"]);
        assert_completes("dir ", &["in", "out", "listen"]);
        assert_completes("errno ECONNREF", &["ECONNREFUSED"]);
        assert_completes("netns ", &["self"]);
        assert_completes("dport ", &["=", "!=", "<", ">", "<=", ">="]);
        assert_completes("dport = ", &[]);
        // These need quotes, or a shell would run them.
        assert_completes("uid = ", &["root", "www-data"]);
    }

    #[test]
    fn the_place_is_that_of_the_last_word() {
        assert_eq!(of("state est").1, "est");
        assert_eq!(of("verdict = refused,tim").1, "tim");
        assert_eq!(of("verdict =").1, "");
        assert_eq!(of("dir ").1, "");
    }

    #[test]
    fn nothing_completes_a_mistake() {
        for text in [
            "stat est",
            "= ",
            "comm = \"two",
            "state established, sta",
            "pid 1 2 ",
            ":80",
            "(pid = 1)",
        ] {
            assert_completes(text, &[]);
        }
    }

    #[test]
    fn a_listing_is_offered_no_word_that_it_refuses() {
        let words = complete("", &Users, RowKind::Socket).words;
        assert!(words.contains(&"state".to_owned()) && !words.contains(&"verdict".to_owned()));
    }

    #[test]
    fn every_value_that_is_offered_is_one() {
        for word in &WORDS {
            let users = [TextFact::User, TextFact::LoginUser].map(Fact::Text);
            for value in values(word, &Users).iter().filter(|_| !users.contains(&word.fact)) {
                let text = format!("{} {value}", word.name);
                Filter::parse(&text, &Users, RowKind::Connection)
                    .unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
}
