//! The variables that the vendors' own tools read.
//!
//! - Alibaba: <https://github.com/aliyun/credentials-python>
//! - Huawei: <https://github.com/huaweicloud/huaweicloud-sdk-python-v3>
//! - Tencent: <https://github.com/TencentCloud/tencentcloud-sdk-python>. For the token, `tccli` reads
//!   the first of the three names below, the Terraform provider the second, and the SDK for Node the
//!   third. The SDKs for Python and Go read none.

use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use secrecy::ExposeSecret as _;

use super::{CredentialsError, all_of, checked};
use crate::platform::environment::Environment;

struct Names {
    id: &'static str,
    secret: &'static str,
    /// The first that is set counts.
    token: &'static [&'static str],
}

const fn names(cloud: Cloud) -> Names {
    match cloud {
        Cloud::Alibaba => Names {
            id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
            secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            token: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
        },
        Cloud::Huawei => Names {
            id: "HUAWEICLOUD_SDK_AK",
            secret: "HUAWEICLOUD_SDK_SK",
            token: &["HUAWEICLOUD_SDK_SECURITY_TOKEN"],
        },
        Cloud::Tencent => Names {
            id: "TENCENTCLOUD_SECRET_ID",
            secret: "TENCENTCLOUD_SECRET_KEY",
            token: &[
                "TENCENTCLOUD_TOKEN",
                "TENCENTCLOUD_SECURITY_TOKEN",
                "TENCENTCLOUD_SESSION_TOKEN",
            ],
        },
    }
}

/// The credentials in the vendor's variables; [`CredentialsError::NotFound`] says which are not set.
pub(super) fn find(
    cloud: Cloud,
    environment: &Environment,
) -> Result<Credentials, CredentialsError> {
    let names = names(cloud);
    let [id, secret] = all_of(cloud, environment, [names.id, names.secret])?;
    let token = names.token.iter().find_map(|name| Some((name, environment.get(name)?)));
    Ok(Credentials::Keys(AccessKeys {
        access_key_id: checked(names.id, id)?.expose_secret().to_owned(),
        secret_access_key: checked(names.secret, secret)?,
        security_token: token.map(|(name, token)| checked(name, token)).transpose()?,
    }))
}
