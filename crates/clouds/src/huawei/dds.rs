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

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{
    Filter, Operation, Page, Query, Scope, Subject, Target, TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::huawei::signature::get;
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::wire;

// An account was seen to be allowed 100 calls a minute of other services; a poll needs few calls,
// and they may come together.
static LIST_TASKS: Operation =
    Operation { name: "ListTasks", permission: "dds:task:list", per_second: 5 };

static SHOW_JOB_DETAIL: Operation =
    Operation { name: "ShowJobDetail", permission: "dds:task:list", per_second: 5 };

/// Where IAM is asked for the project of the region, if the configuration does not name it.
static LIST_PROJECTS: Operation = Operation {
    name: "KeystoneListProjects",
    permission: "iam:projects:listProjects",
    per_second: 1,
};

/// Document Database Service.
pub static API: TaskApi = TaskApi {
    name: "huawei_dds",
    product: "Document Database Service",
    cloud: Cloud::Huawei,
    service: "dds",
    doc: "https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0301.html",
    operations: &[&LIST_TASKS, &SHOW_JOB_DETAIL, &LIST_PROJECTS],
    statuses: &[
        (RUNNING, TaskState::Running),
        ("Completed", TaskState::Succeeded),
        ("Failed", TaskState::Failed),
    ],
    list_window: Some(WINDOW),
    task_id: "the `job_id` in the answer to the call that began the task",
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: Some(|| Query::new(&LIST_PROJECTS, Subject::Project)),
    discover: None,
    list,
    by_id,
    request,
    decode,
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

fn list(scope: &Scope<'_>) -> Vec<Query> {
    let earliest = scope.until().saturating_sub(WINDOW);
    // The end must be later than the start.
    let latest = scope.now.saturating_sub(Duration::from_secs(1));
    let query = |status, since| {
        let resources = scope.resources.to_vec();
        let filter = Filter {
            resources,
            status,
            since: Some(since),
            until: Some(scope.until()),
            ..Filter::default()
        };
        Query::new(&LIST_TASKS, Subject::Tasks(filter))
    };
    vec![query(Some(RUNNING), earliest), query(None, scope.since.max(earliest).min(latest))]
}

fn by_id(task: &TaskRef) -> Option<Query> {
    // Ids come from outside; the vendor's have neither.
    let is_plain = !task.id.is_empty() && !task.id.contains(|c: char| c == '/' || c.is_control());
    (is_plain && !is_instance_id(&task.id))
        .then(|| Query::new(&SHOW_JOB_DETAIL, Subject::Task(task.clone())))
}

/// Whether an id is that of an instance: 32 hexadecimal digits and the suffix of the product.
fn is_instance_id(id: &str) -> bool {
    let digits = id.strip_suffix("in02");
    digits.is_some_and(|it| it.len() == 32 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let mut parameters: Vec<(&str, String)> = Vec::new();
    let project_id = &target.project_id;
    let path = match &query.subject {
        Subject::Project => {
            let endpoint = target.endpoint.replacen("://dds.", "://iam.", 1);
            return get(&endpoint, "", "/v3/projects", &[("name", target.region.clone())]);
        }
        Subject::Task(task) => {
            parameters.push(("id", task.id.to_string()));
            format!("/v3/{project_id}/jobs")
        }
        Subject::Tasks(filter) => {
            parameters.extend(filter.since.map(|time| ("start_time", time_text(time))));
            parameters.extend(filter.until.map(|time| ("end_time", time_text(time))));
            parameters.extend(filter.status.map(|status| ("status", status.to_owned())));
            let page = query.page.saturating_sub(1);
            parameters.push(("limit", LIMIT.to_string()));
            parameters.push(("offset", page.saturating_mul(LIMIT).to_string()));
            format!("/v3.1/{project_id}/jobs")
        }
        Subject::Resources { .. } => format!("/v3/{project_id}/instances"),
    };
    get(&target.endpoint, project_id, &path, &parameters)
}

/// A time as parameters and answers write it: `2021-07-13T07:28:43+0000`.
pub fn time_text(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time.to_jiff()).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

fn decode(
    _target: &Target,
    query: &Query,
    response: &Response<Bytes>,
) -> Result<Page, DecodeError> {
    let document = wire::document(response.body())?;
    let mut page = Page::default();
    let unreadable = &mut page.unreadable;
    match &query.subject {
        Subject::Tasks(filter) => {
            let rows = wire::rows(&document, "/jobs")?;
            page.tasks.extend(rows.iter().filter_map(|row| listed(row, filter, unreadable)));
            page.read_list(query, rows, "id", LIMIT, wire::integer(&document, "total_count"));
        }
        Subject::Task(wanted) => {
            let rows = wire::rows(&document, "/job")?;
            page.tasks.extend(rows.iter().filter_map(|row| single(row, wanted, unreadable)));
        }
        Subject::Project => {
            // A region has one project of its own name; its sub-projects have longer ones.
            let rows = wire::rows(&document, "/projects")?;
            page.project_id = match rows {
                [only] => wire::text(only, "id").map(Cow::into_owned),
                _ => None,
            };
        }
        Subject::Resources { .. } => {}
    }
    Ok(page)
}

/// A row of the list.
fn listed(row: &Value, filter: &Filter, unreadable: &mut Unreadable) -> Option<Task> {
    let resource = resource(row, "instance_id", "instance_name");
    let watched =
        filter.resources.is_empty() || filter.resources.iter().any(|known| known.id == resource.id);
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
    let (state, vendor_status) = wire::status(&API, row, "status", unreadable);
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
