//! AnalyticDB for MySQL.

use dbtask_clouds::model::{Ratio, Resource, Task, TaskState, Timestamp};
use dbtask_clouds::wire;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{self as alibaba, Parameters, Refused, parameter};
use crate::World;

/// The vendor documents no refusal of an unknown task id; `InvalidTaskId.…` follows the pattern of
/// its other codes.
pub(super) fn describe_task_info(
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let not_found = |code, message| Err(Refused(StatusCode::NOT_FOUND, code, message));
    let cluster = parameter(parameters, "DBClusterId");
    if !world.resources.iter().any(|resource| *resource.id == *cluster) {
        return not_found("InvalidDBCluster.NotFound", "there is no such cluster");
    }
    let id = parameter(parameters, "TaskId");
    if !wire::is_number(id) {
        return Err(alibaba::malformed("InvalidTaskId.Malformed"));
    }
    let task = world.tasks.iter().find(|task| *task.id == *id && *task.resource.id == *cluster);
    let Some(task) = task else {
        return not_found("InvalidTaskId.NotFound", "there is no such task");
    };
    let mut info = Map::new();
    let number = id.parse::<u64>().map_or_else(|_| Value::from(id), Value::from);
    info.insert("TaskId".to_owned(), number);
    info.insert("Status".to_owned(), (*task.vendor_status).into());
    if let Some(progress) = task.progress {
        info.insert("Progress".to_owned(), alibaba::percentage(progress).into());
    }
    for (field, time) in [("BeginTime", task.started), ("FinishTime", task.ended)] {
        if let Some(time) = time {
            info.insert(field.to_owned(), time.to_string().into());
        }
    }
    Ok(json!({ "TaskInfo": info }))
}

pub(super) fn describe_db_clusters(
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let warehouse = |cluster: &Resource| cluster.id.starts_with("am-");
    let shown: fn(bool) -> bool = match parameter(parameters, "DBClusterVersion") {
        "All" => |_| true,
        "3.0" => |warehouse| warehouse,
        "" | "5.0" => |warehouse| !warehouse,
        _ => return Err(alibaba::malformed("InvalidDBClusterVersion.Malformed")),
    };
    let mut clusters = alibaba::clusters(parameters, world)?;
    clusters.retain(|cluster| shown(warehouse(cluster)));
    let total = clusters.len();
    let (number, size, clusters) = alibaba::page(parameters, clusters)?;
    let rows: Vec<Value> =
        clusters.into_iter().map(|cluster| cluster_row(cluster, world)).collect();
    Ok(json!({
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": total,
        "Items": { "DBCluster": rows },
    }))
}

/// A cluster with the newest of its jobs.
fn cluster_row(cluster: &Resource, world: &World<'_>) -> Value {
    let mut row = json!({
        "DBClusterId": cluster.id,
        "DBClusterDescription": cluster.name.as_deref().unwrap_or_default(),
        "DBClusterStatus": "Running",
        "RegionId": world.target.region,
        "DBVersion": if cluster.id.starts_with("am-") { "3.0" } else { "5.0" },
        "Engine": "AnalyticDB",
        "Expired": "false",
        "LockMode": "0",
        "Tags": { "Tag": [] },
    });
    let is_job = |task: &&Task| task.resource.id == cluster.id && !wire::is_number(&task.id);
    if let (Some(task), Value::Object(fields)) = (world.tasks.iter().find(is_job), &mut row) {
        fields.insert("TaskInfo".to_owned(), job_info(task));
    }
    row
}

/// The vendor's word for a step. Where the scripted task does not say, its progress does.
fn step_status(state: Option<TaskState>, progress: Option<Ratio>) -> &'static str {
    match state {
        Some(TaskState::Pending) => "NOT_RUN",
        Some(TaskState::Succeeded) => "SUCCEED",
        Some(
            TaskState::Running
            | TaskState::Paused
            | TaskState::Failed
            | TaskState::Canceled
            | TaskState::Unknown,
        ) => "RUNNING",
        None => match progress.map_or(0.0, Ratio::get) {
            0.0 => "NOT_RUN",
            1.0 => "SUCCEED",
            _ => "RUNNING",
        },
    }
}

/// The first step carries the start of the job and the last one its end. A job without steps gets
/// one for that purpose.
fn job_info(task: &Task) -> Value {
    let percentage =
        |progress: Option<Ratio>| progress.map(alibaba::percentage).unwrap_or_default();
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let mut steps: Vec<(&str, Option<TaskState>, Option<Ratio>)> =
        task.steps.iter().map(|step| (&*step.name, step.state, step.progress)).collect();
    if steps.is_empty() {
        steps.push((&task.kind, None, task.progress));
    }
    let last = steps.len() - 1;
    let rows: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(n, &(name, state, progress))| {
            json!({
                "StepName": name,
                "StepDesc": name,
                "StepStatus": step_status(state, progress),
                "StepProgress": percentage(progress),
                "StartTime": time(task.started.filter(|_| n == 0)),
                "EndTime": time(task.ended.filter(|_| n == last)),
            })
        })
        .collect();
    json!({
        "Name": *task.kind,
        "Progress": percentage(task.progress),
        "Status": *task.vendor_status,
        "StepList": { "StepList": rows },
    })
}
