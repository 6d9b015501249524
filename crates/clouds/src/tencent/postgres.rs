//! TencentDB for `PostgreSQL`, `DescribeTasks`, version 2017-03-12.
//!
//! Reference: <https://www.tencentcloud.com/document/product/409/78807>, page of 2026-05-21; field types from
//! the official Python package 3.1.194. Permission: `postgres:DescribeTasks`, on `*`. At most 100 rows a call,
//! and 20 calls a second. The list reaches back 180 days by the start of a task.
//!
//! One list covers the region. It has no filter by status, so unfinished tasks cannot be asked for alone:
//!
//! 1. A poll asks for what began since the beginning of its window: one call for each 100 rows.
//! 2. The first poll asks for all 180 days besides, and keeps the unfinished tasks.
//! 3. An unfinished task that began before the window is asked for by its id: one call a poll.
//!
//! Oddities:
//!
//! - `WaitSwitch` and `Pause` are held: the work waits for a time, a window or a person.
//! - `Message` is a hint (`This task requires a reboot`) unless the task failed.
//! - `AllSteps` is a list of steps as JSON text, with keys in two spellings. The vendor calls steps a summary
//!   that may change.
//! - A task that was just created may be missing for a moment, also by its id.
//!
//! Left out, since they hold passwords and addresses: `Input` and `Output`. Left out, too: base backups
//! (`DescribeBaseBackups`). Their window is about the end, so one that runs may not be listed; they have neither
//! a progress nor an error text.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::api::{
    Detail, Facts, IdRule, Needs, Operation, Parameter, Query, Scope, Target, TaskApi, Unreadable,
};
use crate::cloud::Cloud;
use crate::endpoints::Endpoints;
use crate::model::{Ratio, Resource, Step, Task, TaskState, Timestamp};
use crate::tencent::listed::Listed;
use crate::{tencent, wire};

static DESCRIBE_TASKS: Operation =
    tencent::operation!("postgres", "DescribeTasks", "2017-03-12", 15);

static ENDPOINTS: Endpoints = tencent::hosts!("postgres");

/// TencentDB for `PostgreSQL`.
pub static API: TaskApi = LISTED.api();

static LISTED: Listed = Listed {
    facts: Facts {
        name: "tencent_postgres",
        product: "TencentDB for PostgreSQL",
        cloud: Cloud::Tencent,
        service: "postgres",
        doc: "https://www.tencentcloud.com/document/product/409/78807",
        finds: "the list of the region",
        shows: &[Detail::Progress, Detail::Steps, Detail::Started, Detail::Ended, Detail::Error],
        notes: &[
            "The list has no filter by status. A poll asks for what began within the `lookback`: one call for each 100 rows. The first poll after a start without a journal asks for all 180 days besides, one call for each 100 rows and at most 100 calls, and keeps the unfinished tasks. Later each task that began before the `lookback` and still goes on is asked for by its id: one call a poll.",
            "`WaitSwitch` is `paused`: the work is done but for the switch, which waits for its time or the maintenance window. `Pause` needs a person.",
            "The vendor calls the steps a summary that may change.",
        ],
        operations: &[&DESCRIBE_TASKS],
        statuses: &[
            ("Running", TaskState::Running),
            ("Success", TaskState::Succeeded),
            ("Fail", TaskState::Failed),
            // Done but for the switch, which waits for its time.
            ("WaitSwitch", TaskState::Paused),
            ("Pause", TaskState::Paused),
        ],
        same_tasks_as: &[],
        list_window: Some(WINDOW),
        forgets: false,
        error_by_id: false,
        ids: Some(IdRule {
            looks_like: "the `FlowId` or `TaskId` in the answer to the call that began the task: a number",
            fits: tencent::is_number,
            needs: Needs::Nothing,
        }),
        endpoints: &ENDPOINTS,
        project: None,
    },
    operation: &DESCRIBE_TASKS,
    rows: "/Response/TaskSet",
    id: "TaskId",
    limit: tencent::LIMIT,
    filters_here: false,
    list: |it, scope| window(it, scope, scope.since.max(oldest(scope)), true),
    first_look: |it, scope| window(it, scope, oldest(scope), false),
    by_id: |query, task| Some(query.with("TaskId", Parameter::Integer(task.id.parse().ok()?))),
    task,
};

