//! The tokens of a filter.

#[derive(Clone, Copy, PartialEq)]
pub(super) enum TokenKind {
    Open,
    Close,
    Not,
    And,
    Or,
    Compare(Compare),
    Word,
    Quoted,
    End,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Compare {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
    pub(super) source: &'a str,
}

/// The symbols, longer ones first.
const SYMBOLS: [(&str, TokenKind); 14] = [
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
    ("==", TokenKind::Compare(Compare::Equal)),
    ("!=", TokenKind::Compare(Compare::Unequal)),
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
];

const KEYWORDS: [(&str, TokenKind); 3] =
    [("and", TokenKind::And), ("or", TokenKind::Or), ("not", TokenKind::Not)];

/// The words that compare after the name of a fact. Elsewhere they are ordinary words.
pub(super) const COMPARISONS: [(&str, Compare); 9] = [
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

/// An error without the text of the filter.
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) fn wrong<T>(at: usize, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, message: message.into() })
}

/// Returns the tokens of `text`. The last token, and only the last, is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let Some((kind, length)) = token(rest) else {
            return wrong(
                at,
                "this quote is never closed: write \" at its end, and \"\" for a quote within",
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
    let ends = |c: char| c.is_whitespace() || "()&|!=<>\"".contains(c);
    let length = text.find(ends).unwrap_or(text.len());
    let keyword = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text[..length]));
    Some((keyword.map_or(TokenKind::Word, |(_, kind)| *kind), length))
}

/// Returns whether `text` is one word and no keyword.
pub(super) fn is_word(text: &str) -> bool {
    let is_whole = |token: &Token<'_>| token.kind == TokenKind::Word && token.source == text;
    matches!(tokens(text).as_deref(), Ok([only, _]) if is_whole(only))
}
