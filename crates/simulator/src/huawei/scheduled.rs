//! What the databases have planned.

use std::time::Duration;

use dbtask_clouds::api::TaskApi;
use dbtask_clouds::huawei::scheduled;
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use serde_json::{Value, json};

use super::{Answer, Asked, Fault, time, zoned};
use crate::World;

/// How one product's list differs from the others.
struct Product {
    api: &'static TaskApi,
    rows: &'static str,
    /// The filter by status.
    status: &'static str,
    most: usize,
    default_limit: usize,
    /// How far back it shows what was created, where it is not asked.
    days: u64,
    row: fn(&Task, &World<'_>) -> Value,
}

static DDS: Product = Product { api: &scheduled::DDS, ..NAMED_AS_JOBS };
static GEMINIDB: Product =
    Product { api: &scheduled::GEMINIDB, row: row_of_geminidb, ..NAMED_AS_JOBS };
static TAURUSDB: Product = Product {
    api: &scheduled::TAURUSDB,
    default_limit: 100,
    days: 30,
    row: row_of_taurusdb,
    ..NAMED_AS_JOBS
};

const NAMED_AS_JOBS: Product = Product {
    api: &scheduled::DDS,
    rows: "schedules",
    status: "job_status",
    most: 100,
    default_limit: 10,
    days: 7,
    row,
};

static RDS: Product = Product {
    api: &scheduled::RDS,
    rows: "schedule_tasks",
    status: "status",
    most: 50,
    default_limit: 10,
    days: 30,
    row: |task, world| {
        json!({
            "id": *task.id,
            "instance_id": task.resource.id,
            "instance_name": task.resource.name,
            "instance_status": "ACTIVE",
            "project_id": world.target.project_id,
            "name": *task.kind,
            "create_time": zoned(task.created),
            "start_time": planned(task),
            "end_time": planned_end(task),
            "order": "1",
            "status": *task.vendor_status,
            "datastore_type": "mysql",
            "target_config": { "flavor": "rds.mysql.n1.xlarge.2", "mem": "8", "cpu": "4" },
            "volume_type": "CLOUDSSD",
        })
    },
};

static GAUSSDB: Product = Product {
    api: &scheduled::GAUSSDB,
    rows: "tasks",
    status: "status",
    most: 100,
    default_limit: 100,
    days: 30,
    row: |task, _| {
        json!({
            "create_time": zoned(task.created),
            "instance_id": task.resource.id,
            "instance_name": task.resource.name,
            "start_time": planned(task),
            "status": *task.vendor_status,
            "target_config": "8.102.0.2",
            "task_id": *task.id,
            "task_name": *task.kind,
        })
    },
};

pub(super) fn of_dds(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &DDS)
}

pub(super) fn of_rds(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &RDS)
}

pub(super) fn of_taurusdb(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &TAURUSDB)
}

pub(super) fn of_geminidb(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &GEMINIDB)
}

pub(super) fn of_gaussdb(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &GAUSSDB)
}

fn list(asked: &Asked, world: &World<'_>, product: &Product) -> Answer {
    let is_unknown = |word: &str| product.api.facts.state(word) == TaskState::Unknown;
    let offset = asked.number("offset", 0)?;
    let limit = asked.number("limit", product.default_limit)?;
    if !(1..=product.most).contains(&limit) || asked.text(product.status).is_some_and(is_unknown) {
        return Err(Fault::parameter());
    }
    let instant = |name: &str| match asked.text(name) {
        Some(text) => time(text).map(Some).ok_or_else(Fault::parameter),
        None => Ok(None),
    };
    let (begin, end) = (instant("start_time")?, instant("end_time")?);
    let usual = Duration::from_hours(24 * product.days);
    let begin = begin.unwrap_or_else(|| world.now.saturating_sub(usual));
    let is_asked = |created: Timestamp| begin <= created && end.is_none_or(|end| created <= end);
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| asked.is(product.status, &task.vendor_status))
        .filter(|task| asked.is("instance_id", &task.resource.id))
        .filter(|task| task.created.is_none_or(is_asked))
        .collect();
    let shown = found.iter().skip(offset).take(limit);
    let rows: Vec<Value> = shown.map(|task| (product.row)(task, world)).collect();
    Ok(json!({ product.rows: rows, "total_count": found.len() }))
}

fn row(task: &Task, _world: &World<'_>) -> Value {
    json!({
        "job_id": *task.id,
        "job_name": *task.kind,
        "job_status": *task.vendor_status,
        "instance_id": task.resource.id,
        "instance_name": task.resource.name,
        "instance_status": "normal",
        "create_time": zoned(task.created),
        "start_time": planned(task),
        "end_time": planned_end(task),
    })
}

fn row_of_geminidb(task: &Task, world: &World<'_>) -> Value {
    with(row(task, world), json!({ "datastore_type": "GeminiDB(for Redis)" }))
}

fn row_of_taurusdb(task: &Task, world: &World<'_>) -> Value {
    let more = json!({
        "datastore_type": "gaussdb-mysql",
        "project_id": world.target.project_id,
        "target_config": { "cpu": "2", "flavor": "gaussdb.mysql.xlarge.arm.4", "mem": "8" },
    });
    with(row(task, world), more)
}

fn with(mut row: Value, more: Value) -> Value {
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

/// When a task is to begin; where nothing says so, an hour after it was asked for.
fn start(task: &Task) -> Option<Timestamp> {
    task.scheduled.or(task.created.map(|created| created + Duration::from_hours(1)))
}

fn planned(task: &Task) -> String {
    zoned(start(task))
}

/// Planned, too, whatever has become of the task.
fn planned_end(task: &Task) -> String {
    zoned(start(task).map(|start| start + Duration::from_hours(4)))
}
