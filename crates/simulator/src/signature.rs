//! `Gateway`: whose request it is, whether its signature is good, and how the vendor refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::document::Format;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::headers;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::{alibaba, huawei, tencent};

/// The vendor's side of a [`Cloud`].
pub trait Gateway {
    /// Who `request` says is asking: an access key id, or with Huawei a token. `None` if it does not
    /// say, or not in the vendor's syntax.
    fn claimant(self, request: &Request<Bytes>) -> Option<String>;

    /// Whether the vendor would let `request` in at its time `now`. `credentials` are those of the
    /// [`Gateway::claimant`], `None` if there is no such key; `service` is the one that is asked, for
    /// Tencent alone. Any set of signed headers is good that has those the vendor demands. The
    /// refusal's message is the vendor's and may quote the request.
    fn verify(
        self,
        request: &Request<Bytes>,
        service: &str,
        credentials: Option<&Credentials>,
        now: Timestamp,
    ) -> Result<(), Refusal>;

    /// The answer by which the vendor refuses: its envelope, and the status that goes with the code.
    /// A code that is a status becomes a page such as load balancers send. `host` is the one that
    /// was asked; `format` is for Alibaba alone.
    fn refuse(
        self,
        refusal: &Refusal,
        host: &str,
        request_id: &str,
        format: Format,
    ) -> Response<Bytes>;
}

impl Gateway for Cloud {
    fn claimant(self, request: &Request<Bytes>) -> Option<String> {
        match self {
            Self::Alibaba => alibaba::gateway::claimant(request),
            Self::Huawei => huawei::gateway::claimant(request),
            Self::Tencent => tencent::gateway::claimant(request),
        }
    }

    fn verify(
        self,
        request: &Request<Bytes>,
        service: &str,
        credentials: Option<&Credentials>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match self {
            Self::Alibaba => alibaba::gateway::verify(request, credentials, now),
            Self::Huawei => huawei::gateway::verify(request, credentials, now),
            Self::Tencent => tencent::gateway::verify(request, service, credentials, now),
        }
    }

    fn refuse(
        self,
        refusal: &Refusal,
        host: &str,
        request_id: &str,
        format: Format,
    ) -> Response<Bytes> {
        let page_status =
            refusal.code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        let mut response = match (page_status.filter(|status| status.as_u16() >= 300), self) {
            (Some(status), _) => page(status),
            (None, Self::Alibaba) => alibaba::gateway::refuse(refusal, host, request_id, format),
            (None, Self::Huawei) => huawei::gateway::refuse(refusal, request_id),
            (None, Self::Tencent) => tencent::gateway::refuse(refusal, request_id),
        };
        if let Some(wait) = refusal.retry_after {
            // Alibaba's own header says "throttled", whatever the code.
            let (name, value) = if self == Self::Alibaba && refusal.kind == RefusalKind::Throttled {
                ("x-acs-retry-after", wait.as_millis().to_string())
            } else {
                ("retry-after", wait.as_millis().div_ceil(1000).to_string())
            };
            set(&mut response, name, &value);
        }
        response
    }
}

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

/// A load balancer's page.
fn page(status: StatusCode) -> Response<Bytes> {
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let body = format!(
        "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\n"
    );
    respond(status.as_u16(), "text/html", body)
}
