//! `Gateway`: whose request it is, whether its signature is good, and how the vendor refuses.

use bytes::Bytes;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::document::Format;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use http::{Request, Response, StatusCode};

use crate::signature::{respond, set};
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

/// A load balancer's page.
fn page(status: StatusCode) -> Response<Bytes> {
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let body = format!(
        "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\n"
    );
    respond(status.as_u16(), "text/html", body)
}
