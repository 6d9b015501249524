//! Document Database Service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Target, Unreadable};
use dbtask_clouds::huawei::dds::{API, LIMIT, WINDOW};
use dbtask_clouds::huawei::time_text;
use dbtask_clouds::model::{Resource, Task, TaskState, Timestamp};
use dbtask_clouds::signing::query;
use dbtask_clouds::wire;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::World;

/// The regions of Open Telekom Cloud, which runs the same service under its own name.
fn is_otc(region: &str) -> bool {
    matches!(region, "eu-de" | "eu-nl")
}

/// The answer; `None` for a path that the service does not have.
pub(crate) fn answer(request: &Request<Bytes>, world: &World<'_>) -> Option<Response<Bytes>> {
    if request.method() != Method::GET {
        return None;
    }
    let path: Vec<&str> = request.uri().path().trim_end_matches('/').split('/').skip(1).collect();
    let parameters = query::parameters(request);
    let answer = match *path {
        ["v3", "projects"] => Ok(projects_answer(request, &parameters, world)),
        ["v3" | "v3.1", project, "jobs"] | ["v3", project, "instances"]
            if project != world.target.project_id =>
        {
            Err(Fault(StatusCode::FORBIDDEN, "APIGW.0310", "The project is unavailable."))
        }
        ["v3.1", _, "jobs"] => list_answer(&parameters, world),
        ["v3", _, "jobs"] => job_answer(&parameters, world),
        ["v3", _, "instances"] => instances_answer(&parameters, world),
        _ => return None,
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(Fault(status, code, message)) => {
            (status, json!({ "error_code": code, "error_msg": message }))
        }
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    Some(response)
}

/// A refusal by the simulated cloud.
struct Fault(StatusCode, &'static str, &'static str);

impl Fault {
    fn parameter() -> Self {
        Self(StatusCode::BAD_REQUEST, "DBS.280001", "Parameter error.")
    }
}

type Parameters = BTreeMap<String, String>;

fn list_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    if is_otc(&world.target.region) {
        let message = "The API does not exist or has not been published in the environment.";
        return Err(Fault(StatusCode::NOT_FOUND, "APIG.0101", message));
    }
    let [begin, end] = ["start_time", "end_time"].map(|name| time_parameter(parameters, name));
    let (begin, end) = (begin?, end?);
    if end <= begin || end.since(begin) > WINDOW {
        return Err(Fault(StatusCode::BAD_REQUEST, "DBS.280068", "The end time is invalid."));
    }
    let status = parameters.get("status");
    if status.is_some_and(|status| API.facts.state(status) == TaskState::Unknown) {
        return Err(Fault::parameter());
    }
    let (offset, limit) = paging(parameters)?;
    let begin = begin.max(world.now.saturating_sub(WINDOW));
    let is = |name: &str, value: &str| parameters.get(name).is_none_or(|wanted| wanted == value);
    let jobs: Vec<Value> = world
        .tasks
        .iter()
        .filter(|task| is("status", &task.vendor_status))
        .filter(|task| is("id", &task.id))
        .filter(|task| is("name", &task.kind))
        .filter(|task| task.created.is_none_or(|created| (begin..=end).contains(&created)))
        .skip(offset)
        .take(limit)
        .map(|task| {
            json!({
                "id": *task.id,
                "name": *task.kind,
                "instance_id": task.resource.id,
                "instance_name": task.resource.name,
                "status": *task.vendor_status,
                "progress": progress_text(task),
                "fail_reason": task.error.as_ref().map_or("", |error| &error.message),
                "created_at": created_text(task),
                "ended_at": ended_text(task),
            })
        })
        .collect();
    Ok(json!({ "jobs": jobs }))
}

fn time_parameter(parameters: &Parameters, name: &str) -> Result<Timestamp, Fault> {
    let text = parameters.get(name).ok_or_else(Fault::parameter)?;
    let invalid = if name == "start_time" {
        Fault(StatusCode::BAD_REQUEST, "DBS.280067", "The start time is invalid.")
    } else {
        Fault(StatusCode::BAD_REQUEST, "DBS.280068", "The end time is invalid.")
    };
    wire::time(&json!({ "time": text }), "time", Offset::UTC, &mut Unreadable::default())
        .ok_or(invalid)
}

fn paging(parameters: &Parameters) -> Result<(usize, usize), Fault> {
    const MOST: usize = LIMIT as usize;
    let number =
        |name: &str, default: usize| parameters.get(name).map_or(Ok(default), |text| text.parse());
    match (number("offset", 0), number("limit", MOST)) {
        (Ok(offset), Ok(limit @ 1..=MOST)) => Ok((offset, limit)),
        _ => Err(Fault::parameter()),
    }
}

