//! Data Transmission Service, `DescribeMigrationJobs` and `DescribeSyncJobs`, version 2021-12-06: one service,
//! two lists.
//!
//! Reference: <https://www.tencentcloud.com/document/product/571/51793> (syncs), page of 2024-12-04, and the
//! vendor's API Explorer; field types from the official Python package 3.1.193, read 2026-11-30. Permissions:
//! `dts:DescribeMigrationJobs`, `dts:DescribeSyncJobs`, on `*`. 1 to 100 rows a call; a job takes up to 4 KB
//! and the objects of a sync are without bound, so [`LIMIT`] are asked for. 20 calls a second.
//!
//! One list covers the region, with every job until it is destroyed. It has no filter by time, and its filter
//! by status lacks words, so a poll reads all of it: a job that runs for weeks costs one row a poll. Jobs that
//! ended before the poll's window are left out here.
//!
//! Oddities:
//!
//! - **A failed job may go on.** `error`, `resumableErr` and `ResumableErr` wait for a person, or for the
//!   vendor's own retry, and the same job runs again with a later start: that is another run, counted anew.
//! - `readyComplete` waits for a person: all data is copied and changes follow, until somebody completes the
//!   job. It is paused.
//! - A sync has no end of its own. `Stopped` and `Released` are a person's doing, so they are canceled. Once
//!   it follows its source (the step `sinker`) it is running for good, without a progress.
//! - -1 stands for "not known" in every progress.
//! - A migration has no progress; it is made of its steps. Names of steps are Chinese on both sites, so their
//!   ids are shown: `dumper`, `loader`, `sinker`.
//! - The answer about one job may show another.
//!
//! Left out: `SrcInfo`, `DstInfo` and their like hold addresses, users and passwords. Only the id of the
//! target's instance is read.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{
    Detail, Facts, IdRule, Needs, Operation, Query, Scope, Target, TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::endpoints::Endpoints;
use crate::model::{Ratio, Resource, Step, Task, TaskError, TaskState};
use crate::tencent::listed::{self, Listed};
use crate::{tencent, wire};

static DESCRIBE_MIGRATION_JOBS: Operation =
    tencent::operation!("dts", "DescribeMigrationJobs", "2021-12-06", 15);

static DESCRIBE_SYNC_JOBS: Operation =
    tencent::operation!("dts", "DescribeSyncJobs", "2021-12-06", 15);

static ENDPOINTS: Endpoints = tencent::hosts!("dts");

/// The rows that are asked for at once.
pub const LIMIT: u32 = 20;

/// Migrations.
pub static MIGRATION: TaskApi = MIGRATIONS.api();

static MIGRATIONS: Listed = Listed {
    facts: Facts {
        name: "tencent_dts_migration",
        product: "Data Transmission Service, migrations",
        doc: tencent::explorer!("dts", "DescribeMigrationJobs", "2021-12-06"),
        finds: "the list of the region, with every job until it is destroyed",
        shows: &[
            Detail::Progress,
            Detail::Steps,
            Detail::Created,
            Detail::Scheduled,
            Detail::Started,
            Detail::Ended,
            Detail::Error,
        ],
        notes: &[
            "The list is read as a whole, 20 jobs a call: its filter by status lacks words, and it has none by time. A job that runs for weeks costs its row.",
            "A failed job is not over for the vendor. When the same job is started again, that is another run, and its end is counted again.",
            "`readyComplete` is `paused`: all data is copied and changes follow, until a person completes the job.",
            "The progress is made of the steps. A job that follows its source has none.",
        ],
        operations: &[&DESCRIBE_MIGRATION_JOBS],
        statuses: &[
            ("created", TaskState::Pending),
            ("creating", TaskState::Pending),
            ("checkPass", TaskState::Pending),
            ("readyRun", TaskState::Pending),
            ("running", TaskState::Running),
            ("checking", TaskState::Running),
            ("stopping", TaskState::Running),
            ("completing", TaskState::Running),
            ("pausing", TaskState::Running),
            ("resuming", TaskState::Running),
            ("manualPaused", TaskState::Paused),
            // All is copied: a person has to complete it.
            ("readyComplete", TaskState::Paused),
            ("success", TaskState::Succeeded),
            // These may go on, see above.
            ("failed", TaskState::Failed),
            ("error", TaskState::Failed),
            ("resumableErr", TaskState::Failed),
            ("checkNotPass", TaskState::Failed),
            ("canceled", TaskState::Canceled),
            ("unknown", TaskState::Unknown),
        ],
        ids: Some(IdRule {
            looks_like: "the `JobId` in the answer to `CreateMigrationService`: `dts-` and letters and digits",
            fits: |id| is_job_id("dts-", id),
            needs: Needs::Nothing,
        }),
        ..SERVICE
    },
    operation: &DESCRIBE_MIGRATION_JOBS,
    task: migration,
    ..JOBS
};

/// Syncs.
pub static SYNC: TaskApi = SYNCS.api();

