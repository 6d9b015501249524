//! `TcaplusDB`.

use bytes::Bytes;
use dbtask_clouds::model::{Task, TaskState};
use dbtask_clouds::tencent as client;
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    // Filters name what a simulated task has no value for.
    let parameters =
        tencent::parameters(request, &["ClusterIds", "TaskIds", "Filters", "Offset", "Limit"])?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)
        .map_err(|fault| Fault::new("InvalidParameterValue", fault.message))?;
    let clusters: Option<Vec<String>> = tencent::parameter(&parameters, "ClusterIds")?;
    let ids: Option<Vec<String>> = tencent::parameter(&parameters, "TaskIds")?;
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| tencent::is_among(clusters.as_deref(), |id| **id == *task.resource.id))
        .filter(|task| tencent::is_among(ids.as_deref(), |id| **id == *task.id))
        .collect();
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "TaskInfos": rows }))
}

fn row(task: &Task, world: &World<'_>) -> Value {
    let progress = match task.state {
        TaskState::Failed | TaskState::Canceled => -1,
        TaskState::Succeeded => 100,
        TaskState::Pending | TaskState::Running | TaskState::Paused | TaskState::Unknown => {
            tencent::percent(task.progress).min(99)
        }
    };
    let is_final = task.state.is_final();
    let changed = if is_final { task.ended } else { Some(world.now) };
    json!({
        "TaskId": *task.id,
        "TaskType": *task.kind,
        "TransId": "0",
        "ClusterId": task.resource.id,
        "ClusterName": task.resource.name.as_deref().unwrap_or_default(),
        "Progress": progress,
        "StartTime": tencent::time_value(task.started.or(task.created), world),
        "UpdateTime": tencent::time_value(changed, world),
        "Operator": "100000000001",
        "Content": tencent::ORDER,
    })
}
