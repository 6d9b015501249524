//! Graph Engine Service.

use dbtask_clouds::huawei::ges::LIMIT;
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Asked, Fault};
use crate::World;

fn refused() -> Fault {
    Fault(StatusCode::BAD_REQUEST, "GES.7010", "The request parameter is invalid.")
}

/// In UTC, without saying so.
fn bare(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_jiff().strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

pub(super) fn jobs(asked: &Asked, world: &World<'_>) -> Answer {
    let (offset, limit) = (asked.number("offset", 0)?, asked.number("limit", 10)?);
    // A filter by time takes days; one by status has a word of its own for what waits.
    let is_day = |text: &str| text.len() == 10;
    let words = ["running", "waiting", "success", "failed"];
    if !(1..=LIMIT as usize).contains(&limit)
        || ["start_time", "end_time"]
            .iter()
            .any(|name| asked.text(name).is_some_and(|it| !is_day(it)))
        || asked.text("status").is_some_and(|word| !words.contains(&word))
    {
        return Err(refused());
    }
    let wanted = asked.text("status").map(|word| if word == "waiting" { "pending" } else { word });
    let is_asked = |task: &&Task| wanted.is_none_or(|word| *task.vendor_status == *word);
    let found: Vec<&Task> = world.tasks.iter().filter(is_asked).collect();
    let rows: Vec<Value> = found.iter().skip(offset).take(limit).map(|task| row(task)).collect();
    Ok(json!({ "job_count": found.len(), "job_list": rows }))
}

fn row(task: &Task) -> Value {
    let mut row = json!({
        "job_id": *task.id,
        "status": *task.vendor_status,
        "job_type": *task.kind,
        "job_name": *task.kind,
        "related_graph": task.resource.name,
    });
    let Some(fields) = row.as_object_mut() else { return row };
    if task.state != TaskState::Pending {
        fields.insert("begin_time".to_owned(), bare(task.started).into());
        fields.insert("end_time".to_owned(), bare(task.ended).into());
        fields.insert("job_progress".to_owned(), 0.0.into());
    }
    if let Some(error) = &task.error {
        fields.insert("fail_reason".to_owned(), (*error.message).into());
    }
    row
}
