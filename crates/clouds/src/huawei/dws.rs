//! HUAWEI CLOUD Data Warehouse Service (DWS): what its clusters do, and one job by its id.
//!
//! - `GET /v1.0/{project_id}/clusters`, `ListClusters`: all clusters in one answer. There is no list of tasks: what
//!   a cluster does is a key of its `action_progress`, and `task_status` is what it does, or how that ended.
//! - `GET /v1.0/{project_id}/job/{job_id}`, `ListJobDetails`, which answers one job:
//!   <https://support.huaweicloud.com/intl/en-us/api-dws/ListJobDetails.html>. Ids come from the calls that begin a
//!   job. Permission: `dws:service:listJobDetail`.
//!
//! Read 2026-11-30; field types from the official clients for Python (3.1.219) and Go (0.1.207). The permission
//! for the clusters is inferred. No rate limit is published.
//!
//! Oddities:
//!
//! - An action has no id: its cluster and its name stand for it. It has no times, and no end: once it is over
//!   it is not shown any more, and is `unknown`.
//! - A word that ends in `_FAILURE` or `_FAILED` is the result of the last action, and stays until the next.
//! - Not all words are documented. One that is not known is an action at work.
//! - Times of a job carry no zone, and none is documented: they are not shown.
//! - A failed job keeps its progress.
//!
//! Clusters carry addresses, connection strings and the name of the administrator, and a reason for a failure
//! that may hold them: of all that the code of the failure alone is read.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Query, Scope, Target, TaskApi,
    TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::huawei::{self, hosts};
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::wire;

static CLUSTERS: Operation = Operation {
    name: "ListClusters",
    permission: "dws:cluster:list",
    per_second: 2,
    call: Call::Get("/v1.0/{project_id}/clusters"),
};

static JOB: Operation = Operation {
    name: "ListJobDetails",
    permission: "dws:service:listJobDetail",
    per_second: 2,
    call: Call::Get("/v1.0/{project_id}/job/{job_id}"),
};

/// Data Warehouse Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Dws };

