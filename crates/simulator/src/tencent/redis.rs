//! TencentDB for Redis and `KeeWiDB`.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::model::{Resource, Task};
use dbtask_clouds::tencent as client;
use dbtask_clouds::tencent::redis::{KINDS, RESULTS, WINDOW, result_of};
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// The one code that this service has for most mistakes.
const INVALID: &str = "InvalidParameter.InvalidParameter";

pub(super) fn list_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    // The last four filter by what a simulated task has no value for.
    const KNOWN: &[&str] = &[
        "InstanceId",
        "InstanceName",
        "Limit",
        "Offset",
        "TaskTypes",
        "BeginTime",
        "EndTime",
        "Result",
        "ProjectIds",
        "TaskStatus",
        "OperatorUin",
        "OperateUin",
    ];
    list(&tencent::parameters(request, KNOWN)?, world)
}

/// As of Redis, without a filter by result, and with an account in each row.
pub(super) fn keewidb_list_answer(
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Result<Value, Fault> {
    const KNOWN: &[&str] = &[
        "InstanceId",
        "InstanceName",
        "Limit",
        "Offset",
        "ProjectIds",
        "TaskTypes",
        "BeginTime",
        "EndTime",
        "TaskStatus",
    ];
    let mut answer = list(&tencent::parameters(request, KNOWN)?, world)?;
    let rows = answer.get_mut("Tasks").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten().filter_map(Value::as_object_mut) {
        row.insert("OperatorUin".to_owned(), json!("100000000001"));
    }
    Ok(answer)
}

fn list(parameters: &Value, world: &World<'_>) -> Result<Value, Fault> {
    let (offset, limit) = paging(parameters, client::LIMIT)?;
    let instance: Option<String> = tencent::parameter(parameters, "InstanceId")?;
    let name: Option<String> = tencent::parameter(parameters, "InstanceName")?;
    let results: Option<Vec<i64>> = tencent::parameter(parameters, "Result")?;
    let kinds: Option<Vec<String>> = tencent::parameter(parameters, "TaskTypes")?;
    let utc_offset = world.target.utc_offset;
    let begin = tencent::time_parameter(parameters, "BeginTime", utc_offset)?;
    let end = tencent::time_parameter(parameters, "EndTime", utc_offset)?;
    if let Some(id) = instance.as_deref().filter(|id| !tencent::exists(world, id)) {
        return Err(Fault::new(
            "ResourceNotFound.InstanceNotExists",
            format!("instance {id} not found"),
        ));
    }
    let begin = begin.max(Some(world.now.saturating_sub(WINDOW)));
    let named = |task: &Task| {
        task.resource.name.as_deref().unwrap_or_default() == name.as_deref().unwrap_or_default()
    };
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| instance.as_deref().is_none_or(|id| *task.resource.id == *id))
        .filter(|task| name.is_none() || named(task))
        .filter(|task| {
            tencent::is_among(results.as_deref(), |result| *result == result_in_list(task))
        })
        .filter(|task| {
            tencent::is_among(kinds.as_deref(), |kind| {
                kind == kind_in_list(task) || **kind == *task.kind
            })
        })
        .filter(|task| tencent::within(task.started, begin, end))
        .collect();
    let rows: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|task| row(task, world)).collect();
    Ok(json!({ "TotalCount": found.len(), "Tasks": rows }))
}

/// `Offset` and `Limit`, with this service's code and its rule that one is a multiple of the other.
fn paging(parameters: &Value, max_limit: u32) -> Result<(usize, usize), Fault> {
    let (offset, limit) = tencent::paging(parameters, max_limit)
        .map_err(|fault| Fault::new(INVALID, fault.message))?;
    if offset % limit != 0 {
        return Err(Fault::new(INVALID, "The offset is not a multiple of the limit."));
    }
    Ok((offset, limit))
}

fn result_in_list(task: &Task) -> i64 {
    // 3 is the one number in between that means nothing.
    result_of(&task.vendor_status).unwrap_or(3)
}