fn job_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    let id = parameters.get("id").ok_or_else(Fault::parameter)?;
    let found = world.tasks.iter().find(|task| *task.id == **id);
    let task =
        found.ok_or(Fault(StatusCode::BAD_REQUEST, "DBS.200543", "The job does not exist."))?;
    Ok(json!({
        "job": {
            "id": *task.id,
            "name": *task.kind,
            "status": *task.vendor_status,
            "created": created_text(task),
            "ended": ended_text(task),
            "progress": progress_text(task),
            "instance": { "id": task.resource.id, "name": task.resource.name },
            "fail_reason": task.error.as_ref().map(|error| &error.message),
        },
    }))
}

fn created_text(task: &Task) -> String {
    task.created.map(time_text).unwrap_or_default()
}

/// When the task ended; of one that goes on, some meaningless time after its beginning.
fn ended_text(task: &Task) -> String {
    let ended = if task.state.is_final() {
        task.ended
    } else {
        task.created.map(|created| created + Duration::from_secs(10))
    };
    ended.map(time_text).unwrap_or_default()
}

fn progress_text(task: &Task) -> String {
    let progress = task.progress.filter(|_| task.state == TaskState::Running);
    progress.map(|ratio| format!("{:.0}%", ratio.get() * 100.0)).unwrap_or_default()
}

fn instances_answer(parameters: &Parameters, world: &World<'_>) -> Result<Value, Fault> {
    let (offset, limit) = paging(parameters)?;
    let name_matches = |name: &str| match parameters.get("name").map(String::as_str) {
        None => true,
        Some(wanted) => match wanted.strip_prefix('*') {
            Some(part) => name.contains(part),
            None => name == wanted,
        },
    };
    if parameters.get("name").is_some_and(|name| name == "*") {
        return Err(Fault::parameter());
    }
    // What a simulated instance has no value for filters nothing.
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| parameters.get("id").is_none_or(|id| **id == *resource.id))
        .filter(|resource| name_matches(resource.name.as_deref().unwrap_or_default()))
        .collect();
    let instances: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|resource| instance(resource, world)).collect();
    Ok(json!({ "instances": instances, "total_count": found.len() }))
}

fn instance(resource: &Resource, world: &World<'_>) -> Value {
    json!({
        "id": resource.id,
        "name": resource.name.as_deref().unwrap_or_default(),
        "remark": "",
        "status": "normal",
        "port": "8635",
        "mode": "ReplicaSet",
        "region": world.target.region,
        "datastore": {
            "type": "DDS-Community",
            "version": "4.4",
            "patch_available": false,
            "whole_version": "4.4.10.1",
        },
        "engine": "wiredTiger",
        // These two carry no zone.
        "created": "2025-11-02T07:05:52",
        "updated": "2026-03-14T02:11:10",
        "db_user_name": "rwuser",
        "ssl": 1,
        "vpc_id": "674e9b42-0000-4d25-a2e6-5abcc565b961",
        "subnet_id": "f1df08c5-0000-406a-aff0-de435a51007b",
        "security_group_id": "7aa51dbf-0000-40db-9724-dad3c4828b58",
        "backup_strategy": { "start_time": "16:00-17:00", "keep_days": 7 },
        "pay_mode": "0",
        "maintenance_window": "02:00-06:00",
        "groups": [],
        "disk_encryption_id": "",
        "enterprise_project_id": "0",
        "time_zone": "",
        "actions": [],
        "tags": [],
    })
}

/// The one project of the region, as IAM lists it.
fn projects_answer(request: &Request<Bytes>, parameters: &Parameters, world: &World<'_>) -> Value {
    let Target { region, project_id, .. } = world.target;
    let is_asked = parameters.get("name").is_none_or(|name| name == region);
    let projects = if is_asked {
        json!([{
            "is_domain": false,
            "description": "",
            "links": { "self": format!("/v3/projects/{project_id}") },
            "enabled": true,
            "id": project_id,
            "parent_id": "d78cbac186b744899480f25bd022f468",
            "domain_id": "d78cbac186b744899480f25bd022f468",
            "name": region,
        }])
    } else {
        json!([])
    };
    let links = json!({ "self": request.uri().to_string(), "previous": null, "next": null });
    json!({ "links": links, "projects": projects })
}
