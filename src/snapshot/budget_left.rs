//! `Left`: what is left of a daily budget.

/// One part in so many of the limit is kept for the even spread.
const SPREAD: u64 = 5;

/// What is left of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Calls a day.
    pub limit: u64,
    /// Calls that may still be made today.
    pub remaining: u64,
}

impl Left {
    /// Whether so much is spent that the rest has to last for the rest of the day.
    pub fn is_scarce(self) -> bool {
        self.remaining.saturating_mul(SPREAD) <= self.limit
    }

    /// Whether the last call has made it so.
    pub fn has_become_scarce(self) -> bool {
        let before = Self { remaining: self.remaining.saturating_add(1), ..self };
        self.is_scarce() && !before.is_scarce()
    }
}
