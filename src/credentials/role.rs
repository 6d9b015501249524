//! A role that is assumed with other keys.
//!
//! - Alibaba: <https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole>
//! - Huawei, where it is an agency: <https://support.huaweicloud.com/intl/en-us/api-iam/iam_04_0101.html>
//! - Tencent: <https://www.tencentcloud.com/document/product/1150/49452>

use dbtask_clouds::alibaba::signature as alibaba;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::huawei::signature as huawei;
use dbtask_clouds::signing::Signing;
use dbtask_clouds::tencent::signature as tencent;
use serde_json::json;

use super::exchange::{Session, SessionError, ask};
use super::{Outside, sts};

/// A role, and for how long it is assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Which role.
    pub name: RoleName,
    /// How the session is called in the vendor's audit log; [`SESSION_NAME`](super::SESSION_NAME).
    pub session_name: String,
    /// How long a session is asked for; [`DURATION_SECONDS`](super::DURATION_SECONDS).
    pub duration_seconds: u32,
}

/// How each vendor names a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Alibaba's role.
    Alibaba {
        /// `acs:ram::<account>:role/<name>`.
        arn: String,
        /// What the role's owner has agreed on with its users.
        external_id: Option<String>,
        /// Takes rights away, as JSON.
        policy: Option<String>,
    },
    /// Huawei's agency.
    Huawei {
        /// The name of the agency.
        agency: String,
        /// The name of the account that has it.
        domain: String,
    },
    /// Tencent's role.
    Tencent {
        /// `qcs::cam::uin/<uin>:roleName/<name>`.
        arn: String,
        /// What the role's owner has agreed on with its users.
        external_id: Option<String>,
    },
}

impl RoleName {
    pub(super) fn cloud(&self) -> Cloud {
        match self {
            Self::Alibaba { .. } => Cloud::Alibaba,
            Self::Huawei { .. } => Cloud::Huawei,
            Self::Tencent { .. } => Cloud::Tencent,
        }
    }
}

impl Role {
    pub(super) async fn assume(
        &self,
        endpoint: &str,
        keys: &Credentials,
        outside: &Outside<'_>,
    ) -> Result<Session, SessionError> {
        let (session_name, seconds) = (self.session_name.as_str(), self.duration_seconds);
        let cloud = self.name.cloud();
        let unsigned = match &self.name {
            RoleName::Alibaba { arn, external_id, policy } => {
                let mut parameters = vec![
                    ("RoleArn", arn.clone()),
                    ("RoleSessionName", session_name.to_owned()),
                    ("DurationSeconds", seconds.to_string()),
                ];
                parameters.extend(external_id.clone().map(|id| ("ExternalId", id)));
                parameters.extend(policy.clone().map(|policy| ("Policy", policy)));
                let version = sts::ALIBABA_VERSION;
                alibaba::rpc(endpoint, "AssumeRole", version, &parameters)
            }
            RoleName::Huawei { agency, domain } => {
                let assume_role = json!({
                    "agency_name": agency,
                    "domain_name": domain,
                    "duration_seconds": seconds,
                    "session_user": {"name": session_name},
                });
                let identity = json!({"methods": ["assume_role"], "assume_role": assume_role});
                let path = "/v3.0/OS-CREDENTIAL/securitytokens";
                let body = json!({"auth": {"identity": identity}});
                huawei::post(endpoint, "", path, &body)
            }
            RoleName::Tencent { arn, external_id } => {
                let mut body = json!({
                    "RoleArn": arn,
                    "RoleSessionName": session_name,
                    "DurationSeconds": seconds,
                });
                if let (Some(id), Some(fields)) = (external_id, body.as_object_mut()) {
                    fields.insert("ExternalId".to_owned(), json!(id));
                }
                // Any region will do: roles belong to none.
                let (version, region) = (sts::TENCENT_VERSION, "ap-guangzhou");
                tencent::call(endpoint, "AssumeRole", version, region, &body)
            }
        };
        let signed = || {
            let nonce = format!("{:032x}", fastrand::u128(..));
            let now = outside.clock.now();
            let signing = Signing { service: "sts", credentials: keys, now, nonce: &nonce };
            let mut request = unsigned.clone();
            cloud.sign(&mut request, &signing)?;
            Ok(request)
        };
        sts::answer(cloud, &ask(outside, signed).await?)
    }
}
