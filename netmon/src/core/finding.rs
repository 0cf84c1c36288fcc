//! The findings of an examination: working and missing parts, the cost, and advice.

/// The state of a part of the host, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// The part works.
    Ok,
    /// A substitute works in its place.
    Degraded,
    /// Tracing does not work without the part.
    Failed,
}

impl FindingState {
    /// Returns the word for the state in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// One result of the examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The subject; findings of one subject stand together.
    pub what: &'static str,
    /// The name among several: a hook, a capability; empty if there is only one.
    pub name: String,
    /// The state of the part.
    pub state: FindingState,
    /// The result in words.
    pub detail: String,
    /// The cost; empty if there is none.
    pub consequence: String,
    /// The advice; empty if nothing needs doing.
    pub advice: String,
    /// More facts, for programs.
    pub facts: Vec<(&'static str, Fact)>,
}

/// A fact for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number; the fact's name contains the unit.
    Number(u64),
    /// One or more words.
    Text(String),
}

impl Finding {
    /// Makes a finding without consequence and advice.
    #[must_use]
    pub fn new(what: &'static str, state: FindingState, detail: impl Into<String>) -> Self {
        let (name, consequence, advice) = (String::new(), String::new(), String::new());
        Self { what, name, state, detail: detail.into(), consequence, advice, facts: Vec::new() }
    }

    /// Adds the name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Adds the consequence and the advice.
    #[must_use]
    pub fn because(self, consequence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { consequence: consequence.into(), advice: advice.into(), ..self }
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.facts.push((name, Fact::Number(value)));
        self
    }

    /// Adds a text, unless it is empty.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push((name, Fact::Text(value)));
        }
        self
    }
}

/// All findings, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The findings, in the order of the output.
    pub findings: Vec<Finding>,
    /// `full` or `basic`, if tracing works.
    pub tier: Option<&'static str>,
    /// `true` if listings can come from iterators, instead of `/proc`.
    pub iterators: bool,
}

impl Diagnosis {
    /// Returns the worst state of all findings.
    #[must_use]
    pub fn state(&self) -> FindingState {
        let worst = self.findings.iter().map(|finding| finding.state).max();
        let traces = if self.tier.is_some() { FindingState::Ok } else { FindingState::Failed };
        worst.unwrap_or(FindingState::Ok).max(traces)
    }

    /// Returns the exit code: 0 if everything works, 1 if a substitute works in the place of a
    /// part, 2 if nothing is traced.
    #[must_use]
    pub fn exit(&self) -> u8 {
        self.state() as u8
    }
}
