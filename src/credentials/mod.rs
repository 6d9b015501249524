//! Where keys come from, and when they are read again.
//!
//! A [`Provider`] belongs to one entry of `credentials` in the configuration, or is the default
//! chain of a cloud. It is asked before every request. Nothing here is fatal at start: a key that
//! cannot be found is an error of the poll that needs it, and may be there at the next.
//!
//! ```text
//!  configured ─────────┐                    ┌─► keys ─────────────────────────┐
//!  variables, profile ─┼─► what there is ───┤                                 ├─► Provider::get
//!  identity, container,│   (looked for      └─► how to ask for a session ─► session
//!  metadata ───────────┘    each time)           (asked once, renewed in time)
//! ```

mod configured;
mod container;
mod identity;
mod ini;
mod metadata;
mod profile;
mod role;
mod session;
mod sts;
mod user;
mod variables;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;

pub use self::configured::{Configured, Origin, Secret, read_file};
use self::role::Assumed;
pub use self::role::{Role, RoleName};
pub use self::session::SessionError;
use self::session::{Found, Recipe, Sessions};
pub use self::sts::{DURATION_SECONDS, SESSION_NAME, TokenServices};
use crate::cloud::{Cloud, Credentials};
use crate::environment::Environment;
use crate::task::Timestamp;
use crate::transport::Transport;

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

/// What a session is asked for with.
#[derive(Clone, Copy, Debug)]
pub struct Outside<'a> {
    /// The vendor's time, as far as we know it.
    pub now: Timestamp,
    /// How the cloud is reached.
    pub cloud: &'a dyn Transport,
    /// How the machine's own services are reached: never through a proxy.
    pub machine: &'a dyn Transport,
}

/// Hands out credentials. Shared by every source that uses them.
#[derive(Debug)]
pub struct Provider {
    cloud: Cloud,
    way: Way,
    /// What is assumed with what that leads to.
    role: Option<Role>,
    services: TokenServices,
    environment: Environment,
    sessions: Sessions,
    /// What was handed out last: as long as nothing changes, it is handed out again.
    last: Mutex<Option<Handed>>,
}

#[derive(Debug)]
struct Handed {
    credentials: Arc<Credentials>,
    ends: Option<Timestamp>,
}

#[derive(Debug, PartialEq)]
enum Way {
    /// As an entry of `credentials` says.
    Configured(Configured),
    /// The first link that yields.
    Chain(&'static [Link]),
}

/// One place where a vendor's own tools look for keys. Each is a file of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// The vendor's environment variables.
    Variables,
    /// The role of a pod.
    Identity,
    /// The file of Alibaba's command line.
    Json,
    /// The vendor's ini file.
    Ini,
    /// An address in the environment.
    Container,
    /// The role of the machine.
    Metadata,
}

