//! The keys of the role that Kubernetes gives to a pod, for the token in its file.
//!
//! - Alibaba RRSA: <https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc>
//! - Huawei: <https://support.huaweicloud.com/intl/en-us/api-sts/AssumeAgencyWithOIDC.html>, and an
//!   identity provider's token: <https://support.huaweicloud.com/intl/en-us/api-iam/iam_13_0601.html>
//! - Tencent TKE: <https://www.tencentcloud.com/document/product/1150/49454>

use std::path::{Path, PathBuf};

use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::signing::query;
use dbtask_clouds::tencent::signature as tencent;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::exchange::{Session, SessionError, ask, conceal, post, token, tree};
use super::sts::TokenServices;
use super::{CredentialsError, Outside, all_of, sts};
use crate::platform::environment::Environment;

/// Who vouches for the pod, and for which role.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Alibaba {
        endpoint: String,
        role_arn: String,
        provider_arn: String,
        token_file: PathBuf,
        session_name: Option<String>,
        policy: Option<String>,
    },
    /// By the service that assumes agencies.
    Huawei {
        endpoint: String,
        provider_urn: String,
        agency_urn: String,
        token: Token,
        session_name: Option<String>,
        duration_seconds: u32,
        policy: Option<String>,
        policy_ids: Vec<String>,
    },
    /// By IAM, which knows the provider.
    HuaweiProvider { endpoint: String, provider_id: String, token_file: PathBuf },
    Tencent {
        endpoint: String,
        region: String,
        provider_id: String,
        role_arn: String,
        token_file: PathBuf,
    },
}

/// Where the pod's token is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Token {
    Given(String),
    File(PathBuf),
}

impl Token {
    async fn read(&self) -> Result<SecretString, SessionError> {
        match self {
            Self::Given(token) => Ok(SecretString::from(token.trim())),
            Self::File(path) => token(path).await,
        }
    }
}

/// What the platform has put into the pod's variables; [`CredentialsError::NotFound`] says which
/// are not set.
pub(super) fn find(
    cloud: Cloud,
    environment: &Environment,
    services: &TokenServices,
) -> Result<Identity, CredentialsError> {
    let optional = |name| environment.get(name).map(str::to_owned);
    Ok(match cloud {
        Cloud::Alibaba => {
            let names = [
                "ALIBABA_CLOUD_ROLE_ARN",
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            ];
            let older = [
                "ALICLOUD_ROLE_ARN",
                "ALICLOUD_OIDC_PROVIDER_ARN",
                "ALICLOUD_OIDC_TOKEN_FILE_PATH",
            ];
            let [role_arn, provider_arn, token_file] =
                all_of_either(cloud, environment, names, older)?;
            Identity::Alibaba {
                endpoint: services.roles.clone(),
                role_arn: role_arn.to_owned(),
                provider_arn: provider_arn.to_owned(),
                token_file: PathBuf::from(token_file),
                session_name: optional("ALIBABA_CLOUD_ROLE_SESSION_NAME")
                    .or_else(|| optional("ALICLOUD_SESSION_NAME")),
                policy: None,
            }
        }
        Cloud::Huawei => return huawei(environment, services),
        Cloud::Tencent => {
            let names =
                ["TKE_REGION", "TKE_PROVIDER_ID", "TKE_WEB_IDENTITY_TOKEN_FILE", "TKE_ROLE_ARN"];
            // The vendor's command line and its Python SDK read another name for the file.
            let older =
                ["TKE_REGION", "TKE_PROVIDER_ID", "TKE_IDENTITY_TOKEN_FILE", "TKE_ROLE_ARN"];
            let [region, provider_id, file, role_arn] =
                all_of_either(cloud, environment, names, older)?;
            Identity::Tencent {
                endpoint: services.roles.clone(),
                region: region.to_owned(),
                provider_id: provider_id.to_owned(),
                role_arn: role_arn.to_owned(),
                token_file: PathBuf::from(file),
            }
        }
    })
}