static SYNCS: Listed = Listed {
    facts: Facts {
        name: "tencent_dts_sync",
        product: "Data Transmission Service, syncs",
        doc: "https://www.tencentcloud.com/document/product/571/51793",
        finds: "the list of the region, with every job until it is destroyed",
        shows: &[
            Detail::Progress,
            Detail::Steps,
            Detail::Created,
            Detail::Scheduled,
            Detail::Started,
            Detail::Ended,
            Detail::Error,
        ],
        notes: &[
            "The list is read as a whole, 20 jobs a call: its filter by status lacks words, and it has none by time. A job that runs for months costs its row.",
            "A sync has no end of its own: once it follows its source, it is `running` for good, without a progress. Only a person ends it, and then it is `canceled`. The alert `DbtaskTaskOverdue` tells of each one after a day: silence it for the kind `sync`.",
            "`ResumableErr` is `failed`. When the same job goes on with a later start, that is another run, and its end is counted again.",
        ],
        operations: &[&DESCRIBE_SYNC_JOBS],
        statuses: &[
            ("Initialized", TaskState::Pending),
            ("UnInitialized", TaskState::Pending),
            ("CheckPass", TaskState::Pending),
            ("ReadyRunning", TaskState::Pending),
            ("Running", TaskState::Running),
            ("Checking", TaskState::Running),
            ("Pausing", TaskState::Running),
            ("Stopping", TaskState::Running),
            ("Resuming", TaskState::Running),
            ("Resetting", TaskState::Running),
            ("Paused", TaskState::Paused),
            ("Failed", TaskState::Failed),
            ("CheckNotPass", TaskState::Failed),
            // May go on, see above.
            ("ResumableErr", TaskState::Failed),
            // A sync has no end but by a person's hand.
            ("Stopped", TaskState::Canceled),
            ("Released", TaskState::Canceled),
            ("Unknown", TaskState::Unknown),
        ],
        ids: Some(IdRule {
            looks_like: "the `JobId` in the answer to `CreateSyncJob`: `sync-` and letters and digits",
            fits: |id| is_job_id("sync-", id),
            needs: Needs::Nothing,
        }),
        ..SERVICE
    },
    operation: &DESCRIBE_SYNC_JOBS,
    task: sync,
    ..JOBS
};

/// What both lists share.
const JOBS: Listed = Listed {
    facts: SERVICE,
    operation: &DESCRIBE_MIGRATION_JOBS,
    rows: "/Response/JobList",
    id: "JobId",
    limit: LIMIT,
    filters_here: true,
    list,
    first_look: listed::nothing,
    by_id,
    task: migration,
};

const SERVICE: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Tencent,
    service: "dts",
    doc: "",
    finds: "",
    shows: &[],
    notes: &[],
    operations: &[],
    statuses: &[],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    error_by_id: false,
    ids: None,
    endpoints: &ENDPOINTS,
    project: None,
};

/// The step in which a job follows its source, which has no end.
const FOLLOWS: &str = "sinker";

