//! HUAWEI CLOUD Distributed Cache Service (DCS): migrations of data into its instances.
//!
//! - `GET /v2/{project_id}/migration-tasks`, `ListMigrationTask`: the project, 100 rows a page.
//! - `GET /v2/{project_id}/migration-task/{task_id}/stats`, `ShowMigrationTaskStats`: how far one is, which is
//!   asked for each whose full part is at work.
//!
//! <https://support.huaweicloud.com/intl/en-us/api-dcs/ListMigrationTask.html>, read 2026-11-30; field types from the
//! official clients for Python (3.1.219) and Go (0.1.207). Permissions: `dcs:migrationTask:list` and
//! `dcs:migrationTask:get`. No rate limit is published; the largest page is not documented either.
//!
//! Oddities:
//!
//! - `INCRMIGEATING` is how the vendor spells the incremental part, which has no end of its own.
//! - Numbers where the clients declare texts, and the other way round.
//! - There is no end time: `released_at` is when the machine for it was given back.
//!
//! The call for one task answers with passwords, so none is asked for by its id. Addresses of sources and
//! targets are never read.

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
    name: "ListMigrationTask",
    permission: "dcs:migrationTask:list",
    per_second: 2,
    call: Call::Get("/v2/{project_id}/migration-tasks"),
};

static STATS: Operation = Operation {
    name: "ShowMigrationTaskStats",
    permission: "dcs:migrationTask:get",
    per_second: 2,
    call: Call::Get("/v2/{project_id}/migration-task/{task_id}/stats"),
};

/// Migrations of the Distributed Cache Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Migrations };

const FACTS: Facts = Facts {
    name: "huawei_dcs_migration",
    product: "Distributed Cache Service, migrations",
    cloud: Cloud::Huawei,
    service: "dcs",
    doc: "https://support.huaweicloud.com/intl/en-us/api-dcs/ListMigrationTask.html",
    finds: "the list of the region",
    shows: &[Detail::Progress, Detail::Created, Detail::Error],
    notes: &[
        "A poll takes one call more for each migration whose full part is at work: how far it is.",
        "The incremental part has no end of its own, and no progress.",
        "The call for one task answers with passwords. It is never made, so a migration that has left the list is `unknown`.",
    ],
    operations: &[&LIST, &STATS, &huawei::LIST_PROJECTS],
    statuses: &[
        (MIGRATING, TaskState::Running),
        ("INCRMIGEATING", TaskState::Running),
        ("TERMINATING", TaskState::Running),
        ("SUCCESS", TaskState::Succeeded),
        ("FAILED", TaskState::Failed),
        ("MIGRATION_FAILED", TaskState::Failed),
        ("TERMINATED", TaskState::Canceled),
        ("RELEASED", TaskState::Canceled),
        ("DELETED", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: None,
    error_by_id: false,
    endpoints: &hosts::DCS,
    project: Some(&huawei::PROJECT),
};

const MIGRATING: &str = "MIGRATING";

/// The rows of a page.
pub const LIMIT: u32 = 100;

/// The list, then how far each migration in it is.
#[derive(Debug)]
struct Migrations;

impl Client for Migrations {
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
        let mut page = Page::default();
        let unreadable = &mut page.unreadable;
        if query.operation == &STATS {
            if document.get("full_migration_progress").is_none() {
                return Err(DecodeError::Missing("/full_migration_progress"));
            }
            let progress = wire::percent(&document, "full_migration_progress", unreadable);
            page.tasks = query.known.iter().cloned().map(|it| Task { progress, ..it }).collect();
            return Ok(page);
        }
        let rows = huawei::rows(&document, "/migration_tasks")?;
        page.tasks =
            rows.iter().filter_map(|row| listed(row, &query.resources, unreadable)).collect();
        page.read_list(query, rows, "task_id", LIMIT, wire::integer(&document, "count"));
        let at_work =
            page.tasks.iter().filter(|it| it.vendor_status.eq_ignore_ascii_case(MIGRATING));
        page.next.extend(at_work.map(|task| Query {
            known: vec![task.clone()],
            ..Query::new(&STATS).with("task_id", (*task.id).into())
        }));
        Ok(page)
    }
}

fn listed(row: &Value, resources: &[Arc<Resource>], unreadable: &mut Unreadable) -> Option<Task> {
    let resource = Resource {
        id: wire::text(row, "target_instance_id").unwrap_or_default().into(),
        name: wire::text(row, "target_instance_name").map(Into::into),
    };
    if !huawei::is_watched(resources, &resource) {
        return None;
    }
    let id = wire::task_id(row, "task_id", unreadable)?;
    let (state, word) = wire::status(&FACTS, row, "status", unreadable);
    let text = wire::text(row, "error_message").filter(|_| state == TaskState::Failed);
    Some(Task {
        kind: wire::text(row, "migration_type").unwrap_or_default().into(),
        resource: Arc::new(resource),
        created: wire::time(row, "created_at", Offset::UTC, unreadable),
        error: text.map(|text| Box::new(TaskError { code: Box::default(), message: text.into() })),
        ..Task::new(id, state, word)
    })
}
