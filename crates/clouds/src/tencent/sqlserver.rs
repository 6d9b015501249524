//! TencentDB for SQL Server, `DescribeInstanceTasks` and `DescribeDBInstances`, version 2018-03-28.
//!
//! Reference: the vendor's API Explorer; field types from the official Python package 3.1.183, read 2026-11-30.
//! Permissions: both, on `*`. Tasks: an instance has to be named, at most 100 rows a call as elsewhere in the
//! service, 20 calls a second. Instances: at most 100 rows a call, 70 calls a second.
//!
//! The list of tasks has no filter by time, and no order is documented. Its example is newest first: while
//! that is so, it is read until its rows are older than the poll's window, and then once more for
//! what is running, if anything was left out. So most instances take one call.
//!
//! An instance says by its status whether a task runs there. One that rests is asked less often.
//!
//! Oddities:
//!
//! - A status is a number, and means something else than the same number in an answer of
//!   the flow calls.
//! - The sorts of tasks are numbers without a table.
//! - `Message` and `ErrorCode` are an error only where the status says so.
//! - Rows do not name their instance, and there is no filter by id: one task is picked out of the list of its
//!   instance.
//! - `Offset` counts rows in the list of tasks, and pages from 0 in the list of instances.
//!
//! Left out: old cold migrations (`DescribeMigrations`), which name no instance.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::tencent::flow;
use crate::{tencent, wire};

static DESCRIBE_INSTANCE_TASKS: Operation =
    tencent::operation!("sqlserver", "DescribeInstanceTasks", "2018-03-28", 15);

static DESCRIBE_DB_INSTANCES: Operation =
    tencent::operation!("sqlserver", "DescribeDBInstances", "2018-03-28", 20);

/// TencentDB for SQL Server.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &SqlServer };

const FACTS: Facts = Facts {
    name: "tencent_sqlserver",
    product: "TencentDB for SQL Server",
    cloud: Cloud::Tencent,
    service: "sqlserver",
    doc: tencent::explorer!("sqlserver", "DescribeInstanceTasks", "2018-03-28"),
    finds: "instances, configured or discovered",
    shows: &[Detail::Progress, Detail::Started, Detail::Ended, Detail::Error],
    notes: &[
        "An instance takes one call, and a second one for what runs if it has more than 100 tasks. Where the vendor says that nothing runs on an instance and no task is known that does, it is asked every five minutes; discovery tells within five minutes that something runs. In a simulated region of 1 000 instances, 10 of them busy, that is 175 calls a minute where polls are a minute apart. Configured `resources` are asked at each poll.",
        "Sorts of tasks are numbers, for which the vendor has no table.",
    ],
    operations: &[&DESCRIBE_INSTANCE_TASKS, &DESCRIBE_DB_INSTANCES],
    statuses: &[
        (RUNNING, TaskState::Running),
        ("2", TaskState::Succeeded),
        ("3", TaskState::Failed),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    error_by_id: false,
    ids: Some(IdRule {
        looks_like: "the `Id` of `DescribeInstanceTasks`: a number. For a `FlowId` there is \
              `tencent_sqlserver_flow`",
        fits: tencent::is_number,
        needs: Needs::Resource,
    }),
    endpoints: &flow::SQLSERVER_ENDPOINTS,
    project: None,
};

const RUNNING: &str = "1";

/// Instances whose tasks are over or out of reach: recycling, recycled, offline.
const OUT_OF_REACH: &[&str] = &["5", "6", "8"];

/// Instances where nothing runs: running, isolated, read-only. The others are about to be made, moved, resized
/// or restarted, or say that a task runs.
const AT_REST: &[&str] = &["2", "4", "11"];

/// Tasks are listed instance by instance.
#[derive(Debug)]
struct SqlServer;

/// The tasks of an instance.
fn of(instance: &Arc<Resource>) -> Query {
    let query = tencent::of_instance(tencent::paged(&DESCRIBE_INSTANCE_TASKS), Some(instance));
    Query { resources: vec![Arc::clone(instance)], ..query }
}

impl Client for SqlServer {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let recent = |instance| Query { since: Some(scope.since), ..of(instance) };
        scope.resources.iter().map(recent).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let instance = task.resource.as_ref().filter(|instance| !instance.id.is_empty())?;
        Some(Query { task: Some(task.clone()), ..of(instance) })
    }

    fn discover(&self, _: &Scope<'_>) -> Option<Query> {
        let query = Query::new(&DESCRIBE_DB_INSTANCES)
            .with("PaginationType", "pageNumber".into())
            .with("Limit", Parameter::Integer(tencent::LIMIT.into()))
            // The number of the page, from 0.
            .with("Offset", Parameter::Offset(1));
        Some(query)
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = tencent::document(response)?;
        let total = tencent::total(&document);
        let mut page = Page::default();
        if query.operation == &DESCRIBE_DB_INSTANCES {
            let rows = wire::rows(&document, "/Response/DBInstances")?;
            page.read_list(query, rows, "InstanceId", tencent::LIMIT, total);
            for row in rows {
                read_instance(row, &mut page);
            }
            return Ok(page);
        }
        let rows = tencent::rows(&document, query, "/Response/InstanceTaskSet")?;
        page.read_list(query, rows, "Id", tencent::LIMIT, total);
        let instance = query.resources.first().map(Arc::clone).unwrap_or_default();
        let read = |row: &Value| task(target, row, &instance, &mut page.unreadable);
        if let Some(wanted) = &query.task {
            let is_wanted = |row: &&Value| wire::text(row, "Id").as_deref() == Some(&*wanted.id);
            let found = rows.iter().find(is_wanted).and_then(read);
            page.tasks.extend(found);
            if !page.tasks.is_empty() {
                page.next.clear();
            }
            return Ok(page);
        }
        let tasks: Vec<Task> = rows.iter().filter_map(read).collect();
        page.tasks = tasks;
        if !page.next.is_empty() && ends_before(&page.tasks, query.since) {
            // What is left out began before the window; only what still runs is of interest.
            let running = of(&instance).with("Status", Parameter::Integer(1));
            page.next = vec![running];
            page.rows.total = None;
        }
        Ok(page)
    }
}

