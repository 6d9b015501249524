//! TencentDB for MySQL, `DescribeTasks`, version 2017-03-20.
//!
//! Reference: <https://www.tencentcloud.com/document/product/236/15848>, page of 2024-01-30.
//! Permission: `cdb:DescribeTasks`. At most 100 rows a call, and 50 calls a second (newer pages say
//! 100). How long the vendor keeps finished tasks is not documented.
//!
//! One list covers the region, so no instances have to be found first. It is asked for twice:
//!
//! 1. what is not finished, however old, by status;
//! 2. everything that started since the beginning of the poll's window. This also finds tasks in
//!    the status `WAITING`, which has no code to filter by, and what ended between the two calls.
//!
//! Oddities:
//!
//! - There is no filter by `JobId`. A single task is asked for by its instance and the seconds
//!   around its start, and picked out of the rows; if it is not there, by its instance alone, since
//!   a task that has waited may start anew.
//! - `Message` is filled on success too, and `Code` is 0 then: both are an error only where the
//!   status says so.
//! - Words may carry a trailing blank (`"PAUSED "`). `DescribeTasks` says `SUCCEED` where the
//!   vendor's other calls say `SUCCESS`.
//! - Times have no zone, see [`Target::utc_offset`]. An end time that is not known yet is
//!   `0000-00-00 00:00:00` or empty.
//! - A batch task has several `InstanceIds`. A task has one resource here: the instance that was
//!   asked for if it is among them, else the first.
//!
//! Left out: `AsyncRequestId`, which leads to a second API that says less, and `TaskAttachInfo`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Map, Value, json};

use crate::api::{
    Filter, Operation, Page, Query, Scope, Subject, Target, TaskApi, TaskRef, Unreadable, World,
};
use crate::cloud::Cloud;
use crate::document::{DecodeError, is_nothing};
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Task, TaskError, TaskState};
use crate::tencent::Fault;
use crate::tencent::signature::call;
use crate::{tencent, wire};

const VERSION: &str = "2017-03-20";

static DESCRIBE_TASKS: Operation =
    Operation { name: "DescribeTasks", permission: "cdb:DescribeTasks", per_second: 40 };

static ENDPOINTS: Endpoints = Endpoints {
    origin: tencent::ORIGIN,
    // Finance regions are apart from the others.
    by_region: &[(
        &["*-fsi"],
        Addresses {
            public: "https://cdb.{region}.tencentcloudapi.com",
            vpc: Some("https://cdb.internal.{region}.tencentcloudapi.com"),
            intl: None,
        },
    )],
    others: Addresses {
        public: "https://cdb.tencentcloudapi.com",
        vpc: Some("https://cdb.internal.tencentcloudapi.com"),
        intl: Some("https://cdb.intl.tencentcloudapi.com"),
    },
    confirmed: tencent::REGIONS,
    disputed: &[],
};

pub(crate) static API: TaskApi = TaskApi {
    name: "tencent_cdb",
    product: "TencentDB for MySQL",
    cloud: Cloud::Tencent,
    service: "cdb",
    doc: "https://www.tencentcloud.com/document/product/236/15848",
    operations: &[&DESCRIBE_TASKS],
    statuses: &[
        // Accepted, but waiting for its turn or for the maintenance window.
        ("UNDEFINED", TaskState::Pending),
        ("INITIAL", TaskState::Pending),
        ("WAITING", TaskState::Pending),
        ("RUNNING", TaskState::Running),
        ("PAUSED", TaskState::Paused),
        ("SUCCEED", TaskState::Succeeded),
        ("SUCCESS", TaskState::Succeeded),
        ("FAILED", TaskState::Failed),
        ("KILLED", TaskState::Canceled),
        ("REMOVED", TaskState::Canceled),
    ],
    list_window: None,
    task_id: "the `JobId` of `DescribeTasks`: a number. The call that began the task answers an \
              `AsyncRequestId`; `DescribeTasks` takes it as a filter and shows the `JobId`",
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
    discover: None,
    list,
    by_id,
    request,
    decode,
    answer,
};

/// The numbers by which statuses are filtered. `WAITING` has none.
const STATUS_CODES: &[(&str, i64)] = &[
    ("UNDEFINED", -1),
    ("INITIAL", 0),
    ("RUNNING", 1),
    ("SUCCEED", 2),
    ("FAILED", 3),
    ("KILLED", 4),
    ("REMOVED", 5),
    ("PAUSED", 6),
];

