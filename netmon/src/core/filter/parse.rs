//! The grammar of a filter.

use std::borrow::Cow;

use super::{
    super::escape::Escaped,
    FilterError, FilterNames, Node, Side, Term,
    error::{Bad, Wrong, wrong},
    hints,
    token::{COMPARISONS, Compare, Token, TokenKind, tokens},
    value::{Value, failed, node},
    words::{Fact, Operators, PORT, RowKind, Word},
};

/// The longest text that is read, bytes.
const MAX_LENGTH: usize = 16 << 10;
/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(
    text: &str,
    names: &dyn FilterNames,
    rows: RowKind,
) -> Result<Node, FilterError> {
    if text.len() > MAX_LENGTH {
        let at = text.floor_char_boundary(MAX_LENGTH);
        let bad = Bad::new("the filter is too long", format!("at most {MAX_LENGTH} bytes"));
        return Err(bad.at(at).of(&text[..at]));
    }
    let parser = |tokens| Parser { names, rows, tokens, next: 0, depth: 0 };
    tokens(text).and_then(|tokens| parser(tokens).whole()).map_err(|wrong| wrong.of(text))
}

struct Parser<'a> {
    names: &'a dyn FilterNames,
    rows: RowKind,
    tokens: Vec<Token<'a>>,
    /// The place of the next token, never past the end.
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.next]
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.next += 1;
        }
        token
    }

    /// Takes the next token if it is of this kind. Returns whether it is.
    fn takes(&mut self, kind: TokenKind) -> bool {
        let is_there = self.peek().kind == kind;
        if is_there {
            self.take();
        }
        is_there
    }

    fn whole(mut self) -> Result<Node, Wrong> {
        if self.peek().kind == TokenKind::End {
            return Ok(Node::default());
        }
        let node = self.alternatives()?;
        // No other token ends an expression.
        match self.peek() {
            Token { kind: TokenKind::Close, at, .. } => closes_nothing(at),
            _ => Ok(node),
        }
    }

    fn alternatives(&mut self) -> Result<Node, Wrong> {
        let mut parts = vec![self.conjunction()?];
        while self.takes(TokenKind::Or) {
            parts.push(self.conjunction()?);
        }
        Ok(Node::any(parts))
    }

    fn conjunction(&mut self) -> Result<Node, Wrong> {
        let mut parts = vec![self.negation()?];
        loop {
            match self.peek().kind {
                TokenKind::Or | TokenKind::Close | TokenKind::End => return Ok(Node::all(parts)),
                TokenKind::And => _ = self.take(),
                _ => {}
            }
            parts.push(self.negation()?);
        }
    }

    fn negation(&mut self) -> Result<Node, Wrong> {
        let mut negated = false;
        while self.takes(TokenKind::Not) {
            negated = !negated;
        }
        let node = match self.peek().kind {
            TokenKind::Open => self.group()?,
            TokenKind::Word | TokenKind::Quoted => self.term()?,
            _ => return self.nothing_here(),
        };
        Ok(if negated { node.negated() } else { node })
    }

    fn group(&mut self) -> Result<Node, Wrong> {
        let open = self.take();
        if self.depth == MAX_DEPTH {
            return wrong(open.at, "too deep", format!("at most {MAX_DEPTH} parentheses"));
        }
        self.depth += 1;
        let node = self.alternatives()?;
        self.depth -= 1;
        if self.takes(TokenKind::Close) { Ok(node) } else { never_closed(open.at) }
    }

    /// Returns the error for a missing term.
    fn nothing_here<T>(&self) -> Result<T, Wrong> {
        const TERM: &str = "a term, as dport = :443";
        let here = self.peek();
        let before = self.next.checked_sub(1).map(|before| self.tokens[before]);
        match (before, here.kind) {
            (_, TokenKind::Compare(_)) => {
                wrong(here.at, format!("'{}' has no name before it", here.source), hints::all())
            }
            (_, TokenKind::Comma) => {
                wrong(here.at, "',' is not between values", "a list after = or in: port in 80,443")
            }
            (Some(before), _)
                if matches!(before.kind, TokenKind::And | TokenKind::Or | TokenKind::Not) =>
            {
                wrong(before.at, format!("'{}' has nothing after it", before.source), TERM)
            }
            (_, TokenKind::And | TokenKind::Or) => {
                wrong(here.at, format!("'{}' has nothing before it", here.source), TERM)
            }
            (Some(open), TokenKind::Close) => wrong(open.at, "nothing in the parentheses", TERM),
            (Some(open), _) => never_closed(open.at),
            (None, _) => closes_nothing(here.at),
        }
    }

    /// Reads a term. Terms of states next to each other mean any of their states, as for `ss`.
    fn term(&mut self) -> Result<Node, Wrong> {
        let mut node = self.one_term()?;
        while let Node::Term(Term::States(_)) = node {
            let (here, next) = (self.next, self.peek());
            if next.kind != TokenKind::Word || !next.source.eq_ignore_ascii_case("state") {
                break;
            }
            match self.one_term()? {
                other @ Node::Term(Term::States(_)) => node = Node::any([node, other]),
                _ => {
                    self.next = here;
                    break;
                }
            }
        }
        Ok(node)
    }

    fn one_term(&mut self) -> Result<Node, Wrong> {
        let token = self.peek();
        let is_word = token.kind == TokenKind::Word;
        if is_word && token.source.starts_with(':') {
            return self.values(PORT, Compare::Equal);
        }
        self.take();
        let known = if is_word { Word::named(token.source) } else { None };
        let Some(word) = known else { return self.unknown(token) };
        word.check(self.rows).map_err(|bad| bad.at(token.at))?;
        if word.fact == Fact::Failed {
            return match self.peek() {
                Token { kind: TokenKind::Compare(_) | TokenKind::Comma, at, .. } => {
                    wrong(at, "'failed' takes no value", "failed or not failed")
                }
                _ => Ok(failed()),
            };
        }
        let operator = self.operator(word)?;
        let open = self.peek();
        let in_parentheses = operator.is_some() && self.takes(TokenKind::Open);
        let compare = operator.unwrap_or(Compare::Equal);
        let node = self.values(word, compare)?;
        if in_parentheses && !self.takes(TokenKind::Close) {
            let write = format!("values with commas between them: {} in (A, B)", word.name);
            return wrong(open.at, "this list is never closed", write);
        }
        let is_negative = compare.is_negative() || word.fact == Fact::Exclude;
        Ok(if is_negative { node.negated() } else { node })
    }

    /// Returns the error for a word that begins no term.
    fn unknown<T>(&self, token: Token<'_>) -> Result<T, Wrong> {
        let value = |place: usize| match self.tokens.get(place)? {
            Token { kind: TokenKind::Word, source, .. } if Word::named(source).is_none() => {
                Some(*source)
            }
            _ => None,
        };
        let next = self.peek();
        let (operator, value) = match next.kind {
            TokenKind::Compare(_) => (Some(next.source), value(self.next + 1)),
            _ => (None, value(self.next)),
        };
        let (write, near) = hints::instead(token.source, operator, value, self.names);
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let word = Escaped(token.source.as_bytes());
        wrong(token.at, format!("unknown word '{word}'{near}"), write)
    }

    /// Reads a list of values: any of them.
    fn values(&mut self, word: &Word, compare: Compare) -> Result<Node, Wrong> {
        let mut nodes = vec![self.value(word, compare)?];
        while let Token { kind: TokenKind::Comma, at, .. } = self.peek() {
            if !matches!(compare, Compare::Equal | Compare::Unequal) {
                let message = format!("{} takes a list only after = and !=", word.name);
                return wrong(at, message, format!("one value, as {}", word.example));
            }
            self.take();
            nodes.push(self.value(word, compare)?);
        }
        Ok(Node::any(nodes))
    }

    /// Takes an operator, if one is there.
    fn operator(&mut self, word: &Word) -> Result<Option<Compare>, Wrong> {
        let (token, after) = (self.peek(), self.tokens.get(self.next + 1));
        let is_value = |token: &Token<'_>| {
            matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Open)
        };
        let named = |name: &str| {
            let named = COMPARISONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
            named.map(|(_, compare)| *compare)
        };
        let compare = match token.kind {
            TokenKind::Compare(compare) => compare,
            // Without a value after it, as in `dir in`, the word is the value.
            TokenKind::Word if after.is_some_and(is_value) => match named(token.source) {
                Some(compare) => compare,
                None => return Ok(None),
            },
            TokenKind::Not
                if after.is_some_and(|after| after.source.eq_ignore_ascii_case("in")) =>
            {
                self.take();
                Compare::Unequal
            }
            _ => return Ok(None),
        };
        self.take();
        let applies = match compare {
            Compare::Equal | Compare::Unequal => word.operators != Operators::None,
            Compare::Like | Compare::Unlike => word.operators == Operators::Text,
            _ => word.operators == Operators::Order,
        };
        if applies {
            return Ok(Some(compare));
        }
        let Word { name, operators, example, .. } = word;
        let write = match operators {
            Operators::None => (*example).to_owned(),
            _ => format!("one of {operators}, as {example}"),
        };
        wrong(token.at, format!("'{}' does not apply to {name}", token.source), write)
    }

    fn value(&mut self, word: &Word, compare: Compare) -> Result<Node, Wrong> {
        let token = self.take();
        let (text, quoted) = match token.kind {
            TokenKind::Word => (Cow::Borrowed(token.source), false),
            TokenKind::Quoted => {
                let inner = &token.source[1..token.source.len() - 1];
                (Cow::Owned(inner.replace("\"\"", "\"")), true)
            }
            _ => {
                let message = format!("'{}' has no value", word.name);
                return wrong(token.at, message, format!("one, as {}", word.example));
            }
        };
        if let Fact::Address(sides) = word.fact
            && !quoted
            && text.eq_ignore_ascii_case("port")
        {
            // `src port 22`, as tcpdump has it.
            let name = match sides {
                [Side::Local] => "sport",
                [Side::Remote] => "dport",
                _ => PORT.name,
            };
            let next = self.peek();
            let value = (next.kind == TokenKind::Word).then_some(next.source);
            let write = hints::term(name, None, value, self.names).unwrap_or_default();
            return wrong(token.at, format!("bad address '{text}'"), write);
        }
        let value = Value { text: &text, quoted };
        node(word, compare, &value, self.names, self.rows).map_err(|bad| bad.at(token.at))
    }
}

fn never_closed<T>(at: usize) -> Result<T, Wrong> {
    wrong(at, "'(' is never closed", ") at its end")
}

fn closes_nothing<T>(at: usize) -> Result<T, Wrong> {
    wrong(at, "')' closes nothing", "( before it or leave it out")
}
