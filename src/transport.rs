//! `Transport`: the crate's only trait, and the network behind it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

/// Sends one request and waits for the whole answer. Implemented by the network and by the
/// simulated cloud.
pub trait Transport: fmt::Debug + Send + Sync {
    /// The answer to `request`, whatever its status; redirects are answers. The URI is absolute.
    fn send(&self, request: Request<Bytes>) -> Sending<'_>;
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
    /// The body ended early, or went on for too long.
    #[error("{0}")]
    Body(String),
}
