//! One entry of `sources`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use dbtask_clouds::api::{Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::endpoints::ALL_REGIONS;
use dbtask_clouds::model::{Resource, Timestamp};
use dbtask_clouds::{catalog, ids as given};
use jiff::tz::Offset;
use secrecy::SecretString;

use super::accounts::{Accounts, DEFAULT, Holder, Place};
use super::files::Files;
use super::report::{Field, Report, Section};
use super::timing::{self, Timing};
use super::{SourceConfig, shape, text, yaml};
use crate::platform::environment::Environment;

/// Every key of a source. The last is refused.
pub(super) const KEYS: &[&str] = &[
    "name",
    "api",
    "region",
    "credentials",
    "endpoint",
    "allow_plain_http",
    "project_id",
    "resources",
    "tags",
    "tasks",
    "tasks_file",
    "format",
    "utc_offset",
    "poll",
    "retention",
    "limits",
    "per_task_metrics",
    "enabled",
    "proxy_url",
    "ca_file",
    "role_arn",
];

/// What sources take from elsewhere.
pub(super) struct Context<'a> {
    pub(super) accounts: Accounts,
    pub(super) defaults: Timing<'a>,
    pub(super) files: &'a Files,
    pub(super) environment: &'a Environment,
}

/// The source, or `None` if something that it cannot do without is wrong or missing.
pub(super) fn read(section: &Section<'_>, context: &Context<'_>) -> Option<SourceConfig> {
    section.allow_or(KEYS, timing::misplaced);
    section.refuse("role_arn", "belongs to an entry of `credentials`");
    let timing = Timing::read(section);
    let flag = |key| section.get(key).and_then(|field| field.flag());
    let allow_plain_http = flag("allow_plain_http").unwrap_or(false);
    let per_task_metrics = flag("per_task_metrics").unwrap_or(true);
    let proxy_url = section.get("proxy_url").and_then(|field| field.parse(shape::proxy));
    let ca_file = section.get("ca_file").and_then(|field| field.parse(shape::path));
    let ca_file = ca_file.map(|path| context.files.path(path));

    let name = section.required("name").and_then(|field| field.parse(shape::name));
    let region = section.required("region");
    let api = section.required("api").and_then(|field| field.parse(api));
    let takes_all = api.is_some_and(|api| api.facts.endpoints.all_regions.is_some());
    let region = region.and_then(|field| {
        field.parse(|text| match text {
            ALL_REGIONS if takes_all => Ok(text),
            _ => shape::region(text),
        })
    });
    let least = api.and_then(|api| api.client.least_interval());
    let (poll, retention, limits) = timing.over(&context.defaults, least);
    // The rest depends on the API.
    let api = api?;
    let endpoint = endpoint(section, api, region, allow_plain_http);
    let resources = resources(section);
    let tags = tags(section, api);
    let tasks_file = section
        .get("tasks_file")
        .and_then(|field| field.parse(shape::path))
        .map(|path| context.files.path(path));
    let (tasks, tasks_in_file) = tasks(section, api, tasks_file.as_deref(), context.files);
    let project_id = project_id(section, api, context.environment);
    let format = format(section, api);
    let utc_offset = utc_offset(section, api);
    let vpc = section.get("endpoint").and_then(|field| field.text()) == Some("vpc");
    let place = Place { region, vpc };
    let holder = match section.get("credentials") {
        Some(field) => context.accounts.named(&field, api.facts.cloud, place),
        None => context.accounts.chain(section, api.facts.cloud, place),
    };

    let (name, region) = (name?.to_owned(), region?.to_owned());
    let account = section.get("credentials").and_then(|field| field.text()).unwrap_or(DEFAULT);
    let Holder { credentials, daily_budget } = holder?;
    Some(SourceConfig {
        name,
        api,
        target: Target { endpoint: endpoint?, region, project_id, utc_offset, format },
        credentials,
        account: account.to_owned(),
        daily_budget,
        resources,
        tags,
        tasks,
        tasks_file,
        tasks_in_file,
        poll,
        retention,
        limits,
        per_task_metrics,
        proxy_url: proxy_url.map(SecretString::from),
        ca_content: ca_file.as_ref().map(|path| context.files.authorities(path)),
        ca_file,
    })
}

