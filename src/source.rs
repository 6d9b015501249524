//! `Source`: one API, for one account, in one region; `fetch` returns what a poll finds.
//!
//! Here alone a query becomes a request, is signed and sent, and its answer decoded. No API and no
//! cloud is known by name.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use crate::api::{DecodeError, Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable};
use crate::clock::Clock;
use crate::cloud::{Credentials, Refusal, RefusalKind, Signing, SigningError};
use crate::credentials::{CredentialsError, Provider};
use crate::metrics::{Instruments, Reason};
use crate::pace::Account;
use crate::store::{SourceInfo, Tracked};
use crate::task::{Origin, Resource, Task, TaskState, Timestamp};
use crate::transport::{Transport, TransportError};

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
    /// What names it.
    pub info: Arc<SourceInfo>,
    /// What is asked.
    pub api: &'static TaskApi,
    /// Where and in whose name.
    pub target: Target,
    /// Who asks.
    pub credentials: Arc<Provider>,
    /// The limits that it shares with the other sources of its account.
    pub account: Arc<Account>,
    /// How requests are sent.
    pub transport: Arc<dyn Transport>,
    /// Counts the calls.
    pub instruments: Instruments,
    /// Tells the time.
    pub clock: Clock,
    /// The clusters or instances to watch; empty means all.
    pub resources: Vec<Arc<Resource>>,
    /// Only resources with these tags.
    pub tags: Vec<(String, String)>,
    /// The task ids to watch besides what the vendor lists.
    pub tasks: Vec<TaskRef>,
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
    /// Seconds to add to our clock to get the vendor's.
    clock_offset: i64,
    /// Whether there is a list to ask.
    list: Listing,
    /// Configured ids that the vendor did not know: when to ask again, and the pause after that.
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
    /// Every task seen, each once, in no order.
    pub tasks: Vec<Task>,
    /// Ids that were asked for and that the vendor does not know.
    pub gone: Vec<Arc<str>>,
    /// Whether the list was read to its end, so that what is not in it is not there.
    pub complete: bool,
    /// The first thing that went wrong, and the operation it went wrong with.
    pub failure: Option<(&'static str, FetchError)>,
}

/// Why a poll, or part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There are no credentials to ask with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The credentials cannot sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// No answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The vendor said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer made no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl FetchError {
    /// The `reason` label, and the field in the log.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Credentials(_) | Self::Signing(_) => Reason::Auth,
            Self::Transport(TransportError::Timeout) => Reason::Timeout,
            Self::Transport(TransportError::Network(_)) => Reason::Network,
            Self::Transport(TransportError::Body(_)) | Self::Decode(_) => Reason::Decode,
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Unauthenticated
                | RefusalKind::CredentialsExpired
                | RefusalKind::Forbidden => Reason::Auth,
                RefusalKind::Clock => Reason::Clock,
                RefusalKind::Throttled => Reason::Throttled,
                RefusalKind::Server => Reason::Server,
                RefusalKind::NotFound | RefusalKind::NoSuchOperation | RefusalKind::Client => {
                    Reason::Client
                }
            },
        }
    }

    /// What kind of refusal it is, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Credentials(_) | Self::Signing(_) | Self::Transport(_) | Self::Decode(_) => None,
        }
    }

    /// Whether the rest of the poll would meet the same trouble.
    fn ends_the_poll(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Signing(_) | Self::Transport(_) => true,
            Self::Decode(_) => false,
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Unauthenticated
                | RefusalKind::CredentialsExpired
                | RefusalKind::Clock
                | RefusalKind::Throttled
                | RefusalKind::Server => true,
                RefusalKind::Forbidden
                | RefusalKind::NotFound
                | RefusalKind::NoSuchOperation
                | RefusalKind::Client => false,
            },
        }
    }
}