/// The statuses of tasks that are not finished, as far as they can be asked for.
const UNFINISHED: &str = "UNDEFINED,INITIAL,RUNNING,PAUSED";

/// The numbers by which kinds are filtered.
const KIND_CODES: &[(&str, i64)] = &[
    ("ROLLBACK", 1),
    ("SQL OPERATION", 2),
    ("IMPORT DATA", 3),
    ("MODIFY PARAM", 5),
    ("INITIAL", 6),
    ("REBOOT", 7),
    ("OPEN GTID", 8),
    ("UPGRADE RO", 9),
    ("BATCH ROLLBACK", 10),
    ("UPGRADE MASTER", 11),
    ("DROP TABLES", 12),
    ("SWITCH DR TO MASTER", 13),
];

fn code_of(codes: &[(&str, i64)], word: &str) -> Option<i64> {
    codes.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|&(_, code)| code)
}

fn list(scope: &Scope<'_>) -> Vec<Query> {
    let query = |resources: Vec<Arc<Resource>>, status, since| {
        let filter = Filter { resources, status, since, ..Filter::default() };
        Query::new(&DESCRIBE_TASKS, Subject::Tasks(filter))
    };
    let unfinished =
        tencent::instances(scope).into_iter().map(|i| query(i, Some(UNFINISHED), None));
    let recent = tencent::instances(scope).into_iter().map(|i| query(i, None, Some(scope.since)));
    unfinished.chain(recent).collect()
}

fn by_id(task: &TaskRef) -> Option<Query> {
    let known = instance_of(task).is_some() || task.started.is_some();
    (known && wire::is_number(&task.id))
        .then(|| Query::new(&DESCRIBE_TASKS, Subject::Task(task.clone())))
}

fn instance_of(task: &TaskRef) -> Option<&str> {
    task.resource.as_ref().map(|resource| &*resource.id).filter(|id| !id.is_empty())
}

fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let local = |time| json!(tencent::local_time(time, target.utc_offset));
    let mut body = Map::new();
    let mut set = |name: &str, value| body.insert(name.to_owned(), value);
    match &query.subject {
        Subject::Tasks(filter) => {
            if let Some(instance) = filter.resources.first() {
                set("InstanceId", json!(instance.id));
            }
            if let Some(status) = filter.status {
                let words = status.split(',');
                let codes: Vec<i64> =
                    words.filter_map(|word| code_of(STATUS_CODES, word)).collect();
                set("TaskStatus", json!(codes));
            }
            if let Some(since) = filter.since {
                set("StartTimeBegin", local(since));
            }
            if let Some(until) = filter.until {
                set("StartTimeEnd", local(until));
            }
        }
        Subject::Task(task) => {
            if let Some(instance) = instance_of(task) {
                set("InstanceId", json!(instance));
            }
            if let Some(started) = task.started {
                let around = Duration::from_secs(1);
                set("StartTimeBegin", local(started.saturating_sub(around)));
                set("StartTimeEnd", local(started + around));
            }
        }
        Subject::Project | Subject::Resources { .. } => {}
    }
    set("Limit", json!(tencent::LIMIT));
    set("Offset", json!(tencent::offset_of(query.page)));
    call(&target.endpoint, DESCRIBE_TASKS.name, VERSION, &target.region, &Value::Object(body))
}

fn decode(target: &Target, query: &Query, response: &Response<Bytes>) -> Result<Page, DecodeError> {
    let document = tencent::document(response)?;
    let rows = wire::rows(&document, "/Response/Items")?;
    let mut page = Page::default();
    page.read_list(query, rows, "JobId", tencent::LIMIT, tencent::total(&document));
    match &query.subject {
        Subject::Tasks(filter) => {
            let asked = filter.resources.first().map(|resource| &*resource.id);
            page.tasks = rows
                .iter()
                .filter_map(|row| task(target, row, asked, &mut page.unreadable))
                .collect();
        }
        Subject::Task(wanted) => {
            let found =
                rows.iter().find(|row| wire::text(row, "JobId").as_deref() == Some(&*wanted.id));
            page.tasks.extend(
                found.and_then(|row| task(target, row, instance_of(wanted), &mut page.unreadable)),
            );
            if !page.tasks.is_empty() {
                page.next.clear();
            } else if page.next.is_empty() {
                page.next.extend(widened(wanted));
            }
        }
        Subject::Project | Subject::Resources { .. } => {}
    }
    Ok(page)
}

