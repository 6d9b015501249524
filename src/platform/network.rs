//! `Network`: the transport behind which the vendors are.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use dbtask_clouds::redaction::Secrets;
use dbtask_clouds::transport::{MAX_BODY_BYTES, Sending, Transport, TransportError};
use http::uri::Authority;
use http::{Request, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};

use crate::platform::environment::Environment;
use crate::platform::files::{FileContent, FileVersion, version};
use crate::platform::proxy::EnvironmentProxies;
use crate::platform::reading::read_apart;

/// How long a connection is kept without use. Alibaba's front ends drop it after about 10 s, Tencent's
/// after a minute. Within a poll the next call comes sooner.
const KEPT: Duration = Duration::from_secs(3);
/// On a kept connection the answer's head has this part of the call's time to come. A connection that
/// somebody in between has dropped without a word costs no more than that.
const PATIENCE_DIVISOR: u32 = 3;

/// The largest file of authorities that is read.
const MAX_CA_FILE_BYTES: u64 = 1024 * 1024;
/// How often a file of authorities is looked at, at most: only ever before a request is sent.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How one source reaches its cloud.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// For the whole call; connecting alone may take half of it.
    pub timeout: Duration,
    /// A proxy in place of the environment's.
    pub proxy_url: Option<SecretString>,
    /// Further certificate authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// What that file held when it was read last.
    pub ca_content: Option<FileContent>,
    /// Whether what is asked is on this machine or its link, where no proxy can be meant.
    pub direct: bool,
}

impl NetworkOptions {
    /// Whether one [`Network`] serves both. It follows its file of authorities by itself.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { timeout, proxy_url, ca_file, ca_content: _, direct } = self;
        let url = |url: &Option<SecretString>| url.as_ref().map(|it| it.expose_secret().to_owned());
        (*timeout, *direct) == (other.timeout, other.direct)
            && url(proxy_url) == url(&other.proxy_url)
            && ca_file == &other.ca_file
    }
}

/// The network. Follows no redirect, so that a signed request never reaches another host.
#[derive(Debug)]
pub struct Network {
    clients: ArcSwap<Clients>,
    authorities: Option<Authorities>,
    /// What it sends to proxies and nobody else may see.
    secrets: Secrets,
    /// How long the head of an answer may take on a kept connection.
    patience: Duration,
    /// When the last answer of each host had been read: its connection is kept from then on.
    answered: Mutex<HashMap<Authority, Instant>>,
}

#[derive(Debug)]
struct Clients {
    /// Keeps connections for [`KEPT`].
    keeping: reqwest::Client,
    /// Opens a connection for each request.
    anew: reqwest::Client,
}

/// A file of authorities, which may change.
#[derive(Debug)]
struct Authorities {
    file: PathBuf,
    options: NetworkOptions,
    looked: tokio::sync::Mutex<Looked>,
}

/// When it was read last, and what was in it.
#[derive(Debug)]
struct Looked {
    at: Instant,
    version: FileVersion,
}

impl Clients {
    fn new(options: &NetworkOptions) -> anyhow::Result<Self> {
        // An error here means that somebody else installed a provider first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            keeping: client(options)?.pool_idle_timeout(KEPT).build()?,
            anew: client(options)?.pool_max_idle_per_host(0).build()?,
        })
    }
}

impl Network {
    /// A client with a connection pool of its own. Fails if the proxy's address or the authorities
    /// cannot be used. Reads no file: the authorities are in the options.
    pub fn new(options: &NetworkOptions) -> anyhow::Result<Self> {
        let authorities = options.ca_file.as_ref().zip(options.ca_content.as_ref());
        let authorities = authorities.map(|(file, content)| Authorities {
            file: file.clone(),
            options: NetworkOptions { ca_content: None, ..options.clone() },
            looked: tokio::sync::Mutex::new(Looked {
                at: Instant::now(),
                version: version(content),
            }),
        });
        Ok(Self {
            clients: ArcSwap::from_pointee(Clients::new(options)?),
            authorities,
            secrets: proxy_secrets(options),
            patience: options.timeout / PATIENCE_DIVISOR,
            answered: Mutex::default(),
        })
    }

    /// Has new connections trust what the file of authorities holds now, if it was not looked at
    /// just before. What cannot be used is logged once, and the authorities before it stay.
    async fn follow(&self) {
        let Some(Authorities { file, options, looked }) = &self.authorities else { return };
        // Nobody waits for another one's reading.
        let Ok(mut looked) = looked.try_lock() else { return };
        if looked.at.elapsed() < LOOK_AGAIN {
            return;
        }
        let content = read_apart(file, MAX_CA_FILE_BYTES).await;
        looked.at = Instant::now();
        let now = version(&content);
        if now == looked.version {
            return;
        }
        looked.version = now;
        let content = content.map(Arc::from).map_err(|error| error.to_string());
        let options = NetworkOptions { ca_content: Some(content), ..options.clone() };
        // On another thread, for the system's own authorities are read again.
        let clients = tokio::task::spawn_blocking(move || Clients::new(&options)).await;
        match clients.map_err(anyhow::Error::from).flatten() {
            Ok(clients) => {
                self.clients.store(Arc::new(clients));
                self.answered().clear();
                tracing::info!(
                    file = %file.display(),
                    "new connections trust the authorities in the new version of this file"
                );
            }
            Err(error) => tracing::error!(
                "the authorities before it stay, for the new version cannot be used: {error:#}"
            ),
        }
    }

    /// Whether a request to this host may be sent on a kept connection.
    fn may_be_kept(&self, host: &Authority) -> bool {
        self.answered().get(host).is_some_and(is_recent)
    }

