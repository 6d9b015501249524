//! Alibaba Cloud: RPC requests, ACS3-HMAC-SHA256, and the error envelope.

use bytes::Bytes;
use http::{Method, Request, Response};

use super::{Refusal, Signing, SigningError, query};

/// An unsigned RPC request: `action` of API `version` with `parameters` in the query, in canonical
/// form.
pub fn rpc(
    endpoint: &str,
    action: &str,
    version: &str,
    parameters: &[(&str, String)],
) -> Request<Bytes> {
    let query = query::canonical(parameters);
    query::request(
        Method::POST,
        format!("{endpoint}/?{query}"),
        &[("x-acs-action", action), ("x-acs-version", version), ("accept", "application/json")],
        Bytes::new(),
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
