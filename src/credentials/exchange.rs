//! Sessions: keys that end, and how one proof of identity is exchanged for another.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::document::{document, text};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::reason::Reason;
use dbtask_clouds::redaction::{Redactor, Secrets};
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::SigningError;
use dbtask_clouds::transport::{Transport, TransportError};
use http::{HeaderValue, Method, Request, Response};
use secrecy::SecretString;
use serde_json::Value;

use super::{Outside, well_formed};
use crate::credentials::guard::{Guarded, Turn};
use crate::platform::reading::read_apart;

/// The pause after a failure; doubled with each further one.
const PAUSE: Duration = Duration::from_secs(5);
/// What that pause grows to. Whoever polls backs off besides, and a key that is refused has a guard.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A request whose time was so far from the vendor's was refused for that, whatever the vendor calls
/// it: the most that any takes.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(15);
/// More than any vendor's token is long.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The most of a vendor's word that is shown.
const MAX_WORD_BYTES: usize = 64;

/// Keys that end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    pub(super) credentials: Arc<Credentials>,
    /// By the vendor's clock.
    pub(super) ends: Timestamp,
}

impl Session {
    pub(super) fn new(credentials: Credentials, ends: Timestamp) -> Self {
        Self { credentials: Arc::new(credentials), ends }
    }
}

/// Why there is no session. Never holds a key, a token or an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// No answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The vendor said no.
    #[error("{0}")]
    Refused(Refusal),
    /// An answer without words.
    #[error("HTTP status {0}")]
    Status(u16),
    /// An answer that makes no sense.
    #[error("{0}")]
    Answer(String),
    /// The machine has no role whose keys it could give.
    #[error("no role is bound to this machine")]
    NoRole,
    /// The request cannot be made of what there is.
    #[error("{0}")]
    Request(String),
    /// The file with the token cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The key that the session is asked for with is not used for a while.
    #[error(transparent)]
    Guarded(#[from] Guarded),
}

impl From<SigningError> for SessionError {
    fn from(error: SigningError) -> Self {
        Self::Request(error.to_string())
    }
}

impl SessionError {
    /// Takes out what we have sent and nobody else may see.
    pub(super) fn redact(&mut self, redactor: &Redactor) {
        match self {
            Self::Transport(error) => error.redact(redactor),
            Self::Refused(refusal) => refusal.redact(redactor),
            Self::Answer(text) | Self::Request(text) => redactor.redact(text),
            // In our own words.
            Self::Status(_) | Self::NoRole | Self::File { .. } | Self::Guarded(_) => {}
        }
    }

    /// The `reason` label: `auth` where keys, role or token are refused, missing or unusable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Transport(error) => error.reason(),
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Clock => Reason::Clock,
                RefusalKind::Throttled => Reason::Throttled,
                RefusalKind::Server => Reason::Server,
                // What is asked for here is nothing but keys, for a role, with a token.
                RefusalKind::NotFound | RefusalKind::Client if refusal.has_code() => Reason::Auth,
                RefusalKind::NotFound | RefusalKind::Client | RefusalKind::NoSuchOperation => {
                    Reason::Client
                }
                RefusalKind::Unauthenticated
                | RefusalKind::CredentialsExpired
                | RefusalKind::Forbidden => Reason::Auth,
            },
            Self::Status(401 | 403) | Self::NoRole | Self::File { .. } | Self::Guarded(_) => {
                Reason::Auth
            }
            Self::Status(429) => Reason::Throttled,
            Self::Status(408 | 500..) => Reason::Server,
            Self::Status(_) | Self::Request(_) => Reason::Client,
            Self::Answer(_) => Reason::Decode,
        }
    }

    /// How long nothing is asked after it, if it is the last of so many failures.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let asked = match self {
            Self::Refused(refusal) => refusal.retry_after,
            // It has a time of its own, which may be over at any moment.
            Self::Guarded(_) => return Duration::ZERO,
            Self::Transport(_)
            | Self::Status(_)
            | Self::Answer(_)
            | Self::NoRole
            | Self::Request(_)
            | Self::File { .. } => None,
        };
        let doubled = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(LONGEST_PAUSE).max(asked.unwrap_or_default())
    }

    /// Whether the vendor refused the time of the request.
    pub(super) fn is_clock(&self, outside: &Outside<'_>) -> bool {
        match self {
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Clock => true,
                RefusalKind::Unauthenticated => outside.clock.is_off_by(CLOCK_TOLERANCE.as_secs()),
                RefusalKind::CredentialsExpired
                | RefusalKind::Forbidden
                | RefusalKind::Throttled
                | RefusalKind::Server
                | RefusalKind::NotFound
                | RefusalKind::NoSuchOperation
                | RefusalKind::Client => false,
            },
            Self::Transport(_)
            | Self::Status(_)
            | Self::Answer(_)
            | Self::NoRole
            | Self::Request(_)
            | Self::File { .. }
            | Self::Guarded(_) => false,
        }
    }
}