/// Whether tasks are in order, newest first, and the last of them began before `since`.
fn ends_before(tasks: &[Task], since: Option<Timestamp>) -> bool {
    let starts: Option<Vec<Timestamp>> = tasks.iter().map(|task| task.started).collect();
    let Some((starts, since)) = starts.zip(since) else { return false };
    starts.is_sorted_by(|a, b| a >= b) && starts.last().is_some_and(|&last| last < since)
}

fn read_instance(row: &Value, page: &mut Page) {
    let Some(id) = wire::text(row, "InstanceId") else { return };
    let status = wire::text(row, "Status").unwrap_or_default();
    if OUT_OF_REACH.contains(&&*status) {
        return;
    }
    if AT_REST.contains(&&*status) {
        page.at_rest.push((&*id).into());
    }
    let name = wire::text(row, "Name").map(Into::into);
    page.resources.push(Arc::new(Resource { id: (&*id).into(), name }));
}

fn task(
    target: &Target,
    row: &Value,
    instance: &Arc<Resource>,
    unreadable: &mut Unreadable,
) -> Option<Task> {
    let id = tencent::task_id(row, "Id", unreadable)?;
    let (state, word) = wire::status(&FACTS, row, "Status", unreadable);
    let ended = wire::time(row, "EndTime", target.utc_offset, unreadable);
    Some(Task {
        kind: wire::text(row, "Type").unwrap_or_default().into(),
        resource: Arc::clone(instance),
        progress: tencent::percent(row, "Progress", unreadable),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        ended: ended.filter(|_| state.is_final()),
        error: error(row).filter(|_| state == TaskState::Failed).map(Box::new),
        ..Task::new(id, state, word)
    })
}

fn error(row: &Value) -> Option<TaskError> {
    let code = wire::text(row, "ErrorCode").filter(|code| code != "0").unwrap_or_default();
    let message = wire::text(row, "Message").unwrap_or_default();
    let said = !code.is_empty() || !message.is_empty();
    let message = tencent::without_order(&message);
    said.then(|| TaskError { code: code.into(), message: message.into() })
}