/// The values of `names`; of `older`, which another of the vendor's tools reads, if all of those are
/// set instead.
fn all_of_either<'a, const N: usize>(
    cloud: Cloud,
    environment: &'a Environment,
    names: [&str; N],
    older: [&str; N],
) -> Result<[&'a str; N], CredentialsError> {
    all_of(cloud, environment, names)
        .or_else(|error| all_of(cloud, environment, older).map_err(|_| error))
}

fn huawei(
    environment: &Environment,
    services: &TokenServices,
) -> Result<Identity, CredentialsError> {
    let cloud = Cloud::Huawei;
    let names = ["HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE"];
    if let Ok([provider_id, token_file]) = all_of(cloud, environment, names) {
        return Ok(Identity::HuaweiProvider {
            endpoint: services.roles.clone(),
            provider_id: provider_id.to_owned(),
            token_file: PathBuf::from(token_file),
        });
    }
    let names = ["HUAWEICLOUD_OIDC_PROVIDER_URN", "HUAWEICLOUD_OIDC_AGENCY_URN"];
    let [provider_urn, agency_urn] = all_of(cloud, environment, names)?;
    let token = if let Some(token) = environment.get("HUAWEICLOUD_OIDC_ID_TOKEN") {
        Token::Given(token.to_owned())
    } else {
        let [file] = all_of(cloud, environment, ["HUAWEICLOUD_OIDC_TOKEN_FILE"])?;
        Token::File(PathBuf::from(file))
    };
    let optional = |name| environment.get(name).map(str::to_owned);
    let duration = environment.get("HUAWEICLOUD_OIDC_DURATION_SECONDS");
    let policy_ids = environment.get("HUAWEICLOUD_OIDC_POLICY_IDS").unwrap_or_default();
    // Another operator's service must not get the token.
    let endpoint = services.oidc.clone().ok_or_else(|| CredentialsError::NotFound {
        cloud,
        missing: "the region's cloud has no service that is known to take the pod's token \
                  (HUAWEICLOUD_SDK_STS_ENDPOINT names one)"
            .to_owned(),
    })?;
    Ok(Identity::Huawei {
        endpoint,
        provider_urn: provider_urn.to_owned(),
        agency_urn: agency_urn.to_owned(),
        token,
        session_name: optional("HUAWEICLOUD_OIDC_SESSION_NAME"),
        duration_seconds: duration
            .and_then(|text| text.parse().ok())
            .unwrap_or(sts::DURATION_SECONDS),
        policy: optional("HUAWEICLOUD_OIDC_POLICY"),
        policy_ids: policy_ids
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

impl Identity {
    pub(super) fn token_file(&self) -> Option<&Path> {
        match self {
            Self::Alibaba { token_file, .. }
            | Self::HuaweiProvider { token_file, .. }
            | Self::Tencent { token_file, .. }
            | Self::Huawei { token: Token::File(token_file), .. } => Some(token_file),
            Self::Huawei { token: Token::Given(_), .. } => None,
        }
    }

    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        match self {
            Self::Alibaba { .. } => self.ask_alibaba(outside).await,
            Self::Huawei { .. } => self.ask_huawei(outside).await,
            Self::HuaweiProvider { endpoint, provider_id, token_file } => {
                let token = token(token_file).await?;
                ask_provider(endpoint, provider_id, &token, outside).await
            }
            Self::Tencent { endpoint, region, provider_id, role_arn, token_file } => {
                let token = token(token_file).await?;
                let body = json!({
                    "ProviderId": provider_id,
                    "WebIdentityToken": token.expose_secret(),
                    "RoleArn": role_arn,
                    "RoleSessionName": sts::SESSION_NAME,
                    "DurationSeconds": sts::DURATION_SECONDS,
                });
                let action = "AssumeRoleWithWebIdentity";
                let mut request =
                    tencent::call(endpoint, action, sts::TENCENT_VERSION, region, &body);
                conceal(&mut request, &[token.expose_secret()]);
                let map = request.headers_mut();
                map.insert("x-tc-timestamp", outside.clock.now().as_second().into());
                map.insert("authorization", http::HeaderValue::from_static("SKIP"));
                let answer = ask(outside, || Ok(request.clone())).await?;
                sts::answer(Cloud::Tencent, &answer)
            }
        }
    }

    /// As a form, so that the token stands in no address.
    async fn ask_alibaba(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        let Self::Alibaba { endpoint, role_arn, provider_arn, token_file, session_name, policy } =
            self
        else {
            return Err(SessionError::NoRole);
        };
        let token = token(token_file).await?;
        let now = outside.clock.now().to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let query = query::canonical(&[
            ("Action", "AssumeRoleWithOIDC"),
            ("Format", "JSON"),
            ("Version", sts::ALIBABA_VERSION),
            ("Timestamp", now.as_str()),
        ]);
        let seconds = sts::DURATION_SECONDS.to_string();
        let mut form = vec![
            ("RoleArn", role_arn.as_str()),
            ("OIDCProviderArn", provider_arn.as_str()),
            ("OIDCToken", token.expose_secret()),
            ("RoleSessionName", session_name.as_deref().unwrap_or(sts::SESSION_NAME)),
            ("DurationSeconds", seconds.as_str()),
        ];
        form.extend(policy.as_deref().map(|policy| ("Policy", policy)));
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
        let uri = format!("{endpoint}/?{query}");
        let body = query::canonical(&form);
        let answer = post(outside, &uri, &headers, body, &[token.expose_secret()]).await?;
        sts::answer(Cloud::Alibaba, &answer)
    }

    async fn ask_huawei(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        let Self::Huawei {
            endpoint,
            provider_urn,
            agency_urn,
            token,
            session_name,
            duration_seconds,
            policy,
            policy_ids,
        } = self
        else {
            return Err(SessionError::NoRole);
        };
        let token = token.read().await?;
        let mut body = json!({
            "provider_urn": provider_urn,
            "agency_urn": agency_urn,
            "agency_session_name": session_name.as_deref().unwrap_or(sts::SESSION_NAME),
            "id_token": token.expose_secret(),
            "duration_seconds": duration_seconds,
        });
        if let Some(fields) = body.as_object_mut() {
            if let Some(policy) = policy {
                fields.insert("policy".to_owned(), json!(policy));
            }
            if !policy_ids.is_empty() {
                fields.insert("policy_ids".to_owned(), json!(policy_ids));
            }
        }
        let uri = format!("{endpoint}/v5/agencies/assume-with-oidc");
        let headers = [("content-type", "application/json")];
        let (body, secrets) = (body.to_string(), [token.expose_secret()]);
        let answer = post(outside, &uri, &headers, body, &secrets).await?;
        sts::answer(Cloud::Huawei, &answer)
    }
}

/// First a token of IAM's own for the provider's, then keys for it.
async fn ask_provider(
    endpoint: &str,
    provider_id: &str,
    token: &SecretString,
    outside: &Outside<'_>,
) -> Result<Session, SessionError> {
    let body = json!({"auth": {"id_token": {"id": token.expose_secret()}}}).to_string();
    let headers = [("content-type", "application/json"), ("x-idp-id", provider_id)];
    let uri = format!("{endpoint}/v3.0/OS-AUTH/id-token/tokens");
    let answer = post(outside, &uri, &headers, body, &[token.expose_secret()]).await?;
    tree(Cloud::Huawei, &answer)?;
    let subject = answer.headers().get("x-subject-token").and_then(|token| token.to_str().ok());
    let subject = subject
        .ok_or_else(|| SessionError::Answer("the answer has no X-Subject-Token".to_owned()))?;
    let identity = json!({
        "methods": ["token"],
        "token": {"id": subject, "duration_seconds": sts::DURATION_SECONDS},
    });
    let body = json!({"auth": {"identity": identity}}).to_string();
    let headers = [("content-type", "application/json")];
    let uri = format!("{endpoint}/v3.0/OS-CREDENTIAL/securitytokens");
    sts::answer(Cloud::Huawei, &post(outside, &uri, &headers, body, &[subject]).await?)
}
