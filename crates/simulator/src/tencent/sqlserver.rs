//! TencentDB for SQL Server.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::model::{Resource, Task};
use dbtask_clouds::tencent as client;
use http::Request;
use serde_json::{Value, json};

use super::{self as tencent, Fault};
use crate::World;

/// The one code that this service has for most mistakes.
const INVALID: &str = "InvalidParameter.InputIllegal";

pub(super) fn tasks_answer(request: &Request<Bytes>, world: &World<'_>) -> Result<Value, Fault> {
    let parameters = tencent::parameters(request, &["InstanceId", "Limit", "Status", "Offset"])?;
    let instance: Option<String> = tencent::parameter(&parameters, "InstanceId")?;
    let instance = instance.ok_or_else(|| Fault::missing("InstanceId"))?;
    let limit: Option<u32> = tencent::parameter(&parameters, "Limit")?;
    limit.ok_or_else(|| Fault::missing("Limit"))?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)
        .map_err(|fault| Fault::new(INVALID, fault.message))?;
    let status: Option<i64> = tencent::parameter(&parameters, "Status")?;
    if !tencent::exists(world, &instance) {
        return Err(Fault::new(
            "ResourceNotFound.InstanceNotFound",
            format!("instance {instance} not found"),
        ));
    }
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| *task.resource.id == *instance)
        .filter(|task| status.is_none_or(|status| *task.vendor_status == status.to_string()))
        .collect();
    let rows = tencent::page(&found, offset, limit, |task| row(task, world));
    Ok(json!({ "TotalCount": found.len(), "InstanceTaskSet": rows }))
}

fn row(task: &Task, world: &World<'_>) -> Value {
    let error = task.error.as_ref();
    json!({
        "Id": tencent::id_value(&task.id),
        "Type": tencent::id_value(&task.kind),
        "Status": tencent::id_value(&task.vendor_status),
        "Progress": tencent::percent(task.progress),
        "StartTime": tencent::time_value(task.started.or(task.created), world),
        "EndTime": tencent::time_value(task.ended, world),
        "ErrorCode": error.and_then(|error| error.code.parse::<i64>().ok()).unwrap_or_default(),
        "Message": error.map_or("", |error| &*error.message),
    })
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
            "Status",
            "Offset",
            "Limit",
            "InstanceIdSet",
            "PayMode",
            "VpcId",
            "SubnetId",
            "VipSet",
            "InstanceNameSet",
            "VersionSet",
            "Zone",
            "TagKeys",
            "SearchKey",
            "UidSet",
            "InstanceType",
            "PaginationType",
        ],
    )?;
    let kind: Option<String> = tencent::parameter(&parameters, "PaginationType")?;
    let (offset, limit) = tencent::paging(&parameters, client::LIMIT)
        .map_err(|fault| Fault::new(INVALID, fault.message))?;
    // A page number, from 0, unless told otherwise.
    let offset = match kind.as_deref() {
        None | Some("pageNumber") => offset * limit,
        Some("offset") => offset,
        Some(_) => return Err(Fault::value("PaginationType")),
    };
    let status: Option<i64> = tencent::parameter(&parameters, "Status")?;
    let ids: Option<Vec<String>> = tencent::parameter(&parameters, "InstanceIdSet")?;
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|instance| tencent::is_among(ids.as_deref(), |id| **id == *instance.id))
        .filter(|instance| status.is_none_or(|status| status == status_of(instance, world)))
        .collect();
    let rows = tencent::page(&found, offset, limit, |instance| instance_row(instance, world));
    Ok(json!({ "TotalCount": found.len(), "DBInstances": rows }))
}

/// 7 while a task runs there, else 2.
fn status_of(instance: &Resource, world: &World<'_>) -> i64 {
    let mut tasks = world.tasks.iter().filter(|task| task.resource.id == instance.id);
    if tasks.any(|task| !task.state.is_final()) { 7 } else { 2 }
}

fn instance_row(instance: &Resource, world: &World<'_>) -> Value {
    json!({
        "InstanceId": instance.id,
        "Name": instance.name.as_deref().unwrap_or_default(),
        "ProjectId": 0,
        "RegionId": 1,
        "ZoneId": 100_003,
        "Status": status_of(instance, world),
        "Vip": "10.0.0.16",
        "Vport": 1433,
        "CreateTime": "2025-11-07 16:21:01",
        "UpdateTime": "2026-02-07 20:04:03",
        "StartTime": "2025-11-07 16:21:01",
        "EndTime": "0000-00-00 00:00:00",
        "IsolateTime": "0000-00-00 00:00:00",
        "Region": world.target.region,
        "Zone": format!("{}-3", world.target.region),
        "InstanceType": "HA",
        "TimeZone": "China Standard Time",
        "ResourceTags": null,
    })
}
