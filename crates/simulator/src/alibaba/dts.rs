//! Data Transmission Service. It refuses with a good status.

use dbtask_clouds::alibaba::dts::{PAGE_SIZE, PHASES, SORTS};
use dbtask_clouds::model::{Ratio, Step, Task, TaskState, Timestamp};
use serde_json::{Map, Value, json};

use super::{self as alibaba, Parameters, parameter};
use crate::World;

/// Jobs of one sort. A page of more rows than are allowed is clamped without a word.
pub(super) fn describe_jobs(parameters: &Parameters, world: &World<'_>) -> Value {
    let region = match parameter(parameters, "Region") {
        "" => parameter(parameters, "RegionId"),
        region => region,
    };
    if region != world.target.region {
        return invalid("Region");
    }
    // The vendor's own procedures warn of it.
    if parameters.contains_key("Type") {
        return invalid("Type");
    }
    let sort = match parameter(parameters, "JobType") {
        "" => "MIGRATION",
        sort => sort,
    };
    if !SORTS.contains(&sort) {
        return invalid("JobType");
    }
    let size = match parameter(parameters, "PageSize") {
        "" => Some(20),
        size => size.parse::<usize>().ok().filter(|size| *size > 0),
    };
    let number = match parameter(parameters, "PageNumber") {
        "" => Some(1),
        number => number.parse::<usize>().ok().filter(|number| *number > 0),
    };
    let Some((size, number)) = size.zip(number) else { return invalid("PageSize") };
    let size = size.min(PAGE_SIZE as usize);
    let ids: Vec<&str> = list(parameters, "DtsJobId");
    // None of a simulated region carries a tag.
    let is_untagged = parameter(parameters, "Tags").is_empty();
    let found: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| sort_of(task) == sort && is_untagged)
        .filter(|task| ids.is_empty() || ids.contains(&&*task.id))
        .collect();
    let total = found.len();
    let shown = found.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let rows: Vec<Value> = shown.map(|task| row(task, sort)).collect();
    json!({
        "Success": true,
        "HttpStatusCode": 200,
        "ErrCode": "",
        "ErrMessage": "",
        "PageNumber": number,
        // The size of a page, not of this one.
        "PageRecordCount": size,
        "TotalRecordCount": total,
        "DtsJobList": rows,
        "EtlDemoList": [],
    })
}

/// One job, with its times.
pub(super) fn describe_job_detail(parameters: &Parameters, world: &World<'_>) -> Value {
    let id = parameter(parameters, "DtsJobId");
    let Some(task) = world.tasks.iter().find(|task| *task.id == *id) else {
        return refused("InvalidJobId", "The job does not exist.", "");
    };
    let mut row = row(task, sort_of(task));
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    if let Value::Object(fields) = &mut row {
        fields.insert("Success".to_owned(), true.into());
        fields.insert("HttpStatusCode".to_owned(), 200.into());
        // A number here and a text in the list.
        fields.insert("Checkpoint".to_owned(), world.now.as_second().into());
        fields.insert("BootTime".to_owned(), time(task.started).into());
        fields.insert("FinishTime".to_owned(), time(task.ended).into());
    }
    row
}

/// The sort of a job, which the kind of a scripted task says.
fn sort_of(task: &Task) -> &'static str {
    SORTS.iter().find(|sort| sort.eq_ignore_ascii_case(&task.kind)).copied().unwrap_or("MIGRATION")
}

fn row(task: &Task, sort: &str) -> Value {
    let word = match sort {
        "MIGRATION" => "online",
        "SYNC" => "sync",
        _ => "subscribe",
    };
    let error = task.error.as_deref().cloned().unwrap_or_default();
    let name = task.resource.name.as_deref().unwrap_or_default();
    let mut row = json!({
        "DtsJobId": *task.id,
        "DtsInstanceID": task.resource.id,
        "DtsJobName": name,
        "JobType": word,
        "Status": *task.vendor_status,
        "CreateTime": task.created.map(|time| time.to_string()),
        "PayType": "PostPaid",
        "Delay": 0,
        "ErrorMessage": error.message,
        "Checkpoint": "1772265600",
        "OriginType": "DTS",
        "Reserved": "{\"srcVpcNetMappingInst\":\"192.0.2.10:10803\"}",
        "SourceEndpoint": endpoint("rm-source"),
        "DestinationEndpoint": endpoint("rm-destination"),
        "TagList": [],
        "ErrorDetails": errors(&error.code),
    });
    if let Value::Object(fields) = &mut row {
        if task.steps.is_empty() {
            let phase = phase(task.state, task.progress);
            fields.insert("DataInitializationStatus".to_owned(), phase);
        }
        let done = task.steps.iter().take_while(|step| is_done(step)).count();
        for (n, step) in task.steps.iter().enumerate() {
            let state = match (&step.state, n) {
                (Some(state), _) => *state,
                (None, n) if n < done => TaskState::Succeeded,
                (None, n) if n == done && task.state != TaskState::Pending => task.state,
                (None, _) => TaskState::Pending,
            };
            if PHASES.iter().any(|(name, _)| **name == *step.name) {
                fields.insert(format!("{}Status", step.name), phase(state, step.progress));
            }
        }
    }
    row
}

fn is_done(step: &Step) -> bool {
    step.progress.is_some_and(|progress| progress.get() >= 1.0)
}

/// The count in `Progress` is none of our business.
fn phase(state: TaskState, progress: Option<Ratio>) -> Value {
    let word = match state {
        TaskState::Pending => "NotStarted",
        TaskState::Running | TaskState::Unknown => "Migrating",
        TaskState::Paused => "Suspending",
        TaskState::Failed | TaskState::Canceled => "Failed",
        TaskState::Succeeded => "Finished",
    };
    let percent = progress.map(alibaba::percentage).unwrap_or_default();
    json!({ "Status": word, "Percent": percent, "Progress": "44755", "ErrorMessage": "" })
}

fn errors(code: &str) -> Value {
    if code.is_empty() { json!([]) } else { json!([{ "ErrorCode": code, "HelpUrl": "" }]) }
}

fn endpoint(instance: &str) -> Value {
    let mut endpoint = Map::new();
    for (name, value) in [
        ("InstanceID", instance),
        ("InstanceType", "RDS"),
        ("EngineName", "MySQL"),
        ("Ip", "192.0.2.11"),
        ("Port", "3306"),
        ("UserName", "dtstest"),
    ] {
        endpoint.insert(name.to_owned(), value.into());
    }
    endpoint.into()
}

fn list<'a>(parameters: &'a Parameters, name: &str) -> Vec<&'a str> {
    let words = parameter(parameters, name).split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).collect()
}

fn invalid(parameter: &str) -> Value {
    refused("InvalidParameter", "The Value of Input Parameter %s is not valid.", parameter)
}

/// A refusal with a good status, and without a list.
fn refused(code: &str, message: &str, parameter: &str) -> Value {
    json!({
        "Success": false,
        "HttpStatusCode": 400,
        "ErrCode": code,
        "ErrMessage": message,
        "DynamicCode": "400",
        "DynamicMessage": parameter,
    })
}
