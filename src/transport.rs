//! `Transport`: the crate's only trait, and the network behind it.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use secrecy::{ExposeSecret as _, SecretString};

use crate::files::FileVersion;

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

/// The largest answer that is read, in bytes. The vendors' largest pages hold well under 1 MiB.
pub const MAX_BODY_BYTES: usize = 8 << 20;

/// How one source reaches its cloud.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// For the whole call; connecting alone may take half of it.
    pub timeout: Duration,
    /// A proxy in place of the environment's.
    pub proxy_url: Option<SecretString>,
    /// Further certificate authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// What that file holds: of another content comes another network.
    pub ca_version: Option<FileVersion>,
    /// Whether what is asked is on this machine or its link, where no proxy can be meant.
    pub direct: bool,
}

impl NetworkOptions {
    /// Whether one [`Network`] serves both.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { timeout, proxy_url, ca_file, ca_version, direct } = self;
        let url = |url: &Option<SecretString>| url.as_ref().map(|it| it.expose_secret().to_owned());
        (*timeout, *direct) == (other.timeout, other.direct)
            && url(proxy_url) == url(&other.proxy_url)
            && (ca_file, ca_version) == (&other.ca_file, &other.ca_version)
    }
}

/// The network. Follows no redirect, so that a signed request never reaches another host.
#[derive(Debug)]
pub struct Network {
    client: reqwest::Client,
}

impl Network {
    /// A client with a connection pool of its own. Fails if the proxy's address or the certificate
    /// file cannot be read.
    pub fn new(options: &NetworkOptions) -> anyhow::Result<Self> {
        // An error here means that somebody else installed a provider first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("dbtask-exporter/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(options.timeout)
            .connect_timeout(options.timeout / 2)
            .pool_idle_timeout(Duration::from_secs(150));
        if let Some(url) = &options.proxy_url {
            client = client.proxy(reqwest::Proxy::all(url.expose_secret()).context("proxy_url")?);
        } else if options.direct {
            client = client.no_proxy();
        }
        if let Some(file) = &options.ca_file {
            for certificate in certificates(file)? {
                client = client.add_root_certificate(certificate);
            }
        }
        Ok(Self { client: client.build()? })
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(file).with_context(|| format!("ca_file {}", file.display()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem)
        .with_context(|| format!("ca_file {}", file.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "ca_file {}: no certificate in it", file.display());
    Ok(certificates)
}

impl Transport for Network {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)
                .map_err(|error| TransportError::Network(chain(&error)))?;
            let mut answer = self.client.execute(request).await.map_err(|error| {
                if error.is_timeout() {
                    TransportError::Timeout
                } else {
                    TransportError::Network(explained(chain(&error)))
                }
            })?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| {
                if error.is_timeout() {
                    TransportError::Timeout
                } else {
                    TransportError::Body(format!("the answer was cut short: {}", chain(&error)))
                }
            })? {
                if body.len().saturating_add(chunk.len()) > MAX_BODY_BYTES {
                    let limit = format!("the answer is larger than {MAX_BODY_BYTES} bytes");
                    return Err(TransportError::Body(limit));
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(body.freeze());
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        })
    }
}

/// What is known to help, behind an error that does not say it.
fn explained(error: String) -> String {
    // The second is that of an authority which has the name of a trusted one, and another key.
    if ["UnknownIssuer", "BadSignature"].iter().any(|problem| error.contains(problem)) {
        format!("{error}; `ca_file` can name the authority that signed it")
    } else {
        error
    }
}

/// The error and its causes in one line, without the URL: its query may name resources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = error.source().or(Some(error));
    while let Some(error) = next {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}