/// Each cloud's chain, in the vendor's order but for the metadata service: with some vendors it
/// comes before what a pod has been given on purpose, and the machine's role would be used in its
/// place.
const fn chain(cloud: Cloud) -> &'static [Link] {
    use Link::{Container, Identity, Ini, Json, Metadata, Variables};
    match cloud {
        Cloud::Alibaba => &[Variables, Identity, Json, Ini, Container, Metadata],
        Cloud::Huawei => &[Identity, Variables, Ini, Container, Metadata],
        Cloud::Tencent => &[Variables, Identity, Ini, Metadata],
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
    /// A file of the vendor's tools that is there, and cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Profile {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The session that the vendor's command line keeps has ended.
    #[error(
        "the session of the profile ended at {ends}; log in again with the vendor's command line"
    )]
    Ended {
        /// When.
        ends: Timestamp,
    },
    /// A session that could not be had.
    #[error("no keys from {from}: {reason}")]
    Session {
        /// Who should give it.
        from: String,
        /// Why there is none.
        reason: SessionError,
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
        let (sessions, last) = (Sessions::default(), Mutex::default());
        let services = TokenServices::of(cloud, &environment, None, false);
        Self { cloud, way, role: None, services, environment, sessions, last }
    }

    /// The same, where what was found is used only to assume `role`.
    #[must_use]
    pub fn assuming(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// The same, where roles are assumed and tokens exchanged at `services`.
    #[must_use]
    pub fn through(self, services: TokenServices) -> Self {
        Self { services, ..self }
    }

    /// Whether both look for the same keys in the same places, whatever they have found there.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.cloud, &self.way, &self.role) == (other.cloud, &other.way, &other.role)
            && (&self.services, &self.environment) == (&other.services, &other.environment)
    }

    /// Whose credentials these are.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// The account that the configured role belongs to; `None` without a role that names one.
    pub fn account(&self) -> Option<String> {
        let account = match &self.role.as_ref()?.name {
            // `acs:ram::<account>:role/<name>`
            RoleName::Alibaba { arn, .. } => arn.split(':').nth(3)?,
            RoleName::Huawei { domain, .. } => domain.as_str(),
            // `qcs::cam::uin/<uin>:roleName/<name>`
            RoleName::Tencent { arn, .. } => {
                arn.split(':').find_map(|part| part.strip_prefix("uin/"))?
            }
        };
        (!account.is_empty()).then(|| account.to_owned())
    }

    /// The id of the key that was handed out last; `None` if that is one that ends, or a token.
    pub fn lasting_key_id(&self) -> Option<String> {
        match &*self.last().as_ref()?.credentials {
            Credentials::Keys(keys) if keys.security_token.is_none() => {
                Some(keys.access_key_id.clone())
            }
            Credentials::Keys(_) | Credentials::Token(_) => None,
        }
    }

    /// The credentials as they are now; the same `Arc` for as long as they are the same. Files are
    /// read anew, and a session that is about to end is renewed.
    pub async fn get(&self, outside: &Outside<'_>) -> Result<Arc<Credentials>, CredentialsError> {
        let (found, missing) = match &self.way {
            Way::Configured(keys) => (keys.get(&self.environment).await?, Vec::new()),
            Way::Chain(links) => self.first_of(links).await?,
        };
        let found = match &self.role {
            Some(role) => {
                let (role, endpoint) = (role.clone(), self.services.roles.clone());
                Found::Session(Recipe::Role(Assumed { role, endpoint, by: Box::new(found) }))
            }
            None => found,
        };
        match found {
            Found::Keys(keys) => Ok(self.hand(self.same_as_last(Arc::new(keys)), None)),
            // Its user has to log in again; nobody else can get it a new one.
            Found::Held(session) if session.ends <= outside.now => {
                Err(CredentialsError::Ended { ends: session.ends })
            }
            Found::Held(session) => {
                Ok(self.hand(self.same_as_last(session.credentials), Some(session.ends)))
            }
            Found::Session(recipe) => match self.sessions.get(&recipe, outside).await {
                Ok(session) => Ok(self.hand(session.credentials, Some(session.ends))),
                Err(reason) => Err(self.explain(&recipe, reason, missing)),
            },
        }
    }

    /// When the credentials that were handed out last end, by the vendor's clock; `None` if they do
    /// not.
    pub fn ends(&self) -> Option<Timestamp> {
        self.last().as_ref()?.ends
    }

    /// Takes the vendor's word that `used` has ended. Whether others may be had at once.
    pub fn end(&self, used: &Arc<Credentials>) -> bool {
        self.sessions.end(used)
    }

    /// What was handed out last, if that is the same.
    fn same_as_last(&self, credentials: Arc<Credentials>) -> Arc<Credentials> {
        let last = self.last().as_ref().map(|last| Arc::clone(&last.credentials));
        last.filter(|last| **last == *credentials).unwrap_or(credentials)
    }

    fn hand(&self, credentials: Arc<Credentials>, ends: Option<Timestamp>) -> Arc<Credentials> {
        *self.last() = Some(Handed { credentials: Arc::clone(&credentials), ends });
        credentials
    }

    fn last(&self) -> MutexGuard<'_, Option<Handed>> {
        // Nothing in here can panic half-way through a change.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the first link holds that holds anything, and what the others before it lack.
    async fn first_of(&self, links: &[Link]) -> Result<(Found, Vec<String>), CredentialsError> {
        let (cloud, environment, services) = (self.cloud, &self.environment, &self.services);
        let mut missing = Vec::new();
        for link in links {
            let found = match link {
                Link::Variables => variables::find(cloud, environment).map(Found::Keys),
                Link::Identity => identity::find(cloud, environment, services),
                Link::Json => profile::find_json(environment, services).await,
                Link::Ini => profile::find_ini(cloud, environment, services).await,
                Link::Container => container::find(cloud, environment),
                Link::Metadata => metadata::find(cloud, environment),
            };
            match found {
                Err(CredentialsError::NotFound { missing: what, .. }) => missing.push(what),
                Err(error) => return Err(error),
                Ok(found) => return Ok((found, missing)),
            }
        }
        Err(CredentialsError::NotFound { cloud, missing: missing.join("; ") })
    }

    /// The metadata service is only asked where nothing else is given, so all of that is told too.
    fn explain(
        &self,
        recipe: &Recipe,
        reason: SessionError,
        mut missing: Vec<String>,
    ) -> CredentialsError {
        match recipe {
            Recipe::Metadata(_) if !missing.is_empty() => {
                missing.push(format!("{recipe}: {reason}"));
                CredentialsError::NotFound { cloud: self.cloud, missing: missing.join("; ") }
            }
            Recipe::Metadata(_)
            | Recipe::Identity(_)
            | Recipe::Container(_)
            | Recipe::Role(_)
            | Recipe::User(_) => CredentialsError::Session { from: recipe.to_string(), reason },
        }
    }
}

/// The values of all these variables; [`CredentialsError::NotFound`] says which are not set.
fn all_of<'a, const N: usize>(
    cloud: Cloud,
    environment: &'a Environment,
    names: [&str; N],
) -> Result<[&'a str; N], CredentialsError> {
    let missing: Vec<_> =
        names.into_iter().filter(|name| environment.get(name).is_none()).collect();
    let missing = match missing.as_slice() {
        [] => return Ok(names.map(|name| environment.get(name).unwrap_or_default())),
        [one] => format!("the environment variable {one} is not set"),
        [most @ .., last] => {
            format!("the environment variables {} and {last} are not set", most.join(", "))
        }
    };
    Err(CredentialsError::NotFound { cloud, missing })
}

/// Whether a variable is the word `true`, in any case.
fn is_true(environment: &Environment, name: &str) -> bool {
    environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
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
