//! `Report`: what is told of a source: its snapshot, its polls, its trouble.

use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::Timestamp;
use dbtask_clouds::reason::Reason;
use tokio::time::Instant;

use crate::collect::client::FetchError;
use crate::collect::schedule::Schedule;
use crate::collect::source::Fetched;
use crate::metrics::Instruments;
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::{FailingDiscovery, FailingResource, Left, Snapshot, SourceInfo, Store};
use crate::track::outage::{Notice, Outage};
use crate::track::tracker::Tracker;

/// How often a poll that takes long publishes how long.
const LONG_POLL: Duration = Duration::from_mins(1);
/// How often error texts are published while they come one after the other.
const TEXTS_TOGETHER: Duration = Duration::from_secs(1);

/// What is told of a source, and where.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) info: Arc<SourceInfo>,
    pub(super) clock: Clock,
    pub(super) instruments: Instruments,
    pub(super) store: Arc<Store>,
    pub(super) schedule: Schedule,
    pub(super) history: History,
    /// When the poll under way began.
    polling_since: Option<Instant>,
    /// When anything was last published.
    published: Option<Instant>,
    /// When error texts were last published.
    texts_published: Option<Instant>,
    /// When those that have come since will be.
    texts_due: Option<Instant>,
}

/// What the last polls were like.
#[derive(Debug, Default)]
pub(super) struct History {
    tried: bool,
    pub(super) up: bool,
    /// Whether it was up when the poll under way began.
    was_up: bool,
    last_poll_duration: Option<Duration>,
    last_error: Option<String>,
    pub(super) budget: Option<Left>,
    pub(super) credentials_expiry: Option<Timestamp>,
    missing_resources: Vec<Box<str>>,
    failing_resources: Vec<FailingResource>,
    failing_discovery: Option<FailingDiscovery>,
    next_poll: Option<Timestamp>,
    /// Why the last poll failed, if it did.
    pub(super) failed: Option<Reason>,
    outage: Outage,
}

impl Report {
    pub(super) fn new(
        info: Arc<SourceInfo>,
        clock: Clock,
        instruments: Instruments,
        store: Arc<Store>,
        schedule: Schedule,
    ) -> Self {
        Self {
            info,
            clock,
            instruments,
            store,
            schedule,
            history: History::default(),
            polling_since: None,
            published: None,
            texts_published: None,
            texts_due: None,
        }
    }

    /// Goes on under a changed configuration.
    pub(super) fn resume(&mut self, info: Arc<SourceInfo>, schedule: Schedule) {
        (self.info, self.schedule) = (info, schedule);
        self.history.next_poll = None;
    }

    /// A poll begins.
    pub(super) fn begin(&mut self, begun: Instant) {
        self.polling_since = Some(begun);
        self.history.was_up = self.history.up;
    }

