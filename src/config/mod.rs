//! What the operator writes, checked into a list of sources.
//!
//! A YAML file ([`Config::load`]), or one source from the environment alone
//! ([`Config::from_environment`]); both become the same tree and go through the same checks. Every
//! problem is reported at once, each with its place. `docs/configuration.md` explains every key.

mod accounts;
mod calls;
pub mod control;
mod files;
mod overlap;
mod regions;
mod registration;
pub mod reload;
mod report;
mod role;
mod shape;
mod source;
mod templates;
mod timing;
mod variables;
mod web;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Target, TaskApi, TaskRef};
use dbtask_clouds::model::Resource;
use secrecy::{ExposeSecret as _, SecretString};

use self::accounts::Accounts;
pub use self::calls::TightBudget;
use self::files::Files;
pub use self::overlap::Overlap;
pub use self::report::{ConfigError, Problem};
use self::report::{Field, Report};
use self::timing::Timing;
pub use self::web::{LoadedWebConfig, PasswordHash, RateLimit, WebConfig};
use self::yaml::{Node, Place};
use crate::credentials::Provider;
use crate::platform::environment::Environment;
use crate::platform::files::{FileContent, FileVersion};

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The sources to watch.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that are enabled, in the order of the file; their names differ.
    pub sources: Vec<SourceConfig>,
    /// The names of those that have been checked but are not to be watched.
    pub disabled: Vec<String>,
    /// Who may register task ids at run time; `None`: nobody.
    pub registration: Option<RegistrationConfig>,
}

/// A configuration, or what is wrong with it, and what it was read from.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Result<Config, ConfigError>,
    /// Every file that was read for it, those of its tasks and authorities included; none where it
    /// came from the environment alone and names none. Whether something has changed is seen here.
    pub files: BTreeMap<PathBuf, FileVersion>,
}

/// Who may register task ids at run time, how many, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// A file that holds the bearer token and nothing else; it may change.
    pub token_file: PathBuf,
    /// How many ids may be registered at a time, over all sources; 10 000.
    pub max_tasks: usize,
    /// How long an id that the vendor does not know is asked for; 7 days.
    pub ttl: Duration,
}

/// One API for one account in one region, and how to watch it.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// `[a-zA-Z0-9_.-]{1,64}`; a label and a journal key.
    pub name: String,
    /// What to ask.
    pub api: &'static TaskApi,
    /// Where to ask. A Huawei source whose project is empty has to ask IAM for it.
    pub target: Target,
    /// Who asks; shared by the sources of the same account.
    pub credentials: Arc<Provider>,
    /// The name of the credentials, or `default` for the cloud's own chain.
    pub account: String,
    /// Calls that these credentials may make in a UTC day, over all their sources; `None` for as
    /// many as it takes.
    pub daily_budget: Option<u64>,
    /// Clusters or instances to watch; empty means all.
    pub resources: Vec<Arc<Resource>>,
    /// Only resources that carry all of these tags; empty means any.
    pub tags: Vec<(String, String)>,
    /// Tasks to ask for by their id, as the configuration itself lists them.
    pub tasks: Vec<TaskRef>,
    /// A file that lists more of them, and may change.
    pub tasks_file: Option<PathBuf>,
    /// What that file listed when the configuration was read.
    pub tasks_in_file: Vec<TaskRef>,
    /// How often to ask, and how far back.
    pub poll: PollConfig,
    /// How long ended tasks are shown.
    pub retention: RetentionConfig,
    /// How much to show.
    pub limits: LimitsConfig,
    /// Whether each task gets series of its own, besides the aggregates.
    pub per_task_metrics: bool,
    /// A proxy for this source's requests, `http://` or `https://`; secret, since it may hold a
    /// password.
    pub proxy_url: Option<SecretString>,
    /// A PEM file of authorities to trust besides the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// What that file held when the configuration was read.
    pub ca_content: Option<FileContent>,
}

impl SourceConfig {
    /// Whether both are watched in the same way. What the tasks file lists makes no difference, nor
    /// which authorities a file holds: both are followed while the source is watched.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            name,
            api,
            target,
            credentials,
            account,
            daily_budget,
            resources,
            tags,
            tasks,
            tasks_file,
            tasks_in_file: _,
            poll,
            retention,
            limits,
            per_task_metrics,
            proxy_url,
            ca_file,
            ca_content: _,
        } = self;
        let url = |url: &Option<SecretString>| url.as_ref().map(|it| it.expose_secret().to_owned());
        std::ptr::eq(*api, other.api)
            && credentials.is_same(&other.credentials)
            && (name, target, account) == (&other.name, &other.target, &other.account)
            && (daily_budget, resources) == (&other.daily_budget, &other.resources)
            && (tags, tasks, tasks_file) == (&other.tags, &other.tasks, &other.tasks_file)
            && (poll, retention, limits) == (&other.poll, &other.retention, &other.limits)
            && *per_task_metrics == other.per_task_metrics
            && url(proxy_url) == url(&other.proxy_url)
            && ca_file == &other.ca_file
    }

    /// Every task to ask for by its id, as far as the configuration knows.
    pub fn all_tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().chain(&self.tasks_in_file)
    }

    /// Every task to ask for by its id, now that `content` is what the tasks file `path` holds; or
    /// everything that is wrong with it.
    pub fn tasks_with(
        &self,
        path: &Path,
        content: io::Result<Vec<u8>>,
    ) -> Result<Vec<TaskRef>, ConfigError> {
        let report = Report::new(path.display().to_string());
        let mut tasks = source::Tasks::listed(self.api, self.tasks.clone());
        match text(content) {
            Ok(text) => tasks.read_file(&text, &report),
            Err(message) => report.add(Place::default(), "", message),
        }
        report.finish(Some(tasks.into_list()))
    }
}

