//! HUAWEI CLOUD's gateway.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::huawei::signature as huawei;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::hash;
use http::{Request, Response};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::signature::{Claim, differ, respond, sent, set};

/// How far the clocks may differ.
const TOLERANCE: Duration = Cloud::Huawei.clock_tolerance();

pub(crate) fn claimant(request: &Request<Bytes>) -> Option<String> {
    claim(request)
        .map(|claim| claim.credential.to_owned())
        .or_else(|| sent(request, "x-auth-token"))
}

fn claim(request: &Request<Bytes>) -> Option<Claim<'_>> {
    Claim::read(request, huawei::ALGORITHM, "Access")
}

pub(crate) fn verify(
    request: &Request<Bytes>,
    credentials: Option<&Credentials>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if let Some(claim) = claim(request) {
        return match credentials {
            Some(Credentials::Keys(keys)) if keys.access_key_id == claim.credential => {
                check_signature(request, &claim, keys, now)
            }
            _ => {
                let id = claim.credential;
                Err(unauthenticated(&format!("Get secretKey failed,ak:{id},err:ak not exist")))
            }
        };
    }
    match (credentials, sent(request, "x-auth-token")) {
        (Some(Credentials::Token(token)), Some(sent))
            if hash::same(token.expose_secret(), &sent) =>
        {
            Ok(())
        }
        (_, Some(_)) => Err(unauthenticated("decrypt token fail")),
        (_, None) => Err(unauthenticated("x-auth-token not found")),
    }
}

fn check_signature(
    request: &Request<Bytes>,
    claim: &Claim<'_>,
    keys: &AccessKeys,
    now: Timestamp,
) -> Result<(), Refusal> {
    let date = sent(request, "x-sdk-date").unwrap_or_default();
    let time = time(&date).ok_or_else(|| unauthenticated("x-sdk-date is missing or malformed"))?;
    if differ(time, now, TOLERANCE) {
        let server = huawei::date(now.to_jiff());
        let text = format!("signature expired, signature time:{date},server time:{server}");
        return Err(unauthenticated(&text));
    }
    let token = sent(request, "x-security-token");
    let token_is_good = match (&keys.security_token, &token) {
        (None, None) => true,
        (Some(token), Some(sent)) => hash::same(token.expose_secret(), sent),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if !token_is_good {
        return Err(unauthenticated("verify security token fail"));
    }
    // Only the date has to be signed; the rest is the client's choice.
    let steps = huawei::steps(request, &claim.signed, keys);
    let good = claim.signs("x-sdk-date")
        && claim.is_complete(request)
        && payload_is_good(request)
        && hash::same(&steps.signature, claim.signature);
    if good {
        return Ok(());
    }
    // Older gateways quote what they would have signed, and with it whatever token was sent.
    let quoted = steps.canonical_request.replace('\n', "|");
    Err(unauthenticated(&format!("verify aksk signature fail, canonicalRequest:{quoted}")))
}

/// Whether a hash that stands in for the body's is the body's, or says that there is none.
fn payload_is_good(request: &Request<Bytes>) -> bool {
    sent(request, "x-sdk-content-sha256")
        .is_none_or(|told| told == "UNSIGNED-PAYLOAD" || told == hash::sha256_hex(request.body()))
}

/// Reads `20260301T080000Z`.
fn time(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let instant = TimeZone::UTC.to_timestamp(civil).ok()?;
    (huawei::date(instant) == text).then(|| instant.into())
}

fn unauthenticated(reason: &str) -> Refusal {
    let code = "APIGW.0301";
    let message = format!("Incorrect IAM authentication information: {reason}");
    let kind = huawei::kind(http::StatusCode::UNAUTHORIZED, code, &message);
    Refusal { kind, code: code.to_owned(), message, retry_after: None }
}

pub(crate) fn refuse(refusal: &Refusal, request_id: &str) -> Response<Bytes> {
    let Refusal { code, message, .. } = refusal;
    let gateway = code.starts_with("APIG");
    let body = if gateway {
        json!({ "error_msg": message, "error_code": code, "request_id": request_id })
    } else {
        json!({ "error_code": code, "error_msg": message })
    };
    let mut response = respond(status(code, refusal.kind), "application/json", body.to_string());
    set(&mut response, "x-request-id", request_id);
    response
}

/// The status that goes with a code, as DDS has it where services differ.
fn status(code: &str, kind: RefusalKind) -> u16 {
    match code {
        "DBS.200543" | "DBS.280016" | "DBS.200998" | "DCS.4133" | "DCS.4070" | "111400070" => 400,
        "DBS.200044" | "DBS.201003" | "DBS.280015" | "DBS.201028" => 403,
        "DBS.280056" | "DBS.280064" => 401,
        // One code for requests too large and for backends too slow.
        "APIGW.0201" | "APIG.0201" | "APIGW.0202" | "APIGW.0203" if kind == RefusalKind::Server => {
            502
        }
        "APIGW.0610" | "APIG.0610" => 502,
        "APIGW.0613" | "APIG.0613" => 503,
        _ => match kind {
            RefusalKind::Unauthenticated | RefusalKind::Clock | RefusalKind::CredentialsExpired => {
                401
            }
            RefusalKind::Forbidden => 403,
            RefusalKind::NotFound | RefusalKind::NoSuchOperation => 404,
            RefusalKind::Throttled => 429,
            RefusalKind::Server => 500,
            RefusalKind::Client => 400,
        },
    }
}
