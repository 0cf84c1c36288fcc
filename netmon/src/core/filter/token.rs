//! The tokens of a filter.

use super::error::{Wrong, wrong};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum TokenKind {
    Open,
    Close,
    Not,
    And,
    Or,
    Comma,
    Compare(Compare),
    Word,
    Quoted,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compare {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
    Like,
    Unlike,
}

impl Compare {
    /// Returns whether the term is the opposite of the term with the positive operator.
    pub(super) const fn is_negative(self) -> bool {
        matches!(self, Self::Unequal | Self::Unlike)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
    pub(super) source: &'a str,
}

/// The symbols, longer ones first.
const SYMBOLS: [(&str, TokenKind); 17] = [
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
    ("==", TokenKind::Compare(Compare::Equal)),
    ("!=", TokenKind::Compare(Compare::Unequal)),
    ("!~", TokenKind::Compare(Compare::Unlike)),
    ("<=", TokenKind::Compare(Compare::AtMost)),
    (">=", TokenKind::Compare(Compare::AtLeast)),
    ("(", TokenKind::Open),
    (")", TokenKind::Close),
    ("&", TokenKind::And),
    ("|", TokenKind::Or),
    ("!", TokenKind::Not),
    ("=", TokenKind::Compare(Compare::Equal)),
    ("<", TokenKind::Compare(Compare::Less)),
    (">", TokenKind::Compare(Compare::Greater)),
    ("~", TokenKind::Compare(Compare::Like)),
    (",", TokenKind::Comma),
];

const KEYWORDS: [(&str, TokenKind); 3] =
    [("and", TokenKind::And), ("or", TokenKind::Or), ("not", TokenKind::Not)];

/// The words that compare after the name of a fact. Elsewhere they are ordinary words.
pub(super) const COMPARISONS: [(&str, Compare); 10] = [
    ("in", Compare::Equal),
    ("eq", Compare::Equal),
    ("ne", Compare::Unequal),
    ("neq", Compare::Unequal),
    ("lt", Compare::Less),
    ("gt", Compare::Greater),
    ("le", Compare::AtMost),
    ("leq", Compare::AtMost),
    ("ge", Compare::AtLeast),
    ("geq", Compare::AtLeast),
];

/// Returns the tokens of `text`. The last token, and only the last, is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let Some((kind, length)) = token(rest) else {
            return wrong(
                at,
                "this quote is never closed",
                "\" at its end, and \"\" for a quote within",
            );
        };
        tokens.push(Token { kind, at, source: &rest[..length] });
        rest = rest[length..].trim_start();
    }
    tokens.push(Token { kind: TokenKind::End, at: text.len(), source: "" });
    Ok(tokens)
}

/// Returns the first token of `text` and its length; none if a quote is open.
fn token(text: &str) -> Option<(TokenKind, usize)> {
    if let Some((symbol, kind)) = SYMBOLS.iter().find(|(symbol, _)| text.starts_with(symbol)) {
        return Some((*kind, symbol.len()));
    }
    if let Some(mut rest) = text.strip_prefix('"') {
        // A quote within the text is doubled. A backslash is an ordinary character: paths of
        // cgroups have some.
        loop {
            rest = rest.split_once('"')?.1;
            match rest.strip_prefix('"') {
                Some(more) => rest = more,
                None => return Some((TokenKind::Quoted, text.len() - rest.len())),
            }
        }
    }
    let ends = |c: char| c.is_whitespace() || "()&|!=<>~,\"".contains(c);
    let length = text.find(ends).unwrap_or(text.len());
    let keyword = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text[..length]));
    Some((keyword.map_or(TokenKind::Word, |(_, kind)| *kind), length))
}

/// Returns whether `text` is one word and no keyword.
pub(super) fn is_word(text: &str) -> bool {
    let is_whole = |token: &Token<'_>| token.kind == TokenKind::Word && token.source == text;
    matches!(tokens(text).as_deref(), Ok([only, _]) if is_whole(only))
}
