//! What Alibaba's APIs share: requests, their times, and the list of clusters.

pub mod adb;
pub mod dts;
pub mod history;
pub mod instance_tasks;
pub mod maintenance;
pub mod oceanbase;
pub mod polardb;
pub mod signature;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request};
use serde_json::Value;

use crate::api::{Call, Operation, Parameter, Query, Target};
use crate::document::Format;
use crate::model::{Resource, Timestamp};
use crate::signing::query::canonical;
use crate::wire;

/// Rows a page: the most of the three sizes, 30, 50 and 100, that the vendor takes.
pub const PAGE_SIZE: u32 = 100;

/// The unsigned request for a query, answered in the format of `target`.
pub fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let Operation { name, call, .. } = query.operation;
    let mut parameters = query.texts(target, time_text);
    let form = match call {
        Call::Form(_) => std::mem::take(&mut parameters),
        Call::Action(_) | Call::Get(_) | Call::Post(_) | Call::GetIam(_) => Vec::new(),
    };
    if target.format == Format::Xml {
        parameters.push(("Format", "XML".to_owned()));
    }
    let mut request = signature::rpc(&target.endpoint, name, call.version(), &parameters);
    if !form.is_empty() {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        *request.body_mut() = canonical(&form).into();
    }
    if target.format == Format::Xml {
        // Which of header and parameter the gateway goes by is not documented: both say the same.
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/xml"));
    }
    request
}

/// A time as parameters write it: `2026-03-01T08:00:00Z`.
fn time_text(time: Timestamp) -> String {
    time.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A list that comes in pages.
pub fn paged(operation: &'static Operation) -> Query {
    Query::new(operation)
        .with("PageNumber", Parameter::PageNumber)
        .with("PageSize", Parameter::Integer(PAGE_SIZE.into()))
}

/// A list of only those clusters that carry all of these tags.
pub fn tagged(mut query: Query, tags: &[(String, String)]) -> Query {
    for ((key, value), n) in tags.iter().zip(1..) {
        query = query
            .with(format!("Tag.{n}.Key"), key.as_str().into())
            .with(format!("Tag.{n}.Value"), value.as_str().into());
    }
    query
}

/// A row of `DescribeDBClusters` as a resource; `None` without an id.
pub fn cluster(row: &Value) -> Option<Resource> {
    Some(Resource {
        id: wire::text(row, "DBClusterId")?.into(),
        name: wire::text(row, "DBClusterDescription").map(Into::into),
    })
}
