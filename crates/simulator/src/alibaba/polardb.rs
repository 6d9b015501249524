//! PolarDB.

use std::time::Duration;

use dbtask_clouds::alibaba::polardb::{MINUTES, STATUSES};
use dbtask_clouds::model::{Step, Task, Timestamp};
use http::StatusCode;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{self as alibaba, Parameters, Refused, parameter};
use crate::World;

/// Nodes are not simulated, so a `DBNodeId` without a `DBClusterId` is refused.
pub(super) fn describe_tasks(parameters: &Parameters, world: &World<'_>) -> Result<Value, Refused> {
    let cluster = match parameter(parameters, "DBClusterId") {
        "" if parameters.contains_key("DBNodeId") => {
            return Err(alibaba::malformed("InvalidDBNodeId.Malformed"));
        }
        "" => return Err(alibaba::malformed("InvalidDBClusterId.Malformed")),
        cluster => cluster,
    };
    if !world.resources.iter().any(|resource| *resource.id == *cluster) {
        let message = "there is no such cluster";
        return Err(Refused(StatusCode::NOT_FOUND, "InvalidDBClusterId.NotFound", message));
    }
    let (start, end) = (parameter(parameters, "StartTime"), parameter(parameters, "EndTime"));
    let from = minute(start).ok_or(alibaba::malformed("InvalidStartTime.Malformed"))?;
    let to = minute(end)
        .filter(|to| *to > from)
        .ok_or(alibaba::malformed("InvalidEndTime.Malformed"))?;
    let wanted = match parameter(parameters, "Status") {
        "" => "Waiting,Running",
        words => words,
    };
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    if !wanted.iter().all(|word| STATUSES.iter().any(|(known, _)| known == word)) {
        return Err(alibaba::malformed("InvalidStatus.Malformed"));
    }
    let found = |task: &&Task| {
        *task.resource.id == *cluster
            && wanted.iter().any(|word| *word == &*task.vendor_status)
            && task.started.is_none_or(|begin| (from..=to).contains(&begin.as_second()))
    };
    let tasks: Vec<&Task> = world.tasks.iter().filter(found).collect();
    let total = tasks.len();
    let (number, _, tasks) = alibaba::page(parameters, tasks)?;
    let rows: Vec<Value> = tasks.into_iter().map(task_row).collect();
    Ok(json!({
        "DBClusterId": cluster,
        "StartTime": start,
        "EndTime": end,
        "PageNumber": number,
        "PageRecordCount": rows.len(),
        "TotalRecordCount": total,
        "Tasks": { "Task": rows },
    }))
}

/// The Unix second of a time with minutes but no seconds.
fn minute(text: &str) -> Option<i64> {
    let parts = strtime::parse(MINUTES, text).ok().filter(|_| text.len() == 17)?;
    let instant = TimeZone::UTC.to_timestamp(parts.to_datetime().ok()?).ok()?;
    Some(instant.as_second())
}

fn task_row(task: &Task) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let error = task.error.as_deref().cloned().unwrap_or_default();
    let steps: Vec<Value> = task.steps.iter().map(step_row).collect();
    let done = |step: &&Step| step.progress.is_some_and(|progress| progress.get() >= 1.0);
    let current = steps.len().min(task.steps.iter().take_while(done).count() + 1);
    let current_name = task.steps.get(current.wrapping_sub(1)).map_or("", |step| &step.name);
    let mut row = json!({
        "TaskId": *task.id,
        "TaskAction": *task.kind,
        "BeginTime": time(task.started),
        "FinishTime": time(task.ended),
        "CurrentStepName": current_name,
        "StepProgressInfo": format!("{current}/{}", steps.len()),
        "StepsInfo": Value::from(steps).to_string(),
        "ExpectedFinishTime": "",
        "ProgressInfo": "",
        "DBName": "",
        "TaskErrorCode": error.code,
        "TaskErrorMessage": error.message,
    });
    if let Value::Object(fields) = &mut row {
        measure(
            fields,
            "Progress",
            "Remain",
            task.progress.map(alibaba::percentage),
            task.remaining,
        );
    }
    row
}

fn step_row(step: &Step) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), (*step.name).into());
    let progress = step.progress.map(alibaba::percentage);
    measure(&mut fields, "progress", "remain", progress, step.remaining);
    Value::Object(fields)
}

/// Adds the whole percentage and the seconds left that are known, as numbers.
fn measure(
    fields: &mut Map<String, Value>,
    progress_field: &str,
    remain_field: &str,
    progress: Option<String>,
    remaining: Option<Duration>,
) {
    if let Some(progress) = progress.and_then(|progress| progress.parse::<u64>().ok()) {
        fields.insert(progress_field.to_owned(), progress.into());
    }
    if let Some(remaining) = remaining {
        fields.insert(remain_field.to_owned(), remaining.as_secs().into());
    }
}

pub(super) fn describe_db_clusters(
    parameters: &Parameters,
    world: &World<'_>,
) -> Result<Value, Refused> {
    let clusters = alibaba::clusters(parameters, world)?;
    let total = clusters.len();
    let (number, _, clusters) = alibaba::page(parameters, clusters)?;
    let rows: Vec<Value> = clusters
        .into_iter()
        .map(|cluster| {
            json!({
                "DBClusterId": cluster.id,
                "DBClusterDescription": cluster.name.as_deref().unwrap_or_default(),
                "DBClusterStatus": "Running",
                "RegionId": world.target.region,
                "Engine": "POLARDB",
                "DBType": "MySQL",
                "DBVersion": "8.0",
                "PayType": "Postpaid",
                "Expired": "false",
                "LockMode": "Unlock",
                "Tags": { "Tag": [] },
                "DBNodes": { "DBNode": [] },
            })
        })
        .collect();
    Ok(json!({
        "PageNumber": number,
        "PageRecordCount": rows.len(),
        "TotalRecordCount": total,
        "Items": { "DBCluster": rows },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minutes_are_a_minute() {
        assert_eq!(minute("2020-12-02T03:00Z"), Some(1_606_878_000));
        for text in [
            "",
            "2020-12-02T03:00:00Z",
            "2020-12-02T03:00",
            "2020-12-2T03:00Z",
            "2020-13-02T03:00Z",
        ] {
            assert_eq!(minute(text), None, "{text}");
        }
    }
}
