//! `TcaplusDB`, `DescribeTasks`, version 2019-08-23.
//!
//! Reference: <https://www.tencentcloud.com/document/product/1016/35045>, page of 2024-07-24; field types from
//! the official Python package 3.1.104. Permission: `tcaplusdb:DescribeTasks`, on `*`. 20 calls a second. The
//! most rows of a call and how far the list reaches back are not documented.
//!
//! One list covers the region. It has no filter by status, and one by time whose format is not documented, so
//! a poll reads all of it.
//!
//! **There is no status: the state is read off the progress**, as the vendor's own Terraform provider does.
//! Below 0 is failed, 100 succeeded, anything in between running, and no progress `unknown`. A task may stay
//! at 0 for long before it begins. The end of an ended task is its last change, `UpdateTime`. There is no
//! error text.
//!
//! Left out: `Content`, the order with account ids, and `Operator`, a person.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{
    Detail, Facts, IdRule, Needs, Operation, Parameter, Query, Scope, Target, TaskApi, Unreadable,
};
use crate::cloud::Cloud;
use crate::endpoints::Endpoints;
use crate::model::{Resource, Task, TaskState};
use crate::tencent::listed::{self, Listed};
use crate::{tencent, wire};

static DESCRIBE_TASKS: Operation =
    tencent::operation!("tcaplusdb", "DescribeTasks", "2019-08-23", 15);

static ENDPOINTS: Endpoints = tencent::hosts!("tcaplusdb");

/// `TcaplusDB`.
pub static API: TaskApi = LISTED.api();

static LISTED: Listed = Listed {
    facts: Facts {
        name: "tencent_tcaplusdb",
        product: "TcaplusDB",
        cloud: Cloud::Tencent,
        service: "tcaplusdb",
        doc: "https://www.tencentcloud.com/document/product/1016/35045",
        finds: "the list of the region",
        shows: &[Detail::Progress, Detail::Started, Detail::Ended],
        notes: &[
            "The vendor gives no status. The state is read off the progress: below 0 is failed, 100 succeeded, anything in between running. A task may stay at 0 for long before it begins. Its end is its last change.",
            "The list is read as a whole, 100 rows a call: it has no filter by status, and the format of its filter by time is not documented.",
        ],
        operations: &[&DESCRIBE_TASKS],
        // Ours, since the vendor has no words.
        statuses: &[
            (GOING_ON, TaskState::Running),
            (DONE, TaskState::Succeeded),
            (FAILED, TaskState::Failed),
        ],
        same_tasks_as: &[],
        list_window: None,
        forgets: false,
        error_by_id: false,
        ids: Some(IdRule {
            looks_like: "the `TaskId` in the answer to the call that began the task: the cluster's id, `-` and \
                  a number",
            fits: is_task_id,
            needs: Needs::Nothing,
        }),
        endpoints: &ENDPOINTS,
        project: None,
    },
    operation: &DESCRIBE_TASKS,
    rows: "/Response/TaskInfos",
    id: "TaskId",
    limit: tencent::LIMIT,
    filters_here: false,
    list,
    first_look: listed::nothing,
    by_id: |query, task| Some(query.with("TaskIds", Parameter::Texts(vec![task.id.to_string()]))),
    task,
};

/// What is said in place of a status.
const GOING_ON: &str = "progress 0 to 99";
const DONE: &str = "progress 100";
const FAILED: &str = "progress below 0";

fn list(listed: &Listed, scope: &Scope<'_>) -> Vec<Query> {
    let query = Query { since: Some(scope.since), ..listed.paged() };
    let ids: Vec<String> = scope.resources.iter().map(|cluster| cluster.id.to_string()).collect();
    let query =
        if ids.is_empty() { query } else { query.with("ClusterIds", Parameter::Texts(ids)) };
    vec![Query { resources: scope.resources.to_vec(), ..query }]
}

/// `10.2-97`, of which the part before the last `-` is the cluster.
fn is_task_id(id: &str) -> bool {
    let is_id = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    id.rsplit_once('-').is_some_and(|(cluster, number)| is_id(cluster) && wire::is_number(number))
}

fn task(_: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = tencent::task_id(row, "TaskId", unreadable)?;
    let progress = wire::text(row, "Progress").and_then(|text| text.parse::<f64>().ok());
    let (state, word) = match progress {
        None => (TaskState::Unknown, ""),
        Some(percent) if percent < 0.0 => (TaskState::Failed, FAILED),
        Some(percent) if percent < 100.0 => (TaskState::Running, GOING_ON),
        Some(_) => (TaskState::Succeeded, DONE),
    };
    let changed = wire::time(row, "UpdateTime", target.utc_offset, unreadable);
    Some(Task {
        kind: wire::text(row, "TaskType").unwrap_or_default().into(),
        resource: Arc::new(Resource {
            id: wire::text(row, "ClusterId").unwrap_or_default().into(),
            name: wire::text(row, "ClusterName").map(Into::into),
        }),
        progress: tencent::percent(row, "Progress", unreadable),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        ended: changed.filter(|_| state.is_final()),
        ..Task::new(id, state, word)
    })
}
