//! `credentials`: who asks. The keys are each vendor's own words.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::huawei::signature as huawei;
use secrecy::SecretString;

use super::report::{Field, Section};
use super::{role, shape};
use crate::credentials::{
    Configured, Origin, Provider, Role, Secret, TokenServices, Words, well_formed,
};
use crate::platform::environment::Environment;

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
    named: BTreeMap<String, Option<Entry>>,
    /// The chain of each cloud, as in [`Cloud::ALL`].
    chains: [Entry; Cloud::ALL.len()],
    environment: Environment,
}

/// One entry, or a cloud's own chain.
#[derive(Debug)]
struct Entry {
    cloud: Cloud,
    /// `None`: what the cloud's own chain finds.
    configured: Option<Configured>,
    role: Option<Role>,
    sts_endpoint: Option<String>,
    daily_budget: Option<u64>,
    /// One for each way that its sources reach the vendor's token services: sources that reach them
    /// alike share sessions.
    providers: RefCell<Vec<Arc<Provider>>>,
    /// A region where it is used, and the domain of the operator there.
    used_in: RefCell<Option<(String, &'static str)>>,
}

/// Where a source asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// `None` where it is missing or wrong.
    pub(super) region: Option<&'a str>,
    /// Whether through the vendor's own network.
    pub(super) vpc: bool,
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
            let entry = read(&section, folder);
            if let Some(name) = name {
                named.insert(name.to_owned(), entry);
            }
        }
        let environment = environment.clone();
        Self { named, chains: Cloud::ALL.map(Entry::chain), environment }
    }

    /// The cloud's own chain, for the source of `section` at `place`.
    pub(super) fn chain(
        &self,
        section: &Section<'_>,
        cloud: Cloud,
        place: Place<'_>,
    ) -> Option<Holder> {
        let entry = self.chains.iter().find(|entry| entry.cloud == cloud)?;
        let holder = entry.holder(place, &self.environment);
        holder.map_err(|problem| section.wrong(problem)).ok()
    }

    /// The credentials that `field` names, if they are for `cloud`, for a source at `place`.
    pub(super) fn named(
        &self,
        field: &Field<'_>,
        cloud: Cloud,
        place: Place<'_>,
    ) -> Option<Holder> {
        let name = field.text()?;
        let Some(entry) = self.named.get(name) else {
            let names: Vec<_> = self.named.keys().map(String::as_str).collect();
            field.wrong(match shape::nearest(name, &names) {
                Some(meant) => format!("no credentials {name:?}; did you mean {meant:?}?"),
                None => format!("no credentials {name:?}"),
            });
            return None;
        };
        let entry = entry.as_ref()?;
        if entry.cloud != cloud {
            field.wrong(format!("the credentials {name:?} are for {}", entry.cloud));
            return None;
        }
        let holder = entry.holder(place, &self.environment);
        holder.map_err(|problem| field.wrong(problem)).ok()
    }
}

impl Entry {
    fn chain(cloud: Cloud) -> Self {
        Self {
            cloud,
            configured: None,
            role: None,
            sts_endpoint: None,
            daily_budget: None,
            providers: RefCell::default(),
            used_in: RefCell::default(),
        }
    }

    /// The credentials for a source at `place`, or why they must not be used there.
    fn holder(&self, place: Place<'_>, environment: &Environment) -> Result<Holder, String> {
        if let (Cloud::Huawei, Some(region)) = (self.cloud, place.region) {
            self.check_operator(region)?;
        }
        let services = TokenServices::of(self.cloud, environment, place.region, place.vpc);
        let services = match &self.sts_endpoint {
            Some(base) => services.with_roles_at(base),
            None => services,
        };
        let environment = environment.clone();
        let provider = match &self.configured {
            Some(keys) => Provider::configured(self.cloud, keys.clone(), environment),
            None => Provider::default_chain(self.cloud, environment),
        };
        let provider = provider.through(services);
        let provider = match &self.role {
            Some(role) => provider.assuming(role.clone()),
            None => provider,
        };
        let mut providers = self.providers.borrow_mut();
        let known = providers.iter().find(|known| known.is_same(&provider)).map(Arc::clone);
        let credentials = known.unwrap_or_else(|| {
            let new = Arc::new(provider);
            providers.push(Arc::clone(&new));
            new
        });
        Ok(Holder { credentials, daily_budget: self.daily_budget })
    }

    /// Regions of two operators are two clouds: passwords and tokens for one must not reach the
    /// other.
    fn check_operator(&self, region: &str) -> Result<(), String> {
        let domain = huawei::domain(region);
        let mut used_in = self.used_in.borrow_mut();
        let (other, theirs) = used_in.get_or_insert_with(|| (region.to_owned(), domain));
        if *theirs == domain {
            return Ok(());
        }
        Err(format!(
            "these credentials belong to {other} ({theirs}); {region} ({domain}) is another \
             operator's cloud"
        ))
    }
}

fn read(section: &Section<'_>, folder: &Path) -> Option<Entry> {
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
    let role = role::read(section, cloud);
    let sts_endpoint = role::endpoint(section);
    let configured = match (id, key, bearer) {
        (None, None, None) if user.is_some() => user,
        // The role is assumed with what the cloud's own chain finds; or the chain is all there is,
        // with a token service of its own.
        (None, None, None) if token.is_none() && (role.is_some() || sts_endpoint.is_some()) => None,
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
    let used_in = match &configured {
        Some(Configured::User { project, .. }) => {
            let region = region_of(project);
            Some((region.to_owned(), huawei::domain(region)))
        }
        Some(Configured::Keys { .. } | Configured::Token(_)) | None => None,
    };
    // A user's password has been sent there instead.
    let sts_endpoint = sts_endpoint.filter(|_| role.is_some() || configured.is_none());
    Some(Entry {
        configured,
        role,
        sts_endpoint,
        daily_budget: daily_budget.and_then(|calls| u64::try_from(calls).ok()),
        used_in: RefCell::new(used_in),
        ..Entry::chain(cloud)
    })
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
        field.parse(|text| shape::region(region_of(text)).map(|region| (text, region)))
    });
    let (Some(name), Some(domain), Some((project, region))) = (name, domain, project) else {
        return Err(Reported);
    };
    let endpoint = role::endpoint(section).unwrap_or_else(|| huawei::iam(region));
    let project = project.to_owned();
    Ok(Some(Configured::User { endpoint, name, password, domain, project }))
}

/// The region of a project: `eu-de_orders` is one of `eu-de`.
fn region_of(project: &str) -> &str {
    project.split_once('_').map_or(project, |(region, _)| region)
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
