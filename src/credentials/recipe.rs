//! `Recipe`: everything that is needed to ask for a session, from any of the places that give one.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use dbtask_clouds::cloud::Credentials;

use super::Outside;
use super::container::Container;
use super::exchange::{Session, SessionError, judge};
use super::identity::Identity;
use super::metadata::Metadata;
use super::role::Role;
use super::user::User;
use crate::credentials::guard::Key;

/// What a place where keys are looked for holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// The keys themselves.
    Keys(Credentials),
    /// Keys that end, which another tool has got.
    Held(Session),
    /// What has to be asked for.
    Session(Recipe),
}

/// Everything that is needed to ask for a session. As long as it stays the same, so does the
/// session. `Debug` shows only what is asked: an address may hold a secret.
#[derive(Clone, PartialEq)]
pub(super) enum Recipe {
    /// From the machine that we run on.
    Metadata(Metadata),
    /// For the token of a pod.
    Identity(Identity),
    /// From an address that stands in the environment.
    Container(Container),
    /// A role, in the name of other keys.
    Role(Assumed),
    /// For the name and the password of a user.
    User(User),
}

impl Recipe {
    /// One new session.
    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        match self {
            Self::Metadata(metadata) => metadata.ask(outside).await,
            Self::Identity(identity) => identity.ask(outside).await,
            Self::Container(container) => container.ask(outside).await,
            Self::Role(assumed) => assumed.ask(outside).await,
            Self::User(user) => user.ask(outside).await,
        }
    }

    /// The file with the token that the session is asked for with.
    pub(super) fn token_file(&self) -> Option<&Path> {
        match self {
            Self::Identity(identity) => identity.token_file(),
            Self::Container(container) => container.token_file(),
            Self::Role(assumed) => match &*assumed.by {
                Found::Session(recipe) => recipe.token_file(),
                Found::Keys(_) | Found::Held(_) => None,
            },
            Self::Metadata(_) | Self::User(_) => None,
        }
    }
}

impl Found {
    /// The keys, got anew where they are a session's: a role may stand on another role.
    pub(super) fn fresh<'a>(
        &'a self,
        outside: &'a Outside<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Credentials>, SessionError>> + Send + 'a>> {
        Box::pin(async move {
            match self {
                Self::Keys(credentials) => Ok(Arc::new(credentials.clone())),
                Self::Held(session) => Ok(Arc::clone(&session.credentials)),
                Self::Session(recipe) => Ok(recipe.ask(outside).await?.credentials),
            }
        })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata(_) => "the instance metadata",
            Self::Identity(_) => "the token of the pod",
            Self::Container(_) => "the credentials URI",
            Self::Role(_) => "the role",
            Self::User(_) => "the user's password",
        })
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({self})")
    }
}

/// A role, who assumes it, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assumed {
    pub(super) role: Role,
    /// The base URL of the vendor's service.
    pub(super) endpoint: String,
    pub(super) by: Box<Found>,
}

impl Assumed {
    pub(super) async fn ask(&self, outside: &Outside<'_>) -> Result<Session, SessionError> {
        let keys = self.by.fresh(outside).await?;
        // Those of a session have no guard: they are got anew each time, and are not locked.
        let turn = match *self.by {
            Found::Keys(_) => {
                Some(outside.guards.turn(&Key::of(self.role.name.cloud(), &keys)).await?)
            }
            Found::Held(_) | Found::Session(_) => None,
        };
        let asked = self.role.assume(&self.endpoint, &keys, outside).await;
        if let Some(turn) = turn {
            judge(turn, &asked);
        }
        asked
    }
}
