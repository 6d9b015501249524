//! TencentDB for `PostgreSQL`.

use bytes::Bytes;
use dbtask_clouds::model::{Step, Task};
use dbtask_clouds::tencent as client;
use dbtask_clouds::tencent::postgres::WINDOW;
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// The one code that this service has for most mistakes.
const INVALID: &str = "InvalidParameterValue.InvalidParameterValueError";

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(
        request,
        &[
            "TaskId",
            "DBInstanceId",
            "MinStartTime",
            "MaxStartTime",
            "Limit",
            "Offset",
            "OrderBy",
            "OrderByType",
        ],
    )?;
    let limit: Option<u32> = tencent::parameter(&parameters, "Limit")?;
    if limit.is_some_and(|limit| limit > client::LIMIT) {
        return Err(Fault::new(
            "InvalidParameterValue.ParameterValueExceedError",
            "The parameter value exceeds the upper limit.",
        ));
    }
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)
        .map_err(|fault| Fault::new(INVALID, fault.message))?;
    let id: Option<u64> = tencent::parameter(&parameters, "TaskId")?;
    let id = id.map(|id| id.to_string());
    let instance: Option<String> = tencent::parameter(&parameters, "DBInstanceId")?;
    let offset_of_zone = world.target.utc_offset;
    let min = tencent::time_parameter(&parameters, "MinStartTime", offset_of_zone)?;
    let max = tencent::time_parameter(&parameters, "MaxStartTime", offset_of_zone)?;
    let order: Option<String> = tencent::parameter(&parameters, "OrderByType")?;
    let min = min.max(Some(world.now.saturating_sub(WINDOW)));
    let mut found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| id.as_deref().is_none_or(|id| *task.id == *id))
        .filter(|task| instance.as_deref().is_none_or(|id| *task.resource.id == *id))
        .filter(|task| tencent::within(task.started.or(task.created), min, max))
        .collect();
    if order.as_deref() == Some("asc") {
        found.reverse();
    }
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "TaskSet": rows }))
}

fn row(task: &Task, world: &World<'_>) -> Value {
    let current = task.steps.iter().find(|step| !is_done(step));
    let detail = json!({
        "CurrentStep": current.map_or("", |step| &*step.name),
        "AllSteps": steps(task),
        "Input": tencent::ORDER,
        "Output": "",
        "SwitchTag": 0,
        "SwitchTime": "",
        "Message": task.error.as_ref().map_or("", |error| &*error.message),
    });
    json!({
        "TaskId": tencent::id_value(&task.id),
        "TaskType": *task.kind,
        "DBInstanceId": task.resource.id,
        "StartTime": tencent::time_or_empty(task.started.or(task.created), world),
        "EndTime": tencent::time_or_empty(task.ended, world),
        "Status": *task.vendor_status,
        "Progress": tencent::percent(task.progress),
        "TaskDetail": detail,
    })
}

fn is_done(step: &Step) -> bool {
    step.progress.is_some_and(|progress| progress.get() >= 1.0)
}

/// A list as JSON text; the empty text where there are none.
fn steps(task: &Task) -> String {
    if task.steps.is_empty() {
        return String::new();
    }
    let step = |(index, step): (usize, &Step)| {
        json!({
            "StepId": index + 1,
            "StepName": step.name,
            "StepProcess": tencent::percent(step.progress),
            "StepMessage": "",
        })
    };
    task.steps.iter().enumerate().map(step).collect::<Value>().to_string()
}
