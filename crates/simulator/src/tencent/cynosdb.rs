//! TDSQL-C (`CynosDB`).

use bytes::Bytes;
use dbtask_clouds::model::{Step, Task};
use dbtask_clouds::tencent as client;
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// A filter. The vendor's text speaks of one value for each name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Filter {
    names: Vec<String>,
    values: Vec<String>,
    #[serde(default)]
    exact_match: bool,
}

impl Filter {
    fn lets_pass(&self, task: &Task) -> Result<bool, Fault> {
        let mut passes = true;
        for (name, value) in self.names.iter().zip(&self.values) {
            let field: &str = match name.as_str() {
                "ClusterId" => &task.resource.id,
                "ClusterName" => task.resource.name.as_deref().unwrap_or_default(),
                "Status" => &task.vendor_status,
                "TaskId" => &task.id,
                "TaskType" => &task.kind,
                "InstanceId" | "InstanceName" => "",
                _ => return Err(Fault::value("Filters")),
            };
            passes &=
                if self.exact_match { field == value } else { field.contains(value.as_str()) };
        }
        Ok(passes)
    }
}

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(
        request,
        &["StartTimeBegin", "StartTimeEnd", "Filters", "Limit", "Offset"],
    )?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT).map_err(|fault| {
        Fault::new("InvalidParameterValue.InvalidParameterValueError", fault.message)
    })?;
    let filters: Vec<Filter> = tencent::parameter(&parameters, "Filters")?.unwrap_or_default();
    if filters.iter().any(|filter| filter.names.len() != filter.values.len()) {
        return Err(Fault::value("Filters"));
    }
    let zone = world.target.utc_offset;
    let begin = tencent::time_parameter(&parameters, "StartTimeBegin", zone)?;
    let end = tencent::time_parameter(&parameters, "StartTimeEnd", zone)?;
    let mut found = Vec::new();
    for task in world.tasks {
        let mut passes = tencent::within(task.started.or(task.created), begin, end);
        for filter in &filters {
            passes &= filter.lets_pass(task)?;
        }
        if passes {
            found.push(task);
        }
    }
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "TaskList": rows }))
}

fn row(task: &Task, world: &World<'_>) -> Value {
    let time = |time| tencent::time_or(time, "0001-01-01 00:00:00", world);
    let is_going_on = |step: &&Step| step.progress.is_none_or(|progress| progress.get() < 1.0);
    let step = task.steps.iter().find(is_going_on);
    let remaining = step.and_then(|step| step.remaining).map_or(0, |left| left.as_secs());
    json!({
        "ID": tencent::id_value(&task.id),
        "TaskType": *task.kind,
        "Status": *task.vendor_status,
        "Process": tencent::percent(task.progress),
        "CreateTime": time(task.created),
        "StartTime": time(task.started),
        "EndTime": time(task.ended),
        "UpdateTime": time(Some(world.now)),
        "DelayTime": time(task.scheduled),
        "ClusterId": task.resource.id,
        "ClusterName": task.resource.name.as_deref().unwrap_or_default(),
        "InstanceId": "",
        "InstanceName": "",
        "InstanceGroupId": "",
        "ObjectId": task.resource.id,
        "ObjectType": "cluster",
        "ErrMsg": task.error.as_ref().map_or("", |error| &*error.message),
        "FlowId": 0,
        "TriggerTaskId": 0,
        "TaskProgressInfo": {
            "CurrentStep": step.map_or("", |step| &*step.name),
            "CurrentStepProgress": tencent::percent(step.and_then(|step| step.progress)),
            "CurrentStepRemainingTime": remaining.to_string(),
        },
        "Region": world.target.region,
        "AppId": 1_300_000_001,
        "Operator": "100000000001",
        "Input": tencent::ORDER,
        "Output": "",
    })
}
