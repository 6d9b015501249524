//! `Source`: one API, for one account, in one region; `fetch` returns what a poll finds.
//!
//! It decides what to ask, and adds up the answers: what the vendor lists, page by page, then by id
//! what the list leaves open.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Page, Query, Scope, TaskRef, Unreadable};
use dbtask_clouds::model::{Origin, Resource, Task, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::reason::Reason;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use tokio::time::Instant;

use crate::collect::client::{Caller, FetchError};
use crate::collect::discovery::Discovery;
use crate::collect::progress::Progress;
use crate::collect::retries::{Away, Pauses, Retries};
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::{FailingDiscovery, FailingResource, Tracked};
use crate::track::completions::MEMORY;
use crate::track::coverage::{Coverage, Covers, Span};
use crate::track::findings::Findings;
use crate::track::outage::Notice;
use crate::track::watchlist::{Wanted, Watchlist};

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
/// The pause before a search for clusters that has failed is tried again; doubled each time.
const DISCOVERY_PAUSE: Duration = Duration::from_secs(30);
/// How often the tasks of a resource are asked for where none runs, by the vendor's word.
const REST: Duration = Discovery::INTERVAL;
/// The pause before a task id that has led to no task is asked for again; doubled each time.
const ID_PAUSE: Duration = Duration::from_secs(10);
/// How much time has to pass for each id that is asked for though it has led to no task before. Such
/// ids may be many, and stay for weeks: neither the calls nor a poll may grow with their number.
const MISSING_ID_PACE: Duration = Duration::from_secs(2);
/// The most of them that one poll asks for, whatever time has passed.
const MAX_MISSING_IDS: u32 = 100;
/// The least time between two polls whose lists go back to the beginning of tasks that were missed
/// before: however many there are, one such list shows all of them.
const FAR_LOOK_PAUSE: Duration = Duration::from_mins(3);
/// What that pause grows to for an id that somebody has just given: it may be too new to be known.
const LONGEST_NEW_ID_PAUSE: Duration = Duration::from_mins(5);

/// What to say where the search for the project of a region finds none, or several.
pub const NO_PROJECT: &str = "the region has no project of its name: give `project_id`";

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
    pub discovery: Discovery,
    /// Configured resources that the vendor does not know.
    missing: BTreeSet<Box<str>>,
    /// Whether there is a list to ask.
    list: Listing,
    /// How much of the list was read the last time.
    reading: Reading,
    /// Whether resources are asked for one by one, though one question could ask for several: it
    /// has been refused.
    one_by_one: bool,
    /// Clusters and instances that are asked for one by one: those that fail.
    resources: Retries<Box<str>>,
    /// When each of them was last asked.
    asked: HashMap<Box<str>, Instant>,
    /// Task ids that have led to no task, or whose question fails.
    ids: Retries<TaskRef>,
    /// Whether the source has failed as a whole since the list last went well.
    was_down: bool,
    /// How asking by id ended in the last poll.
    by_id: ById,
    /// The turns of the ids that are still of interest.
    turns: HashMap<Arc<str>, Turn>,
    /// When ids were last asked for.
    ids_asked: Option<Instant>,
    /// When lists last went back to tasks that were missed before.
    looked_far: Option<Instant>,
    /// Whether they do so in this poll.
    looks_far: bool,
}

/// When it is an id's turn to be asked for. Those first that have never been, the newest of them
/// before all; then those that have waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    asked: Option<Instant>,
    noticed: Reverse<Instant>,
}

/// How asking by id ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ById {
    /// Somebody answered, or nobody was asked.
    #[default]
    Answered,
    /// Nobody answered, and not all was asked.
    Silent,
    /// The source failed for its ids alone.
    Failed,
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

/// What one poll found, and how it went.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What it says of tasks.
    pub findings: Findings,
    /// Whether there was no time to ask for all of it.
    pub out_of_time: bool,
    /// Configured clusters or instances that the vendor does not know, ordered.
    pub missing: Vec<Box<str>>,
    /// Clusters, instances and task ids whose last question failed, ordered by id.
    pub failing: Vec<FailingResource>,
    /// The search for clusters or instances, where the last one failed, though some are known.
    pub failing_discovery: Option<FailingDiscovery>,
    /// Whether the vendor has answered any question, so that it is known whose tasks these are. A poll
    /// that fails half-way has been answered, too.
    pub answered: bool,
    /// The first thing that went wrong for the source as a whole, and the operation it went wrong
    /// with.
    pub failure: Option<(&'static str, FetchError)>,
}

impl Source {
    /// One poll: lists what the vendor lists, and asks by id for what that leaves open. `known` are
    /// the tasks of earlier polls whose end has not been seen, vanished ones among them; `coverage`
    /// is where earlier polls left off, by the vendor's clock; an id that is `settled` needs no
    /// further asking. `progress` is told what is seen on the way.
    pub async fn fetch(
        &mut self,
        known: &[Tracked],
        coverage: &Coverage,
        settled: &Settled<'_>,
        progress: Progress,
    ) -> Fetched {
        let mut found = Found { progress, ..Found::default() };
        self.poll(&mut found, known, coverage, settled).await;
        for (field, count) in found.unreadable.by_field() {
            self.caller.instruments.unknown_values_found(&self.caller.info.name, field, count);
        }
        self.log_failing(&found);
        self.learned.was_down |= found.failure.is_some();
        let failing = self.learned.failing();
        Fetched {
            findings: Findings {
                complete: found.is_complete(),
                tasks: found.tasks.into_values().collect(),
                gone: found.gone,
                unanswered: found.unanswered,
                denied: found.denied_ids,
                unwanted: found.unwanted,
                left_over: found.left_over,
                covers: found.covers,
                good: found.failure.is_none(),
                read_all: failing.is_empty() && !found.out_of_time,
            },
            missing: self.learned.missing.iter().cloned().collect(),
            failing,
            failing_discovery: self.learned.discovery.failing(),
            out_of_time: found.out_of_time,
            answered: found.progress.is_answered() || found.failure.is_none(),
            failure: found.failure,
        }
    }

