//! The contract of one vendor API: facts, and pure functions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::cloud::Cloud;
use crate::document::{DecodeError, Format};
use crate::endpoints::Endpoints;
use crate::model::{Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::paging;
use crate::redaction::Redactor;

/// One vendor API: facts, and pure functions.
#[derive(Debug)]
pub struct TaskApi {
    /// The configuration word and `api` label: `tencent_cdb`.
    pub name: &'static str,
    /// The vendor's name of the product: `TencentDB for MySQL`.
    pub product: &'static str,
    /// Whose API it is.
    pub cloud: Cloud,
    /// The vendor's short name of the service, as hosts and signatures spell it: `cdb`.
    pub service: &'static str,
    /// The vendor's reference page.
    pub doc: &'static str,
    /// Every operation it calls.
    pub operations: &'static [&'static Operation],
    /// Every status word the vendor documents, with our state.
    pub statuses: &'static [(&'static str, TaskState)],
    /// How far back the vendor documents that its list reaches; `None` where it documents nothing,
    /// or keeps no list of what has ended.
    pub list_window: Option<Duration>,
    /// Whether a failed task in a list lacks its error text, so that [`TaskApi::by_id`] is worth a
    /// call for each failed task. The answer is one page.
    pub error_by_id: bool,
    /// Where it answers, by region.
    pub endpoints: &'static Endpoints,
    /// The query that finds the project of the region, where requests name one; `None` elsewhere.
    pub project: Option<fn() -> Query>,
    /// The first page of the query that finds the resources, where tasks can only be listed
    /// resource by resource; `None` where the list covers the region.
    pub discover: Option<fn(&Scope<'_>) -> Query>,
    /// The first page of every query that one poll needs, unfinished states first.
    pub list: fn(&Scope<'_>) -> Vec<Query>,
    /// What ids its tasks have, and where people find them, as a sentence without its subject; what
    /// looks otherwise leads to no task. Empty where no task can be asked for by its id.
    pub task_id: &'static str,
    /// The query for one task; `None` where the task cannot be asked for with what is known of it.
    pub by_id: fn(&TaskRef) -> Option<Query>,
    /// The unsigned request for a query.
    pub request: fn(&Target, &Query) -> Request<Bytes>,
    /// What an answer to `query` says. Refusals have been dealt with before.
    pub decode: fn(&Target, &Query, &Response<Bytes>) -> Result<Page, DecodeError>,
}

/// One call that the vendor offers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The vendor's name, and the `operation` label: `DescribeTasks`.
    pub name: &'static str,
    /// The permission it needs, in the vendor's spelling: `cdb:DescribeTasks`.
    pub permission: &'static str,
    /// Calls a second that we allow ourselves, below the vendor's limit.
    pub per_second: u32,
}

/// Where and in whose name an API is asked: what is fixed for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Base URL: scheme and authority, without a path.
    pub endpoint: String,
    /// The vendor's region code.
    pub region: String,
    /// Huawei's project; empty elsewhere.
    pub project_id: String,
    /// What Tencent's times, which carry no zone, are relative to UTC.
    pub utc_offset: jiff::tz::Offset,
    /// The format that Alibaba is asked for.
    pub format: Format,
}

/// What one poll covers.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The time of the poll.
    pub now: Timestamp,
    /// Finished tasks are of interest from here on; unfinished ones however old they are.
    pub since: Timestamp,
    /// The resources to watch: configured, else discovered; empty means all, which an API that
    /// has [`TaskApi::discover`] never sees.
    pub resources: &'a [Arc<Resource>],
    /// Only resources that carry all of these tags, where the API can filter by tag.
    pub tags: &'a [(String, String)],
}

/// How far beyond the time of the poll a list is asked for: clocks agree to seconds only, and what is
/// new now must not be left to the next poll.
const BEYOND: Duration = Duration::from_mins(1);

impl Scope<'_> {
    /// Until when tasks are of interest: a little after now.
    pub fn until(&self) -> Timestamp {
        self.now + BEYOND
    }
}

/// One question to a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The operation that answers it.
    pub operation: &'static Operation,
    /// What is asked for.
    pub subject: Subject,
    /// The page, from 1.
    pub page: u32,
}

/// What a [`Query`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The project of the region.
    Project,
    /// Clusters or instances.
    Resources {
        /// Only those that carry all of these tags.
        tags: Vec<(String, String)>,
    },
    /// A list of tasks.
    Tasks(Filter),
    /// One task.
    Task(TaskRef),
}

/// Which tasks a list query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these resources only; empty means all.
    pub resources: Vec<Arc<Resource>>,
    /// Of resources that carry all of these tags only, where the API can filter by tag.
    pub tags: Vec<(String, String)>,
    /// In this status only, in the vendor's words; an API decides what its words here mean.
    pub status: Option<&'static str>,
    /// From here.
    pub since: Option<Timestamp>,
    /// Until here.
    pub until: Option<Timestamp>,
}

/// A task by its id, with whatever else helps to ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskRef {
    /// The vendor's id.
    pub id: Arc<str>,
    /// What it works on, where that is known.
    pub resource: Option<Arc<Resource>>,
    /// When it started, where that is known.
    pub started: Option<Timestamp>,
}

