//! The grammar of a filter, and the errors for text that does not follow the grammar.

use std::{borrow::Cow, error, fmt};

use super::{
    super::{escape::Escaped, verdict::Verdict},
    FilterNames, Label, Node, Side, Term,
    address::{endpoint, id, is_number, port},
    states::States,
    token::{COMPARISONS, Compare, Token, TokenKind, Wrong, tokens, wrong},
};

/// The longest text that is read, bytes.
const MAX_LENGTH: usize = 16 << 10;
/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 64;
/// The bytes that the kernel keeps of the name of a process: `TASK_COMM_LEN` without the NUL.
const MAX_COMM: usize = 15;

/// The bytes of the longest name of a network device: `IFNAMSIZ` without the NUL.
const MAX_DEVICE: usize = 15;

/// A range without a port.
const NO_PORTS: [u16; 2] = [1, 0];

/// The reason why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The text.
    pub text: String,
    /// The place of the error in the text, in bytes.
    pub at: usize,
    /// The error and the correct form: one line, safe to show.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped(self.text.as_bytes());
        let before = Escaped(self.text.get(..self.at).unwrap_or_default().as_bytes());
        let column = before.to_string().chars().count();
        // A width in the format would have 16 bits only.
        write!(f, "{}\n  {text}\n  {}^", self.message, " ".repeat(column))
    }
}

impl error::Error for FilterError {}

/// The words that begin a term, each with an example.
const FACTS: [(&str, &str); 13] = [
    ("state", "state established"),
    ("exclude", "exclude time-wait"),
    ("sport", "sport = :22"),
    ("dport", "dport = :443"),
    ("src", "src 10.0.0.0/8"),
    ("dst", "dst [2001:db8::]/32"),
    ("pid", "pid = 812"),
    ("comm", "comm = nginx"),
    ("uid", "uid = www-data"),
    ("netns", "netns = blue"),
    ("dev", "dev = eth0"),
    ("cgroup", "cgroup = /system.slice/nginx.service"),
    ("verdict", "verdict = refused"),
];

pub(super) fn parse(text: &str, names: &dyn FilterNames) -> Result<Node, FilterError> {
    if text.len() > MAX_LENGTH {
        let at = text.floor_char_boundary(MAX_LENGTH);
        let message = format!("the filter is too long: write at most {MAX_LENGTH} bytes");
        return Err(FilterError { text: text[..at].to_owned(), at, message });
    }
    let parsed =
        tokens(text).and_then(|tokens| Parser { names, tokens, next: 0, depth: 0 }.whole());
    parsed.map_err(|Wrong { at, message }| FilterError { text: text.to_owned(), at, message })
}

