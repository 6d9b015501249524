//! Where keys come from, and when they are read again.
//!
//! A [`Provider`] belongs to one entry of `credentials` in the configuration, or is the default
//! chain of a cloud. It is asked before every request. Nothing here is fatal at start: a key that
//! cannot be found is an error of the poll that needs it, and may be there at the next.

mod configured;
mod variables;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

pub use self::configured::{Configured, Origin, Secret, read_file};
use crate::cloud::{AccessKeys, Cloud, Credentials};
use crate::environment::Environment;

/// What each vendor calls the parts of its credentials, which is what the configuration calls
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The key's id.
    pub id: &'static str,
    /// The key itself.
    pub secret: &'static str,
    /// The token of a temporary key.
    pub token: &'static str,
    /// A token in place of a key, where the cloud takes one.
    pub bearer: Option<&'static str>,
}

impl Words {
    /// The vendor's words.
    pub const fn of(cloud: Cloud) -> Self {
        match cloud {
            Cloud::Alibaba => Self {
                id: "access_key_id",
                secret: "access_key_secret",
                token: "security_token",
                bearer: None,
            },
            Cloud::Huawei => Self {
                id: "access_key",
                secret: "secret_key",
                token: "security_token",
                bearer: Some("auth_token"),
            },
            Cloud::Tencent => {
                Self { id: "secret_id", secret: "secret_key", token: "token", bearer: None }
            }
        }
    }

    /// All of them.
    pub fn all(self) -> Vec<&'static str> {
        [Some(self.id), Some(self.secret), Some(self.token), self.bearer]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Hands out credentials. Shared by every source that uses them.
#[derive(Debug)]
pub struct Provider {
    cloud: Cloud,
    way: Way,
    environment: Environment,
    /// What was handed out last: as long as nothing changes, it is handed out again.
    last: Mutex<Option<Arc<Credentials>>>,
}

#[derive(Debug)]
enum Way {
    /// As an entry of `credentials` says.
    Configured(Configured),
    /// The first link that yields.
    Chain(&'static [Link]),
}

/// One place where a vendor's own tools look for keys. Each is a file of this module.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// The vendor's environment variables.
    Variables,
}

/// Each cloud's chain, in the vendor's order.
const fn chain(cloud: Cloud) -> &'static [Link] {
    match cloud {
        Cloud::Alibaba | Cloud::Huawei | Cloud::Tencent => &[Link::Variables],
    }
}

/// Why there are no credentials. Never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No link of the default chain yielded any.
    #[error("no credentials for {cloud}: {missing}")]
    NotFound {
        /// Whose.
        cloud: Cloud,
        /// What was looked for and not found.
        missing: String,
    },
    /// A variable that the configuration names is not set, or empty.
    #[error("the environment variable {variable} ({key}) is not set")]
    Variable {
        /// The key of the configuration that names it.
        key: String,
        /// Its name.
        variable: String,
    },
    /// A file that the configuration names cannot be read.
    #[error("{path} ({key}) cannot be read: {reason}")]
    File {
        /// The key of the configuration that names it.
        key: String,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// A value that cannot be a key or a token.
    #[error("{of} {problem}")]
    Malformed {
        /// The key of the configuration, or the variable.
        of: String,
        /// What is wrong with its value.
        problem: &'static str,
    },
}

impl Provider {
    /// Credentials as the configuration gives them.
    pub fn configured(cloud: Cloud, keys: Configured, environment: Environment) -> Self {
        Self::new(cloud, Way::Configured(keys), environment)
    }

    /// The cloud's default chain.
    pub fn default_chain(cloud: Cloud, environment: Environment) -> Self {
        Self::new(cloud, Way::Chain(chain(cloud)), environment)
    }

    fn new(cloud: Cloud, way: Way, environment: Environment) -> Self {
        Self { cloud, way, environment, last: Mutex::default() }
    }

    /// Whose credentials these are.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// The credentials as they are now; the same `Arc` for as long as they are the same. Files are
    /// read anew.
    pub async fn get(&self) -> Result<Arc<Credentials>, CredentialsError> {
        let found = match &self.way {
            Way::Configured(keys) => keys.get(&self.environment).await?,
            Way::Chain(links) => self.first_of(links)?,
        };
        // Nothing in here can panic half-way through a change.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(known) if same(known, &found) => Ok(Arc::clone(known)),
            _ => Ok(Arc::clone(last.insert(Arc::new(found)))),
        }
    }

    fn first_of(&self, links: &[Link]) -> Result<Credentials, CredentialsError> {
        let mut missing = Vec::new();
        for link in links {
            let found = match link {
                Link::Variables => variables::find(self.cloud, &self.environment),
            };
            match found {
                Err(CredentialsError::NotFound { missing: what, .. }) => missing.push(what),
                found => return found,
            }
        }
        Err(CredentialsError::NotFound { cloud: self.cloud, missing: missing.join("; ") })
    }
}

/// Trims line ends, and refuses what no key looks like and no header can carry.
fn checked(of: &str, value: &str) -> Result<SecretString, CredentialsError> {
    let value = value.trim_end_matches(['\r', '\n']);
    well_formed(value)
        .map_err(|problem| CredentialsError::Malformed { of: of.to_owned(), problem })?;
    Ok(SecretString::from(value))
}

/// What is wrong with a key or token, if anything.
pub fn well_formed(value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        Err("is empty")
    } else if value.contains(char::is_whitespace) {
        Err("holds a blank or a line break")
    } else if !value.bytes().all(|b| b.is_ascii_graphic()) {
        Err("holds characters that no key has")
    } else {
        Ok(())
    }
}

fn same(a: &Credentials, b: &Credentials) -> bool {
    fn exposed(token: Option<&SecretString>) -> Option<&str> {
        token.map(ExposeSecret::expose_secret)
    }
    match (a, b) {
        (Credentials::Token(a), Credentials::Token(b)) => a.expose_secret() == b.expose_secret(),
        (Credentials::Keys(a), Credentials::Keys(b)) => {
            let AccessKeys { access_key_id, secret_access_key, security_token } = a;
            *access_key_id == b.access_key_id
                && secret_access_key.expose_secret() == b.secret_access_key.expose_secret()
                && exposed(security_token.as_ref()) == exposed(b.security_token.as_ref())
        }
        (Credentials::Token(_), Credentials::Keys(_))
        | (Credentials::Keys(_), Credentials::Token(_)) => false,
    }
}
