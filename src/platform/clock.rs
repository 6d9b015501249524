//! `Clock`: the only place that asks what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dbtask_clouds::model::Timestamp;
use tokio::time::Instant;

/// Wall-clock time, real or virtual.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves with tokio's, which tests pause: one `sleep` moves timers and
    /// timestamps together.
    Virtual {
        /// What it showed at `since`.
        epoch: Timestamp,
        /// When it was started.
        since: Instant,
        /// How many seconds it is ahead of that: a clock that somebody sets, and sets back.
        ahead: Option<&'static AtomicI64>,
    },
}

impl Clock {
    /// A clock that shows `epoch` now and moves with tokio's time.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self::Virtual { epoch, since: Instant::now(), ahead: None }
    }

    /// The same clock, so many seconds ahead, if it is virtual.
    #[must_use]
    pub fn ahead_by(self, seconds: &'static AtomicI64) -> Self {
        match self {
            Self::System => self,
            Self::Virtual { epoch, since, ahead: _ } => {
                Self::Virtual { epoch, since, ahead: Some(seconds) }
            }
        }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match *self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            Self::System => Timestamp::from(jiff::Timestamp::now()),
            Self::Virtual { epoch, since, ahead } => {
                let ahead = ahead.map_or(0, |ahead| ahead.load(Ordering::Relaxed));
                (epoch + since.elapsed()).offset_by(ahead)
            }
        }
    }
}

/// tokio's clock as `governor` wants it: the time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_moves_with_the_timers() {
        let epoch = Timestamp::from_second(1_700_000_000).unwrap();
        let clock = Clock::starting_at(epoch);
        tokio::time::sleep(Duration::from_hours(40 * 24)).await;
        assert_eq!(clock.now(), epoch + Duration::from_hours(40 * 24));
    }
}
