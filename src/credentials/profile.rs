//! The files where the vendors' tools keep keys.
//!
//! - Alibaba `config.json` and `credentials.ini`: <https://github.com/aliyun/credentials-python>
//! - Huawei: <https://github.com/huaweicloud/huaweicloud-sdk-python-v3>
//! - Tencent: <https://github.com/TencentCloud/tencentcloud-sdk-python>

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::document::text;
use dbtask_clouds::model::Timestamp;
use serde_json::Value;

use super::container::Container;
use super::exchange::{Session, text_in};
use super::identity::Identity;
use super::metadata::Metadata;
use super::recipe::{Assumed, Found, Recipe};
use super::role::{Role, RoleName};
use super::sts::TokenServices;
use super::{CredentialsError, ini, is_true, sts, well_formed};
use crate::platform::environment::Environment;

/// The most profiles that may stand on one another.
const MAX_SOURCES: usize = 8;

/// Alibaba's `config.json`, as its command line keeps it.
pub(super) async fn find_json(
    environment: &Environment,
    services: &TokenServices,
) -> Result<Found, CredentialsError> {
    const OFF: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
    if is_true(environment, OFF) {
        return Err(not_found(Cloud::Alibaba, format!("{OFF} is true")));
    }
    let path = match environment.get("ALIBABA_CLOUD_CONFIG_FILE") {
        Some(path) => PathBuf::from(path),
        None => in_home(Cloud::Alibaba, environment, ".aliyun/config.json")?,
    };
    let content = content(Cloud::Alibaba, &path).await?;
    let file = File { path: &path, environment, services };
    let tree: Value = serde_json::from_str(content.trim_start_matches('\u{feff}'))
        .map_err(|error| file.wrong(format!("is not JSON (line {})", error.line())))?;
    let current = text(&tree, "current");
    let name = environment.get("ALIBABA_CLOUD_PROFILE").or(current.as_deref());
    let name = name.unwrap_or("default");
    file.json_profile(&tree, name, MAX_SOURCES)
}

/// The vendor's ini file.
pub(super) async fn find_ini(
    cloud: Cloud,
    environment: &Environment,
    services: &TokenServices,
) -> Result<Found, CredentialsError> {
    let (variable, places): (_, &[&str]) = match cloud {
        // Two of the vendor's SDKs, two names.
        Cloud::Alibaba => (
            "ALIBABA_CLOUD_CREDENTIALS_FILE",
            &[".alibabacloud/credentials.ini", ".alibabacloud/credentials"],
        ),
        Cloud::Huawei => ("HUAWEICLOUD_SDK_CREDENTIALS_FILE", &[".huaweicloud/credentials"]),
        // The second is absolute, and stays so.
        Cloud::Tencent => (
            "TENCENTCLOUD_CREDENTIALS_FILE",
            &[".tencentcloud/credentials", "/etc/tencentcloud/credentials"],
        ),
    };
    if let Some(path) = environment.get(variable) {
        return ini_file(cloud, Path::new(path), environment, services).await;
    }
    let mut missing = Vec::new();
    for place in places {
        let found = match in_home(cloud, environment, place) {
            Ok(path) => ini_file(cloud, &path, environment, services).await,
            Err(error) => Err(error),
        };
        match found {
            Err(CredentialsError::NotFound { missing: what, .. }) => missing.push(what),
            found => return found,
        }
    }
    missing.dedup();
    Err(not_found(cloud, missing.join("; ")))
}

async fn ini_file(
    cloud: Cloud,
    path: &Path,
    environment: &Environment,
    services: &TokenServices,
) -> Result<Found, CredentialsError> {
    let content = content(cloud, path).await?;
    let file = File { path, environment, services };
    let names: &[&str] = match cloud {
        Cloud::Alibaba => &[environment.get("ALIBABA_CLOUD_PROFILE").unwrap_or("default")],
        // A client's own chain wants the one, a provider that is asked for by hand the other.
        Cloud::Huawei => &["basiccredentials", "basic"],
        Cloud::Tencent => &["default"],
    };
    let section = names.iter().find_map(|name| ini::section(&content, name));
    let Some(section) = section else {
        let name = names.join("] or [");
        return Err(not_found(cloud, format!("{} has no [{name}]", path.display())));
    };
    let values = Values(&section);
    match cloud {
        Cloud::Alibaba => file.alibaba_section(&values),
        Cloud::Huawei => {
            if let (Some(provider_id), Some(token_file)) =
                (values.get("idp_id"), values.get("id_token_file"))
            {
                let endpoint = match values.get("iam_endpoint") {
                    Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
                    None => services.roles.clone(),
                };
                let (provider_id, token_file) = (provider_id.to_owned(), token_file.into());
                let identity = Identity::HuaweiProvider { endpoint, provider_id, token_file };
                return Ok(Found::Session(Recipe::Identity(identity)));
            }
            file.keys(cloud, &|key| values.owned(key), ["ak", "sk", "security_token"])
        }
        Cloud::Tencent => {
            file.keys(cloud, &|key| values.owned(key), ["secret_id", "secret_key", "token"])
        }
    }
}

