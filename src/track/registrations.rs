//! `Registrations`: the task ids that people register at run time.
//!
//! The rules:
//!
//! - A registered id is on its source's [`Watchlist`] until its task has ended and is no longer
//!   kept, or until somebody takes it back.
//! - An id that the vendor does not know is asked for until its time to live is over, counted from
//!   the last answer that knew its task, else from its registration. It takes a good poll after
//!   that time to end it: a vendor that has not been asked has not said no.
//! - A task that is not final never expires by age while the source keeps it.
//! - The ids of a source that is no longer configured wait for its return, until their time is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::api::{TaskApi, TaskRef};
use dbtask_clouds::ids as given;
use dbtask_clouds::model::{Resource, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::metrics::Instruments;
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::{Snapshot, Store, Tracked};
use crate::storage::{Batch, Contents, Journal, Table};
use crate::track::watchlist::Watchlist;

/// One row an id: an [`Entry`].
const REGISTRATIONS: Table = Table("registration");
/// How long it takes at most until an id whose time is over is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Rest after a sweep, for many sources may publish at once.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What people have registered.
#[derive(Debug)]
pub struct Registrations {
    clock: Clock,
    journal: Arc<Journal>,
    instruments: Instruments,
    desk: Mutex<Desk>,
}

/// What there is to register for, and what is registered.
#[derive(Debug, Default)]
struct Desk {
    /// `None` while nothing can be registered: what is waits.
    limits: Option<Limits>,
    sources: BTreeMap<String, Registrable>,
    entries: Entries,
}

/// How many ids there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Over all sources.
    pub tasks: usize,
    /// How long an id that the vendor does not know is asked for.
    pub ttl: Duration,
}

/// A source, as far as ids can be registered for it.
#[derive(Clone, Debug)]
pub struct Registrable {
    /// What is asked for the task.
    pub api: &'static TaskApi,
    /// Where the id goes.
    pub watchlist: Arc<Watchlist>,
}

/// A registered id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The cluster or instance that the task works on; `None` if nobody has said.
    pub resource: Option<Box<str>>,
    /// When somebody last registered it.
    pub registered: Timestamp,
    /// The last answer that is known to have contained the task; `None` if none is.
    pub last_seen: Option<Timestamp>,
}

/// By source and id.
type Entries = BTreeMap<String, BTreeMap<Arc<str>, Entry>>;

/// As it is in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    registration: Registration,
    known: Known,
}

/// What the source, when last looked at, knew of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Known {
    /// No answer has contained it, or the vendor has lost it.
    Nothing,
    Open,
    Ended,
}

/// What has become of an id that somebody registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Whether it was not there before.
    pub is_new: bool,
    /// As it is now.
    pub registration: Registration,
    /// Whether it outlives the process.
    pub kept: Kept,
}

/// Whether a change outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the journal.
    Durably,
    /// The journal cannot be written at present; it is noted, and goes there once it can.
    InMemoryForNow,
    /// There is no journal.
    InMemory,
}

/// Why an id is not registered. In words for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody has configured such a source.
    #[error("there is no such source; there are {0}")]
    UnknownSource(String),
    /// The id or the resource cannot be right.
    #[error("{0}")]
    Unaskable(String),
    /// There are as many as there may be.
    #[error(
        "there are {0} registered task ids, as many as `registration.max_tasks` allows: delete \
         some, or allow more"
    )]
    Full(usize),
    /// Nothing is, since a moment ago.
    #[error("task ids cannot be registered any more: `registration` has left the configuration")]
    Closed,
}

impl Registrations {
    /// What an earlier process left in `contents`. It waits for [`open`](Self::open).
    pub fn restore(
        clock: Clock,
        instruments: Instruments,
        journal: Arc<Journal>,
        contents: &mut Contents,
    ) -> Self {
        let mut entries = Entries::default();
        for name in contents.sources(REGISTRATIONS) {
            let rows = contents.take::<Entry>(REGISTRATIONS, &name).into_iter();
            let ids: BTreeMap<Arc<str>, Entry> =
                rows.map(|(id, entry)| (id.into(), entry)).collect();
            if !sabotage::is(Bug::RegistrationsForgotten) {
                entries.insert(name, ids);
            }
        }
        let desk = Mutex::new(Desk { entries, ..Desk::default() });
        Self { clock, journal, instruments, desk }
    }

