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
//!
//! What a file needs stands below it: `exchange` has what every exchange shares; one file for each place
//! that gives sessions; `recipe`, which is any of them; `cache`, which keeps what it led to.

mod cache;
mod configured;
mod container;
mod exchange;
pub mod guard;
mod identity;
mod ini;
mod metadata;
mod profile;
mod recipe;
mod role;
mod sts;
mod user;
mod variables;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::reason::Reason;
use dbtask_clouds::transport::Transport;
use secrecy::{ExposeSecret as _, SecretString};

use self::cache::Sessions;
pub use self::configured::{Configured, Origin, Secret, read_file};
pub use self::exchange::SessionError;
use self::recipe::{Assumed, Found, Recipe};
pub use self::role::{Role, RoleName};
pub use self::sts::{DURATION_SECONDS, SESSION_NAME, TokenServices};
use crate::credentials::guard::{Guarded, Guards};
use crate::platform::environment::Environment;
use crate::platform::vendor_clock::VendorClock;

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
    /// Tells the vendor's time, and learns it from the answers.
    pub clock: &'a VendorClock,
    /// Keep keys that are refused from being locked.
    pub guards: &'a Guards,
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
    last: Mutex<Option<Issued>>,
}

/// Credentials that were handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The same `Arc` for as long as they are the same.
    pub credentials: Arc<Credentials>,
    /// When they end, by the vendor's clock; `None` where they are no session.
    pub ends: Option<Timestamp>,
}

/// What the places where keys are looked for hold. As long as it is the same, so are the keys, or how
/// they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Lead {
    found: Found,
    /// What the places before it lack.
    missing: Vec<String>,
    token: Option<Token>,
}

/// The token of a pod, if it could be read.
#[derive(Clone, Debug)]
struct Token(Option<SecretString>);

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let text = |it: &Self| it.0.as_ref().map(|token| token.expose_secret().to_owned());
        text(self) == text(other)
    }
}

impl Lead {
    /// Adds the token that a session is asked for with, if there is one in a file.
    pub async fn read_token(&mut self) {
        if let Found::Session(recipe) = &self.found
            && let Some(file) = recipe.token_file()
        {
            self.token = Some(Token(exchange::token(file).await.ok()));
        }
    }

    /// Whether it holds the token too.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }
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
    /// Nor could that of the last link, and no other link of the default chain yielded any.
    #[error("no credentials for {cloud}: {missing}: {reason}")]
    LastLink {
        /// Whose.
        cloud: Cloud,
        /// What was looked for and not found, and who should give a session.
        missing: String,
        /// Why there is none.
        reason: SessionError,
    },
    /// The key is not used for a while.
    #[error(transparent)]
    Guarded(Guarded),
}

impl CredentialsError {
    /// The `reason` label: `auth` where keys, role or token are refused, missing or unusable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Session { reason, .. } | Self::LastLink { reason, .. } => reason.reason(),
            Self::NotFound { .. }
            | Self::Variable { .. }
            | Self::File { .. }
            | Self::Malformed { .. }
            | Self::Profile { .. }
            | Self::Ended { .. }
            | Self::Guarded(_) => Reason::Auth,
        }
    }

    /// How long the token service asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.session()? {
            SessionError::Refused(refusal) => refusal.retry_after,
            SessionError::Transport(_)
            | SessionError::Status(_)
            | SessionError::Answer(_)
            | SessionError::NoRole
            | SessionError::Request(_)
            | SessionError::File { .. }
            | SessionError::Guarded(_) => None,
        }
    }

    /// Why the key has to wait, if it has: the key itself, or that with which a session is asked for.
    pub fn guarded(&self) -> Option<&Guarded> {
        match (self, self.session()) {
            (Self::Guarded(guarded), _) | (_, Some(SessionError::Guarded(guarded))) => {
                Some(guarded)
            }
            (_, _) => None,
        }
    }

    /// Why there is no session.
    pub fn session(&self) -> Option<&SessionError> {
        match self {
            Self::Session { reason, .. } | Self::LastLink { reason, .. } => Some(reason),
            Self::NotFound { .. }
            | Self::Variable { .. }
            | Self::File { .. }
            | Self::Malformed { .. }
            | Self::Profile { .. }
            | Self::Ended { .. }
            | Self::Guarded(_) => None,
        }
    }
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

    /// What is there now to get credentials with. Files are read anew.
    pub async fn find(&self) -> Result<Lead, CredentialsError> {
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
        Ok(Lead { found, missing, token: None })
    }

    /// The credentials that `lead` leads to. A session that is about to end is renewed.
    pub async fn issue(
        &self,
        lead: &Lead,
        outside: &Outside<'_>,
    ) -> Result<Issued, CredentialsError> {
        let issued = match &lead.found {
            Found::Keys(keys) => {
                Issued { credentials: self.same_as_last(Arc::new(keys.clone())), ends: None }
            }
            // Its user has to log in again; nobody else can get it a new one.
            Found::Held(session) if session.ends <= outside.clock.now() => {
                return Err(CredentialsError::Ended { ends: session.ends });
            }
            Found::Held(session) => Issued {
                credentials: self.same_as_last(Arc::clone(&session.credentials)),
                ends: Some(session.ends),
            },
            Found::Session(recipe) => match self.sessions.get(recipe, outside).await {
                Ok(session) => {
                    Issued { credentials: session.credentials, ends: Some(session.ends) }
                }
                Err(reason) => return Err(self.explain(recipe, reason, &lead.missing)),
            },
        };
        *self.last() = Some(issued.clone());
        Ok(issued)
    }

    /// When the credentials that were handed out last end, by the vendor's clock; `None` if they do
    /// not.
    pub fn ends(&self) -> Option<Timestamp> {
        self.last().as_ref()?.ends
    }

    /// Takes the vendor's word that `used` is good for nothing any more. Whether others may be had at
    /// once.
    pub fn end(&self, used: &Arc<Credentials>) -> bool {
        self.sessions.end(used)
    }

    /// What was handed out last, if that is the same.
    fn same_as_last(&self, credentials: Arc<Credentials>) -> Arc<Credentials> {
        let last = self.last().as_ref().map(|last| Arc::clone(&last.credentials));
        last.filter(|last| **last == *credentials).unwrap_or(credentials)
    }

    fn last(&self) -> MutexGuard<'_, Option<Issued>> {
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
                Link::Identity => identity::find(cloud, environment, services)
                    .map(|it| Found::Session(Recipe::Identity(it))),
                Link::Json => profile::find_json(environment, services).await,
                Link::Ini => profile::find_ini(cloud, environment, services).await,
                Link::Container => container::find(cloud, environment)
                    .map(|it| Found::Session(Recipe::Container(it))),
                Link::Metadata => metadata::find(cloud, environment)
                    .map(|it| Found::Session(Recipe::Metadata(it))),
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
        missing: &[String],
    ) -> CredentialsError {
        let from = recipe.to_string();
        match recipe {
            Recipe::Metadata(_) if !missing.is_empty() => CredentialsError::LastLink {
                cloud: self.cloud,
                missing: format!("{}; {from}", missing.join("; ")),
                reason,
            },
            Recipe::Metadata(_)
            | Recipe::Identity(_)
            | Recipe::Container(_)
            | Recipe::Role(_)
            | Recipe::User(_) => CredentialsError::Session { from, reason },
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
