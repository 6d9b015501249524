//! The lists of jobs of HUAWEI CLOUD's databases: one family, a row for each product.
//!
//! | product | list | one task | reference |
//! | --- | --- | --- | --- |
//! | [`DDS`] | `GET /v3.1/{project_id}/jobs` | `GET /v3/{project_id}/jobs?id=` | <https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0301.html> |
//! | [`RDS`] | `GET /v3/{project_id}/tasklist` | the list with `id` | <https://support.huaweicloud.com/intl/en-us/api-rds/rds_06_0138.html> |
//! | [`TAURUSDB`] | `GET /v3/{project_id}/immediate-jobs` | `GET /v3/{project_id}/jobs?id=` | <https://support.huaweicloud.com/intl/en-us/api-taurusdb/ListImmediateJobs.html> |
//! | [`GEMINIDB`] | `GET /v3/{project_id}/jobs` | the list with `id` | <https://support.huaweicloud.com/intl/en-us/api-nosql/nosql_10_0100.html> |
//! | [`GAUSSDB`] | `GET /v3/{project_id}/tasks` | `GET /v3/{project_id}/jobs?id=` | <https://support.huaweicloud.com/intl/en-us/api-gaussdb/gaussdb_api_130.html> |
//! | [`DDM`] | `GET /v3/{project_id}/jobs` | `GET /v3/{project_id}/jobs/{job_id}` | <https://support.huaweicloud.com/intl/en-us/api-ddm/en-us_topic_0000002113619085.html> |
//!
//! - Read 2026-11-30; field types from the official clients for Python (3.1.219) and Go (0.1.207).
//! - Permissions stand with the operations. Identity policies say `listAll` for `list` in DDS and RDS.
//!   Those of `GaussDB` and DDM are on no page that was read, and are inferred.
//! - No rate limit is published. Tasks of the last month only.
//!
//! A list covers the project. It is asked for what is running, then for everything since the beginning of
//! the poll's window; DDM cannot filter by status and is asked for its 30 days. None can filter by several
//! instances: foreign rows are dropped here. Open Telekom Cloud has no list of DDS and of `TaurusDB` (404):
//! there tasks are asked for by id alone.
//!
//! What is hard, and holds for all:
//!
//! - An end time on an unfinished task is a plan, or some seconds after the beginning: it is no end.
//! - A reason on a task that did not fail is no error.
//! - The progress is `"9%"`, `"60% "`, `"37"` or a number, and empty once a task has ended.
//! - Times carry a zone, not always the same within a row, or are Unix milliseconds, as a number or a text.
//! - A number may stand where a text is declared, and the other way round.
//! - The total is not always sent.
//! - A code beside a list without rows is a refusal, whatever the status of the answer.
//!
//! There is no start time: a task is known by when it was created.
//!
//! `TaurusDB`'s `offset` counts records or pages, from 0 or 1: the vendor's texts and clients disagree. So no
//! second page is asked for: a full page makes two queries of half the window each. An offset of 0 that is
//! refused is replaced by 1.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Rows, Scope,
    Target, TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::huawei::{self, hosts};
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::refusal::{Refusal, RefusalKind};
use crate::wire;

/// Document Database Service. Community Edition only. A new task can be seen some seconds after the call
/// that began it.
pub static DDS: TaskApi = DDS_JOBS.api();

static DDS_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_dds",
        product: "Document Database Service",
        service: "dds",
        doc: "https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0301.html",
        finds: "the list of the region; ids where there is no list",
        notes: &[NO_LIST_AT_OTC],
        operations: &[&DDS_LIST, &DDS_ONE, &huawei::LIST_PROJECTS],
        statuses: &[RUNNING, COMPLETED, FAILED],
        list_window: Some(WINDOW),
        endpoints: &hosts::DDS,
        ..FAMILY
    },
    list: &DDS_LIST,
    running: Running::InWindow,
    rows: Fields { rows: "/jobs", created: "created_at", ended: "ended_at", ..FIELDS },
    one: One::Object {
        operation: &DDS_ONE,
        fields: Fields { rows: "/job", created: "created", ended: "ended", ..INSIDE },
    },
    ..JOBS
};

static DDS_LIST: Operation =
    operation("ListTasks", "dds:task:list", Call::Get("/v3.1/{project_id}/jobs"));
