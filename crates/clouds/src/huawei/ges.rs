//! HUAWEI CLOUD Graph Engine Service (GES): the jobs of its graphs.
//!
//! `GET /v2/{project_id}/graphs/jobs`, `ListJobs2`, <https://support.huaweicloud.com/intl/en-us/api-ges/>, read 2026-11-30;
//! field types from the official clients for Python (3.1.219) and Go (0.1.207). 100 rows a page; the largest
//! is not documented. The permission is inferred from the call's name. No rate limit is published.
//!
//! Oddities:
//!
//! - Times are in UTC and do not say so. A filter takes days, so none is sent.
//! - `job_progress` is "reserved, not used": it is never shown.
//! - `related_graph` is the name of a graph, not an id.
//! - The filter's word for `pending` is `waiting`, which is read, too.
//!
//! `job_detail` holds paths of files and is never read.

use std::sync::Arc;

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
use crate::model::{Resource, Task, TaskError, TaskState};
use crate::wire;

static LIST: Operation = Operation {
    name: "ListJobs2",
    permission: "ges:graph:list",
    per_second: 2,
    call: Call::Get("/v2/{project_id}/graphs/jobs"),
};

/// Graph Engine Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Ges };

const FACTS: Facts = Facts {
    name: "huawei_ges",
    product: "Graph Engine Service",
    cloud: Cloud::Huawei,
    service: "ges",
    doc: "https://support.huaweicloud.com/intl/en-us/api-ges/",
    finds: "the list of the region",
    shows: &[Detail::Started, Detail::Ended, Detail::Error],
    notes: &[
        "A task names its graph and no id. `resources` takes names of graphs.",
        "The permission is inferred from the call's name.",
        "Its field for the progress is reserved by the vendor and not shown.",
    ],
    operations: &[&LIST, &huawei::LIST_PROJECTS],
    statuses: &[
        ("pending", TaskState::Pending),
        ("waiting", TaskState::Pending),
        ("running", TaskState::Running),
        ("success", TaskState::Succeeded),
        ("failed", TaskState::Failed),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: None,
    error_by_id: false,
    endpoints: &hosts::GES,
    project: Some(&huawei::PROJECT),
};

/// The rows of a page.
pub const LIMIT: u32 = 100;

/// The project is listed.
#[derive(Debug)]
struct Ges;

impl Client for Ges {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = Query::new(&LIST)
            .with("limit", Parameter::Integer(LIMIT.into()))
            .with("offset", Parameter::Offset(LIMIT));
        vec![Query { resources: scope.resources.to_vec(), since: Some(scope.since), ..query }]
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let rows = huawei::rows(&document, "/job_list")?;
        let mut page = Page::default();
        page.tasks = rows
            .iter()
            .filter_map(|row| listed(row, &query.resources, &mut page.unreadable))
            .collect();
        page.read_list(query, rows, "job_id", LIMIT, wire::integer(&document, "job_count"));
        Ok(page)
    }
}

fn listed(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Option<Task> {
    let name: Option<Box<str>> = wire::text(row, "related_graph").map(Into::into);
    if !huawei::is_watched(resources, &Resource::new(name.clone().unwrap_or_default())) {
        return None;
    }
    let id = wire::task_id(row, "job_id", unreadable)?;
    let (state, word) = wire::status(&FACTS, row, "status", unreadable);
    let ended = wire::time(row, "end_time", Offset::UTC, unreadable);
    let reason = wire::text(row, "fail_reason").filter(|_| state == TaskState::Failed);
    Some(Task {
        kind: wire::text(row, "job_type").unwrap_or_default().into(),
        resource: Arc::new(Resource { id: Box::default(), name }),
        started: wire::time(row, "begin_time", Offset::UTC, unreadable)
            .filter(|_| state != TaskState::Pending),
        ended: ended.filter(|_| state.is_final()),
        error: reason
            .map(|reason| Box::new(TaskError { code: Box::default(), message: reason.into() })),
        ..Task::new(id, state, word)
    })
}
