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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::api::{
    Filter, Operation, Page, Query, Scope, Subject, Target, TaskApi, TaskRef, Unreadable, World,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::huawei::signature::get;
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::signing::query;
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

pub(crate) static API: TaskApi = TaskApi {
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
    answer,
};

const RUNNING: &str = "Running";

/// How far back the list reaches, and the widest span that it takes.
const WINDOW: Duration = Duration::from_hours(30 * 24);

/// The most rows that the list gives for one call.
const LIMIT: u32 = 100;

/// The regions of Open Telekom Cloud, which runs the same service under its own name.
fn is_otc(region: &str) -> bool {
    matches!(region, "eu-de" | "eu-nl")
}

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
fn time_text(time: Timestamp) -> String {
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

/// The answer about one task. One about another task is none.
fn single(row: &Value, wanted: &TaskRef, unreadable: &mut Unreadable) -> Option<Task> {
    let is_other = wire::text(row, "id").is_some_and(|id| *id != *wanted.id);
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

fn answer(request: &Request<Bytes>, world: &World<'_>) -> Option<Response<Bytes>> {
    if request.method() != Method::GET {
        return None;
    }
    let path: Vec<&str> = request.uri().path().trim_end_matches('/').split('/').skip(1).collect();
    let parameters = query::parameters(request);
    let answer = match *path {
        ["v3", "projects"] => Ok(projects_answer(request, &parameters, world)),
        ["v3" | "v3.1", project, "jobs"] | ["v3", project, "instances"]
            if project != world.target.project_id =>
        {
            Err(Fault(StatusCode::FORBIDDEN, "APIGW.0310", "The project is unavailable."))
        }
        ["v3.1", _, "jobs"] => list_answer(&parameters, world),
        ["v3", _, "jobs"] => job_answer(&parameters, world),
        ["v3", _, "instances"] => instances_answer(&parameters, world),
        _ => return None,
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(Fault(status, code, message)) => {
            (status, json!({ "error_code": code, "error_msg": message }))
        }
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    Some(response)
}

/// A refusal by the simulated cloud.
struct Fault(StatusCode, &'static str, &'static str);

impl Fault {
    fn parameter() -> Self {
        Self(StatusCode::BAD_REQUEST, "DBS.280001", "Parameter error.")
    }
}

type Parameters = BTreeMap<String, String>;

fn list_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    if is_otc(&world.target.region) {
        let message = "The API does not exist or has not been published in the environment.";
        return Err(Fault(StatusCode::NOT_FOUND, "APIG.0101", message));
    }
    let [begin, end] = ["start_time", "end_time"].map(|name| time_parameter(parameters, name));
    let (begin, end) = (begin?, end?);
    if end <= begin || end.since(begin) > WINDOW {
        return Err(Fault(StatusCode::BAD_REQUEST, "DBS.280068", "The end time is invalid."));
    }
    let status = parameters.get("status");
    if status.is_some_and(|status| API.state(status) == TaskState::Unknown) {
        return Err(Fault::parameter());
    }
    let (offset, limit) = paging(parameters)?;
    let begin = begin.max(world.now.saturating_sub(WINDOW));
    let is = |name: &str, value: &str| parameters.get(name).is_none_or(|wanted| wanted == value);
    let jobs: Vec<Value> = world
        .tasks
        .iter()
        .filter(|task| is("status", &task.vendor_status))
        .filter(|task| is("id", &task.id))
        .filter(|task| is("name", &task.kind))
        .filter(|task| task.created.is_none_or(|created| (begin..=end).contains(&created)))
        .skip(offset)
        .take(limit)
        .map(|task| {
            json!({
                "id": *task.id,
                "name": *task.kind,
                "instance_id": task.resource.id,
                "instance_name": task.resource.name,
                "status": *task.vendor_status,
                "progress": progress_text(task),
                "fail_reason": task.error.as_ref().map_or("", |error| &error.message),
                "created_at": created_text(task),
                "ended_at": ended_text(task),
            })
        })
        .collect();
    Ok(json!({ "jobs": jobs }))
}

fn time_parameter(parameters: &Parameters, name: &str) -> Result<Timestamp, Fault> {
    let text = parameters.get(name).ok_or_else(Fault::parameter)?;
    let invalid = if name == "start_time" {
        Fault(StatusCode::BAD_REQUEST, "DBS.280067", "The start time is invalid.")
    } else {
        Fault(StatusCode::BAD_REQUEST, "DBS.280068", "The end time is invalid.")
    };
    wire::time(&json!({ "time": text }), "time", Offset::UTC, &mut Unreadable::default())
        .ok_or(invalid)
}

fn paging(parameters: &Parameters) -> Result<(usize, usize), Fault> {
    const LIMIT: usize = self::LIMIT as usize;
    let number =
        |name: &str, default: usize| parameters.get(name).map_or(Ok(default), |text| text.parse());
    match (number("offset", 0), number("limit", LIMIT)) {
        (Ok(offset), Ok(limit @ 1..=LIMIT)) => Ok((offset, limit)),
        _ => Err(Fault::parameter()),
    }
}

fn job_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    let id = parameters.get("id").ok_or_else(Fault::parameter)?;
    let found = world.tasks.iter().find(|task| *task.id == **id);
    let task =
        found.ok_or(Fault(StatusCode::BAD_REQUEST, "DBS.200543", "The job does not exist."))?;
    Ok(json!({
        "job": {
            "id": *task.id,
            "name": *task.kind,
            "status": *task.vendor_status,
            "created": created_text(task),
            "ended": ended_text(task),
            "progress": progress_text(task),
            "instance": { "id": task.resource.id, "name": task.resource.name },
            "fail_reason": task.error.as_ref().map(|error| &error.message),
        },
    }))
}

fn created_text(task: &Task) -> String {
    task.created.map(time_text).unwrap_or_default()
}

/// When the task ended; of one that goes on, some meaningless time after its beginning.
fn ended_text(task: &Task) -> String {
    let ended = if task.state.is_final() {
        task.ended
    } else {
        task.created.map(|created| created + Duration::from_secs(10))
    };
    ended.map(time_text).unwrap_or_default()
}

fn progress_text(task: &Task) -> String {
    let progress = task.progress.filter(|_| task.state == TaskState::Running);
    progress.map(|ratio| format!("{:.0}%", ratio.get() * 100.0)).unwrap_or_default()
}

fn instances_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    let (offset, limit) = paging(parameters)?;
    let name_matches = |name: &str| match parameters.get("name").map(String::as_str) {
        None => true,
        Some(wanted) => match wanted.strip_prefix('*') {
            Some(part) => name.contains(part),
            None => name == wanted,
        },
    };
    if parameters.get("name").is_some_and(|name| name == "*") {
        return Err(Fault::parameter());
    }
    // What a simulated instance has no value for filters nothing.
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| parameters.get("id").is_none_or(|id| **id == *resource.id))
        .filter(|resource| name_matches(resource.name.as_deref().unwrap_or_default()))
        .collect();
    let instances: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|resource| instance(resource, world)).collect();
    Ok(json!({ "instances": instances, "total_count": found.len() }))
}

