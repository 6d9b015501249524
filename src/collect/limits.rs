//! How fast we may ask: token buckets per account and operation, its daily budget, and the
//! backoff after trouble. All of it in tokio's time.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::api::Operation;
use tokio::time::Instant;

use crate::collect::budget::{Budget, Mark, Moment, Need, Slowed, Spare, Spent};
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::Left;

/// The least calls a second that throttling leaves of a rate: one in two minutes, so that a quota of
/// one a minute is met with room to spare.
const LEAST_RATE: f64 = 1.0 / 120.0;
/// What an answer adds to the calls a second, at most: a rate gets from the least to ten a second in 20
/// minutes. A small rate rises by [`STEP_SHARE`] of itself: by as much as it is, it would be
/// throttled, and halved, every other time.
const STEP: f64 = LEAST_RATE;
const STEP_SHARE: f64 = 0.25;

/// The token bucket of one operation: its calls a second, of which a fifth may come at once. Over
/// any second that is at most 1.2 times the rate.
///
/// The rate is learned, for quotas are per account, may be smaller than published, and are shared
/// with whoever else uses the account. It begins at the published rate and is never above it. The
/// vendor's throttling halves it, and each answer adds a little: additive increase, multiplicative
/// decrease, as TCP does.
#[derive(Debug)]
struct Bucket {
    /// Calls are admitted in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    rate: Mutex<Rate>,
}

#[derive(Debug)]
struct Rate {
    /// Calls a second, at most.
    published: f64,
    /// Calls a second, now.
    learned: f64,
    /// Calls that may be made at once, as of `counted`.
    tokens: f64,
    counted: Instant,
    /// When it was last halved.
    halved: Option<Instant>,
    /// The vendor has asked to wait until then.
    not_before: Option<Instant>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let published = f64::from(per_second.max(1));
        let rate = Rate {
            published,
            learned: published,
            tokens: burst(published),
            counted: Instant::now(),
            halved: None,
            not_before: None,
        };
        Self { turn: tokio::sync::Mutex::default(), rate: Mutex::new(rate) }
    }

    async fn take(&self) {
        let _turn = self.turn.lock().await;
        loop {
            // Throttling may make the wait longer while it lasts.
            let taken = lock(&self.rate).take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }
}

impl Rate {
    /// Takes a token; without one, the time until there may be one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.tokens = (self.tokens - 1.0).max(0.0);
        Ok(())
    }

    /// The time until there may be a token.
    fn wait(&mut self, now: Instant) -> Duration {
        self.count(now);
        let asked = self.not_before.map(|until| until.saturating_duration_since(now));
        // A token that is all but there is there: timers know no less than a millisecond.
        let missing = (1.0 - self.tokens - 1e-6).max(0.0);
        Duration::from_secs_f64(missing / self.learned).max(asked.unwrap_or_default())
    }

    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.tokens = (self.tokens + passed * self.learned).min(burst(self.learned));
        self.counted = now;
    }

    /// A call was answered, be it that something else was wrong with it.
    fn rise(&mut self, now: Instant) {
        self.count(now);
        let step = STEP.min(self.learned * STEP_SHARE);
        self.learned = (self.learned + step).min(self.published);
    }

    /// A call that was sent at `sent` was throttled. Calls that were under way when the rate was
    /// last halved say nothing about the half.
    fn fall(&mut self, sent: Instant, now: Instant, asked: Option<Duration>) {
        if let Some(asked) = asked {
            let until = now + asked.min(Backoff::LONGEST);
            self.not_before = self.not_before.max(Some(until));
        }
        if self.halved.is_none_or(|halved| sent >= halved) {
            self.learned = (self.learned / 2.0).max(LEAST_RATE);
            self.halved = Some(now);
        }
        (self.tokens, self.counted) = (0.0, now);
    }
}

/// The calls that may come at once.
fn burst(rate: f64) -> f64 {
    (rate / 5.0).max(1.0)
}

