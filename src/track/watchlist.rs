//! `Watchlist`: the task ids that a source asks for besides what the vendor lists.
//!
//! They come from the configuration, from the tasks file and from people who register them at run
//! time. Whoever changes the list wakes the source's poller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbtask_clouds::api::TaskRef;
use dbtask_clouds::model::Origin;
use tokio::sync::Notify;

/// What to ask for by its id, and where that comes from.
pub type Wanted = BTreeMap<Arc<str>, (TaskRef, Origin)>;

/// The task ids that one source is to ask for.
#[derive(Debug, Default)]
pub struct Watchlist {
    ids: Mutex<Ids>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ids {
    configured: BTreeMap<Arc<str>, TaskRef>,
    registered: BTreeMap<Arc<str>, TaskRef>,
}

impl Watchlist {
    /// A list of configured ids.
    pub fn new(configured: impl IntoIterator<Item = TaskRef>) -> Self {
        let list = Self::default();
        list.lock().configured = by_id(configured);
        list
    }

    /// Replaces the configured ids, those of the tasks file among them. Registered ones stay.
    pub fn configure(&self, configured: impl IntoIterator<Item = TaskRef>) {
        let configured = by_id(configured);
        let mut ids = self.lock();
        if ids.configured != configured {
            ids.configured = configured;
            self.changed.notify_one();
        }
    }

    /// Adds an id, or replaces what is known of it.
    pub fn register(&self, task: TaskRef) {
        self.lock().registered.insert(Arc::clone(&task.id), task);
        self.changed.notify_one();
    }

    /// Takes a registered id off the list. A configured one stays.
    pub fn forget(&self, id: &str) {
        self.lock().registered.remove(id);
    }

    /// Every id; one that is both configured and registered counts as configured.
    pub fn wanted(&self) -> Wanted {
        let ids = self.lock();
        let of = |ids: &BTreeMap<Arc<str>, TaskRef>, origin| -> Wanted {
            ids.iter().map(|(id, task)| (Arc::clone(id), (task.clone(), origin))).collect()
        };
        let mut wanted = of(&ids.registered, Origin::Registered);
        wanted.extend(of(&ids.configured, Origin::Configured));
        wanted
    }

    /// Whether an id is on the list.
    pub fn contains(&self, id: &str) -> bool {
        let ids = self.lock();
        ids.configured.contains_key(id) || ids.registered.contains_key(id)
    }

    /// Waits until the list has been changed by [`configure`](Self::configure) or
    /// [`register`](Self::register) since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        // Nothing here panics half-way through a change.
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_id(tasks: impl IntoIterator<Item = TaskRef>) -> BTreeMap<Arc<str>, TaskRef> {
    tasks.into_iter().map(|task| (Arc::clone(&task.id), task)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> TaskRef {
        TaskRef { id: id.into(), resource: None, started: None }
    }

    #[test]
    fn an_id_that_is_configured_and_registered_is_asked_for_once_as_configured() {
        let list = Watchlist::new([task("a")]);
        list.register(task("b"));
        list.register(task("a"));
        let wanted = |list: &Watchlist| -> Vec<(String, Origin)> {
            list.wanted().into_iter().map(|(id, (_, origin))| (id.to_string(), origin)).collect()
        };
        assert_eq!(
            wanted(&list),
            [("a".to_owned(), Origin::Configured), ("b".to_owned(), Origin::Registered)]
        );
        list.configure([]);
        list.forget("b");
        assert_eq!(wanted(&list), [("a".to_owned(), Origin::Registered)]);
    }
}