/// What an answer says of the key that the session was asked for with.
pub(super) fn judge(turn: Turn, asked: &Result<Session, SessionError>) {
    let refusal = match asked {
        Ok(_) => return turn.accepted(),
        Err(SessionError::Refused(refusal)) => refusal,
        Err(
            SessionError::Transport(_)
            | SessionError::Status(_)
            | SessionError::Answer(_)
            | SessionError::NoRole
            | SessionError::Request(_)
            | SessionError::File { .. }
            | SessionError::Guarded(_),
        ) => return,
    };
    // Its words may still hold what was sent.
    turn.judge(refusal.kind, "");
}

/// What the parts of a session are called in an answer; the first that is there counts.
pub(super) struct Names {
    pub(super) id: &'static [&'static str],
    pub(super) secret: &'static [&'static str],
    pub(super) token: &'static [&'static str],
    pub(super) end: &'static [&'static str],
}

impl Names {
    pub(super) const fn of(cloud: Cloud) -> Self {
        match cloud {
            Cloud::Alibaba => Self {
                id: &["AccessKeyId"],
                secret: &["AccessKeySecret"],
                token: &["SecurityToken"],
                end: &["Expiration"],
            },
            Cloud::Huawei => Self {
                id: &["access", "accessKeyId", "access_key_id"],
                secret: &["secret", "secretAccessKey", "secret_access_key"],
                token: &["securitytoken", "securityToken", "security_token"],
                end: &["expires_at", "expiration"],
            },
            Cloud::Tencent => Self {
                id: &["TmpSecretId"],
                secret: &["TmpSecretKey"],
                token: &["Token"],
                end: &["ExpiredTime", "Expiration"],
            },
        }
    }
}

/// The session in `keys`, whose end stands in `end`, as `cloud` spells them.
pub(super) fn session(cloud: Cloud, keys: &Value, end: &Value) -> Result<Session, SessionError> {
    let names = Names::of(cloud);
    let key = |names: &[&str]| {
        let value = first(keys, names)?;
        let name = names.first().copied().unwrap_or_default();
        well_formed(&value)
            .map_err(|problem| SessionError::Answer(format!("{name} in the answer {problem}")))?;
        Ok::<_, SessionError>(value)
    };
    let credentials = Credentials::Keys(AccessKeys {
        access_key_id: key(names.id)?,
        secret_access_key: key(names.secret)?.into(),
        security_token: Some(key(names.token)?.into()),
    });
    Ok(Session { credentials: Arc::new(credentials), ends: ending(end, names.end)? })
}

/// When something ends, in seconds or as text.
pub(super) fn ending(tree: &Value, names: &[&str]) -> Result<Timestamp, SessionError> {
    let text = first(tree, names)?;
    let ends = match text.parse::<i64>() {
        Ok(second) => Timestamp::from_second(second),
        Err(_) => text.parse::<jiff::Timestamp>().ok().map(Timestamp::from),
    };
    ends.ok_or_else(|| missing(names))
}

fn first(tree: &Value, names: &[&str]) -> Result<String, SessionError> {
    let found = names.iter().find_map(|name| text(tree, name)).map(Cow::into_owned);
    found.ok_or_else(|| missing(names))
}

fn missing(names: &[&str]) -> SessionError {
    let name = names.first().copied().unwrap_or_default();
    SessionError::Answer(format!("the answer has no {name}"))
}

