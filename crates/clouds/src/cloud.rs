//! `Cloud`: the vendors, and what proves to them who is asking.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

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

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(a), Self::Token(b)) => a.expose_secret() == b.expose_secret(),
            (Self::Keys(a), Self::Keys(b)) => a == b,
            (Self::Token(_), Self::Keys(_)) | (Self::Keys(_), Self::Token(_)) => false,
        }
    }
}

impl PartialEq for AccessKeys {
    fn eq(&self, other: &Self) -> bool {
        fn exposed(keys: &AccessKeys) -> (&str, &str, Option<&str>) {
            let AccessKeys { access_key_id, secret_access_key, security_token } = keys;
            let token = security_token.as_ref().map(ExposeSecret::expose_secret);
            (access_key_id, secret_access_key.expose_secret(), token)
        }
        exposed(self) == exposed(other)
    }
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

    /// How far the clock of a request may be from the vendor's.
    pub const fn clock_tolerance(self) -> Duration {
        match self {
            Self::Alibaba | Self::Huawei => Duration::from_mins(15),
            Self::Tencent => Duration::from_mins(5),
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