/// What the sources of one account share: the vendor counts per account, so we do too. It outlives
/// its sources, for they may come back on the same day.
#[derive(Debug, Default)]
pub struct Account {
    buckets: Mutex<HashMap<&'static Operation, Arc<Bucket>>>,
    allowance: Mutex<Allowance>,
    /// Where the budget survives a restart; `None` if it does not.
    keeper: Option<Keeper>,
    /// Held while a mark is being kept, so that an older one never replaces a newer.
    keeping: tokio::sync::Mutex<()>,
}

/// The calls of a day.
#[derive(Debug, Default)]
struct Allowance {
    /// What there has been a limit for is remembered, though there is none now.
    budget: Option<Budget>,
    is_limited: bool,
}

impl Allowance {
    /// The budget, as long as the calls are limited.
    fn budget(&mut self) -> Option<&mut Budget> {
        self.budget.as_mut().filter(|_| self.is_limited)
    }
}

/// Keeps a mark where it survives a restart. Ends when the mark is safe, or cannot be kept, which
/// whoever keeps it has to say: calls go on then, counted in memory alone.
pub struct Keeper(pub Box<Keep>);

/// What a [`Keeper`] does.
pub type Keep = dyn Fn(Mark) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Account {
    /// An account that may only make the calls that `budget` allows.
    pub fn with_budget(budget: Budget, keeper: Option<Keeper>) -> Self {
        let allowance = Allowance { budget: Some(budget), is_limited: true };
        Self { allowance: Mutex::new(allowance), keeper, ..Self::default() }
    }

    /// Allows another number of calls a day, or as many as it takes. What has been spent under a
    /// limit stays spent; without one nothing is counted. Sources that are to share a budget have
    /// to join it.
    pub fn allow(&self, limit: Option<u64>, clock: Clock) {
        let mut allowance = lock(&self.allowance);
        allowance.is_limited = limit.is_some();
        let Some(limit) = limit else { return };
        let new = || Budget::new(limit, &Mark::default(), Moment::now(clock));
        allowance.budget.get_or_insert_with(new).allow(limit);
    }

    /// Adds a source, which would poll at `interval`. Returns what is left of the budget; `None`
    /// if there is none.
    pub fn join(&self, source: &str, interval: Duration, clock: Clock) -> Option<Left> {
        let mut allowance = lock(&self.allowance);
        let budget = allowance.budget()?;
        budget.join(source, interval);
        Some(budget.left(Moment::now(clock)))
    }

    /// What is left of the budget; `None` if there is none.
    pub fn left(&self, clock: Clock) -> Option<Left> {
        Some(lock(&self.allowance).budget()?.left(Moment::now(clock)))
    }

    /// Takes a source out, if it is in.
    pub fn leave(&self, source: &str) {
        if let Some(budget) = &mut lock(&self.allowance).budget {
            budget.leave(source);
        }
    }

    /// Takes one call from the budget, to be made at once by a poll of `poll`, or by no poll.
    /// `None` if there is no budget.
    pub async fn spend(&self, poll: Option<&str>, clock: Clock) -> Result<Option<Left>, Spent> {
        if !lock(&self.allowance).is_limited {
            return Ok(None);
        }
        if let Some(keeper) = &self.keeper {
            // Until it is this source's turn and there is nothing left to be kept, no call is made.
            let _turn = self.keeping.lock().await;
            let unkept = |budget: &mut Budget| budget.unkept(Moment::now(clock));
            let unkept = lock(&self.allowance).budget().and_then(unkept);
            if let Some(mark) = unkept {
                (keeper.0)(mark.clone()).await;
                if let Some(budget) = lock(&self.allowance).budget() {
                    budget.kept(&mark);
                }
            }
            return self.take(poll, clock);
        }
        self.take(poll, clock)
    }

    fn take(&self, poll: Option<&str>, clock: Clock) -> Result<Option<Left>, Spent> {
        let mut allowance = lock(&self.allowance);
        allowance.budget().map(|budget| budget.take(poll, Moment::now(clock))).transpose()
    }

    /// What the budget has for calls that no poll makes.
    pub fn spare(&self, clock: Clock) -> Spare {
        let mut allowance = lock(&self.allowance);
        allowance.budget().map_or(Spare::Plenty, |budget| budget.spare(Moment::now(clock)))
    }

    /// A poll of `source` has ended. `None` if its next may come as soon as it would like.
    pub fn pace(&self, source: &str, need: Need, clock: Clock) -> Option<Slowed> {
        lock(&self.allowance).budget()?.pace(source, need, Moment::now(clock))
    }

    /// Calls `each` with the name of every source that has joined the budget.
    pub fn for_sources(&self, each: impl FnMut(&str)) {
        if let Some(budget) = lock(&self.allowance).budget() {
            budget.sources().for_each(each);
        }
    }

    /// Waits until the account may call `operation` once more.
    pub async fn admit(&self, operation: &'static Operation) {
        if sabotage::is(Bug::NoRateLimit) {
            return;
        }
        self.bucket(operation).take().await;
    }

    /// The vendor has answered a call of `operation`, and did not throttle it.
    pub fn answered(&self, operation: &'static Operation) {
        lock(&self.bucket(operation).rate).rise(Instant::now());
    }

    /// The vendor has throttled a call of `operation` that was sent at `sent`, and `asked` to wait.
    pub fn throttled(&self, operation: &'static Operation, sent: Instant, asked: Option<Duration>) {
        lock(&self.bucket(operation).rate).fall(sent, Instant::now(), asked);
    }

    /// How long the next call of `operation` has to wait if nobody comes before it.
    pub fn wait(&self, operation: &'static Operation) -> Duration {
        lock(&self.bucket(operation).rate).wait(Instant::now())
    }

    fn bucket(&self, operation: &'static Operation) -> Arc<Bucket> {
        let mut buckets = lock(&self.buckets);
        let new = || Arc::new(Bucket::new(operation.per_second));
        Arc::clone(buckets.entry(operation).or_insert_with(new))
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
        let longest = if sabotage::is(Bug::BackoffGrows) { Duration::MAX } else { Self::LONGEST };
        let ceiling = interval.saturating_mul(1 << self.failures.min(16)).min(longest);
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
    use dbtask_clouds::api::Call;
    use dbtask_clouds::model::Timestamp;
    use tokio::time::Instant;

    use super::*;

    static SLOW: Operation =
        Operation { name: "Slow", permission: "x:Slow", per_second: 2, call: Call::Action("1") };
    static FAST: Operation =
        Operation { name: "Fast", permission: "x:Fast", per_second: 10, call: Call::Action("1") };
    static OTHER: Operation =
        Operation { name: "Other", permission: "x:Other", per_second: 2, call: Call::Action("1") };

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

    /// When calls were admitted and when they were throttled, in seconds, of a caller that calls as
    /// fast as it may for so long while the vendor admits `quota` calls in any minute.
    async fn asked(quota: usize, lasting: Duration) -> (Vec<u64>, Vec<u64>) {
        let (account, start) = (Account::default(), Instant::now());
        let (mut admitted, mut throttled) = (Vec::new(), Vec::new());
        loop {
            account.admit(&FAST).await;
            let (now, sent) = (start.elapsed(), Instant::now());
            if now > lasting {
                return (admitted, throttled);
            }
            let recent = |second: &&u64| **second + 60 > now.as_secs();
            if admitted.iter().rev().take_while(recent).count() < quota {
                admitted.push(now.as_secs());
                account.answered(&FAST);
            } else {
                throttled.push(now.as_secs());
                account.throttled(&FAST, sent, None);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_quota_half_of_it_is_used_and_little_else_is_asked() {
        for quota in [1, 2, 5, 20, 60, 300] {
            let (admitted, throttled) = asked(quota, Duration::from_hours(6)).await;
            let hours = [1..2, 2..3, 3..4, 4..5, 5..6];
            for hour in hours {
                let within = |second: &&u64| hour.contains(&(**second / 3600));
                let calls = admitted.iter().filter(within).count();
                assert!(calls >= 60 * quota / 2, "{quota} a minute: {calls} in hour {hour:?}");
                let refused = throttled.iter().filter(within).count();
                assert!(refused <= 3 * calls, "{quota}: {refused} refused of {calls} {hour:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendor_that_has_recovered_is_asked_at_the_published_rate_again() {
        let account = Account::default();
        for _ in 0..20 {
            account.admit(&FAST).await;
            account.throttled(&FAST, Instant::now(), None);
        }
        assert!(account.wait(&FAST) > Duration::from_secs(119));
        let start = Instant::now();
        while account.wait(&FAST) > Duration::from_millis(101) {
            account.admit(&FAST).await;
            account.answered(&FAST);
        }
        assert!(start.elapsed() < Duration::from_mins(20), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_vendors_wait_is_honoured_and_an_absurd_one_is_not() {
        let account = Account::default();
        for (asked, least) in [(7, 7), (3600, 300)] {
            account.admit(&FAST).await;
            let start = Instant::now();
            account.throttled(&FAST, start, Some(Duration::from_secs(asked)));
            account.admit(&FAST).await;
            let waited = start.elapsed().as_secs_f64();
            assert!((f64::from(least)..f64::from(least) + 1.0).contains(&waited), "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_throttled_together_halve_the_rate_once() {
        let account = Account::default();
        account.admit(&FAST).await;
        account.admit(&FAST).await;
        let sent = Instant::now();
        tokio::time::sleep(Duration::from_millis(50)).await;
        account.throttled(&FAST, sent, None);
        account.throttled(&FAST, sent, None);
        let wait = account.wait(&FAST).as_secs_f64();
        assert!((0.19..0.21).contains(&wait), "{wait} s at five a second");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_admitted_in_the_order_in_which_they_came() {
        let account = Arc::new(Account::default());
        let order = Arc::<Mutex<Vec<u32>>>::default();
        let mut calls = tokio::task::JoinSet::new();
        for caller in 0..10 {
            let (account, order) = (Arc::clone(&account), Arc::clone(&order));
            calls.spawn(async move {
                account.admit(&SLOW).await;
                lock(&order).push(caller);
            });
        }
        calls.join_all().await;
        assert!(lock(&order).is_sorted());
    }

    /// An account with a budget whose marks are written down, each after a second.
    fn kept(limit: u64) -> (Arc<Account>, Clock, Arc<Mutex<Vec<Mark>>>) {
        let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
        let marks = Arc::<Mutex<Vec<Mark>>>::default();
        let log = Arc::clone(&marks);
        let keep = move |mark: Mark| {
            let log = Arc::clone(&log);
            let kept: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                lock(&log).push(mark);
            });
            kept
        };
        let budget = Budget::new(limit, &Mark::default(), Moment::now(clock));
        let account = Account::with_budget(budget, Some(Keeper(Box::new(keep))));
        (Arc::new(account), clock, marks)
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_is_made_before_its_mark_is_kept_and_marks_only_grow() {
        let (account, clock, marks) = kept(1000);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..1003 {
            let (account, marks) = (Arc::clone(&account), Arc::clone(&marks));
            calls.spawn(async move {
                let left = account.spend(Some("one"), clock).await.ok()??;
                let spent = left.limit - left.remaining;
                let mark = lock(&marks).last().cloned();
                Some((spent, mark))
            });
        }
        let mut made: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
        made.sort_by_key(|(spent, _)| *spent);
        assert_eq!(made.len(), 1000);
        for (spent, mark) in made {
            let reserved = format!("{mark:?}");
            let expected = format!("Some(Mark([(20717, {})]))", spent.div_ceil(5) * 5);
            assert_eq!(reserved, expected, "call {spent}");
        }
        assert_eq!(lock(&marks).len(), 200, "one write for five calls");
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
