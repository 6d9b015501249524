//! The lists of jobs of the databases, and one job by its id.

use std::time::Duration;

use dbtask_clouds::api::TaskApi;
use dbtask_clouds::huawei::jobs;
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Answer, Asked, Fault, is_otc, percent, reason, time, zoned};
use crate::World;

/// How one product's list differs from the others.
struct Product {
    api: &'static TaskApi,
    /// The field of the rows, and of their count; empty where it is not sent.
    rows: &'static str,
    total: &'static str,
    /// The sizes that a page may have: these, or from 1 to the last.
    limits: &'static [usize],
    is_any_limit: bool,
    default_limit: usize,
    /// Whether a window has to be given.
    needs_window: bool,
    /// Whether times are Unix milliseconds in a query.
    in_milliseconds: bool,
    /// The name of the filter by id.
    id: &'static str,
    row: fn(&Task) -> Value,
    /// What stands beside the rows.
    beside: fn(&[&Task]) -> Value,
}

static DDS: Product = Product {
    api: &jobs::DDS,
    rows: "jobs",
    total: "",
    limits: &[100],
    is_any_limit: true,
    default_limit: 100,
    needs_window: true,
    in_milliseconds: false,
    id: "id",
    row: |task| {
        json!({
            "id": *task.id,
            "name": *task.kind,
            "instance_id": task.resource.id,
            "instance_name": task.resource.name,
            "status": *task.vendor_status,
            "progress": signed(task),
            "fail_reason": reason(task).unwrap_or_default(),
            "created_at": zoned(task.created),
            "ended_at": zoned(ended_or(task, Duration::from_secs(10))),
        })
    },
    beside: |_| json!({}),
};

static RDS: Product = Product {
    api: &jobs::RDS,
    rows: "tasks",
    total: "total_count",
    limits: &[50],
    is_any_limit: true,
    default_limit: 10,
    needs_window: false,
    in_milliseconds: true,
    id: "id",
    row: |task| {
        json!({
            "id": *task.id,
            "name": *task.kind,
            "instance_id": task.resource.id,
            "instance_name": task.resource.name,
            "instance_status": "STORAGE FULL",
            "order_id": "",
            "process": percent(task).unwrap_or_default(),
            "fail_reason": reason(task).unwrap_or_default(),
            "create_time": zoned(task.created),
            // When it is planned to end.
            "end_time": zoned(ended_or(task, Duration::from_hours(2))),
            "status": *task.vendor_status,
        })
    },
    beside: |tasks| json!({ "actions": kinds(tasks) }),
};

static TAURUSDB: Product = Product {
    api: &jobs::TAURUSDB,
    rows: "jobs",
    total: "total_count",
    limits: &[10, 20, 50],
    is_any_limit: false,
    default_limit: 10,
    needs_window: false,
    in_milliseconds: false,
    id: "job_id",
    row: |task| {
        json!({
            "instance_id": task.resource.id,
            "instance_name": task.resource.name,
            "instance_status": "normal",
            "job_id": *task.id,
            "order_id": "",
            "job_name": *task.kind,
            "status": *task.vendor_status,
            "process": signed(task),
            "created_time": zoned(task.created),
            "ended_time": zoned(task.ended),
            // An ended task may carry a reason without having failed.
            "fail_reason": if task.state == TaskState::Succeeded {
                "Single task exception."
            } else {
                reason(task).unwrap_or_default()
            },
            "show_detail": false,
            "extend_fields": null,
        })
    },
    beside: |tasks| json!({ "action_names": kinds(tasks) }),
};

static GEMINIDB: Product = Product {
    api: &jobs::GEMINIDB,
    rows: "jobs",
    total: "total_count",
    limits: &[10, 20, 50],
    is_any_limit: false,
    default_limit: 50,
    needs_window: false,
    in_milliseconds: false,
    id: "id",
    row: |task| {
        json!({
            "id": *task.id,
            "name": *task.kind,
            "status": *task.vendor_status,
            "start_time": zoned(task.created),
            "end_time": zoned(ended_or(task, Duration::from_secs(2))),
            "progress": signed(task),
            "instance": instance(task),
            "fail_reason": reason(task).unwrap_or_default(),
        })
    },
    beside: |_| json!({}),
};

