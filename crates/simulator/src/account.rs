//! Accounts and their keys.

use std::time::Duration;

use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::hash::hash;
use super::scenario::{Account, Scenario};

/// How long a session lives where the scenario does not say.
const SESSION: Duration = Duration::from_hours(1);

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const MIXED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";

/// An account in one cloud, and what proves to be it.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) account: String,
    pub(super) cloud: Cloud,
    pub(super) keys: AccessKeys,
    pub(super) auth_token: Option<SecretString>,
    /// The role that the configuration assumes.
    pub(super) role: Option<String>,
    /// How many calls a day the configuration allows itself.
    pub(super) daily_budget: Option<u64>,
    /// How long its sessions live.
    session: Duration,
}

impl Holder {
    /// The account that the scenario describes, or one with keys derived from its name.
    pub(super) fn new(scenario: &Scenario, account: &str, cloud: Cloud) -> Self {
        let given = scenario.accounts.iter().find(|given| given.name == account);
        let take = |field: fn(&Account) -> &Option<String>| given.and_then(|it| field(it).clone());
        // As long and as scrambled as the vendors' own.
        let (prefix, length, letters) = match cloud {
            Cloud::Alibaba => ("LTAI", 20, MIXED),
            Cloud::Huawei => ("HPUA", 16, UPPER),
            Cloud::Tencent => ("AKID", 32, MIXED),
        };
        let name = format!("{cloud}/{account}");
        let key = || format!("{prefix}{}", derived(&name, "key", length, letters));
        let secret = || derived(&name, "secret", 32, MIXED);
        let keys = AccessKeys {
            access_key_id: take(|it| &it.access_key_id).unwrap_or_else(key),
            secret_access_key: take(|it| &it.secret_access_key).unwrap_or_else(secret).into(),
            security_token: take(|it| &it.security_token).map(Into::into),
        };
        let auth_token = take(|it| &it.auth_token).map(Into::into);
        let session = given.and_then(|it| it.session).map_or(SESSION, |span| span.0);
        Self {
            account: account.to_owned(),
            cloud,
            keys,
            auth_token,
            role: take(|it| &it.role).filter(|_| cloud != Cloud::Huawei),
            daily_budget: given.and_then(|it| it.daily_budget),
            session,
        }
    }

    /// Whether a request that claims to be `claimant`'s claims to be this account's.
    pub(super) fn is(&self, claimant: &str) -> bool {
        self.keys.access_key_id == claimant
            || self.end(claimant).is_some()
            || self.auth_token.as_ref().is_some_and(|token| token.expose_secret() == claimant)
    }

    /// What the configuration uses.
    pub(super) fn credentials(&self) -> Credentials {
        match &self.auth_token {
            Some(token) => Credentials::Token(token.clone()),
            None => Credentials::Keys(self.keys.clone()),
        }
    }

    /// What a request that claims to be `claimant`'s has to be good for; a `bearer` sends a token in
    /// place of a signature.
    pub(super) fn credentials_of(&self, claimant: &str, bearer: bool) -> Credentials {
        if self.keys.access_key_id == claimant {
            Credentials::Keys(self.keys.clone())
        } else if self.end(claimant).is_none() {
            self.credentials()
        } else if bearer {
            Credentials::Token(claimant.into())
        } else {
            Credentials::Keys(self.keys_of(claimant))
        }
    }

    /// A session that begins now, and when it ends.
    pub(super) fn session(&self, now: Timestamp) -> (AccessKeys, Timestamp) {
        let end = now + self.session;
        let id = format!("STS.{}.{}", self.keys.access_key_id, end.as_second());
        (self.keys_of(&id), end)
    }

    /// When the session ends whose key has this id; `None` if it is none of this account's.
    pub(super) fn end(&self, id: &str) -> Option<Timestamp> {
        let rest = id.strip_prefix("STS.")?.strip_prefix(&self.keys.access_key_id)?;
        Timestamp::from_second(rest.strip_prefix('.')?.parse().ok()?)
    }

    /// When the session began whose key has this id.
    pub(super) fn began(&self, id: &str) -> Option<Timestamp> {
        Some(self.end(id)?.saturating_sub(self.session))
    }

    fn keys_of(&self, id: &str) -> AccessKeys {
        let name = format!("{}/{}", self.cloud, id);
        AccessKeys {
            access_key_id: id.to_owned(),
            secret_access_key: derived(&name, "secret", 32, MIXED).into(),
            security_token: Some(derived(&name, "token", 256, MIXED).into()),
        }
    }
}

/// The id of an account's project in a region.
pub(super) fn project_id(account: &str, region: &str) -> String {
    derived(&format!("{account}/{region}"), "project", 32, HEX)
}

/// Text of `letters`, always the same for the same name and purpose.
fn derived(name: &str, purpose: &str, length: usize, letters: &str) -> String {
    let mut rng = fastrand::Rng::with_seed(hash(format!("{purpose}/{name}").as_bytes()));
    let letters: Vec<char> = letters.chars().collect();
    (0..length).filter_map(|_| rng.choice(&letters).copied()).collect()
}
