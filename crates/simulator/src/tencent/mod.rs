//! Tencent Cloud: actions, their parameters, and the `Response` around every answer.

mod cdb;
mod cynosdb;
mod dcdb;
mod dts;
mod flow;
pub(crate) mod gateway;
mod postgres;
mod redis;
mod sqlserver;
mod tcaplusdb;

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use dbtask_clouds::api::Unreadable;
use dbtask_clouds::model::{Ratio, Timestamp};
use dbtask_clouds::signing::query::header;
use dbtask_clouds::wire;
use http::{HeaderValue, Request, Response};
use jiff::tz::Offset;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::World;

/// What stands for a time that is not known yet.
const NO_TIME: &str = "0000-00-00 00:00:00";

/// An order as some services repeat it, with what nobody may see.
const ORDER: &str = r#"{"adminPassword": "PLACEHOLDER-NEVER-SHOW", "uin": "100000000001"}"#;

/// A refusal by the simulated cloud.
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn missing(name: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request is missing a required parameter `{name}`."),
        )
    }

    fn value(name: &str) -> Self {
        Self::new("InvalidParameter", format!("The value of parameter `{name}` is not valid."))
    }
}

/// What one action says to a request.
type Action = fn(&Request<Bytes>, &World<'_>) -> Result<Value, Fault>;

/// What is simulated: service, version, action.
static ACTIONS: &[(&str, &str, &str, Action)] = &[
    ("cdb", "2017-03-20", "DescribeTasks", cdb::tasks_answer),
    ("cdb", "2017-03-20", "DescribeDBInstances", cdb::instances_answer),
    ("redis", "2018-04-12", "DescribeTaskList", redis::list_answer),
    ("redis", "2018-04-12", "DescribeTaskInfo", redis::info_answer),
    ("redis", "2018-04-12", "DescribeInstances", redis::instances_answer),
    ("keewidb", "2022-03-08", "DescribeTaskList", redis::keewidb_list_answer),
    ("keewidb", "2022-03-08", "DescribeTaskInfo", redis::info_answer),
    ("postgres", "2017-03-12", "DescribeTasks", postgres::tasks_answer),
    ("cynosdb", "2019-01-07", "DescribeTasks", cynosdb::tasks_answer),
    ("cynosdb", "2019-01-07", "DescribeFlow", flow::of_cynosdb),
    ("dts", "2021-12-06", "DescribeMigrationJobs", dts::migrations_answer),
    ("dts", "2021-12-06", "DescribeSyncJobs", dts::syncs_answer),
    ("sqlserver", "2018-03-28", "DescribeInstanceTasks", sqlserver::tasks_answer),
    ("sqlserver", "2018-03-28", "DescribeDBInstances", sqlserver::instances_answer),
    ("sqlserver", "2018-03-28", "DescribeFlowStatus", flow::of_sqlserver),
    ("dcdb", "2018-04-11", "DescribeUserTasks", dcdb::tasks_answer),
    ("dcdb", "2018-04-11", "DescribeFlow", flow::of_tdsql),
    ("tcaplusdb", "2019-08-23", "DescribeTasks", tcaplusdb::tasks_answer),
    ("mongodb", "2019-07-25", "DescribeAsyncRequestInfo", flow::of_mongodb),
    ("mariadb", "2017-03-12", "DescribeFlow", flow::of_tdsql),
    ("tdmysql", "2021-11-22", "DescribeFlow", flow::of_tdsql),
];

/// The answer of a service; `None` for an action that it does not have.
pub(crate) fn answer(
    service: &str,
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Option<Response<Bytes>> {
    if request.method() != http::Method::POST || request.uri().path() != "/" {
        return None;
    }
    let version = header(request.headers(), "x-tc-version");
    let asked = header(request.headers(), "x-tc-action");
    let &(_, _, _, action) =
        ACTIONS.iter().find(|row| (row.0, row.1, row.2) == (service, &*version, &*asked))?;
    Some(respond(request, world, action(request, world)))
}

/// The parameters of a request, which must all be among the `known`.
pub(crate) fn parameters(request: &Request<Bytes>, known: &[&str]) -> Result<Value, Fault> {
    let body = request.body().trim_ascii();
    let parameters = serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Fault::new("InvalidParameter", "The request body is not a JSON object."))?;
    let mut names = parameters.as_object().into_iter().flat_map(|object| object.keys());
    match names.find(|name| !known.contains(&name.as_str())) {
        None => Ok(parameters),
        Some(name) => Err(Fault::new(
            "UnknownParameter",
            format!("The parameter `{name}` is not recognized."),
        )),
    }
}

/// One parameter; `None` if it was not sent.
pub(crate) fn parameter<T: DeserializeOwned>(
    parameters: &Value,
    name: &str,
) -> Result<Option<T>, Fault> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    serde_json::from_value(value.clone()).map_err(|_| {
        Fault::new(
            "InvalidParameter",
            format!("The value type of parameter `{name}` is not valid."),
        )
    })
}