impl Source {
    /// One poll: lists what the vendor lists, and asks by id for what that leaves open. `known` are
    /// the tasks of earlier polls whose end has not been seen, vanished ones among them; an id that is `settled` needs no further asking.
    pub async fn fetch(
        &mut self,
        known: &[Tracked],
        last_complete: Option<Timestamp>,
        settled: &Settled<'_>,
    ) -> Fetched {
        let mut found = Found::default();
        self.poll(&mut found, known, last_complete, settled).await;
        for (field, count) in found.unreadable.by_field() {
            self.instruments.unknown_values_found(&self.info.name, field, count);
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
        if !self.list(found, known, last_complete).await {
            return;
        }
        self.ask_by_id(found, known, settled).await;
        if self.api.error_by_id {
            self.ask_for_errors(found, settled).await;
        }
    }

    /// Asks for the project once, where the vendor needs one and the configuration has none.
    async fn learn_project(&mut self, found: &mut Found) -> bool {
        let Some(query) = self.api.project.filter(|_| self.target.project_id.is_empty()) else {
            return true;
        };
        let query = query();
        match self.call(&query).await {
            Ok(Page { project_id: Some(project_id), .. }) => {
                self.target.project_id = project_id;
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
        let Some(discover) = self.api.discover.filter(|_| self.resources.is_empty()) else {
            return true;
        };
        if let Some((at, _)) = &self.learned.discovered
            && at.elapsed() < DISCOVERY_INTERVAL
        {
            return true;
        }
        let first = discover(&self.scope(self.clock.now(), self.clock.now()));
        let operation = first.operation.name;
        let mut resources: Vec<Arc<Resource>> = Vec::new();
        let mut next = Some(first);
        while let Some(query) = next {
            match self.call(&query).await {
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
    ) -> bool {
        if self.learned.list == Listing::Missing {
            return true;
        }
        let now = self.vendor_now();
        let since = self.since(now, known, last_complete);
        let mut queries: VecDeque<Query> = (self.api.list)(&self.scope(now, since)).into();
        // No query where resources have been looked for means that there are none, and no tasks.
        found.listed = !queries.is_empty() || self.api.discover.is_some();
        let mut failed_before = false;
        while let Some(query) = queries.pop_front() {
            if query.page > MAX_PAGES {
                tracing::warn!(
                    source = self.info.name,
                    operation = query.operation.name,
                    "the list goes on beyond {MAX_PAGES} pages; the rest is not read"
                );
                found.listed = false;
                continue;
            }
            match self.call(&query).await {
                Ok(page) => {
                    self.learned.list = Listing::Exists;
                    failed_before = false;
                    // The next page before other queries, while the list is as it was.
                    for next in page.next.into_iter().rev() {
                        queries.push_front(next);
                    }
                    found.add(page.tasks, page.unreadable);
                }
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::NoSuchOperation
                        && self.learned.list == Listing::Untried
                        && !self.tasks.is_empty() =>
                {
                    tracing::warn!(
                        source = self.info.name,
                        operation = query.operation.name,
                        "this cloud or region has no such list; only configured ids are watched"
                    );
                    self.learned.list = Listing::Missing;
                    found.listed = false;
                    return true;
                }
                // Deleted between being found and being asked about.
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::NotFound
                        && self.api.discover.is_some()
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

    /// Asks by id for the configured tasks, and for unfinished ones that the list left out.
    async fn ask_by_id(&mut self, found: &mut Found, known: &[Tracked], settled: &Settled<'_>) {
        let mut wanted: Vec<(TaskRef, Option<&Task>)> = self
            .tasks
            .iter()
            .filter(|task| !settled(&task.id) && !found.tasks.contains_key(&task.id))
            .map(|task| (task.clone(), None))
            .collect();
        // A list that was not read to its end says nothing about what it left out.
        if found.is_complete() {
            let unfinished = known.iter().filter(|tracked| tracked.settled.is_none());
            for Tracked { task, .. } in unfinished {
                let configured = self.tasks.iter().any(|configured| configured.id == task.id);
                if !configured && !found.tasks.contains_key(&task.id) {
                    wanted.push((task_ref(task), Some(task)));
                }
            }
        }
        for (wanted, listed) in wanted {
            let Some(query) = (self.api.by_id)(&wanted) else { continue };
            let operation = query.operation.name;
            if self.learned.unknown_ids.get(&wanted.id).is_some_and(|(at, _)| Instant::now() < *at)
            {
                continue;
            }
            match self.find(query, &wanted.id).await {
                Ok(Some((mut task, unreadable))) => {
                    self.learned.unknown_ids.remove(&wanted.id);
                    match listed {
                        // By id some vendors use other words for the kind than in their list.
                        Some(listed) => {
                            task.kind = Arc::clone(&listed.kind);
                            task.origin = listed.origin;
                        }
                        None => task.origin = Origin::Configured,
                    }
                    found.add(vec![task], unreadable);
                }
                Ok(None) => self.unknown_id(found, wanted.id),
                Err(FetchError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
                    self.unknown_id(found, wanted.id);
                }
                // Some vendors have no better word for an id that they do not know. After a list
                // that went well there is nothing else that can be wrong with the question.
                Err(FetchError::Refused(refusal))
                    if refusal.kind == RefusalKind::Client && found.is_complete() =>
                {
                    self.unknown_id(found, wanted.id);
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
            let page = self.call(&query).await?;
            if let Some(task) = page.tasks.into_iter().find(|task| *task.id == *id) {
                return Ok(Some((task, page.unreadable)));
            }
            queries.extend(page.next.into_iter().filter(|next| next.page <= MAX_PAGES));
        }
        Ok(None)
    }

    fn unknown_id(&mut self, found: &mut Found, id: Arc<str>) {
        // One that was listed is given up by the caller, and not asked for again.
        if self.tasks.iter().any(|task| task.id == id) {
            let pauses = &mut self.learned.unknown_ids;
            let last = pauses.get(&id).map(|&(_, pause)| pause);
            if last.is_none() {
                tracing::warn!(
                    source = self.info.name,
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
            let Some(query) = (self.api.by_id)(&task) else { continue };
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
                        source = self.info.name,
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
        let unfinished = known
            .iter()
            .filter(|tracked| (self.api.by_id)(&task_ref(&tracked.task)).is_none())
            .filter_map(|tracked| tracked.task.started.or(tracked.task.created));
        let since = unfinished
            .chain(last_complete)
            .map(|time| time.saturating_sub(OVERLAP))
            .chain([now.saturating_sub(self.lookback)])
            .min()
            .unwrap_or(now);
        match self.api.list_window {
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

    /// Asks one query: admitted, signed, sent, decoded. A refusal for the clock is corrected by the
    /// answer's `Date` and tried once more.
    async fn call(&mut self, query: &Query) -> Result<Page, FetchError> {
        let answer = self.attempt(query).await;
        let Err((FetchError::Refused(refusal), Some(offset))) = answer else {
            return answer.map_err(|(error, _)| error);
        };
        if refusal.kind != RefusalKind::Clock || offset == self.learned.clock_offset {
            return Err(FetchError::Refused(refusal));
        }
        tracing::warn!(
            source = self.info.name,
            offset_seconds = offset,
            "the vendor's clock differs from ours; requests now carry its time"
        );
        self.learned.clock_offset = offset;
        self.attempt(query).await.map_err(|(error, _)| error)
    }

    /// One request and its answer; with a refusal, the clock offset that the answer shows.
    async fn attempt(&mut self, query: &Query) -> Result<Page, (FetchError, Option<i64>)> {
        let operation = query.operation;
        self.account.admit(operation).await;
        let credentials = self.credentials.get().await.map_err(|error| (error.into(), None))?;
        let begun = Instant::now();
        self.instruments.request_sent(&self.info.name, operation.name);
        let answer = self.exchange(query, &credentials).await;
        self.instruments.request_finished(self.info.cloud, operation.name, begun.elapsed());
        let (result, offset) = match answer {
            Err(error) => (Err(error), None),
            Ok(response) => {
                let offset = self.offset(&response);
                (self.read(query, &response), offset)
            }
        };
        match &result {
            Ok(_) => self.account.guard.accepted(),
            Err(error) => {
                self.instruments.request_failed(&self.info.name, operation.name, error.reason());
                match error.refusal().map(|refusal| refusal.kind) {
                    Some(RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired) => {
                        self.account.guard.refused();
                    }
                    // Only somebody who is known is told this.
                    Some(RefusalKind::Forbidden | RefusalKind::NotFound) => {
                        self.account.guard.accepted();
                    }
                    Some(
                        RefusalKind::Clock
                        | RefusalKind::Throttled
                        | RefusalKind::Server
                        | RefusalKind::NoSuchOperation
                        | RefusalKind::Client,
                    )
                    | None => {}
                }
            }
        }
        result.map_err(|error| (error, offset))
    }

    async fn exchange(
        &self,
        query: &Query,
        credentials: &Credentials,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = (self.api.request)(&self.target, query);
        let nonce = format!("{:032x}", fastrand::u128(..));
        let now = self.vendor_now();
        let signing = Signing { service: self.api.service, credentials, now, nonce: &nonce };
        self.api.cloud.sign(&mut request, &signing)?;
        Ok(self.transport.send(request).await?)
    }

    fn read(&self, query: &Query, response: &Response<Bytes>) -> Result<Page, FetchError> {
        if let Some(refusal) = self.api.cloud.refusal(response) {
            return Err(FetchError::Refused(refusal));
        }
        Ok((self.api.decode)(&self.target, query, response)?)
    }

    /// The time by the vendor's clock, as far as we know it.
    fn vendor_now(&self) -> Timestamp {
        self.clock.now().offset_by(self.learned.clock_offset)
    }

    /// Seconds from our clock to the one that stamped the answer.
    fn offset(&self, response: &Response<Bytes>) -> Option<i64> {
        let date = response.headers().get(http::header::DATE)?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
        Some(theirs.saturating_sub(self.clock.now().as_second()))
    }
}

/// What the answers of one poll add up to.
#[derive(Debug, Default)]
struct Found {
    tasks: HashMap<Arc<str>, Task>,
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
