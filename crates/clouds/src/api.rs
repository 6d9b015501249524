//! The contract of one vendor API: facts, and pure functions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use crate::cloud::Cloud;
use crate::document::{DecodeError, Format};
use crate::endpoints::Endpoints;
use crate::model::{Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::redaction::Redactor;
use crate::refusal::Refusal;

/// One vendor API: what is known of it, and how it is spoken to.
#[derive(Debug)]
pub struct TaskApi {
    /// What drives documents, permissions, configuration and tests.
    pub facts: Facts,
    /// Its behaviour. Products of one family share one implementation.
    pub client: &'static dyn Client,
}

/// What is known of an API.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
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
    /// How it finds tasks, in a few words: `the list of the region`.
    pub finds: &'static str,
    /// What its answers tell of a task beside its kind, its status and what it works on.
    pub shows: &'static [Detail],
    /// What somebody who watches it has to know and no other fact says: whole sentences in Markdown.
    pub notes: &'static [&'static str],
    /// Every operation it calls.
    pub operations: &'static [&'static Operation],
    /// Every status word the vendor documents, with our state.
    pub statuses: &'static [(&'static str, TaskState)],
    /// Other APIs that show the same operations under ids of their own. The fact stands with one of
    /// the two.
    pub same_tasks_as: &'static [SameTasks],
    /// How far back the vendor documents that its list reaches; `None` where it documents nothing,
    /// or keeps no list of what has ended.
    pub list_window: Option<Duration>,
    /// Whether a task that began longer ago than the vendor's lists reach back can be seen no more, by
    /// its id either, though it still runs.
    pub forgets: bool,
    /// Whether a failed task in a list lacks its error text, so that [`TaskApi::by_id`] is worth a
    /// call for each failed task. The answer is one page.
    pub error_by_id: bool,
    /// Which ids its tasks have; `None` where no task can be asked for by its id.
    pub ids: Option<IdRule>,
    /// Where it answers, by region.
    pub endpoints: &'static Endpoints,
    /// How the project of the region is found, where requests name one.
    pub project: Option<&'static ProjectSearch>,
}

/// What an answer may tell of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// How far it is.
    Progress,
    /// The time left, by the vendor's estimate.
    Remaining,
    /// Its steps, or the one at work.
    Steps,
    /// When it was asked for.
    Created,
    /// When it is planned to begin.
    Scheduled,
    /// When it began.
    Started,
    /// When it ended.
    Ended,
    /// Why it failed.
    Error,
}

impl Detail {
    /// Every detail, in the order of the documents.
    pub const ALL: [Self; 8] = [
        Self::Progress,
        Self::Remaining,
        Self::Steps,
        Self::Created,
        Self::Scheduled,
        Self::Started,
        Self::Ended,
        Self::Error,
    ];

    /// A short name for documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Remaining => "time left",
            Self::Steps => "steps",
            Self::Created => "request",
            Self::Scheduled => "plan",
            Self::Started => "start",
            Self::Ended => "end",
            Self::Error => "error text",
        }
    }

    /// Whether this is known of `task`.
    pub fn is_in(self, task: &Task) -> bool {
        match self {
            Self::Progress => task.progress.is_some(),
            Self::Remaining => {
                task.remaining.is_some() || task.steps.iter().any(|step| step.remaining.is_some())
            }
            Self::Steps => !task.steps.is_empty(),
            Self::Created => task.created.is_some(),
            Self::Scheduled => task.scheduled.is_some(),
            Self::Started => task.started.is_some(),
            Self::Ended => task.ended.is_some(),
            Self::Error => task.error.is_some(),
        }
    }
}

/// Another API that shows the same operations under ids of its own. Nothing in an answer tells which
/// belong together, so a source of each counts every operation twice.
#[derive(Clone, Copy, Debug)]
pub struct SameTasks {
    /// Its name: `alibaba_polardb`.
    pub api: &'static str,
    /// Which of the two to watch, and why, as a sentence without its full stop.
    pub advice: &'static str,
}

