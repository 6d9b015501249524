//! Alibaba Cloud: actions, their parameters, and answers in JSON or XML.

mod adb;
mod dts;
pub(crate) mod gateway;
mod history;
mod instance_tasks;
mod maintenance;
mod oceanbase;
mod polardb;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::Call;
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Ratio, Resource};
use dbtask_clouds::signing::query;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::World;

/// The decoded query of a request.
pub(crate) type Parameters = BTreeMap<String, String>;

/// The vendor's "no": HTTP status, code and message.
#[derive(Debug)]
pub(crate) struct Refused(pub StatusCode, pub &'static str, pub &'static str);

/// What one action says to its parameters.
enum Action {
    /// Of one service.
    Own(fn(&Parameters, &World<'_>) -> Result<Value, Refused>),
    /// Of one service that refuses with a good status.
    Within(fn(&Parameters, &World<'_>) -> Value),
    /// Of all services of a family, which differ: it is told which is asked.
    Shared(fn(&str, &Parameters, &World<'_>) -> Result<Value, Refused>),
}

use Action::{Own, Shared, Within};

/// What is simulated: the service, `*` for every one that has it, and the action. The facts of the APIs
/// say which version of a service has which action.
static ACTIONS: &[(&str, &str, Action)] = &[
    ("adb", "DescribeTaskInfo", Own(adb::describe_task_info)),
    ("adb", "DescribeDBClusters", Own(adb::describe_db_clusters)),
    ("dts", "DescribeDtsJobs", Within(dts::describe_jobs)),
    ("dts", "DescribeDtsJobDetail", Within(dts::describe_job_detail)),
    ("rds", "DescribeTasks", Shared(instance_tasks::describe_tasks)),
    ("rds", "DescribeDBInstances", Shared(instance_tasks::describe_db_instances)),
    ("polardbx", "DescribeTasks", Shared(instance_tasks::describe_tasks)),
    ("polardbx", "DescribeDBInstances", Shared(instance_tasks::describe_db_instances)),
    ("oceanbasepro", "ListProjects", Within(oceanbase::list_projects)),
    ("polardb", "DescribeTasks", Own(polardb::describe_tasks)),
    ("polardb", "DescribeDBClusters", Own(polardb::describe_db_clusters)),
    ("*", "DescribeActiveOperationTasks", Shared(maintenance::describe_active_operation_tasks)),
    ("*", "DescribeHistoryTasks", Shared(history::describe_history_tasks)),
];

/// Whether an API calls this action of this version of the service.
fn is_known(service: &str, version: &str, action: &str) -> bool {
    let apis = APIS.iter().map(|api| &api.facts);
    apis.filter(|facts| facts.cloud == Cloud::Alibaba && facts.service == service)
        .flat_map(|facts| facts.operations)
        .any(|operation| operation.name == action && operation.call.version() == version)
}

/// The answer of a service in the format asked for; `None` for an action that it does not have.
pub(crate) fn answer(
    service: &str,
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Option<Response<Bytes>> {
    let headers = request.headers();
    let version = query::header(headers, "x-acs-version");
    let asked = query::header(headers, "x-acs-action");
    let (_, name, action) = ACTIONS
        .iter()
        .find(|(of, name, _)| (*of == service || *of == "*") && *name == asked)
        .filter(|_| is_known(service, &version, &asked))?;
    let mut parameters = query::parameters(request);
    if is_form(service, &asked) {
        // Only there: what the query says is not looked at.
        parameters.retain(|name, _| name == "Format");
        parameters.extend(form(request.body()));
    }
    let xml = match parameters.get("Format") {
        Some(format) => format.eq_ignore_ascii_case("xml"),
        None => query::header(headers, "accept").contains("xml"),
    };
    let said = match action {
        Own(action) => action(&parameters, world),
        Within(action) => Ok(action(&parameters, world)),
        Shared(action) => action(service, &parameters, world),
    };
    let (status, root, mut body) = match said {
        Ok(body) => (StatusCode::OK, format!("{name}Response"), body),
        Err(Refused(status, code, message)) => {
            let host = world.target.endpoint.split_once("://").map_or("", |(_, host)| host);
            let body = json!({ "HostId": host, "Code": code, "Message": message });
            (status, "Error".to_owned(), body)
        }
    };
    if let Value::Object(fields) = &mut body {
        fields.insert("RequestId".to_owned(), "00000000-0000-4000-8000-000000000000".into());
    }
    let (kind, text) = if xml {
        let mut text = String::from("<?xml version='1.0' encoding='UTF-8'?>");
        write_xml(&root, &body, &mut text);
        ("text/xml;charset=utf-8", text)
    } else {
        ("application/json;charset=utf-8", body.to_string())
    };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Some(response)
}

/// Whether an action takes its parameters in the body.
fn is_form(service: &str, action: &str) -> bool {
    let operations = APIS
        .iter()
        .filter(|api| api.facts.cloud == Cloud::Alibaba && api.facts.service == service)
        .flat_map(|api| api.facts.operations);
    operations.into_iter().any(|it| it.name == action && matches!(it.call, Call::Form(_)))
}

/// The parameters in a form.
fn form(body: &[u8]) -> Parameters {
    let uri = format!("http://form.invalid/?{}", String::from_utf8_lossy(body));
    let request = Request::get(uri).body(Bytes::new());
    request.map(|request| query::parameters(&request)).unwrap_or_default()
}

/// Lists repeat their element; an empty one leaves nothing.
fn write_xml(name: &str, value: &Value, out: &mut String) {
    if let Value::Array(items) = value {
        for item in items {
            write_xml(name, item, out);
        }
        return;
    }
    out.extend(["<", name, ">"]);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                write_xml(name, value, out);
            }
        }
        // XML has no way to write most control characters.
        Value::String(text) => {
            let text = text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "");
            out.push_str(&quick_xml::escape::escape(&text));
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => out.push_str(&value.to_string()),
    }
    out.extend(["</", name, ">"]);
}

/// A parameter, or `""`.
pub(crate) fn parameter<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.get(name).map_or("", String::as_str)
}

/// The page of `rows` that is asked for, with its number and size.
pub(crate) fn page<T>(
    parameters: &Parameters,
    rows: Vec<T>,
) -> Result<(usize, usize, Vec<T>), Refused> {
    let size = match parameter(parameters, "PageSize") {
        "" | "30" => 30,
        "50" => 50,
        "100" => 100,
        _ => return Err(malformed("InvalidPageSize.Malformed")),
    };
    let number: usize = match parameter(parameters, "PageNumber") {
        "" => 1,
        number => match number.parse() {
            Ok(number) if number > 0 => number,
            _ => return Err(malformed("InvalidPageNumber.Malformed")),
        },
    };
    let start = (number - 1).saturating_mul(size);
    Ok((number, size, rows.into_iter().skip(start).take(size).collect()))
}

/// Refuses every region but the one that is there.
pub(crate) fn check_region(parameters: &Parameters, world: &World<'_>) -> Result<(), Refused> {
    match parameter(parameters, "RegionId") {
        "" => Err(Refused(StatusCode::BAD_REQUEST, "MissingParameter", "no RegionId")),
        region if region != world.target.region => {
            let message = "this region is not served here";
            Err(Refused(StatusCode::BAD_REQUEST, "InvalidRegionId", message))
        }
        _ => Ok(()),
    }
}

/// The clusters that a `DescribeDBClusters` asks for. None of a simulated region carries a tag.
pub(crate) fn clusters<'a>(
    parameters: &Parameters,
    world: &World<'a>,
) -> Result<Vec<&'a Arc<Resource>>, Refused> {
    check_region(parameters, world)?;
    let ids = parameter(parameters, "DBClusterIds");
    let tagged = parameters.keys().any(|name| name.starts_with("Tag."));
    let asked = |cluster: &&Arc<Resource>| {
        !tagged && (ids.is_empty() || ids.split(',').any(|id| id.trim() == &*cluster.id))
    };
    Ok(world.resources.iter().filter(asked).collect())
}

/// The refusal of a parameter that makes no sense.
pub(crate) fn malformed(code: &'static str) -> Refused {
    Refused(StatusCode::BAD_REQUEST, code, "the parameter is not valid")
}

/// A whole percentage as the vendor writes it.
pub(crate) fn percentage(progress: Ratio) -> String {
    format!("{:.0}", f64::from(progress.get()) * 100.0)
}