static DDS_ONE: Operation =
    operation("ShowJobDetail", "dds:task:list", Call::Get("/v3/{project_id}/jobs"));

/// RDS. Its end times are plans while a task is running, so that a list is asked for what ends ahead.
pub static RDS: TaskApi = RDS_JOBS.api();

static RDS_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_rds",
        product: "Relational Database Service",
        service: "rds",
        doc: "https://support.huaweicloud.com/intl/en-us/api-rds/rds_06_0138.html",
        operations: &[&RDS_LIST, &huawei::LIST_PROJECTS],
        // An id is sought in the same list, which shows the tasks of a month.
        forgets: true,
        endpoints: &hosts::RDS,
        ..FAMILY
    },
    list: &RDS_LIST,
    notation: Notation::Milliseconds,
    ahead: WINDOW,
    limit: 50,
    rows: Fields { rows: "/tasks", progress: "process", created: "create_time", ..FIELDS },
    one: One::Listed { filter: "id" },
    ..JOBS
};

static RDS_LIST: Operation =
    operation("ListTasks", "rds:task:list", Call::Get("/v3/{project_id}/tasklist"));

/// `TaurusDB`. Of the databases it alone says that a task waits, or was withdrawn.
pub static TAURUSDB: TaskApi = TAURUSDB_JOBS.api();

static TAURUSDB_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_taurusdb",
        product: "TaurusDB",
        service: "gaussdb",
        doc: "https://support.huaweicloud.com/intl/en-us/api-taurusdb/ListImmediateJobs.html",
        finds: "the list of the region; ids where there is no list",
        notes: &[
            NO_LIST_AT_OTC,
            "No second page is asked for, since the meaning of `offset` is not settled: a full page of 50 rows is followed by the two halves of its window. Of more than 50 running tasks the rest is \
             seen only once it was created within the window of a poll.",
            "A task that waits is found if it was created within the window of a poll.",
        ],
        operations: &[&TAURUSDB_LIST, &TAURUSDB_ONE, &huawei::LIST_PROJECTS],
        endpoints: &hosts::TAURUSDB,
        ..FAMILY
    },
    list: &TAURUSDB_LIST,
    limit: 50,
    pages: Pages::Halves,
    speaks: true,
    one_speaks: true,
    rows: Fields {
        rows: "/jobs",
        id: "job_id",
        kind: "job_name",
        progress: "process",
        created: "created_time",
        ended: "ended_time",
        ..FIELDS
    },
    one: One::Object {
        operation: &TAURUSDB_ONE,
        fields: Fields {
            rows: "/job",
            progress: "process",
            created: "created",
            ended: "ended",
            ..INSIDE
        },
    },
    ..JOBS
};

static TAURUSDB_LIST: Operation = operation(
    "ListImmediateJobs",
    "gaussdb:instance:list",
    Call::Get("/v3/{project_id}/immediate-jobs"),
);
static TAURUSDB_ONE: Operation =
    operation("ShowGaussMySqlJobInfo", "gaussdb:instance:list", Call::Get("/v3/{project_id}/jobs"));

/// `GeminiDB`. A task that is not known is an answer without rows.
pub static GEMINIDB: TaskApi = GEMINIDB_JOBS.api();

static GEMINIDB_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_geminidb",
        product: "GeminiDB",
        service: "gaussdb-nosql",
        doc: "https://support.huaweicloud.com/intl/en-us/api-nosql/nosql_10_0100.html",
        notes: &["Its host at Open Telekom Cloud is inferred from the service's name."],
        operations: &[&GEMINIDB_LIST, &huawei::LIST_PROJECTS],
        list_window: Some(WINDOW),
        // An id is sought in the same list, whose window ends there too.
        forgets: true,
        endpoints: &hosts::GEMINIDB,
        ..FAMILY
    },
    list: &GEMINIDB_LIST,
    limit: 50,
    rows: Fields { rows: "/jobs", created: "start_time", ..INSIDE },
    one: One::Listed { filter: "id" },
    ..JOBS
};

static GEMINIDB_LIST: Operation =
    operation("ListJobs", "nosql:task:list", Call::Get("/v3/{project_id}/jobs"));

/// `GaussDB`.
pub static GAUSSDB: TaskApi = GAUSSDB_JOBS.api();

