//! How the vendors say no, where the refusal is not about a signature.

use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::refusal::{Refusal, RefusalKind};

use super::guard::Limit;

/// The vendor's usual code and sentence for a kind of refusal.
pub(super) fn words(cloud: Cloud, kind: RefusalKind) -> Refusal {
    let (alibaba, huawei, tencent) = match kind {
        RefusalKind::Unauthenticated => (
            ("SignatureDoesNotMatch", "The specified signature does not match our calculation."),
            ("APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail"),
            ("AuthFailure.SignatureFailure", "The provided credentials could not be validated."),
        ),
        RefusalKind::CredentialsExpired => (
            ("InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
            ("APIGW.0307", "Incorrect IAM authentication information: token expires"),
            ("AuthFailure.TokenFailure", "Token verification failed."),
        ),
        RefusalKind::Forbidden => (
            ("Forbidden.RAM", "User not authorized to operate on the specified resource."),
            ("DBS.280032", "No permission."),
            ("UnauthorizedOperation", "You are not authorized to perform operation."),
        ),
        RefusalKind::Clock => (
            ("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."),
            ("APIGW.0301", "Incorrect IAM authentication information: signature expired"),
            ("AuthFailure.SignatureExpire", "The provided credentials have expired."),
        ),
        RefusalKind::Throttled => return throttled(cloud, Limit { calls: 20, seconds: 1 }),
        RefusalKind::Server => (
            ("ServiceUnavailable", "The request has failed due to a temporary failure."),
            ("DBS.280005", "Server error. Try again later."),
            ("InternalError", "An internal error has occurred. Retry your request."),
        ),
        RefusalKind::NotFound => (
            ("InvalidDBClusterId.NotFound", "The specified cluster does not exist."),
            ("DBS.200543", "The task does not exist."),
            ("ResourceNotFound", "The requested resource does not exist."),
        ),
        RefusalKind::NoSuchOperation => (
            ("InvalidAction.NotFound", "Specified api is not found."),
            ("APIGW.0101", "The API does not exist or has not been published in the environment"),
            ("InvalidAction", "The request action is invalid."),
        ),
        RefusalKind::Client => (
            ("InvalidParameter", "The specified parameter is not valid."),
            ("DBS.280001", "Parameter error."),
            ("InvalidParameter", "The parameter is incorrect."),
        ),
    };
    let (code, message) = match cloud {
        Cloud::Alibaba => alibaba,
        Cloud::Huawei => huawei,
        Cloud::Tencent => tencent,
    };
    refusal(kind, code, message.to_owned())
}

/// The refusal of an action that is not allowed, which the words name if it is not empty.
pub(super) fn forbidden(cloud: Cloud, action: &str) -> Refusal {
    let unnamed = words(cloud, RefusalKind::Forbidden);
    if action.is_empty() {
        return unnamed;
    }
    match cloud {
        // The gateway puts the action elsewhere.
        Cloud::Alibaba => {
            let message = format!("{} ({action})", unnamed.message);
            Refusal { message, ..unnamed }
        }
        Cloud::Huawei => {
            let message = format!(
                "You do not have following permission to perform this operation: {action}. \
                 Contact the administrator to obtain permission."
            );
            refusal(RefusalKind::Forbidden, "DBS.280063", message)
        }
        Cloud::Tencent => {
            let message = format!(
                "{} [[request id:51a1d000]you are not authorized to perform operation ({action})\n\
                 resource (*) has no permission\n]",
                unnamed.message
            );
            Refusal { message, ..unnamed }
        }
    }
}

/// A refusal that speaks of the request and not of what it asks for.
pub(super) fn odd(cloud: Cloud) -> Refusal {
    let (code, message) = match cloud {
        Cloud::Alibaba => ("InvalidParameter", "The specified parameter is not valid."),
        Cloud::Huawei => ("DBS.280001", "Parameter error."),
        Cloud::Tencent => ("LimitExceeded", "The quota limit is exceeded."),
    };
    refusal(RefusalKind::Client, code, message.to_owned())
}

/// The refusal of a session that nobody knows any more.
pub(super) fn lost_session(cloud: Cloud) -> Refusal {
    let (code, message) = match cloud {
        Cloud::Alibaba => ("InvalidAccessKeyId.NotFound", "Specified access key is not found."),
        Cloud::Huawei => return words(cloud, RefusalKind::Unauthenticated),
        Cloud::Tencent => ("AuthFailure.SecretIdNotFound", "The SecretId is not found."),
    };
    refusal(RefusalKind::Unauthenticated, code, message.to_owned())
}

/// The refusal of one call too many in a window.
pub(super) fn throttled(cloud: Cloud, limit: Limit) -> Refusal {
    let Limit { calls, seconds } = limit;
    let (window, time) =
        if seconds == 60 { ("minute", "1 minute") } else { ("second", "1 second") };
    let (code, message) = match cloud {
        Cloud::Alibaba => {
            ("Throttling.User", "Request was denied due to user flow control.".to_owned())
        }
        Cloud::Huawei => (
            "APIGW.0308",
            format!(
                "The throttling threshold has been reached: policy user over ratelimit,\
                 limit:{calls},time:{time}"
            ),
        ),
        Cloud::Tencent => (
            "RequestLimitExceeded",
            format!(
                "Your current request times equals to `{}` in a {window}, which exceeds the \
                 frequency limit `{calls}` for a {window}. Please reduce the frequency of calls.",
                calls.saturating_add(1)
            ),
        ),
    };
    refusal(RefusalKind::Throttled, code, message)
}

/// Huawei's refusal of a key that failed too often.
pub(super) fn locked() -> Refusal {
    let message = "Incorrect IAM authentication information: AK access failed to reach the limit";
    refusal(RefusalKind::Unauthenticated, "APIGW.0301", message.to_owned())
}

/// Alibaba's refusal of a request that came before, or that looks like it.
pub(super) fn replayed() -> Refusal {
    let message = "Specified signature nonce was used already.";
    refusal(RefusalKind::Server, "SignatureNonceUsed", message.to_owned())
}

/// The word for a refusal in the request log.
pub(super) fn outcome(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Unauthenticated => "unauthenticated",
        RefusalKind::CredentialsExpired => "credentials_expired",
        RefusalKind::Forbidden => "forbidden",
        RefusalKind::Clock => "clock",
        RefusalKind::Throttled => "throttled",
        RefusalKind::Server => "server",
        RefusalKind::NotFound => "not_found",
        RefusalKind::NoSuchOperation => "no_such_operation",
        RefusalKind::Client => "client",
    }
}

fn refusal(kind: RefusalKind, code: &str, message: String) -> Refusal {
    Refusal { kind, code: code.to_owned(), message, retry_after: None }
}