/// Where the source asks: a base URL, or a word for one of the vendor's.
fn endpoint(
    section: &Section<'_>,
    api: &TaskApi,
    region: Option<&str>,
    allow_plain_http: bool,
) -> Option<String> {
    let Some(field) = section.get("endpoint") else { return Some(api.endpoint(region?)) };
    field.parse(|text| match (text, region) {
        ("vpc" | "intl", Some(region)) => {
            api.facts.endpoints.named(text, region).ok_or_else(|| {
                format!("{} has no {text} endpoint for {region}; give a base URL", api.facts.name)
            })
        }
        _ => shape::endpoint(text, allow_plain_http),
    })
}

fn api(text: &str) -> Result<&'static TaskApi, String> {
    catalog::named(text).ok_or_else(|| {
        let names: Vec<_> = APIS.iter().map(|api| api.facts.name).collect();
        if let Some(meant) = shape::nearest(text, &names) {
            return format!("unknown API {text:?}; did you mean {meant:?}?");
        }
        let of_product: Vec<_> = catalog::of_product(text).map(|api| api.facts.name).collect();
        if of_product.is_empty() {
            format!("unknown API {text:?}; docs/apis.md lists all")
        } else {
            format!("unknown API {text:?}; did you mean one of {}?", of_product.join(", "))
        }
    })
}

/// The value of a key that only one cloud knows.
fn only_for<'a>(
    section: &Section<'a>,
    key: &str,
    cloud: Cloud,
    api: &TaskApi,
) -> Option<Field<'a>> {
    let field = section.get(key)?;
    if api.facts.cloud != cloud {
        section.refuse(
            key,
            &format!("is for {cloud} only; {} is an API of {}", api.facts.name, api.facts.cloud),
        );
        return None;
    }
    Some(field)
}

fn project_id(section: &Section<'_>, api: &TaskApi, environment: &Environment) -> String {
    let given = only_for(section, "project_id", Cloud::Huawei, api);
    let by_default = || {
        // The variable belongs to the keys of the default chain.
        let applies = api.facts.cloud == Cloud::Huawei && section.get("credentials").is_none();
        let project = environment.get("HUAWEICLOUD_SDK_PROJECT_ID").filter(|_| applies)?;
        shape::project(project)
            .map_err(|message| section.wrong(format!("HUAWEICLOUD_SDK_PROJECT_ID: {message}")))
            .ok()
    };
    match given {
        Some(field) => field.parse(shape::project),
        None => by_default(),
    }
    .unwrap_or_default()
    .to_owned()
}

fn format(section: &Section<'_>, api: &TaskApi) -> Format {
    only_for(section, "format", Cloud::Alibaba, api)
        .and_then(|field| {
            field.parse(|text| match text {
                "json" => Ok(Format::Json),
                "xml" => Ok(Format::Xml),
                _ => Err("must be json or xml".to_owned()),
            })
        })
        .unwrap_or_default()
}

fn utc_offset(section: &Section<'_>, api: &TaskApi) -> Offset {
    only_for(section, "utc_offset", Cloud::Tencent, api)
        .and_then(|field| field.parse(shape::utc_offset))
        .unwrap_or(Offset::constant(8))
}

fn resources(section: &Section<'_>) -> Vec<Arc<Resource>> {
    let mut seen = HashSet::new();
    let mut resources = Vec::new();
    for field in section.get("resources").iter().flat_map(Field::items) {
        let Some(id) = field.parse(given::id) else { continue };
        if seen.insert(id) {
            resources.push(Arc::new(Resource::new(id)));
        } else {
            field.wrong(format!("{id:?} is in the list twice"));
        }
    }
    resources
}

