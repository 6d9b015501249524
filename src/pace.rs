//! How fast we may ask: token buckets per account and operation, the guard that keeps a refused
//! key from being locked, and the backoff after trouble. All of it in tokio's time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api::Operation;
use crate::sabotage::{self, Bug};

/// tokio's clock as `governor` wants it: the time since the limiter was made.
#[derive(Clone, Copy, Debug)]
struct TokioClock(Instant);

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The token bucket of one operation: its calls a second, of which a fifth may come at once. Over
/// any second that is at most 1.2 times the rate.
#[derive(Debug)]
struct Bucket {
    clock: TokioClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let clock = TokioClock(Instant::now());
        let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_second / 5).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self { clock, limiter: RateLimiter::direct_with_clock(quota, clock) }
    }

    async fn take(&self) {
        while let Err(wait) = self.limiter.check() {
            tokio::time::sleep(wait.earliest_possible().duration_since(self.clock.now()).into())
                .await;
        }
    }
}

/// What the sources of one account share: the vendor counts per account, so we do too.
#[derive(Debug, Default)]
pub struct Account {
    buckets: Mutex<HashMap<&'static Operation, Arc<Bucket>>>,
    /// Keeps a refused key from being locked.
    pub guard: Guard,
}

impl Account {
    /// Waits until the account may call `operation` once more.
    pub async fn admit(&self, operation: &'static Operation) {
        if sabotage::is(Bug::NoRateLimit) {
            return;
        }
        let bucket = Arc::clone(
            lock(&self.buckets)
                .entry(operation)
                .or_insert_with(|| Arc::new(Bucket::new(operation.per_second))),
        );
        bucket.take().await;
    }
}

/// Slows down the polls of a key that the vendor refuses, over all its sources. Huawei locks a key
/// for everybody after five failures in a row.
#[derive(Debug, Default)]
pub struct Guard {
    key: Mutex<Key>,
    accepted: Notify,
}

#[derive(Debug, Default)]
struct Key {
    /// The vendor took it at its last use.
    proven: bool,
    refusals_in_a_row: u32,
    /// When each try of an unproven key began whose outcome may still be open.
    tries: Vec<Instant>,
    next_try: Option<Instant>,
}

impl Guard {
    /// Refusals in a row after which tries become rare.
    const FREE_TRIES: u32 = 4;
    /// The time between tries, once they are rare.
    const RARE: RangeInclusive<Duration> = Duration::from_mins(6)..=Duration::from_mins(15);
    /// How long a try counts as a possible refusal. Refusals come at once; what takes longer hangs,
    /// and must not hold up other sources.
    pub const OPEN: Duration = Duration::from_secs(5);

    /// Whether the key may be used now; if not, when to ask again. Tries of an unproven key whose
    /// outcome is open count as refusals, for ten sources that start at once would be refused ten
    /// times in a row.
    pub fn try_now(&self) -> Result<(), Instant> {
        let now = Instant::now();
        let mut key = lock(&self.key);
        if key.proven {
            return Ok(());
        }
        if let Some(next) = key.next_try.filter(|&next| now < next) {
            return Err(next);
        }
        key.tries.retain(|&begun| now < begun + Self::OPEN);
        let open = u32::try_from(key.tries.len()).unwrap_or(u32::MAX);
        match key.tries.first() {
            Some(&oldest) if key.refusals_in_a_row.saturating_add(open) >= Self::FREE_TRIES => {
                Err(oldest + Self::OPEN)
            }
            _ => {
                key.tries.push(now);
                Ok(())
            }
        }
    }

    /// The vendor refused the key.
    pub fn refused(&self) {
        if sabotage::is(Bug::NoGuard) {
            return;
        }
        let mut key = lock(&self.key);
        key.proven = false;
        key.tries.pop();
        key.refusals_in_a_row = key.refusals_in_a_row.saturating_add(1);
        if let Some(beyond) = key.refusals_in_a_row.checked_sub(Self::FREE_TRIES) {
            let wait = Self::RARE.start().saturating_mul(1 << beyond.min(4));
            key.next_try = Some(Instant::now() + wait.min(*Self::RARE.end()));
        }
    }

