//! Where the vendors exchange one proof of identity for another, and what is asked there.

use bytes::Bytes;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::huawei::signature as huawei;
use http::Response;
use serde_json::Value;

use super::exchange::{Session, SessionError, session, tree};
use super::{is_true, metadata};
use crate::platform::environment::Environment;

/// The version of Alibaba's service.
pub(super) const ALIBABA_VERSION: &str = "2015-04-01";
/// The version of Tencent's service.
pub(super) const TENCENT_VERSION: &str = "2018-08-13";
/// How sessions are called where nobody calls them otherwise.
pub const SESSION_NAME: &str = "dbtask-exporter";
/// How long a session is asked for, in seconds: the most that every role grants.
pub const DURATION_SECONDS: u32 = 3600;

/// Where a cloud exchanges one proof of identity for another, as one network reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenServices {
    /// The base URL where roles are assumed: STS, for Huawei IAM.
    pub(super) roles: String,
    /// The base URL of Huawei's STS, which takes the tokens of pods. `None` in other clouds, and
    /// where no such service is known.
    pub(super) oidc: Option<String>,
}

impl TokenServices {
    /// The services for a source in `region`, which asks through the vendor's own network if `vpc`
    /// says so. The vendor's variables come first.
    pub fn of(cloud: Cloud, environment: &Environment, region: Option<&str>, vpc: bool) -> Self {
        match cloud {
            Cloud::Alibaba => Self { roles: alibaba_of(environment, region, vpc), oidc: None },
            Cloud::Huawei => {
                let (roles, oidc) = match region {
                    Some(region) if huawei::domain(region) != huawei::MAIN_DOMAIN => {
                        (huawei::iam(region), None)
                    }
                    _ => (
                        "https://iam.myhuaweicloud.com".to_owned(),
                        Some("https://sts.cn-north-4.myhuaweicloud.com".to_owned()),
                    ),
                };
                let given = |name| environment.get(name).map(without_slash);
                Self {
                    roles: given("HUAWEICLOUD_SDK_IAM_ENDPOINT").unwrap_or(roles),
                    oidc: given("HUAWEICLOUD_SDK_STS_ENDPOINT").or(oidc),
                }
            }
            Cloud::Tencent => {
                let internal = if vpc { ".internal" } else { "" };
                Self { roles: format!("https://sts{internal}.tencentcloudapi.com"), oidc: None }
            }
        }
    }

    /// The same, where roles are assumed at the base URL `roles`.
    #[must_use]
    pub fn with_roles_at(self, roles: &str) -> Self {
        Self { roles: without_slash(roles), ..self }
    }
}

fn without_slash(base: &str) -> String {
    base.trim_end_matches('/').to_owned()
}

/// The base URL of a service whose host Alibaba's tools name without a scheme.
pub(super) fn with_scheme(host: &str) -> String {
    if host.contains("://") { without_slash(host) } else { format!("https://{host}") }
}

/// The base URL of Alibaba's service.
fn alibaba_of(environment: &Environment, region: Option<&str>, vpc: bool) -> String {
    if let Some(host) = environment.get("ALIBABA_CLOUD_STS_ENDPOINT") {
        return with_scheme(host);
    }
    let vpc = vpc
        || is_true(environment, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED")
        || environment
            .get("ALIBABA_CLOUD_ENDPOINT_TYPE")
            .is_some_and(|it| it.eq_ignore_ascii_case("vpc"));
    // The service of one region hands out keys for all, so the public one needs no region.
    let region = environment.get("ALIBABA_CLOUD_STS_REGION").or(region.filter(|_| vpc));
    alibaba(region, vpc)
}

/// Alibaba's base URL for a region, or the one for all; `vpc` counts only together with a region.
pub(super) fn alibaba(region: Option<&str>, vpc: bool) -> String {
    match region {
        None => "https://sts.aliyuncs.com".to_owned(),
        Some(region) if vpc => format!("https://sts-vpc.{region}.aliyuncs.com"),
        Some(region) => format!("https://sts.{region}.aliyuncs.com"),
    }
}

/// The session in an answer of the service.
pub(super) fn answer(cloud: Cloud, response: &Response<Bytes>) -> Result<Session, SessionError> {
    let tree = tree(cloud, response)?;
    let within = |tree: &Value, name: &'static str| {
        let part = tree.get(name).cloned();
        part.ok_or_else(|| SessionError::Answer(format!("the answer has no {name}")))
    };
    match cloud {
        Cloud::Alibaba => {
            let keys = within(&tree, "Credentials")?;
            session(cloud, &keys, &keys)
        }
        Cloud::Huawei => {
            let keys = metadata::huawei_keys(&tree);
            session(cloud, keys, keys)
        }
        Cloud::Tencent => {
            let response = within(&tree, "Response")?;
            session(cloud, &within(&response, "Credentials")?, &response)
        }
    }
}