const FACTS: Facts = Facts {
    name: "huawei_dws",
    product: "Data Warehouse Service",
    cloud: Cloud::Huawei,
    service: "dws",
    doc: "https://support.huaweicloud.com/intl/en-us/api-dws/ListJobDetails.html",
    finds: "what clusters do now; ids of jobs",
    shows: &[Detail::Progress, Detail::Error],
    notes: &[
        "An action of a cluster has no id and no times. It is known by its cluster and its name. Once it is over it is not shown any more, and is `unknown`, for nothing tells how it ended.",
        "A word that ends in `_FAILURE` or `_FAILED` is the result of the last action and stays until the next: it is a failed task with a code and no text. Any word that is not listed is an action at work.",
        "Times of a job carry no zone, and none is documented. They are not shown.",
        "Connection strings, addresses and the administrator's name, which clusters carry, are never read.",
        "The permission for the clusters is inferred.",
    ],
    operations: &[&CLUSTERS, &JOB, &huawei::LIST_PROJECTS],
    statuses: &[
        ("INIT", TaskState::Pending),
        ("WAITING", TaskState::Pending),
        ("DELAY_SCHEDULED", TaskState::Pending),
        ("WAITING_REDISTRIBUTION", TaskState::Pending),
        ("ORDER_PENDING", TaskState::Pending),
        ("RUNNING", TaskState::Running),
        ("CREATING", TaskState::Running),
        ("RESTORING", TaskState::Running),
        ("SNAPSHOTTING", TaskState::Running),
        ("GROWING", TaskState::Running),
        ("REBOOTING", TaskState::Running),
        ("SETTING_CONFIGURATION", TaskState::Running),
        ("CONFIGURING_EXT_DATASOURCE", TaskState::Running),
        ("ADD_CN_ING", TaskState::Running),
        ("DEL_CN_ING", TaskState::Running),
        ("REDISTRIBUTING", TaskState::Running),
        ("NETWORK_CONFIGURING", TaskState::Running),
        ("DISK_EXPANDING", TaskState::Running),
        ("ACTIVE_STANDY_SWITCHOVER", TaskState::Running),
        ("CLUSTER_SHRINKING", TaskState::Running),
        ("SHRINK_CHECKING", TaskState::Running),
        ("FLAVOR_RESIZING", TaskState::Running),
        ("MANAGE_IP_BINDING", TaskState::Running),
        ("FINE_GRAINED_RESTORING", TaskState::Running),
        ("DR_RECOVERING", TaskState::Running),
        ("REPAIRING", TaskState::Running),
        ("REDISTRIBUTION_PAUSED", TaskState::Paused),
        ("SUCCESS", TaskState::Succeeded),
        ("FAIL", TaskState::Failed),
        ("RESIZE_FAILURE", TaskState::Failed),
        ("STOP", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `job_id` in the answer to the call that began the job: 32 letters and digits",
        fits: is_job_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &hosts::DWS,
    project: Some(&huawei::PROJECT),
};

/// The clusters are listed, and a job is asked for by its id.
#[derive(Debug)]
struct Dws;

impl Client for Dws {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = Query::new(&CLUSTERS).with("enterprise_project_id", "all_granted_eps".into());
        vec![Query { resources: scope.resources.to_vec(), ..query }]
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let query = Query::new(&JOB).with("job_id", (*task.id).into());
        Some(Query { task: Some(task.clone()), ..query })
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        if let Some(wanted) = &query.task {
            let id = wire::text(&document, "job_id").ok_or(DecodeError::Missing("/job_id"))?;
            let is_wanted = *id == *wanted.id;
            page.tasks.extend(is_wanted.then(|| job(&wanted.id, &document, &mut page.unreadable)));
            return Ok(page);
        }
        let rows = huawei::rows(&document, "/clusters")?;
        page.tasks = rows
            .iter()
            .flat_map(|row| actions(row, &query.resources, &mut page.unreadable))
            .collect();
        let total = wire::integer(&document, "count").and_then(|it| usize::try_from(it).ok());
        page.incomplete = total.is_some_and(|total| total > rows.len());
        Ok(page)
    }
}

/// The answer about one job.
fn job(id: &Arc<str>, row: &Value, unreadable: &mut Unreadable) -> Task {
    let (state, word) = wire::status(&FACTS, row, "status", unreadable);
    let texts = ["failed_code", "failed_detail"]
        .map(|field| wire::text(row, field).filter(|_| state == TaskState::Failed));
    let error = match texts {
        [None, None] => None,
        [code, message] => Some(TaskError {
            code: code.unwrap_or_default().into(),
            message: message.unwrap_or_default().into(),
        }),
    };
    Task {
        kind: wire::text(row, "job_name").unwrap_or_default().into(),
        progress: wire::percent(row, "progress", unreadable),
        error: error.map(Box::new),
        ..Task::new(Arc::clone(id), state, word)
    }
}

/// What a cluster does, or how its last action ended.
fn actions(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Vec<Task> {
    let resource = Resource {
        id: wire::text(row, "id").unwrap_or_default().into(),
        name: wire::text(row, "name").map(Into::into),
    };
    if !huawei::is_watched(resources, &resource) {
        return Vec::new();
    }
    let word = wire::text(row, "task_status");
    let at_work = row.get("action_progress").and_then(Value::as_object);
    let mut names: Vec<&str> = at_work.into_iter().flatten().map(|(name, _)| &**name).collect();
    let is_idle = names.is_empty();
    if is_idle {
        names.extend(word.as_deref());
    }
    if resource.id.is_empty() && !names.is_empty() {
        // Nothing would tell its actions from those of another.
        unreadable.task_id = unreadable.task_id.saturating_add(1);
        return Vec::new();
    }
    let resource = Arc::new(resource);
    let mut tasks = Vec::new();
    for name in names {
        let id = format!("{}/{name}", resource.id);
        if id.len() > Task::MAX_ID_BYTES {
            unreadable.task_id = unreadable.task_id.saturating_add(1);
            continue;
        }
        // What holds an action up is said of the cluster; a result is that of an earlier one.
        let (state, status) = match word.as_deref().map(|word| (state_of(word), word)) {
            Some((state, word)) if is_idle => (state, word),
            Some((state @ (TaskState::Pending | TaskState::Paused), word)) => (state, word),
            Some(_) | None => (TaskState::Running, name),
        };
        let reasons = row.get("failed_reasons").filter(|_| state == TaskState::Failed);
        let code = reasons.and_then(|reasons| wire::text(reasons, "error_code"));
        let progress = row.get("action_progress");
        tasks.push(Task {
            kind: name.into(),
            resource: Arc::clone(&resource),
            progress: progress.and_then(|it| wire::percent(it, name, unreadable)),
            error: code
                .map(|code| Box::new(TaskError { code: code.into(), message: Box::default() })),
            ..Task::new(id, state, status)
        });
    }
    tasks
}

/// What a word says of a cluster's action.
fn state_of(word: &str) -> TaskState {
    let known = FACTS.state(word);
    if known != TaskState::Unknown {
        return known;
    }
    let word = word.to_ascii_uppercase();
    let has_failed = ["_FAILURE", "_FAILED"].iter().any(|end| word.ends_with(end));
    if has_failed { TaskState::Failed } else { TaskState::Running }
}

fn is_job_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
