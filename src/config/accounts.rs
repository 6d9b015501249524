//! `credentials`: who asks. The keys are each vendor's own words.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use super::report::{Field, Section};
use super::shape;
use crate::cloud::Cloud;
use crate::credentials::{Configured, Origin, Provider, Secret, Words, well_formed};
use crate::environment::Environment;

/// The label of sources that use their cloud's own chain; no credentials may be called so.
pub(super) const DEFAULT: &str = "default";

/// The key of an account's budget.
pub(super) const BUDGET: &str = "daily_budget";
/// What a budget may be. Nobody makes as many calls as the largest.
const BUDGETS: RangeInclusive<usize> = 1..=1_000_000_000;

/// Everybody who may ask.
#[derive(Debug)]
pub(super) struct Accounts {
    /// By name; `None` for an entry with problems, which have been reported.
    named: BTreeMap<String, Option<Holder>>,
    /// The chain of each cloud, as in [`Cloud::ALL`].
    chains: [(Cloud, Holder); Cloud::ALL.len()],
}

/// Who may ask, and how often.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) credentials: Arc<Provider>,
    /// Calls in a UTC day.
    pub(super) daily_budget: Option<u64>,
}

impl Accounts {
    pub(super) fn read(list: Option<&Field<'_>>, folder: &Path, environment: &Environment) -> Self {
        let mut named = BTreeMap::new();
        for entry in list.into_iter().flat_map(Field::items) {
            let section = entry.section();
            let name = section.required("name").and_then(|field| {
                let name = field.parse(shape::name)?;
                if name == DEFAULT {
                    field.wrong("\"default\" stands for a cloud's own chain; choose another name");
                } else if named.contains_key(name) {
                    field.wrong(format!("{name:?} is the name of other credentials too"));
                }
                Some(name)
            });
            let holder = read(&section, folder, environment);
            if let Some(name) = name {
                named.insert(name.to_owned(), holder);
            }
        }
        let chain = |cloud| Holder {
            credentials: Arc::new(Provider::default_chain(cloud, environment.clone())),
            daily_budget: None,
        };
        Self { named, chains: Cloud::ALL.map(|cloud| (cloud, chain(cloud))) }
    }

    /// The cloud's own chain.
    pub(super) fn chain(&self, cloud: Cloud) -> Option<Holder> {
        let (_, holder) = self.chains.iter().find(|(of, _)| *of == cloud)?;
        Some(holder.clone())
    }

    /// The credentials that `field` names, if they are for `cloud`.
    pub(super) fn named(&self, field: &Field<'_>, cloud: Cloud) -> Option<Holder> {
        let name = field.text()?;
        let Some(holder) = self.named.get(name) else {
            let names: Vec<_> = self.named.keys().map(String::as_str).collect();
            field.wrong(match shape::nearest(name, &names) {
                Some(meant) => format!("no credentials {name:?}; did you mean {meant:?}?"),
                None => format!("no credentials {name:?}"),
            });
            return None;
        };
        let holder = holder.as_ref()?;
        let theirs = holder.credentials.cloud();
        if theirs != cloud {
            field.wrong(format!("the credentials {name:?} are for {theirs}"));
            return None;
        }
        Some(holder.clone())
    }
}

fn read(section: &Section<'_>, folder: &Path, environment: &Environment) -> Option<Holder> {
    section.refuse("role_arn", "is not supported by this version");
    let daily_budget = section.get(BUDGET).and_then(|field| field.number(&BUDGETS));
    let cloud = section.required("cloud")?.parse(|text| {
        let names = Cloud::ALL.map(Cloud::as_str);
        let known = Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not a cloud; there are {}", names.join(", ")))
    })?;
    let words = Words::of(cloud);
    let known: Vec<_> = ["name", "cloud", BUDGET, "role_arn"]
        .into_iter()
        .map(str::to_owned)
        .chain(words.all().into_iter().flat_map(spellings))
        .collect();
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    section.allow_or(&known, |key| {
        let vendors: Vec<_> = Cloud::ALL
            .into_iter()
            .filter(|other| {
                Words::of(*other).all().into_iter().any(|w| spellings(w).contains(&key.into()))
            })
            .map(Cloud::as_str)
            .collect();
        let (vendors, words) = (vendors.join(" and "), words.all().join(", "));
        (!vendors.is_empty()).then(|| {
            format!("is a word of {vendors}; {cloud} has {words}, each also with _env or _file")
        })
    });

    let value = |word| secret(section, word, folder);
    let (id, key, token) = (value(words.id), value(words.secret), value(words.token));
    let bearer = words.bearer.map_or(Ok(None), value);
    let (Ok(id), Ok(key), Ok(token), Ok(bearer)) = (id, key, token, bearer) else { return None };
    let configured = match (id, key, bearer) {
        (None, None, Some(bearer)) if token.is_none() => Configured::Token(bearer),
        (Some(id), Some(secret), None) => Configured::Keys { id, secret, token },
        (_, _, Some(_)) => {
            section.wrong(format!("give either `auth_token` or `{}`, not both", words.secret));
            return None;
        }
        (id, _, None) => {
            let missing = if id.is_none() { words.id } else { words.secret };
            let bearer = words.bearer.map(|word| format!(", or {word}")).unwrap_or_default();
            section.wrong(format!("has no {missing}, {missing}_env or {missing}_file{bearer}"));
            return None;
        }
    };
    let credentials = Arc::new(Provider::configured(cloud, configured, environment.clone()));
    let daily_budget = daily_budget.and_then(|calls| u64::try_from(calls).ok());
    Some(Holder { credentials, daily_budget })
}

/// The three ways to give one value.
fn spellings(word: &str) -> [String; 3] {
    [word.to_owned(), format!("{word}_env"), format!("{word}_file")]
}

/// Something is wrong, and the report says so.
struct Reported;

/// The value called `word`, in whichever way it is given.
fn secret(section: &Section<'_>, word: &str, folder: &Path) -> Result<Option<Secret>, Reported> {
    let [inline, variable, file] = spellings(word);
    let given: Vec<_> = [inline.clone(), variable.clone(), file]
        .into_iter()
        .filter_map(|key| Some((section.get(&key)?, key)))
        .collect();
    if let [(_, first), (second, _), ..] = given.as_slice() {
        second.wrong(format!("`{first}` is given too; keep one of them"));
        return Err(Reported);
    }
    let Some((field, key)) = given.into_iter().next() else { return Ok(None) };
    let origin = if key == inline {
        let value = field.parse(|text| well_formed(text).map(|()| text).map_err(str::to_owned));
        value.map(|text| Origin::Inline(SecretString::from(text)))
    } else if key == variable {
        field.parse(shape::variable).map(|name| Origin::Variable(name.to_owned()))
    } else {
        field.text().map(|path| Origin::File(folder.join(path)))
    };
    match origin {
        Some(origin) => Ok(Some(Secret { key, origin })),
        None => Err(Reported),
    }
}
