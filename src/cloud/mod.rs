//! How things are said: one file per vendor, all of it pure.
//!
//! A cloud knows how its requests are signed and how its refusals read. It knows no API, no
//! network and no clock: time and nonce are arguments.

pub mod alibaba;
mod hash;
pub mod huawei;
pub mod query;
pub mod tencent;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use secrecy::SecretString;

use crate::task::Timestamp;

/// The vendors whose APIs are polled.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Cloud {
    /// Alibaba Cloud, signed with ACS3-HMAC-SHA256.
    Alibaba,
    /// HUAWEI CLOUD and Open Telekom Cloud, signed with SDK-HMAC-SHA256.
    Huawei,
    /// Tencent Cloud, signed with TC3-HMAC-SHA256.
    Tencent,
}

/// What proves to a cloud who is asking. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A key pair that signs each request.
    Keys(AccessKeys),
    /// Huawei's `X-Auth-Token`, sent as it is.
    Token(SecretString),
}

/// A key pair, with a session token when it is temporary.
#[derive(Clone, Debug)]
pub struct AccessKeys {
    /// Alibaba `AccessKeyId`, Tencent `SecretId`, Huawei AK. Not secret, but not for labels either.
    pub access_key_id: String,
    /// Alibaba `AccessKeySecret`, Tencent `SecretKey`, Huawei SK.
    pub secret_access_key: SecretString,
    /// Alibaba `SecurityToken`, Tencent `Token`, Huawei `SecurityToken`.
    pub security_token: Option<SecretString>,
}

/// Everything that signing needs besides the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The vendor's name of the service, part of Tencent's credential scope: `cdb`.
    pub service: &'a str,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// The time the request claims to be sent at.
    pub now: Timestamp,
    /// A value never used before; Alibaba signs it, the others ignore it.
    pub nonce: &'a str,
}

/// Why a request could not be signed. None of these can be cured by trying again.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The request's address has no host.
    #[error("the request has no host")]
    NoHost,
    /// Only Huawei takes a token in place of a key pair.
    #[error("{0} does not take a token in place of a key pair")]
    TokenNotTaken(Cloud),
    /// A key or token holds characters that no header can carry.
    #[error("{0} holds characters that no header can carry")]
    Header(&'static str),
}

/// A vendor's "no", read from its error envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to do about it.
    pub kind: RefusalKind,
    /// The vendor's code; the HTTP status where the answer has no code.
    pub code: String,
    /// The vendor's sentence. Emptied for the kinds of refusal that quote the request, since those
    /// may hold keys and tokens.
    pub message: String,
    /// How long the vendor asks to wait.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message.trim()) }
    }
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

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 3] = [Self::Alibaba, Self::Huawei, Self::Tencent];

    /// The `cloud` label and configuration word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alibaba => "alibaba",
            Self::Huawei => "huawei",
            Self::Tencent => "tencent",
        }
    }

    /// Adds to `request` the headers that authenticate it. The URI must be absolute: its authority
    /// is the host that is signed and sent. The query must be in canonical form already, as the
    /// builders in this module leave it.
    pub fn sign(
        self,
        request: &mut Request<Bytes>,
        signing: &Signing<'_>,
    ) -> Result<(), SigningError> {
        match self {
            Self::Alibaba => alibaba::sign(request, signing),
            Self::Huawei => huawei::sign(request, signing),
            Self::Tencent => tencent::sign(request, signing),
        }
    }

    /// The vendor's refusal, if that is what `response` is; `None` for an answer worth decoding.
    pub fn refusal(self, response: &Response<Bytes>) -> Option<Refusal> {
        match self {
            Self::Alibaba => alibaba::refusal(response),
            Self::Huawei => huawei::refusal(response),
            Self::Tencent => tencent::refusal(response),
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
