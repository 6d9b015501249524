//! What TencentDB's products have in common: hosts, times without a zone, and the `Response` around
//! every answer.

pub mod cdb;
pub mod cynosdb;
pub mod dcdb;
pub mod dts;
pub mod flow;
mod listed;
pub mod postgres;
pub mod redis;
pub mod refusals;
pub mod signature;
pub mod sqlserver;
pub mod tcaplusdb;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{Operation, Parameter, Query, Scope, Target, Unreadable};
use crate::document::DecodeError;
use crate::model::{Ratio, Resource, TaskError, Timestamp};
use crate::wire;

/// The hosts of a service, by the vendor's pattern. Finance regions are apart from the others.
macro_rules! hosts {
    ($service:literal, intl: $intl:expr) => {
        $crate::endpoints::Endpoints {
            origin: $crate::tencent::ORIGIN,
            by_region: &[(
                &["*-fsi"],
                $crate::endpoints::Addresses {
                    public: concat!("https://", $service, ".{region}.tencentcloudapi.com"),
                    vpc: Some(concat!(
                        "https://",
                        $service,
                        ".internal.{region}.tencentcloudapi.com"
                    )),
                    intl: None,
                },
            )],
            others: $crate::endpoints::Addresses {
                public: concat!("https://", $service, ".tencentcloudapi.com"),
                vpc: Some(concat!("https://", $service, ".internal.tencentcloudapi.com")),
                intl: $intl,
            },
            all_regions: None,
            confirmed: $crate::tencent::REGIONS,
            disputed: &[],
        }
    };
    // On both of the vendor's sites.
    ($service:literal) => {
        $crate::tencent::hosts!(
            $service,
            intl: Some(concat!("https://", $service, ".intl.tencentcloudapi.com"))
        )
    };
}
pub(crate) use hosts;

/// An operation, called by its name in a version of its service.
macro_rules! operation {
    ($service:literal, $name:literal, $version:literal, $per_second:literal) => {
        $crate::api::Operation {
            name: $name,
            permission: concat!($service, ":", $name),
            per_second: $per_second,
            call: $crate::api::Call::Action($version),
        }
    };
}
pub(crate) use operation;

/// Where an operation is described for which the vendor keeps no page in English: its API Explorer.
macro_rules! explorer {
    ($service:literal, $name:literal, $version:literal) => {
        concat!(
            "https://console.cloud.tencent.com/api/explorer?Product=",
            $service,
            "&Version=",
            $version,
            "&Action=",
            $name
        )
    };
}
pub(crate) use explorer;

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
    paged_by(operation, LIMIT)
}

/// A list that comes in pages of so many rows.
pub fn paged_by(operation: &'static Operation, limit: u32) -> Query {
    Query::new(operation)
        .with("Limit", Parameter::Integer(limit.into()))
        .with("Offset", Parameter::Offset(limit))
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

/// The rows of an answer. Where one task was asked for and none is counted, the list may be missing.
fn rows<'a>(
    document: &'a Value,
    query: &Query,
    pointer: &'static str,
) -> Result<&'a [Value], DecodeError> {
    if document.pointer(pointer).is_some() {
        return wire::rows(document, pointer);
    }
    let is_vendors = document.get("Response").is_some_and(wire::is_vendors);
    let is_none = query.task.is_some() && total(document).unwrap_or_default() == 0;
    if is_none && is_vendors { Ok(&[]) } else { Err(DecodeError::Missing(pointer)) }
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

/// Whether an id is a number that can be a task's. The vendor counts from 1, and answers 0 to a call
/// that leaves nothing to wait for.
pub fn is_number(id: &str) -> bool {
    id != "0" && wire::is_number(id)
}

/// A task id; 0 is none.
fn task_id(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<String> {
    let is_zero = wire::text(row, field).is_some_and(|id| id == "0");
    let id = wire::task_id(if is_zero { &Value::Null } else { row }, field, unreadable)?;
    Some(id)
}

/// A percentage. One below 0 says that there is none.
fn percent(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Ratio> {
    let is_none = wire::text(row, field).is_some_and(|text| text.starts_with('-'));
    if is_none { None } else { wire::percent(row, field, unreadable) }
}

/// A fraction, as [`percent`].
fn fraction(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Ratio> {
    let is_none = wire::text(row, field).is_some_and(|text| text.starts_with('-'));
    if is_none { None } else { wire::fraction(row, field, unreadable) }
}

/// An error text, if there is any.
fn message(text: Option<Cow<'_, str>>) -> Option<Box<TaskError>> {
    let message = without_order(&text?);
    Some(Box::new(TaskError { code: Box::default(), message: message.into() }))
}

/// A text without the order that it may quote, which may hold passwords: what stands between braces,
/// and what follows a word for a password, is left out.
fn without_order(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(start) = text.find('{') {
        let end = text.rfind('}').filter(|&end| end > start).map_or(text.len(), |end| end + 1);
        text.replace_range(start..end, "{…}");
    }
    let lower = text.to_ascii_lowercase();
    let words = ["password", "passwd", "pwd"];
    let ends = words
        .iter()
        .flat_map(|word| lower.match_indices(word).map(|(at, word)| at.saturating_add(word.len())));
    let told = |end: &usize| {
        let rest = lower.get(*end..).unwrap_or_default().trim_start_matches(['"', '\'', '\\', ' ']);
        rest.starts_with([':', '='])
    };
    if let Some(end) = ends.filter(told).min() {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_text_does_not_quote_the_order() {
        for (text, expected) in [
            ("instance status not ok", "instance status not ok"),
            ("modify password failed", "modify password failed"),
            (
                r#"create failed: {"adminPassword":"x","a":{"b":1}} (code 7)"#,
                "create failed: {…} (code 7)",
            ),
            (r#"create failed: {"adminPassword":"x"#, "create failed: {…}"),
            ("login with password=x refused", "login with password…"),
            ("bad input adminPassword\": \"x", "bad input adminPassword…"),
            ("订单 Pwd : x", "订单 Pwd…"),
        ] {
            assert_eq!(without_order(text), expected);
        }
    }

    #[test]
    fn nothing_to_wait_for_has_the_id_0() {
        assert!(is_number("1") && is_number("18446744073709551615"));
        for id in ["0", "", "00", "-1", "1.5"] {
            assert!(!is_number(id), "{id}");
        }
        let mut unreadable = Unreadable::default();
        assert_eq!(task_id(&json!({ "Id": 0 }), "Id", &mut unreadable), None);
        assert_eq!(task_id(&json!({ "Id": 7 }), "Id", &mut unreadable), Some("7".to_owned()));
        assert_eq!(unreadable.task_id, 1);
    }

    #[test]
    fn a_percentage_below_0_is_none() {
        let mut unreadable = Unreadable::default();
        for (value, expected) in [
            (json!(-1), None),
            (json!("-1"), None),
            (json!(0), Some(0.0)),
            (json!("37"), Some(0.37)),
        ] {
            let read = percent(&json!({ "P": value }), "P", &mut unreadable).map(Ratio::get);
            assert_eq!(read, expected, "{value}");
        }
        assert_eq!(unreadable, Unreadable::default());
    }
}
