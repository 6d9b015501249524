//! HUAWEI CLOUD: REST requests, SDK-HMAC-SHA256, and the error envelopes.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::cloud::{AccessKeys, Credentials};
use crate::document::text;
use crate::refusal;
use crate::refusal::{Refusal, RefusalKind};
use crate::signing::{Signing, SigningError, Steps, hash, headers, query};

/// The name of the algorithm, first word of the string to sign and of the header.
pub const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// The domain of the cloud that a region belongs to: several operators run the same services, and
/// keys of one mean nothing to another. What is not another operator's is HUAWEI CLOUD's own.
pub fn domain(region: &str) -> &'static str {
    match region {
        "eu-de" | "eu-nl" => "otc.t-systems.com",
        "eu-west-101" => "myhuaweicloud.eu",
        _ => MAIN_DOMAIN,
    }
}

/// The domain of HUAWEI CLOUD itself.
pub const MAIN_DOMAIN: &str = "myhuaweicloud.com";

/// The base URL of IAM in a region.
pub fn iam(region: &str) -> String {
    format!("https://iam.{region}.{}", domain(region))
}

/// An unsigned GET of `path` (which begins with `/`) with `parameters` as its query, in canonical
/// form. Without a project id, as IAM is asked, no `X-Project-Id` is sent.
pub fn get(
    endpoint: &str,
    project_id: &str,
    path: &str,
    parameters: &[(&str, String)],
) -> Request<Bytes> {
    let query = query::canonical(parameters);
    let separator = if query.is_empty() { "" } else { "?" };
    let uri = format!("{endpoint}{path}{separator}{query}");
    unsigned(Method::GET, &uri, project_id, Bytes::new())
}

/// An unsigned POST of `body` to `path` (which begins with `/`), with the same headers.
pub fn post(endpoint: &str, project_id: &str, path: &str, body: &Value) -> Request<Bytes> {
    let uri = format!("{endpoint}{path}");
    unsigned(Method::POST, &uri, project_id, Bytes::from(body.to_string()))
}

fn unsigned(method: Method, uri: &str, project_id: &str, body: Bytes) -> Request<Bytes> {
    let headers = [("content-type", "application/json"), ("x-project-id", project_id)];
    let sent = headers.get(..if project_id.is_empty() { 1 } else { 2 }).unwrap_or_default();
    query::request(method, uri, sent, body)
}

/// Adds the headers of SDK-HMAC-SHA256, or `X-Auth-Token` in their place. Signed are those of
/// `content-type`, `host`, `x-project-id`, `x-sdk-date` and `x-security-token` that are sent; the
/// SDK signs its `user-agent` too, which proxies rewrite.
pub fn sign(request: &mut Request<Bytes>, signing: &Signing<'_>) -> Result<(), SigningError> {
    let host = headers::host(request.uri())?;
    let map = request.headers_mut();
    map.insert("host", host);
    for name in ["authorization", "x-auth-token", "x-sdk-date", "x-security-token"] {
        map.remove(name);
    }
    let keys = match signing.credentials {
        Credentials::Keys(keys) => keys,
        Credentials::Token(token) => {
            let token = headers::secret("the auth token", token.expose_secret())?;
            map.insert("x-auth-token", token);
            return Ok(());
        }
    };
    map.insert("x-sdk-date", headers::plain("the date", &date(signing.now.to_jiff()))?);
    if let Some(token) = &keys.security_token {
        let token = headers::secret("the security token", token.expose_secret())?;
        map.insert("x-security-token", token);
    }
    let signed = headers::sent(request, |name| {
        matches!(name, "content-type" | "host" | "x-project-id" | "x-sdk-date" | "x-security-token")
    });
    let steps = steps(request, &signed, keys);
    let authorization = headers::secret("the access key", &steps.authorization)?;
    headers::conceal(request, keys, &steps);
    request.headers_mut().insert("authorization", authorization);
    Ok(())
}

