//! Planned maintenance, `DescribeActiveOperationTasks`, which several products have.

use dbtask_clouds::endpoints::ALL_REGIONS;
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{self as alibaba, Parameters, Refused, parameter};
use crate::World;

/// How a product names things.
struct Product {
    service: &'static str,
    region: &'static str,
    id: &'static str,
    instance: &'static str,
    takes_all_regions: bool,
}

/// The usual names.
const PLAIN: Product = Product {
    service: "",
    region: "Region",
    id: "Id",
    instance: "InsName",
    takes_all_regions: true,
};

static PRODUCTS: &[Product] = &[Product {
    service: "polardb",
    region: "RegionId",
    id: "TaskId",
    instance: "DBClusterId",
    takes_all_regions: false,
}];

/// All sorts of maintenance, of one status or, with -1, of all.
pub(super) fn describe_active_operation_tasks(
    service: &str,
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let product = PRODUCTS.iter().find(|product| product.service == service).unwrap_or(&PLAIN);
    let invalid = |code| Refused(StatusCode::BAD_REQUEST, code, "the parameter is not valid");
    match parameter(parameters, product.region) {
        "" => return Err(invalid("MissingParameter")),
        ALL_REGIONS if product.takes_all_regions => {}
        region if region == world.target.region => {}
        _ => return Err(invalid("InvalidRegionId")),
    }
    let wanted = match parameter(parameters, "Status") {
        "" | "-1" => None,
        status if status.parse::<u8>().is_ok_and(|status| status <= 7) => Some(status),
        _ => return Err(invalid("InvalidStatus.Malformed")),
    };
    let kind = Some(parameter(parameters, "TaskType")).filter(|kind| !["", "all"].contains(kind));
    let found = |task: &&Task| {
        wanted.is_none_or(|status| *task.vendor_status == *status)
            && kind.is_none_or(|kind| *task.kind == *kind)
    };
    let tasks: Vec<&Task> = world.tasks.iter().filter(found).collect();
    let total = tasks.len();
    let (number, size, tasks) = alibaba::page(parameters, tasks)?;
    let rows: Vec<Value> = tasks.into_iter().map(|task| row(task, world, product)).collect();
    Ok(json!({
        "PageNumber": number,
        "PageSize": size,
        "TotalRecordCount": total,
        "Items": rows,
    }))
}

fn row(task: &Task, world: &World<'_>, product: &Product) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let number = |text: &str| text.parse::<u64>().map_or_else(|_| text.into(), Value::from);
    // What has not begun tells its plan; there is no end anywhere.
    let start = task.started.or(task.scheduled).or(task.created);
    let why = match task.state {
        TaskState::Failed => task.error.as_deref().map_or("", |error| &error.message),
        TaskState::Canceled => "userCancel",
        TaskState::Pending
        | TaskState::Running
        | TaskState::Paused
        | TaskState::Succeeded
        | TaskState::Unknown => "",
    };
    let mut row = Map::new();
    for (name, value) in [
        (product.id, number(&task.id)),
        (product.instance, (*task.resource.id).into()),
        ("InsComment", task.resource.name.as_deref().unwrap_or_default().into()),
        ("Region", world.target.region.as_str().into()),
        ("TaskType", (*task.kind).into()),
        ("Status", number(&task.vendor_status)),
        ("CreatedTime", time(task.created).into()),
        ("ModifiedTime", time(task.created).into()),
        ("StartTime", time(start).into()),
        ("SwitchTime", time(task.scheduled.or(start)).into()),
        ("Deadline", "".into()),
        ("ResultInfo", why.into()),
        ("TaskParams", "{ \"Action\": \"UpgradeDBInstance\" }".into()),
    ] {
        row.insert(name.to_owned(), value);
    }
    row.into()
}
