//! Projects of `OceanBase`. It refuses with a good status.

use dbtask_clouds::alibaba::oceanbase::TYPES;
use dbtask_clouds::model::{Ratio, Step, Task, TaskState, Timestamp};
use serde_json::{Value, json};

use super::{Parameters, parameter};
use crate::World;

pub(super) fn list_projects(parameters: &Parameters, world: &World<'_>) -> Value {
    let of = parameter(parameters, "Type");
    if !TYPES.contains(&of) {
        return refused("Type");
    }
    let number = |name, usual: usize| match parameter(parameters, name) {
        "" => Some(usual),
        text => text.parse().ok().filter(|number| *number > 0),
    };
    let size = number("PageSize", 10).filter(|size| *size <= 150);
    let Some((number, size)) = number("PageNumber", 1).zip(size) else {
        return refused("PageSize");
    };
    let found: Vec<&Task> = world.tasks.iter().filter(|task| type_of(task) == of).collect();
    let total = found.len();
    let shown = found.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let rows: Vec<Value> = shown.map(|task| row(task, of)).collect();
    json!({
        "Success": true,
        "Code": null,
        "Message": null,
        "ErrorDetail": null,
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": total,
        "Data": rows,
    })
}

/// The type of a project, which the kind of a scripted task says.
fn type_of(task: &Task) -> &'static str {
    TYPES.iter().find(|of| of.eq_ignore_ascii_case(&task.kind)).copied().unwrap_or("MIGRATION")
}

fn row(task: &Task, of: &str) -> Value {
    // Beijing's time, without a zone.
    let time = |time: Option<Timestamp>| {
        let beijing = jiff::tz::offset(8);
        time.map(|time| {
            beijing.to_datetime(time.to_jiff()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
        })
    };
    let mut steps = task.steps.to_vec();
    if steps.is_empty() {
        let (state, progress) = (Some(task.state), task.progress);
        steps.push(Step { name: "FULL_TRANSFER".into(), state, progress, remaining: None });
    }
    let count = steps.len();
    let steps: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(n, step)| step_row(n + 1, step, task, n + 1 == count))
        .collect();
    json!({
        "Id": *task.id,
        "Name": task.resource.name.as_deref().unwrap_or_default(),
        "Type": of,
        "Status": *task.vendor_status,
        "Owner": "admin",
        "GmtCreate": time(task.created),
        "GmtStart": time(task.started),
        "GmtFinish": time(task.ended),
        "ExtraInfo": { "RunningProgress": task.progress.map(percent) },
        "SourceConnectInfo": { "Host": "192.0.2.21", "Port": 3306, "Username": "oms" },
        "Labels": [],
        "Steps": steps,
    })
}

fn step_row(order: usize, step: &Step, task: &Task, is_last: bool) -> Value {
    let state = step.state.unwrap_or(match step.progress.map_or(0.0, Ratio::get) {
        1.0 => TaskState::Succeeded,
        0.0 => TaskState::Pending,
        _ => task.state,
    });
    let word = match state {
        TaskState::Pending => "INIT",
        TaskState::Running | TaskState::Unknown => "RUNNING",
        TaskState::Paused => "SUSPEND",
        TaskState::Failed | TaskState::Canceled => "FAILED",
        TaskState::Succeeded => "FINISHED",
    };
    let error = task.error.as_deref().filter(|_| is_last);
    let details: Vec<Value> = error
        .iter()
        .map(|error| json!({ "Code": error.code, "Level": "ERROR", "Message": error.message }))
        .collect();
    json!({
        "Order": order,
        "Name": step.name,
        "Status": word,
        "Progress": step.progress.map(percent),
        "ExtraInfo": { "ErrorDetails": details },
    })
}

fn percent(progress: Ratio) -> u64 {
    let whole = (f64::from(progress.get()) * 100.0).round();
    format!("{whole:.0}").parse().unwrap_or_default()
}

fn refused(parameter: &str) -> Value {
    json!({
        "Success": false,
        "ErrorDetail": {
            "Code": "INVALID_PARAMETER",
            "Level": "ERROR",
            "Message": format!("{parameter} is not valid."),
        },
        "Data": [],
        "TotalCount": 0,
    })
}
