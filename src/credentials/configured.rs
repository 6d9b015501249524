//! Keys that an entry of `credentials` gives: in the file itself, in a variable, or in a file.

use std::path::{Path, PathBuf};

use dbtask_clouds::cloud::{AccessKeys, Credentials};
use secrecy::{ExposeSecret as _, SecretString};

use super::exchange::text_in;
use super::recipe::{Found, Recipe};
use super::user::User;
use super::{CredentialsError, checked};
use crate::platform::environment::Environment;

/// What an entry of `credentials` holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Configured {
    /// A key pair.
    Keys {
        /// The key's id.
        id: Secret,
        /// The key itself.
        secret: Secret,
        /// The token of a temporary key.
        token: Option<Secret>,
    },
    /// A token in place of a key pair.
    Token(Secret),
    /// A user of Huawei's IAM, whose password leads to such a token.
    User {
        /// The base URL of IAM.
        endpoint: String,
        /// The user's name.
        name: String,
        /// The user's password.
        password: Secret,
        /// The name of the account that the user belongs to.
        domain: String,
        /// The name of the project that the token is for.
        project: String,
    },
}

/// One value, and the key of the configuration that gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// As the configuration spells it: `secret_key_file`.
    pub key: String,
    /// Where the value is.
    pub origin: Origin,
}

/// Where a value is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In the configuration itself.
    Inline(SecretString),
    /// In the environment variable of this name.
    Variable(String),
    /// In this file, which may change.
    File(PathBuf),
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(a), Self::Inline(b)) => a.expose_secret() == b.expose_secret(),
            (Self::Variable(a), Self::Variable(b)) => a == b,
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Inline(_) | Self::Variable(_) | Self::File(_), _) => false,
        }
    }
}

impl Configured {
    pub(super) async fn get(&self, environment: &Environment) -> Result<Found, CredentialsError> {
        let keys = match self {
            Self::Token(token) => Credentials::Token(token.read(environment).await?),
            Self::Keys { id, secret, token } => Credentials::Keys(AccessKeys {
                access_key_id: id.read(environment).await?.expose_secret().to_owned(),
                secret_access_key: secret.read(environment).await?,
                security_token: match token {
                    Some(token) => Some(token.read(environment).await?),
                    None => None,
                },
            }),
            Self::User { endpoint, name, password, domain, project } => {
                return Ok(Found::Session(Recipe::User(User {
                    endpoint: endpoint.clone(),
                    name: name.clone(),
                    password: password.read(environment).await?,
                    domain: domain.clone(),
                    project: project.clone(),
                })));
            }
        };
        Ok(Found::Keys(keys))
    }
}

impl Secret {
    async fn read(&self, environment: &Environment) -> Result<SecretString, CredentialsError> {
        match &self.origin {
            Origin::Inline(value) => Ok(value.clone()),
            Origin::Variable(variable) => {
                let value = environment.get(variable).ok_or_else(|| {
                    CredentialsError::Variable { key: self.key.clone(), variable: variable.clone() }
                })?;
                checked(variable, value)
            }
            Origin::File(path) => read_file(&self.key, path).await,
        }
    }
}

/// The secret that a file holds and nothing else, without the line end; `key` is the key of the
/// configuration that names the file.
pub async fn read_file(key: &str, path: &Path) -> Result<SecretString, CredentialsError> {
    let text = text_in(path).await.map_err(|reason| {
        let (key, path) = (key.to_owned(), path.to_owned());
        CredentialsError::File { key, path, reason }
    })?;
    checked(&path.display().to_string(), &text)
}