static GAUSSDB_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_gaussdb",
        product: "GaussDB",
        service: "gaussdb-opengauss",
        doc: "https://support.huaweicloud.com/intl/en-us/api-gaussdb/gaussdb_api_130.html",
        notes: &["The permission is on no page of the vendor's that was read. It is inferred."],
        operations: &[&GAUSSDB_LIST, &GAUSSDB_ONE, &huawei::LIST_PROJECTS],
        list_window: Some(WINDOW),
        endpoints: &hosts::GAUSSDB,
        ..FAMILY
    },
    list: &GAUSSDB_LIST,
    notation: Notation::Milliseconds,
    speaks: true,
    rows: Fields {
        rows: "/tasks",
        id: "job_id",
        instance_id: "instance_info.instance_id",
        instance_name: "instance_info.instance_name",
        progress: "process",
        created: "created_at",
        ended: "ended_at",
        ..FIELDS
    },
    one: One::Object {
        operation: &GAUSSDB_ONE,
        fields: Fields { rows: "/job", created: "created", ended: "ended", ..INSIDE },
    },
    ..JOBS
};

static GAUSSDB_LIST: Operation =
    operation("ListTasks", "gaussdb:task:list", Call::Get("/v3/{project_id}/tasks"));
static GAUSSDB_ONE: Operation =
    operation("ShowJobDetail", "gaussdb:task:list", Call::Get("/v3/{project_id}/jobs"));

/// Distributed Database Middleware. `ToBeSwitched` waits for a person. The answer about one task has no
/// reason.
pub static DDM: TaskApi = DDM_JOBS.api();

static DDM_JOBS: Jobs = Jobs {
    facts: Facts {
        name: "huawei_ddm",
        product: "Distributed Database Middleware",
        service: "ddm",
        doc: "https://support.huaweicloud.com/intl/en-us/api-ddm/en-us_topic_0000002113619085.html",
        notes: &[
            "The permission is on no page of the vendor's that was read. It is inferred.",
            "The list cannot be filtered by status: each poll reads 30 days, 128 rows a call. A task that is found by its id alone has no error text.",
        ],
        operations: &[&DDM_LIST, &DDM_ONE, &huawei::LIST_PROJECTS],
        statuses: &[
            RUNNING,
            ("Expanding", TaskState::Running),
            ("Switching", TaskState::Running),
            ("Canceling", TaskState::Running),
            ("Rollbacking", TaskState::Running),
            ("ToBeSwitched", TaskState::Paused),
            COMPLETED,
            FAILED,
            ("CancelSuccess", TaskState::Canceled),
            // Undone: no change remains.
            ("RollbackSuccess", TaskState::Canceled),
        ],
        list_window: Some(WINDOW),
        endpoints: &hosts::DDM,
        ..FAMILY
    },
    list: &DDM_LIST,
    notation: Notation::Milliseconds,
    running: Running::Never,
    limit: 128,
    total: "total",
    rows: Fields { rows: "/jobs", progress: "process", created: "created_time", ..FIELDS },
    one: One::Path {
        operation: &DDM_ONE,
        fields: Fields { rows: "/job", progress: "process", created: "created_time", ..INSIDE },
    },
    ..JOBS
};

static DDM_LIST: Operation =
    operation("ListTasks", "ddm:instance:list", Call::Get("/v3/{project_id}/jobs"));
static DDM_ONE: Operation =
    operation("ShowDdmJobResult", "ddm:instance:list", Call::Get("/v3/{project_id}/jobs/{job_id}"));

const NO_LIST_AT_OTC: &str = "Open Telekom Cloud has no list. A list that has never answered but with 404 is taken not to exist where ids are given, and is asked for again every hour. One that has \
     answered before, an earlier process too, is in trouble.";

const RUNNING: (&str, TaskState) = ("Running", TaskState::Running);
const COMPLETED: (&str, TaskState) = ("Completed", TaskState::Succeeded);
const FAILED: (&str, TaskState) = ("Failed", TaskState::Failed);

