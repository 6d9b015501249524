//! `Counts`: the counters of ended tasks, each served at 0 before it is served at more.
//!
//! Prometheus sees an increase only between two samples: a series that appears at 1 has, to
//! `increase()`, never moved. So a new series is created at 0 at once, and what is to be added to
//! it waits until everybody who scrapes has had time to see that 0. Delayed, never lost.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::Completion;
use crate::metrics::Instruments;
use crate::scrapes::Scrapes;
use crate::store::SourceInfo;
use crate::task::{TaskState, Timestamp};

/// Counts the ends of tasks, for all sources.
#[derive(Debug)]
pub struct Counts {
    instruments: Instruments,
    scrapes: Scrapes,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// When the series of a source and a kind's label began to exist.
    born: HashMap<(String, String), Instant>,
    /// What is still to be added.
    held: Vec<Held>,
}

/// The end of a task that is not counted yet.
#[derive(Debug)]
struct Held {
    source: Arc<SourceInfo>,
    kind: String,
    outcome: TaskState,
    duration: Option<Duration>,
    born: Instant,
}

impl Counts {
    /// Counters that nobody has seen yet.
    pub fn new(instruments: Instruments) -> Self {
        Self { instruments, scrapes: Scrapes::default(), waiting: Mutex::default() }
    }

    /// Who has been served, and when.
    pub fn scrapes(&self) -> &Scrapes {
        &self.scrapes
    }

    /// `client` is about to be served: notes it, and adds what has waited long enough.
    pub fn scraped(&self, client: IpAddr) {
        self.scrapes.record(client, Instant::now());
        self.release();
    }

    /// Makes the series of a kind of task exist, at 0, if they do not yet; `cancels` where the
    /// vendor has that state. Returns their label, and when they were born.
    pub fn declare_kind(
        &self,
        source: &SourceInfo,
        kind: &str,
        cancels: bool,
    ) -> (String, Instant) {
        let label = self.instruments.declare_kind(&source.name, kind, cancels);
        let key = (source.name.clone(), label.clone());
        let born = *self.lock().born.entry(key).or_insert_with(Instant::now);
        (label, born)
    }

    /// Counts the end of a task, as soon as its series has been seen at 0.
    pub fn count(
        &self,
        source: &Arc<SourceInfo>,
        completion: &Completion,
        cancels: bool,
        now: Timestamp,
    ) {
        let task = &completion.task;
        if task.state == TaskState::Failed {
            self.instruments.task_failed_at(&source.name, task.ended.unwrap_or(now));
        }
        let (kind, born) = self.declare_kind(source, &task.kind, cancels);
        self.lock().held.push(Held {
            source: Arc::clone(source),
            kind,
            outcome: task.state,
            duration: completion.duration,
            born,
        });
        self.release();
    }

    fn release(&self) {
        let now = Instant::now();
        self.lock().held.retain(|held| {
            let seen = self.scrapes.served_since(held.born, now);
            if seen {
                let source = &held.source.name;
                self.instruments.tasks_ended(source, &held.kind, held.outcome, 1);
                if let Some(duration) = held.duration {
                    self.instruments.task_took(source, held.outcome, duration);
                }
            }
            !seen
        });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing here panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