    async fn poll(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        coverage: &Coverage,
        settled: &Settled<'_>,
    ) {
        if !self.learn_project(found).await || !self.discover(found, known).await {
            return;
        }
        let begun = Instant::now();
        let wanted = self.watchlist.wanted();
        self.forget_unwanted(known, &wanted);
        self.decide_how_far_to_look(known);
        // Asked by a clock that turned out to be wrong, a list shows what another time would.
        for _ in 0..MAX_LISTINGS {
            let belief = self.caller.vendor_clock.belief();
            if !self.list(found, known, coverage, &wanted).await {
                return;
            }
            if !self.caller.vendor_clock.doubts(belief) {
                break;
            }
        }
        self.ask_by_id(found, known, settled, &wanted, begun.elapsed()).await;
        found.leave_over_unread(known);
    }

    /// Lists go back to tasks that were missed before if it is time for one of them.
    fn decide_how_far_to_look(&mut self, known: &[Tracked]) {
        let now = Instant::now();
        let is_time = self.learned.looked_far.is_none_or(|last| now - last >= FAR_LOOK_PAUSE);
        self.learned.looks_far = is_time
            && known.iter().any(|tracked| {
                let asked = TaskRef::of(&tracked.task);
                self.was_missed(tracked, &asked) && self.learned.ids.is_due(&asked, now)
            });
        if self.learned.looks_far {
            self.learned.looked_far = Some(now);
        }
    }

    /// Whether a task has been sought in vain before.
    fn was_missed(&self, tracked: &Tracked, asked: &TaskRef) -> bool {
        tracked.settled.is_some() || self.learned.ids.failure(asked).is_some()
    }

    /// Forgets when to ask for ids that nobody asks for any more.
    fn forget_unwanted(&mut self, known: &[Tracked], wanted: &Wanted) {
        let known: HashSet<TaskRef> = known.iter().map(|it| TaskRef::of(&it.task)).collect();
        self.learned.ids.retain(|task| {
            known.contains(task) || wanted.get(&task.id).is_some_and(|(wanted, _)| wanted == task)
        });
    }

    /// Asks for the project once, where the vendor needs one and the configuration has none.
    async fn learn_project(&mut self, found: &mut Found) -> bool {
        let search = self.caller.api.facts.project;
        let Some(search) = search.filter(|_| self.caller.target.project_id.is_empty()) else {
            return true;
        };
        let query = (search.query)();
        match found.progress.ask(&mut self.caller, &query).await {
            Ok(Page { project_id: Some(project_id), .. }) => {
                self.caller.target.project_id = project_id;
                true
            }
            Ok(_) => {
                found.fail(query.operation.name, FetchError::NothingFound(NO_PROJECT));
                false
            }
            Err(error) => {
                found.fail(query.operation.name, error);
                false
            }
        }
    }

    /// Finds the resources, where tasks can only be listed by resource and none are configured.
    /// What is known does not wait for what may be new: a search that fails is its own trouble.
    async fn discover(&mut self, found: &mut Found, known: &[Tracked]) -> bool {
        let (now, begun) = (self.caller.vendor_now(), Instant::now());
        let first = self.caller.api.discover(&self.scope(now, now));
        let Some(first) = first.filter(|_| self.resources.is_empty()) else {
            return true;
        };
        let operation = first.operation;
        let busy: HashSet<&str> = known
            .iter()
            .filter(|it| it.settled.is_none())
            .map(|it| &*it.task.resource.id)
            .filter(|id| self.learned.resources.failure(*id).is_none())
            .collect();
        let looked = self
            .learned
            .discovery
            .refresh(&mut self.caller, &found.progress, first, MAX_PAGES, &busy)
            .await;
        found.reading.cut = !self.learned.discovery.is_whole();
        let Err(error) = looked else { return true };
        // Vendors limit each operation by itself.
        let is_throttled = error.reason() == Reason::Throttled;
        let is_about_all = is_about_the_account(&error) && !is_throttled;
        if is_about_all || !self.learned.discovery.knows_any() {
            found.fail(operation.name, error);
            return false;
        }
        found.away.fails(&error);
        let pauses = if is_throttled {
            let wait = self.caller.account.wait(operation);
            Pauses { first: wait, longest: wait }
        } else {
            Pauses::after(&error, DISCOVERY_PAUSE.max(begun.elapsed()))
        };
        self.learned.discovery.failed(operation, &error, pauses);
        found.discovery_failed = true;
        true
    }

