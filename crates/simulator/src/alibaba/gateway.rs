//! Alibaba Cloud's gateway.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::alibaba::signature as alibaba;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::document::Format;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::Refusal;
use dbtask_clouds::signing::{Steps, hash, headers};
use http::{Request, Response, StatusCode};
use quick_xml::escape::escape;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::signature::{Claim, differ, respond, sent, set};

/// How far the clocks may differ.
const TOLERANCE: Duration = Cloud::Alibaba.clock_tolerance();

pub(crate) fn claimant(request: &Request<Bytes>) -> Option<String> {
    claim(request).map(|claim| claim.credential.to_owned())
}

fn claim(request: &Request<Bytes>) -> Option<Claim<'_>> {
    Claim::read(request, alibaba::ALGORITHM, "Credential")
}

pub(crate) fn verify(
    request: &Request<Bytes>,
    credentials: Option<&Credentials>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let needed = ["host", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"];
    let claim = claim(request)
        .filter(|_| needed.iter().all(|name| request.headers().contains_key(*name)))
        .ok_or_else(|| {
            let text = "The request signature does not conform to Aliyun standards.";
            refusal("IncompleteSignature", text)
        })?;
    let keys = match credentials {
        Some(Credentials::Keys(keys)) if keys.access_key_id == claim.credential => keys,
        _ => {
            let text = "Specified access key is not found.";
            return Err(refusal("InvalidAccessKeyId.NotFound", text));
        }
    };
    check_time(request, now)?;
    check_token(request, keys)?;
    let must_be_signed =
        headers::sent(request, |name| name == "host" || name.starts_with("x-acs-"));
    let steps = alibaba::steps(request, &claim.signed, keys);
    let body = hash::sha256_hex(request.body());
    let good = must_be_signed.iter().all(|name| claim.signs(name))
        && claim.is_complete(request)
        && sent(request, "x-acs-content-sha256") == Some(body)
        && hash::same(&steps.signature, claim.signature);
    if good { Ok(()) } else { Err(does_not_match(&steps)) }
}

fn check_time(request: &Request<Bytes>, now: Timestamp) -> Result<(), Refusal> {
    let text = sent(request, "x-acs-date").unwrap_or_default();
    let time = text.parse().ok().filter(|&time| alibaba::date(time) == text);
    match time {
        None => {
            Err(refusal("InvalidTimeStamp.Format", "Specified time stamp is not well formatted."))
        }
        Some(time) if differ(time.into(), now, TOLERANCE) => {
            let text = "Specified time stamp or date value is expired.";
            Err(refusal("InvalidTimeStamp.Expired", text))
        }
        Some(_) => Ok(()),
    }
}

fn check_token(request: &Request<Bytes>, keys: &AccessKeys) -> Result<(), Refusal> {
    let sent = sent(request, "x-acs-security-token");
    match (&keys.security_token, sent) {
        (None, None) => Ok(()),
        (Some(token), Some(sent)) if hash::same(token.expose_secret(), &sent) => Ok(()),
        (Some(_), None) => {
            Err(refusal("MissingSecurityToken", "SecurityToken is mandatory for this action."))
        }
        (_, Some(_)) => {
            let text = "Specified SecurityToken does not match the access key.";
            Err(refusal("InvalidSecurityToken.MismatchWithAccessKey", text))
        }
    }
}

/// The vendor quotes what it would have signed, and with it whatever token was sent.
fn does_not_match(steps: &Steps) -> Refusal {
    let Steps { canonical_request, string_to_sign, .. } = steps;
    let text = format!(
        "Specified signature does not match our calculation. \
         server StringToSign is [{string_to_sign}], server CanonicalRequest is [{canonical_request}]"
    );
    refusal("SignatureDoesNotMatch", &text)
}

fn refusal(code: &str, message: &str) -> Refusal {
    let kind = alibaba::kind(status(code), code);
    Refusal { kind, code: code.to_owned(), message: message.to_owned(), retry_after: None }
}

pub(crate) fn refuse(
    refusal: &Refusal,
    host: &str,
    request_id: &str,
    format: Format,
) -> Response<Bytes> {
    let Refusal { code, message, .. } = refusal;
    // The action that is not allowed stands beside the message.
    let (message, action) = match message.strip_suffix(')').and_then(|it| it.rsplit_once(" (")) {
        Some((message, action)) if code == "Forbidden.RAM" && action.contains(':') => {
            (message, Some(action))
        }
        _ => (message.as_str(), None),
    };
    let advice = format!("https://api.aliyun.com/troubleshoot?q={code}&requestId={request_id}");
    let status = status(code).as_u16();
    let mut response = match format {
        Format::Json => {
            let mut body = json!({
                "RequestId": request_id, "HostId": host, "Code": code, "Message": message,
                "Recommend": advice,
            });
            if let (Some(action), Some(fields)) = (action, body.as_object_mut()) {
                let detail = json!({ "AuthAction": action });
                fields.insert("AccessDeniedDetail".to_owned(), detail);
            }
            respond(status, "application/json;charset=utf-8", body.to_string())
        }
        Format::Xml => {
            let body = format!(
                "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>{}</RequestId>\
                 <HostId>{}</HostId><Code>{}</Code><Message>{}</Message>\
                 <Recommend>{}</Recommend>{}</Error>",
                escape(request_id),
                escape(host),
                escape(code.as_str()),
                escape(message),
                escape(advice.as_str()),
                action.map_or_else(String::new, |action| format!(
                    "<AccessDeniedDetail><AuthAction>{}</AuthAction></AccessDeniedDetail>",
                    escape(action)
                )),
            );
            // Exactly so: the vendor's clients read an error in XML under no other name.
            respond(status, "text/xml;charset=utf-8", body)
        }
    };
    set(&mut response, "x-acs-request-id", request_id);
    response
}

/// The status that goes with a code. Throttling is a 400.
fn status(code: &str) -> StatusCode {
    let is = |start: &str| code.starts_with(start);
    if is("ServiceUnavailable") {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is("InternalError") || is("UnknownError") {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if is("AuthenticationFail") {
        StatusCode::UNAUTHORIZED
    } else if code.ends_with("NotFound") {
        StatusCode::NOT_FOUND
    } else if is("Forbidden")
        || is("NoPermission")
        || is("ActionUnauthorized")
        || is("UnsupportedHTTPMethod")
    {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::BAD_REQUEST
    }
}
