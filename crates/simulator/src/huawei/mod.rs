//! HUAWEI CLOUD: paths, their parameters, and answers.

mod dcs;
mod drs;
mod dws;
pub(crate) mod gateway;
mod ges;
mod instances;
mod jobs;
mod scheduled;

use std::collections::BTreeMap;

use bytes::Bytes;
use dbtask_clouds::api::{Call, Target, TaskApi, Unreadable};
use dbtask_clouds::huawei::{LIST_PROJECTS, time_text};
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use dbtask_clouds::signing::query;
use dbtask_clouds::wire;
use http::{HeaderValue, Request, Response, StatusCode};
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::World;

/// What is asked of a service.
#[derive(Debug)]
struct Asked {
    /// The parts of the path.
    path: Vec<String>,
    parameters: BTreeMap<String, String>,
    /// The body; null where there is none, or no JSON.
    body: Value,
}

/// A refusal by a service: HTTP status, code and message.
#[derive(Debug)]
struct Fault(StatusCode, &'static str, &'static str);

type Answer = Result<Value, Fault>;

/// What a service says to a request.
type Handler = fn(&Asked, &World<'_>) -> Answer;

/// What is simulated of an API: its name, the call, and the answer.
static ROUTES: &[(&str, Call, Handler)] = &[
    ("huawei_dds", Call::Get("/v3.1/{project_id}/jobs"), jobs::list_of_dds),
    ("huawei_dds", Call::Get("/v3/{project_id}/jobs"), jobs::one_of_dds),
    ("huawei_dds", Call::Get("/v3/{project_id}/instances"), instances::of_dds),
    ("huawei_rds", Call::Get("/v3/{project_id}/tasklist"), jobs::list_of_rds),
    ("huawei_taurusdb", Call::Get("/v3/{project_id}/immediate-jobs"), jobs::list_of_taurusdb),
    ("huawei_taurusdb", Call::Get("/v3/{project_id}/jobs"), jobs::one_of_taurusdb),
    ("huawei_geminidb", Call::Get("/v3/{project_id}/jobs"), jobs::list_of_geminidb),
    ("huawei_gaussdb", Call::Get("/v3/{project_id}/tasks"), jobs::list_of_gaussdb),
    ("huawei_gaussdb", Call::Get("/v3/{project_id}/jobs"), jobs::one_of_gaussdb),
    ("huawei_ddm", Call::Get("/v3/{project_id}/jobs"), jobs::list_of_ddm),
    ("huawei_ddm", Call::Get("/v3/{project_id}/jobs/{job_id}"), jobs::one_of_ddm),
    ("huawei_drs", Call::Post("/v3/{project_id}/jobs"), drs::list),
    ("huawei_drs", Call::Post("/v3/{project_id}/jobs/batch-progress"), drs::progress),
    ("huawei_dcs", Call::Get("/v2/{project_id}/tasks"), dcs::tasks),
    ("huawei_dcs_migration", Call::Get("/v2/{project_id}/migration-tasks"), dcs::migrations),
    (
        "huawei_dcs_migration",
        Call::Get("/v2/{project_id}/migration-task/{task_id}/stats"),
        dcs::stats,
    ),
    ("huawei_dws", Call::Get("/v1.0/{project_id}/clusters"), dws::clusters),
    ("huawei_dws", Call::Get("/v1.0/{project_id}/job/{job_id}"), dws::job),
    ("huawei_ges", Call::Get("/v2/{project_id}/graphs/jobs"), ges::jobs),
    ("huawei_dds_scheduled", Call::Get("/v3/{project_id}/scheduled-jobs"), scheduled::of_dds),
    ("huawei_rds_scheduled", Call::Get("/v3/{project_id}/schedule-tasks"), scheduled::of_rds),
    (
        "huawei_taurusdb_scheduled",
        Call::Get("/v3/{project_id}/scheduled-jobs"),
        scheduled::of_taurusdb,
    ),
    (
        "huawei_geminidb_scheduled",
        Call::Get("/v3/{project_id}/scheduled-jobs"),
        scheduled::of_geminidb,
    ),
    (
        "huawei_gaussdb_scheduled",
        Call::Get("/v3/{project_id}/instances/schedule-tasks"),
        scheduled::of_gaussdb,
    ),
];

/// The answer of a service; `None` for a path that it does not have.
pub(crate) fn answer(
    api: &TaskApi,
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Option<Response<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    let asked = Asked {
        path: path.trim_end_matches('/').split('/').skip(1).map(str::to_owned).collect(),
        parameters: query::parameters(request),
        body: serde_json::from_slice(request.body()).unwrap_or_default(),
    };
    if LIST_PROJECTS.call.is(method, path) {
        return Some(respond(StatusCode::OK, &Ok(projects(request, &asked, world)), false));
    }
    let mut routes = ROUTES.iter().filter(|(name, ..)| *name == api.facts.name);
    let &(name, _, handler) = routes.find(|(_, call, _)| call.is(method, path))?;
    let is_ours = path.split('/').any(|part| part == world.target.project_id);
    let answer = if is_ours {
        handler(&asked, world)
    } else {
        Err(Fault(StatusCode::FORBIDDEN, "APIGW.0310", "The project is unavailable."))
    };
    // The vendor's word for a question that is asked with a body, but for the list.
    let good =
        if path.ends_with("/batch-progress") { StatusCode::ACCEPTED } else { StatusCode::OK };
    Some(respond(good, &answer, name == "huawei_ddm"))
}

/// The answer as it is sent; DDM words its own refusals in fields of its own.
fn respond(good: StatusCode, answer: &Answer, is_ddm: bool) -> Response<Bytes> {
    let (status, body) = match answer {
        Ok(body) => (good, body.clone()),
        Err(Fault(status, code, message)) if is_ddm && !code.starts_with("APIG") => {
            (*status, json!({ "errCode": code, "externalMessage": message }))
        }
        Err(Fault(status, code, message)) => {
            (*status, json!({ "error_code": code, "error_msg": message }))
        }
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

impl Fault {
    fn parameter() -> Self {
        Self(StatusCode::BAD_REQUEST, "DBS.280001", "Parameter error.")
    }

    fn no_such_api() -> Self {
        let message = "The API does not exist or has not been published in the environment.";
        Self(StatusCode::NOT_FOUND, "APIG.0101", message)
    }
}

impl Asked {
    /// A parameter that says something.
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Whether a filter lets a value through.
    fn is(&self, name: &str, value: &str) -> bool {
        self.text(name).is_none_or(|wanted| wanted == value)
    }

    /// The part of the path at this place.
    fn part(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Fault> {
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| Fault::parameter()))
    }
}

/// The regions of Open Telekom Cloud, which runs the same services under its own name.
fn is_otc(world: &World<'_>) -> bool {
    matches!(&*world.target.region, "eu-de" | "eu-nl")
}

/// Reads a time in any of the services' notations.
fn time(text: &str) -> Option<Timestamp> {
    wire::time(&json!({ "time": text }), "time", Offset::UTC, &mut Unreadable::default())
}

fn zoned(time: Option<Timestamp>) -> String {
    time.map(time_text).unwrap_or_default()
}

/// The percentage of a running task, without its sign.
fn percent(task: &Task) -> Option<String> {
    let progress = task.progress.filter(|_| !task.state.is_final());
    let progress = progress.filter(|_| task.state == TaskState::Running);
    progress.map(|ratio| format!("{:.0}", ratio.get() * 100.0))
}

fn reason(task: &Task) -> Option<&str> {
    task.error.as_ref().map(|error| &*error.message)
}

/// The one project of the region, as IAM lists it.
fn projects(request: &Request<Bytes>, asked: &Asked, world: &World<'_>) -> Value {
    let Target { region, project_id, .. } = world.target;
    let projects = if asked.is("name", region) {
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