/// The behaviour of an API or of a family of them. Pure.
pub trait Client: fmt::Debug + Sync {
    /// The first page of every query that one poll needs, unfinished states first.
    fn list(&self, scope: &Scope<'_>) -> Vec<Query>;

    /// The first page of every query that the first poll needs besides: where a list cannot be asked
    /// for unfinished tasks alone, these find those that began before [`Scope::since`]. Later polls ask
    /// for what was found by its id.
    fn first_look(&self, _scope: &Scope<'_>) -> Vec<Query> {
        Vec::new()
    }

    /// The query for one task whose id [`Facts::ids`] admits. The answer shows that task or none.
    /// `now` is the time by the vendor's clock, for an API that wants a window even there.
    fn by_id(&self, _task: &TaskRef, _now: Timestamp) -> Option<Query> {
        None
    }

    /// The first page of the query that finds the resources, where tasks can only be listed
    /// resource by resource; `None` where the list covers the region.
    fn discover(&self, _scope: &Scope<'_>) -> Option<Query> {
        None
    }

    /// The time between two polls where the configuration says nothing for the source itself; `None`
    /// where what holds for all is right.
    fn least_interval(&self) -> Option<Duration> {
        None
    }

    /// Another query that asks the same, where this one may have been refused for its wording.
    fn instead(&self, _query: &Query, _refusal: &Refusal) -> Option<Query> {
        None
    }

    /// What an answer to `query` says. Refusals have been dealt with before.
    fn decode(
        &self,
        target: &Target,
        query: &Query,
        answer: &Response<Bytes>,
    ) -> Result<Page, DecodeError>;
}

/// Which ids the tasks of an API have.
#[derive(Clone, Copy, Debug)]
pub struct IdRule {
    /// What an id looks like and where people find it, as a sentence without its subject.
    pub looks_like: &'static str,
    /// Whether a text can be the id of a task.
    pub fits: fn(&str) -> bool,
    /// What has to be known of a task beside its id.
    pub needs: Needs,
}

/// What has to be known of a task beside its id, to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The cluster or instance.
    Resource,
    /// The cluster or instance, or when it started.
    ResourceOrStart,
}

/// How a vendor is asked for the project of a region.
#[derive(Debug)]
pub struct ProjectSearch {
    /// The operation, which is the query's.
    pub operation: &'static Operation,
    /// The query.
    pub query: fn() -> Query,
    /// The project's id in an answer; `None` if there is not exactly one.
    pub decode: fn(&Response<Bytes>) -> Result<Option<String>, DecodeError>,
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
    /// How it is called.
    pub call: Call,
}

