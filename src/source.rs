//! `Source`: one API, for one account, in one region; `fetch` returns what a poll finds.
//!
//! It decides what to ask, and adds up the answers: what the vendor lists, page by page, then by id
//! what the list leaves open.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::paging::Pages;
use crate::api::{DecodeError, Filter, Page, Query, Scope, Subject, TaskRef, Unreadable};
use crate::caller::{Caller, FetchError};
use crate::cloud::RefusalKind;
use crate::coverage::Span;
use crate::discovery::Discovery;
use crate::metrics::Reason;
use crate::progress::Progress;
use crate::sabotage::{self, Bug};
use crate::store::Tracked;
use crate::task::{Origin, Resource, Task, Timestamp};
use crate::watchlist::{Wanted, Watchlist};

/// The most pages that one list query may have.
const MAX_PAGES: u32 = 100;
/// How often one poll asks for a list while it learns what time it is.
const MAX_LISTINGS: u32 = 3;
/// Finished tasks are asked for from a little before the last good poll, for the vendor's list may
/// lag behind.
const OVERLAP: Duration = Duration::from_mins(10);
/// A list whose reach is not documented is trusted for the lookback, and at least for this long: a
/// vendor forgets nothing that has ended between two polls.
const TRUSTED: Duration = Duration::from_hours(1);
/// The pause before a list that is not there is asked for again: one answer from a gateway on a bad
/// day must not hide for ever what there is to list.
const LIST_PAUSE: Duration = Duration::from_hours(1);
/// The pause before a task id that has led to no task is asked for again; doubled each time.
const ID_PAUSE: Duration = Duration::from_secs(10);
/// What that pause grows to.
const LONGEST_ID_PAUSE: Duration = Duration::from_mins(5);

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
    /// How long one poll may ask by id. What is left over has its turn in the next polls, so that
    /// neither the list nor a new id waits for ten thousand others. The poll interval: what is
    /// shorter wastes time, what is longer delays the next poll.
    pub by_id_time: Duration,
    /// What earlier polls taught.
    pub learned: Learned,
}

/// What a source has learned from the vendor's answers.
#[derive(Debug, Default)]
pub struct Learned {
    /// The resources found.
    discovery: Discovery,
    /// Configured resources that the vendor does not know.
    missing: BTreeSet<Box<str>>,
    /// Whether there is a list to ask.
    list: Listing,
    /// Whether the list was longer, the last time, than is read.
    cut: bool,
    /// Whether the list, the last time, held less than its total says.
    incomplete: bool,
    /// Ids on the watchlist that have led to no task: when to ask again, and the pause then.
    pauses: HashMap<TaskRef, (Instant, Duration)>,
    /// The turns of the ids that are still of interest.
    turns: HashMap<Arc<str>, Turn>,
}

/// When it is an id's turn to be asked for. Those first that have never been, the newest of them
/// before all; then those that have waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    asked: Option<Instant>,
    noticed: Reverse<Instant>,
}

/// What is known of the list operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listing {
    #[default]
    Untried,
    /// It has answered, so that a later "no such operation" is the vendor's trouble; and so it is
    /// where it answered an earlier process.
    Exists,
    /// It did not exist in this cloud or region at that instant: only ids are left.
    Missing(Instant),
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
    /// Ids that there was no time to ask for: nothing new is known of them.
    pub left_over: Vec<Arc<str>>,
    /// Whether the list was read to its end, so that what is not in it is not there.
    pub complete: bool,
    /// When tasks that it shows began: all of them, whether ended or not. `None` where it failed,
    /// and where the vendor has no list of what has ended.
    pub covers: Option<Span>,
    /// Configured clusters or instances that the vendor does not know, ordered.
    pub missing: Vec<Box<str>>,
    /// The first thing that went wrong, and the operation it went wrong with.
    pub failure: Option<(&'static str, FetchError)>,
}