/// How far back the list reaches.
pub const WINDOW: Duration = Duration::from_hours(180 * 24);

/// How far back it is asked: the vendor measures from when it reads the request, by its own clock.
const REACH: Duration = Duration::from_mins(180 * 24 * 60 - 5);

fn oldest(scope: &Scope<'_>) -> Timestamp {
    scope.now.saturating_sub(REACH)
}

/// What began from `since` on: all of it, or what is unfinished.
fn window(listed: &Listed, scope: &Scope<'_>, since: Timestamp, all: bool) -> Vec<Query> {
    let query = |instances: Vec<Arc<Resource>>| {
        let query = listed.paged().with("MinStartTime", Parameter::Time(since));
        let query = match instances.first() {
            Some(instance) => query.with("DBInstanceId", (*instance.id).into()),
            None => query,
        };
        Query { resources: instances, since: all.then_some(since), drops_ended: !all, ..query }
    };
    tencent::instances(scope).into_iter().map(query).collect()
}

fn task(facts: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = tencent::task_id(row, "TaskId", unreadable)?;
    let (state, word) = wire::status(facts, row, "Status", unreadable);
    let ended = wire::time(row, "EndTime", target.utc_offset, unreadable);
    let detail = row.get("TaskDetail").unwrap_or(&Value::Null);
    let error = tencent::message(wire::text(detail, "Message"));
    Some(Task {
        kind: wire::text(row, "TaskType").unwrap_or_default().into(),
        resource: Arc::new(Resource::new(wire::text(row, "DBInstanceId").unwrap_or_default())),
        progress: tencent::percent(row, "Progress", unreadable),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        ended: ended.filter(|_| state.is_final()),
        steps: steps(detail, state),
        error: error.filter(|_| state == TaskState::Failed),
        ..Task::new(id, state, word)
    })
}

/// The steps of a task. Those before the current one are done, and those behind it wait. Without a list of
/// steps, the current one alone.
fn steps(detail: &Value, state: TaskState) -> Box<[Step]> {
    let current = wire::text(detail, "CurrentStep");
    let list = wire::text(detail, "AllSteps").and_then(|text| serde_json::from_str(&text).ok());
    let Some(Value::Array(rows)) = list else {
        let step =
            |name: &str| Step { name: name.into(), state: None, progress: None, remaining: None };
        return current.as_deref().map(step).into_iter().collect();
    };
    let field = |row: &Value, names: [&str; 2]| {
        names.iter().find_map(|name| wire::text(row, name).map(String::from))
    };
    let names = rows.iter().map(|row| field(row, ["StepName", "stepName"]));
    let names: Vec<String> = names.map(Option::unwrap_or_default).collect();
    let at = names.iter().position(|name| Some(name.as_str()) == current.as_deref());
    let progress = |row: &Value| {
        let percent: f64 = field(row, ["StepProcess", "stepProcess"])?.parse().ok()?;
        if percent < 0.0 { None } else { Ratio::clamped(percent / 100.0) }
    };
    let state_of = |index: usize| match at {
        _ if state == TaskState::Succeeded => Some(TaskState::Succeeded),
        Some(at) if index < at => Some(TaskState::Succeeded),
        Some(at) if index == at => Some(state),
        Some(_) => Some(TaskState::Pending),
        None => None,
    };
    let steps = rows.iter().zip(names).enumerate().filter(|(_, (_, name))| !name.is_empty());
    steps
        .map(|(index, (row, name))| Step {
            name: name.into(),
            state: state_of(index),
            progress: progress(row),
            remaining: None,
        })
        .take(Task::MAX_STEPS)
        .collect()
}