    /// The poll under way is throttled again and again. For whoever looks it has failed, though it
    /// goes on.
    pub(super) fn waits(&mut self, failure: &(&'static str, FetchError), tracker: &mut Tracker) {
        self.log_outage(Some(failure));
        let (operation, error) = failure;
        self.instruments.poll_finished(&self.info.name, Some(error.reason()));
        self.history.tried = true;
        self.history.up = false;
        self.history.failed = Some(error.reason());
        self.history.last_error = Some(format!("{operation}: {error}"));
        self.publish(tracker);
    }

    /// The poll under way is answered again: the source is what it was before.
    pub(super) fn goes_on(&mut self, tracker: &mut Tracker) {
        if self.history.failed == Some(Reason::Throttled) {
            self.history.up = self.history.was_up;
            self.history.failed = None;
            self.history.last_error = None;
            self.publish(tracker);
        }
    }

    /// The poll under way has ended.
    pub(super) fn end(&mut self, begun: Instant, fetched: &mut Fetched) {
        let failure = fetched.failure.as_ref();
        self.log_outage(failure);
        let reason = failure.map(|(_, error)| error.reason());
        self.instruments.poll_finished(&self.info.name, reason);
        self.polling_since = None;
        let history = &mut self.history;
        history.missing_resources = std::mem::take(&mut fetched.missing);
        history.failing_resources = std::mem::take(&mut fetched.failing);
        history.failing_discovery = fetched.failing_discovery.take();
        history.tried = failure.is_none() || !sabotage::is(Bug::TriedIfGood);
        history.up = failure.is_none();
        history.failed = reason;
        history.last_poll_duration = Some(begun.elapsed());
        history.last_error = failure.map(|(operation, error)| format!("{operation}: {error}"));
    }

    /// An error text has come, to be shown at once, or with those that follow it.
    pub(super) fn text_came(&mut self) {
        let now = Instant::now();
        let due = self.texts_published.map_or(now, |last| now.max(last + TEXTS_TOGETHER));
        self.texts_due.get_or_insert(due);
    }

    /// Whether error texts have come that are to be shown now. They count as shown.
    pub(super) fn takes_texts(&mut self) -> bool {
        let are_due = self.texts_due.take().is_some();
        if are_due {
            self.texts_published = Some(Instant::now());
        }
        are_due
    }

    /// When the tasks change by age alone, or error texts that have come are to be shown.
    pub(super) fn next_change(&self, tracker: &Tracker) -> Instant {
        let now = self.clock.now();
        let change = match tracker.next_change() {
            Some(change) => Instant::now() + change.since(now).max(Duration::from_secs(1)),
            None => Instant::now() + Duration::from_hours(1),
        };
        // The interval in force grows with a poll that takes long.
        let longer = self.polling_since.and(self.published).map(|last| last + LONG_POLL);
        [self.texts_due, longer].into_iter().flatten().fold(change, Ord::min)
    }

    /// Whether the next poll may come before its time. What the vendor calls a wrong question may be
    /// put right by another id: without any, a source that has no list has nothing to ask.
    pub(super) fn may_hurry(&self) -> bool {
        let may = self.history.up || self.history.failed == Some(Reason::Client);
        may && self.schedule.slowed.is_none()
    }

    /// The next poll is due then.
    pub(super) fn schedule(&mut self, next: Instant, tracker: &mut Tracker) {
        let wait = next.saturating_duration_since(Instant::now());
        self.history.next_poll = Some(self.clock.now() + wait);
        self.publish(tracker);
    }

    /// How far apart polls begin: a poll that takes longer than that is followed by the next at once.
    fn interval_in_force(&self, tracker: &Tracker) -> Duration {
        let Schedule { pace, slowed, .. } = &self.schedule;
        let interval = pace.interval(tracker.any_under_way(self.clock.now()));
        let wanted = slowed.map_or(interval, |slowed| slowed.interval);
        let under_way = self.polling_since.map(|since| since.elapsed());
        [self.history.last_poll_duration, under_way].into_iter().flatten().fold(wanted, Ord::max)
    }

    /// Shows what is known now.
    pub(super) fn publish(&mut self, tracker: &mut Tracker) {
        self.published = Some(Instant::now());
        let now = self.clock.now();
        let shown = tracker.show(now);
        self.store.publish(Snapshot {
            source: Arc::clone(&self.info),
            tried: self.history.tried,
            up: self.history.up,
            last_success: tracker.last_success(now),
            last_poll_duration: self.history.last_poll_duration,
            poll_interval: self.interval_in_force(tracker),
            next_poll: self.history.next_poll,
            last_error: self.history.last_error.clone(),
            last_error_reason: self.history.failed.map(Reason::as_str),
            calls: tracker.calls,
            budget: self.history.budget,
            credentials_expiry: self.history.credentials_expiry,
            missing_resources: self.history.missing_resources.clone(),
            failing_resources: self.history.failing_resources.clone(),
            failing_discovery: self.history.failing_discovery.clone(),
            tasks: shown.tasks,
            hidden: shown.hidden,
            states: shown.states,
        });
    }

    /// One line when trouble begins or turns into another, one when it is over.
    fn log_outage(&mut self, failure: Option<&(&'static str, FetchError)>) {
        let info = &self.info;
        let reason = failure.map(|(_, error)| error.reason());
        match (self.history.outage.poll(reason, Instant::now()), failure) {
            (Some(Notice::Over { lasted, failures }), _) => tracing::info!(
                source = info.name,
                failures,
                lasted_seconds = lasted.as_secs(),
                "polls succeed again"
            ),
            (Some(Notice::Fails), Some((operation, error))) => tracing::warn!(
                source = info.name,
                api = info.api,
                region = info.region,
                account = info.account,
                operation,
                reason = error.reason().as_str(),
                "polls fail: {error}"
            ),
            (Some(Notice::Fails) | None, _) => {}
        }
    }
}
