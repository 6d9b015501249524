//! What TencentDB's products have in common: hosts, times without a zone, the `Response` around
//! every answer, and, for the simulated cloud, how parameters are checked and refused.

pub mod cdb;
pub mod redis;
pub mod signature;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::api::Scope;
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

/// How many rows come before a page.
pub fn offset_of(page: u32) -> u64 {
    u64::from(page.saturating_sub(1)) * u64::from(LIMIT)
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

/// An id in an answer: these APIs count tasks in numbers.
pub fn id_value(id: &str) -> Value {
    id.parse::<u64>().map_or_else(|_| json!(id), |number| json!(number))
}