struct Parser<'a> {
    names: &'a dyn FilterNames,
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
        while self.peek().kind == TokenKind::Or {
            self.take();
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
        while self.peek().kind == TokenKind::Not {
            self.take();
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
            return wrong(open.at, format!("too deep: nest at most {MAX_DEPTH} parentheses"));
        }
        self.depth += 1;
        let node = self.alternatives()?;
        self.depth -= 1;
        match self.take().kind {
            TokenKind::Close => Ok(node),
            _ => never_closed(open.at),
        }
    }

    /// Returns the error for a missing term.
    fn nothing_here<T>(&self) -> Result<T, Wrong> {
        let here = self.peek();
        let before = self.next.checked_sub(1).map(|before| self.tokens[before]);
        match (before, here.kind) {
            (_, TokenKind::Compare(_)) => {
                let message = format!("'{}' has no name before it: write {}", here.source, names());
                wrong(here.at, message)
            }
            (Some(before), _)
                if matches!(before.kind, TokenKind::And | TokenKind::Or | TokenKind::Not) =>
            {
                wrong(
                    before.at,
                    format!(
                        "'{}' has nothing after it: write a term, as dport = :443",
                        before.source
                    ),
                )
            }
            (_, TokenKind::And | TokenKind::Or) => wrong(
                here.at,
                format!("'{}' has nothing before it: write a term, as dport = :443", here.source),
            ),
            (Some(open), TokenKind::Close) => {
                wrong(open.at, "nothing in the parentheses: write a term, as dport = :443")
            }
            (Some(open), _) => never_closed(open.at),
            (None, _) => closes_nothing(here.at),
        }
    }

    fn term(&mut self) -> Result<Node, Wrong> {
        let word = self.take();
        let Some(&fact) = FACTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.source))
        else {
            let unknown = Escaped(word.source.as_bytes());
            return wrong(word.at, format!("unknown word '{unknown}': write {}", names()));
        };
        let lookup = self.names;
        match fact.0 {
            "state" => self.states(fact),
            "exclude" => Ok(Node::Term(Term::States(self.value(fact, states)?)).negated()),
            "sport" => self.ports(fact, Side::Local),
            "dport" => self.ports(fact, Side::Remote),
            "src" => self.endpoint(fact, Side::Local),
            "dst" => self.endpoint(fact, Side::Remote),
            "pid" => self.equal(fact, |text| id("pid", "a number", text, |_| None).map(Term::Pid)),
            "comm" => self.equal(fact, comm),
            "uid" => self.equal(fact, |text| {
                if let Some(term) = recorded(lookup, Label::User, text) {
                    return Ok(term);
                }
                let write = "a number or the name of a user";
                id("user", write, text, |name| lookup.user(name)).map(Term::Uid)
            }),
            "netns" => self.equal(fact, |text| {
                if let Some(term) = recorded(lookup, Label::Netns, text) {
                    return Ok(term);
                }
                let write = "a name as of ip netns or an inode number";
                id("namespace", write, text, |name| lookup.netns(name)).map(Term::Netns)
            }),
            "dev" => self.equal(fact, device),
            "verdict" => self.equal(fact, verdict),
            _ => self.equal(fact, |text| {
                if let Some(term) = recorded(lookup, Label::Cgroup, text) {
                    return Ok(term);
                }
                let write = "a path as in /proc/PID/cgroup or an id";
                id("cgroup", write, text, |path| lookup.cgroup(path)).map(Term::Cgroup)
            }),
        }
    }

    /// Reads states. Several states next to each other mean any of them, as for `ss`.
    fn states(&mut self, fact: Fact) -> Result<Node, Wrong> {
        let equal = self.equality(fact)?;
        let mut either = self.value(fact, states)?;
        if !equal {
            return Ok(Node::Term(Term::States(either)).negated());
        }
        while self.peek().kind == TokenKind::Word && self.peek().source.eq_ignore_ascii_case(fact.0)
        {
            let here = self.next;
            self.take();
            if !self.equality(fact)? {
                self.next = here;
                break;
            }
            either = either.with(self.value(fact, states)?);
        }
        Ok(Node::Term(Term::States(either)))
    }

    fn ports(&mut self, fact: Fact, side: Side) -> Result<Node, Wrong> {
        let compare = self.compare().unwrap_or(Compare::Equal);
        let lookup = self.names;
        let port = self.value(fact, |text| port(text, lookup))?;
        let ports = match compare {
            Compare::Equal | Compare::Unequal => [port, port],
            Compare::Less => port.checked_sub(1).map_or(NO_PORTS, |high| [0, high]),
            Compare::Greater => port.checked_add(1).map_or(NO_PORTS, |low| [low, u16::MAX]),
            Compare::AtMost => [0, port],
            Compare::AtLeast => [port, u16::MAX],
        };
        let node = Node::Term(Term::Ports(side, ports));
        Ok(if compare == Compare::Unequal { node.negated() } else { node })
    }

    fn endpoint(&mut self, fact: Fact, side: Side) -> Result<Node, Wrong> {
        let equal = self.equality(fact)?;
        let lookup = self.names;
        let (net, port) = self.value(fact, |text| endpoint(text, lookup))?;
        let net = net.map(|net| Term::Address(side, net));
        let port = port.map(|port| Term::Ports(side, [port, port]));
        let node = Node::all(net.into_iter().chain(port).map(Node::Term));
        Ok(if equal { node } else { node.negated() })
    }

    fn equal(
        &mut self,
        fact: Fact,
        read: impl FnOnce(&str) -> Result<Term, String>,
    ) -> Result<Node, Wrong> {
        let equal = self.equality(fact)?;
        let node = Node::Term(self.value(fact, read)?);
        Ok(if equal { node } else { node.negated() })
    }

    /// Takes `=`, `!=` or nothing. Returns whether the fact must equal the value.
    fn equality(&mut self, (name, _): Fact) -> Result<bool, Wrong> {
        let Token { at, source, .. } = self.peek();
        match self.compare() {
            None | Some(Compare::Equal) => Ok(true),
            Some(Compare::Unequal) => Ok(false),
            Some(_) => wrong(at, format!("'{source}' does not apply to {name}: write = or !=")),
        }
    }

    fn compare(&mut self) -> Option<Compare> {
        let token = self.peek();
        let compare = match token.kind {
            TokenKind::Compare(compare) => compare,
            TokenKind::Word => {
                COMPARISONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(token.source))?.1
            }
            _ => return None,
        };
        self.take();
        Some(compare)
    }

    fn value<T>(
        &mut self,
        (name, example): Fact,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Wrong> {
        let token = self.take();
        let text = match token.kind {
            TokenKind::Word => Cow::Borrowed(token.source),
            TokenKind::Quoted => {
                Cow::Owned(token.source[1..token.source.len() - 1].replace("\"\"", "\""))
            }
            _ => return wrong(token.at, format!("'{name}' has no value: write one, as {example}")),
        };
        read(&text).map_err(|message| Wrong { at: token.at, message })
    }
}