    /// Works off the list queries. Returns whether asking on makes sense.
    async fn list(
        &mut self,
        found: &mut Found,
        known: &[Tracked],
        coverage: &Coverage,
        wanted: &Wanted,
    ) -> bool {
        if let Listing::Missing(at) = self.learned.list
            && at.elapsed() < LIST_PAUSE
        {
            return true;
        }
        let now = self.caller.vendor_now();
        let may_be_missing = coverage.until().is_none()
            && !(self.learned.list == Listing::Untried && wanted.is_empty());
        let mut round = Round::new(now, found.away);
        let units = self.units(now, known, coverage);
        found.listed = !units.is_empty();
        if units.is_empty() && self.caller.api.discovers() {
            // No query where resources have been looked for means that there are none, and no
            // tasks.
            found.listed = true;
            let since = self.since(now, None, None, coverage);
            round.covered = Some(self.covers(since, now, found.reading.cut));
        }
        let is_stuck = units.iter().all(|unit| self.is_failing(unit));
        let mut units = VecDeque::from(units);
        while let Some(mut unit) = units.pop_front() {
            let may_ask = round.may_ask && !unit.rests && (is_stuck || self.is_due(&unit));
            if !may_ask {
                round.not_reached(&unit);
                continue;
            }
            if !is_stuck && self.is_failing(&unit) {
                // The last ones are those that fail. One that hangs is enough for a poll.
                round.away.tolerate(1);
            }
            match self.ask_unit(found, &mut unit, may_be_missing).await {
                Ok(Listed::Read(reading)) => self.reached(&mut round, &unit, reading, coverage),
                Ok(Listed::NoSuchList) => {
                    found.listed = false;
                    // None of them is asked any more, so none of them fails.
                    self.learned.resources.retain(|_| false);
                    return true;
                }
                Err((operation, error)) if is_about_the_account(&error) => {
                    found.fail(operation, error);
                    round.not_reached(&unit);
                    (round.may_ask, round.is_refused) = (false, true);
                }
                Err((_, error)) if !self.learned.one_by_one && self.may_name_one(&error) => {
                    // From now on each is asked for by itself, so that the others are seen.
                    self.learned.one_by_one = true;
                    units = self.units(now, known, coverage).into();
                }
                Err((operation, error)) => self.failed(&mut round, &unit, operation, error),
            }
        }
        self.close(found, round, known)
    }

