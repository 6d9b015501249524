//! What the signatures and the answers of all vendors have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::signing::headers;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

/// What an `Authorization` header claims.
pub(crate) struct Claim<'a> {
    /// Key id, and scope where there is one.
    pub(crate) credential: &'a str,
    pub(crate) signed: Vec<&'a str>,
    pub(crate) signature: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads `<algorithm> <word>=…,SignedHeaders=…,Signature=…`, with or without blanks behind the
    /// commas.
    pub(crate) fn read(request: &'a Request<Bytes>, algorithm: &str, word: &str) -> Option<Self> {
        let header = request.headers().get("authorization")?.to_str().ok()?;
        let fields = header.strip_prefix(algorithm)?.strip_prefix(' ')?.split(',');
        let fields: BTreeMap<&str, &str> =
            fields.map(|field| field.trim().split_once('=')).collect::<Option<_>>()?;
        Some(Self {
            credential: fields.get(word)?,
            signed: fields.get("SignedHeaders")?.split(';').collect(),
            signature: fields.get("Signature")?,
        })
    }

    pub(crate) fn signs(&self, name: &str) -> bool {
        self.signed.iter().any(|signed| signed.eq_ignore_ascii_case(name))
    }

    /// Whether every header that is said to be signed was sent.
    pub(crate) fn is_complete(&self, request: &Request<Bytes>) -> bool {
        self.signed.iter().all(|name| request.headers().contains_key(*name))
    }
}

/// Whether two clocks differ by more than the vendor forgives.
pub(crate) fn differ(left: Timestamp, right: Timestamp, tolerance: Duration) -> bool {
    left.since(right).max(right.since(left)) > tolerance
}

/// A header's value as it was signed; `None` where it was not sent.
pub(crate) fn sent(request: &Request<Bytes>, name: &str) -> Option<String> {
    request.headers().contains_key(name).then(|| headers::value(request.headers(), name))
}

/// An answer of this type. A header that cannot be sent is left out.
pub(crate) fn respond(status: u16, content_type: &str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    set(&mut response, "content-type", content_type);
    response
}

pub(crate) fn set(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
