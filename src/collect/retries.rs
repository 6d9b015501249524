//! `Retries`: which clusters, instances and task ids fail, and when each is asked again. Pure.
//!
//! One that fails is asked ever more rarely, and does not slow the others down.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use dbtask_clouds::reason::Reason;
use tokio::time::Instant;

use crate::collect::client::FetchError;
use crate::collect::limits::Backoff;
use crate::track::outage::{Notice, Outage};

/// What has to be asked again, by what names it.
#[derive(Debug)]
pub struct Retries<K> {
    open: HashMap<K, Retry>,
}

/// The pauses between two questions: the first, and what it grows to by doubling.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Pauses {
    /// What the pause grows to where nothing else is said.
    pub const LONGEST: Duration = Duration::from_mins(15);

    /// After a question that failed. Trouble of the vendor passes sooner than one that a person has
    /// to mend.
    pub fn after(error: &FetchError, first: Duration) -> Self {
        let longest = if Away::is_sign(error) { Backoff::LONGEST } else { Self::LONGEST };
        Self { first, longest }
    }
}

/// Why the last question failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The `reason` label.
    pub reason: Reason,
    /// The error in words, without secrets.
    pub message: String,
}

#[derive(Debug)]
struct Retry {
    /// When to ask again.
    at: Instant,
    /// The pause until then; `None` after a good answer.
    pause: Option<Duration>,
    /// `None` where the vendor answered.
    failure: Option<Failure>,
    trouble: Outage,
}

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self { open: HashMap::new() }
    }
}

impl<K: Eq + Hash> Retries<K> {
    /// Whether it may be asked now.
    pub fn is_due<Q>(&self, key: &Q, now: Instant) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.open.get(key).is_none_or(|retry| now >= retry.at)
    }

    /// Why the last question failed; `None` if it did not.
    pub fn failure<Q>(&self, key: &Q) -> Option<&Failure>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.open.get(key)?.failure.as_ref()
    }

    /// Whether the vendor has answered, but without what was asked for.
    pub fn has_found_nothing<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.open.get(key).is_some_and(|retry| retry.pause.is_some() && retry.failure.is_none())
    }

    /// What is known here, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.open.keys()
    }

    /// What fails, in no order.
    pub fn failures(&self) -> impl Iterator<Item = (&K, &Failure)> {
        self.open.iter().filter_map(|(key, retry)| Some((key, retry.failure.as_ref()?)))
    }

    /// The question failed.
    pub fn failed(&mut self, key: K, error: &FetchError, pauses: Pauses, now: Instant) {
        let retry = self.pause(key, pauses, now);
        retry.failure = Some(Failure { reason: error.reason(), message: error.to_string() });
    }

    /// The reason and the error of a question that has failed, if that is worth a line in the log.
    pub fn tell<Q>(&mut self, key: &Q, now: Instant) -> Option<(&'static str, &str)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let retry = self.open.get_mut(key)?;
        let failure = retry.failure.as_ref()?;
        let is_news = retry.trouble.poll(Some(failure.reason), now).is_some();
        is_news.then_some((failure.reason.as_str(), &*failure.message))
    }

    /// The vendor answered, but not with what was asked for. Returns whether it has never done so
    /// since the last good answer, and what is worth a line in the log.
    pub fn found_nothing(
        &mut self,
        key: K,
        pauses: Pauses,
        now: Instant,
    ) -> (bool, Option<Notice>) {
        let is_first =
            self.open.get(&key).is_none_or(|it| it.pause.is_none() || it.failure.is_some());
        let retry = self.pause(key, pauses, now);
        retry.failure = None;
        (is_first, retry.trouble.poll(None, now))
    }

    /// A good answer came. Returns what is worth a line in the log.
    pub fn answered<Q>(&mut self, key: &Q, now: Instant) -> Option<Notice>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let retry = self.open.get_mut(key)?;
        (retry.at, retry.pause, retry.failure) = (now, None, None);
        let notice = retry.trouble.poll(None, now);
        if retry.trouble.is_quiet(now) {
            self.open.remove(key);
        }
        notice
    }

    /// Lets everything that failed be asked now.
    pub fn retry_now(&mut self, now: Instant) {
        let failing = self.open.values_mut().filter(|retry| retry.failure.is_some());
        failing.for_each(|retry| retry.at = now);
    }

    /// Forgets whatever nobody asks for any more.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&K) -> bool) {
        self.open.retain(|key, _| is_wanted(key));
    }

    fn pause(&mut self, key: K, pauses: Pauses, now: Instant) -> &mut Retry {
        let retry = self.open.entry(key).or_insert_with(|| Retry {
            at: now,
            pause: None,
            failure: None,
            trouble: Outage::default(),
        });
        let grown = retry.pause.map_or(Duration::ZERO, |pause| pause.saturating_mul(2));
        let pause = grown.max(pauses.first).min(pauses.longest);
        (retry.at, retry.pause) = (now + pause, Some(pause));
        retry
    }
}

/// Whether the vendor answers at all. Where it does not, asking on would cost a timeout each.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    limit: u32,
    in_a_row: u32,
}

impl Default for Away {
    fn default() -> Self {
        Self { limit: Self::LIMIT, in_a_row: 0 }
    }
}

impl Away {
    /// How many different questions in a row have to fail.
    pub const LIMIT: u32 = 3;

    /// Whether the vendor may be away: it has not answered, or has trouble of its own.
    pub fn is_sign(error: &FetchError) -> bool {
        matches!(error.reason(), Reason::Timeout | Reason::Network | Reason::Server)
    }

    /// Goes by this many questions in a row from now on.
    pub fn tolerate(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// A question was answered.
    pub fn answers(&mut self) {
        self.in_a_row = 0;
    }

    /// A question failed. Returns whether to stop asking.
    pub fn fails(&mut self, error: &FetchError) -> bool {
        self.in_a_row = if Self::is_sign(error) { self.in_a_row.saturating_add(1) } else { 0 };
        self.in_a_row >= self.limit
    }
}