    /// From now on ids can be registered for `sources`, within `limits`; without them for none, and
    /// nothing is asked for that is registered. Who shares a watchlist with a source of before goes
    /// on with what is on it; other watchlists get what is registered.
    pub fn open(&self, sources: BTreeMap<String, Registrable>, limits: Option<Limits>) {
        let mut desk = self.lock();
        let was_open = desk.limits.is_some();
        let before = std::mem::replace(&mut desk.sources, sources);
        desk.limits = limits;
        for (name, ids) in &desk.entries {
            let Some(source) = desk.sources.get(name) else {
                if limits.is_some() && (before.contains_key(name) || !was_open) {
                    tracing::warn!(
                        source = name,
                        count = ids.len(),
                        "registered task ids wait for a source that is not configured"
                    );
                }
                continue;
            };
            let old = before.get(name).filter(|_| was_open);
            let goes_on = old.is_some_and(|old| Arc::ptr_eq(&old.watchlist, &source.watchlist));
            for (id, entry) in ids {
                match (limits, goes_on) {
                    (Some(_), true) => {}
                    (Some(_), false) => source.watchlist.register(entry.registration.task(id)),
                    (None, _) => source.watchlist.forget(id),
                }
            }
        }
        self.show(&desk);
    }

    /// Forgets what is registered for a source, whose name now stands for another one.
    pub fn forget_source(&self, source: &str) {
        let mut desk = self.lock();
        let mut batch = Batch::default();
        for id in desk.entries.remove(source).unwrap_or_default().keys() {
            forget_row(&desk.sources, source, id, &mut batch);
        }
        self.changed(&mut desk, batch);
    }

