//! TDSQL for MySQL (DCDB), `DescribeUserTasks`, version 2018-04-11.
//!
//! Reference: the vendor's API Explorer; field types from the official Python package 3.1.165, read 2026-11-30.
//! Only the mainland site has it. Permission: `dcdb:DescribeUserTasks`, on `*`. At most 100 rows a call, and
//! 200 calls a second. How far the list reaches back is not documented; its example shows tasks that are
//! years old.
//!
//! One list covers the region. It is asked for what is unfinished, by status, and then for what was created
//! since the beginning of the poll's window.
//!
//! Oddities: a status is a number, and means something else than the same number in an answer of
//! [`flow`](crate::tencent::flow). There is no progress, and no start beside the creation. Texts may end in a
//! tab.
//!
//! Left out: `InputData`, the order.

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

static DESCRIBE_USER_TASKS: Operation =
    tencent::operation!("dcdb", "DescribeUserTasks", "2018-04-11", 50);

static ENDPOINTS: Endpoints = tencent::hosts!("dcdb", intl: None);

/// TDSQL for `MySQL`.
pub static API: TaskApi = LISTED.api();

static LISTED: Listed = Listed {
    facts: Facts {
        name: "tencent_dcdb",
        product: "TDSQL for MySQL (DCDB)",
        cloud: Cloud::Tencent,
        service: "dcdb",
        doc: tencent::explorer!("dcdb", "DescribeUserTasks", "2018-04-11"),
        finds: "the list of the region",
        shows: &[Detail::Created, Detail::Ended, Detail::Error],
        notes: &[
            "The mainland site alone has it. On the international one there is `tencent_dcdb_flow`.",
        ],
        operations: &[&DESCRIBE_USER_TASKS],
        statuses: &[
            ("0", TaskState::Pending),
            ("1", TaskState::Running),
            ("2", TaskState::Succeeded),
            ("3", TaskState::Failed),
        ],
        same_tasks_as: &[],
        list_window: None,
        forgets: false,
        error_by_id: false,
        ids: Some(IdRule {
            looks_like: "the `Id` of `DescribeUserTasks`: a number",
            fits: tencent::is_number,
            needs: Needs::Nothing,
        }),
        endpoints: &ENDPOINTS,
        project: None,
    },
    operation: &DESCRIBE_USER_TASKS,
    rows: "/Response/FlowSet",
    id: "Id",
    limit: tencent::LIMIT,
    filters_here: false,
    list,
    first_look: listed::nothing,
    by_id: |query, task| {
        Some(query.with("UTaskIds", Parameter::Integers(vec![task.id.parse().ok()?])))
    },
    task,
};

/// The statuses of unfinished tasks.
const UNFINISHED: &[i64] = &[0, 1];

/// The numbers for sorts of tasks, and the vendor's words. Others are shown as they are.
pub const KINDS: &[(&str, &str)] = &[
    ("0", "rollback"),
    ("1", "create"),
    ("2", "expand"),
    ("3", "migrate"),
    ("4", "delete"),
    ("5", "restart"),
];

/// Instances in one query.
const MAX_INSTANCES: usize = 100;

fn list(listed: &Listed, scope: &Scope<'_>) -> Vec<Query> {
    let unfinished = listed.paged().with("Statuses", Parameter::Integers(UNFINISHED.to_vec()));
    let recent = listed.paged().with("StartTime", Parameter::Time(scope.since));
    let recent = Query { since: Some(scope.since), ..recent };
    [unfinished, recent].iter().flat_map(|query| of_instances(query, scope)).collect()
}

/// The query for these instances, or for all.
fn of_instances(query: &Query, scope: &Scope<'_>) -> Vec<Query> {
    if scope.resources.is_empty() {
        return vec![query.clone()];
    }
    let some = |some: &[Arc<Resource>]| {
        let ids = some.iter().map(|instance| instance.id.to_string()).collect();
        let query = query.clone().with("InstanceIds", Parameter::Texts(ids));
        Query { resources: some.to_vec(), ..query }
    };
    scope.resources.chunks(MAX_INSTANCES).map(some).collect()
}

fn task(facts: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = tencent::task_id(row, "Id", unreadable)?;
    let (state, word) = wire::status(facts, row, "Status", unreadable);
    let kind = wire::text(row, "UserTaskType").unwrap_or_default();
    let name = KINDS.iter().find(|(number, _)| *number == kind).map(|&(_, name)| name);
    let created = wire::time(row, "CreateTime", target.utc_offset, unreadable);
    let ended = wire::time(row, "EndTime", target.utc_offset, unreadable);
    Some(Task {
        kind: name.unwrap_or(&kind).into(),
        resource: Arc::new(Resource {
            id: wire::text(row, "InstanceId").unwrap_or_default().into(),
            name: wire::text(row, "InstanceName").map(Into::into),
        }),
        created,
        ended: ended.filter(|_| state.is_final()),
        error: tencent::message(wire::text(row, "ErrMsg")).filter(|_| state == TaskState::Failed),
        ..Task::new(id, state, word)
    })
}
