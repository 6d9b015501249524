//! `Transport`: how a request reaches a cloud, real or simulated.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

use crate::reason::Reason;
use crate::redaction::{Redactor, Secrets};

/// Sends one request and waits for the whole answer. Implemented by the network and by the
/// simulated cloud.
pub trait Transport: fmt::Debug + Send + Sync {
    /// The answer to `request`, whatever its status; redirects are answers. The URI is absolute.
    fn send(&self, request: Request<Bytes>) -> Sending<'_>;

    /// The same over a connection that nothing was sent on before.
    fn send_anew(&self, request: Request<Bytes>) -> Sending<'_> {
        self.send(request)
    }

    /// What it sends beside a request and nobody else may see: the password for a proxy.
    fn secrets(&self) -> Secrets {
        Secrets::default()
    }
}

/// A request under way.
pub type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, TransportError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Connecting or answering took too long.
    #[error("no answer in time")]
    Timeout,
    /// The connection could not be made, or broke before the answer's head.
    #[error("{0}")]
    Network(String),
    /// A connection that may have been kept from an earlier request broke before the answer's head,
    /// or stayed silent. [`Transport::send_anew`] may go better.
    #[error("{0}")]
    Stale(String),
    /// The body ended early, or went on for too long.
    #[error("{0}")]
    Body(String),
}

impl TransportError {
    /// Takes out what we have sent and nobody else may see.
    pub fn redact(&mut self, redactor: &Redactor) {
        match self {
            Self::Timeout => {}
            Self::Network(text) | Self::Body(text) | Self::Stale(text) => redactor.redact(text),
        }
    }

    /// The `reason` label.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout => Reason::Timeout,
            Self::Network(_) | Self::Stale(_) => Reason::Network,
            Self::Body(_) => Reason::Decode,
        }
    }
}

/// The largest answer that is read, in bytes. The vendors' largest pages hold well under 1 MiB.
pub const MAX_BODY_BYTES: usize = 8 << 20;
