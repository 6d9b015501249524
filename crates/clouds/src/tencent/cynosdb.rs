//! TDSQL-C (`CynosDB`), `DescribeTasks`, version 2019-01-07.
//!
//! Reference: the vendor's API Explorer; field types from the official Python package 3.1.195 and the Node
//! package 4.1.313, which agree, read 2026-11-30. Permission: `cynosdb:DescribeTasks`, on `*`. 1000 calls a
//! second. Neither a window nor the most rows of a call is documented; other lists of the service give 100.
//!
//! One list covers the region. It is asked for what is unfinished, by status, and then for what began since
//! the beginning of the poll's window. Whether the filter takes several words at once is not documented, so
//! there is a call for each of [`UNFINISHED`].
//!
//! Oddities:
//!
//! - The vendor lists no status words. `success`, `processing` and `running` are in its examples; the others
//!   here are those that sister services use. Another word is `unknown`.
//! - The remaining time is a text about the current step, not about the task. Its unit is not documented and
//!   taken for seconds; `0` says nothing.
//! - A task may wait for its time (`DelayTime`) and has no start then.
//! - The total may be 0 beside rows. An id 0 is no id. Times come with a zone and without.
//! - `FlowId` is another number than `ID`: see [`flow`](crate::tencent::flow).
//!
//! Left out: `Input` and `Output`, in which an order stands with its `adminPassword`, and `Operator`, a person.
//! `ErrMsg` is shown without what it quotes of an order.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{
    Detail, Facts, IdRule, Needs, Operation, Parameter, Query, Scope, Target, TaskApi, Unreadable,
};
use crate::cloud::Cloud;
use crate::endpoints::Endpoints;
use crate::model::{Resource, Step, Task, TaskState};
use crate::tencent::listed::{self, Listed};
use crate::{tencent, wire};

static DESCRIBE_TASKS: Operation =
    tencent::operation!("cynosdb", "DescribeTasks", "2019-01-07", 100);

pub(super) static ENDPOINTS: Endpoints = tencent::hosts!("cynosdb");

/// TDSQL-C for `MySQL`.
pub static API: TaskApi = LISTED.api();

static LISTED: Listed = Listed {
    facts: Facts {
        name: "tencent_cynosdb",
        product: "TDSQL-C (CynosDB)",
        cloud: Cloud::Tencent,
        service: "cynosdb",
        doc: tencent::explorer!("cynosdb", "DescribeTasks", "2019-01-07"),
        finds: "the list of the region",
        shows: &[
            Detail::Progress,
            Detail::Remaining,
            Detail::Steps,
            Detail::Created,
            Detail::Scheduled,
            Detail::Started,
            Detail::Ended,
            Detail::Error,
        ],
        notes: &[
            "The vendor lists no status words. `success`, `processing` and `running` stand in its examples; the others are those that its sister services use.",
            "Unfinished tasks are asked for by the words `processing`, `running` and `waiting`, a call each. One with another word is found while its start is within the `lookback`.",
            "The time left is that of the step at work, in seconds as far as the vendor's examples tell. There is none of the task.",
        ],
        operations: &[&DESCRIBE_TASKS],
        statuses: &[
            // Of these words the vendor's examples have `processing`, `running` and `success`.
            ("waiting", TaskState::Pending),
            ("wait", TaskState::Pending),
            ("init", TaskState::Pending),
            ("initial", TaskState::Pending),
            ("pending", TaskState::Pending),
            ("delay", TaskState::Pending),
            ("delayed", TaskState::Pending),
            ("processing", TaskState::Running),
            ("running", TaskState::Running),
            ("executing", TaskState::Running),
            ("paused", TaskState::Paused),
            ("pause", TaskState::Paused),
            ("success", TaskState::Succeeded),
            ("succeed", TaskState::Succeeded),
            ("succeeded", TaskState::Succeeded),
            ("finished", TaskState::Succeeded),
            ("failed", TaskState::Failed),
            ("fail", TaskState::Failed),
            ("failure", TaskState::Failed),
            ("error", TaskState::Failed),
            ("canceled", TaskState::Canceled),
            ("cancel", TaskState::Canceled),
            ("cancelled", TaskState::Canceled),
        ],
        same_tasks_as: &[],
        list_window: None,
        forgets: false,
        error_by_id: false,
        ids: Some(IdRule {
            looks_like: "the `TaskId` in the answer to the call that began the task, which is the `ID` of \
                  `DescribeTasks`: a number. A `FlowId` is another one, for `tencent_cynosdb_flow`",
            fits: tencent::is_number,
            needs: Needs::Nothing,
        }),
        endpoints: &ENDPOINTS,
        project: None,
    },
    operation: &DESCRIBE_TASKS,
    rows: "/Response/TaskList",
    id: "ID",
    limit: tencent::LIMIT,
    filters_here: false,
    list,
    first_look: listed::nothing,
    by_id: |query, task| Some(query.with("Filters", filters(&[filter("TaskId", &task.id)]))),
    task,
};

