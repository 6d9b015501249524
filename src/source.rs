//! `Source`: one API, for one account, in one region; `fetch` returns what a poll finds.
//!
//! It decides what to ask, and adds up the answers: what the vendor lists, page by page, then by id
//! what the list leaves open.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::{DecodeError, Page, Query, Scope, TaskRef, Unreadable};
use crate::caller::{Caller, FetchError};
use crate::cloud::RefusalKind;
use crate::metrics::Reason;
use crate::sabotage::{self, Bug};
use crate::store::Tracked;
use crate::task::{Origin, Resource, Task, TaskState, Timestamp};
use crate::watchlist::{Wanted, Watchlist};

/// The most pages that one list query may have.
const MAX_PAGES: u32 = 100;
/// How often resources are looked for where they must be known before tasks can be listed.
const DISCOVERY_INTERVAL: Duration = Duration::from_mins(5);
/// Finished tasks are asked for from a little before the last good poll, for the vendor's list may
/// lag behind.
const OVERLAP: Duration = Duration::from_mins(10);
/// The pause before a task id that the vendor does not know is asked for again; doubled each time.
const UNKNOWN_ID_PAUSE: Duration = Duration::from_secs(10);

/// One API, account and region.
#[derive(Debug)]
pub struct Source {
    /// Puts the questions.
    pub caller: Caller,
    /// The clusters or instances to watch; empty means all.
    pub resources: Vec<Arc<Resource>>,
    /// Only resources with these tags.
    pub tags: Vec<(String, String)>,
    /// The task ids to watch besides what the vendor lists.
    pub watchlist: Arc<Watchlist>,
    /// How far back finished tasks are of interest.
    pub lookback: Duration,
    /// What earlier polls taught.
    pub learned: Learned,
}

/// What a source has learned from the vendor's answers.
#[derive(Debug, Default)]
pub struct Learned {
    /// The resources found, and when.
    discovered: Option<(Instant, Vec<Arc<Resource>>)>,
    /// Whether there is a list to ask.
    list: Listing,
    /// Ids on the watchlist that the vendor did not know: when to ask again, and the pause then.
    unknown_ids: HashMap<Arc<str>, (Instant, Duration)>,
}

/// What is known of the list operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listing {
    #[default]
    Untried,
    /// It has answered, so that a later "no such operation" is the vendor's trouble.
    Exists,
    /// It does not exist in this cloud or region: only ids are left.
    Missing,
}

/// Whether an earlier poll saw the end of the task with this id.
pub type Settled<'a> = dyn Fn(&str) -> bool + Send + Sync + 'a;

/// What one poll found.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Every task seen, each once, ordered by id.
    pub tasks: Vec<Task>,
    /// Ids that were asked for and that the vendor does not know.
    pub gone: Vec<Arc<str>>,
    /// Whether the list was read to its end, so that what is not in it is not there.
    pub complete: bool,
    /// The first thing that went wrong, and the operation it went wrong with.
    pub failure: Option<(&'static str, FetchError)>,
}

impl Source {
    /// One poll: lists what the vendor lists, and asks by id for what that leaves open. `known` are
    /// the tasks of earlier polls whose end has not been seen, vanished ones among them; an id that
    /// is `settled` needs no further asking.
    pub async fn fetch(
        &mut self,
        known: &[Tracked],
        last_complete: Option<Timestamp>,
        settled: &Settled<'_>,
    ) -> Fetched {
        let mut found = Found::default();
        self.poll(&mut found, known, last_complete, settled).await;
        for (field, count) in found.unreadable.by_field() {
            self.caller.instruments.unknown_values_found(&self.caller.info.name, field, count);
        }
        Fetched {
            complete: found.is_complete(),
            tasks: found.tasks.into_values().collect(),
            gone: found.gone,
            failure: found.failure,
        }
    }

