//! What was found out about a host: what works, what does not, what that costs and what to do.

/// How something fares, from well to badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// Something stands in for it.
    Degraded,
    /// Tracing does not work without it.
    Failed,
}

impl FindingState {
    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: findings of one subject stand together.
    pub what: &'static str,
    /// Which of several: a hook, a capability; empty where there is one.
    pub name: String,
    /// How it fares.
    pub state: FindingState,
    /// What was found.
    pub detail: String,
    /// What that costs; empty where nothing.
    pub consequence: String,
    /// What to do; empty where nothing needs doing.
    pub advice: String,
    /// More about it, for programs.
    pub facts: Vec<(&'static str, Fact)>,
}

/// Something that a program may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number; its name says the unit.
    Number(u64),
    /// A word or more.
    Text(String),
}

impl Finding {
    /// Something found, with nothing to say about it yet.
    #[must_use]
    pub fn new(what: &'static str, state: FindingState, detail: impl Into<String>) -> Self {
        let (name, consequence, advice) = (String::new(), String::new(), String::new());
        Self { what, name, state, detail: detail.into(), consequence, advice, facts: Vec::new() }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What it costs, and what to do.
    #[must_use]
    pub fn because(self, consequence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { consequence: consequence.into(), advice: advice.into(), ..self }
    }

    /// With a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.facts.push((name, Fact::Number(value)));
        self
    }

    /// With a word, unless it is empty.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push((name, Fact::Text(value)));
        }
        self
    }
}

/// All that was found, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// In the order in which it is told.
    pub findings: Vec<Finding>,
    /// `full` or `basic`, where tracing works.
    pub tier: Option<&'static str>,
    /// Whether listings can be had from iterators; else from `/proc`.
    pub iterators: bool,
}

impl Diagnosis {
    /// The worst of what was found.
    #[must_use]
    pub fn state(&self) -> FindingState {
        let worst = self.findings.iter().map(|finding| finding.state).max();
        let traces = if self.tier.is_some() { FindingState::Ok } else { FindingState::Failed };
        worst.unwrap_or(FindingState::Ok).max(traces)
    }

    /// 0 when everything works in full, 1 when something stands in for something, 2 when nothing is traced.
    #[must_use]
    pub fn exit(&self) -> u8 {
        self.state() as u8
    }
}