    fn note_answer(&self, host: Authority) {
        let mut answered = self.answered();
        answered.retain(|_, answered| is_recent(answered));
        answered.insert(host, Instant::now());
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<Authority, Instant>> {
        // Nothing in here can panic half-way through a change.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer on a connection that may have been kept, if this is not to be `anew`.
    async fn exchange(
        &self,
        request: Request<Bytes>,
        anew: bool,
    ) -> Result<Response<Bytes>, TransportError> {
        self.follow().await;
        let clients = self.clients.load_full();
        let host = request.uri().authority().cloned();
        let kept = !anew && host.as_ref().is_some_and(|host| self.may_be_kept(host));
        let request = reqwest::Request::try_from(request)
            .map_err(|error| TransportError::Network(chain(&error)))?;
        let answer = if kept {
            let silent =
                |_| TransportError::Stale("no answer on a connection that was kept".to_owned());
            let answer = timeout(self.patience, clients.keeping.execute(request)).await;
            answer.map_err(silent)?.map_err(|error| stale(&error))?
        } else {
            let client = if anew { &clients.anew } else { &clients.keeping };
            client.execute(request).await.map_err(|error| broken(&error))?
        };
        let response = whole(answer).await?;
        if let Some(host) = host.filter(|_| !anew) {
            self.note_answer(host);
        }
        Ok(response)
    }
}

/// Whether the connection of an answer may still be kept: a little longer, for the pool begins to
/// count a little later.
fn is_recent(answered: &Instant) -> bool {
    answered.elapsed() <= KEPT + Duration::from_secs(1)
}

fn client(options: &NetworkOptions) -> anyhow::Result<reqwest::ClientBuilder> {
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("dbtask-exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(options.timeout)
        .connect_timeout(options.timeout / 2)
        .tcp_keepalive(Duration::from_secs(15));
    if let Some(url) = &options.proxy_url {
        client = client.proxy(reqwest::Proxy::all(url.expose_secret()).context("proxy_url")?);
    } else {
        // The client's own reading of the environment takes fewer spellings.
        client = client.no_proxy();
    }
    if options.proxy_url.is_none() && !options.direct {
        let proxies = EnvironmentProxies::of(&Environment::of_process())?;
        client = client.proxy(reqwest::Proxy::custom(move |url| {
            proxies.of_host(url.scheme(), url.host_str()?, url.port_or_known_default()?)
        }));
    }
    if let (Some(file), Some(content)) = (&options.ca_file, &options.ca_content) {
        let content = content.as_ref().map_err(|error| anyhow::anyhow!("{error}"));
        let found = content.and_then(|pem| certificates(pem));
        for certificate in found.with_context(|| format!("ca_file {}", file.display()))? {
            client = client.add_root_certificate(certificate);
        }
    }
    Ok(client)
}

/// The users and passwords of the proxies that may be used.
fn proxy_secrets(options: &NetworkOptions) -> Secrets {
    let environment = Environment::of_process();
    let of_environment = environment.iter().filter(|(name, _)| {
        ["http_proxy", "https_proxy", "all_proxy"].iter().any(|it| it.eq_ignore_ascii_case(name))
    });
    let own = options.proxy_url.as_ref().map(ExposeSecret::expose_secret);
    let mut secrets = Secrets::default();
    for url in own.into_iter().chain(of_environment.map(|(_, url)| url)) {
        let (_, rest) = url.split_once("://").unwrap_or(("", url));
        let Some((user, _)) = rest.split(['/', '?', '#']).next().and_then(|it| it.rsplit_once('@'))
        else {
            continue;
        };
        let plain = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
        for user in [user, &*plain] {
            secrets.value(user);
            secrets.value(user.split_once(':').unwrap_or_default().1);
        }
        // As it is sent, which nobody can decode in another case.
        secrets.value(&STANDARD.encode(&*plain));
    }
    secrets
}

/// The certificates in `pem`; an error if there is none.
pub fn certificates(pem: &[u8]) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let certificates = reqwest::Certificate::from_pem_bundle(pem)?;
    anyhow::ensure!(!certificates.is_empty(), "no certificate in it");
    Ok(certificates)
}

impl Transport for Network {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(self.exchange(request, false))
    }

    fn send_anew(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(self.exchange(request, true))
    }

    fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }
}

/// The answer with its body, which may be as large as [`MAX_BODY_BYTES`].
async fn whole(mut answer: reqwest::Response) -> Result<Response<Bytes>, TransportError> {
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
}

fn broken(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        TransportError::Timeout
    } else {
        TransportError::Network(explained(chain(error)))
    }
}

/// What went wrong on a connection that may have been kept. One that could not even be made was not.
fn stale(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() || error.is_connect() {
        broken(error)
    } else {
        TransportError::Stale(chain(error))
    }
}

/// Notes the secrets of all requests that are sent through it.
#[derive(Debug)]
pub struct Witness<'a> {
    transport: &'a dyn Transport,
    secrets: &'a Mutex<Secrets>,
}

impl<'a> Witness<'a> {
    /// Sends through `transport`, and notes in `secrets`.
    pub fn new(transport: &'a dyn Transport, secrets: &'a Mutex<Secrets>) -> Self {
        Self { transport, secrets }
    }
}

impl Witness<'_> {
    fn note(&self, request: &Request<Bytes>) {
        // Nothing in here can panic half-way through a change.
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.add(Secrets::of(request));
        secrets.add(self.transport.secrets());
    }
}

impl Transport for Witness<'_> {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        self.note(&request);
        self.transport.send(request)
    }

    fn send_anew(&self, request: Request<Bytes>) -> Sending<'_> {
        self.note(&request);
        self.transport.send_anew(request)
    }

    fn secrets(&self) -> Secrets {
        self.transport.secrets()
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
