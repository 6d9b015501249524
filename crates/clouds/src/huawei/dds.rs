//! HUAWEI CLOUD Document Database Service (DDS): the list of tasks, and one task by its id.
//!
//! - `GET /v3.1/{project_id}/jobs`, `ListTasks`:
//!   <https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0301.html>, page of 2025-12-02.
//!   At most 100 rows a call, a window of at most 30 days.
//! - `GET /v3/{project_id}/jobs?id=`, `ShowJobDetail`:
//!   <https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0118.html>.
//!
//! Permission: `dds:task:list`; identity policies call it `dds:task:listAll`. No rate limit is
//! published. Tasks of the last month only, Community Edition only. A new task can be seen some
//! seconds after the call that began it.
//!
//! The list covers the project. It is asked for twice: what is running, 30 days back, then
//! everything since the beginning of the poll's window. It cannot filter by instance; foreign rows
//! are dropped here. Open Telekom Cloud has no list (404): there tasks are asked for by id alone.
//!
//! Oddities:
//!
//! - The list names the same fields differently (`created_at`, `instance_id`).
//! - An end time is there while a task is still running, some seconds after its beginning, and
//!   means nothing then.
//! - `progress` is `"9%"` while running and empty otherwise, so also at the end.
//! - `total_count` is documented but not always sent.
//! - Times carry a zone without a colon, `+0000` or another.
//! - A task that is not known is refused with status 400, `DBS.200543`.
//!
//! There is no start time: a task is known by when it was created.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::{huawei, wire};

// An account was seen to be allowed 100 calls a minute of other services; a poll needs few calls,
// and they may come together.
static LIST_TASKS: Operation = Operation {
    name: "ListTasks",
    permission: "dds:task:list",
    per_second: 5,
    call: Call::Get("/v3.1/{project_id}/jobs"),
};

static SHOW_JOB_DETAIL: Operation = Operation {
    name: "ShowJobDetail",
    permission: "dds:task:list",
    per_second: 5,
    call: Call::Get("/v3/{project_id}/jobs"),
};

/// Document Database Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Dds };

const FACTS: Facts = Facts {
    name: "huawei_dds",
    product: "Document Database Service",
    cloud: Cloud::Huawei,
    service: "dds",
    doc: "https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0301.html",
    finds: "the list of the region; ids where there is no list",
    shows: &[Detail::Progress, Detail::Created, Detail::Ended, Detail::Error],
    notes: &[
        "Open Telekom Cloud has no list. A list that has never answered but with 404 is taken not to exist where ids are given, and is asked for again every hour. One that has \
         answered before, an earlier process too, is in trouble.",
    ],
    operations: &[&LIST_TASKS, &SHOW_JOB_DETAIL, &huawei::LIST_PROJECTS],
    statuses: &[
        (RUNNING, TaskState::Running),
        ("Completed", TaskState::Succeeded),
        ("Failed", TaskState::Failed),
    ],
    same_tasks_as: &[],
    list_window: Some(WINDOW),
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `job_id` in the answer to the call that began the task",
        fits: is_job_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: Some(&huawei::PROJECT),
};

const RUNNING: &str = "Running";

/// How far back the list reaches, and the widest span that it takes.
pub const WINDOW: Duration = Duration::from_hours(30 * 24);

/// The most rows that the list gives for one call.
pub const LIMIT: u32 = 100;

static ENDPOINTS: Endpoints = Endpoints {
    origin: "the regions of the official Python package 3.1.219, and Open Telekom Cloud's pages",
    by_region: &[
        (
            &["eu-de", "eu-nl"],
            Addresses { public: "https://dds.{region}.otc.t-systems.com", vpc: None, intl: None },
        ),
        // The European site is a cloud of its own.
        (
            &["eu-west-101"],
            Addresses { public: "https://dds.{region}.myhuaweicloud.eu", vpc: None, intl: None },
        ),
    ],
    others: Addresses { public: "https://dds.{region}.myhuaweicloud.com", vpc: None, intl: None },
    confirmed: &[
        "ae-ad-1",
        "af-north-1",
        "af-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "cn-east-2",
        "cn-east-3",
        "cn-east-4",
        "cn-east-5",
        "cn-north-1",
        "cn-north-2",
        "cn-north-4",
        "cn-north-9",
        "cn-north-11",
        "cn-north-12",
        "cn-south-1",
        "cn-south-2",
        "cn-south-4",
        "cn-southwest-2",
        "cn-southwest-3",
        "eu-west-0",
        "la-north-2",
        "la-south-2",
        "me-east-1",
        "my-kualalumpur-1",
        "na-mexico-1",
        "ru-moscow-1",
        "ru-northwest-2",
        "sa-brazil-1",
        "tr-west-1",
    ],
    // `eu-nl` exists; its host is not on a page that was read. Partners of the vendor run the other
    // two under domains of their own, which the vendor's table does not name.
    disputed: &["eu-nl", "eu-west-0", "ru-moscow-1"],
};

