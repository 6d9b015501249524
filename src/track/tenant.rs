//! `Tenant`: whose tasks a source shows.
//!
//! A name may come to stand for another project or account of the same API and region: then what is
//! known of its tasks, the ends that were counted among it, says nothing about the new ones. What
//! tells, in this order:
//!
//! 1. Huawei's project, configured or learned from IAM.
//! 2. The account that a configured role names: the number in an ARN, the domain of an agency.
//! 3. The name of the entry of `credentials`. Its keys may be replaced. An entry of another name
//!    that holds the same key is the same account.
//!
//! What is not known on both sides tells nothing.

use serde::{Deserialize, Serialize};

/// Whose tasks a source shows, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The project, configured or learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The account that a configured role names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The name of the entry of `credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// A digest of the key's id; `None` for keys that end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Tenant {
    /// Whether `new` is certainly another one. `answered` says that its keys have been used, so that
    /// all of it is known that can be.
    pub fn is_another(&self, new: &Self, answered: bool) -> bool {
        let differ = |old: &Option<String>, new: &Option<String>| {
            old.as_ref().zip(new.as_ref()).map(|(old, new)| old != new)
        };
        differ(&self.project, &new.project)
            .or_else(|| differ(&self.account, &new.account))
            .unwrap_or_else(|| {
                answered
                    && differ(&self.credentials, &new.credentials) == Some(true)
                    && differ(&self.key, &new.key) != Some(false)
            })
    }

    /// Takes in what is known now of the same one.
    pub fn learn(&mut self, new: Self) {
        *self = Self {
            project: new.project.or(self.project.take()),
            account: new.account.or(self.account.take()),
            credentials: new.credentials.or(self.credentials.take()),
            key: new.key.or(self.key.take()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `project account credentials key`, `-` for what is not known.
    fn tenant(text: &str) -> Tenant {
        let mut words = text.split(' ').map(|word| (word != "-").then(|| word.to_owned()));
        let mut next = || words.next().unwrap();
        Tenant { project: next(), account: next(), credentials: next(), key: next() }
    }

    #[test]
    fn another_project_or_account_is_another_tenant_and_another_key_is_not() {
        for (old, new, early, answered) in [
            // A row of an earlier version knows nothing.
            ("- - - -", "p 1 a k", false, false),
            ("p - a k", "p - b m", false, false),
            ("p - a k", "q - a k", true, true),
            ("p - a -", "- - b -", false, true),
            ("- 1 a -", "- 1 b -", false, false),
            ("- 1 a -", "- 2 a -", true, true),
            ("- - a k", "- - a m", false, false),
            ("- - a k", "- - b k", false, false),
            ("- - a k", "- - b m", false, true),
            ("- - a k", "- - b -", false, true),
            ("- - default -", "- - default -", false, false),
            ("- - default -", "- - b k", false, true),
            ("- 1 a -", "- - a k", false, false),
        ] {
            let (old, new) = (tenant(old), tenant(new));
            assert_eq!(old.is_another(&new, false), early, "{old:?} {new:?}");
            assert_eq!(old.is_another(&new, true), answered, "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_is_learned_stays_known() {
        let mut known = tenant("p 1 a k");
        known.learn(tenant("- - b -"));
        assert_eq!(known, tenant("p 1 b k"));
    }
}