    async fn poll(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        last_complete: Option<Timestamp>,
        settled: &Settled<'_>,
    ) {
        if !self.learn_project(found).await || !self.discover(found).await {
            return;
        }
        let wanted = self.watchlist.wanted();
        self.learned.unknown_ids.retain(|id, _| wanted.contains_key(id));
        let offset = self.caller.clock_offset;
        let mut goes_on = self.list(found, known, last_complete, &wanted).await;
        if goes_on && self.caller.clock_offset != offset {
            // The times that were asked for are those of a clock that has turned out to be wrong.
            goes_on = self.list(found, known, last_complete, &wanted).await;
        }
        if !goes_on {
            return;
        }
        self.ask_by_id(found, known, settled, &wanted).await;
        if self.caller.api.error_by_id {
            self.ask_for_errors(found, settled).await;
        }
    }

    /// Asks for the project once, where the vendor needs one and the configuration has none.
    async fn learn_project(&mut self, found: &mut Found) -> bool {
        let Some(query) =
            self.caller.api.project.filter(|_| self.caller.target.project_id.is_empty())
        else {
            return true;
        };
        let query = query();
        match self.caller.call(&query).await {
            Ok(Page { project_id: Some(project_id), .. }) => {
                self.caller.target.project_id = project_id;
                true
            }
            Ok(_) => {
                found.fail(query.operation.name, DecodeError::Missing("project").into());
                false
            }
            Err(error) => {
                found.fail(query.operation.name, error);
                false
            }
        }
    }

    /// Finds the resources, where tasks can only be listed by resource and none are configured.
    /// What was found before stays in use while looking again fails.
    async fn discover(&mut self, found: &mut Found) -> bool {
        let Some(discover) = self.caller.api.discover.filter(|_| self.resources.is_empty()) else {
            return true;
        };
        if let Some((at, _)) = &self.learned.discovered
            && at.elapsed() < DISCOVERY_INTERVAL
        {
            return true;
        }
        let first = discover(&self.scope(self.caller.vendor_now(), self.caller.vendor_now()));
        let operation = first.operation.name;
        let mut resources: Vec<Arc<Resource>> = Vec::new();
        let mut next = Some(first);
        while let Some(query) = next {
            match self.caller.call(&query).await {
                Ok(page) => {
                    resources.extend(page.resources);
                    next = page.next.into_iter().next().filter(|query| query.page <= MAX_PAGES);
                }
                Err(error) => {
                    let ends = error.ends_the_poll();
                    found.fail(operation, error);
                    return !ends && self.learned.discovered.is_some();
                }
            }
        }
        self.learned.discovered = Some((Instant::now(), resources));
        true
    }

