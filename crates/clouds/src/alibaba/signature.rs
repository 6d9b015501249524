//! Alibaba Cloud: RPC requests, ACS3-HMAC-SHA256, and the error envelope.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::cloud::{AccessKeys, Cloud, Credentials};
use crate::document::{document, text};
use crate::refusal;
use crate::refusal::{Refusal, RefusalKind};
use crate::signing::{Signing, SigningError, Steps, hash, headers, query};

/// The name of the algorithm, first word of the string to sign and of the header.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// An unsigned RPC request: `action` of API `version` with `parameters` in the query, in canonical
/// form.
pub fn rpc(
    endpoint: &str,
    action: &str,
    version: &str,
    parameters: &[(&str, String)],
) -> Request<Bytes> {
    let query = query::canonical(parameters);
    query::request(
        Method::POST,
        &format!("{endpoint}/?{query}"),
        &[("x-acs-action", action), ("x-acs-version", version), ("accept", "application/json")],
        Bytes::new(),
    )
}

/// Adds the headers of ACS3-HMAC-SHA256. Signed are `host`, `content-type` if there is one, and
/// every `x-acs-` header.
pub fn sign(request: &mut Request<Bytes>, signing: &Signing<'_>) -> Result<(), SigningError> {
    let Credentials::Keys(keys) = signing.credentials else {
        return Err(SigningError::TokenNotTaken(Cloud::Alibaba));
    };
    let host = headers::host(request.uri())?;
    let body = hash::sha256_hex(request.body());
    let map = request.headers_mut();
    map.insert("host", host);
    map.insert("x-acs-date", headers::plain("the date", &date(signing.now.to_jiff()))?);
    map.insert("x-acs-signature-nonce", headers::plain("the nonce", signing.nonce)?);
    map.insert("x-acs-content-sha256", headers::plain("the hash", &body)?);
    map.remove("x-acs-security-token");
    if let Some(token) = &keys.security_token {
        let token = headers::secret("the security token", token.expose_secret())?;
        map.insert("x-acs-security-token", token);
    }
    let signed = headers::sent(request, |name| {
        matches!(name, "host" | "content-type") || name.starts_with("x-acs-")
    });
    let steps = steps(request, &signed, keys);
    let authorization = headers::secret("the access key id", &steps.authorization)?;
    headers::conceal(request, keys, &steps).value(signing.nonce);
    request.headers_mut().insert("authorization", authorization);
    Ok(())
}

/// The signature of `request` over the headers named.
///
/// ```text
/// CanonicalRequest = Method \n Path \n CanonicalQuery \n CanonicalHeaders \n SignedHeaders \n
///                    hex(SHA256(Body))
/// StringToSign     = "ACS3-HMAC-SHA256" \n hex(SHA256(CanonicalRequest))
/// Signature        = hex(HMAC-SHA256(AccessKeySecret, StringToSign))
/// Authorization    = "ACS3-HMAC-SHA256 Credential=" AccessKeyId ",SignedHeaders=" SignedHeaders
///                    ",Signature=" Signature
/// ```
///
/// `CanonicalHeaders` is a line `name:value \n` for each of `SignedHeaders`, so an empty line
/// follows it. `SignedHeaders` are joined by `;`.
///
/// <https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature>
pub fn steps(request: &Request<Bytes>, signed: &[&str], keys: &AccessKeys) -> Steps {
    let names = headers::names(signed);
    let canonical_request = canonical_request(request, &names);
    let string_to_sign = string_to_sign(&canonical_request);
    let signature = signature(&string_to_sign, keys);
    let authorization = authorization(&names, &signature, keys);
    Steps { canonical_request, string_to_sign, signature, authorization }
}

fn canonical_request(request: &Request<Bytes>, names: &[String]) -> String {
    [
        request.method().as_str(),
        request.uri().path(),
        &query::recanonical(request.uri().query().unwrap_or_default()),
        &headers::canonical(request.headers(), names),
        &names.join(";"),
        &hash::sha256_hex(request.body()),
    ]
    .join("\n")
}

fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", hash::sha256_hex(canonical_request.as_bytes()))
}

