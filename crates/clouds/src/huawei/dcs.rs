//! HUAWEI CLOUD Distributed Cache Service (DCS): the task centre.
//!
//! `GET /v2/{project_id}/tasks`, `ListCenterTask`, <https://support.huaweicloud.com/intl/en-us/api-dcs/ListCenterTask.html>,
//! read 2026-11-30; field types from the official clients for Python (3.1.219), Go (0.1.207) and Java (3.1.130).
//! At most 1000 rows a call; a window whose times are `yyyyMMddHHmmss` in UTC. Permission: `dcs:task:list`. No
//! rate limit is published. Offered in HUAWEI CLOUD's own regions only, neither at Open Telekom Cloud nor on
//! the European site, which answer 404.
//!
//! Oddities:
//!
//! - A row names no instance. Which one a task works on, only a call for each instance tells.
//! - A row that ended well has an error code too: it is one for `FAILED` only. There is no error text.
//! - `updated_at` is the end of a task once it has ended.
//! - Of the words only `SUCCESS` is documented; the others are those of sister products and of the vendor's
//!   own clients.
//! - A row has two ids. `job_id` belongs to a call of its own and may be in several rows, so `id` is used.
//! - How far a task is takes a call for each instance and one for each task: it is not asked.
//!
//! Never read, since they hold what people typed or who they are: `params`, `details`, `user_name`, `user_id`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, Operation, Page, Parameter, Query, Scope, Target, TaskApi,
    Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::huawei::{self, hosts};
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::wire;

static LIST: Operation = Operation {
    name: "ListCenterTask",
    permission: "dcs:task:list",
    per_second: 2,
    call: Call::Get("/v2/{project_id}/tasks"),
};

/// Distributed Cache Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Dcs };

const FACTS: Facts = Facts {
    name: "huawei_dcs",
    product: "Distributed Cache Service",
    cloud: Cloud::Huawei,
    service: "dcs",
    doc: "https://support.huaweicloud.com/intl/en-us/api-dcs/ListCenterTask.html",
    finds: "the list of the region",
    shows: &[Detail::Created, Detail::Ended, Detail::Error],
    notes: &[
        "It is offered in HUAWEI CLOUD's own regions only, neither at Open Telekom Cloud nor on the European site.",
        "A task names no instance, so with `resources` none is shown.",
        "How far a task is would take a call for each instance and one for each running task. It is not asked.",
        "A failed task has a code and no text. What people typed or who they are is never read.",
        "Of the status words only `SUCCESS` is documented.",
    ],
    operations: &[&LIST, &huawei::LIST_PROJECTS],
    statuses: &[
        ("CREATED", TaskState::Pending),
        ("EXECUTING", TaskState::Running),
        ("SUCCESS", TaskState::Succeeded),
        ("FAILED", TaskState::Failed),
        ("CANCELLED", TaskState::Canceled),
        ("DELETED", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: true,
    ids: None,
    error_by_id: false,
    endpoints: &hosts::DCS,
    project: Some(&huawei::PROJECT),
};

/// How far back the list is asked: a poll cannot ask for what is unfinished alone.
const REACH: Duration = Duration::from_hours(30 * 24);

/// The most rows that the list gives for one call.
pub const LIMIT: u32 = 1000;

/// The project is listed.
#[derive(Debug)]
struct Dcs;

/// `20260313000000`, in UTC.
fn digits(time: Timestamp) -> Parameter {
    let text = Offset::UTC.to_datetime(time.to_jiff()).strftime("%Y%m%d%H%M%S");
    Parameter::Text(text.to_string())
}

impl Client for Dcs {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let since = scope.now.saturating_sub(REACH);
        let query = Query::new(&LIST)
            .with("start_time", digits(since))
            .with("end_time", digits(scope.until()))
            .with("limit", Parameter::Integer(LIMIT.into()))
            .with("offset", Parameter::Offset(LIMIT));
        vec![Query { resources: scope.resources.to_vec(), since: Some(since), ..query }]
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let rows = huawei::rows(&document, "/tasks")?;
        let mut page = Page::default();
        page.tasks = rows
            .iter()
            .filter_map(|row| listed(row, &query.resources, &mut page.unreadable))
            .collect();
        page.read_list(query, rows, "id", LIMIT, wire::integer(&document, "task_count"));
        Ok(page)
    }
}

fn listed(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Option<Task> {
    if !huawei::is_watched(resources, &Resource::default()) {
        return None;
    }
    let id = wire::task_id(row, "id", unreadable)?;
    let (state, word) = wire::status(&FACTS, row, "status", unreadable);
    let code = wire::text(row, "error_code").filter(|_| state == TaskState::Failed);
    let updated = wire::time(row, "updated_at", Offset::UTC, unreadable);
    Some(Task {
        kind: wire::text(row, "name").unwrap_or_default().into(),
        created: wire::time(row, "created_at", Offset::UTC, unreadable),
        ended: updated.filter(|_| state.is_final()),
        error: code.map(|code| Box::new(TaskError { code: code.into(), message: Box::default() })),
        ..Task::new(id, state, word)
    })
}
