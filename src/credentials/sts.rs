//! Where the vendors exchange one proof of identity for another, and what is asked there.

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::session::{Session, SessionError, session, tree};
use super::{is_true, metadata};
use crate::cloud::Cloud;
use crate::environment::Environment;

/// The version of Alibaba's service.
pub(super) const ALIBABA_VERSION: &str = "2015-04-01";
/// The version of Tencent's service.
pub(super) const TENCENT_VERSION: &str = "2018-08-13";
/// How sessions are called where nobody calls them otherwise.
pub const SESSION_NAME: &str = "dbtask-exporter";
/// How long a session is asked for, in seconds: the most that every role grants.
pub const DURATION_SECONDS: u32 = 3600;

/// The base URL of the service where roles are assumed.
pub(super) fn endpoint(cloud: Cloud, environment: &Environment) -> String {
    match cloud {
        Cloud::Alibaba => alibaba(environment.get("ALIBABA_CLOUD_STS_REGION"), {
            is_true(environment, "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED")
        }),
        Cloud::Huawei => environment
            .get("HUAWEICLOUD_SDK_IAM_ENDPOINT")
            .unwrap_or("https://iam.myhuaweicloud.com")
            .trim_end_matches('/')
            .to_owned(),
        Cloud::Tencent => "https://sts.tencentcloudapi.com".to_owned(),
    }
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
