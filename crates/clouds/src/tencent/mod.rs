//! What TencentDB's products have in common: hosts, times without a zone, the `Response` around
//! every answer, and, for the simulated cloud, how parameters are checked and refused.

pub(crate) mod cdb;
pub(crate) mod redis;
pub mod signature;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use jiff::tz::Offset;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{Scope, Unreadable, World};
use crate::document::DecodeError;
use crate::model::{Resource, Timestamp};
use crate::signing::query::header;
use crate::wire;

/// The most rows that a task list gives for one call.
pub(crate) const LIMIT: u32 = 100;

/// What stands for a time that is not known yet.
const NO_TIME: &str = "0000-00-00 00:00:00";

/// What the tables of all services were written from.
pub(crate) const ORIGIN: &str = "the official Python packages 3.1 of both sites, the vendor's pages \
                                 on finance regions, and its SDKs' tests for VPCs";

/// Regions that the vendor's pages and SDKs name.
pub(crate) const REGIONS: &[&str] = &[
    "ap-bangkok",
    "ap-beijing",
    "ap-chengdu",
    "ap-chongqing",
    "ap-guangzhou",
    "ap-guangzhou-open",
    "ap-hongkong",
    "ap-jakarta",
    "ap-mumbai",
    "ap-nanjing",
    "ap-seoul",
    "ap-shanghai",
    "ap-singapore",
    "ap-tokyo",
    "eu-frankfurt",
    "eu-moscow",
    "na-ashburn",
    "na-siliconvalley",
    "na-toronto",
    "sa-saopaulo",
];

/// The sets of instances to ask for, one query each: a query takes one instance or none, which
/// means all.
pub(crate) fn instances(scope: &Scope<'_>) -> Vec<Vec<Arc<Resource>>> {
    if scope.resources.is_empty() {
        return vec![Vec::new()];
    }
    scope.resources.iter().map(|resource| vec![Arc::clone(resource)]).collect()
}

/// How many rows come before a page.
pub(crate) fn offset_of(page: u32) -> u64 {
    u64::from(page.saturating_sub(1)) * u64::from(LIMIT)
}

/// How many rows there are on all pages, by the vendor's word.
pub(crate) fn total(document: &Value) -> Option<i64> {
    wire::integer(document.get("Response")?, "TotalCount")
}

/// A time as parameters and answers write it: `2024-06-17 17:50:05`, at the source's offset.
pub(crate) fn local_time(time: Timestamp, offset: Offset) -> String {
    offset.to_datetime(time.to_jiff()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The tree of an answer, which must have an object called `Response`.
pub(crate) fn document(response: &Response<Bytes>) -> Result<Value, DecodeError> {
    let document = wire::document(response.body())?;
    match document.get("Response") {
        Some(Value::Object(_)) => Ok(document),
        _ => Err(DecodeError::Missing("/Response")),
    }
}

/// A refusal by the simulated cloud.
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn value(name: &str) -> Self {
        Self::new("InvalidParameter", format!("The value of parameter `{name}` is not valid."))
    }
}

/// The action of a request to this version of an API.
pub(crate) fn action<'a>(request: &'a Request<Bytes>, version: &str) -> Option<&'a str> {
    let ours = request.method() == http::Method::POST
        && request.uri().path() == "/"
        && header(request.headers(), "x-tc-version") == version;
    request.headers().get("x-tc-action").filter(|_| ours)?.to_str().ok()
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
    time.map_or(json!(NO_TIME), |time| json!(local_time(time, world.target.utc_offset)))
}

/// An id in an answer: these APIs count tasks in numbers.
pub(crate) fn id_value(id: &str) -> Value {
    id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number))
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