/// Where to look on for a task that is not among those of its start.
fn widened(wanted: &TaskRef) -> Option<Query> {
    let widened = TaskRef { started: None, ..wanted.clone() };
    wanted.started.and_then(|_| by_id(&widened))
}

fn task(
    target: &Target,
    row: &Value,
    asked: Option<&str>,
    unreadable: &mut Unreadable,
) -> Option<Task> {
    let id = wire::task_id(row, "JobId", unreadable)?;
    let (state, vendor_status) = wire::status(&API, row, "TaskStatus", unreadable);
    let ended = wire::time(row, "EndTime", target.utc_offset, unreadable);
    Some(Task {
        kind: wire::text(row, "TaskType").unwrap_or_default().into(),
        resource: Arc::new(Resource::new(instance(row, asked))),
        progress: wire::percent(row, "Progress", unreadable),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        ended: ended.filter(|_| state.is_final()),
        error: error(row).filter(|_| state == TaskState::Failed).map(Box::new),
        ..Task::new(id, state, vendor_status)
    })
}

fn instance<'a>(row: &'a Value, asked: Option<&str>) -> &'a str {
    let ids = match row.get("InstanceIds") {
        Some(Value::Array(ids)) => ids,
        Some(id) => std::slice::from_ref(id),
        None => &[],
    };
    let mut ids = ids.iter().filter(|id| !is_nothing(id)).filter_map(Value::as_str).map(str::trim);
    let first = ids.clone().next().unwrap_or_default();
    ids.find(|&id| Some(id) == asked).unwrap_or(first)
}

fn error(row: &Value) -> Option<TaskError> {
    let code = wire::text(row, "Code").filter(|code| code != "0").unwrap_or_default();
    let message = wire::text(row, "Message").unwrap_or_default();
    let said = !code.is_empty() || !message.is_empty();
    said.then(|| TaskError { code: code.into(), message: message.into() })
}

fn answer(request: &Request<Bytes>, world: &World<'_>) -> Option<Response<Bytes>> {
    let answer = match tencent::action(request, VERSION)? {
        "DescribeTasks" => tasks_answer(request, world),
        "DescribeDBInstances" => instances_answer(request, world),
        _ => return None,
    };
    Some(tencent::respond(request, world, answer))
}

fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(
        request,
        &[
            "InstanceId",
            "AsyncRequestId",
            "TaskTypes",
            "TaskStatus",
            "StartTimeBegin",
            "StartTimeEnd",
            "Offset",
            "Limit",
        ],
    )?;
    let (offset, limit) = tencent::paging(&parameters, tencent::LIMIT)?;
    let instance: Option<String> = tencent::parameter(&parameters, "InstanceId")?;
    let request_id: Option<String> = tencent::parameter(&parameters, "AsyncRequestId")?;
    let statuses: Option<Vec<i64>> = tencent::parameter(&parameters, "TaskStatus")?;
    let kinds: Option<Vec<i64>> = tencent::parameter(&parameters, "TaskTypes")?;
    let utc_offset = world.target.utc_offset;
    let begin = tencent::time_parameter(&parameters, "StartTimeBegin", utc_offset)?;
    let end = tencent::time_parameter(&parameters, "StartTimeEnd", utc_offset)?;
    if instance.as_deref().is_some_and(|id| !tencent::exists(world, id)) {
        return Err(Fault::new(
            "InvalidParameter.InstanceNotFound",
            "The instance does not exist.",
        ));
    }
    let has_code = |wanted: &Option<Vec<i64>>, codes, word: &str| {
        wanted.as_ref().filter(|wanted| !wanted.is_empty()).is_none_or(|wanted| {
            code_of(codes, word.trim()).is_some_and(|code| wanted.contains(&code))
        })
    };
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| instance.as_deref().is_none_or(|id| *task.resource.id == *id))
        .filter(|task| request_id.as_deref().is_none_or(|id| async_request_id(task) == id))
        .filter(|task| has_code(&statuses, STATUS_CODES, &task.vendor_status))
        .filter(|task| has_code(&kinds, KIND_CODES, &task.kind))
        .filter(|task| tencent::within(task.started, begin, end))
        .collect();
    let items: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|task| item(task, world)).collect();
    Ok(json!({ "TotalCount": found.len(), "Items": items }))
}

