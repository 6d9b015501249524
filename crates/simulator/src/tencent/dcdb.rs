//! TDSQL for `MySQL` (DCDB).

use bytes::Bytes;
use dbtask_clouds::model::Task;
use dbtask_clouds::tencent as client;
use dbtask_clouds::tencent::dcdb::KINDS;
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(
        request,
        &[
            "Statuses",
            "InstanceIds",
            "FlowTypes",
            "StartTime",
            "EndTime",
            "UTaskIds",
            "Limit",
            "Offset",
        ],
    )?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)?;
    let numbers = |name| tencent::parameter::<Vec<i64>>(&parameters, name);
    let (statuses, kinds, ids) =
        (numbers("Statuses")?, numbers("FlowTypes")?, numbers("UTaskIds")?);
    let instances: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceIds")?;
    let zone = world.target.utc_offset;
    let begin = tencent::time_parameter(&parameters, "StartTime", zone)?;
    let end = tencent::time_parameter(&parameters, "EndTime", zone)?;
    let is_among = |wanted: &Option<Vec<i64>>, number: Option<i64>| {
        tencent::is_among(wanted.as_deref(), |wanted| Some(*wanted) == number)
    };
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| is_among(&statuses, task.vendor_status.parse().ok()))
        .filter(|task| is_among(&kinds, kind(task).as_i64()))
        .filter(|task| is_among(&ids, task.id.parse().ok()))
        .filter(|task| tencent::is_among(instances.as_deref(), |id| **id == *task.resource.id))
        .filter(|task| tencent::within(task.created, begin, None))
        .filter(|task| end.is_none() || task.ended.is_some_and(|ended| Some(ended) <= end))
        .collect();
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "FlowSet": rows }))
}

/// The number for a sort of task; a word that has none stays as it is.
fn kind(task: &Task) -> Value {
    let known = KINDS.iter().find(|(_, word)| *word == &*task.kind);
    tencent::id_value(known.map_or(&task.kind, |&(number, _)| number))
}

fn row(task: &Task, world: &World<'_>) -> Value {
    json!({
        "Id": tencent::id_value(&task.id),
        "AppId": 1_300_000_001,
        "Status": tencent::id_value(&task.vendor_status),
        "UserTaskType": kind(task),
        "CreateTime": tencent::time_value(task.created, world),
        "EndTime": tencent::time_value(task.ended, world),
        "ErrMsg": task.error.as_ref().map_or("", |error| &*error.message),
        "InputData": tencent::ORDER,
        "InstanceId": task.resource.id,
        "InstanceName": task.resource.name.as_deref().unwrap_or_default(),
        "RegionId": 1,
    })
}