fn kind_in_list(task: &Task) -> &str {
    KINDS.iter().find(|(_, name)| *name == &*task.kind).map_or(&task.kind, |&(code, _)| code)
}

fn row(task: &Task, world: &World<'_>) -> Value {
    // Through the shortest decimal: the nearest double of 0.42 as a float is 0.41999998….
    let progress =
        task.progress.and_then(|progress| progress.get().to_string().parse::<f64>().ok());
    json!({
        "TaskId": tencent::id_value(&task.id),
        "StartTime": tencent::time_value(task.started, world),
        "TaskType": kind_in_list(task),
        "InstanceName": task.resource.name.as_deref().unwrap_or_default(),
        "InstanceId": task.resource.id,
        "ProjectId": 0,
        "Progress": progress.unwrap_or_default(),
        "EndTime": tencent::time_value(task.ended, world),
        "Result": result_in_list(task),
    })
}

pub(super) fn info_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(request, &["TaskId"])?;
    let id: Option<u64> = tencent::parameter(&parameters, "TaskId")?;
    let id = id.ok_or_else(|| Fault::missing("TaskId"))?;
    let id = id.to_string();
    let found = world.tasks.iter().find(|task| *task.id == *id);
    let task = found.ok_or_else(|| Fault::new(INVALID, "task id is invalid"))?;
    let status = &*task.vendor_status;
    Ok(json!({
        "Status": RESULTS.iter().find(|(code, _)| *code == status).map_or(status, |&(_, word)| word),
        "StartTime": tencent::time_value(task.started, world),
        "TaskType": *task.kind,
        "InstanceId": task.resource.id,
        "TaskMessage": task.error.as_ref().map_or("", |error| &*error.message),
    }))
}

pub(super) fn instances_answer(
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Result<Value, Fault> {
    // What a simulated instance has no value for is accepted, and filters nothing.
    let parameters = tencent::parameters(
        request,
        &[
            "Limit",
            "Offset",
            "InstanceId",
            "OrderBy",
            "OrderType",
            "VpcIds",
            "SubnetIds",
            "SearchKey",
            "ProjectIds",
            "InstanceName",
            "UniqVpcIds",
            "UniqSubnetIds",
            "RegionIds",
            "Status",
            "TypeVersion",
            "EngineName",
            "AutoRenew",
            "BillingMode",
            "Type",
            "SearchKeys",
            "TypeList",
            "MonitorVersion",
            "InstanceTags",
            "TagKeys",
            "ProductVersions",
            "InstanceIds",
            "AzMode",
        ],
    )?;
    let (offset, limit) = paging(&parameters, 1000)?;
    let id: Option<String> = tencent::parameter(&parameters, "InstanceId")?;
    let ids: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceIds")?;
    let name: Option<String> = tencent::parameter(&parameters, "InstanceName")?;
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| id.as_deref().is_none_or(|id| *resource.id == *id))
        .filter(|resource| tencent::is_among(ids.as_deref(), |id| **id == *resource.id))
        .filter(|resource| {
            name.as_deref().is_none_or(|name| resource.name.as_deref() == Some(name))
        })
        .collect();
    let rows: Vec<Value> = found
        .iter()
        .skip(offset)
        .take(limit)
        .map(|resource| instance_row(resource, world))
        .collect();
    Ok(json!({ "TotalCount": found.len(), "InstanceSet": rows }))
}

fn instance_row(resource: &Resource, world: &World<'_>) -> Value {
    json!({
        "InstanceName": resource.name.as_deref().unwrap_or_default(),
        "InstanceId": resource.id,
        "Appid": 1_300_000_001,
        "ProjectId": 0,
        "RegionId": 1,
        "ZoneId": 100_003,
        "Status": 2,
        "WanIp": "10.0.1.11",
        "Port": 6379,
        "Createtime": "2023-04-17 11:32:18",
        "Size": 4096,
        "Type": 15,
        "Engine": "Redis",
        "ProductType": "standalone",
        "InstanceTitle": "运行中",
        "CloseTime": "0000-00-00 00:00:00",
        "OfflineTime": "",
        "InstanceTags": [],
        "Region": world.target.region,
    })
}