/// The answer of a metadata service or a credentials URI, if its `Code` is good.
pub(super) fn with_code(tree: &Value) -> Result<(), SessionError> {
    match text(tree, "Code") {
        Some(code) if code != "Success" => {
            // Cut, but otherwise as it is: of parts of a secret nobody could tell what they are.
            let end = code.floor_char_boundary(MAX_WORD_BYTES);
            let word = code.get(..end).unwrap_or_default();
            Err(SessionError::Answer(format!("the answer's code is {word}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// The tree of a good answer of `cloud`; its refusal, or the status, of any other.
pub(super) fn tree(cloud: Cloud, response: &Response<Bytes>) -> Result<Value, SessionError> {
    if let Some(refusal) = cloud.refusal(response) {
        return Err(SessionError::Refused(refusal));
    }
    json(response)
}

/// The tree of a good answer.
pub(super) fn json(response: &Response<Bytes>) -> Result<Value, SessionError> {
    if !response.status().is_success() {
        return Err(SessionError::Status(response.status().as_u16()));
    }
    // The reader's own words may quote the answer.
    document(response.body()).map_err(|_| SessionError::Answer("the answer is not JSON".to_owned()))
}

/// The text of a good answer.
pub(super) fn word(response: &Response<Bytes>) -> Result<String, SessionError> {
    if !response.status().is_success() {
        return Err(SessionError::Status(response.status().as_u16()));
    }
    let word = String::from_utf8_lossy(response.body()).trim().to_owned();
    match well_formed(&word) {
        Ok(()) => Ok(word),
        Err(problem) => Err(SessionError::Answer(format!("the answer {problem}"))),
    }
}

/// Sends one request whose headers may be secret to a service of this machine.
pub(super) async fn send(
    transport: &dyn Transport,
    method: Method,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, SessionError> {
    send_secret(transport, method, uri, headers, body, &[]).await
}

/// The same for one in whose address or body these secrets are.
pub(super) async fn send_secret(
    transport: &dyn Transport,
    method: Method,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
    secrets: &[&str],
) -> Result<Response<Bytes>, SessionError> {
    let request = request(method, uri, headers, body, secrets)?;
    exchange(transport, || Ok(request.clone())).await
}

/// The same to the cloud, with a body in which these secrets are.
pub(super) async fn post(
    outside: &Outside<'_>,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
    secrets: &[&str],
) -> Result<Response<Bytes>, SessionError> {
    let request = request(Method::POST, uri, headers, body, secrets)?;
    ask(outside, || Ok(request.clone())).await
}

fn request(
    method: Method,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
    secrets: &[&str],
) -> Result<Request<Bytes>, SessionError> {
    let mut request = Request::new(body.into());
    conceal(&mut request, secrets);
    *request.method_mut() = method;
    // Neither the address nor a header is shown: both may hold a secret.
    let unfit = |what: &str| SessionError::Request(format!("{what} cannot be sent"));
    *request.uri_mut() = uri.parse().map_err(|_| unfit("the address"))?;
    if request.uri().authority().is_none() {
        return Err(unfit("an address without a host"));
    }
    for &(name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit(name))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// What the cloud answers to the request that `make` makes, and has its clock say so.
pub(super) async fn ask(
    outside: &Outside<'_>,
    make: impl Fn() -> Result<Request<Bytes>, SessionError>,
) -> Result<Response<Bytes>, SessionError> {
    let sent = outside.clock.steady();
    let answer = exchange(outside.cloud, make).await?;
    outside.clock.hear(&answer, sent);
    Ok(answer)
}

/// Sends the request that `make` makes, and another one where the connection turns out to have died.
/// Vendors take a signed request only once.
async fn exchange(
    transport: &dyn Transport,
    make: impl Fn() -> Result<Request<Bytes>, SessionError>,
) -> Result<Response<Bytes>, SessionError> {
    match transport.send(make()?).await {
        Err(TransportError::Stale(_)) => Ok(transport.send_anew(make()?).await?),
        answer => Ok(answer?),
    }
}

/// Has the request carry these secrets of it, and its body with them, so that nobody shows them.
pub(super) fn conceal(request: &mut Request<Bytes>, secrets: &[&str]) {
    if secrets.is_empty() {
        return;
    }
    let body = String::from_utf8_lossy(request.body()).into_owned();
    let carried = Secrets::carried_by(request.extensions_mut());
    for secret in secrets {
        carried.value(secret);
    }
    carried.text(&body);
}

/// The token in a file, read anew, since the platform replaces it.
pub(super) async fn token(path: &Path) -> Result<SecretString, SessionError> {
    let unfit = |reason: String| SessionError::File { path: path.to_owned(), reason };
    let text = text_in(path).await.map_err(|error| unfit(error.to_string()))?;
    let token = text.trim();
    well_formed(token).map_err(|problem| unfit(format!("it {problem}")))?;
    Ok(SecretString::from(token))
}

/// The text of a small file.
pub(super) async fn text_in(path: &Path) -> io::Result<String> {
    let bytes = read_apart(path, MAX_FILE_BYTES).await?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}