/// An entry of [`FACTS`].
type Fact = (&'static str, &'static str);

/// Returns a term for the name that a journal recorded, if `text` is a name.
fn recorded(lookup: &dyn FilterNames, label: Label, text: &str) -> Option<Term> {
    let is_name = lookup.are_recorded() && !is_number(text);
    is_name.then(|| Term::Label(label, text.into()))
}

fn states(text: &str) -> Result<States, String> {
    let unknown = Escaped(text.as_bytes());
    States::named(text)
        .ok_or_else(|| format!("unknown state '{unknown}': write {}", States::choice()))
}

fn comm(text: &str) -> Result<Term, String> {
    if text.len() > MAX_COMM {
        let text = Escaped(text.as_bytes());
        return Err(format!(
            "'{text}' is too long: write the first {MAX_COMM} bytes, all that the kernel keeps"
        ));
    }
    Ok(Term::Comm(text.into()))
}

/// Reads the number or the name of a network device. The name means another device in each
/// namespace, so that no name is unknown.
fn device(text: &str) -> Result<Term, String> {
    if is_number(text) {
        return id("device", "a number or a name", text, |_| None).map(Term::Interface);
    }
    if text.is_empty() || text.len() > MAX_DEVICE {
        let text = Escaped(text.as_bytes());
        return Err(format!(
            "'{text}' is no device: write a name as ip link shows it, or a number"
        ));
    }
    Ok(Term::Device(text.into()))
}

fn verdict(text: &str) -> Result<Term, String> {
    let matching =
        Verdict::ALL.into_iter().find(|verdict| verdict.name().eq_ignore_ascii_case(text));
    matching.map(Term::Verdict).ok_or_else(|| {
        let unknown = Escaped(text.as_bytes());
        format!("unknown verdict '{unknown}': write {}", Verdict::ALL.map(Verdict::name).join(", "))
    })
}

fn names() -> String {
    FACTS.map(|(name, _)| name).join(", ")
}

fn never_closed<T>(at: usize) -> Result<T, Wrong> {
    wrong(at, "'(' is never closed: write ) at its end")
}

fn closes_nothing<T>(at: usize) -> Result<T, Wrong> {
    wrong(at, "')' closes nothing: write ( before it or leave it out")
}