fn signature(string_to_sign: &str, keys: &AccessKeys) -> String {
    let key = keys.secret_access_key.expose_secret().as_bytes();
    hash::hex(&hash::hmac_sha256(key, string_to_sign))
}

fn authorization(names: &[String], signature: &str, keys: &AccessKeys) -> String {
    let id = &keys.access_key_id;
    let names = names.join(";");
    format!("{ALGORITHM} Credential={id},SignedHeaders={names},Signature={signature}")
}

/// `2026-03-01T08:00:00Z`.
pub fn date(instant: jiff::Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `{"RequestId", "HostId", "Code", "Message"}` or the same in XML. A throttled call says how long
/// to wait in milliseconds, in a header of its own, whatever its code.
pub fn refusal(response: &Response<Bytes>) -> Option<Refusal> {
    let status = response.status();
    let map = response.headers();
    let (code, message) = refusal::code_and_message(response, |tree| envelope(status, tree))?;
    let said = if status.is_success() { inner_status(response.body()) } else { None };
    let mut refusal = Refusal::told(kind(said.unwrap_or(status), &code), &code, &message);
    let throttled = milliseconds(&query::header(map, "x-acs-retry-after"))
        .filter(|_| status.is_client_error() || status.is_server_error());
    if throttled.is_some() {
        refusal.kind = RefusalKind::Throttled;
    }
    let wait = if refusal.kind == RefusalKind::Throttled {
        throttled.or_else(|| time_left(map))
    } else {
        None
    };
    Some(refusal.after(wait.or_else(|| refusal::retry_after(map))))
}

/// The status that a refusal with a good one says to be meant.
fn inner_status(body: &[u8]) -> Option<StatusCode> {
    let said = text(&document(body).ok()?, "HttpStatusCode")?.parse().ok()?;
    StatusCode::from_u16(said).ok().filter(|status| !status.is_success())
}

/// Code and message. With a good status the answer is a refusal if it says that there was no
/// success, or if it has a code for that and no rows.
fn envelope(status: StatusCode, tree: &Value) -> Option<(String, String)> {
    let either = |upper, lower| text(tree, upper).or_else(|| text(tree, lower));
    let nothing = Value::Null;
    let detail = tree.get("ErrorDetail").unwrap_or(&nothing);
    let code = either("Code", "code").or_else(|| either("ErrCode", "errCode")).or_else(|| {
        // OceanBase has one as an example in good answers, too.
        text(detail, "Code").filter(|_| success(tree) == Some(false))
    });
    let is_good = |code: &str| match code.parse::<u16>() {
        Ok(number) => number < 400,
        Err(_) => ["OK", "Success"].iter().any(|good| good.eq_ignore_ascii_case(code)),
    };
    let refused = !status.is_success()
        || match success(tree) {
            Some(success) => !success,
            None => code.as_deref().is_some_and(|code| !is_good(code)) && !has_rows(tree),
        };
    // Without a code the status says what there is to say.
    let code = match (code, status.is_success()) {
        (Some(code), false) => code,
        (Some(code), true) if !is_good(&code) => code,
        (Some(_) | None, true) => status.as_str().to_owned().into(),
        (None, false) => return None,
    };
    refused.then(|| {
        let message = either("Message", "message")
            .or_else(|| either("ErrMessage", "errMessage"))
            .or_else(|| text(detail, "Message"));
        let message = message.unwrap_or_default();
        // DTS leaves a place for the parameter that it means.
        let filled = text(tree, "DynamicMessage").map(|word| message.replace("%s", &word));
        let message = filled.map_or(message, Cow::Owned);
        let action = missing_action(tree).filter(|action| !message.contains(&**action));
        let message = match action {
            Some(action) => format!("{message} ({action})"),
            None => message.into_owned(),
        };
        (code.into_owned(), message)
    })
}

/// What an answer says of its success; `None` if it says nothing.
fn success(tree: &Value) -> Option<bool> {
    match tree.get("Success").or_else(|| tree.get("success"))? {
        Value::Bool(success) => Some(*success),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether an answer holds anything besides its envelope, echoed parameters and empty lists.
fn has_rows(tree: &Value) -> bool {
    fn is_filled(value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => fields.values().any(is_filled),
        }
    }
    let parts = tree.as_object().into_iter().flatten();
    parts
        .filter(|(name, _)| !name.eq_ignore_ascii_case("AccessDeniedDetail"))
        .any(|(_, part)| (part.is_object() || part.is_array()) && is_filled(part))
}

/// Which action an answer says is not allowed, beside its message.
fn missing_action(tree: &Value) -> Option<Cow<'_, str>> {
    let detail = tree.get("AccessDeniedDetail").or_else(|| tree.get("accessDeniedDetail"))?;
    text(detail, "AuthAction").or_else(|| text(detail, "authAction"))
}

/// What a code means. Codes grow suffixes, so families are matched by how they begin; the status
/// decides only where the code is unknown, because throttling is mostly a 400.
pub fn kind(status: StatusCode, code: &str) -> RefusalKind {
    match code {
        "InvalidTimeStamp.Expired" => RefusalKind::Clock,
        "InvalidSecurityToken.Expired" | "AuthenticationFail.OIDCToken.Expired" => {
            RefusalKind::CredentialsExpired
        }
        "Forbidden.AccessKeyDisabled"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidSignatureMethod"
        | "MissingSecurityToken" => RefusalKind::Unauthenticated,
        // A nonce is new with each try, so the next one can pass.
        "SignatureNonceUsed" => RefusalKind::Server,
        "ActionUnauthorized"
        | "AuthenticationFail.NoPermission"
        | "DTS.Msg.RamPermissionDenied"
        | "RAM.Permission.Denied" => RefusalKind::Forbidden,
        "Forbidden.InstanceNotFound" | "InvalidJobId" => RefusalKind::NotFound,
        "InvalidAction.NotFound"
        | "InvalidApi.NotFound"
        | "InvalidProduct.NotFound"
        | "InvalidVersion"
        | "NoSuchVersion" => RefusalKind::NoSuchOperation,
        "InvalidTimeStamp.Format"
        | "IllegalTimestamp"
        | "InvalidOperation.NotSupportedEndpoint"
        | "InvalidProtocol.NeedSsl"
        | "UnsupportedHTTPMethod" => RefusalKind::Client,
        _ => family(code).unwrap_or_else(|| RefusalKind::of_status(status)),
    }
}

fn family(code: &str) -> Option<RefusalKind> {
    const FAMILIES: &[(&str, RefusalKind)] = &[
        ("Throttling", RefusalKind::Throttled),
        ("ServiceUnavailable", RefusalKind::Server),
        ("InternalError", RefusalKind::Server),
        ("UnknownError", RefusalKind::Server),
        ("InvalidAccessKey", RefusalKind::Unauthenticated),
        ("InvalidSecurityToken", RefusalKind::Unauthenticated),
        ("AuthenticationFail", RefusalKind::Unauthenticated),
        ("Forbidden", RefusalKind::Forbidden),
        ("NoPermission", RefusalKind::Forbidden),
        // Nothing is gone: we ask in the wrong place.
        ("InvalidRegion", RefusalKind::Client),
        ("MissingParameter", RefusalKind::Client),
        ("InvalidParameter", RefusalKind::Client),
        ("UnsupportedParameter", RefusalKind::Client),
    ];
    let known = FAMILIES.iter().find(|(start, _)| code.starts_with(start)).map(|&(_, kind)| kind);
    // `InvalidDBCluster.NotFound`, `InvalidDBClusterId.NotFound` and their like.
    known
        .or_else(|| code.ends_with(".NotFound").then_some(RefusalKind::NotFound))
        .or_else(|| code.ends_with(".Malformed").then_some(RefusalKind::Client))
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().filter(|&milliseconds| milliseconds > 0).map(Duration::from_millis)
}

/// The longer wait of the two headers that say `Limit:1,Remain:0,TimeLeft:2000,Reset:1234`.
fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let left = |name| {
        let value = query::header(headers, name);
        value.split(',').find_map(|part| milliseconds(part.trim().strip_prefix("TimeLeft:")?))
    };
    left("x-ratelimit-user-api").max(left("x-ratelimit-user"))
}