/// The signature of `request` over the headers named, for the request's own `X-Sdk-Date`.
///
/// ```text
/// CanonicalRequest = Method \n CanonicalPath \n CanonicalQuery \n CanonicalHeaders \n
///                    SignedHeaders \n hex(SHA256(Body))
/// StringToSign     = "SDK-HMAC-SHA256" \n X-Sdk-Date \n hex(SHA256(CanonicalRequest))
/// Signature        = hex(HMAC-SHA256(SK, StringToSign))
/// Authorization    = "SDK-HMAC-SHA256 Access=" AK ", SignedHeaders=" SignedHeaders
///                    ", Signature=" Signature
/// ```
///
/// `CanonicalHeaders` is a line `name:value \n` for each of `SignedHeaders`, so an empty line
/// follows it. `SignedHeaders` are joined by `;`.
///
/// <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html>
pub fn steps(request: &Request<Bytes>, signed: &[&str], keys: &AccessKeys) -> Steps {
    let names = headers::names(signed);
    let canonical_request = canonical_request(request, &names);
    let date = headers::value(request.headers(), "x-sdk-date");
    let string_to_sign = string_to_sign(&date, &canonical_request);
    let signature = signature(&string_to_sign, keys);
    let authorization = authorization(&names, &signature, keys);
    Steps { canonical_request, string_to_sign, signature, authorization }
}

fn canonical_request(request: &Request<Bytes>, names: &[String]) -> String {
    // A client may say what to sign in place of a body: `UNSIGNED-PAYLOAD`.
    let told = headers::value(request.headers(), "x-sdk-content-sha256");
    let payload = if told.is_empty() || request.body().is_empty() {
        hash::sha256_hex(request.body())
    } else {
        told
    };
    [
        request.method().as_str(),
        &canonical_path(request.uri().path()),
        &query::recanonical(request.uri().query().unwrap_or_default()),
        &headers::canonical(request.headers(), names),
        &names.join(";"),
        &payload,
    ]
    .join("\n")
}