/// The words by which unfinished tasks are asked for.
pub const UNFINISHED: &[&str] = &["processing", "running", "waiting"];

/// A filter that takes rows with this value.
fn filter(name: &str, value: &str) -> Value {
    json!({ "Names": [name], "Values": [value], "ExactMatch": true })
}

fn filters(filters: &[Value]) -> Parameter {
    Parameter::Json(filters.into())
}

fn list(listed: &Listed, scope: &Scope<'_>) -> Vec<Query> {
    let of =
        |resources: &Vec<Arc<Resource>>| resources.first().map(|it| filter("ClusterId", &it.id));
    let unfinished = UNFINISHED.iter().flat_map(|word| {
        tencent::instances(scope).into_iter().map(move |resources| {
            let all: Vec<Value> =
                of(&resources).into_iter().chain([filter("Status", word)]).collect();
            Query { resources, ..listed.paged().with("Filters", filters(&all)) }
        })
    });
    let recent = tencent::instances(scope).into_iter().map(|resources| {
        let mut query = listed.paged().with("StartTimeBegin", Parameter::Time(scope.since));
        if let Some(cluster) = of(&resources) {
            query = query.with("Filters", filters(&[cluster]));
        }
        Query { resources, since: Some(scope.since), ..query }
    });
    unfinished.chain(recent).collect()
}

fn task(facts: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = tencent::task_id(row, "ID", unreadable)?;
    let (state, word) = wire::status(facts, row, "Status", unreadable);
    let mut time = |field| wire::time(row, field, target.utc_offset, unreadable);
    let (created, started, ended) = (time("CreateTime"), time("StartTime"), time("EndTime"));
    let scheduled = time("DelayTime").filter(|_| state == TaskState::Pending);
    Some(Task {
        kind: wire::text(row, "TaskType").unwrap_or_default().into(),
        resource: Arc::new(resource(row)),
        progress: tencent::percent(row, "Process", unreadable),
        created,
        scheduled,
        started,
        ended: ended.filter(|_| state.is_final()),
        steps: step(row, unreadable).filter(|_| !state.is_final()).into_iter().collect(),
        error: tencent::message(wire::text(row, "ErrMsg")).filter(|_| state == TaskState::Failed),
        ..Task::new(id, state, word)
    })
}

fn resource(row: &Value) -> Resource {
    let fields = [
        ("ClusterId", Some("ClusterName")),
        ("InstanceId", Some("InstanceName")),
        ("ObjectId", None),
    ];
    let found = fields.iter().find_map(|&(id, name)| {
        let name = name.and_then(|name| wire::text(row, name)).map(Into::into);
        Some(Resource { id: wire::text(row, id)?.into(), name })
    });
    found.unwrap_or_default()
}

/// The step at work. A rollback shows it elsewhere.
fn step(row: &Value, unreadable: &mut Unreadable) -> Option<Step> {
    let is_there = |info: &&Value| wire::text(info, "CurrentStep").is_some();
    let info = row.get("TaskProgressInfo").filter(is_there);
    let info = info.or_else(|| row.pointer("/RollbackData/RollbackProcess").filter(is_there))?;
    let remaining = wire::text(info, "CurrentStepRemainingTime");
    let remaining: Option<u32> = remaining.and_then(|text| text.parse().ok());
    Some(Step {
        name: wire::text(info, "CurrentStep")?.into(),
        state: None,
        progress: tencent::percent(info, "CurrentStepProgress", unreadable),
        remaining: remaining
            .filter(|&seconds| seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into())),
    })
}
