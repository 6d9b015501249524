//! `Refusal`: a vendor's "no", and the parts of reading one that all vendors share.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::document::document;
use crate::model::Timestamp;
use crate::redaction::Redactor;
use crate::signing::query;

/// The longest wait that a vendor is granted.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// The most that is kept of a vendor's sentence.
const MAX_MESSAGE_BYTES: usize = 1024;
/// The most that is kept of a vendor's code.
const MAX_CODE_BYTES: usize = 128;
/// No vendor words a refusal at greater length. An answer with a good status that is longer is not
/// read here, so that a page of tasks is not read twice.
const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

/// A vendor's "no", read from its error envelope.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What to do about it.
    pub kind: RefusalKind,
    /// The vendor's code; the HTTP status where the answer has no code.
    pub code: String,
    /// The vendor's sentence. Emptied for the kinds of refusal that quote the request, since those
    /// may hold keys and tokens.
    pub message: String,
    /// How long the vendor asks to wait, up to 5 minutes.
    pub retry_after: Option<Duration>,
}

/// What a refusal means for the caller. A closed set, one reaction each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Key unknown, locked, or signature wrong: do not hurry back, the vendor may lock the key.
    Unauthenticated,
    /// A session or token that has ended: fetch new credentials, then try once more.
    CredentialsExpired,
    /// The key is good but may not do this.
    Forbidden,
    /// Our clock and the vendor's differ too much: correct it once.
    Clock,
    /// Too many requests: wait.
    Throttled,
    /// The vendor's trouble: wait.
    Server,
    /// The task, cluster or instance does not exist.
    NotFound,
    /// The operation does not exist in this cloud or region.
    NoSuchOperation,
    /// Our mistake: trying again changes nothing.
    Client,
}

impl RefusalKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Unauthenticated,
        Self::CredentialsExpired,
        Self::Forbidden,
        Self::Clock,
        Self::Throttled,
        Self::Server,
        Self::NotFound,
        Self::NoSuchOperation,
        Self::Client,
    ];

    /// What a status means where no code says more. A 404 without a code is as likely a wrong
    /// address as a task that is gone, so nothing is concluded from it.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            429 => Self::Throttled,
            408 | 500..=599 => Self::Server,
            _ => Self::Client,
        }
    }
}

impl Refusal {
    /// What a vendor said: `message` is dropped if it may quote the request, and is cut short.
    pub(crate) fn told(kind: RefusalKind, code: &str, message: &str) -> Self {
        let message = if quotes_request(kind, code, message) { "" } else { message.trim() };
        Self {
            kind,
            code: cut(code, MAX_CODE_BYTES).to_owned(),
            message: cut(message, MAX_MESSAGE_BYTES).to_owned(),
            retry_after: None,
        }
    }