/// What all products share; a product adds its names, its operations and its hosts.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Huawei,
    service: "",
    doc: "",
    finds: "the list of the region",
    shows: &[Detail::Progress, Detail::Created, Detail::Ended, Detail::Error],
    notes: &[],
    operations: &[],
    statuses: &[
        ("Pending", TaskState::Pending),
        // Waits for the owner to authorise it.
        ("Unauthorized", TaskState::Pending),
        RUNNING,
        COMPLETED,
        // In some of the vendor's examples.
        ("Complete", TaskState::Succeeded),
        FAILED,
        ("Canceled", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `job_id` in the answer to the call that began the task",
        fits: is_job_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &hosts::DDS,
    project: Some(&huawei::PROJECT),
};

const JOBS: Jobs = Jobs {
    facts: FAMILY,
    list: &DDS_LIST,
    notation: Notation::Zone,
    running: Running::OfAllTime,
    ahead: Duration::ZERO,
    limit: 100,
    total: "total_count",
    pages: Pages::Offset,
    speaks: false,
    one_speaks: false,
    rows: FIELDS,
    one: One::Listed { filter: "id" },
};

/// The names that most lists use.
const FIELDS: Fields = Fields {
    rows: "",
    id: "id",
    kind: "name",
    instance_id: "instance_id",
    instance_name: "instance_name",
    status: "status",
    progress: "progress",
    created: "",
    ended: "end_time",
};

/// The same where the instance is an object.
const INSIDE: Fields =
    Fields { instance_id: "instance.id", instance_name: "instance.name", ..FIELDS };

/// How far back the lists reach, and the widest span that they take.
pub const WINDOW: Duration = Duration::from_hours(30 * 24);

/// How far back they are asked: the vendor measures from when it reads the request, by its own clock.
const REACH: Duration = Duration::from_mins(30 * 24 * 60 - 1);

// An account was seen to be allowed 100 calls a minute of other services; a poll needs few calls,
// and they may come together.
const fn operation(name: &'static str, permission: &'static str, call: Call) -> Operation {
    Operation { name, permission, per_second: 5, call }
}

/// A product's jobs: the project is listed, and a task is asked for by its id.
#[derive(Debug)]
struct Jobs {
    facts: Facts,
    list: &'static Operation,
    /// How the list wants its window.
    notation: Notation,
    running: Running,
    /// How far after the poll the window ends, besides what differing clocks need.
    ahead: Duration,
    /// The most rows that it gives for one call.
    limit: u32,
    /// The field that counts the rows on all pages.
    total: &'static str,
    pages: Pages,
    /// Whether it takes the language of its texts.
    speaks: bool,
    /// Whether the question for one task does.
    one_speaks: bool,
    rows: Fields,
    one: One,
}

/// How an instant is written in a query.
#[derive(Clone, Copy, Debug)]
enum Notation {
    /// `2021-07-13T07:28:43+0000`.
    Zone,
    /// Unix milliseconds.
    Milliseconds,
}

/// How a list is asked for what is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    /// Without a window.
    OfAllTime,
    /// It wants a window even then.
    InWindow,
    /// It cannot be.
    Never,
}

/// How a list goes on after a full page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// With the rows after so many.
    Offset,
    /// With the two halves of its window.
    Halves,
}

