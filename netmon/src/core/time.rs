//! Moments and stretches of time.

/// A stretch of wall time, ns since 1970, UTC; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// Where it begins.
    pub from: i64,
    /// Where it ends.
    pub to: i64,
}

impl TimeSpan {
    /// Returns whether a moment, ns since 1970, is in it.
    #[must_use]
    pub fn contains(&self, moment: i64) -> bool {
        (self.from..=self.to).contains(&moment)
    }
}
