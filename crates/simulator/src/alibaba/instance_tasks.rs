//! `DescribeTasks` and `DescribeDBInstances` of products that list tasks instance by instance.

use dbtask_clouds::model::{Ratio, Step, Task, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{self as alibaba, Parameters, Refused, parameter};
use crate::World;

/// How a product differs.
struct Product {
    service: &'static str,
    /// Whether a window of dates has to be given.
    needs_dates: bool,
    /// Whether rows are wrapped, times have no seconds, and time left and steps are told.
    is_rds: bool,
    /// Rows a page, at least and at most.
    sizes: std::ops::RangeInclusive<usize>,
}

static PRODUCTS: &[Product] = &[
    Product { service: "rds", needs_dates: false, is_rds: true, sizes: 30..=100 },
    Product { service: "polardbx", needs_dates: true, is_rds: false, sizes: 5..=1000 },
];

fn product(service: &str) -> Result<&'static Product, Refused> {
    let found = PRODUCTS.iter().find(|product| product.service == service);
    found.ok_or_else(|| alibaba::malformed("InvalidAction.NotFound"))
}

pub(super) fn describe_tasks(
    service: &str,
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let product = product(service)?;
    let instance = parameter(parameters, "DBInstanceId");
    if !world.resources.iter().any(|resource| *resource.id == *instance) {
        let message = "there is no such instance";
        return Err(Refused(StatusCode::NOT_FOUND, "InvalidDBInstanceId.NotFound", message));
    }
    let mut window = None;
    if product.needs_dates {
        alibaba::check_region(parameters, world)?;
        let date = |name: &str| parameter(parameters, name).parse::<jiff::civil::Date>().ok();
        let dates = date("StartTime").zip(date("EndTime")).filter(|(start, end)| start <= end);
        window = Some(dates.ok_or_else(|| alibaba::malformed("InvalidStartTime.Malformed"))?);
    }
    let is_within = |task: &Task| {
        let date =
            task.started.map(|start| jiff::tz::Offset::UTC.to_datetime(start.to_jiff()).date());
        window.zip(date).is_none_or(|((start, end), date)| start <= date && date <= end)
    };
    let found = |task: &&Task| *task.resource.id == *instance && is_within(task);
    let tasks: Vec<&Task> = world.tasks.iter().filter(found).collect();
    let total = tasks.len();
    let (number, size) = page(parameters, product)?;
    let shown = tasks.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let rows: Vec<Value> = shown.map(|task| row(task, product)).collect();
    let count = if product.is_rds { rows.len() } else { size };
    let items = if product.is_rds { json!({ "TaskProgressInfo": rows }) } else { rows.into() };
    Ok(json!({
        "PageNumber": number,
        "PageRecordCount": count,
        "TotalRecordCount": total,
        "Items": items,
    }))
}

fn page(parameters: &Parameters, product: &Product) -> Result<(usize, usize), Refused> {
    let size = match parameter(parameters, "PageSize") {
        "" => Some(30),
        size => size.parse().ok().filter(|size| product.sizes.contains(size)),
    };
    let number = match parameter(parameters, "PageNumber") {
        "" => Some(1),
        number => number.parse().ok().filter(|number| *number > 0),
    };
    number.zip(size).ok_or_else(|| alibaba::malformed("InvalidPageSize.Malformed"))
}

fn row(task: &Task, product: &Product) -> Value {
    let time = |time: Option<Timestamp>| {
        let format = if product.is_rds { "%Y-%m-%dT%H:%MZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
        time.map(|time| time.to_jiff().strftime(format).to_string()).unwrap_or_default()
    };
    let error = task.error.as_deref().cloned().unwrap_or_default();
    let mut row = Map::new();
    for (name, value) in [
        ("TaskId", &*task.id),
        ("TaskAction", &*task.kind),
        ("Status", &*task.vendor_status),
        ("Progress", &task.progress.map(alibaba::percentage).unwrap_or_default()),
        ("ProgressInfo", ""),
        ("BeginTime", &time(task.started)),
        ("FinishTime", &time(task.ended)),
        ("DBName", ""),
        ("TaskErrorCode", &error.code),
        ("TaskErrorMessage", &error.message),
    ] {
        row.insert(name.to_owned(), value.into());
    }
    if product.is_rds {
        let steps: Vec<Value> = task.steps.iter().map(step).collect();
        let text =
            if steps.is_empty() { "null".to_owned() } else { Value::from(steps).to_string() };
        row.insert("StepsInfo".to_owned(), text.into());
        row.insert("Remain".to_owned(), task.remaining.map_or(0, |left| left.as_secs()).into());
    }
    row.into()
}

fn step(step: &Step) -> Value {
    let progress = step.progress.map_or(0.0, Ratio::get);
    let percent = (f64::from(progress) * 100.0).round();
    json!({
        "name": step.name,
        "progress": percent,
        "remain": step.remaining.map_or(0, |left| left.as_secs()),
    })
}

pub(super) fn describe_db_instances(
    service: &str,
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let product = product(service)?;
    alibaba::check_region(parameters, world)?;
    let (number, size) = page(parameters, product)?;
    let shown = world.resources.iter().skip((number - 1).saturating_mul(size)).take(size);
    let row = |id: &str, name: &str| {
        if product.is_rds {
            json!({ "DBInstanceId": id, "DBInstanceDescription": name, "Engine": "SQLServer" })
        } else {
            json!({ "Id": id, "DBInstanceName": id, "Description": name, "TagSet": [] })
        }
    };
    let rows: Vec<Value> = shown
        .map(|resource| row(&resource.id, resource.name.as_deref().unwrap_or_default()))
        .collect();
    let (count, total) = (rows.len(), world.resources.len());
    Ok(if product.is_rds {
        json!({
            "PageNumber": number,
            "PageRecordCount": count,
            "TotalRecordCount": total,
            "Items": { "DBInstance": rows },
        })
    } else {
        json!({ "PageNumber": number, "PageSize": size, "TotalNumber": total, "DBInstances": rows })
    })
}
