//! `Clock`: the only place that asks what time it is.

use std::time::Duration;

use tokio::time::Instant;

use crate::task::Timestamp;

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
    },
}

impl Clock {
    /// A clock that shows `epoch` now and moves with tokio's time.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self::Virtual { epoch, since: Instant::now() }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match *self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            Self::System => Timestamp::from(jiff::Timestamp::now()),
            Self::Virtual { epoch, since } => epoch + since.elapsed(),
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
