//! Bugs that the simulation plants, to see that it finds them.
//!
//! Without the feature `sabotage` there are none: [`is`] is `false` and [`point`] is empty, and both
//! compile to nothing. With it, a bug is on for one thread, so that many worlds can be simulated at
//! once. A call site is one line, at the place where somebody could make the mistake.

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What a poll found is served without waiting for the journal.
    NoFlushBeforePublish,
    /// Counters are shown before the journal says that they are.
    NoFlushBeforeShow,
    /// A restart remembers the counters, but takes all ends of tasks for old ones.
    BaselineOnEveryStart,
    /// A restart forgets what the counters have shown.
    CountsForgotten,
    /// Trouble is asked again after a second, for ever.
    NoBackoff,
    /// A refused key is tried as if nothing had happened.
    NoGuard,
    /// A count is shown at once, before anybody has seen the 0.
    ShownTooEarly,
    /// The end of a task is forgotten an hour after it was last seen.
    RunsForgotten,
    /// What has been silent for long is still said to run.
    NeverStale,
    /// A task that the list leaves out is said to have ended well.
    AbsenceIsSuccess,
    /// A source is asked twice at once.
    SentTwice,
    /// Nothing limits the rate of calls.
    NoRateLimit,
    /// After an outage the list is asked for no more than the lookback.
    SinceNotWidened,
    /// A restart does not know when the last good poll was.
    OutageForgotten,
    /// An end time that becomes known makes a new run.
    LateEndCounted,
    /// Ended tasks are shown for ever.
    NoRetention,
    /// One page is all that is read.
    OnePage,
    /// A label is written without its escapes.
    NoEscapes,
    /// What a budget has left is known to one process only.
    BudgetForgotten,
    /// A gap in what could be seen is not declared.
    GapNotDeclared,
    /// A restart forgets what was registered.
    RegistrationsForgotten,
    /// The last task of a page is dropped.
    LastOfPageLost,
    /// A task that is known is entered a second time.
    EnteredAnew,
    /// What is shown no more stays in the journal.
    RowsKept,
    /// The wait after trouble grows without a limit.
    BackoffGrows,
    /// A disk that has been in trouble once is never written again.
    DiskGivenUp,
    /// A source that is changed while the process runs takes all ends of tasks for old ones.
    BaselineOnReload,
    /// A good poll is followed by the next one ten intervals later.
    PolledSeldom,
    /// What the vendor says of a failure is asked for and dropped.
    TextDropped,
    /// The time of the last good poll stays as it is when the clock is set back.
    FutureShown,
    /// No answer at all is called a refusal of the key.
    SilenceIsAuth,
    /// Only a poll that goes well is a try.
    TriedIfGood,
    /// A cluster, instance or id that fails by itself is not named.
    FailingNotNamed,
}

impl Bug {
    /// Every bug.
    pub const ALL: &[Self] = &[
        Self::NoFlushBeforePublish,
        Self::NoFlushBeforeShow,
        Self::BaselineOnEveryStart,
        Self::CountsForgotten,
        Self::NoBackoff,
        Self::NoGuard,
        Self::ShownTooEarly,
        Self::RunsForgotten,
        Self::NeverStale,
        Self::AbsenceIsSuccess,
        Self::SentTwice,
        Self::NoRateLimit,
        Self::SinceNotWidened,
        Self::OutageForgotten,
        Self::LateEndCounted,
        Self::NoRetention,
        Self::OnePage,
        Self::NoEscapes,
        Self::BudgetForgotten,
        Self::GapNotDeclared,
        Self::RegistrationsForgotten,
        Self::LastOfPageLost,
        Self::EnteredAnew,
        Self::RowsKept,
        Self::BackoffGrows,
        Self::DiskGivenUp,
        Self::BaselineOnReload,
        Self::PolledSeldom,
        Self::TextDropped,
        Self::FutureShown,
        Self::SilenceIsAuth,
        Self::TriedIfGood,
        Self::FailingNotNamed,
    ];
}

/// A moment at which a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A transaction is about to begin.
    BeforeTransaction,
    /// Its rows are written, and it is not committed.
    BeforeCommit,
    /// It is committed, and nobody has been told.
    AfterCommit,
}

#[cfg(feature = "sabotage")]
pub use on::{Death, arm, disarm, is, plant, point, quiet};

/// Whether the bug is planted: never.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be nothing at all")]
pub const fn is(_: Bug) -> bool {
    false
}

/// Goes on.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be nothing at all")]
pub const fn point(_: Point) {}

#[cfg(feature = "sabotage")]
mod on {
    use std::cell::Cell;

    use super::{Bug, Point};

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        /// How many points are passed before the process dies at one.
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// The death of a simulated process, as a panic's payload.
    #[derive(Clone, Copy, Debug)]
    pub struct Death(pub Point);

    /// Plants a bug on this thread, or none, in place of what was planted before.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether the bug is planted on this thread.
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Makes the process die after it has passed this many points, and at every point from then on.
    pub fn arm(points: u32) {
        LEFT.set(Some(points));
    }

    /// Lets the next process live.
    pub fn disarm() {
        LEFT.set(None);
    }

    /// Keeps deaths from being reported as panics; for the whole program.
    pub fn quiet() {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.payload().is::<Death>() {
                report(panic);
            }
        }));
    }

    /// Dies here, if it is time.
    #[allow(clippy::panic, reason = "a process that dies runs no handler of errors")]
    pub fn point(point: Point) {
        match LEFT.get() {
            // Whatever else the process would still do at this instant dies here, too.
            Some(0) => std::panic::panic_any(Death(point)),
            Some(left) => LEFT.set(Some(left - 1)),
            None => {}
        }
    }
}
