//! The web configuration: how what is served is reached, and by whom, in the format of the
//! Prometheus exporter-toolkit.
//!
//! What the format allows and we cannot do is a problem that names its key; nothing is quietly done
//! in another way. `docs/web-configuration.md` explains every key.

mod clients;
mod pem;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcrypt::HashParts;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;
use secrecy::{ExposeSecret as _, SecretString};

use super::files::Files;
use super::report::{ConfigError, Field, Report, Section};
use super::yaml::{self, Place};
use super::{shape, text};
use crate::platform::files::FileVersion;

/// How what is served is reached, and by whom.
#[derive(Clone, Debug, Default)]
pub struct WebConfig {
    /// Certificates and what clients must show; `None` for plain HTTP. Offers `h2` where HTTP/2 is
    /// wanted.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whose password is asked for; everybody is let in if there is nobody.
    pub users: BTreeMap<String, PasswordHash>,
    /// Sent with every answer, in place of those of the same names.
    pub headers: HeaderMap,
    /// How many requests are answered; `None` for all.
    pub rate_limit: Option<RateLimit>,
    /// Whether the file holds nothing at all, as one that is just being written does.
    pub is_blank: bool,
}

/// A token bucket for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time in which one more request may come; never zero.
    pub interval: Duration,
    /// How many may come at once; with 0 none ever may.
    pub burst: u32,
}

/// A password as bcrypt keeps it.
#[derive(Clone, Debug)]
pub struct PasswordHash {
    text: SecretString,
    cost: u32,
}

/// A web configuration, or what is wrong with it, and what it was read from.
#[derive(Debug)]
pub struct LoadedWebConfig {
    /// The configuration.
    pub config: Result<WebConfig, ConfigError>,
    /// Every file that was read for it, the first one included. Whether something has changed is
    /// seen here.
    pub files: BTreeMap<PathBuf, FileVersion>,
}

/// bcrypt knows costs up to 31, which takes days. This one takes about a minute.
const MAX_COST: u32 = 20;
/// Longer than anybody waits.
const MAX_INTERVAL: Duration = Duration::from_hours(24);

const KEYS: &[&str] =
    &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

/// The headers that may be set, and the only values that some may have.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

impl WebConfig {
    /// Reads the file `path` and those that it names, which are relative to its folder.
    pub fn load(path: &Path) -> LoadedWebConfig {
        let files = Files::beside(path);
        let config = Self::read(path, &files);
        LoadedWebConfig { config, files: files.versions() }
    }

    fn read(path: &Path, files: &Files) -> Result<Self, ConfigError> {
        let report = Report::new(path.display().to_string());
        let root = text(files.bytes(path.to_owned()))
            .map_err(|message| (Place::default(), message))
            .and_then(|text| yaml::parse(&text));
        match root {
            Ok(root) => {
                let field = Field::root(&report, &root);
                let config =
                    Self { is_blank: field.is_empty(), ..Self::check(&field.section(), files) };
                report.finish(Some(config))
            }
            Err((place, reason)) => {
                report.add(place, "", reason);
                report.finish(None)
            }
        }
    }

    /// What is wrong is in the report.
    fn check(root: &Section<'_>, files: &Files) -> Self {
        root.allow(KEYS);
        let http = root.get("http_server_config").map(|field| field.section());
        if let Some(http) = &http {
            http.allow(&["http2", "headers"]);
        }
        let http = |name| http.as_ref().and_then(|section| section.get(name));
        let http2 = http("http2").and_then(|field| field.flag()).unwrap_or(true);
        let tls =
            root.get("tls_server_config").filter(|field| !field.section().fields().is_empty());
        let limit = root.get("rate_limit");
        Self {
            tls: tls.and_then(|field| tls::read(&field.section(), http2, files)),
            users: root
                .get("basic_auth_users")
                .map(|field| users(&field.section()))
                .unwrap_or_default(),
            headers: http("headers").map(|field| headers(&field.section())).unwrap_or_default(),
            rate_limit: limit.and_then(|field| rate_limit(&field.section())),
            is_blank: false,
        }
    }
}

impl PasswordHash {
    /// Whether both are of the same password with the same salt.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text.expose_secret() == other.text.expose_secret()
    }

    fn new(text: &str) -> Result<Self, String> {
        // No message may hold the hash.
        let wrong =
            "is not a bcrypt hash; `htpasswd -nBC 10 \"\"` makes one, which looks like $2y$10$…";
        let cost = text.parse::<HashParts>().map_err(|_| wrong)?.get_cost();
        if !(4..=MAX_COST).contains(&cost) {
            return Err(format!("has the cost {cost}; it must be from 4 to {MAX_COST}"));
        }
        Ok(Self { text: text.into(), cost })
    }

    /// The exponent of the work that a comparison takes, 4 to 20.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether this is the password, of which bcrypt takes the first 72 bytes. Takes its time: tens
    /// of milliseconds for the usual cost of 10.
    pub fn matches(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, self.text.expose_secret()).unwrap_or(false)
    }
}

fn users(section: &Section<'_>) -> BTreeMap<String, PasswordHash> {
    let mut users = BTreeMap::new();
    for (name, field) in section.fields() {
        if name.contains(':') {
            field.wrong("a user's name cannot hold a colon: what follows would be the password");
        } else if let Some(hash) = field.parse(PasswordHash::new) {
            users.insert(name.to_owned(), hash);
        }
    }
    users
}

fn headers(section: &Section<'_>) -> HeaderMap {
    section.allow(&HEADERS.map(|(name, _)| name));
    let mut headers = HeaderMap::new();
    for (name, values) in HEADERS {
        // One that is blank is not set.
        let Some(field) = section.get(name).filter(|field| !field.is_blank()) else { continue };
        let value = field.parse(|text| {
            if !values.is_empty() && !values.contains(&text) {
                return Err(format!("must be {}", values.join(" or ")));
            }
            HeaderValue::from_str(text).map_err(|_| "is not what a header can hold".to_owned())
        });
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// `None` without a limit, or if it is wrong, which has been reported.
fn rate_limit(section: &Section<'_>) -> Option<RateLimit> {
    section.allow(&["interval", "burst"]);
    let burst = section.get("burst").and_then(|field| field.number(&(0..=1_000_000)));
    let interval = section.required("interval")?.parse(|text| match text {
        "0" => Ok(Duration::ZERO),
        text => shape::duration(text),
    })?;
    if interval.is_zero() {
        return None;
    }
    if interval > MAX_INTERVAL {
        section.get("interval")?.wrong("must be a day at most");
    }
    section.required("burst")?;
    Some(RateLimit { interval, burst: u32::try_from(burst?).ok()? })
}