static GAUSSDB: Product = Product {
    api: &jobs::GAUSSDB,
    rows: "tasks",
    total: "total_count",
    limits: &[100],
    is_any_limit: true,
    default_limit: 100,
    needs_window: false,
    in_milliseconds: true,
    id: "",
    row: |task| {
        json!({
            "instance_info": {
                "instance_id": task.resource.id,
                "instance_name": task.resource.name,
                "instance_status": "normal",
            },
            "job_id": *task.id,
            "name": *task.kind,
            "status": *task.vendor_status,
            "process": percent(task),
            "fail_reason": reason(task),
            "created_at": zoned(task.created),
            "ended_at": task.ended.map(|ended| zoned(Some(ended))),
        })
    },
    beside: |_| json!({}),
};

static DDM: Product = Product {
    api: &jobs::DDM,
    rows: "jobs",
    total: "total",
    limits: &[128],
    is_any_limit: true,
    default_limit: 10,
    needs_window: true,
    in_milliseconds: true,
    id: "",
    row: |task| {
        json!({
            "id": *task.id,
            "name": *task.kind,
            "status": *task.vendor_status,
            "created_time": zoned(task.created),
            "end_time": zoned(ended_or(task, Duration::ZERO)),
            "process": signed(task),
            "instance_name": task.resource.name,
            "instance_id": task.resource.id,
            "operations": if task.state == TaskState::Paused { json!(["toBeSwitched"]) } else { json!([]) },
            "database_name": "",
            "fail_reason": reason(task).unwrap_or_default(),
        })
    },
    beside: |_| json!({}),
};

pub(super) fn list_of_dds(asked: &Asked, world: &World<'_>) -> Answer {
    if is_otc(world) { Err(Fault::no_such_api()) } else { list(asked, world, &DDS) }
}

pub(super) fn list_of_rds(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &RDS)
}

pub(super) fn list_of_taurusdb(asked: &Asked, world: &World<'_>) -> Answer {
    if is_otc(world) { Err(Fault::no_such_api()) } else { list(asked, world, &TAURUSDB) }
}

pub(super) fn list_of_geminidb(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &GEMINIDB)
}

pub(super) fn list_of_gaussdb(asked: &Asked, world: &World<'_>) -> Answer {
    list(asked, world, &GAUSSDB)
}

pub(super) fn list_of_ddm(asked: &Asked, world: &World<'_>) -> Answer {
    let mut answer = list(asked, world, &DDM)?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("offset".to_owned(), asked.number("offset", 0)?.into());
        fields.insert("limit".to_owned(), asked.number("limit", 10)?.into());
    }
    Ok(answer)
}

fn list(asked: &Asked, world: &World<'_>, product: &Product) -> Answer {
    let (begin, end) = window(asked, world, product)?;
    let facts = &product.api.facts;
    let is_unknown = |word: &str| facts.state(word) == TaskState::Unknown;
    if asked.text("status").is_some_and(is_unknown) {
        return Err(Fault::parameter());
    }
    let offset = asked.number("offset", 0)?;
    let limit = asked.number("limit", product.default_limit)?;
    let most = product.limits.last().copied().unwrap_or_default();
    let fits = if product.is_any_limit {
        (1..=most).contains(&limit)
    } else {
        product.limits.contains(&limit)
    };
    if !fits {
        return Err(Fault::parameter());
    }
    let kind = if product.id == "job_id" { "job_name" } else { "name" };
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| asked.is("status", &task.vendor_status))
        .filter(|task| product.id.is_empty() || asked.is(product.id, &task.id))
        .filter(|task| asked.is(kind, &task.kind))
        .filter(|task| task.created.is_none_or(|created| (begin..=end).contains(&created)))
        .collect();
    let shown: Vec<&Task> = found.iter().copied().skip(offset).take(limit).collect();
    let rows: Vec<Value> = shown.iter().map(|task| (product.row)(task)).collect();
    let mut answer = Map::from_iter([(product.rows.to_owned(), rows.into())]);
    if let Value::Object(beside) = (product.beside)(&found) {
        answer.extend(beside);
    }
    if !product.total.is_empty() {
        answer.insert(product.total.to_owned(), found.len().into());
    }
    Ok(answer.into())
}