fn item(task: &Task, world: &World<'_>) -> Value {
    let failed = task.state == TaskState::Failed;
    let (code, message) = match &task.error {
        Some(error) => (error.code.parse::<i64>().unwrap_or(-1), &*error.message),
        None if failed => (-1, ""),
        None if task.state == TaskState::Succeeded => (0, "Completed successfully"),
        None => (0, ""),
    };
    let instances: Vec<&str> =
        Some(&*task.resource.id).filter(|id| !id.is_empty()).into_iter().collect();
    json!({
        "Code": code,
        "Message": message,
        "JobId": tencent::id_value(&task.id),
        "AsyncRequestId": async_request_id(task),
        "TaskAttachInfo": [],
        "Progress": percent(task),
        "StartTime": tencent::time_value(task.started, world),
        "EndTime": tencent::time_value(task.ended, world),
        "InstanceIds": instances,
        "TaskType": *task.kind,
        "TaskStatus": *task.vendor_status,
    })
}

#[allow(clippy::cast_possible_truncation, reason = "it is 0 to 100")]
fn percent(task: &Task) -> i64 {
    task.progress.map_or(0, |progress| (progress.get() * 100.0).round() as i64)
}

/// Four groups of eight digits, as the vendor makes them.
fn async_request_id(task: &Task) -> String {
    let digits = tencent::scatter(&task.id);
    let group = |range| digits.get(range).unwrap_or_default();
    [group(0..8), group(8..16), group(16..24), group(24..32)].join("-")
}

fn instances_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    // What a simulated instance has no value for is accepted, and filters nothing.
    let parameters = tencent::parameters(
        request,
        &[
            "ProjectId",
            "InstanceTypes",
            "Vips",
            "Status",
            "Offset",
            "Limit",
            "SecurityGroupId",
            "PayTypes",
            "InstanceNames",
            "TaskStatus",
            "EngineVersions",
            "VpcIds",
            "ZoneIds",
            "SubnetIds",
            "CdbErrors",
            "OrderBy",
            "OrderDirection",
            "WithSecurityGroup",
            "WithExCluster",
            "ExClusterId",
            "InstanceIds",
            "InitFlag",
            "WithDr",
            "WithRo",
            "WithMaster",
            "DeployGroupIds",
            "TagKeysForSearch",
            "CageIds",
            "TagValues",
            "UniqueVpcIds",
            "UniqSubnetIds",
            "Tags",
            "ProxyVips",
            "ProxyIds",
            "EngineTypes",
            "QueryClusterInfo",
        ],
    )?;
    let (offset, limit) = tencent::paging(&parameters, 2000)?;
    let ids: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceIds")?;
    let names: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceNames")?;
    let among = |wanted: &Option<Vec<String>>, text: &str| {
        wanted
            .as_ref()
            .filter(|wanted| !wanted.is_empty())
            .is_none_or(|wanted| wanted.iter().any(|one| one == text))
    };
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| among(&ids, &resource.id))
        .filter(|resource| among(&names, resource.name.as_deref().unwrap_or_default()))
        .collect();
    let items: Vec<Value> = found
        .iter()
        .skip(offset)
        .take(limit)
        .map(|resource| instance_item(resource, world))
        .collect();
    Ok(json!({ "TotalCount": found.len(), "Items": items }))
}

fn instance_item(resource: &Resource, world: &World<'_>) -> Value {
    let region = &world.target.region;
    json!({
        "InstanceId": resource.id,
        "InstanceName": resource.name.as_deref().unwrap_or_default(),
        "Region": region,
        "Zone": format!("{region}-1"),
        "Status": 1,
        "TaskStatus": 0,
        "InstanceType": 1,
        "ProjectId": 0,
        "EngineVersion": "8.0",
        "CreateTime": "2022-11-01 09:00:00",
        "DeadlineTime": "0000-00-00 00:00:00",
        "TagList": [],
        "DrInfo": [],
        "RoGroups": [],
    })
}
