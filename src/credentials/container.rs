//! The keys that a platform gives to a container, from an address in the environment.

use std::path::{Path, PathBuf};

use dbtask_clouds::cloud::Cloud;
use http::Method;
use secrecy::ExposeSecret as _;

use super::exchange::{Session, SessionError, json, send_secret, session, token, with_code};
use super::metadata::huawei_keys;
use super::{CredentialsError, Outside, all_of};
use crate::platform::environment::Environment;

/// Who gives them.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Container {
    /// Alibaba's credentials URI, asked as it is.
    Alibaba { uri: String },
    /// Huawei's pod identity. The address names a token that stands in a file.
    Huawei { uri: String, token_file: PathBuf },
}

/// The address in the vendor's variables; `None` for a cloud without one.
pub(super) fn find(cloud: Cloud, environment: &Environment) -> Result<Container, CredentialsError> {
    Ok(match cloud {
        Cloud::Alibaba => {
            let [uri] = all_of(cloud, environment, ["ALIBABA_CLOUD_CREDENTIALS_URI"])?;
            Container::Alibaba { uri: uri.to_owned() }
        }
        Cloud::Huawei => {
            let names =
                ["HC_CONTAINER_CREDENTIALS_FULL_URI", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
            let [uri, file] = all_of(cloud, environment, names)?;
            Container::Huawei { uri: uri.to_owned(), token_file: PathBuf::from(file) }
        }
        Cloud::Tencent => {
            return Err(CredentialsError::NotFound { cloud, missing: String::new() });
        }
    })
}

impl Container {
    pub(super) fn token_file(&self) -> Option<&Path> {
        match self {
            Self::Alibaba { .. } => None,
            Self::Huawei { token_file, .. } => Some(token_file),
        }
    }

    /// Not through a proxy: the address is one of the machine or the cluster.
    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        match self {
            Self::Alibaba { uri } => {
                let answer =
                    send_secret(outside.machine, Method::GET, uri, &[], "", &[uri]).await?;
                let tree = json(&answer)?;
                with_code(&tree)?;
                session(Cloud::Alibaba, &tree, &tree)
            }
            Self::Huawei { uri, token_file } => {
                let token = token(token_file).await?;
                let headers = [
                    ("authorization", token.expose_secret()),
                    ("content-type", "application/json"),
                ];
                let answer =
                    send_secret(outside.machine, Method::POST, uri, &headers, "{}", &[uri]).await?;
                let tree = json(&answer)?;
                let keys = huawei_keys(&tree);
                session(Cloud::Huawei, keys, keys)
            }
        }
    }
}