fn instance(resource: &Resource, world: &World<'_>) -> Value {
    json!({
        "id": resource.id,
        "name": resource.name.as_deref().unwrap_or_default(),
        "remark": "",
        "status": "normal",
        "port": "8635",
        "mode": "ReplicaSet",
        "region": world.target.region,
        "datastore": {
            "type": "DDS-Community",
            "version": "4.4",
            "patch_available": false,
            "whole_version": "4.4.10.1",
        },
        "engine": "wiredTiger",
        // These two carry no zone.
        "created": "2025-11-02T07:05:52",
        "updated": "2026-03-14T02:11:10",
        "db_user_name": "rwuser",
        "ssl": 1,
        "vpc_id": "674e9b42-0000-4d25-a2e6-5abcc565b961",
        "subnet_id": "f1df08c5-0000-406a-aff0-de435a51007b",
        "security_group_id": "7aa51dbf-0000-40db-9724-dad3c4828b58",
        "backup_strategy": { "start_time": "16:00-17:00", "keep_days": 7 },
        "pay_mode": "0",
        "maintenance_window": "02:00-06:00",
        "groups": [],
        "disk_encryption_id": "",
        "enterprise_project_id": "0",
        "time_zone": "",
        "actions": [],
        "tags": [],
    })
}

/// The one project of the region, as IAM lists it.
fn projects_answer(request: &Request<Bytes>, parameters: &Parameters, world: &World<'_>) -> Value {
    let Target { region, project_id, .. } = world.target;
    let is_asked = parameters.get("name").is_none_or(|name| name == region);
    let projects = if is_asked {
        json!([{
            "is_domain": false,
            "description": "",
            "links": { "self": format!("/v3/projects/{project_id}") },
            "enabled": true,
            "id": project_id,
            "parent_id": "d78cbac186b744899480f25bd022f468",
            "domain_id": "d78cbac186b744899480f25bd022f468",
            "name": region,
        }])
    } else {
        json!([])
    };
    let links = json!({ "self": request.uri().to_string(), "previous": null, "next": null });
    json!({ "links": links, "projects": projects })
}
