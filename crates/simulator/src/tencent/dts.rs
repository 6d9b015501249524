//! Data Transmission Service.

use bytes::Bytes;
use dbtask_clouds::model::{Ratio, Step, Task, TaskState};
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// The most rows that both lists give for one call.
const MAX_LIMIT: u32 = 100;

/// Stands where real answers carry secrets.
const SECRET: &str = "PLACEHOLDER-NEVER-SHOW";

pub(super) fn migrations_answer(
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Result<Value, Fault> {
    // What a simulated job has no value for is accepted, and filters nothing.
    const KNOWN: &[&str] = &[
        "JobId",
        "JobName",
        "Status",
        "SrcInstanceId",
        "SrcRegion",
        "SrcDatabaseType",
        "SrcAccessType",
        "DstInstanceId",
        "DstRegion",
        "DstDatabaseType",
        "DstAccessType",
        "RunMode",
        "OrderSeq",
        "Limit",
        "Offset",
        "TagFilters",
    ];
    jobs(request, world, KNOWN, migration)
}

pub(super) fn syncs_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    const KNOWN: &[&str] = &[
        "JobId",
        "JobIds",
        "JobName",
        "Order",
        "OrderSeq",
        "Offset",
        "Limit",
        "Status",
        "RunMode",
        "JobType",
        "PayMode",
        "TagFilters",
        "SrcInfoPattern",
        "DstInfoPattern",
    ];
    jobs(request, world, KNOWN, sync)
}

fn jobs(
    request: &Request<Bytes>,
    world: &World<'_>,
    known: &[&str],
    row: fn(&Task, &World<'_>) -> Value,
) -> Result<Value, Fault> {
    let parameters = tencent::parameters(request, known)?;
    let (offset, limit) = tencent::paging(&parameters, MAX_LIMIT).map_err(|fault| {
        Fault::new("InvalidParameterValue.InvalidParameterValueError", fault.message)
    })?;
    let id: Option<String> = tencent::parameter(&parameters, "JobId")?;
    let statuses: Option<Vec<String>> = tencent::parameter(&parameters, "Status")?;
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| id.as_deref().is_none_or(|id| *task.id == *id))
        .filter(|task| tencent::is_among(statuses.as_deref(), |it| **it == *task.vendor_status))
        .collect();
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "JobList": rows }))
}

fn migration(task: &Task, world: &World<'_>) -> Value {
    let time = |time| tencent::time_value(time, world);
    let steps: Vec<Value> = steps(task)
        .map(|(number, step, word)| {
            json!({
                "StepNo": number,
                "StepName": step.name,
                "StepId": step.name,
                "Status": word,
                "StartTime": time(task.started),
                "StepMessage": "",
                "Percent": tencent::percent(step.progress),
                "Errors": [],
                "Warnings": [],
            })
        })
        .collect();
    let end = |instance: &str| {
        json!({
            "Region": world.target.region,
            "AccessType": "cdb",
            "DatabaseType": "mysql",
            "NodeType": "simple",
            "Info": [{ "Host": "192.0.2.37", "Port": 3306, "User": "root", "Password": SECRET,
                       "InstanceId": instance }],
            "Supplier": "",
            "ExtraAttr": [],
        })
    };
    json!({
        "JobId": *task.id,
        "JobName": task.resource.name.as_deref().unwrap_or_default(),
        "CreateTime": time(task.created),
        "UpdateTime": time(Some(world.now)),
        "StartTime": time(task.started),
        "EndTime": time(task.ended),
        "BriefMsg": task.error.as_ref().map_or("", |error| &*error.message),
        "Status": *task.vendor_status,
        "RunMode": "immediate",
        "ExpectRunTime": tencent::time_or_empty(task.scheduled, world),
        "StepInfo": {
            "StepAll": task.steps.len(),
            "StepNow": current(task),
            "MasterSlaveDistance": -1,
            "SecondsBehindMaster": -1,
            "StepInfo": steps,
        },
        "SrcInfo": end(""),
        "DstInfo": end(&task.resource.id),
        "CompareTask": { "CompareTaskId": "", "Status": "notexist" },
        "TradeInfo": { "TradeStatus": "normal", "PayType": "postpay", "BillingType": "billing" },
        "Tags": [],
        "AutoRetryTimeRangeMinutes": 5,
        "DumperResumeCtrl": "yes",
    })
}

fn sync(task: &Task, world: &World<'_>) -> Value {
    let time = |time| tencent::time_value(time, world);
    let known =
        |progress: Option<Ratio>| progress.map_or(-1, |progress| tencent::percent(Some(progress)));
    let steps: Vec<Value> = steps(task)
        .map(|(number, step, word)| {
            json!({
                "StepNo": number,
                "StepName": step.name,
                "StepId": step.name,
                "Status": word,
                "StartTime": time(task.started),
                "Progress": known(step.progress),
                "Errors": null,
                "Warnings": null,
            })
        })
        .collect();
    let message = task.error.as_ref().map_or("", |error| &*error.message);
    let end = |instance: &str| {
        json!({
            "Region": world.target.region, "InstanceId": instance, "Ip": "192.0.2.37", "Port": 3306,
            "User": "root", "Password": SECRET,
        })
    };
    json!({
        "JobId": *task.id,
        "JobName": task.resource.name.as_deref().unwrap_or_default(),
        "Status": *task.vendor_status,
        "CreateTime": time(task.created),
        "StartTime": time(task.started),
        "EndTime": time(task.ended),
        "RunMode": "Immediate",
        "ExpectRunTime": time(task.scheduled),
        "PayMode": "PostPay",
        "SrcDatabaseType": "mysql",
        "DstDatabaseType": "mysql",
        "SrcRegion": world.target.region,
        "DstRegion": world.target.region,
        "SrcInfo": end(""),
        "DstInfo": end(&task.resource.id),
        "Detail": {
            "StepAll": task.steps.len(),
            "StepNow": current(task),
            "Progress": known(task.progress),
            "CurrentStepProgress": -1,
            "MasterSlaveDistance": 0,
            "SecondsBehindMaster": 0,
            "Message": message,
            "StepInfos": steps,
            "ErrInfo": { "Reason": "", "Message": message, "Solution": "" },
        },
        "TradeStatus": "Normal",
        "Tags": [],
    })
}

/// Each step with its number, from 1, and how it stands.
fn steps(task: &Task) -> impl Iterator<Item = (usize, &Step, &'static str)> {
    let now = current(task);
    let has_failed = task.state == TaskState::Failed;
    (1..).zip(&task.steps).map(move |(number, step)| {
        let word = match number.cmp(&now) {
            _ if task.state == TaskState::Succeeded => "finished",
            std::cmp::Ordering::Less => "finished",
            std::cmp::Ordering::Equal if has_failed => "failed",
            std::cmp::Ordering::Equal => "running",
            std::cmp::Ordering::Greater => "notStarted",
        };
        (number, step, word)
    })
}

/// The number of the step at work, from 1; 0 where there are none.
fn current(task: &Task) -> usize {
    let is_open = |step: &Step| step.progress.is_none_or(|progress| progress.get() < 1.0);
    let open = task.steps.iter().position(is_open).map(|index| index + 1);
    open.unwrap_or(task.steps.len())
}
