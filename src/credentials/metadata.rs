//! The keys of the role that is bound to the machine, from the vendor's metadata service. Plain
//! HTTP to an address of the machine, so never through a proxy.
//!
//! - Alibaba: <https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata>
//! - Huawei: <https://support.huaweicloud.com/intl/en-us/usermanual-ecs/ecs_03_0166.html>
//! - Tencent: <https://www.tencentcloud.com/document/product/213/4934>

use dbtask_clouds::cloud::Cloud;
use http::Method;
use serde_json::Value;

use super::exchange::{Session, SessionError, json, send, session, with_code, word};
use super::{CredentialsError, Outside, is_true};
use crate::platform::environment::Environment;

const ALIBABA: &str = "http://100.100.100.200/latest";
const HUAWEI: &str = "http://169.254.169.254";
const TENCENT: &str = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/";
/// How long a token for the service itself is good for; it is used at once.
const TOKEN_SECONDS: &str = "21600";

/// A metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Metadata {
    Alibaba {
        /// Left out: asked.
        role: Option<String>,
        /// Whether to go on without a token where none is given.
        without_token: bool,
    },
    Huawei,
    Tencent,
}

/// The metadata service, unless it is switched off. Whether there is one shows when it is asked.
pub(super) fn find(cloud: Cloud, environment: &Environment) -> Result<Metadata, CredentialsError> {
    const OFF: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
    Ok(match cloud {
        Cloud::Alibaba if is_true(environment, OFF) => {
            let missing = format!("{OFF} is true");
            return Err(CredentialsError::NotFound { cloud, missing });
        }
        Cloud::Alibaba => Metadata::Alibaba {
            role: environment.get("ALIBABA_CLOUD_ECS_METADATA").map(str::to_owned),
            without_token: !is_true(environment, "ALIBABA_CLOUD_IMDSV1_DISABLED"),
        },
        Cloud::Huawei => Metadata::Huawei,
        Cloud::Tencent => Metadata::Tencent,
    })
}

impl Metadata {
    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        match self {
            Self::Alibaba { role, without_token } => {
                alibaba(role.as_deref(), *without_token, outside).await
            }
            Self::Huawei => huawei(outside).await,
            Self::Tencent => tencent(outside).await,
        }
    }
}

async fn alibaba(
    role: Option<&str>,
    without_token: bool,
    outside: &Outside<'_>,
) -> Result<Session, SessionError> {
    let life = [("x-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS)];
    let token = send(outside.machine, Method::PUT, &format!("{ALIBABA}/api/token"), &life, "")
        .await
        .and_then(|response| word(&response));
    let token = match token {
        Ok(token) => Some(token),
        Err(_) if without_token => None,
        Err(error) => return Err(error),
    };
    let get = async |path: &str| {
        let uri = format!("{ALIBABA}/meta-data/ram/security-credentials/{path}");
        if let Some(token) = &token {
            let headers = [("x-aliyun-ecs-metadata-token", token.as_str())];
            let answer = send(outside.machine, Method::GET, &uri, &headers, "").await;
            let good = |status: u16| status == 200 || status == 404;
            if !without_token || answer.as_ref().is_ok_and(|it| good(it.status().as_u16())) {
                return answer;
            }
        }
        send(outside.machine, Method::GET, &uri, &[], "").await
    };
    let role = match role {
        Some(role) => role.to_owned(),
        None => word(&get("").await?).map_err(no_role)?,
    };
    let tree = json(&get(&role).await?).map_err(no_role)?;
    with_code(&tree)?;
    session(Cloud::Alibaba, &tree, &tree)
}

async fn tencent(outside: &Outside<'_>) -> Result<Session, SessionError> {
    let get = async |path: &str| {
        send(outside.machine, Method::GET, &format!("{TENCENT}{path}"), &[], "").await
    };
    let role = word(&get("").await?).map_err(no_role)?;
    let tree = json(&get(&role).await?).map_err(no_role)?;
    with_code(&tree)?;
    session(Cloud::Tencent, &tree, &tree)
}

async fn huawei(outside: &Outside<'_>) -> Result<Session, SessionError> {
    let life = [("x-metadata-token-ttl-seconds", TOKEN_SECONDS)];
    let uri = format!("{HUAWEI}/meta-data/latest/api/token");
    // A service of the older sort has no tokens.
    let token = send(outside.machine, Method::PUT, &uri, &life, "")
        .await
        .and_then(|response| word(&response))
        .ok();
    let uri = format!("{HUAWEI}/openstack/latest/securitykey");
    let headers = token.as_deref().map(|token| ("x-metadata-token", token));
    let answer = send(outside.machine, Method::GET, &uri, headers.as_slice(), "").await?;
    let body = String::from_utf8_lossy(answer.body());
    if answer.status().as_u16() == 401 && body.contains("Agency") {
        return Err(SessionError::NoRole);
    }
    let tree = json(&answer).map_err(no_role)?;
    let keys = huawei_keys(&tree);
    session(Cloud::Huawei, keys, keys)
}

/// Where Huawei's services put the keys.
pub(super) fn huawei_keys(tree: &Value) -> &Value {
    tree.get("credential").or_else(|| tree.get("credentials")).unwrap_or(tree)
}

fn no_role(error: SessionError) -> SessionError {
    if matches!(error, SessionError::Status(404)) { SessionError::NoRole } else { error }
}