fn tags(section: &Section<'_>, api: &TaskApi) -> Vec<(String, String)> {
    let Some(field) = section.get("tags") else { return Vec::new() };
    if !goes_by_tags(api) {
        field.wrong(format!("{} cannot go by tags", api.facts.name));
    } else if section.get("resources").is_some() {
        field.wrong("has no effect besides `resources`; keep one of them");
    }
    let tag = |(key, value): (&str, Field<'_>)| {
        let value = value.parse(|text| match text.len() {
            1..=256 => Ok(text.to_owned()),
            _ => Err("must be at most 256 bytes long".to_owned()),
        });
        if key.is_empty() || key.len() > 128 {
            field.wrong("the key of a tag must be 1 to 128 bytes long");
        }
        Some((key.to_owned(), value?))
    };
    field.section().fields().into_iter().filter_map(tag).collect()
}

/// Whether tags change anything about what `api` is asked.
fn goes_by_tags(api: &TaskApi) -> bool {
    let queries = |tags: &[(String, String)]| {
        let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
        let scope = Scope { now, since: now, resources: &[], tags };
        let mut queries = api.list(&scope);
        queries.extend(api.discover(&scope));
        queries
    };
    queries(&[("key".to_owned(), "value".to_owned())]) != queries(&[])
}

/// Tasks to ask for by their id. Within a source the id alone tells tasks apart, in metrics as in
/// everything that is remembered.
pub(super) struct Tasks {
    api: &'static TaskApi,
    list: Vec<TaskRef>,
    seen: HashSet<Arc<str>>,
}

impl Tasks {
    /// A list that begins with `list`.
    pub(super) fn listed(api: &'static TaskApi, list: Vec<TaskRef>) -> Self {
        let seen = list.iter().map(|task| Arc::clone(&task.id)).collect();
        Self { api, list, seen }
    }

    pub(super) fn into_list(self) -> Vec<TaskRef> {
        self.list
    }

    /// Adds what a tasks file lists; `report` is that file's.
    pub(super) fn read_file(&mut self, text: &str, report: &Report) {
        match yaml::parse(text) {
            Ok(root) => self.read(&Field::root(report, &root)),
            Err((place, reason)) => report.add(place, "", reason),
        }
    }

    /// Adds a list of `{id, resource}`.
    fn read(&mut self, list: &Field<'_>) {
        for entry in list.items() {
            let section = entry.section();
            section.allow(&["id", "resource"]);
            let resource = section.get("resource").map(|field| field.parse(given::id));
            let id = section.required("id").and_then(|field| field.parse(given::id));
            let (Some(id), None | Some(Some(_))) = (id, resource) else { continue };
            let task = TaskRef {
                id: id.into(),
                resource: resource.flatten().map(|id| Arc::new(Resource::new(id))),
                started: None,
            };
            if let Err(problem) = self.api.facts.can_ask_for(&task) {
                entry.wrong(problem);
            } else if self.seen.insert(Arc::clone(&task.id)) {
                self.list.push(task);
            } else {
                entry.wrong(format!("the task {id:?} is listed twice"));
            }
        }
    }
}

/// What `tasks` lists, and after it what `tasks_file` does.
fn tasks(
    section: &Section<'_>,
    api: &'static TaskApi,
    file: Option<&Path>,
    files: &Files,
) -> (Vec<TaskRef>, Vec<TaskRef>) {
    let mut tasks = Tasks::listed(api, Vec::new());
    if let Some(list) = section.get("tasks") {
        tasks.read(&list);
    }
    let inline = tasks.list.len();
    if let (Some(path), Some(field)) = (file, section.get("tasks_file")) {
        match text(files.bytes(path.to_owned())) {
            Err(message) => field.wrong(format!("{}: {message}", path.display())),
            Ok(text) => {
                let report = Report::new(path.display().to_string());
                tasks.read_file(&text, &report);
                field.report().absorb(report);
            }
        }
    }
    let in_file = tasks.list.split_off(inline);
    (tasks.list, in_file)
}
