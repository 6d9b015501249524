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

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::api::{TaskApi, TaskRef, given};
use crate::clock::Clock;
use crate::journal::{Batch, Contents, Journal, Table};
use crate::metrics::Instruments;
use crate::sabotage::{self, Bug};
use crate::store::{Snapshot, Store, Tracked};
use crate::task::{Resource, Timestamp};
use crate::watchlist::Watchlist;

/// One row an id: an [`Entry`].
const REGISTRATIONS: Table = Table("registration");
/// How long it takes at most until an id whose time is over is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Rest after a sweep, for many sources may publish at once.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What people have registered.
#[derive(Debug)]
pub struct Registrations {
    limits: Limits,
    clock: Clock,
    journal: Arc<Journal>,
    instruments: Instruments,
    sources: BTreeMap<String, Registrable>,
    entries: Mutex<Entries>,
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
}

impl Registrations {
    /// What an earlier process left in `contents`, put on the watchlists of `sources`.
    pub fn restore(
        sources: BTreeMap<String, Registrable>,
        limits: Limits,
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
            if sabotage::is(Bug::RegistrationsForgotten) {
                continue;
            }
            if let Some(source) = sources.get(&name) {
                for (id, entry) in &ids {
                    source.watchlist.register(entry.registration.task(id));
                }
            } else {
                tracing::warn!(
                    source = name,
                    count = ids.len(),
                    "registered task ids wait for a source that is not configured"
                );
            }
            entries.insert(name, ids);
        }
        instruments.registrations_changed(count(&entries) as u64);
        let entries = Mutex::new(entries);
        Self { limits, clock, journal, instruments, sources, entries }
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
        let to = self.sources.get(source).ok_or_else(|| self.unknown_source())?;
        let id: Arc<str> = given::id(id).map_err(about("id"))?.into();
        let resource = resource.map(given::id).transpose().map_err(about("resource"))?;
        let (is_new, registration) = {
            let mut entries = self.lock();
            let before = entries.get(source).and_then(|ids| ids.get(&id)).cloned();
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
            to.api.can_ask_for(&task).map_err(Refusal::Unaskable)?;
            if is_new && count(&entries) >= self.limits.tasks {
                return Err(Refusal::Full(self.limits.tasks));
            }
            // What is asked for as it is need not be asked for at once.
            if is_new || old_resource != registration.resource {
                to.watchlist.register(task);
            }
            let entry = Entry { registration: registration.clone(), known };
            let mut batch = Batch::default();
            batch.put(REGISTRATIONS, source, &id, &entry);
            entries.entry(source.to_owned()).or_default().insert(id, entry);
            self.changed(&mut entries, batch);
            (is_new, registration)
        };
        Ok(Registered { is_new, registration, kept: self.kept().await })
    }

    /// Takes an id back; one that is not registered is no error.
    pub async fn forget(&self, source: &str, id: &str) -> Result<Kept, Refusal> {
        {
            let mut entries = self.lock();
            let ids = entries.get_mut(source);
            if ids.is_none() && !self.sources.contains_key(source) {
                return Err(self.unknown_source());
            }
            if ids.is_some_and(|ids| ids.remove(id).is_some()) {
                let mut batch = Batch::default();
                self.forget_row(source, id, &mut batch);
                self.changed(&mut entries, batch);
            }
        }
        Ok(self.kept().await)
    }

    /// The registration of an id; `None` if there is none.
    pub fn get(&self, source: &str, id: &str) -> Option<Registration> {
        Some(self.lock().get(source)?.get(id)?.registration.clone())
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
        let mut entries = self.lock();
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
                    self.forget_row(source, id, &mut batch);
                    return false;
                }
                if entry.look(tracked, now) {
                    batch.put(REGISTRATIONS, source, id, entry);
                }
                let expiry = entry.registration.expiry(self.limits.ttl);
                let over = entry.known == Known::Nothing && asked.is_some_and(|it| it >= expiry);
                if over {
                    self.forget_row(source, id, &mut batch);
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
            self.changed(&mut entries, batch);
        }
        changed
    }

    /// Takes an id off the watchlist and out of the journal.
    fn forget_row(&self, source: &str, id: &str, batch: &mut Batch) {
        if let Some(source) = self.sources.get(source) {
            source.watchlist.forget(id);
        }
        batch.remove(REGISTRATIONS, source, id);
    }

    /// Notes a change while the lock is held, so that the journal gets the rows in order.
    fn changed(&self, entries: &mut Entries, batch: Batch) {
        entries.retain(|_, ids| !ids.is_empty());
        self.journal.note(batch);
        self.instruments.registrations_changed(count(entries) as u64);
    }

    async fn kept(&self) -> Kept {
        match (self.journal.has_folder(), self.journal.flush().await) {
            (false, _) => Kept::InMemory,
            (true, true) => Kept::Durably,
            (true, false) => Kept::InMemoryForNow,
        }
    }

    fn unknown_source(&self) -> Refusal {
        let names: Vec<&str> = self.sources.keys().map(String::as_str).collect();
        Refusal::UnknownSource(names.join(", "))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing here panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