    /// Works off the list queries. Returns whether asking on makes sense.
    async fn list(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        last_complete: Option<Timestamp>,
        wanted: &Wanted,
    ) -> bool {
        if self.learned.list == Listing::Missing {
            return true;
        }
        let now = self.caller.vendor_now();
        let since = self.since(now, known, last_complete);
        let mut queries: VecDeque<Query> = (self.caller.api.list)(&self.scope(now, since)).into();
        // No query where resources have been looked for means that there are none, and no tasks.
        found.listed = !queries.is_empty() || self.caller.api.discover.is_some();
        let mut failed_before = false;
        while let Some(query) = queries.pop_front() {
            if query.page > MAX_PAGES {
                tracing::warn!(
                    source = self.caller.info.name,
                    operation = query.operation.name,
                    "the list goes on beyond {MAX_PAGES} pages; the rest is not read"
                );
                found.listed = false;
                continue;
            }
            match self.caller.call(&query).await {
                Ok(page) => {
                    self.learned.list = Listing::Exists;
                    failed_before = false;
                    // The next page before other queries, while the list is as it was.
                    let pages = if sabotage::is(Bug::OnePage) { Vec::new() } else { page.next };
                    for next in pages.into_iter().rev() {
                        queries.push_front(next);
                    }
                    found.add(page.tasks, page.unreadable);
                }
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::NoSuchOperation
                        && self.learned.list == Listing::Untried
                        && !wanted.is_empty() =>
                {
                    tracing::warn!(
                        source = self.caller.info.name,
                        operation = query.operation.name,
                        "this cloud or region has no such list; only ids that are given are watched"
                    );
                    self.learned.list = Listing::Missing;
                    found.listed = false;
                    return true;
                }
                // Deleted between being found and being asked about.
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::NotFound
                        && self.caller.api.discover.is_some()
                        && self.resources.is_empty() =>
                {
                    self.learned.discovered = None;
                }
                Err(error) => {
                    // The vendor may stumble over one resource alone; twice in a row it is more.
                    let stumbled = error.reason() == Reason::Server && !failed_before;
                    let ends = error.ends_the_poll() && !stumbled;
                    failed_before = true;
                    found.fail(query.operation.name, error);
                    if ends {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Asks by id for the tasks on the watchlist, and for unfinished ones that the list left out.
    async fn ask_by_id(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        settled: &Settled<'_>,
        watchlist: &Wanted,
    ) {
        let mut wanted: Vec<(TaskRef, Sought<'_>)> = watchlist
            .values()
            .filter(|(task, _)| !settled(&task.id) && !found.tasks.contains_key(&task.id))
            .map(|(task, origin)| (task.clone(), Sought::Watched(*origin)))
            .collect();
        // A list that was not read to its end says nothing about what it left out.
        if found.is_complete() {
            let unfinished = known.iter().filter(|tracked| tracked.settled.is_none());
            for Tracked { task, .. } in unfinished {
                if !watchlist.contains_key(&task.id) && !found.tasks.contains_key(&task.id) {
                    wanted.push((task_ref(task), Sought::Missed(task)));
                }
            }
        }
        for (wanted, sought) in wanted {
            let Some(query) = (self.caller.api.by_id)(&wanted) else { continue };
            let operation = query.operation.name;
            if self.learned.unknown_ids.get(&wanted.id).is_some_and(|(at, _)| Instant::now() < *at)
            {
                continue;
            }
            match self.find(query, &wanted.id).await {
                Ok(Some((mut task, unreadable))) => {
                    self.learned.unknown_ids.remove(&wanted.id);
                    match sought {
                        // By id some vendors use other words for the kind than in their list.
                        Sought::Missed(listed) => {
                            task.kind = Arc::clone(&listed.kind);
                            task.origin = listed.origin;
                        }
                        Sought::Watched(origin) => task.origin = origin,
                    }
                    found.add(vec![task], unreadable);
                }
                Ok(None) => self.unknown_id(found, wanted.id, watchlist),
                Err(FetchError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
                    self.unknown_id(found, wanted.id, watchlist);
                }
                // Some vendors have no better word for an id that they do not know. After a list
                // that went well there is nothing else that can be wrong with the question.
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::Client && found.is_complete() =>
                {
                    self.unknown_id(found, wanted.id, watchlist);
                }
                Err(error) => {
                    let ends = error.ends_the_poll();
                    found.fail(operation, error);
                    if ends {
                        return;
                    }
                }
            }
        }
    }

    /// The task with this id in the answer to a query for it, or in the queries that follow.
    async fn find(
        &mut self,
        query: Query,
        id: &str,
    ) -> Result<Option<(Task, Unreadable)>, FetchError> {
        let mut queries = VecDeque::from([query]);
        while let Some(query) = queries.pop_front() {
            let page = self.caller.call(&query).await?;
            if let Some(task) = page.tasks.into_iter().find(|task| *task.id == *id) {
                return Ok(Some((task, page.unreadable)));
            }
            queries.extend(page.next.into_iter().filter(|next| next.page <= MAX_PAGES));
        }
        Ok(None)
    }

    fn unknown_id(&mut self, found: &mut Found, id: Arc<str>, watchlist: &Wanted) {
        // One that was listed is given up by the caller, and not asked for again.
        if watchlist.contains_key(&id) {
            let pauses = &mut self.learned.unknown_ids;
            let last = pauses.get(&id).map(|&(_, pause)| pause);
            if last.is_none() {
                tracing::warn!(
                    source = self.caller.info.name,
                    task_id = &*id,
                    "the vendor does not know this task (yet)"
                );
            }
            let pause = last
                .map_or(UNKNOWN_ID_PAUSE, |pause| pause.saturating_mul(2).min(DISCOVERY_INTERVAL));
            pauses.insert(Arc::clone(&id), (Instant::now() + pause, pause));
        }
        found.gone.push(id);
    }

    /// Asks once for the error text of each task that has newly failed without one.
    async fn ask_for_errors(&mut self, found: &mut Found, settled: &Settled<'_>) {
        let silent: Vec<TaskRef> = found
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Failed && task.error.is_none())
            .filter(|task| !settled(&task.id))
            .map(task_ref)
            .collect();
        for task in silent {
            let Some(query) = (self.caller.api.by_id)(&task) else { continue };
            match self.find(query, &task.id).await {
                Ok(answer) => {
                    let error = answer.and_then(|(task, _)| task.error);
                    if let Some(listed) = found.tasks.get_mut(&task.id) {
                        listed.error = error;
                    }
                }
                // The failure itself is known; its text is not worth a failed poll.
                Err(error) => {
                    tracing::debug!(
                        source = self.caller.info.name,
                        task_id = &*task.id,
                        "no error text: {error}"
                    );
                    if error.ends_the_poll() {
                        return;
                    }
                }
            }
        }
    }

    /// From when on finished tasks are of interest: the lookback, or longer ago where a task could
    /// have finished unseen since the last good poll, or where it can be found by the list alone.
    fn since(
        &self,
        now: Timestamp,
        known: &[Tracked],
        last_complete: Option<Timestamp>,
    ) -> Timestamp {
        // By the vendor's clock, as are the times of the tasks.
        let last_complete =
            last_complete.map(|complete| complete.offset_by(self.caller.clock_offset));
        let unfinished = known
            .iter()
            .filter(|tracked| (self.caller.api.by_id)(&task_ref(&tracked.task)).is_none())
            .filter_map(|tracked| tracked.task.started.or(tracked.task.created));
        let since = unfinished
            .chain(last_complete.filter(|_| !sabotage::is(Bug::SinceNotWidened)))
            .map(|time| time.saturating_sub(OVERLAP))
            .chain([now.saturating_sub(self.lookback)])
            .min()
            .unwrap_or(now);
        match self.caller.api.list_window {
            Some(window) => since.max(now.saturating_sub(window)),
            None => since,
        }
    }

    fn scope(&self, now: Timestamp, since: Timestamp) -> Scope<'_> {
        let discovered = self.learned.discovered.as_ref().map(|(_, resources)| &**resources);
        let resources = match discovered {
            Some(discovered) if self.resources.is_empty() => discovered,
            _ => &self.resources,
        };
        Scope { now, since, resources, tags: &self.tags }
    }
}

/// Why a task is asked for by its id.
enum Sought<'a> {
    /// It is on the watchlist.
    Watched(Origin),
    /// It was listed, unfinished, and is no longer.
    Missed(&'a Task),
}

/// What the answers of one poll add up to.
#[derive(Debug, Default)]
struct Found {
    /// In order, so that the same answers lead to the same questions.
    tasks: BTreeMap<Arc<str>, Task>,
    gone: Vec<Arc<str>>,
    unreadable: Unreadable,
    listed: bool,
    failure: Option<(&'static str, FetchError)>,
}

impl Found {
    /// Adds an answer. Of two sightings of a task in one poll the later wins, but a final one is
    /// never taken back: it can only have moved on between the two calls.
    fn add(&mut self, tasks: Vec<Task>, unreadable: Unreadable) {
        for task in tasks {
            match self.tasks.get(&task.id) {
                Some(earlier) if earlier.state.is_final() && !task.state.is_final() => {}
                _ => {
                    self.tasks.insert(Arc::clone(&task.id), task);
                }
            }
        }
        self.unreadable.add(unreadable);
    }

    /// Whether the list was read to its end, and nothing has gone wrong since.
    fn is_complete(&self) -> bool {
        self.listed && self.failure.is_none()
    }

    /// Keeps the first failure: what comes after is often its consequence.
    fn fail(&mut self, operation: &'static str, error: FetchError) {
        self.failure.get_or_insert((operation, error));
    }
}

fn task_ref(task: &Task) -> TaskRef {
    TaskRef {
        id: Arc::clone(&task.id),
        resource: (!task.resource.id.is_empty()).then(|| Arc::clone(&task.resource)),
        started: task.started,
    }
}