/// A parameter that is a time.
pub(crate) fn time_parameter(
    parameters: &Value,
    name: &str,
    offset: Offset,
) -> Result<Option<Timestamp>, Fault> {
    let Some(_) = parameter::<String>(parameters, name)? else { return Ok(None) };
    wire::time(parameters, name, offset, &mut Unreadable::default())
        .map(Some)
        .ok_or_else(|| Fault::value(name))
}

/// `Offset` and `Limit`, which is 20 unless told.
pub(crate) fn paging(parameters: &Value, max_limit: u32) -> Result<(usize, usize), Fault> {
    let limit: u32 = parameter(parameters, "Limit")?.unwrap_or(20);
    let offset: u32 = parameter(parameters, "Offset")?.unwrap_or(0);
    if limit == 0 || limit > max_limit {
        return Err(Fault::value("Limit"));
    }
    Ok((offset as usize, limit as usize))
}

/// The rows of a page.
pub(crate) fn page<T>(
    found: &[&T],
    offset: usize,
    limit: usize,
    row: impl Fn(&T) -> Value,
) -> Vec<Value> {
    found.iter().skip(offset).take(limit).map(|it| row(it)).collect()
}

/// Whether a filter lets something pass; one that is empty or was not sent lets everything pass.
pub(crate) fn is_among<T>(wanted: Option<&[T]>, matches: impl Fn(&T) -> bool) -> bool {
    wanted.filter(|wanted| !wanted.is_empty()).is_none_or(|wanted| wanted.iter().any(matches))
}

/// 0 to 100; 0 where nothing is known.
#[allow(clippy::cast_possible_truncation, reason = "it is 0 to 100")]
pub(crate) fn percent(progress: Option<Ratio>) -> i64 {
    progress.map_or(0, |progress| (progress.get() * 100.0).round() as i64)
}

/// Whether a time lies between the bounds that there are. What has no time is everywhere.
pub(crate) fn within(
    time: Option<Timestamp>,
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
) -> bool {
    time.is_none_or(|time| {
        begin.is_none_or(|begin| begin <= time) && end.is_none_or(|end| time <= end)
    })
}

/// Whether an instance exists in the simulated region.
pub(crate) fn exists(world: &World<'_>, instance: &str) -> bool {
    world
        .resources
        .iter()
        .chain(world.tasks.iter().map(|task| &task.resource))
        .any(|resource| *resource.id == *instance)
}

/// A time in an answer.
pub(crate) fn time_value(time: Option<Timestamp>, world: &World<'_>) -> Value {
    time_or(time, NO_TIME, world)
}

/// A time in an answer, which has nothing for no time.
pub(crate) fn time_or_empty(time: Option<Timestamp>, world: &World<'_>) -> Value {
    time_or(time, "", world)
}

/// A time in an answer, or what stands for none.
pub(crate) fn time_or(time: Option<Timestamp>, none: &str, world: &World<'_>) -> Value {
    time.map_or(json!(none), |time| {
        json!(dbtask_clouds::tencent::local_time(time, world.target.utc_offset))
    })
}

/// Sixteen bytes that depend on `from` alone, in hexadecimal.
pub(crate) fn scatter(from: impl Hash) -> String {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &from).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

/// The answer in its envelope, which is the same for refusals: both have status 200. Another region
/// than this one is refused; none is taken for this one, as it once was not required.
pub(crate) fn respond(
    request: &Request<Bytes>,
    world: &World<'_>,
    answer: Result<Value, Fault>,
) -> Response<Bytes> {
    let region = header(request.headers(), "x-tc-region");
    let answer = if region.is_empty() || region == world.target.region {
        answer
    } else {
        Err(Fault::new("UnsupportedRegion", format!("Region `{region}` is not supported.")))
    };
    let mut answer = answer.unwrap_or_else(
        |Fault { code, message }| json!({ "Error": { "Code": code, "Message": message } }),
    );
    if let Value::Object(fields) = &mut answer {
        let id = scatter((world.now.as_second(), request.body()));
        let group = |range| id.get(range).unwrap_or_default();
        fields.insert(
            "RequestId".to_owned(),
            json!(
                [group(0..8), group(8..12), group(12..16), group(16..20), group(20..32)].join("-")
            ),
        );
    }
    let mut response = Response::new(Bytes::from(json!({ "Response": answer }).to_string()));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// An id in an answer: these APIs count tasks in numbers.
pub(crate) fn id_value(id: &str) -> Value {
    id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number))
}
