//! What Alibaba's APIs share: RPC requests, the list of clusters, and the simulated gateway.

pub mod adb;
pub mod polardb;
pub mod signature;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use serde_json::Value;

use crate::api::{Query, Target};
use crate::document::Format;
use crate::model::Resource;
use crate::wire;

/// Rows a page: the most of the three sizes, 30, 50 and 100, that the vendor takes.
pub const PAGE_SIZE: u32 = 100;

/// An unsigned request, answered in the format of `target`. Only clusters that carry all of `tags`
/// are meant.
pub fn request(
    target: &Target,
    action: &str,
    version: &str,
    parameters: &[(&str, String)],
    tags: &[(String, String)],
) -> Request<Bytes> {
    let mut all: Vec<(String, &str)> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), value.as_str())).collect();
    for ((key, value), n) in tags.iter().zip(1..) {
        all.push((format!("Tag.{n}.Key"), key));
        all.push((format!("Tag.{n}.Value"), value));
    }
    if target.format == Format::Xml {
        all.push(("Format".to_owned(), "XML"));
    }
    let all: Vec<(&str, String)> =
        all.iter().map(|(name, value)| (name.as_str(), (*value).to_owned())).collect();
    let mut request = signature::rpc(&target.endpoint, action, version, &all);
    if target.format == Format::Xml {
        // Which of header and parameter the gateway goes by is not documented: both say the same.
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/xml"));
    }
    request
}

/// The parameters that every paged list takes.
pub fn paging(query: &Query) -> [(&'static str, String); 2] {
    [("PageNumber", query.page.to_string()), ("PageSize", PAGE_SIZE.to_string())]
}

/// A row of `DescribeDBClusters` as a resource; `None` without an id.
pub fn cluster(row: &Value) -> Option<Resource> {
    Some(Resource {
        id: wire::text(row, "DBClusterId")?.into(),
        name: wire::text(row, "DBClusterDescription").map(Into::into),
    })
}
