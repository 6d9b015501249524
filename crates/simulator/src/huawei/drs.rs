//! Data Replication Service.

use dbtask_clouds::huawei::drs::LIMIT;
use dbtask_clouds::model::{Step, Task, TaskState};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Asked, Fault};
use crate::World;

/// The sort of job and its engine, from a kind such as `migration mysql`.
fn sort(task: &Task) -> (&str, &str) {
    task.kind.split_once(' ').unwrap_or(("migration", &task.kind))
}

fn number(body: &Value, name: &str, default: u64) -> Result<u64, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_u64().ok_or_else(Fault::parameter),
    }
}

/// The jobs of one sort. A page of no rows holds all.
pub(super) fn list(asked: &Asked, world: &World<'_>) -> Answer {
    let body = &asked.body;
    let wanted = body.get("db_use_type").and_then(Value::as_str).unwrap_or_default();
    if !["migration", "sync", "cloudDataGuard"].contains(&wanted) {
        let message = "The parameter db_use_type is invalid.";
        return Err(Fault(StatusCode::BAD_REQUEST, "DRS.M05001", message));
    }
    let (page, size) = (number(body, "cur_page", 1)?, number(body, "per_page", 10)?);
    if size > LIMIT.into() || page == 0 && size > 0 {
        return Err(Fault::parameter());
    }
    let found: Vec<&Task> = world.tasks.iter().filter(|task| sort(task).0 == wanted).collect();
    let size = if size == 0 { found.len() } else { usize::try_from(size).unwrap_or_default() };
    let skipped = usize::try_from(page.saturating_sub(1)).unwrap_or_default().saturating_mul(size);
    let shown = found.iter().skip(skipped).take(size);
    let rows: Vec<Value> = shown.map(|task| row(task)).collect();
    Ok(json!({ "total_record": found.len(), "jobs": rows }))
}

fn row(task: &Task) -> Value {
    let (sort, engine) = sort(task);
    let mut row = json!({
        "id": *task.id,
        "name": task.resource.name,
        "status": *task.vendor_status,
        "description": "",
        // Without a zone.
        "create_time": task.created.map(|time| time.to_jiff().strftime("%Y-%m-%d %H:%M:%S").to_string()),
        "engine_type": engine,
        "net_type": "eip",
        "billing_tag": true,
        "job_direction": "up",
        "db_use_type": sort,
        "task_type": "FULL_INCR_TRANS",
        "node_newFramework": false,
        "job_action": {
            "available_actions": ["PAUSE", "RETRY"],
            "unavailable_actions": ["START", "DELETE"],
            "current_action": null,
        },
    });
    if let (Some(fields), Some(_)) = (row.as_object_mut(), &task.error) {
        fields.insert("error_msg".to_owned(), SECRET.into());
    }
    row
}

/// What the vendor's texts look like.
const SECRET: &str =
    "Unable to connect to DBMS: url=jdbc:mysql://192.0.2.56:3306?useSSL=false user=EXAMPLEUSER";

/// How far jobs are; one that is not known is a row, too.
pub(super) fn progress(asked: &Asked, world: &World<'_>) -> Answer {
    let ids = asked.body.get("jobs").and_then(Value::as_array).ok_or_else(Fault::parameter)?;
    let one = |id: &Value| {
        let id = id.as_str().unwrap_or_default();
        match world.tasks.iter().find(|task| *task.id == *id) {
            Some(task) => advance(task),
            None => json!({
                "job_id": id,
                "error_code": "DRS.M00289",
                "error_msg": "The job does not exist.",
            }),
        }
    };
    let rows: Vec<Value> = ids.iter().map(one).collect();
    Ok(json!({ "count": rows.len(), "results": rows }))
}

fn advance(task: &Task) -> Value {
    let is_incremental = task.vendor_status.starts_with("INCRE_");
    let percent = task.progress.map_or(0.0, |progress| f64::from(progress.get()) * 100.0);
    let mut row = json!({
        "job_id": *task.id,
        "progress": if is_incremental { "100".to_owned() } else { format!("{percent:.0}") },
        "incre_trans_delay": "-1",
        "incre_trans_delay_millis": "-1",
        "task_mode": "FULL_INCR_TRANS",
        "transfer_status": *task.vendor_status,
        "process_time": "0",
        "remaining_time": task.remaining.map_or(0, |left| left.as_secs()).to_string(),
        "progress_map": parts(task),
        "apply_rows_rate": -1,
        "apply_bytes_rate": -1,
    });
    let failed = task.error.as_ref().filter(|_| task.state == TaskState::Failed);
    if let (Some(fields), Some(error)) = (row.as_object_mut(), failed) {
        fields.insert("error_code".to_owned(), (*error.code).into());
        fields.insert("error_msg".to_owned(), SECRET.into());
    }
    row
}

fn parts(task: &Task) -> Value {
    let part = |name: &str| {
        let step = task.steps.iter().find(|step| &*step.name == name);
        let percent = step.and_then(|step| step.progress);
        let left = step.and_then(|step: &Step| step.remaining);
        json!({
            "completed": percent.map_or_else(String::new, |it| format!("{:.0}%", it.get() * 100.0)),
            "remaining_time": left.map(|left| left.as_secs().to_string()),
        })
    };
    json!({ "struct": part("struct"), "data": part("data"), "index": part("index") })
}