/// What one answer said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The tasks in it.
    pub tasks: Vec<Task>,
    /// The project's id, for a [`Subject::Project`].
    pub project_id: Option<String>,
    /// The resources in it, for a [`Subject::Resources`].
    pub resources: Vec<Arc<Resource>>,
    /// The queries still to send: usually none, or the next page.
    pub next: Vec<Query>,
    /// Whether there is more than this page and `next` lead to: the vendor's total, the size of the
    /// page and the rows read do not agree. Nothing can be concluded from what such a list leaves
    /// out.
    pub incomplete: bool,
    /// The rows in it, if it is a page of a list.
    pub rows: paging::Rows,
    /// What in it could not be read.
    pub unreadable: Unreadable,
}

impl Page {
    /// Takes out what we have sent and nobody else may see. An error text of a task may quote a
    /// request, and so may a name.
    pub fn redact(&mut self, redactor: &Redactor) {
        let Self { tasks, project_id, resources, next: _, unreadable: _, incomplete: _, rows: _ } =
            self;
        for task in tasks {
            redact_task(task, redactor);
        }
        if let Some(id) = project_id {
            redactor.redact(id);
        }
        for resource in resources {
            redact_resource(resource, redactor);
        }
    }
}

/// Every word of the vendor's in it: what is added to a task must be added here.
fn redact_task(task: &mut Task, redactor: &Redactor) {
    let Task {
        id,
        kind,
        resource,
        vendor_status,
        steps,
        error,
        state: _,
        progress: _,
        remaining: _,
        created: _,
        started: _,
        ended: _,
        origin: _,
    } = task;
    for text in [id, kind, vendor_status] {
        redactor.redact(text);
    }
    redact_resource(resource, redactor);
    for Step { name, state: _, progress: _, remaining: _ } in steps {
        redactor.redact(name);
    }
    if let Some(TaskError { code, message }) = error.as_deref_mut() {
        redactor.redact(code);
        redactor.redact(message);
    }
}

fn redact_resource(resource: &mut Arc<Resource>, redactor: &Redactor) {
    let Resource { id, name } = &**resource;
    let redacted = |text: &str| redactor.redacted(text).map(Into::into);
    let (clean_id, clean_name) = (redacted(id), name.as_deref().and_then(redacted));
    if clean_id.is_some() || clean_name.is_some() {
        let id = clean_id.unwrap_or_else(|| id.clone());
        *resource = Arc::new(Resource { id, name: clean_name.or_else(|| name.clone()) });
    }
}

/// Counts of values that an answer held and that made no sense. An absent value is not one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Status words that are not in [`TaskApi::statuses`].
    pub status: u64,
    /// Times in no known format.
    pub time: u64,
    /// Progress values or remaining times that are no numbers.
    pub progress: u64,
    /// Task ids that are missing, empty or too long.
    pub task_id: u64,
}

impl Unreadable {
    /// The counts by the `field` label.
    pub fn by_field(&self) -> [(&'static str, u64); 4] {
        [
            ("status", self.status),
            ("time", self.time),
            ("progress", self.progress),
            ("task_id", self.task_id),
        ]
    }

    /// Adds the counts of another answer.
    pub fn add(&mut self, other: Self) {
        self.status = self.status.saturating_add(other.status);
        self.time = self.time.saturating_add(other.time);
        self.progress = self.progress.saturating_add(other.progress);
        self.task_id = self.task_id.saturating_add(other.task_id);
    }
}

impl TaskApi {
    /// The base URL for a region: scheme and host, no path.
    pub fn endpoint(&self, region: &str) -> String {
        self.endpoints.public(region)
    }

    /// The first page of the one query that shows best whether a source may ask what it has to: its
    /// first list, which is that of unfinished tasks, else the search for what has to be listed.
    pub fn probe(&self, scope: &Scope<'_>) -> Option<Query> {
        match self.discover {
            Some(discover) if scope.resources.is_empty() => Some(discover(scope)),
            Some(_) | None => (self.list)(scope).into_iter().next(),
        }
    }

    /// What a source calls: every operation but the search for the project, where that is known,
    /// and for the resources, where `has_resources`.
    pub fn needed(
        &self,
        has_project: bool,
        has_resources: bool,
    ) -> impl Iterator<Item = &'static Operation> {
        let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
        let scope = Scope { now, since: now, resources: &[], tags: &[] };
        let project = self.project.filter(|_| has_project).map(|project| project().operation);
        let discover =
            self.discover.filter(|_| has_resources).map(|discover| discover(&scope).operation);
        let spared = [project, discover];
        self.operations.iter().copied().filter(move |&it| !spared.contains(&Some(it)))
    }

    /// Our state for a vendor's status word, compared without regard to case or outer blanks.
    pub fn state(&self, word: &str) -> TaskState {
        let word = word.trim();
        self.statuses
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map_or(TaskState::Unknown, |&(_, state)| state)
    }
}

impl TaskRef {
    /// What is known of a task that was seen.
    pub fn of(task: &Task) -> Self {
        Self {
            id: Arc::clone(&task.id),
            resource: (!task.resource.id.is_empty()).then(|| Arc::clone(&task.resource)),
            started: task.started,
        }
    }
}

impl Query {
    /// The first page.
    pub fn new(operation: &'static Operation, subject: Subject) -> Self {
        Self { operation, subject, page: 1 }
    }

    /// The page after this one.
    #[must_use]
    pub fn next_page(&self) -> Self {
        Self { page: self.page.saturating_add(1), ..self.clone() }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation.name)
    }
}