/// The window that is asked for, or what stands in for it.
fn window(
    asked: &Asked,
    world: &World<'_>,
    product: &Product,
) -> Result<(Timestamp, Timestamp), Fault> {
    let read = |name: &str, invalid: Fault| match asked.text(name) {
        None if product.needs_window => Err(Fault::parameter()),
        None => Ok(None),
        Some(text) => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let fits = is_number == product.in_milliseconds;
            time(text).filter(|_| fits).map(Some).ok_or(invalid)
        }
    };
    let bad = |code, message| Fault(StatusCode::BAD_REQUEST, code, message);
    let begin = read("start_time", bad("DBS.280067", "The start time is invalid."))?;
    let end = read("end_time", bad("DBS.280068", "The end time is invalid."))?;
    // What one database does not take, another may.
    let oldest = world.now.saturating_sub(jobs::WINDOW);
    if let Some((begin, end)) = begin.zip(end)
        && (end <= begin || !product.in_milliseconds && end.since(begin) > jobs::WINDOW)
    {
        return Err(bad("DBS.280068", "The end time is invalid."));
    }
    if begin.is_some() && end.is_none() && product.in_milliseconds {
        return Err(Fault::parameter());
    }
    let begin = begin.map_or(oldest, |begin| begin.max(oldest));
    Ok((begin, end.unwrap_or(world.now + jobs::WINDOW)))
}

pub(super) fn one_of_dds(asked: &Asked, world: &World<'_>) -> Answer {
    let task = by_id(asked, world)?;
    let ended = ended_or(task, Duration::from_secs(10));
    let mut job = job(task, "created", "ended", ended);
    job.extend([
        ("progress".to_owned(), signed(task).into()),
        ("fail_reason".to_owned(), reason(task).into()),
    ]);
    Ok(json!({ "job": job }))
}

pub(super) fn one_of_taurusdb(asked: &Asked, world: &World<'_>) -> Answer {
    let task = by_id(asked, world)?;
    let mut job = job(task, "created", "ended", task.ended);
    job.extend([
        ("process".to_owned(), signed(task).into()),
        ("entities".to_owned(), json!({})),
        ("fail_reason".to_owned(), reason(task).unwrap_or_default().into()),
    ]);
    Ok(json!({ "job": job }))
}

pub(super) fn one_of_gaussdb(asked: &Asked, world: &World<'_>) -> Answer {
    let task = by_id(asked, world)?;
    let mut job = job(task, "created", "ended", task.ended);
    job.extend([
        ("progress".to_owned(), signed(task).into()),
        ("fail_reason".to_owned(), reason(task).into()),
    ]);
    Ok(json!({ "job": job }))
}

/// The only one by a path, and the only one without a reason.
pub(super) fn one_of_ddm(asked: &Asked, world: &World<'_>) -> Answer {
    let found = world.tasks.iter().find(|task| *task.id == *asked.part(3));
    let message = "Failed to obtain task information.";
    let task = found.ok_or(Fault(StatusCode::BAD_REQUEST, "DBS.300120", message))?;
    let ended = ended_or(task, Duration::from_hours(6));
    let mut job = job(task, "created_time", "end_time", ended);
    job.insert("process".to_owned(), signed(task).into());
    Ok(json!({ "job": job }))
}

fn by_id<'a>(asked: &Asked, world: &World<'a>) -> Result<&'a Task, Fault> {
    let id = asked.text("id").ok_or_else(Fault::parameter)?;
    let found = world.tasks.iter().find(|task| *task.id == *id);
    found.ok_or(Fault(StatusCode::BAD_REQUEST, "DBS.200543", "The job does not exist."))
}

/// What the answers about one job have in common.
fn job(task: &Task, created: &str, ended: &str, end: Option<Timestamp>) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), json!(*task.id)),
        ("name".to_owned(), json!(*task.kind)),
        ("status".to_owned(), json!(*task.vendor_status)),
        (created.to_owned(), zoned(task.created).into()),
        (ended.to_owned(), zoned(end).into()),
        ("instance".to_owned(), instance(task)),
    ])
}

fn instance(task: &Task) -> Value {
    json!({ "id": task.resource.id, "name": task.resource.name })
}

/// When the task ended; of one that goes on, some meaningless time after its beginning.
fn ended_or(task: &Task, after: Duration) -> Option<Timestamp> {
    if task.state.is_final() { task.ended } else { task.created.map(|created| created + after) }
}

fn signed(task: &Task) -> String {
    percent(task).map(|percent| format!("{percent}%")).unwrap_or_default()
}

/// The names that can be filtered by.
fn kinds(tasks: &[&Task]) -> Vec<String> {
    let mut kinds: Vec<String> = tasks.iter().map(|task| task.kind.to_string()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
