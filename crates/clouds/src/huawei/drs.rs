//! HUAWEI CLOUD Data Replication Service (DRS): migrations, synchronisations and replicas.
//!
//! - `POST /v3/{project_id}/jobs`, `ShowJobList`: the jobs of one sort, 100 a page. It is asked for each of the
//!   three sorts. The vendor calls it old; the newer `GET /v5/{project_id}/jobs` is offered for some links
//!   and regions only, and answers with passwords when it is asked for one job.
//! - `POST /v3/{project_id}/jobs/batch-progress`, `BatchListProgresses`: how far jobs are, by their ids, with
//!   HTTP 202 or 200. It is asked for the jobs of each page that have not ended well, 50 at a time. How many
//!   ids it takes is not documented.
//!
//! <https://support.huaweicloud.com/intl/en-us/api-drs/>, read 2026-11-30; field types from the official clients
//! for Python (3.1.219) and Go (0.1.207). The permission is that of role-based policies; the calls' own pages
//! name none. No rate limit is published.
//!
//! Oddities:
//!
//! - Error texts hold connection strings, users and addresses: none is read. The code is shown.
//! - A creation time has no zone, and none is documented: it is not shown.
//! - A job that is not known is a row with a code, in an answer that is good otherwise.
//! - The progress is that of the full transfer: `"0"` once that is complete, `"100"` in the incremental phase,
//!   which has no end. It is shown during the full transfer only, and so is the time left.
//! - What `progress_map` holds are the parts of that transfer: `struct`, `data`, `index`.
//! - `PAUSING` is what a job is in while it is paused. `PAUSEING` is the same at Open Telekom Cloud.
//! - A failed job may be tried again under its id. A job that has ended is listed until somebody deletes it.
//! - Jobs within a job (`children`) are left out: their job tells of them.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::huawei::{self, hosts, jobs};
use crate::model::{Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::wire;

static LIST: Operation = Operation {
    name: "ShowJobList",
    permission: "drs:migrationJob:listJobs",
    per_second: 2,
    call: Call::Post("/v3/{project_id}/jobs"),
};

static PROGRESS: Operation = Operation {
    name: "BatchListProgresses",
    permission: "drs:migrationJob:listJobs",
    per_second: 2,
    call: Call::Post("/v3/{project_id}/jobs/batch-progress"),
};

/// Data Replication Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Drs };

const FACTS: Facts = Facts {
    name: "huawei_drs",
    product: "Data Replication Service",
    cloud: Cloud::Huawei,
    service: "drs",
    doc: "https://support.huaweicloud.com/intl/en-us/api-drs/",
    finds: "the lists of the region",
    shows: &[Detail::Progress, Detail::Remaining, Detail::Steps, Detail::Error],
    notes: &[
        "A poll takes three lists, and one call more for every 50 jobs that have not ended well.",
        "The kind is the sort of job and its engine: `migration mysql`. The name of the job is shown as that of the instance; `resources` takes ids of jobs.",
        "Error texts hold connection strings, users and addresses. They are never read; the code is shown.",
        "Progress and time left are those of the full transfer. There are none in the incremental phase, which has no end of its own.",
        "Times of jobs carry no zone, and none is documented. They are not shown.",
        "The permission is that of role-based policies. The calls' own pages name none.",
    ],
    operations: &[&LIST, &PROGRESS, &huawei::LIST_PROJECTS],
    statuses: &[
        ("CREATING", TaskState::Pending),
        ("CONFIGURATION", TaskState::Pending),
        ("WAITING_FOR_START", TaskState::Pending),
        (FULL_TRANSFER, TaskState::Running),
        ("STARTJOBING", TaskState::Running),
        ("FULL_TRANSFER_COMPLETE", TaskState::Running),
        ("INCRE_TRANSFER_STARTED", TaskState::Running),
        ("RELEASE_RESOURCE_STARTED", TaskState::Running),
        ("REBUILD_NODE_STARTED", TaskState::Running),
        ("CHANGE_JOB_STARTED", TaskState::Running),
        ("CHILD_TRANSFER_STARTING", TaskState::Running),
        ("CHILD_TRANSFER_STARTED", TaskState::Running),
        ("CHILD_TRANSFER_COMPLETE", TaskState::Running),
        ("RELEASE_CHILD_TRANSFER_STARTED", TaskState::Running),
        ("NODE_UPGRADE_START", TaskState::Running),
        ("NODE_UPGRADE_COMPLETE", TaskState::Running),
        ("PAUSING", TaskState::Paused),
        ("PAUSEING", TaskState::Paused),
        // Ended, also by its owner.
        ("RELEASE_RESOURCE_COMPLETE", TaskState::Succeeded),
        ("RELEASE_CHILD_TRANSFER_COMPLETE", TaskState::Succeeded),
        (FULL_TRANSFER_FAILED, TaskState::Failed),
        ("CREATE_FAILED", TaskState::Failed),
        ("START_JOB_FAILED", TaskState::Failed),
        ("INCRE_TRANSFER_FAILED", TaskState::Failed),
        ("RELEASE_RESOURCE_FAILED", TaskState::Failed),
        ("REBUILD_NODE_FAILED", TaskState::Failed),
        ("CHANGE_JOB_FAILED", TaskState::Failed),
        ("CHILD_TRANSFER_FAILED", TaskState::Failed),
        ("NODE_UPGRADE_FAILED", TaskState::Failed),
        ("DELETED", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `id` of the job: 36 characters that end in `jb` and more",
        fits: jobs::is_job_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &hosts::DRS,
    project: Some(&huawei::PROJECT),
};

const FULL_TRANSFER: &str = "FULL_TRANSFER_STARTED";
const FULL_TRANSFER_FAILED: &str = "FULL_TRANSFER_FAILED";

/// The sorts of jobs, each with a list of its own.
const SORTS: [&str; 3] = ["migration", "sync", "cloudDataGuard"];

/// The most rows of a page.
pub const LIMIT: u32 = 100;

/// How many jobs one call asks about.
pub const MAX_JOBS: usize = 50;

/// The parts of a full transfer, in their order.
const PARTS: [&str; 3] = ["struct", "data", "index"];

/// The lists, then how far each job of them is.
#[derive(Debug)]
struct Drs;

/// The query for how far jobs are.
fn progress(ids: Vec<String>) -> Query {
    huawei::in_english(Query::new(&PROGRESS), true).with("jobs", Parameter::Texts(ids))
}

impl Client for Drs {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let list = |sort: &str| Query {
            resources: scope.resources.to_vec(),
            since: Some(scope.since),
            ..huawei::in_english(Query::new(&LIST), true)
                .with("cur_page", Parameter::PageNumber)
                .with("per_page", Parameter::Integer(LIMIT.into()))
                .with("db_use_type", sort.into())
        };
        SORTS.into_iter().map(list).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        Some(Query { task: Some(task.clone()), ..progress(vec![task.id.to_string()]) })
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        let unreadable = &mut page.unreadable;
        if query.operation == &LIST {
            let rows = huawei::rows(&document, "/jobs")?;
            page.tasks =
                rows.iter().filter_map(|row| listed(row, &query.resources, unreadable)).collect();
            page.read_list(query, rows, "id", LIMIT, wire::integer(&document, "total_record"));
            let goes_on = |task: &&Task| task.state == TaskState::Failed || !task.state.is_final();
            let open: Vec<Task> = page.tasks.iter().filter(goes_on).cloned().collect();
            page.next.extend(open.chunks(MAX_JOBS).map(|some| Query {
                known: some.to_vec(),
                ..progress(some.iter().map(|task| task.id.to_string()).collect())
            }));
            return Ok(page);
        }
        let rows = huawei::rows(&document, "/results")?;
        page.tasks = rows
            .iter()
            .filter_map(|row| {
                let id = wire::text(row, "job_id")?;
                let known = query.known.iter().find(|task| *task.id == *id).cloned();
                let asked = query.task.iter().find(|task| *task.id == *id);
                let asked =
                    asked.map(|task| Task::new(Arc::clone(&task.id), TaskState::Unknown, ""));
                advanced(known.or(asked)?, row, unreadable)
            })
            .collect();
        Ok(page)
    }
}

/// A row of a list.
fn listed(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Option<Task> {
    let id = wire::task_id(row, "id", unreadable)?;
    if !huawei::is_watched(resources, &Resource::new(id.as_str())) {
        return None;
    }
    let (state, word) = wire::status(&FACTS, row, "status", unreadable);
    let words = ["db_use_type", "engine_type"].map(|field| wire::text(row, field));
    let kind: Vec<&str> = words.iter().flatten().map(|word| &**word).collect();
    let name = wire::text(row, "name").map(Into::into);
    Some(Task {
        kind: kind.join(" ").into(),
        resource: Arc::new(Resource { id: Box::default(), name }),
        ..Task::new(id, state, word)
    })
}

/// The task with what a row says of how far it is; `None` where the row says that there is none.
fn advanced(task: Task, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    if !wire::says_any(row, &["transfer_status", "progress"]) {
        return None;
    }
    let (state, word) = match wire::text(row, "transfer_status") {
        Some(_) => wire::status(&FACTS, row, "transfer_status", unreadable),
        None => (task.state, Arc::clone(&task.vendor_status)),
    };
    let code = wire::text(row, "error_code").filter(|_| state == TaskState::Failed);
    let is_full =
        [FULL_TRANSFER, FULL_TRANSFER_FAILED].iter().any(|known| known.eq_ignore_ascii_case(&word));
    let mut task = Task {
        state,
        vendor_status: word,
        error: code.map(|code| Box::new(TaskError { code: code.into(), message: Box::default() })),
        ..task
    };
    if is_full {
        task.progress = wire::percent(row, "progress", unreadable);
        task.remaining =
            wire::seconds(row, "remaining_time", unreadable).filter(|_| !state.is_final());
        task.steps = parts(row, unreadable);
    }
    Some(task)
}

fn parts(row: &Value, unreadable: &mut Unreadable) -> Box<[Step]> {
    // Documented as a list, and an object in every client.
    let Some(parts) = row.get("progress_map") else { return Box::default() };
    let known = PARTS.iter().filter_map(|name| Some((*name, parts.get(*name)?)));
    known
        .filter(|(_, part)| wire::says_any(part, &["completed", "remaining_time"]))
        .map(|(name, part)| Step {
            name: name.into(),
            state: None,
            progress: wire::percent(part, "completed", unreadable),
            remaining: wire::seconds(part, "remaining_time", unreadable),
        })
        .collect()
}