impl Source {
    /// One poll: lists what the vendor lists, and asks by id for what that leaves open. `known` are
    /// the tasks of earlier polls whose end has not been seen, vanished ones among them;
    /// `covered_until` is where earlier polls left off, by the vendor's clock; an id that is
    /// `settled` needs no further asking. `progress` is told what is seen on the way.
    pub async fn fetch(
        &mut self,
        known: &[Tracked],
        covered_until: Option<Timestamp>,
        settled: &Settled<'_>,
        progress: Progress,
    ) -> Fetched {
        let mut found = Found { progress, ..Found::default() };
        self.poll(&mut found, known, covered_until, settled).await;
        for (field, count) in found.unreadable.by_field() {
            self.caller.instruments.unknown_values_found(&self.caller.info.name, field, count);
        }
        Fetched {
            complete: found.is_complete(),
            covers: found.covers.filter(|_| found.failure.is_none()),
            missing: self.learned.missing.iter().cloned().collect(),
            tasks: found.tasks.into_values().collect(),
            gone: found.gone,
            left_over: found.left_over,
            failure: found.failure,
        }
    }

    async fn poll(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        covered_until: Option<Timestamp>,
        settled: &Settled<'_>,
    ) {
        if !self.learn_project(found).await || !self.discover(found).await {
            return;
        }
        let begun = Instant::now();
        let wanted = self.watchlist.wanted();
        self.learned
            .pauses
            .retain(|task, _| wanted.get(&task.id).is_some_and(|(wanted, _)| wanted == task));
        // Asked by a clock that turned out to be wrong, a list shows what another time would.
        for _ in 0..MAX_LISTINGS {
            let belief = self.caller.vendor_clock.belief();
            if !self.list(found, known, covered_until, &wanted).await {
                return;
            }
            if !self.caller.vendor_clock.doubts(belief) {
                break;
            }
        }
        self.ask_by_id(found, known, settled, &wanted, begun.elapsed()).await;
    }

