//! What TencentDB's products have in common: hosts, times without a zone, and the `Response` around
//! every answer.

pub mod cdb;
pub mod redis;
pub mod refusals;
pub mod signature;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{Operation, Parameter, Query, Scope, Target};
use crate::document::DecodeError;
use crate::model::{Resource, Timestamp};
use crate::wire;

/// The most rows that a task list gives for one call.
pub const LIMIT: u32 = 100;

/// What the tables of all services were written from.
pub const ORIGIN: &str = "the official Python packages 3.1 of both sites, the vendor's pages \
                                 on finance regions, and its SDKs' tests for VPCs";

/// Regions that the vendor's pages and SDKs name.
pub const REGIONS: &[&str] = &[
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
pub fn instances(scope: &Scope<'_>) -> Vec<Vec<Arc<Resource>>> {
    if scope.resources.is_empty() {
        return vec![Vec::new()];
    }
    scope.resources.iter().map(|resource| vec![Arc::clone(resource)]).collect()
}

/// The unsigned request for a query.
pub fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let Operation { name, call, .. } = query.operation;
    let body = query.values(target, |time| local_time(time, target.utc_offset));
    signature::call(&target.endpoint, name, call.version(), &target.region, &body.into())
}

/// A list that comes in pages of [`LIMIT`] rows.
pub fn paged(operation: &'static Operation) -> Query {
    Query::new(operation)
        .with("Limit", Parameter::Integer(LIMIT.into()))
        .with("Offset", Parameter::Offset(LIMIT))
}

/// A list of the tasks of one instance; of all where there is none.
pub fn of_instance(query: Query, instance: Option<&Arc<Resource>>) -> Query {
    match instance {
        Some(instance) => query.with("InstanceId", (*instance.id).into()),
        None => query,
    }
}

/// How many rows there are on all pages, by the vendor's word.
pub fn total(document: &Value) -> Option<i64> {
    wire::integer(document.get("Response")?, "TotalCount")
}

/// A time as parameters and answers write it: `2024-06-17 17:50:05`, at the source's offset.
pub fn local_time(time: Timestamp, offset: Offset) -> String {
    offset.to_datetime(time.to_jiff()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The tree of an answer, which must have an object called `Response`.
pub fn document(response: &Response<Bytes>) -> Result<Value, DecodeError> {
    let document = wire::document(response.body())?;
    match document.get("Response") {
        Some(Value::Object(_)) => Ok(document),
        _ => Err(DecodeError::Missing("/Response")),
    }
}
