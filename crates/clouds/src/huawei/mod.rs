//! What HUAWEI CLOUD's APIs have in common: requests, times, and the project of a region. Open
//! Telekom Cloud runs the same services under its own name.

pub mod dds;
pub mod signature;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Request, Response};
use jiff::tz::Offset;

use crate::api::{Call, Operation, Parameter, ProjectSearch, Query, Target};
use crate::document::DecodeError;
use crate::model::Timestamp;
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

/// The unsigned request for a query.
pub fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let parameters = query.texts(target, time_text);
    match query.operation.call {
        Call::Get(path) | Call::Action(path) => {
            let path = path.replace("{project_id}", &target.project_id);
            signature::get(&target.endpoint, &target.project_id, &path, &parameters)
        }
        Call::GetIam(path) => {
            signature::get(&iam_endpoint(&target.endpoint), "", path, &parameters)
        }
    }
}

/// IAM of the region in which a service is: it stands beside the service.
fn iam_endpoint(endpoint: &str) -> String {
    endpoint.replacen("://dds.", "://iam.", 1)
}

/// A time as parameters and answers write it: `2021-07-13T07:28:43+0000`.
pub fn time_text(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time.to_jiff()).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}