    /// Asks for the project once, where the vendor needs one and the configuration has none.
    async fn learn_project(&mut self, found: &mut Found) -> bool {
        let Some(query) =
            self.caller.api.project.filter(|_| self.caller.target.project_id.is_empty())
        else {
            return true;
        };
        let query = query();
        match found.progress.ask(&mut self.caller, &query).await {
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
    async fn discover(&mut self, found: &mut Found) -> bool {
        let Some(discover) = self.caller.api.discover.filter(|_| self.resources.is_empty()) else {
            return true;
        };
        let now = self.caller.vendor_now();
        let first = discover(&self.scope(now, now));
        let operation = first.operation.name;
        let looked = self
            .learned
            .discovery
            .refresh(&mut self.caller, &found.progress, first, MAX_PAGES)
            .await;
        found.cut = !self.learned.discovery.is_whole();
        found.incomplete = self.learned.discovery.is_incomplete();
        let Err(error) = looked else { return true };
        // Vendors limit, and break, each operation by itself. The tasks of what is known need not
        // wait for it.
        let alone = matches!(error.reason(), Reason::Throttled | Reason::Server);
        let ends = error.ends_the_poll() && !alone;
        found.fail(operation, error);
        !ends && self.learned.discovery.resources().is_some()
    }

    /// Works off the list queries. Returns whether asking on makes sense.
    async fn list(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        covered_until: Option<Timestamp>,
        wanted: &Wanted,
    ) -> bool {
        if let Listing::Missing(at) = self.learned.list
            && at.elapsed() < LIST_PAUSE
        {
            return true;
        }
        let now = self.caller.vendor_now();
        let since = self.since(now, known, covered_until);
        let mut queries: VecDeque<Query> = (self.caller.api.list)(&self.scope(now, since)).into();
        // No query where resources have been looked for means that there are none, and no tasks.
        let no_resources = queries.is_empty() && self.caller.api.discover.is_some();
        let since = if no_resources { Some(since) } else { narrowest(&queries) };
        found.listed = no_resources || !queries.is_empty();
        let mut failed_before = false;
        let mut list = Pages::default();
        while let Some(query) = queries.pop_front() {
            if query.page > MAX_PAGES {
                found.cut = true;
                continue;
            }
            match found.progress.ask(&mut self.caller, &query).await {
                Ok(page) => {
                    self.learned.list = Listing::Exists;
                    failed_before = false;
                    let page = list.take(&query, page);
                    found.incomplete |= page.incomplete;
                    // The next page before other queries, while the list is as it was.
                    let pages = if sabotage::is(Bug::OnePage) { Vec::new() } else { page.next };
                    for next in pages.into_iter().rev() {
                        queries.push_front(next);
                    }
                    let mut tasks = page.tasks;
                    if sabotage::is(Bug::LastOfPageLost) {
                        tasks.pop();
                    }
                    found.add(tasks, page.unreadable);
                }
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::NoSuchOperation
                        && self.learned.list != Listing::Exists
                        && covered_until.is_none()
                        && !(self.learned.list == Listing::Untried && wanted.is_empty()) =>
                {
                    if self.learned.list == Listing::Untried {
                        tracing::warn!(
                            source = self.caller.info.name,
                            operation = query.operation.name,
                            "this cloud or region has no such list; only ids that are given are \
                             watched"
                        );
                    }
                    self.learned.list = Listing::Missing(Instant::now());
                    found.listed = false;
                    return true;
                }
                Err(error) if is_not_found(&error) && only_resource(&query).is_some() => {
                    // What else there was to ask about the resource would be answered alike.
                    queries.retain(|other| only_resource(other) != only_resource(&query));
                    found.deny(&query, error);
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
        self.note_cut(found.cut);
        self.note_incomplete(found.incomplete);
        self.give_up_denied(found, known);
        found.covers =
            since.filter(|_| !found.incomplete).map(|since| self.covers(since, now, found.cut));
        true
    }

    /// What a list that was asked at `now` for everything that began after `since` covers.
    fn covers(&self, since: Timestamp, now: Timestamp, cut: bool) -> Span {
        let reach = self.caller.api.list_window.unwrap_or(self.lookback.max(TRUSTED));
        let since = if cut { now } else { since.max(now.saturating_sub(reach)) };
        Span { since, until: now }
    }

    /// One line when the list becomes longer than is read.
    fn note_cut(&mut self, cut: bool) {
        if cut && !self.learned.cut {
            tracing::warn!(
                source = self.caller.info.name,
                "the list is not read to its end: more than {MAX_PAGES} pages; a shorter lookback, \
                 or several sources with some resources each, would help"
            );
        }
        self.learned.cut = cut;
    }

    /// One line when the list no longer adds up.
    fn note_incomplete(&mut self, incomplete: bool) {
        if incomplete && !self.learned.incomplete {
            tracing::warn!(
                source = self.caller.info.name,
                "the list does not add up: there is more than its pages show; what it leaves out \
                 is not taken for gone"
            );
        }
        self.learned.incomplete = incomplete;
    }

    /// Resources that the vendor denies have been deleted, and their tasks with them. Configured
    /// ones are named once; where none of them is left, nothing is watched, and the poll fails.
    fn give_up_denied(&mut self, found: &mut Found, known: &[Tracked]) {
        let source = self.caller.info.name.as_str();
        let denied = std::mem::take(&mut found.denied);
        let lost = known.iter().filter(|tracked| {
            tracked.settled.is_none() && denied.contains_key(&tracked.task.resource.id)
        });
        found.gone.extend(lost.map(|tracked| Arc::clone(&tracked.task.id)));
        if self.resources.is_empty() {
            for id in denied.keys() {
                self.learned.discovery.forget(id);
            }
            return;
        }
        let missing: BTreeSet<Box<str>> = denied.keys().cloned().collect();
        for id in missing.difference(&self.learned.missing) {
            tracing::warn!(source, resource_id = &**id, "the vendor does not know this resource");
        }
        for id in self.learned.missing.difference(&missing) {
            tracing::info!(source, resource_id = &**id, "the vendor knows this resource again");
        }
        let none_left = self.resources.iter().all(|resource| missing.contains(&resource.id));
        self.learned.missing = missing;
        if let Some((operation, error)) = denied.into_values().next().filter(|_| none_left) {
            found.fail(operation, error);
        }
    }

    /// Asks by id for the tasks on the watchlist, and for unfinished ones that the list left out. The
    /// list has taken `listing`: ids get as much time where that is longer than theirs.
    async fn ask_by_id(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        settled: &Settled<'_>,
        watchlist: &Wanted,
        listing: Duration,
    ) {
        let time = self.by_id_time.max(listing);
        let mut wanted: Vec<(TaskRef, Sought<'_>)> = watchlist
            .values()
            .filter(|(task, _)| !settled(&task.id) && !found.tasks.contains_key(&task.id))
            .map(|(task, origin)| (task.clone(), Sought::Watched(*origin)))
            .collect();
        // A list that failed says nothing about what it left out.
        if found.failure.is_none() {
            let unfinished = known.iter().filter(|tracked| tracked.settled.is_none());
            for Tracked { task, .. } in unfinished {
                if watchlist.contains_key(&task.id) || found.tasks.contains_key(&task.id) {
                    continue;
                }
                match task.origin {
                    Origin::Listed if found.listed => {
                        wanted.push((TaskRef::of(task), Sought::Missed(task)));
                    }
                    Origin::Listed => {}
                    // Taken off the watchlist, so not to be asked for any more.
                    Origin::Configured | Origin::Registered => {
                        found.gone.push(Arc::clone(&task.id));
                    }
                }
            }
        }
        self.learned.put_in_turn(&mut wanted);
        let begun = Instant::now();
        let mut stumbled = false;
        for (wanted, sought) in wanted {
            let Some(query) = (self.caller.api.by_id)(&wanted) else { continue };
            let operation = query.operation.name;
            if self.learned.pauses.get(&wanted).is_some_and(|(at, _)| Instant::now() < *at) {
                continue;
            }
            if begun.elapsed() >= time {
                found.left_over.push(wanted.id);
                continue;
            }
            if let Some(turn) = self.learned.turns.get_mut(&wanted.id) {
                turn.asked = Some(Instant::now());
            }
            let answer = self.find(query, &wanted.id, &found.progress).await;
            let server = matches!(&answer, Err(error) if error.reason() == Reason::Server);
            let stumbled_before = std::mem::replace(&mut stumbled, server);
            match answer {
                Ok(Some((mut task, unreadable))) => {
                    self.learned.pauses.remove(&wanted);
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
                Ok(None) => self.unknown_id(found, wanted, watchlist),
                Err(error) if is_unknown_id(&error, found) => {
                    self.unknown_id(found, wanted, watchlist);
                }
                // Anybody may register an id that the vendor refuses in a way of its own. As long
                // as it has led to no task, that is nobody else's trouble.
                Err(error)
                    if matches!(sought, Sought::Watched(Origin::Registered))
                        && (!error.ends_the_poll() || (stumbled && !stumbled_before))
                        && found.failure.is_none()
                        && !known.iter().any(|tracked| tracked.task.id == wanted.id) =>
                {
                    self.pause(wanted, &format!("this task cannot be asked for: {error}"));
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
        progress: &Progress,
    ) -> Result<Option<(Task, Unreadable)>, FetchError> {
        let mut queries = VecDeque::from([query]);
        let mut pages = Pages::default();
        while let Some(query) = queries.pop_front() {
            let page = pages.take(&query, progress.ask(&mut self.caller, &query).await?);
            if let Some(task) = page.tasks.into_iter().find(|task| *task.id == *id) {
                return Ok(Some((task, page.unreadable)));
            }
            queries.extend(page.next.into_iter().filter(|next| next.page <= MAX_PAGES));
        }
        Ok(None)
    }

    fn unknown_id(&mut self, found: &mut Found, task: TaskRef, watchlist: &Wanted) {
        found.gone.push(Arc::clone(&task.id));
        // One that was listed is given up by the caller, and not asked for again.
        if watchlist.contains_key(&task.id) {
            self.pause(task, "the vendor does not know this task (yet)");
        }
    }

    /// Asks for an id later, and ever more rarely. Says `why` the first time.
    fn pause(&mut self, task: TaskRef, why: &str) {
        let last = self.learned.pauses.get(&task).map(|&(_, pause)| pause);
        if last.is_none() {
            tracing::warn!(source = self.caller.info.name, task_id = &*task.id, "{why}");
        }
        let pause = last.map_or(ID_PAUSE, |pause| pause.saturating_mul(2).min(LONGEST_ID_PAUSE));
        self.learned.pauses.insert(task, (Instant::now() + pause, pause));
    }

    /// From when on finished tasks are of interest: the lookback, or longer ago where a task could
    /// have finished unseen since the last good poll, or where it can be found by the list alone.
    fn since(
        &self,
        now: Timestamp,
        known: &[Tracked],
        covered_until: Option<Timestamp>,
    ) -> Timestamp {
        let unfinished = known
            .iter()
            .filter(|tracked| (self.caller.api.by_id)(&TaskRef::of(&tracked.task)).is_none())
            .filter_map(|tracked| tracked.task.started.or(tracked.task.created));
        unfinished
            .chain(covered_until.filter(|_| !sabotage::is(Bug::SinceNotWidened)))
            .map(|time| time.saturating_sub(OVERLAP))
            .chain([now.saturating_sub(self.lookback)])
            .min()
            .unwrap_or(now)
    }

    fn scope(&self, now: Timestamp, since: Timestamp) -> Scope<'_> {
        let discovered = self.learned.discovery.resources().filter(|_| self.resources.is_empty());
        let resources = discovered.unwrap_or(&self.resources);
        Scope { now, since, resources, tags: &self.tags }
    }
}

impl Learned {
    /// Orders what is to be asked for by whose turn it is, and forgets the turns of all others.
    fn put_in_turn(&mut self, wanted: &mut [(TaskRef, Sought<'_>)]) {
        let new = Turn { asked: None, noticed: Reverse(Instant::now()) };
        let mut before = std::mem::take(&mut self.turns);
        for (task, _) in wanted.iter() {
            let turn = before.remove(&task.id).unwrap_or(new);
            self.turns.insert(Arc::clone(&task.id), turn);
        }
        wanted.sort_by_key(|(task, _)| self.turns.get(&task.id).copied());
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
    progress: Progress,
    /// In order, so that the same answers lead to the same questions.
    tasks: BTreeMap<Arc<str>, Task>,
    gone: Vec<Arc<str>>,
    left_over: Vec<Arc<str>>,
    unreadable: Unreadable,
    /// Whether the list has answered.
    listed: bool,
    /// Whether there was more of it than is read.
    cut: bool,
    /// Whether the vendor has more of it than can be asked for: see [`Page::incomplete`].
    incomplete: bool,
    /// As [`Fetched::covers`], if nothing fails.
    covers: Option<Span>,
    /// Resources that the vendor said there are none of, and how it did.
    denied: BTreeMap<Box<str>, (&'static str, FetchError)>,
    failure: Option<(&'static str, FetchError)>,
}

impl Found {
    /// Adds an answer. Of two sightings of a task in one poll the later wins, but a final one is
    /// never taken back: it can only have moved on between the two calls.
    fn add(&mut self, tasks: Vec<Task>, unreadable: Unreadable) {
        self.progress.seen(&tasks);
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

    /// Whether the list has answered, and nothing has gone wrong since.
    fn went_well(&self) -> bool {
        self.listed && self.failure.is_none()
    }

    /// Whether, besides, the list was read to its end.
    fn is_complete(&self) -> bool {
        self.went_well() && !self.cut && !self.incomplete
    }

    /// The vendor says that there is no such resource as the one that `query` is about.
    fn deny(&mut self, query: &Query, error: FetchError) {
        if let Some(resource) = only_resource(query) {
            self.denied.insert(resource.id.clone(), (query.operation.name, error));
        }
    }

    /// Keeps the first failure: what comes after is often its consequence.
    fn fail(&mut self, operation: &'static str, error: FetchError) {
        self.failure.get_or_insert((operation, error));
    }
}

/// What a query lists; `None` where it lists no tasks.
fn filter(query: &Query) -> Option<&Filter> {
    match &query.subject {
        Subject::Tasks(filter) => Some(filter),
        Subject::Project | Subject::Resources { .. } | Subject::Task(_) => None,
    }
}

/// From when on all the queries ask for what began; `None` where none asks for what has ended.
fn narrowest(queries: &VecDeque<Query>) -> Option<Timestamp> {
    queries.iter().filter_map(|query| filter(query)?.since).max()
}

/// The resource that a list query is about, where it is about one.
fn only_resource(query: &Query) -> Option<&Resource> {
    match filter(query)?.resources.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Whether an answer to the question for an id says that there is no such task. Some vendors have no
/// better word for that than for a question that is wrong: after a list that went well there is
/// nothing else that can be wrong with it. An answer without a code need not be the vendor's.
fn is_unknown_id(error: &FetchError, found: &Found) -> bool {
    let client = error
        .refusal()
        .is_some_and(|refusal| refusal.kind == RefusalKind::Client && refusal.has_code());
    is_not_found(error) || (client && found.went_well())
}

fn is_not_found(error: &FetchError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind == RefusalKind::NotFound)
}