    /// The same with a wait, which is bounded; no time at all is no wait.
    pub(crate) fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.filter(|wait| !wait.is_zero()).map(|wait| wait.min(MAX_WAIT));
        self
    }

    /// Takes out what we have sent and nobody else may see.
    pub fn redact(&mut self, redactor: &Redactor) {
        let Self { kind: _, code, message, retry_after: _ } = self;
        redactor.redact(code);
        redactor.redact(message);
    }

    /// Whether the vendor gave a code. Without one it may be somebody in between who answered.
    pub fn has_code(&self) -> bool {
        self.code.parse::<u16>().is_err()
    }

    /// Whether it calls a parameter invalid. Said to a question for one task, which has little else
    /// that could be wrong, it may mean that there is no such task.
    pub fn calls_parameter_invalid(&self) -> bool {
        let starts = ["InvalidParameter", "InvalidTask"];
        self.kind == RefusalKind::Client && starts.iter().any(|start| self.code.starts_with(start))
    }

    /// The action of `service` that the message says is missing: `cdb:DescribeTasks`. Letters, digits
    /// and `:_-*` only.
    pub fn named_action(&self, service: &str) -> Option<&str> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ":_-*".contains(c);
        let is_action = |word: &&str| {
            let rest = word.strip_prefix(service).and_then(|rest| rest.strip_prefix(':'));
            rest.is_some_and(|rest| rest.split(':').all(|part| !part.is_empty()))
        };
        self.speakable().split(|c| !fits(c)).find(is_action)
    }

    /// The message, unless it may quote the request. Those that a vendor's gateway is about to
    /// send do.
    fn speakable(&self) -> &str {
        let quotes = quotes_request(self.kind, &self.code, &self.message);
        if quotes { "" } else { self.message.trim() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        let message = self.speakable();
        if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("message", &self.speakable())
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

/// Whether a message may hold the request that was refused, and with it a key or a token.
fn quotes_request(kind: RefusalKind, code: &str, message: &str) -> bool {
    use RefusalKind::{
        Client, Clock, CredentialsExpired, Forbidden, NoSuchOperation, NotFound, Server, Throttled,
        Unauthenticated,
    };
    match kind {
        Unauthenticated | CredentialsExpired | Clock => true,
        Forbidden | Throttled | Server | NotFound | NoSuchOperation | Client => {
            let message = message.to_ascii_lowercase();
            let quotes = ["canonicalrequest", "stringtosign", "security-token", "authorization:"];
            code.contains("Signature") || quotes.iter().any(|word| message.contains(word))
        }
    }
}

/// The start of `text`, whole characters only.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// Code and message of a refusal: the envelope's, or else the status and its name, as for a load
/// balancer's page. `None` for an answer worth decoding. A redirect is refused whatever it holds:
/// it is never followed.
pub(crate) fn code_and_message(
    response: &Response<Bytes>,
    envelope: impl FnOnce(&Value) -> Option<(String, String)>,
) -> Option<(String, String)> {
    let status = response.status();
    let read = || envelope(&document(response.body()).ok()?);
    if status.is_success() {
        return if response.body().len() > MAX_ENVELOPE_BYTES { None } else { read() };
    }
    let found = if status.is_redirection() { None } else { read() };
    Some(found.unwrap_or_else(|| {
        (status.as_str().to_owned(), status.canonical_reason().unwrap_or_default().to_owned())
    }))
}

/// `Retry-After`, in seconds or as a date, which is taken relative to the answer's own `Date`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = query::header(headers, "retry-after");
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| {
        let instant = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Some(Timestamp::from(instant.timestamp()))
    };
    Some(date(&value)?.since(date(&query::header(headers, "date"))?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.insert(name, HeaderValue::from_static(value));
        }
        Refusal::told(RefusalKind::Server, "503", "").after(retry_after(&map)).retry_after
    }

    #[test]
    fn waits_are_read_as_seconds_or_as_dates() {
        let date = ("date", "Sat, 14 Mar 2026 02:11:09 GMT");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(&[("retry-after", "7")]), seconds(7));
        assert_eq!(wait(&[("retry-after", "86400")]), seconds(300));
        assert_eq!(wait(&[("retry-after", "0")]), None);
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "Sat, 14 Mar 2026 02:11:39 GMT")]), None);
        assert_eq!(wait(&[("retry-after", "Sat, 14 Mar 2026 02:11:39 GMT"), date]), seconds(30));
        assert_eq!(wait(&[("retry-after", "Sat, 14 Mar 2026 02:00:00 GMT"), date]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn the_action_that_is_missing_is_found_in_the_vendors_words() {
        for (service, message, action) in [
            (
                "cdb",
                "[request id:6e]you are not authorized to perform operation (cdb:DescribeTasks)\n\
                 resource (qcs::cdb:ap-guangzhou:uin/1:instanceId/*) has no permission",
                Some("cdb:DescribeTasks"),
            ),
            ("dds", "Policy doesn't allow dds:task:list to be performed.", Some("dds:task:list")),
            ("dds", "No permission.", None),
            ("adb", "acs:adb:cn-hangzhou:1:dbcluster/am-1 (adb:)", None),
        ] {
            let refusal = Refusal::told(RefusalKind::Forbidden, "Code", message);
            assert_eq!(refusal.named_action(service), action, "{message}");
        }
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let refusal = Refusal::told(RefusalKind::Client, &"é".repeat(100), &"数".repeat(1000));
        assert_eq!((refusal.code.len(), refusal.message.len()), (128, 1023));
    }

    #[test]
    fn a_message_that_may_quote_the_request_is_not_shown() {
        for (kind, code) in [
            (RefusalKind::Unauthenticated, "APIGW.0301"),
            (RefusalKind::Clock, "InvalidTimeStamp.Expired"),
            (RefusalKind::CredentialsExpired, "IAM.0066"),
            (RefusalKind::Server, "SignatureNonceUsed"),
        ] {
            let message = "x-security-token:TOKEN";
            assert_eq!(Refusal::told(kind, code, message).message, "");
            let sent =
                Refusal { kind, code: code.into(), message: message.into(), retry_after: None };
            assert!(!format!("{sent} {sent:?}").contains("TOKEN"));
        }
        let told = Refusal::told(RefusalKind::Client, "400", "canonicalRequest:GET|/|TOKEN");
        assert_eq!(told.message, "");
        let told = Refusal::told(RefusalKind::Throttled, "APIGW.0308", " slow down ");
        assert_eq!(told.to_string(), "APIGW.0308: slow down");
    }
}
