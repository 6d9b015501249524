//! TencentDB for MySQL.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::model::{Resource, Task, TaskState};
use dbtask_clouds::tencent as client;
use dbtask_clouds::tencent::cdb::{STATUS_CODES, code_of};
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// The numbers by which kinds are filtered.
const KIND_CODES: &[(&str, i64)] = &[
    ("ROLLBACK", 1),
    ("SQL OPERATION", 2),
    ("IMPORT DATA", 3),
    ("MODIFY PARAM", 5),
    ("INITIAL", 6),
    ("REBOOT", 7),
    ("OPEN GTID", 8),
    ("UPGRADE RO", 9),
    ("BATCH ROLLBACK", 10),
    ("UPGRADE MASTER", 11),
    ("DROP TABLES", 12),
    ("SWITCH DR TO MASTER", 13),
];

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(
        request,
        &[
            "InstanceId",
            "AsyncRequestId",
            "TaskTypes",
            "TaskStatus",
            "StartTimeBegin",
            "StartTimeEnd",
            "Offset",
            "Limit",
        ],
    )?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)?;
    let instance: Option<String> = tencent::parameter(&parameters, "InstanceId")?;
    let request_id: Option<String> = tencent::parameter(&parameters, "AsyncRequestId")?;
    let statuses: Option<Vec<i64>> = tencent::parameter(&parameters, "TaskStatus")?;
    let kinds: Option<Vec<i64>> = tencent::parameter(&parameters, "TaskTypes")?;
    let utc_offset = world.target.utc_offset;
    let begin = tencent::time_parameter(&parameters, "StartTimeBegin", utc_offset)?;
    let end = tencent::time_parameter(&parameters, "StartTimeEnd", utc_offset)?;
    if instance.as_deref().is_some_and(|id| !tencent::exists(world, id)) {
        return Err(Fault::new(
            "InvalidParameter.InstanceNotFound",
            "The instance does not exist.",
        ));
    }
    let has_code = |wanted: &Option<Vec<i64>>, codes, word: &str| {
        wanted.as_ref().filter(|wanted| !wanted.is_empty()).is_none_or(|wanted| {
            code_of(codes, word.trim()).is_some_and(|code| wanted.contains(&code))
        })
    };
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| instance.as_deref().is_none_or(|id| *task.resource.id == *id))
        .filter(|task| request_id.as_deref().is_none_or(|id| async_request_id(task) == id))
        .filter(|task| has_code(&statuses, STATUS_CODES, &task.vendor_status))
        .filter(|task| has_code(&kinds, KIND_CODES, &task.kind))
        .filter(|task| tencent::within(task.started, begin, end))
        .collect();
    let items: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|task| item(task, world)).collect();
    Ok(json!({ "TotalCount": found.len(), "Items": items }))
}

fn item(task: &Task, world: &World<'_>) -> Value {
    let failed = task.state == TaskState::Failed;
    let (code, message) = match &task.error {
        Some(error) => (error.code.parse::<i64>().unwrap_or(-1), &*error.message),
        None if failed => (-1, ""),
        None if task.state == TaskState::Succeeded => (0, "Completed successfully"),
        None => (0, ""),
    };
    let instances: Vec<&str> =
        Some(&*task.resource.id).filter(|id| !id.is_empty()).into_iter().collect();
    json!({
        "Code": code,
        "Message": message,
        "JobId": tencent::id_value(&task.id),
        "AsyncRequestId": async_request_id(task),
        "TaskAttachInfo": [],
        "Progress": tencent::percent(task.progress),
        "StartTime": tencent::time_value(task.started, world),
        "EndTime": tencent::time_value(task.ended, world),
        "InstanceIds": instances,
        "TaskType": *task.kind,
        "TaskStatus": *task.vendor_status,
    })
}

/// Four groups of eight digits, as the vendor makes them.
fn async_request_id(task: &Task) -> String {
    let digits = tencent::scatter(&task.id);
    let group = |range| digits.get(range).unwrap_or_default();
    [group(0..8), group(8..16), group(16..24), group(24..32)].join("-")
}

pub(super) fn instances_answer(
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Result<Value, Fault> {
    // What a simulated instance has no value for is accepted, and filters nothing.
    let parameters = tencent::parameters(
        request,
        &[
            "ProjectId",
            "InstanceTypes",
            "Vips",
            "Status",
            "Offset",
            "Limit",
            "SecurityGroupId",
            "PayTypes",
            "InstanceNames",
            "TaskStatus",
            "EngineVersions",
            "VpcIds",
            "ZoneIds",
            "SubnetIds",
            "CdbErrors",
            "OrderBy",
            "OrderDirection",
            "WithSecurityGroup",
            "WithExCluster",
            "ExClusterId",
            "InstanceIds",
            "InitFlag",
            "WithDr",
            "WithRo",
            "WithMaster",
            "DeployGroupIds",
            "TagKeysForSearch",
            "CageIds",
            "TagValues",
            "UniqueVpcIds",
            "UniqSubnetIds",
            "Tags",
            "ProxyVips",
            "ProxyIds",
            "EngineTypes",
            "QueryClusterInfo",
        ],
    )?;
    let (offset, limit) = tencent::paging(&parameters, 2000)?;
    let ids: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceIds")?;
    let names: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceNames")?;
    let among = |wanted: &Option<Vec<String>>, text: &str| {
        wanted
            .as_ref()
            .filter(|wanted| !wanted.is_empty())
            .is_none_or(|wanted| wanted.iter().any(|one| one == text))
    };
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| among(&ids, &resource.id))
        .filter(|resource| among(&names, resource.name.as_deref().unwrap_or_default()))
        .collect();
    let items: Vec<Value> = found
        .iter()
        .skip(offset)
        .take(limit)
        .map(|resource| instance_item(resource, world))
        .collect();
    Ok(json!({ "TotalCount": found.len(), "Items": items }))
}

fn instance_item(resource: &Resource, world: &World<'_>) -> Value {
    let region = &world.target.region;
    json!({
        "InstanceId": resource.id,
        "InstanceName": resource.name.as_deref().unwrap_or_default(),
        "Region": region,
        "Zone": format!("{region}-1"),
        "Status": 1,
        "TaskStatus": 0,
        "InstanceType": 1,
        "ProjectId": 0,
        "EngineVersion": "8.0",
        "CreateTime": "2022-11-01 09:00:00",
        "DeadlineTime": "0000-00-00 00:00:00",
        "TagList": [],
        "DrInfo": [],
        "RoGroups": [],
    })
}