    /// Registers an id, or registers it again. A `resource` that is left out stays as it was. What
    /// is wrong with any of it is found before anything changes.
    pub async fn register(
        &self,
        source: &str,
        id: &str,
        resource: Option<&str>,
    ) -> Result<Registered, Refusal> {
        let about = |field: &'static str| {
            move |problem| Refusal::Unaskable(format!("`{field}`: {problem}"))
        };
        let id: Result<Arc<str>, _> = given::id(id).map(Arc::from).map_err(about("id"));
        let resource = resource.map(given::id).transpose().map_err(about("resource"));
        let (is_new, registration) = {
            let mut desk = self.lock();
            let limits = desk.limits.ok_or(Refusal::Closed)?;
            let to = desk.sources.get(source).cloned().ok_or_else(|| desk.unknown_source())?;
            let (id, resource) = (id?, resource?);
            let before = desk.entries.get(source).and_then(|ids| ids.get(&id)).cloned();
            let is_new = before.is_none();
            let (old, known) = match before {
                Some(Entry { registration, known }) => (Some(registration), known),
                None => (None, Known::Nothing),
            };
            let old_resource = old.as_ref().and_then(|old| old.resource.clone());
            let registration = Registration {
                resource: resource.map(Box::from).or_else(|| old_resource.clone()),
                registered: self.clock.now(),
                last_seen: old.and_then(|old| old.last_seen),
            };
            let task = registration.task(&id);
            to.api.facts.can_ask_for(&task).map_err(Refusal::Unaskable)?;
            if is_new && count(&desk.entries) >= limits.tasks {
                return Err(Refusal::Full(limits.tasks));
            }
            // What is asked for as it is need not be asked for at once.
            if is_new || old_resource != registration.resource {
                to.watchlist.register(task);
            }
            let entry = Entry { registration: registration.clone(), known };
            let mut batch = Batch::default();
            batch.put(REGISTRATIONS, source, &id, &entry);
            desk.entries.entry(source.to_owned()).or_default().insert(id, entry);
            self.changed(&mut desk, batch);
            (is_new, registration)
        };
        Ok(Registered { is_new, registration, kept: self.kept().await })
    }

    /// Takes an id back; one that is not registered is no error.
    pub async fn forget(&self, source: &str, id: &str) -> Result<Kept, Refusal> {
        {
            let mut desk = self.lock();
            if !desk.entries.contains_key(source) && !desk.sources.contains_key(source) {
                return Err(desk.unknown_source());
            }
            if desk.entries.get_mut(source).is_some_and(|ids| ids.remove(id).is_some()) {
                let mut batch = Batch::default();
                forget_row(&desk.sources, source, id, &mut batch);
                self.changed(&mut desk, batch);
            }
        }
        Ok(self.kept().await)
    }

    /// The registration of an id; `None` if there is none.
    pub fn get(&self, source: &str, id: &str) -> Option<Registration> {
        Some(self.lock().entries.get(source)?.get(id)?.registration.clone())
    }

    /// A request to register an id, or to take one back, was answered.
    pub fn request_answered(&self, accepted: bool) {
        self.instruments.registration_answered(accepted);
    }

    /// Forgets what is over, whenever a source publishes, until `stop`.
    pub async fn run(self: Arc<Self>, store: Arc<Store>, stop: CancellationToken) {
        let mut changes = store.watch();
        let work = async {
            loop {
                // Time alone ends some. The store is ours too, so it cannot go away meanwhile.
                let _ = tokio::time::timeout(SWEEP_INTERVAL, changes.changed()).await;
                if self.sweep(&store.snapshots()) {
                    self.journal.flush().await;
                }
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Looks what has become of the registered tasks, and forgets those that are over. Returns
    /// whether there is anything to flush.
    fn sweep(&self, snapshots: &[Arc<Snapshot>]) -> bool {
        let now = self.clock.now();
        let mut batch = Batch::default();
        let mut desk = self.lock();
        let Some(limits) = desk.limits else { return false };
        let Desk { sources, entries, .. } = &mut *desk;
        for (source, ids) in entries.iter_mut() {
            let snapshot = snapshots.iter().find(|snapshot| snapshot.source.name == *source);
            // A source that is not configured cannot be asked, and never will be.
            let asked = snapshot.map_or(Some(now), |snapshot| snapshot.last_success);
            // By a clock that was ahead it has not been asked for what has come since.
            let asked = asked.map(|asked| asked.min(now));
            let mut expired: Vec<Arc<str>> = Vec::new();
            ids.retain(|id, entry| {
                let tracked = snapshot.and_then(|snapshot| snapshot.task(id));
                if entry.known == Known::Ended && tracked.is_none() {
                    forget_row(sources, source, id, &mut batch);
                    return false;
                }
                if entry.look(tracked, now) {
                    batch.put(REGISTRATIONS, source, id, entry);
                }
                let expiry = entry.registration.expiry(limits.ttl);
                let over = entry.known == Known::Nothing && asked.is_some_and(|it| it >= expiry);
                if over {
                    forget_row(sources, source, id, &mut batch);
                    expired.push(Arc::clone(id));
                }
                !over
            });
            if let Some(first) = expired.first() {
                tracing::warn!(
                    source,
                    count = expired.len(),
                    task_id = &**first,
                    "registered task ids are forgotten: no answer has contained them for `registration.ttl`"
                );
            }
        }
        let changed = !batch.is_empty();
        if changed {
            self.changed(&mut desk, batch);
        }
        changed
    }

    /// Notes a change while the lock is held, so that the journal gets the rows in order.
    fn changed(&self, desk: &mut Desk, batch: Batch) {
        desk.entries.retain(|_, ids| !ids.is_empty());
        self.journal.note(batch);
        self.show(desk);
    }

    fn show(&self, desk: &Desk) {
        let count = desk.limits.map_or(0, |_| count(&desk.entries));
        self.instruments.registrations_changed(count as u64);
    }

    async fn kept(&self) -> Kept {
        match (self.journal.has_folder(), self.journal.flush().await) {
            (false, _) => Kept::InMemory,
            (true, true) => Kept::Durably,
            (true, false) => Kept::InMemoryForNow,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // Nothing here panics half-way through a change.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn unknown_source(&self) -> Refusal {
        let names: Vec<&str> = self.sources.keys().map(String::as_str).collect();
        Refusal::UnknownSource(names.join(", "))
    }
}

/// Takes an id off its watchlist and out of the journal.
fn forget_row(sources: &BTreeMap<String, Registrable>, source: &str, id: &str, batch: &mut Batch) {
    if let Some(source) = sources.get(source) {
        source.watchlist.forget(id);
    }
    batch.remove(REGISTRATIONS, source, id);
}

impl Registration {
    fn task(&self, id: &Arc<str>) -> TaskRef {
        let resource = self.resource.clone().map(|id| Arc::new(Resource::new(id)));
        TaskRef { id: Arc::clone(id), resource, started: None }
    }

    /// When it ends, unless the vendor is found to know the task.
    fn expiry(&self, ttl: Duration) -> Timestamp {
        self.last_seen.unwrap_or(self.registered).max(self.registered) + ttl
    }
}

impl Entry {
    /// Takes in how the source shows the task, if it does. Returns whether the journal should know.
    fn look(&mut self, tracked: Option<&Tracked>, now: Timestamp) -> bool {
        let (before, registered) = (self.known, self.registration.registered);
        if let Some(tracked) = tracked {
            self.registration.last_seen = Some(tracked.last_seen);
        }
        // A clock that is set back must not make anything younger than it is.
        self.registration.registered = registered.min(now);
        self.registration.last_seen = self.registration.last_seen.map(|seen| seen.min(now));
        self.known = match tracked {
            Some(tracked) if tracked.task.state.is_final() => Known::Ended,
            Some(tracked) if tracked.settled.is_none() => Known::Open,
            Some(_) | None => Known::Nothing,
        };
        // Each later sighting of an open task is in the journal with the task itself.
        self.known != before || self.registration.registered != registered
    }
}

fn count(entries: &Entries) -> usize {
    entries.values().map(BTreeMap::len).sum()
}