    /// What has to be asked, in the order in which it is: what fails last, and before it what has
    /// waited longest.
    fn units(&self, now: Timestamp, known: &[Tracked], coverage: &Coverage) -> Vec<Unit> {
        let open = self.open_since(known);
        let is_first = coverage.until().is_none();
        let list = |scope: &Scope<'_>| {
            let api = self.caller.api;
            let mut queries = if is_first { api.first_look(scope) } else { Vec::new() };
            queries.extend(api.list(scope));
            queries
        };
        let since = self.since(now, None, open.values().min().copied(), coverage);
        let scope = self.scope(now, since);
        let all = list(&scope);
        let one_by_one = self.learned.one_by_one && self.asks_for_several();
        if !one_by_one && !all.iter().all(|query| only_resource(query).is_some()) {
            let since = narrowest(&all);
            return vec![Unit { resource: None, since, queries: all, rests: false }];
        }
        let resources = if all.is_empty() { &[] } else { scope.resources };
        let mut units: Vec<Unit> = resources
            .iter()
            .map(|resource| {
                let id = &*resource.id;
                let new = self.learned.discovery.absent_until(id);
                let open = open.get(id).copied().into_iter().chain(new).min();
                let since = self.since(now, Some(id), open, coverage);
                let alone = std::slice::from_ref(resource);
                let queries = list(&Scope { since, resources: alone, ..scope });
                let (since, rests) = (narrowest(&queries), self.rests(id, known));
                Unit { resource: Some(Arc::clone(resource)), since, queries, rests }
            })
            .collect();
        units.sort_by_key(|unit| {
            let asked = unit.id().and_then(|id| self.learned.asked.get(id));
            (self.is_failing(unit), asked.copied())
        });
        units
    }

    /// Whether a refusal of a list may be about one of the resources that it was asked for.
    fn may_name_one(&self, error: &FetchError) -> bool {
        let kind = error.refusal().map(|refusal| refusal.kind);
        let is_about_some = matches!(
            kind,
            Some(RefusalKind::Forbidden | RefusalKind::NotFound | RefusalKind::Client)
        );
        is_about_some && self.asks_for_several()
    }

    /// Whether one question asks for several configured resources by their ids. Some lists are asked
    /// for everything, and what is not wanted left out of the answer.
    fn asks_for_several(&self) -> bool {
        let now = self.caller.vendor_now();
        let request = |resource: &Arc<Resource>| {
            let scope = Scope { resources: std::slice::from_ref(resource), ..self.scope(now, now) };
            let query = self.caller.api.list(&scope).into_iter().next()?;
            let request = self.caller.api.facts.cloud.request(&self.caller.target, &query);
            Some((request.uri().clone(), request.into_body()))
        };
        match self.resources.as_slice() {
            [one, other, ..] => request(one) != request(other),
            [] | [_] => false,
        }
    }

    /// Whether a resource need not be asked now: the vendor says that no task runs there, none is known
    /// that does, and it was asked not long ago.
    fn rests(&self, id: &str, known: &[Tracked]) -> bool {
        let is_open = |it: &Tracked| it.settled.is_none() && *it.task.resource.id == *id;
        self.learned.discovery.is_at_rest(id)
            && self.learned.resources.failure(id).is_none()
            && self.learned.asked.get(id).is_some_and(|asked| asked.elapsed() < REST)
            && !known.iter().any(is_open)
    }

    fn is_failing(&self, unit: &Unit) -> bool {
        let Some(id) = unit.id() else { return false };
        self.learned.resources.failure(id).is_some() || self.learned.missing.contains(id)
    }

    fn is_due(&self, unit: &Unit) -> bool {
        unit.id().is_none_or(|id| self.learned.resources.is_due(id, Instant::now()))
    }

    /// Asks all queries of a unit. One that fails does not keep the others from being asked, unless
    /// they would be answered alike.
    async fn ask_unit(
        &mut self,
        found: &mut Found,
        unit: &mut Unit,
        may_be_missing: bool,
    ) -> Result<Listed, (&'static str, FetchError)> {
        let mut queries = VecDeque::from(std::mem::take(&mut unit.queries));
        let mut reading = Reading::default();
        let mut pages = Pages::default();
        let mut failure = None;
        let mut stumbled = false;
        if let Some(id) = unit.id() {
            self.learned.asked.insert(id.into(), Instant::now());
        }
        while let Some(query) = queries.pop_front() {
            if query.page > MAX_PAGES {
                reading.cut = true;
                continue;
            }
            let operation = query.operation.name;
            let answer = found.progress.ask(&mut self.caller, &query).await;
            let refusal = answer.as_ref().err().and_then(FetchError::refusal);
            let other = refusal.and_then(|it| self.caller.api.client.instead(&query, it));
            if let Some(other) = other {
                queries.push_front(other);
                continue;
            }
            match answer {
                Ok(page) => {
                    self.learned.list = Listing::Exists;
                    stumbled = false;
                    let page = pages.take(&query, page);
                    reading.incomplete |= page.incomplete;
                    // The next page before other queries, while the list is as it was.
                    let next = if sabotage::is(Bug::OnePage) { Vec::new() } else { page.next };
                    for next in next.into_iter().rev() {
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
                        && may_be_missing =>
                {
                    if self.learned.list == Listing::Untried {
                        tracing::warn!(
                            source = self.caller.info.name,
                            operation,
                            "this cloud or region has no such list; only ids that are given are \
                             watched"
                        );
                    }
                    self.learned.list = Listing::Missing(Instant::now());
                    return Ok(Listed::NoSuchList);
                }
                Err(error) if is_about_the_account(&error) => return Err((operation, error)),
                Err(error) => {
                    let ends = ends_the_unit(&error, stumbled);
                    stumbled = error.reason() == Reason::Server;
                    failure.get_or_insert((operation, error));
                    if ends {
                        break;
                    }
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(Listed::Read(reading)),
        }
    }

    /// A unit has been read.
    fn reached(&mut self, round: &mut Round, unit: &Unit, reading: Reading, coverage: &Coverage) {
        round.reached = true;
        round.away.answers();
        round.reading.cut |= reading.cut;
        round.reading.incomplete |= reading.incomplete;
        let new = unit.id().and_then(|id| self.learned.discovery.absent_until(id));
        let covered_until = new.or(unit.id().map_or(coverage.until(), |id| coverage.of(id)));
        // A list that does not add up now may do so soon. One that never does leaves a gap.
        let for_long = covered_until.is_some_and(|until| round.now.since(until) > TRUSTED);
        let covers_nothing = reading.cut || (reading.incomplete && for_long);
        let mut span = unit
            .since
            .filter(|_| !reading.incomplete || for_long)
            .map(|since| self.covers(since, round.now, covers_nothing));
        let Some(id) = unit.id() else {
            round.covered = span;
            return;
        };
        if reading.cut || reading.incomplete {
            round.in_part.insert(id.into());
        }
        if self.learned.missing.contains(id) {
            // What was not there had no tasks.
            let from = |span: Span| covered_until.map_or(span.since, |until| until.min(span.since));
            span = span.map(|span| Span { since: from(span), ..span });
        }
        if new.is_some() || coverage.is_behind(id) || span.is_none_or(Span::covers_nothing) {
            round.apart.insert(id.into(), span);
        } else {
            round.covered = Span::both(round.covered, span);
        }
        if let Some(Notice::Over { lasted, failures }) =
            self.learned.resources.answered(id, Instant::now())
        {
            tracing::info!(
                source = self.caller.info.name,
                resource_id = id,
                failures,
                lasted_seconds = lasted.as_secs(),
                "this cluster or instance answers again"
            );
        }
    }

    /// A unit could not be read.
    fn failed(
        &mut self,
        round: &mut Round,
        unit: &Unit,
        operation: &'static str,
        error: FetchError,
    ) {
        let now = Instant::now();
        if round.away.fails(&error) {
            round.may_ask = false;
        }
        if let Some(id) = unit.id() {
            if is_not_found(&error) {
                round.apart.insert(id.into(), None);
                self.learned.resources.retain(|known| **known != *id);
                round.denied.insert(id.into(), (operation, error));
                return;
            }
            let asked = self.learned.asked.get(id).copied().unwrap_or(now);
            // It is tried again by the next poll, but one that hangs not all the time.
            let first = (self.by_id_time / 2).max(now - asked);
            let pauses = Pauses::after(&error, first);
            self.learned.resources.failed(id.into(), &error, pauses, now);
            round.not_reached(unit);
            round.failing.push((id.into(), operation));
        }
        round.failure.get_or_insert((operation, error));
    }

    /// Adds up what asking all units has come to. Returns whether asking on makes sense.
    fn close(&mut self, found: &mut Found, round: Round, known: &[Tracked]) -> bool {
        let Reading { cut, incomplete } = round.reading;
        self.note(Reading { cut: found.reading.cut || cut, incomplete });
        let is_whole = round.in_part.is_empty();
        found.reading.cut |= cut && is_whole;
        found.reading.incomplete |= incomplete && is_whole;
        found.away = round.away;
        found.not_read = round.not_read;
        found.in_part = round.in_part;
        found.failing_resources = round.failing;
        // A poll that covers nothing leaves all as it was.
        let covers_any = round.covered.is_some() || round.apart.values().any(Option::is_some);
        let new = if covers_any { self.learned.discovery.take_new() } else { BTreeMap::new() };
        found.covers = Some(Covers { span: round.covered, resources: round.apart, found: new })
            .filter(|covers| covers.span.is_some() || !covers.resources.is_empty());
        self.give_up_denied(found, round.denied, known);
        if let Some((operation, error)) = round.failure.filter(|_| !round.reached) {
            found.fail(operation, error);
        }
        let scope = self.scope(round.now, round.now);
        let current: HashSet<Box<str>> = scope.resources.iter().map(|it| it.id.clone()).collect();
        self.learned.asked.retain(|id, _| current.contains(id));
        self.learned.resources.retain(|id| current.contains(id));
        !round.is_refused
    }

    /// What a list that was asked at `now` for everything that began after `since` covers.
    fn covers(&self, since: Timestamp, now: Timestamp, cut: bool) -> Span {
        let reach = self.caller.api.facts.list_window.unwrap_or(self.lookback.max(TRUSTED));
        let since = if cut { now } else { since.max(now.saturating_sub(reach)) };
        Span { since, until: now }
    }

    /// One line when the list becomes longer than is read, and one when it does not add up any more.
    fn note(&mut self, reading: Reading) {
        let source = &self.caller.info.name;
        let before = std::mem::replace(&mut self.learned.reading, reading);
        if reading.cut && !before.cut {
            tracing::warn!(
                source,
                "the list is not read to its end: more than {MAX_PAGES} pages; a shorter lookback, \
                 or several sources with some resources each, would help"
            );
        }
        if reading.incomplete && !before.incomplete {
            tracing::warn!(
                source,
                "the list does not add up: there is more than its pages show; what it leaves out \
                 is not taken for gone"
            );
        }
    }

    /// Resources that the vendor denies have been deleted, and their tasks with them. Configured
    /// ones are named once; where none of them is left, nothing is watched, and the poll fails.
    fn give_up_denied(
        &mut self,
        found: &mut Found,
        denied: BTreeMap<Box<str>, (&'static str, FetchError)>,
        known: &[Tracked],
    ) {
        let source = self.caller.info.name.as_str();
        for tracked in known.iter().filter(|it| denied.contains_key(&it.task.resource.id)) {
            let id = &tracked.task.id;
            found.denied_ids.push(Arc::clone(id));
            if tracked.settled.is_none() {
                found.gone.push(Arc::clone(id));
            }
        }
        if self.resources.is_empty() {
            for id in denied.keys() {
                self.learned.discovery.forget(id);
            }
            return;
        }
        // What was not asked this time is as it was.
        let unasked = self.learned.missing.iter().filter(|id| {
            found.not_read.contains(*id) && self.learned.resources.failure(&**id).is_none()
        });
        let missing: BTreeSet<Box<str>> = denied.keys().chain(unasked).cloned().collect();
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
        self.seen_in_list(found);
        if found.went_well() && std::mem::take(&mut self.learned.was_down) {
            // What has failed with the source may go well with it.
            self.learned.ids.retry_now(Instant::now());
        }
        let mut wanted = to_ask(found, known, settled, watchlist);
        self.learned.put_in_turn(&mut wanted);
        let begun = Instant::now();
        let passed = self.learned.ids_asked.replace(begun).map_or(time, |last| begun - last);
        let mut may_be_missing = missing_ids(passed);
        let mut round = IdRound::default();
        // Where nobody answered, one question is enough to see whether it is still so.
        let before = std::mem::take(&mut self.learned.by_id);
        found.away.tolerate(if before == ById::Answered { Away::LIMIT } else { 1 });
        let is_stuck = before == ById::Failed;
        let mut may_ask = true;
        for (wanted, sought) in wanted {
            let Some(query) = self.caller.api.by_id(&wanted, self.caller.vendor_now()) else {
                self.look_in_list(found, wanted, &sought);
                continue;
            };
            if !is_stuck && self.learned.ids.failure(&wanted).is_some() {
                // The last ones are those that fail. One that hangs is enough for a poll.
                found.away.tolerate(1);
            }
            let is_due = is_stuck || self.learned.ids.is_due(&wanted, Instant::now());
            let is_late = begun.elapsed() >= time;
            found.out_of_time |= is_due && is_late;
            let is_missing = sought.has_vanished() || self.learned.ids.has_found_nothing(&wanted);
            let is_too_many = is_missing && may_be_missing == 0;
            if !may_ask || !is_due || is_late || is_too_many {
                found.left_over.push(wanted.id);
                continue;
            }
            may_be_missing -= u32::from(is_missing);
            if let Some(turn) = self.learned.turns.get_mut(&wanted.id) {
                turn.asked = Some(Instant::now());
            }
            let (operation, asked) = (query.operation.name, Instant::now());
            match self.find(query, &wanted.id, &found.progress).await {
                Ok(Some((mut task, unreadable))) => {
                    round.answered = true;
                    found.away.answers();
                    let notice = self.learned.ids.answered(&wanted, Instant::now());
                    self.log_id_over(&wanted, notice);
                    match sought {
                        // By id some vendors use other words for the kind than in their list.
                        Sought::Missed(Tracked { task: listed, .. }) => {
                            task.kind = Arc::clone(&listed.kind);
                            task.origin = listed.origin;
                        }
                        Sought::Watched(origin) => task.origin = origin,
                    }
                    found.add(vec![task], unreadable);
                }
                Err(error) if is_about_the_account(&error) => {
                    found.fail(operation, error);
                    found.left_over.push(wanted.id);
                    return;
                }
                Err(error) if !is_answer(&error, found) => {
                    may_ask = !found.away.fails(&error);
                    self.id_failed(found, wanted, operation, &error, asked.elapsed());
                    round.failures.push((operation, error));
                }
                nothing => {
                    round.answered = true;
                    found.away.answers();
                    if nothing.is_err_and(|error| is_not_found(&error)) {
                        found.denied_ids.push(Arc::clone(&wanted.id));
                    }
                    self.unknown_id(found, &wanted, &sought);
                }
            }
        }
        if !may_ask && !round.answered {
            self.learned.by_id = ById::Silent;
        }
        if !found.listed && found.failure.is_none() && round.is_trouble_of_the_source() {
            self.learned.by_id = ById::Failed;
            for (operation, error) in round.failures {
                found.fail(operation, error);
            }
        }
    }

    /// What the list has shown need not be asked for by id, whatever has become of that.
    fn seen_in_list(&mut self, found: &Found) {
        let seen = self.learned.ids.keys().filter(|task| found.tasks.contains_key(&task.id));
        let seen: Vec<TaskRef> = seen.cloned().collect();
        for task in seen {
            let notice = self.learned.ids.answered(&task, Instant::now());
            self.log_id_over(&task, notice);
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

    /// The vendor has answered without this task.
    fn unknown_id(&mut self, found: &mut Found, task: &TaskRef, sought: &Sought<'_>) {
        found.gone.push(Arc::clone(&task.id));
        let longest = match sought {
            Sought::Watched(_) => LONGEST_NEW_ID_PAUSE,
            Sought::Missed(_) => Pauses::LONGEST,
        };
        let pauses = Pauses { first: ID_PAUSE, longest };
        let (is_first, notice) =
            self.learned.ids.found_nothing(task.clone(), pauses, Instant::now());
        self.log_id_over(task, notice);
        // Of one that was listed there is a line already: it is out of sight.
        if is_first && matches!(sought, Sought::Watched(_)) {
            tracing::warn!(
                source = self.caller.info.name,
                task_id = &*task.id,
                "the vendor does not know this task (yet)"
            );
        }
    }

    /// A task that cannot be asked for by id, and that the list has left out though it was asked to
    /// reach back to its beginning: that is asked of it ever more rarely.
    fn look_in_list(&mut self, found: &Found, task: TaskRef, sought: &Sought<'_>) {
        let Sought::Missed(listed) = sought else { return };
        let was_read = found.went_well() && !found.not_read.contains(&listed.task.resource.id);
        let was_sought = self.learned.looks_far || !self.was_missed(listed, &task);
        if was_read && was_sought && self.learned.ids.is_due(&task, Instant::now()) {
            let pauses = Pauses { first: ID_PAUSE, longest: Pauses::LONGEST };
            self.learned.ids.found_nothing(task, pauses, Instant::now());
        }
    }

    /// The question for an id has failed, which took this long. That is nobody else's trouble.
    fn id_failed(
        &mut self,
        found: &mut Found,
        task: TaskRef,
        operation: &'static str,
        error: &FetchError,
        took: Duration,
    ) {
        let pauses = Pauses::after(error, ID_PAUSE.max(took));
        self.learned.ids.failed(task.clone(), error, pauses, Instant::now());
        found.left_over.push(Arc::clone(&task.id));
        if found.went_well() {
            found.unanswered.push(Arc::clone(&task.id));
        }
        found.failing_ids.push((task, operation));
    }

    /// One line for each resource or id that begins to fail, unless the source fails as a whole.
    fn log_failing(&mut self, found: &Found) {
        if found.failure.is_some() {
            return;
        }
        let (source, now) = (self.caller.info.name.as_str(), Instant::now());
        if found.discovery_failed
            && let Some((operation, reason, error)) = self.learned.discovery.tell(now)
        {
            tracing::warn!(
                source,
                operation,
                reason,
                "clusters cannot be looked for; those that are known are polled on: {error}"
            );
        }
        for (id, operation) in &found.failing_resources {
            let told = self.learned.resources.tell(id, now);
            if let Some((reason, error)) = told {
                tracing::warn!(
                    source,
                    resource_id = &**id,
                    operation,
                    reason,
                    "this cluster or instance cannot be asked; the others are polled on: {error}"
                );
            }
        }
        for (task, operation) in &found.failing_ids {
            let told = self.learned.ids.tell(task, now);
            if let Some((reason, error)) = told {
                tracing::warn!(
                    source,
                    task_id = &*task.id,
                    operation,
                    reason,
                    "this task cannot be asked for: {error}"
                );
            }
        }
    }

    fn log_id_over(&self, task: &TaskRef, notice: Option<Notice>) {
        if let Some(Notice::Over { lasted, failures }) = notice {
            tracing::info!(
                source = self.caller.info.name,
                task_id = &*task.id,
                failures,
                lasted_seconds = lasted.as_secs(),
                "this task can be asked for again"
            );
        }
    }

    /// From when on finished tasks are of interest: the lookback, or longer ago where a task could
    /// have finished unseen since the last good poll, or where one that began at `open` is sought.
    /// No further back than the vendor's list reaches.
    fn since(
        &self,
        now: Timestamp,
        resource: Option<&str>,
        open: Option<Timestamp>,
        coverage: &Coverage,
    ) -> Timestamp {
        let covered = resource.map_or(coverage.until(), |id| coverage.of(id));
        let reach = self.caller.api.facts.list_window.unwrap_or(MEMORY).max(self.lookback);
        open.into_iter()
            .chain(covered.filter(|_| !sabotage::is(Bug::SinceNotWidened)))
            .map(|time| time.saturating_sub(OVERLAP))
            .chain([now.saturating_sub(self.lookback)])
            .min()
            .unwrap_or(now)
            .max(now.saturating_sub(reach))
    }

    /// When the first of the tasks began that are sought in the list, by resource: those that have
    /// vanished or cannot be asked for, when it is time to look for them again, and those that only
    /// the list can show.
    fn open_since<'a>(&self, known: &'a [Tracked]) -> HashMap<&'a str, Timestamp> {
        let now = Instant::now();
        let mut open: HashMap<&str, Timestamp> = HashMap::new();
        for tracked in known {
            let task = &tracked.task;
            let asked = TaskRef::of(task);
            let by_list_alone = self.caller.api.by_id(&asked, self.caller.vendor_now()).is_none();
            let is_sought = if self.was_missed(tracked, &asked) {
                self.learned.looks_far && self.learned.ids.is_due(&asked, now)
            } else {
                by_list_alone
            };
            let Some(began) = task.started.or(task.created).filter(|_| is_sought) else { continue };
            let first = open.entry(&task.resource.id).or_insert(began);
            *first = began.min(*first);
        }
        open
    }

    fn scope(&self, now: Timestamp, since: Timestamp) -> Scope<'_> {
        let discovered = self.learned.discovery.resources().filter(|_| self.resources.is_empty());
        let resources = discovered.unwrap_or(&self.resources);
        Scope { now, since, resources, tags: &self.tags }
    }
}

impl Learned {
    /// Orders what is to be asked for by whose turn it is, what fails last, and forgets the turns of all others.
    fn put_in_turn(&mut self, wanted: &mut [(TaskRef, Sought<'_>)]) {
        let new = Turn { asked: None, noticed: Reverse(Instant::now()) };
        let mut before = std::mem::take(&mut self.turns);
        for (task, _) in wanted.iter() {
            let turn = before.remove(&task.id).unwrap_or(new);
            self.turns.insert(Arc::clone(&task.id), turn);
        }
        wanted.sort_by_cached_key(|(task, _)| {
            (self.ids.failure(task).is_some(), self.turns.get(&task.id).copied())
        });
    }
}

impl Learned {
    /// What fails at present, ordered by id.
    fn failing(&self) -> Vec<FailingResource> {
        let resources = self.resources.failures().map(|(id, failure)| (&**id, failure));
        let ids = self.ids.failures().map(|(task, failure)| (&*task.id, failure));
        let is_told = |_: &_| !sabotage::is(Bug::FailingNotNamed);
        let mut failing: Vec<FailingResource> = resources
            .chain(ids)
            .filter(is_told)
            .map(|(id, failure)| FailingResource {
                id: id.into(),
                reason: failure.reason,
                message: failure.message.clone(),
            })
            .collect();
        failing.sort_by(|a, b| a.id.cmp(&b.id));
        failing
    }
}

/// What is asked by itself: one resource, or everything where one list covers all of it.
#[derive(Debug)]
struct Unit {
    resource: Option<Arc<Resource>>,
    /// From when on all the queries ask for what began; `None` where none asks for what has ended.
    since: Option<Timestamp>,
    queries: Vec<Query>,
    /// Whether it is left for a later poll.
    rests: bool,
}

impl Unit {
    fn id(&self) -> Option<&str> {
        self.resource.as_ref().map(|resource| &*resource.id)
    }
}

/// What a unit has answered.
enum Listed {
    Read(Reading),
    /// That there is no such operation.
    NoSuchList,
}

/// How much of a unit's list was read.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// There were more pages than are read.
    cut: bool,
    /// The vendor has more than can be asked for: see [`Page::incomplete`].
    incomplete: bool,
}

/// What asking all units once has come to so far.
#[derive(Debug)]
struct Round {
    now: Timestamp,
    may_ask: bool,
    /// The account is refused, or throttled.
    is_refused: bool,
    /// Whether any unit has been read.
    reached: bool,
    away: Away,
    reading: Reading,
    /// As [`Covers::span`].
    covered: Option<Span>,
    /// As [`Covers::resources`].
    apart: BTreeMap<Box<str>, Option<Span>>,
    /// Resources that failed, or were not asked.
    not_read: HashSet<Box<str>>,
    /// Resources whose lists were not read to the end.
    in_part: HashSet<Box<str>>,
    /// Resources that failed, and the operation they failed with.
    failing: Vec<(Box<str>, &'static str)>,
    /// Resources that the vendor said there are none of, and how it did.
    denied: BTreeMap<Box<str>, (&'static str, FetchError)>,
    /// The first failure.
    failure: Option<(&'static str, FetchError)>,
}

impl Round {
    fn new(now: Timestamp, away: Away) -> Self {
        Self {
            now,
            may_ask: true,
            is_refused: false,
            reached: false,
            away,
            reading: Reading::default(),
            covered: None,
            apart: BTreeMap::new(),
            not_read: HashSet::new(),
            in_part: HashSet::new(),
            failing: Vec::new(),
            denied: BTreeMap::new(),
            failure: None,
        }
    }

    fn not_reached(&mut self, unit: &Unit) {
        if let Some(id) = unit.id() {
            self.apart.insert(id.into(), None);
            self.not_read.insert(id.into());
        }
    }
}

/// What asking by id has come to.
#[derive(Debug, Default)]
struct IdRound {
    answered: bool,
    failures: Vec<(&'static str, FetchError)>,
}

impl IdRound {
    /// Whether this is about more than single ids, where there are only ids to ask for.
    fn is_trouble_of_the_source(&self) -> bool {
        let is_about_more = |error: &FetchError| match error.refusal().map(|it| it.kind) {
            None | Some(RefusalKind::Server) => true,
            // Said of a single id, it may be about that alone.
            Some(RefusalKind::Forbidden) => self.failures.len() > 1,
            Some(_) => false,
        };
        !self.answered && self.failures.iter().any(|(_, error)| is_about_more(error))
    }
}

/// Why a task is asked for by its id.
enum Sought<'a> {
    /// It is on the watchlist.
    Watched(Origin),
    /// It was listed, unfinished, and is no longer.
    Missed(&'a Tracked),
}

impl Sought<'_> {
    /// Whether it has been sought in vain before.
    fn has_vanished(&self) -> bool {
        match self {
            Self::Watched(_) => false,
            Self::Missed(tracked) => tracked.settled.is_some(),
        }
    }
}

/// How many ids that have led to nothing may be asked for again in a poll, by the time that has
/// passed since the last one: as many as [`MISSING_ID_PACE`] grants, and at least one.
fn missing_ids(passed: Duration) -> u32 {
    let granted = passed.as_secs() / MISSING_ID_PACE.as_secs();
    u32::try_from(granted).unwrap_or(u32::MAX).clamp(1, MAX_MISSING_IDS)
}

/// What the answers of one poll add up to.
#[derive(Debug, Default)]
struct Found {
    progress: Progress,
    /// In order, so that the same answers lead to the same questions.
    tasks: BTreeMap<Arc<str>, Task>,
    gone: Vec<Arc<str>>,
    unanswered: Vec<Arc<str>>,
    denied_ids: Vec<Arc<str>>,
    unwanted: Vec<Arc<str>>,
    left_over: Vec<Arc<str>>,
    /// Whether there was no time to ask for all ids.
    out_of_time: bool,
    unreadable: Unreadable,
    /// Whether the list has answered.
    listed: bool,
    /// How much of it was read, where it is one list.
    reading: Reading,
    /// Resources whose lists failed, or were not asked for.
    not_read: HashSet<Box<str>>,
    /// Resources whose lists were not read to the end.
    in_part: HashSet<Box<str>>,
    failing_resources: Vec<(Box<str>, &'static str)>,
    failing_ids: Vec<(TaskRef, &'static str)>,
    /// Whether resources were looked for in vain.
    discovery_failed: bool,
    /// Whether the vendor answers at all.
    away: Away,
    /// As [`Findings::covers`].
    covers: Option<Covers>,
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
        self.went_well() && !self.reading.cut && !self.reading.incomplete
    }

    /// Of what a list could not show nothing new is known, unless it was found by id.
    fn leave_over_unread(&mut self, known: &[Tracked]) {
        let unread =
            |resource: &str| self.not_read.contains(resource) || self.in_part.contains(resource);
        let left = known.iter().filter(|it| it.settled.is_none() && unread(&it.task.resource.id));
        self.left_over.extend(left.map(|tracked| Arc::clone(&tracked.task.id)));
    }

    /// Keeps the first failure: what comes after is often its consequence.
    fn fail(&mut self, operation: &'static str, error: FetchError) {
        self.failure.get_or_insert((operation, error));
    }
}

/// What is to be asked for by id, if it can be.
fn to_ask<'a>(
    found: &mut Found,
    known: &'a [Tracked],
    settled: &Settled<'_>,
    watchlist: &Wanted,
) -> Vec<(TaskRef, Sought<'a>)> {
    let mut wanted: Vec<(TaskRef, Sought<'_>)> = watchlist
        .values()
        .filter(|(task, _)| !settled(&task.id) && !found.tasks.contains_key(&task.id))
        .map(|(task, origin)| (task.clone(), Sought::Watched(*origin)))
        .collect();
    for tracked in known {
        let task = &tracked.task;
        if watchlist.contains_key(&task.id) || found.tasks.contains_key(&task.id) {
            continue;
        }
        // A list that failed says nothing about what it left out.
        let was_listed = found.went_well() && !found.not_read.contains(&task.resource.id);
        match task.origin {
            Origin::Listed if was_listed || tracked.settled.is_some() => {
                wanted.push((TaskRef::of(task), Sought::Missed(tracked)));
            }
            Origin::Listed => {}
            // Taken off the watchlist, so not to be asked for any more.
            Origin::Configured | Origin::Registered => {
                found.gone.push(Arc::clone(&task.id));
                found.unwanted.push(Arc::clone(&task.id));
            }
        }
    }
    wanted
}

/// From when on all the queries ask for what began; `None` where none asks for what has ended.
fn narrowest(queries: &[Query]) -> Option<Timestamp> {
    queries.iter().filter_map(|query| query.since).max()
}

/// The resource that a list query is about, where it is about one.
fn only_resource(query: &Query) -> Option<&Resource> {
    match query.resources.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Whether the account is in trouble, so that all questions would be answered alike.
fn is_about_the_account(error: &FetchError) -> bool {
    match error {
        FetchError::Credentials(_) | FetchError::Signing(_) | FetchError::Budget(_) => true,
        FetchError::Transport(_) | FetchError::Decode(_) | FetchError::NothingFound(_) => false,
        FetchError::Refused(refusal) => match refusal.kind {
            RefusalKind::Unauthenticated
            | RefusalKind::CredentialsExpired
            | RefusalKind::Clock
            | RefusalKind::Throttled => true,
            RefusalKind::Forbidden
            | RefusalKind::Server
            | RefusalKind::NotFound
            | RefusalKind::NoSuchOperation
            | RefusalKind::Client => false,
        },
    }
}

/// Whether the other questions about the same resource would fail alike. The vendor may stumble over
/// one; twice in a row it is more.
fn ends_the_unit(error: &FetchError, stumbled_before: bool) -> bool {
    match error.refusal().map(|refusal| refusal.kind) {
        Some(RefusalKind::Server) => stumbled_before,
        Some(RefusalKind::Client | RefusalKind::NoSuchOperation) => false,
        Some(_) => true,
        None => matches!(error, FetchError::Transport(_)),
    }
}

/// Whether a refusal says, or may say, that there is no such task. After a list that went well there
/// is little but the id that can be invalid.
fn is_answer(error: &FetchError, found: &Found) -> bool {
    let invalid = error.refusal().is_some_and(Refusal::calls_parameter_invalid);
    is_not_found(error) || (invalid && found.went_well())
}

fn is_not_found(error: &FetchError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind == RefusalKind::NotFound)
}
