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
use http::Response;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::{DecodeError, is_nothing};
use crate::endpoints::Endpoints;
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::{tencent, wire};

const VERSION: &str = "2017-03-20";

static DESCRIBE_TASKS: Operation = Operation {
    name: "DescribeTasks",
    permission: "cdb:DescribeTasks",
    per_second: 40,
    call: Call::Action(VERSION),
};

static ENDPOINTS: Endpoints = tencent::hosts!("cdb");

/// TencentDB for MySQL.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Cdb };

const FACTS: Facts = Facts {
    name: "tencent_cdb",
    product: "TencentDB for MySQL",
    cloud: Cloud::Tencent,
    service: "cdb",
    doc: "https://www.tencentcloud.com/document/product/236/15848",
    finds: "the list of the region",
    shows: &[Detail::Progress, Detail::Started, Detail::Ended, Detail::Error],
    notes: &[],
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
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `JobId` of `DescribeTasks`: a number. The call that began the task answers an \
              `AsyncRequestId`; `DescribeTasks` takes it as a filter and shows the `JobId`",
        fits: tencent::is_number,
        needs: Needs::ResourceOrStart,
    }),
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
};

/// The numbers by which statuses are filtered. `WAITING` has none.
pub const STATUS_CODES: &[(&str, i64)] = &[
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
const UNFINISHED: &[&str] = &["UNDEFINED", "INITIAL", "RUNNING", "PAUSED"];

/// The region is listed; a task is picked out of a list.
#[derive(Debug)]
struct Cdb;

impl Client for Cdb {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = |resources: Vec<Arc<Resource>>| {
            let query = tencent::of_instance(tencent::paged(&DESCRIBE_TASKS), resources.first());
            Query { resources, ..query }
        };
        let codes: Vec<i64> =
            UNFINISHED.iter().filter_map(|word| code_of(STATUS_CODES, word)).collect();
        let unfinished = tencent::instances(scope)
            .into_iter()
            .map(|it| query(it).with("TaskStatus", Parameter::Integers(codes.clone())));
        let recent = tencent::instances(scope).into_iter().map(|it| {
            let query = query(it).with("StartTimeBegin", Parameter::Time(scope.since));
            Query { since: Some(scope.since), ..query }
        });
        unfinished.chain(recent).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        Some(one(task))
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = tencent::document(response)?;
        let rows = tencent::rows(&document, query, "/Response/Items")?;
        let mut page = Page::default();
        page.read_list(query, rows, "JobId", tencent::LIMIT, tencent::total(&document));
        match &query.task {
            None => {
                let asked = query.resources.first().map(|resource| &*resource.id);
                page.tasks = rows
                    .iter()
                    .filter_map(|row| task(target, row, asked, &mut page.unreadable))
                    .collect();
            }
            Some(wanted) => {
                let found = rows
                    .iter()
                    .find(|row| wire::text(row, "JobId").as_deref() == Some(&*wanted.id));
                page.tasks.extend(
                    found.and_then(|row| {
                        task(target, row, instance_of(wanted), &mut page.unreadable)
                    }),
                );
                if !page.tasks.is_empty() {
                    page.next.clear();
                } else if page.next.is_empty() {
                    page.next.extend(widened(wanted));
                }
            }
        }
        Ok(page)
    }
}

/// The number that stands for a word, whatever its case.
pub fn code_of(codes: &[(&str, i64)], word: &str) -> Option<i64> {
    codes.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|&(_, code)| code)
}

fn instance_of(task: &TaskRef) -> Option<&str> {
    task.resource.as_ref().map(|resource| &*resource.id).filter(|id| !id.is_empty())
}

/// The query for one task, among those of its start where that is known.
fn one(task: &TaskRef) -> Query {
    let resource = task.resource.as_ref().filter(|resource| !resource.id.is_empty());
    let mut query = tencent::of_instance(tencent::paged(&DESCRIBE_TASKS), resource);
    if let Some(started) = task.started {
        let around = Duration::from_secs(1);
        query = query
            .with("StartTimeBegin", Parameter::Time(started.saturating_sub(around)))
            .with("StartTimeEnd", Parameter::Time(started + around));
    }
    Query { task: Some(task.clone()), ..query }
}

/// Where to look on for a task that is not among those of its start.
fn widened(wanted: &TaskRef) -> Option<Query> {
    let widened = TaskRef { started: None, ..wanted.clone() };
    let is_known = FACTS.ids.is_some_and(|rule| rule.admits(&widened));
    wanted.started.filter(|_| is_known).map(|_| one(&widened))
}

fn task(
    target: &Target,
    row: &Value,
    asked: Option<&str>,
    unreadable: &mut Unreadable,
) -> Option<Task> {
    let id = wire::task_id(row, "JobId", unreadable)?;
    let (state, vendor_status) = wire::status(&FACTS, row, "TaskStatus", unreadable);
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