/// How an operation is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// By its name, in this version of the service.
    Action(&'static str),
    /// The same, with the parameters as a form in the body.
    Form(&'static str),
    /// `GET` of this path. `{project_id}` in it stands for the project, any other name in braces for
    /// the parameter of that name.
    Get(&'static str),
    /// `POST` to such a path, with the parameters as a JSON body.
    Post(&'static str),
    /// `GET` of this path of the region's IAM, which needs no project.
    GetIam(&'static str),
}

impl Call {
    /// The version of the service that has an action; empty for a path, which holds its own.
    pub fn version(self) -> &'static str {
        match self {
            Self::Action(version) | Self::Form(version) => version,
            Self::Get(_) | Self::Post(_) | Self::GetIam(_) => "",
        }
    }

    /// Method and path; `None` for an action.
    pub fn route(self) -> Option<(Method, &'static str)> {
        match self {
            Self::Action(_) | Self::Form(_) => None,
            Self::Get(path) | Self::GetIam(path) => Some((Method::GET, path)),
            Self::Post(path) => Some((Method::POST, path)),
        }
    }

    /// Whether this is the call of a request: its method, and its path with any text for each name
    /// in braces.
    pub fn is(self, method: &Method, path: &str) -> bool {
        let Some((own, pattern)) = self.route() else { return false };
        let (mut wanted, mut sent) = (pattern.split('/'), path.trim_end_matches('/').split('/'));
        let same = |wanted: &str, sent: &str| {
            if wanted.starts_with('{') { !sent.is_empty() } else { wanted == sent }
        };
        own == *method
            && wanted.by_ref().all(|part| sent.next().is_some_and(|sent| same(part, sent)))
            && sent.next().is_none()
    }
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
    /// has [`Client::discover`] never sees.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The operation that answers it.
    pub operation: &'static Operation,
    /// What is asked for, in the vendor's words.
    pub parameters: Vec<(Cow<'static, str>, Parameter)>,
    /// The task that is asked for by its id; `None` for a list.
    pub task: Option<TaskRef>,
    /// Of these resources only; empty means all.
    pub resources: Vec<Arc<Resource>>,
    /// In this status only, where rows do not say in which they are.
    pub status: Option<&'static str>,
    /// Finished tasks from here on; `None` where it asks for unfinished ones alone.
    pub since: Option<Timestamp>,
    /// The tasks that it asks more about, as an earlier answer showed them. Its own answer shows them
    /// anew.
    pub known: Vec<Task>,
    /// Only unfinished tasks are of interest, though the vendor gives all: those that have ended are left
    /// out of the page.
    pub drops_ended: bool,
    /// The page, from 1.
    pub page: u32,
}

/// The value of a parameter. Each vendor writes it in its own notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A text.
    Text(String),
    /// A number.
    Integer(u64),
    /// A list of numbers.
    Integers(Vec<i64>),
    /// A list of texts.
    Texts(Vec<String>),
    /// A structure, where the vendor takes one. The others write it as JSON text.
    Json(Value),
    /// An instant.
    Time(Timestamp),
    /// The region of the source.
    Region,
    /// The number of the page, from 1.
    PageNumber,
    /// How many rows come before the page, of so many rows a page.
    Offset(u32),
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
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
    /// The project's id, where that was asked for.
    pub project_id: Option<String>,
    /// The resources in it.
    pub resources: Vec<Arc<Resource>>,
    /// Ids of those among them where no task runs, by the vendor's word: they are asked less often.
    pub at_rest: Vec<Box<str>>,
    /// The queries still to send: usually none, or the next page.
    pub next: Vec<Query>,
    /// Whether there is more than this page and `next` lead to: the vendor's total, the size of the
    /// page and the rows read do not agree. Nothing can be concluded from what such a list leaves
    /// out.
    pub incomplete: bool,
    /// The rows in it, if it is a page of a list.
    pub rows: Rows,
    /// What in it could not be read.
    pub unreadable: Unreadable,
}

/// The rows of one page, whatever is made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One for each row, which tells it from others: a hash of its id, else of all of it.
    pub(crate) keys: Vec<u64>,
    /// How many rows there are on all pages, by the vendor's word; `None` if there is none that
    /// makes sense.
    pub(crate) total: Option<u64>,
}

impl Page {
    /// Takes out what we have sent and nobody else may see. An error text of a task may quote a
    /// request, and so may a name.
    pub fn redact(&mut self, redactor: &Redactor) {
        let Self {
            tasks,
            project_id,
            resources,
            at_rest: _,
            next: _,
            unreadable: _,
            incomplete: _,
            rows: _,
        } = self;
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
        scheduled: _,
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
    /// Status words that are not in [`Facts::statuses`].
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
    /// The first page of every query that one poll needs, unfinished states first.
    pub fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        self.client.list(scope)
    }

    /// The first page of every query that the first poll sends before the others; usually none.
    pub fn first_look(&self, scope: &Scope<'_>) -> Vec<Query> {
        self.client.first_look(scope)
    }

    /// The query for one task; `None` where the task cannot be asked for with what is known of it. `now`
    /// is the time by the vendor's clock.
    pub fn by_id(&self, task: &TaskRef, now: Timestamp) -> Option<Query> {
        self.facts.ids.as_ref().filter(|rule| rule.admits(task))?;
        self.client.by_id(task, now)
    }

    /// The first page of the query that finds the resources; `None` where the list covers the
    /// region.
    pub fn discover(&self, scope: &Scope<'_>) -> Option<Query> {
        self.client.discover(scope)
    }

    /// Whether tasks can only be listed resource by resource.
    pub fn discovers(&self) -> bool {
        self.discover(&any()).is_some()
    }

    /// What an answer to `query` says. Refusals have been dealt with before.
    pub fn decode(
        &self,
        target: &Target,
        query: &Query,
        answer: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        match self.facts.project {
            Some(search) if search.operation == query.operation => {
                Ok(Page { project_id: (search.decode)(answer)?, ..Page::default() })
            }
            Some(_) | None => self.client.decode(target, query, answer),
        }
    }

    /// The base URL for a region: scheme and host, no path.
    pub fn endpoint(&self, region: &str) -> String {
        self.facts.endpoints.public(region)
    }

    /// The first page of the one query that shows best whether a source may ask what it has to: its
    /// first list, which is that of unfinished tasks, else the search for what has to be listed.
    pub fn probe(&self, scope: &Scope<'_>) -> Option<Query> {
        let discover = self.discover(scope).filter(|_| scope.resources.is_empty());
        discover.or_else(|| self.list(scope).into_iter().next())
    }

    /// What a source calls: every operation but the search for the project, where that is known,
    /// and for the resources, where `has_resources`.
    pub fn needed(
        &self,
        has_project: bool,
        has_resources: bool,
    ) -> impl Iterator<Item = &'static Operation> {
        let project = self.facts.project.filter(|_| has_project).map(|search| search.operation);
        let discover = self.discover(&any()).filter(|_| has_resources).map(|query| query.operation);
        let spared = [project, discover];
        self.facts.operations.iter().copied().filter(move |&it| !spared.contains(&Some(it)))
    }
}

/// Some poll, where it does not matter which.
fn any() -> Scope<'static> {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    Scope { now, since: now, resources: &[], tags: &[] }
}

