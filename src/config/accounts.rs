//! `credentials`: who asks. The keys are each vendor's own words.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use super::report::{Field, Section};
use super::{role, shape};
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
    let daily_budget = section.get(BUDGET).and_then(|field| field.number(&BUDGETS));
    let cloud = section.required("cloud")?.parse(|text| {
        let names = Cloud::ALL.map(Cloud::as_str);
        let known = Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is not a cloud; there are {}", names.join(", ")))
    })?;
    let words = Words::of(cloud);
    let users = user_keys(cloud);
    let password = (!users.is_empty()).then_some(PASSWORD);
    let known: Vec<_> = ["name", "cloud", BUDGET]
        .into_iter()
        .chain(role::keys(cloud))
        .chain(users.iter().copied())
        .map(str::to_owned)
        .chain(words.all().into_iter().chain(password).flat_map(spellings))
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
    let user = if users.is_empty() { None } else { user(section, folder).ok()? };
    let given = id.is_some() || key.is_some() || bearer.is_some();
    if user.is_some() && given {
        section.wrong("give either keys, a token, or a user's name and password");
        return None;
    }
    let role = role::read(section, cloud, environment);
    let configured = match (id, key, bearer) {
        (None, None, None) if user.is_some() => user,
        // The role is assumed with what the cloud's own chain finds.
        (None, None, None) if token.is_none() && role.is_some() => None,
        (None, None, Some(bearer)) if token.is_none() => Some(Configured::Token(bearer)),
        (Some(id), Some(secret), None) => Some(Configured::Keys { id, secret, token }),
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
    let provider = match configured {
        Some(configured) => Provider::configured(cloud, configured, environment.clone()),
        None => Provider::default_chain(cloud, environment.clone()),
    };
    let provider = match role {
        Some(role) => provider.assuming(role),
        None => provider,
    };
    let daily_budget = daily_budget.and_then(|calls| u64::try_from(calls).ok());
    Some(Holder { credentials: Arc::new(provider), daily_budget })
}

/// What a user of Huawei's IAM is known by, besides the password.
const USER: &[&str] = &["user_name", "domain_name", "project_name"];
const PASSWORD: &str = "password";

/// The keys of a user, where the cloud takes one.
fn user_keys(cloud: Cloud) -> &'static [&'static str] {
    match cloud {
        Cloud::Huawei => USER,
        Cloud::Alibaba | Cloud::Tencent => &[],
    }
}

/// The user, if the entry has one.
fn user(section: &Section<'_>, folder: &Path) -> Result<Option<Configured>, Reported> {
    let Some(password) = secret(section, PASSWORD, folder)? else {
        for key in USER {
            section.refuse(key, "belongs to a user with a `password`, and there is none");
        }
        return Ok(None);
    };
    let text = |key| section.required(key).and_then(|field| field.text()).map(str::to_owned);
    let (name, domain) = (text("user_name"), text("domain_name"));
    let project = section.required("project_name").and_then(|field| {
        // `eu-de_orders` is a project of the region `eu-de`.
        field.parse(|text| {
            let (region, _) = text.split_once('_').unwrap_or((text, ""));
            shape::region(region).map(|region| (text, region))
        })
    });
    let (Some(name), Some(domain), Some((project, region))) = (name, domain, project) else {
        return Err(Reported);
    };
    let endpoint = role::endpoint(section)
        .unwrap_or_else(|| format!("https://iam.{region}.myhuaweicloud.com"));
    let project = project.to_owned();
    Ok(Some(Configured::User { endpoint, name, password, domain, project }))
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
        field.parse(shape::path).map(|path| Origin::File(folder.join(path)))
    };
    match origin {
        Some(origin) => Ok(Some(Secret { key, origin })),
        None => Err(Reported),
    }
}