/// The project is listed; Open Telekom Cloud has no list.
#[derive(Debug)]
struct Dds;

impl Client for Dds {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let earliest = scope.until().saturating_sub(WINDOW);
        // The end must be later than the start.
        let latest = scope.now.saturating_sub(Duration::from_secs(1));
        let query = |since| Query {
            resources: scope.resources.to_vec(),
            since: Some(since),
            ..Query::new(&LIST_TASKS)
                .with("start_time", Parameter::Time(since))
                .with("end_time", Parameter::Time(scope.until()))
                .with("limit", Parameter::Integer(LIMIT.into()))
                .with("offset", Parameter::Offset(LIMIT))
        };
        let running = query(earliest).with("status", RUNNING.into());
        vec![running, query(scope.since.max(earliest).min(latest))]
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let query = Query::new(&SHOW_JOB_DETAIL).with("id", (*task.id).into());
        Some(Query { task: Some(task.clone()), ..query })
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
        match &query.task {
            None => {
                let rows = huawei::rows(&document, "/jobs")?;
                page.tasks.extend(
                    rows.iter().filter_map(|row| listed(row, &query.resources, unreadable)),
                );
                page.read_list(query, rows, "id", LIMIT, wire::integer(&document, "total_count"));
            }
            Some(wanted) => {
                let rows = huawei::rows(&document, "/job")?;
                page.tasks.extend(rows.iter().filter_map(|row| single(row, wanted, unreadable)));
            }
        }
        Ok(page)
    }
}

/// Whether a text can be the id of a job. Ids come from outside; the vendor's have neither slashes
/// nor control characters.
fn is_job_id(id: &str) -> bool {
    let is_plain = !id.is_empty() && !id.contains(|c: char| c == '/' || c.is_control());
    is_plain && !is_instance_id(id)
}

/// Whether an id is that of an instance: 32 hexadecimal digits and the suffix of the product.
fn is_instance_id(id: &str) -> bool {
    let digits = id.strip_suffix("in02");
    digits.is_some_and(|it| it.len() == 32 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A row of the list.
fn listed(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Option<Task> {
    let resource = resource(row, "instance_id", "instance_name");
    let watched = resources.is_empty() || resources.iter().any(|known| known.id == resource.id);
    if !watched {
        return None;
    }
    let id = wire::task_id(row, "id", unreadable)?;
    Some(task(id.into(), resource, row, ["created_at", "ended_at"], unreadable))
}

/// The answer about one task. One about another task, or about no task at all, is none.
fn single(row: &Value, wanted: &TaskRef, unreadable: &mut Unreadable) -> Option<Task> {
    let is_other = wire::text(row, "id").is_some_and(|id| *id != *wanted.id)
        || !wire::says_any(row, &["id", "status"]);
    let resource = row.get("instance").map(|instance| resource(instance, "id", "name"));
    let resource = resource.unwrap_or_default();
    let id = Arc::clone(&wanted.id);
    (!is_other).then(|| task(id, resource, row, ["created", "ended"], unreadable))
}

fn resource(row: &Value, id: &str, name: &str) -> Resource {
    Resource {
        id: wire::text(row, id).unwrap_or_default().into(),
        name: wire::text(row, name).map(Into::into),
    }
}

fn task(
    id: Arc<str>,
    resource: Resource,
    row: &Value,
    [created, ended]: [&str; 2],
    unreadable: &mut Unreadable,
) -> Task {
    let (state, vendor_status) = wire::status(&FACTS, row, "status", unreadable);
    let ended = wire::time(row, ended, Offset::UTC, unreadable);
    let reason = wire::text(row, "fail_reason").filter(|_| state == TaskState::Failed);
    Task {
        kind: wire::text(row, "name").unwrap_or_default().into(),
        resource: Arc::new(resource),
        progress: wire::percent(row, "progress", unreadable),
        created: wire::time(row, created, Offset::UTC, unreadable),
        ended: ended.filter(|_| state.is_final()),
        error: reason
            .map(|reason| Box::new(TaskError { code: Box::default(), message: reason.into() })),
        ..Task::new(id, state, vendor_status)
    }
}
