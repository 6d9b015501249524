//! The task centre, `DescribeHistoryTasks`, which several products have.

use std::time::Duration;

use dbtask_clouds::model::{Ratio, Task, TaskState, Timestamp};
use http::StatusCode;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{self as alibaba, Parameters, Refused, parameter};
use crate::World;

/// How one product differs from the others.
struct Product {
    service: &'static str,
    /// The product, as its rows spell it.
    name: &'static str,
    db_type: &'static str,
    /// The words that `Status` may name.
    filter: &'static [&'static str],
    /// Whether the total is written as a text.
    total_is_text: bool,
    /// Whether an instance's name is its id once more.
    repeats_id: bool,
    /// Whether good answers say that they are, and refusals come with a good status.
    says_success: bool,
}

/// The seven words that the vendor's tables have.
const WORDS: &[&str] =
    &["Scheduled", "Running", "Succeed", "Failed", "Cancelling", "Canceled", "Waiting"];

/// A product without oddities.
const PLAIN: Product = Product {
    service: "",
    name: "",
    db_type: "",
    filter: WORDS,
    total_is_text: false,
    repeats_id: false,
    says_success: false,
};

static PRODUCTS: &[Product] = &[
    Product { service: "rds", name: "rds", db_type: "mysql", ..PLAIN },
    Product {
        service: "polardb",
        name: "polardb",
        db_type: "polardb_mysql",
        filter: &["Scheduled", "Running", "Succeed", "Cancelling", "Canceled", "Waiting"],
        total_is_text: true,
        repeats_id: true,
        ..PLAIN
    },
    Product { service: "adb", name: "ads", db_type: "analyticdb", says_success: true, ..PLAIN },
    Product { service: "dds", name: "dds", db_type: "mongodb", ..PLAIN },
    Product { service: "r-kvstore", name: "kvstore", db_type: "redis", ..PLAIN },
];

/// Tasks that began earlier are not listed, whether they have ended or not.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// The vendor publishes no code of its own for this operation: those that all have are used.
pub(super) fn describe_history_tasks(
    service: &str,
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let product = PRODUCTS.iter().find(|product| product.service == service).unwrap_or(&PLAIN);
    alibaba::check_region(parameters, world)?;
    let from = second(parameters, "FromStartTime")?;
    let to = second(parameters, "ToStartTime")?;
    if to <= from {
        return Err(invalid("ToStartTime is not later than FromStartTime"));
    }
    let from = from.max(world.now.saturating_sub(KEPT).as_second());
    let (ids, instances) = (list(parameters, "TaskId")?, list(parameters, "InstanceId")?);
    let (kinds, words) = (list(parameters, "TaskType")?, list(parameters, "Status")?);
    if !words.iter().all(|word| product.filter.contains(word)) {
        return Err(invalid("Status is not valid"));
    }
    let is_one = |list: &[&str], text: &str| list.is_empty() || list.contains(&text);
    let found = |task: &&Task| {
        is_one(&ids, &task.id)
            && is_one(&instances, &task.resource.id)
            && is_one(&kinds, &task.kind)
            && is_one(&words, &task.vendor_status)
            && start(task).is_none_or(|start| (from..to).contains(&start.as_second()))
    };
    let tasks: Vec<&Task> = world.tasks.iter().filter(found).collect();
    let total = tasks.len();
    let (number, size) = page(parameters)?;
    let skipped = (number - 1).saturating_mul(size);
    let shown = tasks.into_iter().skip(skipped).take(size);
    let rows: Vec<Value> = shown.map(|task| row(task, world, product)).collect();
    let total = if product.total_is_text { total.to_string().into() } else { Value::from(total) };
    let mut body =
        json!({ "PageNumber": number, "PageSize": size, "TotalCount": total, "Items": rows });
    if let (true, Some(fields)) = (product.says_success, body.as_object_mut()) {
        fields.insert("Success".to_owned(), true.into());
        fields.insert("Code".to_owned(), "Success".into());
        fields.insert("Message".to_owned(), "Success".into());
        fields.insert("HttpStatusCode".to_owned(), 200.into());
    }
    Ok(body)
}

/// When a task began; of one that is scheduled, when it was asked for.
fn start(task: &Task) -> Option<Timestamp> {
    task.started.or(task.created)
}

fn row(task: &Task, world: &World<'_>, product: &Product) -> Value {
    // Those of MongoDB have no seconds in the vendor's examples, and have them in its text.
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let is_unfinished = |progress: Option<Ratio>| progress.is_none_or(|it| it.get() < 1.0);
    let step = task.steps.iter().find(|step| is_unfinished(step.progress)).or(task.steps.last());
    let step = step.filter(|_| task.state != TaskState::Pending);
    let name =
        if product.repeats_id { Some(&task.resource.id) } else { task.resource.name.as_ref() };
    json!({
        "TaskId": *task.id,
        "TaskType": *task.kind,
        "Status": *task.vendor_status,
        "Progress": percentage(task.progress.map_or(0.0, Ratio::get)),
        "RemainTime": task.remaining.map_or(0, |left| left.as_secs()),
        "StartTime": time(start(task)),
        "EndTime": time(task.ended),
        "CurrentStepName": step.map_or("", |step| &step.name),
        "InstanceId": task.resource.id,
        "InstanceName": name.map_or("", |name| name),
        "InstanceType": "Instance",
        "RegionId": world.target.region,
        "Product": product.name,
        "DbType": product.db_type,
        "CallerSource": "100000000000",
        "CallerUid": "User",
        "Uid": "100000000000",
        "ReasonCode": "ByUser",
        "ActionInfo": "{\"steps\":[]}",
        "TaskDetail": "{\"callerUid\":\"100000000000\"}",
    })
}

/// A percentage with one place behind the point, as a number.
fn percentage(progress: f32) -> f64 {
    (f64::from(progress) * 1000.0).round() / 10.0
}

/// A list of words, divided by commas; 30 at most.
fn list<'a>(parameters: &'a Parameters, name: &str) -> Result<Vec<&'a str>, Refused> {
    let words = parameter(parameters, name).split(',').map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.len() > 30 { Err(invalid("more than 30 values")) } else { Ok(words) }
}

/// The number and the size of the page: 10 to 100 rows, 10 where nothing is said.
fn page(parameters: &Parameters) -> Result<(usize, usize), Refused> {
    let number = match parameter(parameters, "PageNumber") {
        "" => Some(1),
        number => number.parse().ok().filter(|number| *number > 0),
    };
    let size = match parameter(parameters, "PageSize") {
        "" => Some(10),
        size => size.parse().ok().filter(|size| (10..=100).contains(size)),
    };
    number.zip(size).ok_or_else(|| invalid("PageNumber or PageSize is not valid"))
}

/// The Unix second of a time that has to be there, with seconds and in UTC.
fn second(parameters: &Parameters, name: &str) -> Result<i64, Refused> {
    let text = parameter(parameters, name);
    if text.is_empty() {
        let message = "FromStartTime and ToStartTime are needed";
        return Err(Refused(StatusCode::BAD_REQUEST, "MissingParameter", message));
    }
    let parts = strtime::parse("%Y-%m-%dT%H:%M:%SZ", text).ok().filter(|_| text.len() == 20);
    let civil = parts.and_then(|parts| parts.to_datetime().ok());
    let instant = civil.and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok());
    instant.map(jiff::Timestamp::as_second).ok_or_else(|| invalid("a time is not valid"))
}

fn invalid(message: &'static str) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "InvalidParameter", message)
}