    /// The vendor took the key; whoever waits for it may go on.
    pub fn accepted(&self) {
        let mut key = lock(&self.key);
        if !key.proven {
            *key = Key { proven: true, ..Key::default() };
            self.accepted.notify_waiters();
        }
    }

    /// Waits until the vendor takes the key again.
    pub async fn healed(&self) {
        self.accepted.notified().await;
    }
}

/// Exponential backoff with full jitter, after
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The longest wait that we choose ourselves.
    pub const LONGEST: Duration = Duration::from_mins(5);

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// One more failure: the wait before the next try, between one second and `interval` doubled
    /// for each failure in a row, but never less than the vendor asked for.
    pub fn after_failure(
        &mut self,
        interval: Duration,
        asked: Option<Duration>,
        random: &mut fastrand::Rng,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling = interval.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        let jittered = ceiling.mul_f64(random.f64()).max(Duration::from_secs(1));
        jittered.max(asked.unwrap_or_default().min(Self::LONGEST))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code in this file panics while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    static SLOW: Operation = Operation { name: "Slow", permission: "x:Slow", per_second: 2 };
    static OTHER: Operation = Operation { name: "Other", permission: "x:Other", per_second: 2 };

    #[tokio::test(start_paused = true)]
    async fn an_operation_never_exceeds_its_rate() {
        let account = Account::default();
        let start = Instant::now();
        let mut calls = Vec::new();
        for _ in 0..20 {
            account.admit(&SLOW).await;
            calls.push(start.elapsed());
        }
        for window in calls.windows(4) {
            assert!(window[3] >= window[0] + Duration::from_secs(1), "{calls:?}");
        }
        assert!(calls[19] <= Duration::from_secs(10), "{calls:?}");
        let before = start.elapsed();
        account.admit(&OTHER).await;
        assert_eq!(start.elapsed(), before, "another operation has a bucket of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_tried_rarely_but_not_never() {
        let guard = Guard::default();
        for _ in 0..4 {
            assert_eq!(guard.try_now(), Ok(()));
            guard.refused();
        }
        let mut tries = Vec::new();
        let start = Instant::now();
        while tries.len() < 6 {
            match guard.try_now() {
                Ok(()) => {
                    assert!(guard.try_now().is_err(), "two sources tried a refused key at once");
                    tries.push(start.elapsed());
                    guard.refused();
                }
                Err(next) => tokio::time::sleep_until(next).await,
            }
        }
        assert!(tries[0] >= *Guard::RARE.start());
        for pair in tries.windows(2) {
            let gap = pair[1].saturating_sub(pair[0]);
            assert!(Guard::RARE.contains(&gap), "{tries:?}");
        }
        guard.accepted();
        for _ in 0..100 {
            assert_eq!(guard.try_now(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_sources_that_start_at_once_are_not_ten_refusals() {
        let guard = Guard::default();
        let allowed = (0..10).filter(|_| guard.try_now().is_ok()).count();
        assert_eq!(allowed, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_does_not_hold_up_the_others_of_its_key() {
        let guard = Guard::default();
        while guard.try_now().is_ok() {}
        tokio::time::sleep(Guard::OPEN).await;
        assert_eq!(guard.try_now(), Ok(()));
    }

    #[test]
    fn backoff_grows_is_jittered_and_honours_the_vendor() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::default();
        let interval = Duration::from_secs(30);
        for failure in 1..40 {
            let wait = backoff.after_failure(interval, None, &mut random);
            let ceiling = (interval * (1 << failure.min(8))).min(Backoff::LONGEST);
            assert!((Duration::from_secs(1)..=ceiling).contains(&wait), "{failure}: {wait:?}");
        }
        let asked = Some(Duration::from_secs(299));
        assert!(backoff.after_failure(interval, asked, &mut random) >= Duration::from_secs(299));
        let absurd = Some(Duration::from_hours(9));
        assert_eq!(backoff.after_failure(interval, absurd, &mut random), Backoff::LONGEST);
        backoff.reset();
        let wait = backoff.after_failure(interval, None, &mut random);
        assert!(wait <= interval * 2);
    }
}