/// The path, decoded and each of its segments encoded again, with a slash at its end that is not
/// sent. An encoded slash therefore signs as a real one.
fn canonical_path(path: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let segments: Vec<String> = decoded.split(|&byte| byte == b'/').map(query::encode).collect();
    let mut canonical = segments.join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

fn string_to_sign(date: &str, canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{}", hash::sha256_hex(canonical_request.as_bytes()))
}

fn signature(string_to_sign: &str, keys: &AccessKeys) -> String {
    let key = keys.secret_access_key.expose_secret().as_bytes();
    hash::hex(&hash::hmac_sha256(key, string_to_sign))
}

fn authorization(names: &[String], signature: &str, keys: &AccessKeys) -> String {
    let id = &keys.access_key_id;
    let names = names.join(";");
    format!("{ALGORITHM} Access={id}, SignedHeaders={names}, Signature={signature}")
}

/// `20260301T080000Z`.
pub fn date(instant: jiff::Timestamp) -> String {
    instant.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `{"error_code", "error_msg"}` of gateway and services, `{"errorCode", "errorMsg"}`, DDM's
/// `{"errCode", "externalMessage"}`, or Keystone's `{"error": {"code", "message"}}`, whose code is a
/// number.
pub fn refusal(response: &Response<Bytes>) -> Option<Refusal> {
    let status = response.status();
    let (code, message) = refusal::code_and_message(response, |tree| envelope(status, tree))?;
    let refusal = Refusal::told(kind(status, &code, &message), &code, &message);
    Some(refusal.after(refusal::retry_after(response.headers())))
}

/// The names of code and message, in the SDK's order of looking for them; DDM's, which it does not
/// know, before the last.
const ENVELOPES: [(&str, &str); 4] = [
    ("error_code", "error_msg"),
    ("errorCode", "errorMsg"),
    ("errCode", "externalMessage"),
    ("code", "message"),
];

/// Code and message; with a good status only if there is no list beside them, and nothing else that
/// says something.
fn envelope(status: StatusCode, tree: &Value) -> Option<(String, String)> {
    const BESIDE: [&str; 4] =
        ["error_ext_msg", "error", "request_id", "encoded_authorization_message"];
    let is_about_it = |name: &str| {
        let mut names = ENVELOPES.iter().flat_map(|&(code, message)| [code, message]).chain(BESIDE);
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    let says_more = |(name, value): (&String, &Value)| !is_about_it(name) && !is_empty(value);
    if status.is_success() && tree.as_object().is_none_or(|tree| tree.iter().any(says_more)) {
        return None;
    }
    ENVELOPES.into_iter().find_map(|(code, message)| nested(tree, code, message))
}

/// Whether an answer carries the code of a refusal, whatever is beside it.
pub fn carries_code(tree: &Value) -> bool {
    ENVELOPES.into_iter().any(|(code, _)| text(tree, code).is_some())
}

/// Whether a value says nothing: null, no text, or a count of none.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.trim(), "" | "0"),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The first object, from outside in, that has the code.
fn nested(tree: &Value, code: &str, message: &str) -> Option<(String, String)> {
    if let Some(code) = text(tree, code) {
        let message = text(tree, message).unwrap_or_default();
        return Some((code.into_owned(), message.into_owned()));
    }
    tree.as_object()?.values().find_map(|inner| nested(inner, code, message))
}

/// What a code means. Which code says "not found" is the same at every status; whether to try again
/// the status knows better, since one code goes with several.
pub fn kind(status: StatusCode, code: &str, message: &str) -> RefusalKind {
    let code = &*dcs(code);
    match code {
        // Tasks: unknown, too new, older than a month, or gone with their instance.
        "DBS.200543" | "DBS.300120" | "RDS.5041" | "DCS.4133" | "DCS.4070"
        | "DRS.M00289" | "DRS.M05003" | "DRS.M05004" | "DRS.10000010" | "DWS.0001"
        // Instances and other resources; with 403 it may also be one of another project.
        | "DBS.280016" | "DBS.290013" | "DBS.200044" | "DBS.201003" | "DBS.280015"
        | "DBS.200002" | "DBS.201028" => return RefusalKind::NotFound,
        // "Busy", a backend that was too slow, and a permission check that failed: none is about us.
        "DBS.200998" | "DBS.111205" | "DBS.280064" => return RefusalKind::Server,
        _ => {}
    }
    let by_status = RefusalKind::of_status(status);
    if matches!(by_status, RefusalKind::Throttled | RefusalKind::Server) {
        return by_status;
    }
    match code {
        "IAM.0012" | "DBS.280443" => RefusalKind::Throttled,
        "DBS.280005" => RefusalKind::Server,
        "IAM.0066" | "IAM.0067" | "DBS.280056" => RefusalKind::CredentialsExpired,
        "IAM.0001" | "IAM.0061" | "IAM.0062" | "IAM.0063" => RefusalKind::Unauthenticated,
        // DRS says it with 403 and with 401.
        "IAM.0002" | "IAM.0003" | "IAM.0080" | "IAM.0081" | "IAM.0082" | "IAM.0083"
        | "DBS.280032" | "DBS.280063" | "DBS.280019" | "DRS.M00102" | "DRS.M00103" => {
            RefusalKind::Forbidden
        }
        // "The system does not support the background task function."
        "DCS.4094" => RefusalKind::NoSuchOperation,
        "DBS.280001" | "DBS.200001" | "DBS.201006" | "DBS.280067" | "DBS.280068" => {
            RefusalKind::Client
        }
        _ => gateway(code, message).unwrap_or(by_status),
    }
}

/// The code of DCS, which writes one number in two ways: `111400070` is `DCS.4070`. Any other code
/// as it is.
fn dcs(code: &str) -> Cow<'_, str> {
    let number = code
        .strip_prefix("111400")
        .filter(|rest| rest.len() == 3 && rest.bytes().all(|digit| digit.is_ascii_digit()));
    number.map_or(Cow::Borrowed(code), |number| Cow::Owned(format!("DCS.4{number}")))
}

/// The API gateway's codes: `APIGW.` in Huawei's own services, `APIG.` elsewhere. 0201 to 0203 stand
/// for requests too large and for backends too slow alike, so the status decides.
fn gateway(code: &str, message: &str) -> Option<RefusalKind> {
    match code.strip_prefix("APIGW.").or_else(|| code.strip_prefix("APIG."))? {
        "0101" => Some(RefusalKind::NoSuchOperation),
        "0301" | "0303" | "0305" => Some(authentication(message)),
        "0302" | "0304" | "0306" | "0310" | "0802" => Some(RefusalKind::Forbidden),
        "0307" => Some(RefusalKind::CredentialsExpired),
        "0308" => Some(RefusalKind::Throttled),
        "0705" => Some(RefusalKind::Server),
        number if number.starts_with("06") => Some(RefusalKind::Server),
        _ => None,
    }
}

/// Every failure to authenticate has the same code; the words tell them apart. What the gateway
/// quotes of the request is not its own words.
fn authentication(message: &str) -> RefusalKind {
    let message = message.to_ascii_lowercase();
    let words = message.split("canonicalrequest").next().unwrap_or_default();
    if words.contains("signature expired") || words.contains("server time") {
        RefusalKind::Clock
    } else if words.contains("token") && words.contains("expire") {
        RefusalKind::CredentialsExpired
    } else {
        RefusalKind::Unauthenticated
    }
}