/// How one task is asked for.
#[derive(Clone, Copy, Debug)]
enum One {
    /// The list takes its id.
    Listed { filter: &'static str },
    /// By the parameter `id`.
    Object { operation: &'static Operation, fields: Fields },
    /// By the `job_id` in the path.
    Path { operation: &'static Operation, fields: Fields },
}

/// The names of the fields of a row. A point leads into an object.
#[derive(Clone, Copy, Debug)]
struct Fields {
    /// Where the rows are, as a JSON pointer.
    rows: &'static str,
    id: &'static str,
    kind: &'static str,
    instance_id: &'static str,
    instance_name: &'static str,
    status: &'static str,
    progress: &'static str,
    created: &'static str,
    ended: &'static str,
}

impl Jobs {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    fn time(&self, time: Timestamp) -> Parameter {
        match self.notation {
            Notation::Zone => Parameter::Time(time),
            Notation::Milliseconds => Parameter::Text(huawei::milliseconds(time)),
        }
    }

    /// The first page of the list.
    fn page(&self) -> Query {
        let query = huawei::in_english(Query::new(self.list), self.speaks)
            .with("limit", Parameter::Integer(self.limit.into()));
        match self.pages {
            Pages::Offset => query.with("offset", Parameter::Offset(self.limit)),
            Pages::Halves => query.with("offset", Parameter::Integer(0)),
        }
    }

    fn window(&self, query: Query, since: Timestamp, until: Timestamp) -> Query {
        query.with("start_time", self.time(since)).with("end_time", self.time(until))
    }

    fn task(
        &self,
        id: Arc<str>,
        resource: Resource,
        row: &Value,
        fields: &Fields,
        unreadable: &mut Unreadable,
    ) -> Task {
        let (state, word) = wire::status(&self.facts, row, fields.status, unreadable);
        let ended = wire::time(row, fields.ended, Offset::UTC, unreadable);
        let reason = wire::text(row, "fail_reason").filter(|_| state == TaskState::Failed);
        let error = |message: &str| TaskError { code: Box::default(), message: message.into() };
        Task {
            kind: wire::text(row, fields.kind).unwrap_or_default().into(),
            resource: Arc::new(resource),
            progress: wire::percent(row, fields.progress, unreadable),
            created: wire::time(row, fields.created, Offset::UTC, unreadable),
            ended: ended.filter(|_| state.is_final()),
            error: reason.map(|reason| Box::new(error(&reason))),
            ..Task::new(id, state, word)
        }
    }

    /// A row of the list, if it is about one of the `resources`, or these are none.
    fn listed(
        &self,
        row: &Value,
        resources: &[Arc<Resource>],
        unreadable: &mut Unreadable,
    ) -> Option<Task> {
        let resource = instance(row, &self.rows);
        if !huawei::is_watched(resources, &resource) {
            return None;
        }
        let id = wire::task_id(row, self.rows.id, unreadable)?;
        Some(self.task(id.into(), resource, row, &self.rows, unreadable))
    }

    /// The answer about one task. One about another task, or about no task at all, is none.
    fn single(
        &self,
        row: &Value,
        fields: &Fields,
        wanted: &TaskRef,
        unreadable: &mut Unreadable,
    ) -> Option<Task> {
        let is_other = wire::text(row, fields.id).is_some_and(|id| *id != *wanted.id)
            || !wire::says_any(row, &[fields.id, fields.status]);
        let id = Arc::clone(&wanted.id);
        (!is_other).then(|| self.task(id, instance(row, fields), row, fields, unreadable))
    }

    /// A page of the list, and what is asked next.
    fn read_list(&self, page: &mut Page, query: &Query, rows: &[Value], total: Option<i64>) {
        page.read_list(query, rows, self.rows.id, self.limit, total);
        if self.pages == Pages::Offset {
            return;
        }
        page.next.clear();
        if rows.len() >= self.limit as usize {
            match halves(query).filter(|_| rows.iter().all(|row| self.is_within(row, query))) {
                Some(halves) => page.next.extend(halves),
                None => page.incomplete = true,
            }
            // Each half counts its own rows.
            page.rows = Rows { total: None, ..std::mem::take(&mut page.rows) };
        }
    }

    /// Whether a row may be in the window of a query. Which of its times the vendor goes by is not
    /// documented. Where neither is in it, the window is ignored, and halving it leads nowhere.
    fn is_within(&self, row: &Value, query: &Query) -> bool {
        let Some((since, until)) = window(query) else { return true };
        let times = [self.rows.created, self.rows.ended]
            .map(|field| wire::time(row, field, Offset::UTC, &mut Unreadable::default()));
        let mut known = times.into_iter().flatten().peekable();
        known.peek().is_none() || known.any(|time| (since..=until).contains(&time))
    }
}

impl Client for Jobs {
    /// Unfinished tasks first, so that the sighting of an end wins.
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let until = scope.until();
        let oldest = if self.running == Running::InWindow {
            until.saturating_sub(WINDOW)
        } else {
            scope.now.saturating_sub(REACH)
        };
        // The end must be later than the start.
        let latest = scope.now.saturating_sub(Duration::from_secs(1));
        let since = scope.since.max(oldest).min(latest);
        let since = if self.running == Running::Never { oldest } else { since };
        let recent = self.window(self.page(), since, until + self.ahead);
        let mut queries = vec![Query { since: Some(since), ..recent }];
        if self.running != Running::Never {
            let mut running = self.page().with("status", RUNNING.0.into());
            if self.running == Running::InWindow {
                running = Query { since: Some(oldest), ..self.window(running, oldest, until) };
            }
            queries.insert(0, running);
        }
        let resources = scope.resources;
        queries.into_iter().map(|query| Query { resources: resources.to_vec(), ..query }).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let id = || Parameter::from(&*task.id);
        let query = match self.one {
            One::Listed { filter } => self.page().with(filter, id()),
            One::Object { operation, .. } => {
                huawei::in_english(Query::new(operation), self.one_speaks).with("id", id())
            }
            One::Path { operation, .. } => Query::new(operation).with("job_id", id()),
        };
        Some(Query { task: Some(task.clone()), ..query })
    }

    fn instead(&self, query: &Query, refusal: &Refusal) -> Option<Query> {
        let is_first = query
            .parameters
            .iter()
            .any(|(name, value)| name == "offset" && *value == Parameter::Integer(0));
        if refusal.kind != RefusalKind::Client || !is_first {
            return None;
        }
        let mut query = query.clone();
        for (_, value) in query.parameters.iter_mut().filter(|(name, _)| name == "offset") {
            *value = Parameter::Integer(1);
        }
        Some(query)
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        let unreadable = &mut page.unreadable;
        let fields = match self.one {
            One::Object { fields, .. } | One::Path { fields, .. } if query.task.is_some() => fields,
            One::Object { .. } | One::Path { .. } | One::Listed { .. } => self.rows,
        };
        let rows = huawei::rows(&document, fields.rows)?;
        if let Some(wanted) = &query.task {
            page.tasks = rows
                .iter()
                .filter(|row| {
                    rows.len() == 1 || wire::text(row, fields.id).as_deref() == Some(&*wanted.id)
                })
                .filter_map(|row| self.single(row, &fields, wanted, unreadable))
                .take(1)
                .collect();
        } else {
            page.tasks = rows
                .iter()
                .filter_map(|row| self.listed(row, &query.resources, unreadable))
                .collect();
            self.read_list(&mut page, query, rows, wire::integer(&document, self.total));
        }
        Ok(page)
    }
}

/// The two halves of the window of a query; `None` where it has none, or one too narrow to be halved.
fn halves(query: &Query) -> Option<[Query; 2]> {
    let (since, until) = window(query)?;
    let half = Duration::from_secs(until.since(since).as_secs() / 2);
    if half.is_zero() {
        return None;
    }
    // What is at the border is in both, and counts once by its id.
    let middle = since + half;
    let of = |since, until| {
        let mut part = query.clone();
        part.parameters.retain(|(name, _)| name != "start_time" && name != "end_time");
        part.with("start_time", Parameter::Time(since)).with("end_time", Parameter::Time(until))
    };
    Some([of(since, middle), of(middle, until)])
}

/// Begin and end of the window of a query.
fn window(query: &Query) -> Option<(Timestamp, Timestamp)> {
    let time = |wanted: &str| {
        let mut named = query.parameters.iter().filter(|(name, _)| name == wanted);
        let Some((_, Parameter::Time(time))) = named.next() else { return None };
        Some(*time)
    };
    time("start_time").zip(time("end_time"))
}

fn instance(row: &Value, fields: &Fields) -> Resource {
    Resource {
        id: inner(row, fields.instance_id).unwrap_or_default().into(),
        name: inner(row, fields.instance_name).map(Into::into),
    }
}

/// The text of a field, or of one in an object.
fn inner(row: &Value, field: &str) -> Option<String> {
    let text = match field.split_once('.') {
        Some((object, field)) => wire::text(row.get(object)?, field),
        None => wire::text(row, field),
    };
    text.map(std::borrow::Cow::into_owned)
}

/// Whether a text can be the id of a job. Ids come from outside; the vendor's have neither slashes
/// nor control characters.
pub(super) fn is_job_id(id: &str) -> bool {
    let is_plain = !id.is_empty() && !id.contains(|c: char| c == '/' || c.is_control());
    is_plain && !is_instance_id(id)
}

/// Whether an id is that of an instance: 32 hexadecimal digits and the suffix of the product, `in02`.
fn is_instance_id(id: &str) -> bool {
    let (digits, suffix) = id.split_at_checked(32).unwrap_or_default();
    let product = suffix.strip_prefix("in").filter(|product| product.len() == 2);
    product.is_some_and(|product| {
        digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            && product.bytes().all(|byte| byte.is_ascii_digit())
    })
}
