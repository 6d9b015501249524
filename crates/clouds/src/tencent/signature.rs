//! Tencent Cloud: JSON requests and TC3-HMAC-SHA256.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::cloud::{AccessKeys, Cloud, Credentials};
use crate::signing::{Signing, SigningError, Steps, hash, headers, query};

/// The name of the algorithm, first word of the string to sign and of the header.
pub const ALGORITHM: &str = "TC3-HMAC-SHA256";
/// What ends every credential scope.
pub const TERMINATOR: &str = "tc3_request";

/// An unsigned request: `action` of API `version` in `region`, with `body` as its parameters.
pub fn call(
    endpoint: &str,
    action: &str,
    version: &str,
    region: &str,
    body: &Value,
) -> Request<Bytes> {
    query::request(
        Method::POST,
        &format!("{endpoint}/"),
        &[
            ("content-type", "application/json"),
            ("x-tc-action", action),
            ("x-tc-version", version),
            ("x-tc-region", region),
            ("x-tc-language", "en-US"),
        ],
        Bytes::from(body.to_string()),
    )
}

/// Adds the headers of TC3-HMAC-SHA256. Signed are `content-type` and `host`, as in the vendor's
/// SDKs; the time is part of the string to sign.
pub fn sign(request: &mut Request<Bytes>, signing: &Signing<'_>) -> Result<(), SigningError> {
    let Credentials::Keys(keys) = signing.credentials else {
        return Err(SigningError::TokenNotTaken(Cloud::Tencent));
    };
    let host = headers::host(request.uri())?;
    let map = request.headers_mut();
    map.insert("host", host);
    // Both must be signed, so both must be there.
    map.entry("content-type").or_insert(HeaderValue::from_static("application/json"));
    map.insert("x-tc-timestamp", HeaderValue::from(signing.now.as_second()));
    map.remove("x-tc-token");
    if let Some(token) = &keys.security_token {
        map.insert("x-tc-token", headers::secret("the token", token.expose_secret())?);
    }
    let steps = steps(request, &["content-type", "host"], signing.service, keys);
    let authorization = headers::secret("the secret id", &steps.authorization)?;
    headers::conceal(request, keys, &steps);
    request.headers_mut().insert("authorization", authorization);
    Ok(())
}

/// The signature of `request` over the headers named, for `service` and the request's own
/// `X-TC-Timestamp`.
///
/// ```text
/// CanonicalRequest = Method \n Path \n Query \n CanonicalHeaders \n SignedHeaders \n
///                    hex(SHA256(Body))
/// CredentialScope  = Date "/" Service "/tc3_request"
/// StringToSign     = "TC3-HMAC-SHA256" \n Timestamp \n CredentialScope \n
///                    hex(SHA256(CanonicalRequest))
/// SecretDate       = HMAC-SHA256("TC3" SecretKey, Date)
/// SecretService    = HMAC-SHA256(SecretDate, Service)
/// SecretSigning    = HMAC-SHA256(SecretService, "tc3_request")
/// Signature        = hex(HMAC-SHA256(SecretSigning, StringToSign))
/// Authorization    = "TC3-HMAC-SHA256 Credential=" SecretId "/" CredentialScope
///                    ", SignedHeaders=" SignedHeaders ", Signature=" Signature
/// ```
///
/// `Date` is the UTC date of the timestamp. `CanonicalHeaders` is a line `name:value \n` for each
/// of `SignedHeaders`, so an empty line follows it. `SignedHeaders` are joined by `;`.
///
/// <https://www.tencentcloud.com/document/api/1005/34678>
pub fn steps(request: &Request<Bytes>, signed: &[&str], service: &str, keys: &AccessKeys) -> Steps {
    let names = headers::names(signed);
    let timestamp = headers::value(request.headers(), "x-tc-timestamp");
    let date = date(&timestamp);
    let scope = format!("{date}/{service}/{TERMINATOR}");
    let canonical_request = canonical_request(request, &names);
    let string_to_sign = string_to_sign(&timestamp, &scope, &canonical_request);
    let signature = signature(&string_to_sign, &date, service, keys);
    let authorization = authorization(&names, &scope, &signature, keys);
    Steps { canonical_request, string_to_sign, signature, authorization }
}

/// The query is signed as it was sent. The vendor's page has the values of headers in lower case;
/// its SDKs leave those of `content-type` and `host` alone, and sign no others.
fn canonical_request(request: &Request<Bytes>, names: &[String]) -> String {
    let line = |name: &String| {
        let value = headers::value(request.headers(), name);
        match name.as_str() {
            "content-type" | "host" => format!("{name}:{value}\n"),
            _ => format!("{name}:{}\n", value.to_lowercase()),
        }
    };
    // The one value that this header may have stands in for the body.
    let unsigned = headers::value(request.headers(), "x-tc-content-sha256") == "UNSIGNED-PAYLOAD";
    let payload = if unsigned { b"UNSIGNED-PAYLOAD" } else { request.body().as_ref() };
    [
        request.method().as_str(),
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
        &names.iter().map(line).collect::<Vec<_>>().concat(),
        &names.join(";"),
        &hash::sha256_hex(payload),
    ]
    .join("\n")
}

fn string_to_sign(timestamp: &str, scope: &str, canonical_request: &str) -> String {
    let hash = hash::sha256_hex(canonical_request.as_bytes());
    format!("{ALGORITHM}\n{timestamp}\n{scope}\n{hash}")
}

fn signature(string_to_sign: &str, date: &str, service: &str, keys: &AccessKeys) -> String {
    let key = format!("TC3{}", keys.secret_access_key.expose_secret());
    let key = hash::hmac_sha256(key.as_bytes(), date);
    let key = hash::hmac_sha256(&key, service);
    let key = hash::hmac_sha256(&key, TERMINATOR);
    hash::hex(&hash::hmac_sha256(&key, string_to_sign))
}

fn authorization(names: &[String], scope: &str, signature: &str, keys: &AccessKeys) -> String {
    let id = &keys.access_key_id;
    let names = names.join(";");
    format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// The UTC date of Unix seconds: `2026-03-01`. The epoch's for what is no such number.
pub fn date(timestamp: &str) -> String {
    let instant =
        timestamp.parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    instant.unwrap_or_default().strftime("%Y-%m-%d").to_string()
}