/// How often a source is asked, and how far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollConfig {
    /// Between two polls while any task is unfinished; 30 s.
    pub interval: Duration,
    /// Between two polls while none is; 2 min, or `interval` if that is longer.
    pub idle_interval: Duration,
    /// For one call; 20 s.
    pub timeout: Duration,
    /// How old a finished task may be; 24 h. Unfinished ones may be of any age.
    pub lookback: Duration,
    /// When, without a good poll, unfinished tasks become unknown; the larger of 15 min and three
    /// intervals.
    pub stale_after: Duration,
}

/// How long ended tasks are shown, from the first poll that saw them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Those that succeeded or were canceled; 1 h.
    pub finished: Duration,
    /// Those that failed; 24 h.
    pub failed: Duration,
}

/// How much a source may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Tasks with series of their own; 500. The others still count in the aggregates.
    pub tasks_per_source: usize,
}

/// Every key at the top of the file.
const KEYS: &[&str] = &["poll", "retention", "limits", "credentials", "sources", "registration"];

impl LoadedConfig {
    /// Reads the configuration in `path`, or from the environment alone where there is no path.
    pub fn read(path: Option<&Path>, environment: &Environment) -> Self {
        let files = Files::beside(path.unwrap_or(Path::new("")));
        let config = match path {
            Some(path) => Config::in_file(path, &files, environment),
            None => Config::in_environment(&files, environment),
        };
        Self { config, files: files.versions() }
    }

    /// The files that make another configuration when they change. Those of its tasks do not: each
    /// is followed by itself.
    pub fn own_files(&self) -> BTreeMap<PathBuf, FileVersion> {
        let mut files = self.files.clone();
        let sources = self.config.iter().flat_map(|config| &config.sources);
        for tasks_file in sources.filter_map(|source| source.tasks_file.as_ref()) {
            files.remove(tasks_file);
        }
        files
    }
}

impl Config {
    /// The configuration in `path`, or from the environment alone where there is no path.
    pub fn read(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        LoadedConfig::read(path, environment).config
    }

    /// The configuration in the YAML file `path`. Relative paths in it are relative to its folder.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        Self::read(Some(path), environment)
    }

    /// The configuration in `text`, which came from `file`. Relative paths in it are relative to
    /// the folder of that.
    pub fn parse(text: &str, file: &str, environment: &Environment) -> Result<Self, ConfigError> {
        Self::in_text(text, file, &Files::beside(Path::new(file)), environment)
    }

    /// One source, from the variables that begin with `DBTASK_`; its credentials come from the
    /// vendor's own.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Self::read(None, environment)
    }

    fn in_file(path: &Path, files: &Files, environment: &Environment) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match text(files.bytes(path.to_owned())) {
            Ok(text) => Self::in_text(&text, &file, files, environment),
            Err(message) => fail(&file, Place::default(), message),
        }
    }

    fn in_text(
        text: &str,
        file: &str,
        files: &Files,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let report = Report::new(file);
        match yaml::parse(text) {
            Ok(root) => {
                let config = Self::check(&root, &report, files, environment);
                report.finish(config)
            }
            Err((place, reason)) => fail(file, place, reason),
        }
    }

    fn in_environment(files: &Files, environment: &Environment) -> Result<Self, ConfigError> {
        let report = Report::new("environment");
        let root = variables::document(environment, &report);
        let config = root.as_ref().and_then(|root| Self::check(root, &report, files, environment));
        report.finish(config).map_err(variables::name_variables)
    }

    /// `None` if that much is wrong that nothing can be made of it; smaller problems are in the
    /// report only.
    fn check(
        root: &Node,
        report: &Report,
        files: &Files,
        environment: &Environment,
    ) -> Option<Self> {
        let root = Field::root(report, root).section();
        root.allow_or(KEYS, timing::misplaced);
        let folder = files.folder();
        let accounts = Accounts::read(root.get("credentials").as_ref(), folder, environment);
        let defaults = Timing::read(&root);
        let context = source::Context { accounts, defaults, files, environment };

        let registration =
            root.get("registration").and_then(|field| registration::read(&field.section(), folder));
        let mut config = Self { sources: Vec::new(), disabled: Vec::new(), registration };
        let mut places = HashMap::new();
        let sources = root.required("sources")?;
        if sources.is_empty() {
            sources.wrong("there is nothing to watch; give at least one source");
        }
        let entries = sources.items();
        let expanded: Vec<_> =
            entries.iter().map(|entry| (entry, templates::expand(entry))).collect();
        let nodes =
            expanded.iter().flat_map(|(entry, nodes)| nodes.iter().map(move |it| (entry, it)));
        for (entry, node) in nodes {
            let section = entry.instead(node).section();
            if let Some(name) = section.get("name")
                && let Some(text) = name.text()
                && let Some(first) = places.insert(text, name.at())
            {
                name.wrong(format!(
                    "{text:?} is the name of the source in line {} too",
                    first.line
                ));
            }
            let enabled = section.get("enabled").and_then(|field| field.flag()).unwrap_or(true);
            match source::read(&section, &context) {
                Some(source) if enabled => config.sources.push(source),
                Some(source) => config.disabled.push(source.name),
                None => {}
            }
        }
        Some(config)
    }
}

fn fail<T>(file: &str, place: Place, message: impl Into<String>) -> Result<T, ConfigError> {
    let report = Report::new(file);
    report.add(place, "", message);
    report.finish(None)
}

/// The text of a file of ours, or why there is none.
fn text(content: io::Result<Vec<u8>>) -> Result<String, String> {
    let bytes = content.map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}
