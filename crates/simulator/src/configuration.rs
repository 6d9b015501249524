//! The configuration that an exporter needs to watch the simulated clouds.

use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::SimulatedCloud;
use super::account::Holder;
use super::region::Region;

const HEAD: &str = "\
# Configuration of dbtask-exporter for simulated clouds. All keys in it are made up.
# Everything but `endpoint` reads as it would for the real clouds.
";

/// One document in the product's format.
#[derive(Serialize)]
struct Document<'a> {
    poll: Poll,
    credentials: Vec<Credentials<'a>>,
    sources: Vec<Entry<'a>>,
}

/// Much shorter than one would poll a real cloud.
#[derive(Serialize)]
struct Poll {
    interval: &'static str,
    idle_interval: &'static str,
}

/// The same three values, in each vendor's words.
#[derive(Default, Serialize)]
struct Credentials<'a> {
    name: String,
    cloud: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sts_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daily_budget: Option<u64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    api: &'static str,
    region: &'a str,
    credentials: String,
    endpoint: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    project_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<TaskId<'a>>,
}

#[derive(Serialize)]
struct TaskId<'a> {
    resource: &'a str,
    id: &'a str,
}

impl SimulatedCloud {
    /// A complete configuration for these clouds at `endpoint`, a base URL: one YAML document. It
    /// has an explicit end, so that a reader of a pipe that stays open knows that it is whole.
    pub fn configuration(&self, endpoint: &str) -> String {
        let document = Document {
            poll: Poll { interval: "2s", idle_interval: "5s" },
            credentials: self
                .accounts
                .iter()
                .map(|holder| holder.configuration(endpoint))
                .collect(),
            sources: self
                .regions
                .iter()
                .filter_map(|region| Some((region, self.accounts.get(region.account)?)))
                .map(|(region, holder)| region.configuration(holder, endpoint))
                .collect(),
        };
        // Strings and lists of strings: there is nothing in it that YAML could not hold.
        let body = serde_saphyr::to_string(&document).unwrap_or_default();
        format!("{HEAD}{body}...\n")
    }
}

impl Holder {
    /// The name in the configuration. An account may have keys in several clouds.
    fn name(&self) -> String {
        format!("{}-{}", self.cloud, self.account)
    }

    fn configuration<'a>(&'a self, endpoint: &'a str) -> Credentials<'a> {
        let (id, secret) = (
            Some(self.keys.access_key_id.as_str()),
            Some(self.keys.secret_access_key.expose_secret()),
        );
        let token = self.keys.security_token.as_ref().map(ExposeSecret::expose_secret);
        let head = Credentials {
            name: self.name(),
            cloud: self.cloud.as_str(),
            role_arn: self.role.as_deref(),
            sts_endpoint: self.role.as_ref().map(|_| endpoint),
            daily_budget: self.daily_budget,
            ..Default::default()
        };
        if let Some(token) = &self.auth_token {
            return Credentials { auth_token: Some(token.expose_secret()), ..head };
        }
        match self.cloud {
            Cloud::Alibaba => Credentials {
                access_key_id: id,
                access_key_secret: secret,
                security_token: token,
                ..head
            },
            Cloud::Huawei => {
                Credentials { access_key: id, secret_key: secret, security_token: token, ..head }
            }
            Cloud::Tencent => Credentials { secret_id: id, secret_key: secret, token, ..head },
        }
    }
}

impl Region {
    fn configuration<'a>(&'a self, holder: &Holder, endpoint: &'a str) -> Entry<'a> {
        let script = self.lives.script();
        let tasks = script.tasks.iter().filter(|task| task.configured);
        Entry {
            name: &script.name,
            api: self.api.facts.name,
            region: &self.target.region,
            credentials: holder.name(),
            endpoint,
            project_id: &self.target.project_id,
            format: Some(self.target.format).filter(|format| *format != Format::Json),
            tasks: tasks.map(|task| TaskId { resource: &task.resource, id: &task.id }).collect(),
        }
    }
}