fn is_job_id(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// The first page of every job. Those on other instances are left out of the answer.
fn list(listed: &Listed, scope: &Scope<'_>) -> Vec<Query> {
    let resources = scope.resources.to_vec();
    vec![Query { resources, since: Some(scope.since), ..listed.paged() }]
}

#[allow(clippy::unnecessary_wraps, reason = "other lists cannot be asked for every id")]
fn by_id(query: Query, task: &TaskRef) -> Option<Query> {
    Some(query.with("JobId", (*task.id).into()))
}

fn migration(
    facts: &Facts,
    target: &Target,
    row: &Value,
    unreadable: &mut Unreadable,
) -> Option<Task> {
    let mut task = job(facts, target, row, unreadable)?;
    let info = row.get("StepInfo").unwrap_or(&Value::Null);
    let steps = rows(info.get("StepInfo"));
    task.kind = "migration".into();
    task.resource = resource(row, row.pointer("/DstInfo/Info/0"));
    task.progress = progress(info, steps);
    task.steps = shown(info, steps, "Percent");
    let brief = tencent::message(wire::text(row, "BriefMsg"));
    task.error = brief.or_else(|| error_of(steps)).filter(|_| task.state == TaskState::Failed);
    Some(task)
}

fn sync(facts: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let mut task = job(facts, target, row, unreadable)?;
    let detail = row.get("Detail").unwrap_or(&Value::Null);
    let steps = rows(detail.get("StepInfos"));
    let info = row.get("DstInfo").filter(|info| wire::text(info, "InstanceId").is_some());
    let follows = current(detail, steps).is_some_and(is_endless);
    let said = tencent::percent(detail, "Progress", unreadable);
    task.kind = "sync".into();
    task.resource = resource(row, info.or_else(|| row.pointer("/DstInfos/Info/0")));
    task.progress = said.filter(|_| !follows);
    task.steps = shown(detail, steps, "Progress");
    let info = detail.get("ErrInfo").unwrap_or(&Value::Null);
    let texts = [(info, "Message"), (info, "Reason"), (detail, "Message")];
    let said = texts.iter().find_map(|(row, field)| tencent::message(wire::text(row, field)));
    task.error = said.or_else(|| error_of(steps)).filter(|_| task.state == TaskState::Failed);
    Some(task)
}

/// What both sorts of jobs have.
fn job(facts: &Facts, target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = wire::task_id(row, "JobId", unreadable)?;
    let word = wire::text(row, "Status").unwrap_or_default();
    // "Unknown" is one of the vendor's words.
    let is_documented = facts.statuses.iter().any(|(known, _)| known.eq_ignore_ascii_case(&word));
    let (state, word) = if is_documented {
        (facts.state(&word), word.into())
    } else {
        wire::status(facts, row, "Status", unreadable)
    };
    let mut time = |field| wire::time(row, field, target.utc_offset, unreadable);
    let (created, started, ended) = (time("CreateTime"), time("StartTime"), time("EndTime"));
    let scheduled = time("ExpectRunTime").filter(|_| state == TaskState::Pending);
    Some(Task {
        created,
        scheduled,
        started,
        ended: ended.filter(|_| state.is_final()),
        ..Task::new(id, state, word)
    })
}

/// The instance that is written to; the job itself where the target is none of the vendor's.
fn resource(row: &Value, target: Option<&Value>) -> Arc<Resource> {
    let instance = target.and_then(|target| wire::text(target, "InstanceId"));
    Arc::new(Resource {
        id: instance.or_else(|| wire::text(row, "JobId")).unwrap_or_default().into(),
        name: wire::text(row, "JobName").map(Into::into),
    })
}

fn rows(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The step at work: the one with the number, else the first that runs or has failed.
fn current<'a>(info: &Value, steps: &'a [Value]) -> Option<&'a Value> {
    let now = wire::integer(info, "StepNow");
    let is_open =
        |step: &&Value| matches!(step_state(step), Some(TaskState::Running | TaskState::Failed));
    let numbered =
        steps.iter().find(|step| wire::integer(step, "StepNo").is_some_and(|no| Some(no) == now));
    numbered.or_else(|| steps.iter().find(is_open))
}

fn is_endless(step: &Value) -> bool {
    wire::text(step, "StepId").is_some_and(|id| id.eq_ignore_ascii_case(FOLLOWS))
}

/// How far a migration is: steps that are done, and the share of the one at work. `None` while it follows
/// its source.
#[allow(clippy::cast_precision_loss, reason = "a handful of steps")]
fn progress(info: &Value, steps: &[Value]) -> Option<Ratio> {
    let all = wire::integer(info, "StepAll").filter(|&all| all > 0)?;
    let current = current(info, steps)?;
    if is_endless(current) && step_state(current) != Some(TaskState::Succeeded) {
        return None;
    }
    let is_done = |step: &&Value| step_state(step) == Some(TaskState::Succeeded);
    let done = steps.iter().filter(is_done).count() as f64;
    let part = if is_done(&current) {
        0.0
    } else {
        let percent = tencent::percent(current, "Percent", &mut Unreadable::default());
        percent.map_or(0.0, |part| f64::from(part.get()))
    };
    Ratio::clamped((done + part) / all as f64)
}

/// Documented is `success`; published answers say `finished`.
fn step_state(step: &Value) -> Option<TaskState> {
    let word = wire::text(step, "Status")?;
    let states = [
        ("success", TaskState::Succeeded),
        ("finished", TaskState::Succeeded),
        ("failed", TaskState::Failed),
        ("running", TaskState::Running),
        ("notStarted", TaskState::Pending),
        ("paused", TaskState::Paused),
    ];
    states.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word)).map(|&(_, state)| state)
}

/// The steps. Those of a job that follows its source move no more, so none tells how far it is.
fn shown(info: &Value, steps: &[Value], progress: &str) -> Box<[Step]> {
    let follows = current(info, steps).is_some_and(is_endless);
    let step = |step: &Value| {
        let name = wire::text(step, "StepId").or_else(|| wire::text(step, "StepName"))?;
        let said = tencent::percent(step, progress, &mut Unreadable::default());
        Some(Step {
            name: name.into(),
            state: step_state(step),
            progress: said.filter(|_| !follows && !is_endless(step)),
            remaining: None,
        })
    };
    steps.iter().filter_map(step).take(Task::MAX_STEPS).collect()
}

/// The error text of the step that failed.
fn error_of(steps: &[Value]) -> Option<Box<TaskError>> {
    let failed = steps.iter().filter(|step| step_state(step) == Some(TaskState::Failed));
    failed.into_iter().find_map(|step| {
        let first = rows(step.get("Errors")).first().and_then(|it| wire::text(it, "Message"));
        tencent::message(wire::text(step, "StepMessage").or(first))
    })
}
