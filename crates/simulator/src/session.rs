//! What hands out keys that end: the metadata services of machines, and the services that exchange
//! one proof of identity for another.
//!
//! A session is not stored: its key id says whose it is and when it ends, and the rest is derived
//! from that.

use bytes::Bytes;
use dbtask_clouds::cloud::{AccessKeys, Cloud};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::signing::query;
use http::{HeaderValue, Request, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::account::Holder;

/// A request to one of those services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// A token for Alibaba's or Huawei's metadata service itself.
    MetadataToken(Cloud),
    /// Which role the machine has; Alibaba and Tencent.
    MetadataRole(Cloud),
    /// The keys of that role.
    Metadata(Cloud),
    /// Keys for the token of a pod.
    Identity(Cloud),
    /// IAM's own token for that of an identity provider.
    ProviderToken,
    /// Keys for keys.
    Role(Cloud),
    /// A token for a user's password.
    Password,
}

impl Exchange {
    /// What the request is, if it is one of these.
    pub(super) fn of(request: &Request<Bytes>) -> Option<Self> {
        let action = |name| query::header(request.headers(), name).into_owned();
        let (alibaba, tencent) = (action("x-acs-action"), action("x-tc-action"));
        let parameters = query::parameters(request);
        if alibaba == "AssumeRole" {
            return Some(Self::Role(Cloud::Alibaba));
        }
        if parameters.get("Action").is_some_and(|it| it == "AssumeRoleWithOIDC") {
            return Some(Self::Identity(Cloud::Alibaba));
        }
        match tencent.as_str() {
            "AssumeRole" => return Some(Self::Role(Cloud::Tencent)),
            "AssumeRoleWithWebIdentity" => return Some(Self::Identity(Cloud::Tencent)),
            _ => {}
        }
        let alibaba = "/latest/meta-data/ram/security-credentials/";
        let tencent = "/latest/meta-data/cam/security-credentials/";
        match request.uri().path() {
            "/latest/api/token" => Some(Self::MetadataToken(Cloud::Alibaba)),
            "/meta-data/latest/api/token" => Some(Self::MetadataToken(Cloud::Huawei)),
            "/openstack/latest/securitykey" => Some(Self::Metadata(Cloud::Huawei)),
            "/v3/auth/tokens" => Some(Self::Password),
            "/v5/agencies/assume-with-oidc" => Some(Self::Identity(Cloud::Huawei)),
            "/v3.0/OS-AUTH/id-token/tokens" => Some(Self::ProviderToken),
            "/v3.0/OS-CREDENTIAL/securitytokens" => {
                let signed = request.headers().contains_key("authorization");
                Some(if signed { Self::Role(Cloud::Huawei) } else { Self::Identity(Cloud::Huawei) })
            }
            path if path == alibaba => Some(Self::MetadataRole(Cloud::Alibaba)),
            path if path == tencent => Some(Self::MetadataRole(Cloud::Tencent)),
            path if path.starts_with(alibaba) => Some(Self::Metadata(Cloud::Alibaba)),
            path if path.starts_with(tencent) => Some(Self::Metadata(Cloud::Tencent)),
            _ => None,
        }
    }

    pub(super) fn cloud(self) -> Cloud {
        match self {
            Self::MetadataToken(cloud)
            | Self::MetadataRole(cloud)
            | Self::Metadata(cloud)
            | Self::Identity(cloud)
            | Self::Role(cloud) => cloud,
            Self::ProviderToken | Self::Password => Cloud::Huawei,
        }
    }

    /// Whether the request has to be signed.
    pub(super) fn is_signed(self) -> bool {
        matches!(self, Self::Role(_))
    }

    /// The word for it in the request log, and for faults.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::MetadataToken(_) => "MetadataToken",
            Self::MetadataRole(_) => "MetadataRole",
            Self::Metadata(_) => "Metadata",
            Self::Identity(Cloud::Alibaba) => "AssumeRoleWithOIDC",
            Self::Identity(Cloud::Tencent) => "AssumeRoleWithWebIdentity",
            Self::Identity(Cloud::Huawei) => "AssumeAgencyWithOIDC",
            Self::ProviderToken => "CreateIdTokenToken",
            Self::Role(_) => "AssumeRole",
            Self::Password => "KeystoneCreateUserTokenByPassword",
        }
    }

    /// The answer; `None` where the request does not prove what it should.
    pub(super) fn answer(
        self,
        request: &Request<Bytes>,
        holder: &Holder,
        now: Timestamp,
    ) -> Option<Response<Bytes>> {
        let (keys, end) = holder.session(now);
        let seconds = end.as_second();
        let end = end.to_string();
        let (id, secret) = (&keys.access_key_id, keys.secret_access_key.expose_secret());
        let token = keys.security_token.as_ref().map(ExposeSecret::expose_secret);
        let alibaba = json!({
            "AccessKeyId": id, "AccessKeySecret": secret, "SecurityToken": token, "Expiration": end,
        });
        let tencent = json!({"TmpSecretId": id, "TmpSecretKey": secret, "Token": token});
        let with = |mut tree: Value, more: Value| {
            if let (Some(tree), Value::Object(more)) = (tree.as_object_mut(), more) {
                tree.extend(more);
            }
            tree
        };
        let body = match self {
            Self::MetadataToken(_) => return Some(text("c2ltdWxhdGVkLXRva2Vu")),
            Self::MetadataRole(_) => return Some(text(&holder.account)),
            Self::Metadata(Cloud::Alibaba) => with(alibaba, json!({"Code": "Success"})),
            Self::Metadata(Cloud::Tencent) => {
                with(tencent, json!({"Code": "Success", "ExpiredTime": seconds, "Expiration": end}))
            }
            Self::Identity(Cloud::Alibaba) | Self::Role(Cloud::Alibaba) => {
                json!({"RequestId": "51A1D000", "Credentials": alibaba})
            }
            Self::Identity(Cloud::Tencent) | Self::Role(Cloud::Tencent) => json!({"Response": {
                "Credentials": tencent, "ExpiredTime": seconds, "Expiration": end,
                "RequestId": "51A1D000",
            }}),
            Self::Metadata(Cloud::Huawei)
            | Self::Identity(Cloud::Huawei)
            | Self::Role(Cloud::Huawei) => json!({"credential": {
                "access": id, "secret": secret, "securitytoken": token,
                // The vendor's own client demands a fraction.
                "expires_at": end.replace('Z', ".000000Z"),
            }}),
            Self::ProviderToken => return Some(subject(holder, now)),
            Self::Password => {
                // The password of the only user is the account's secret key.
                let sent: Value = serde_json::from_slice(request.body()).ok()?;
                let password = sent.pointer("/auth/identity/password/user/password")?.as_str()?;
                let good = password == holder.keys.secret_access_key.expose_secret();
                return good.then(|| subject(holder, now));
            }
        };
        Some(Response::new(Bytes::from(body.to_string())))
    }
}

/// An `X-Auth-Token`.
fn subject(holder: &Holder, now: Timestamp) -> Response<Bytes> {
    let (AccessKeys { access_key_id, .. }, end) = holder.session(now);
    let body = json!({"token": {"expires_at": end.to_string()}});
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(token) = HeaderValue::from_str(&access_key_id) {
        response.headers_mut().insert("x-subject-token", token);
    }
    response
}

fn text(text: &str) -> Response<Bytes> {
    Response::new(Bytes::from(text.to_owned()))
}
