//! Refusals: the error envelope, and what a code means in which service.
//!
//! The first segment of a code says most of it, and misleads for those of `CODES`. Read 2026-11-30 from the
//! error tables of the official Python packages 3.1.195 and of the Go SDK.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::document::{integer, text};
use crate::refusal;
use crate::refusal::{Refusal, RefusalKind};

/// The refusal of `service`, if that is what `response` is: `{"Response": {"Error": {"Code", "Message"},
/// "RequestId"}}`, always with status 200, or the older `{"code", "message", "codeDesc"}`.
pub fn refusal(service: &str, response: &Response<Bytes>) -> Option<Refusal> {
    let (code, message) = refusal::code_and_message(response, envelope)?;
    let refusal = Refusal::told(kind(service, response.status(), &code), &code, &message);
    Some(refusal.after(refusal::retry_after(response.headers())))
}

fn envelope(tree: &Value) -> Option<(String, String)> {
    let owned = |row: &Value, field: &str| text(row, field).map(Cow::into_owned);
    if let Some(answer) = tree.get("Response") {
        let error = answer.get("Error").filter(|error| error.is_object())?;
        let code = owned(error, "Code").unwrap_or_else(|| "UnknownError".to_owned());
        return Some((code, owned(error, "Message").unwrap_or_default()));
    }
    // 0 is success.
    let number = integer(tree, "code").filter(|&code| code != 0)?;
    let code = owned(tree, "codeDesc").unwrap_or_else(|| number.to_string());
    Some((code, owned(tree, "message").unwrap_or_default()))
}

/// What a code of `service` means: its exact spelling first, then its first segment.
pub fn kind(service: &str, status: StatusCode, code: &str) -> RefusalKind {
    let is_meant = |row: &&Row| row.1.contains(&code) && (row.0.is_empty() || row.0 == service);
    let known = CODES.iter().find(is_meant).map(|row| row.2);
    known.or_else(|| family(code)).unwrap_or_else(|| RefusalKind::of_status(status))
}

/// A service, empty for all; codes; and what they mean there.
type Row = (&'static str, &'static [&'static str], RefusalKind);

/// What codes mean whose first segment says something else. The spelling `NotFund` is the vendor's.
const CODES: &[Row] = &[
    ("", &["AuthFailure.SignatureExpire"], RefusalKind::Clock),
    ("", &["AuthFailure.TokenFailure"], RefusalKind::CredentialsExpired),
    (
        "",
        &[
            "AuthFailure.AuthorizedOperationDenyError",
            "AuthFailure.UnauthorizedOperation",
            "AuthFailure.UnauthorizedOperationError",
            "FailedOperation.AuthNoStrategy",
            "FailedOperation.CamAuthFailed",
            "InvalidParameter.PermissionDenied",
            "OperationDenied.CamDeniedError",
            "OperationDenied.InstanceAccessDeniedError",
            "OperationDenied.UserHasNoStrategy",
        ],
        RefusalKind::Forbidden,
    ),
    // "You have no permission" in one service, "try again" in another, and plainly "denied" elsewhere.
    ("cynosdb", &["OperationDenied.OperationDeniedError"], RefusalKind::Forbidden),
    ("mongodb", &["OperationDenied.OperationDeniedError"], RefusalKind::Server),
    (
        "",
        &[
            "FailedOperation.FlowNotExists",
            "FailedOperation.FlowNotFoundError",
            "InternalError.InstanceNotFoundError",
            "InvalidParameter.FlowNotFound",
            "InvalidParameter.InstanceNotFound",
            "InvalidParameter.InvalidAsyncRequestId",
            "InvalidParameterValue.FlowNotFound",
            "InvalidParameterValue.InstanceNotFound",
            "OperationDenied.ResourceNotFoundError",
            "OperationDenied.ResourceNotFundError",
        ],
        RefusalKind::NotFound,
    ),
    (
        "",
        &["LimitExceeded.TooFrequentlyCalled", "LimitExceeded.TooManyRequests"],
        RefusalKind::Throttled,
    ),
];

fn family(code: &str) -> Option<RefusalKind> {
    match code.split('.').next()? {
        "RequestLimitExceeded" => Some(RefusalKind::Throttled),
        "InternalError"
        | "ServiceUnavailable"
        | "ResourceUnavailable"
        | "FailedOperation"
        | "CdbError" => Some(RefusalKind::Server),
        "AuthFailure" => Some(RefusalKind::Unauthenticated),
        "UnauthorizedOperation" | "IpInBlacklist" | "IpNotInWhitelist" => {
            Some(RefusalKind::Forbidden)
        }
        "ResourceNotFound" => Some(RefusalKind::NotFound),
        "InvalidAction" | "ActionOffline" | "NoSuchVersion" | "NoSuchProduct" => {
            Some(RefusalKind::NoSuchOperation)
        }
        // `LimitExceeded` is a quota, not a rate. `OperationDenied` is about the state of what was asked for.
        "InvalidParameter"
        | "InvalidParameterValue"
        | "MissingParameter"
        | "UnknownParameter"
        | "UnsupportedRegion"
        | "UnsupportedProtocol"
        | "RequestSizeLimitExceeded"
        | "ResponseSizeLimitExceeded"
        | "LimitExceeded"
        | "OperationDenied" => Some(RefusalKind::Client),
        _ => None,
    }
}
