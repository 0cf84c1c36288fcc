//! The measurements of a filter, which a journal has only of connections that ended.

use super::{
    Filter, FilterFacts, Quantity, Question, Term,
    words::{Fact, WORDS},
};

impl Filter {
    /// Returns the words of the filter that test measurements.
    #[must_use]
    pub fn measured_words(&self) -> Vec<&'static str> {
        let mut tested = Vec::new();
        self.questions(&mut |question| {
            if let Question::Quantity(quantity, _) = question
                && quantity.is_measured()
            {
                tested.push(Fact::Quantity(*quantity));
            }
        });
        let words = WORDS.iter().filter(|word| tested.contains(&word.fact));
        words.map(|word| word.name).collect()
    }

    /// Returns whether a connection without measurements does not match the filter, and would match
    /// with some measurements.
    #[must_use]
    pub fn lacks_measurements(&self, facts: &impl FilterFacts) -> bool {
        let may_be = |term: &Term, wanted| match term {
            Term::Quantity(quantity, _) if quantity.is_measured() => true,
            _ => term.matches(facts) == wanted,
        };
        !self.matches(facts) && self.0.may_be(true, &may_be)
    }
}

impl Quantity {
    /// Returns whether the kernel measures the quantity.
    const fn is_measured(self) -> bool {
        !matches!(self, Self::Lifetime)
    }
}
