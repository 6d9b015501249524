//! Tencent Cloud's gateway.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::Refusal;
use dbtask_clouds::signing::hash;
use dbtask_clouds::tencent::{refusals, signature as tencent};
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::signature::{Claim, differ, respond, sent};

/// How far the clocks may differ.
const TOLERANCE: Duration = Cloud::Tencent.clock_tolerance();

pub(crate) fn claimant(request: &Request<Bytes>) -> Option<String> {
    let claim = claim(request)?;
    Some(Scope::read(claim.credential)?.access_key_id.to_owned())
}

fn claim(request: &Request<Bytes>) -> Option<Claim<'_>> {
    Claim::read(request, tencent::ALGORITHM, "Credential")
}

/// The parts of `<secret id>/<date>/<service>/tc3_request`.
struct Scope<'a> {
    access_key_id: &'a str,
    date: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    fn read(credential: &'a str) -> Option<Self> {
        let mut parts = credential.rsplitn(4, '/');
        parts.next().filter(|&end| end == tencent::TERMINATOR)?;
        let (service, date) = (parts.next()?, parts.next()?);
        Some(Self { access_key_id: parts.next()?, date, service })
    }
}

pub(crate) fn verify(
    request: &Request<Bytes>,
    service: &str,
    credentials: Option<&Credentials>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let invalid = || {
        let text = "The `Authorization` header is missing or malformed.";
        refusal("AuthFailure.InvalidAuthorization", text)
    };
    let claim = claim(request).ok_or_else(invalid)?;
    let scope = Scope::read(claim.credential).ok_or_else(invalid)?;
    let keys = match credentials {
        Some(Credentials::Keys(keys)) if keys.access_key_id == scope.access_key_id => keys,
        _ => {
            let text = "The SecretId is not found, please ensure that your SecretId is correct.";
            return Err(refusal("AuthFailure.SecretIdNotFound", text));
        }
    };
    let timestamp = sent(request, "x-tc-timestamp").unwrap_or_default();
    let time = timestamp.parse().ok().and_then(Timestamp::from_second).ok_or_else(|| {
        refusal("MissingParameter", "The request is missing a required parameter `Timestamp`.")
    })?;
    if differ(time, now, TOLERANCE) {
        let text =
            "Signature expired: the timestamp differs from the server time by more than 5 minutes.";
        return Err(refusal("AuthFailure.SignatureExpire", text));
    }
    check_token(request, keys)?;
    let host = sent(request, "host").unwrap_or_default();
    let (name, _) = host.split_once(':').unwrap_or((&host, ""));
    // The vendor's clients for Java and Node take the first label of the host for the service, and the one
    // for Node signs no port. Real hosts begin with the service, and have none.
    let is_service = scope.service == service || Some(scope.service) == name.split('.').next();
    let signs = |host: &str| {
        let mut request = request.clone();
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(HOST, host);
        }
        let steps = tencent::steps(&request, &claim.signed, scope.service, keys);
        hash::same(&steps.signature, claim.signature)
    };
    let good = ["content-type", "host"].iter().all(|name| claim.signs(name))
        && claim.is_complete(request)
        && is_service
        && scope.date == tencent::date(&timestamp)
        && (signs(&host) || signs(name));
    if good {
        return Ok(());
    }
    let text =
        "The provided credentials could not be validated. Please check your signature is correct.";
    Err(refusal("AuthFailure.SignatureFailure", text))
}

fn check_token(request: &Request<Bytes>, keys: &AccessKeys) -> Result<(), Refusal> {
    match (&keys.security_token, sent(request, "x-tc-token")) {
        (None, None) => Ok(()),
        (Some(token), Some(sent)) if hash::same(token.expose_secret(), &sent) => Ok(()),
        _ => Err(refusal("AuthFailure.TokenFailure", "The token is invalid or has expired.")),
    }
}

fn refusal(code: &str, message: &str) -> Refusal {
    let kind = refusals::kind("", StatusCode::OK, code);
    Refusal { kind, code: code.to_owned(), message: message.to_owned(), retry_after: None }
}

/// Always with a good status.
pub(crate) fn refuse(refusal: &Refusal, request_id: &str) -> Response<Bytes> {
    let error = json!({ "Code": refusal.code, "Message": refusal.message });
    let body = json!({ "Response": { "Error": error, "RequestId": request_id } });
    respond(200, "application/json", body.to_string())
}