/// The pairs of a section; an empty value is none.
struct Values<'a>(&'a BTreeMap<String, String>);

impl Values<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn owned(&self, key: &str) -> Option<String> {
        self.get(key).map(str::to_owned)
    }
}

/// A file that is there.
struct File<'a> {
    path: &'a Path,
    environment: &'a Environment,
    services: &'a TokenServices,
}

impl File<'_> {
    fn wrong(&self, problem: impl Into<String>) -> CredentialsError {
        CredentialsError::Profile { path: self.path.to_owned(), problem: problem.into() }
    }

    /// The keys called so. A profile without any is one that nobody has filled in.
    fn keys(
        &self,
        cloud: Cloud,
        value: &dyn Fn(&str) -> Option<String>,
        [id, secret, token]: [&str; 3],
    ) -> Result<Found, CredentialsError> {
        let key = |name: &str| {
            let value = value(name);
            if let Some(value) = &value {
                well_formed(value).map_err(|problem| self.wrong(format!("{name} {problem}")))?;
            }
            Ok(value)
        };
        match (key(id)?, key(secret)?, key(token)?) {
            (Some(access_key_id), Some(secret), token) => {
                Ok(Found::Keys(Credentials::Keys(AccessKeys {
                    access_key_id,
                    secret_access_key: secret.into(),
                    security_token: token.map(Into::into),
                })))
            }
            (None, None, _) => {
                Err(not_found(cloud, format!("{} has no {id}", self.path.display())))
            }
            (Some(_), None, _) => Err(self.wrong(format!("has {id} and no {secret}"))),
            (None, Some(_), _) => Err(self.wrong(format!("has {secret} and no {id}"))),
        }
    }

    /// A profile of Alibaba's command line, which may stand on `depth` others.
    fn json_profile(
        &self,
        tree: &Value,
        name: &str,
        depth: usize,
    ) -> Result<Found, CredentialsError> {
        let profiles = tree.get("profiles").and_then(Value::as_array);
        let mut profiles = profiles.into_iter().flatten();
        let Some(profile) = profiles.find(|it| text(it, "name").as_deref() == Some(name)) else {
            let missing = format!("{} has no profile {name:?}", self.path.display());
            return Err(not_found(Cloud::Alibaba, missing));
        };
        let value = |key: &str| text(profile, key).map(Cow::into_owned);
        let required = |key: &str| {
            value(key).ok_or_else(|| self.wrong(format!("the profile {name:?} has no {key}")))
        };
        let endpoint = || match (value("sts_endpoint"), value("sts_region")) {
            (Some(host), _) => sts::with_scheme(&host),
            (None, Some(region)) => {
                let vpc = profile.get("enable_vpc").and_then(Value::as_bool).unwrap_or(false);
                sts::alibaba(Some(&region), vpc)
            }
            (None, None) => self.services.roles.clone(),
        };
        let role = |by: Found| {
            let name = RoleName::Alibaba {
                arn: required("ram_role_arn")?,
                external_id: value("external_id"),
                policy: value("policy"),
            };
            let role = Role {
                name,
                session_name: value("ram_session_name")
                    .unwrap_or_else(|| sts::SESSION_NAME.to_owned()),
                duration_seconds: value("expired_seconds")
                    .and_then(|text| text.parse().ok())
                    .filter(|seconds| *seconds > 0)
                    .unwrap_or(sts::DURATION_SECONDS),
            };
            let (endpoint, by) = (endpoint(), Box::new(by));
            Ok(Found::Session(Recipe::Role(Assumed { role, endpoint, by })))
        };
        let keys = |token: &str| {
            let names = ["access_key_id", "access_key_secret", token];
            self.keys(Cloud::Alibaba, &value, names)
        };
        match value("mode").as_deref() {
            // Older files have no mode. A token that is left over from another mode does not count.
            Some("AK") | None => keys(""),
            Some("StsToken") => keys("sts_token"),
            Some("RamRoleArn") => role(keys("sts_token")?),
            Some("EcsRamRole") => {
                Ok(Found::Session(Recipe::Metadata(self.metadata(value("ram_role_name")))))
            }
            Some("OIDC") => Ok(Found::Session(Recipe::Identity(Identity::Alibaba {
                endpoint: endpoint(),
                role_arn: required("ram_role_arn")?,
                provider_arn: required("oidc_provider_arn")?,
                token_file: required("oidc_token_file")?.into(),
                session_name: value("role_session_name").or_else(|| value("ram_session_name")),
                policy: value("policy"),
            }))),
            Some("ChainableRamRoleArn") => {
                let source = required("source_profile")?;
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| self.wrong("its profiles stand on one another in a circle"))?;
                match self.json_profile(tree, &source, depth) {
                    Err(CredentialsError::NotFound { missing, .. }) => Err(self.wrong(missing)),
                    found => role(found?),
                }
            }
            // Somebody has logged in with the command line, which keeps what that led to.
            Some("CloudSSO" | "OAuth") => {
                let ends = profile.get("sts_expiration").and_then(Value::as_i64);
                let ends = ends.and_then(Timestamp::from_second).ok_or_else(|| {
                    self.wrong(format!("the profile {name:?} has no sts_expiration; log in again"))
                })?;
                match keys("sts_token")? {
                    Found::Keys(keys) => Ok(Found::Held(Session::new(keys, ends))),
                    other @ (Found::Held(_) | Found::Session(_)) => Ok(other),
                }
            }
            Some("CredentialsURI") => Ok(Found::Session(Recipe::Container(Container::Alibaba {
                uri: required("credentials_uri")?,
            }))),
            Some("External") => Err(self.wrong(format!(
                "the profile {name:?} runs a program (mode External), which is not done here; \
                 ALIBABA_CLOUD_CREDENTIALS_URI or key files can hold what it prints"
            ))),
            Some(mode) => {
                Err(self.wrong(format!("the mode {mode:?} of profile {name:?} is not supported")))
            }
        }
    }

    /// A section of Alibaba's ini file. What follows a `#` is a remark.
    fn alibaba_section(&self, values: &Values<'_>) -> Result<Found, CredentialsError> {
        let value = |key: &str| {
            let value = values.get(key)?.split('#').next()?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let required = |key: &str| value(key).ok_or_else(|| self.wrong(format!("has no {key}")));
        let keys = || {
            let names = ["access_key_id", "access_key_secret", "security_token"];
            self.keys(Cloud::Alibaba, &value, names)
        };
        let endpoint = || self.services.roles.clone();
        match value("type").as_deref() {
            Some("access_key" | "sts") | None => keys(),
            Some("ram_role_arn") => {
                let role = Role {
                    name: RoleName::Alibaba {
                        arn: required("role_arn")?,
                        external_id: value("external_id"),
                        policy: value("policy"),
                    },
                    session_name: value("role_session_name")
                        .unwrap_or_else(|| sts::SESSION_NAME.to_owned()),
                    duration_seconds: sts::DURATION_SECONDS,
                };
                let (endpoint, by) = (endpoint(), Box::new(keys()?));
                Ok(Found::Session(Recipe::Role(Assumed { role, endpoint, by })))
            }
            Some("oidc_role_arn") => Ok(Found::Session(Recipe::Identity(Identity::Alibaba {
                endpoint: endpoint(),
                role_arn: required("role_arn")?,
                provider_arn: required("oidc_provider_arn")?,
                token_file: required("oidc_token_file_path")?.into(),
                session_name: value("role_session_name"),
                policy: value("policy"),
            }))),
            Some("ecs_ram_role") => {
                Ok(Found::Session(Recipe::Metadata(self.metadata(value("role_name")))))
            }
            Some(other) => Err(self.wrong(format!("the type {other:?} is not supported"))),
        }
    }

    fn metadata(&self, role: Option<String>) -> Metadata {
        let without_token = !is_true(self.environment, "ALIBABA_CLOUD_IMDSV1_DISABLED");
        Metadata::Alibaba { role, without_token }
    }
}

fn in_home(
    cloud: Cloud,
    environment: &Environment,
    place: &str,
) -> Result<PathBuf, CredentialsError> {
    if place.starts_with('/') {
        return Ok(PathBuf::from(place));
    }
    match environment.get("HOME") {
        Some(home) => Ok(Path::new(home).join(place)),
        None => Err(not_found(cloud, format!("there is no HOME to hold {place}"))),
    }
}

/// The text of a file that need not be there.
async fn content(cloud: Cloud, path: &Path) -> Result<String, CredentialsError> {
    text_in(path).await.map_err(|reason| {
        if matches!(reason.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            return not_found(cloud, format!("{} does not exist", path.display()));
        }
        let problem = format!("cannot be read: {reason}");
        CredentialsError::Profile { path: path.to_owned(), problem }
    })
}

fn not_found(cloud: Cloud, missing: String) -> CredentialsError {
    CredentialsError::NotFound { cloud, missing }
}