impl Facts {
    /// Whether its answers tell this of a task.
    pub fn shows(&self, detail: Detail) -> bool {
        self.shows.contains(&detail)
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
    /// The first page of everything.
    pub fn new(operation: &'static Operation) -> Self {
        Self {
            operation,
            parameters: Vec::new(),
            task: None,
            resources: Vec::new(),
            status: None,
            since: None,
            known: Vec::new(),
            drops_ended: false,
            page: 1,
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Parameter) -> Self {
        self.parameters.push((name.into(), value));
        self
    }

    /// The parameters as texts, where `time` says how the vendor writes an instant.
    pub(crate) fn texts(
        &self,
        target: &Target,
        time: fn(Timestamp) -> String,
    ) -> Vec<(&str, String)> {
        let text = |value: &Parameter| match value {
            Parameter::Text(text) => text.clone(),
            Parameter::Integer(number) => number.to_string(),
            Parameter::Integers(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                numbers.join(",")
            }
            Parameter::Texts(texts) => texts.join(","),
            Parameter::Json(value) => value.to_string(),
            Parameter::Time(instant) => time(*instant),
            Parameter::Region => target.region.clone(),
            Parameter::PageNumber => self.page.to_string(),
            Parameter::Offset(rows) => self.offset(*rows).to_string(),
        };
        self.parameters.iter().map(|(name, value)| (&**name, text(value))).collect()
    }

    /// The parameters as the fields of a JSON object, where `time` says how the vendor writes an
    /// instant.
    pub(crate) fn values(
        &self,
        target: &Target,
        time: impl Fn(Timestamp) -> String,
    ) -> Map<String, Value> {
        let json = |value: &Parameter| match value {
            Parameter::Text(text) => json!(text),
            Parameter::Integer(number) => json!(number),
            Parameter::Integers(numbers) => json!(numbers),
            Parameter::Texts(texts) => json!(texts),
            Parameter::Json(value) => value.clone(),
            Parameter::Time(instant) => json!(time(*instant)),
            Parameter::Region => json!(target.region),
            Parameter::PageNumber => json!(self.page),
            Parameter::Offset(rows) => json!(self.offset(*rows)),
        };
        self.parameters.iter().map(|(name, value)| (name.to_string(), json(value))).collect()
    }

    /// How many rows come before the page, of so many rows a page.
    pub(crate) fn offset(&self, rows: u32) -> u64 {
        u64::from(self.page.saturating_sub(1)) * u64::from(rows)
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
