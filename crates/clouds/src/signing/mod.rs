//! What signatures of all vendors are made of.

pub mod hash;
pub mod headers;
pub mod query;

use std::fmt;

use crate::cloud::{Cloud, Credentials};
use crate::model::Timestamp;

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

/// Every step of one signature. `Debug` shows none: the canonical request may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Steps {
    /// Method, path, query, headers and body in the vendor's one form of them.
    pub canonical_request: String,
    /// What is signed: algorithm, time and scope where the vendor has them, and the hash of the
    /// canonical request.
    pub string_to_sign: String,
    /// Lower-case hexadecimal.
    pub signature: String,
    /// The value of the `Authorization` header.
    pub authorization: String,
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").finish_non_exhaustive()
    }
}

/// What tells a text from others without showing it: 16 hexadecimal digits of its SHA-256.
pub fn digest(text: &str) -> String {
    let mut digits = hash::sha256_hex(text.as_bytes());
    digits.truncate(16);
    digits
}
