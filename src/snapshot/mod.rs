//! `Store`: the latest `Snapshot` of every source.

mod budget_left;
pub mod daily_calls;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dbtask_clouds::model::{Task, TaskState, Timestamp};
use dbtask_clouds::reason::Reason;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::budget_left::Left;
use crate::snapshot::daily_calls::Tally;

/// What names a source to people and to Prometheus; fixed while the source exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// The configured name, `[a-zA-Z0-9_.-]{1,64}`.
    pub name: String,
    /// The cloud's word: `tencent`.
    pub cloud: &'static str,
    /// The API's word: `tencent_cdb`.
    pub api: &'static str,
    /// The vendor's region code.
    pub region: String,
    /// The name of the credentials; never a key.
    pub account: String,
    /// Whether each task gets series of its own.
    pub per_task_metrics: bool,
}

/// A task as the last answers left it, and what we saw of it ourselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// The vendor's last word.
    pub task: Task,
    /// The last answer that contained it.
    pub last_seen: Timestamp,
    /// When its state, progress or steps last changed.
    pub progress_changed: Timestamp,
    /// When it should end, later than the snapshot; `None` unless it is running and that can be told.
    pub estimated_end: Option<Timestamp>,
    /// The first poll that saw it in a final state, or gone; retention counts from here.
    pub settled: Option<Timestamp>,
}

/// A cluster, an instance or a task id whose last question failed, while the source goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingResource {
    /// The vendor's id.
    pub id: Box<str>,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in words, without secrets.
    pub message: String,
}

/// A search for clusters or instances that failed, while those that are known are polled on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingDiscovery {
    /// The vendor's name of the call.
    pub operation: &'static str,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in words, without secrets.
    pub message: String,
}

/// What a source looked like at its last poll. Never changed: the next poll makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Whose it is.
    pub source: Arc<SourceInfo>,
    /// Whether a poll has been tried at all.
    pub tried: bool,
    /// Whether the last poll went well.
    pub up: bool,
    /// When a poll last went well.
    pub last_success: Option<Timestamp>,
    /// How long the last poll took.
    pub last_poll_duration: Option<Duration>,
    /// The interval in force, without jitter or backoff.
    pub poll_interval: Duration,
    /// When the next poll is due.
    pub next_poll: Option<Timestamp>,
    /// What went wrong with the last poll, in words, without secrets; `None` if it went well.
    pub last_error: Option<String>,
    /// The same in one word of a closed set: the `reason` label.
    pub last_error_reason: Option<&'static str>,
    /// The calls of today, as far as this process and its journal know.
    pub calls: Tally,
    /// What was left of the daily budget of its credentials after the last poll; `None` without one.
    pub budget: Option<Left>,
    /// When the credentials in use end; `None` if they do not.
    pub credentials_expiry: Option<Timestamp>,
    /// Configured clusters or instances that the vendor does not know, by id, ordered.
    pub missing_resources: Vec<Box<str>>,
    /// Clusters, instances and task ids whose last question failed, ordered by id.
    pub failing_resources: Vec<FailingResource>,
    /// The search for clusters or instances, where the last one failed, though some are known.
    pub failing_discovery: Option<FailingDiscovery>,
    /// The tasks that are shown, ordered by id.
    pub tasks: Vec<Tracked>,
    /// Those that the limit hides, ordered by id: not listed, but found by their id.
    pub hidden: Vec<Tracked>,
    /// How many tasks there are in each state, the hidden ones included, as [`TaskState::ALL`].
    pub states: [u64; TaskState::ALL.len()],
}

impl Snapshot {
    /// What there is to say before the first poll.
    pub fn before_first_poll(source: Arc<SourceInfo>, poll_interval: Duration) -> Self {
        Self {
            source,
            tried: false,
            up: false,
            last_success: None,
            last_poll_duration: None,
            poll_interval,
            next_poll: None,
            last_error: None,
            last_error_reason: None,
            calls: Tally::default(),
            budget: None,
            credentials_expiry: None,
            missing_resources: Vec::new(),
            failing_resources: Vec::new(),
            failing_discovery: None,
            tasks: Vec::new(),
            hidden: Vec::new(),
            states: [0; TaskState::ALL.len()],
        }
    }

    /// The task with this id, shown or hidden.
    pub fn task(&self, id: &str) -> Option<&Tracked> {
        [&self.tasks, &self.hidden].into_iter().find_map(|tasks| {
            let index = tasks.binary_search_by(|tracked| (*tracked.task.id).cmp(id)).ok()?;
            tasks.get(index)
        })
    }
}

/// The newest snapshot of each source, by name. Readers never wait for a poll.
#[derive(Debug)]
pub struct Store {
    snapshots: Mutex<BTreeMap<String, Arc<Snapshot>>>,
    version: watch::Sender<u64>,
    /// Whether nobody waits for a first try any more, whatever sources come.
    is_settled: AtomicBool,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            snapshots: Mutex::default(),
            version: watch::Sender::new(0),
            is_settled: AtomicBool::new(false),
        }
    }
}

impl Store {
    /// Replaces the source's snapshot and wakes who watches.
    pub fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let name = snapshot.source.name.clone();
        self.lock().insert(name, snapshot);
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Takes a source out, and wakes who watches.
    pub fn remove(&self, source: &str) {
        self.lock().remove(source);
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Every snapshot, ordered by the source's name.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.lock().values().cloned().collect()
    }

    /// The newest snapshot of one source.
    pub fn snapshot(&self, source: &str) -> Option<Arc<Snapshot>> {
        self.lock().get(source).cloned()
    }

    /// The newest snapshot of the first source whose name comes after this one, or of the first of all.
    pub fn snapshot_after(&self, source: Option<&str>) -> Option<Arc<Snapshot>> {
        let after = source.map_or(Bound::Unbounded, Bound::Excluded);
        let snapshots = self.lock();
        let mut rest = snapshots.range::<str, _>((after, Bound::Unbounded));
        rest.next().map(|(_, snapshot)| Arc::clone(snapshot))
    }

    /// How many sources have yet to be tried for the first time before the exporter is ready.
    pub fn awaited(&self) -> usize {
        if self.is_settled.load(Ordering::Relaxed) {
            return 0;
        }
        self.lock().values().filter(|snapshot| !snapshot.tried).count()
    }

    /// Other sources are coming: an exporter that is ready stays so, for it serves all the time.
    pub fn expect_others(&self) {
        if self.awaited() == 0 {
            self.is_settled.store(true, Ordering::Relaxed);
        }
    }

    /// Changes each time a snapshot is published.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Snapshot>>> {
        // Nothing in here can panic half-way through a change.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
