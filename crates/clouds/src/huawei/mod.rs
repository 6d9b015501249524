//! What HUAWEI CLOUD's APIs have in common: requests, times, and the project of a region. Open
//! Telekom Cloud runs the same services under its own name.

pub mod dcs;
pub mod dcs_migration;
pub mod drs;
pub mod dws;
pub mod ges;
pub mod hosts;
pub mod jobs;
pub mod scheduled;
pub mod signature;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{Call, Operation, Parameter, ProjectSearch, Query, Target};
use crate::document::DecodeError;
use crate::model::{Resource, Timestamp};
use crate::signing::query;
use crate::wire;

/// Where IAM is asked for the project of the region, if the configuration does not name it.
pub static LIST_PROJECTS: Operation = Operation {
    name: "KeystoneListProjects",
    permission: "iam:projects:listProjects",
    per_second: 1,
    call: Call::GetIam("/v3/projects"),
};

/// The project of a region has the region's name.
pub static PROJECT: ProjectSearch = ProjectSearch {
    operation: &LIST_PROJECTS,
    query: || Query::new(&LIST_PROJECTS).with("name", Parameter::Region),
    decode: project_id,
};

/// A region has one project of its own name; its sub-projects have longer ones.
fn project_id(answer: &Response<Bytes>) -> Result<Option<String>, DecodeError> {
    let document = wire::document(answer.body())?;
    Ok(match wire::rows(&document, "/projects")? {
        [only] => wire::text(only, "id").map(Cow::into_owned),
        _ => None,
    })
}

/// The unsigned request for a query. A parameter whose name begins with `X-` is a header; one that the
/// path names in braces is a part of it.
pub fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let call = query.operation.call;
    let (method, pattern) = call.route().unwrap_or_default();
    let mut path = pattern.replace("{project_id}", &target.project_id);
    let (mut headers, mut rest) = (Vec::new(), Vec::new());
    for (name, value) in query.texts(target, time_text) {
        let place = format!("{{{name}}}");
        if path.contains(&place) {
            path = path.replace(&place, &query::encode(value.as_bytes()));
        } else if name.starts_with("X-") {
            headers.push((name, value));
        } else {
            rest.push((name, value));
        }
    }
    let mut request = if let Call::GetIam(_) = call {
        signature::get(&iam_endpoint(target), "", &path, &rest)
    } else if method == Method::POST {
        let mut body = query.values(target, time_text);
        body.retain(|name, _| rest.iter().any(|(kept, _)| name == kept));
        signature::post(&target.endpoint, &target.project_id, &path, &body.into())
    } else {
        signature::get(&target.endpoint, &target.project_id, &path, &rest)
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

/// IAM of the region in which a service is: the cloud's own for an endpoint of the cloud's; else it
/// stands beside the service, under whatever domain that has. An address without a service's name
/// is a gateway to all of them.
fn iam_endpoint(target: &Target) -> String {
    let Target { endpoint, region, .. } = target;
    if hosts::ALL.iter().any(|of| of.public(region) == *endpoint) {
        return signature::iam(region);
    }
    let parts = endpoint.split_once("://").and_then(|(scheme, host)| {
        let (service, domain) = host.split_once('.')?;
        is_service(service).then(|| format!("{scheme}://iam.{domain}"))
    });
    parts.unwrap_or_else(|| endpoint.clone())
}

/// Whether a host of the cloud's begins with this name.
fn is_service(name: &str) -> bool {
    hosts::ALL.iter().flat_map(|of| of.all()).any(|addresses| {
        let host = addresses.public.split_once("://").map_or("", |(_, host)| host);
        host.split_once('.').is_some_and(|(service, _)| service == name)
    })
}

/// A query for texts in English, where the operation can be told the language.
fn in_english(query: Query, speaks: bool) -> Query {
    if speaks { query.with("X-Language", "en-us".into()) } else { query }
}

/// Whether tasks of a resource are asked for: of these, or of all where there are none.
fn is_watched(resources: &[Arc<Resource>], resource: &Resource) -> bool {
    resources.is_empty() || resources.iter().any(|known| known.id == resource.id)
}

/// A time as Unix milliseconds.
pub fn milliseconds(time: Timestamp) -> String {
    time.as_second().saturating_mul(1000).to_string()
}

/// The records under a JSON pointer, as [`wire::rows`]. The vendor's clients read a refusal with a good
/// status as an answer without tasks: none beside a code are an error here.
fn rows<'a>(document: &'a Value, pointer: &'static str) -> Result<&'a [Value], DecodeError> {
    let rows = wire::rows(document, pointer)?;
    if rows.is_empty() && signature::carries_code(document) {
        return Err(DecodeError::Missing(pointer));
    }
    Ok(rows)
}

/// A time as parameters and answers write it: `2021-07-13T07:28:43+0000`.
pub fn time_text(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time.to_jiff()).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}
