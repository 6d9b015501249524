//! What a simulated cloud holds and goes through, written down as YAML.
//!
//! A [`Scenario`] is data: sources with their resources, tasks with scripted lives, rules by which
//! new tasks keep coming, and faults with their times. What is true at some instant is computed
//! from it, in `life` and `fault`; nothing here changes with time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use dbtask_clouds::api::TaskApi;
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::model::{Task, TaskState};
use serde::Deserialize;

use super::fault::Fault;
use super::span::{Offset, Span};

/// How long the vendors remember a task that has ended.
pub(super) const MEMORY: Span = Span(Duration::from_hours(30 * 24));

/// A simulated world: everything that can be written in a scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Decides everything that is left to chance; left out: another one at each start.
    pub seed: Option<u64>,
    /// Accounts whose keys matter; any other name a source gives gets a key pair derived from it.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// What can be polled.
    pub sources: Vec<SourceScript>,
}

/// An account with given keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The name that sources use.
    pub name: String,
    /// Left out: derived from the name.
    pub access_key_id: Option<String>,
    /// Left out: derived from the name.
    pub secret_access_key: Option<String>,
    /// The keys are temporary, and this token must come with them.
    pub security_token: Option<String>,
    /// Huawei only: an `X-Auth-Token` that is good besides the keys, and that the configuration
    /// uses in their place.
    pub auth_token: Option<String>,
    /// How long the sessions live that its roles, machines and users get. Default 1 h.
    pub session: Option<Span>,
    /// Alibaba and Tencent: a role that the configuration assumes with the account's keys, so that
    /// it polls with sessions.
    pub role: Option<String>,
    /// How many calls a day the configuration allows itself; left out: as many as it takes.
    pub daily_budget: Option<u64>,
}

/// One API in one region of one account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceScript {
    /// The name in the configuration; also in the request log and in the list of failures.
    pub name: String,
    /// The configuration's word for the API: `tencent_cdb`.
    pub api: String,
    /// The vendor's region code.
    pub region: String,
    /// Whose it is; left out: an account of its own, named as the source.
    pub account: Option<String>,
    /// Huawei only; left out: derived from account and region.
    pub project_id: Option<String>,
    /// Alibaba only: `xml` makes the configuration ask for XML.
    #[serde(default)]
    pub format: Format,
    /// Clusters or instances.
    pub resources: Vec<ResourceScript>,
    /// Tasks that are told one by one.
    #[serde(default)]
    pub tasks: Vec<TaskScript>,
    /// Tasks that keep coming.
    #[serde(default)]
    pub spawn: Vec<Spawn>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Calls a second that the vendor takes, by operation; left out: what the vendor publishes.
    #[serde(default)]
    pub rate_limits: BTreeMap<String, u32>,
    /// Calls a minute that the vendor takes of each operation; left out: as many as its rate allows.
    pub calls_a_minute: Option<u32>,
}

/// A cluster or instance, or many of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceScript {
    /// The vendor's id.
    pub id: String,
    /// What a person called it.
    pub name: Option<String>,
    /// This many of them instead of one: `0001`, `0002` and so on is added to id and name.
    pub count: Option<u32>,
    /// When it is created, relative to the start of the simulation; left out: long before.
    pub from: Option<Offset>,
    /// When it is deleted; left out: never.
    pub until: Option<Offset>,
}

/// One task and its life.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskScript {
    /// The vendor's id. An AnalyticDB task whose id is no number is the job of its cluster.
    pub id: String,
    /// The id of the resource it works on.
    pub resource: String,
    /// The vendor's word for the sort of operation; empty where the vendor has none.
    #[serde(default)]
    pub kind: String,
    /// When it is born, relative to the start of the simulation: `20s`, or `-2h` for a task that
    /// exists already.
    #[serde(default)]
    pub at: Offset,
    /// What it goes through, in order; the last phase lasts for ever.
    pub life: Vec<Phase>,
    /// The steps that the vendor reports, where it reports steps.
    #[serde(default)]
    pub steps: Vec<StepScript>,
    /// The configuration names it, as it must where no list does.
    #[serde(default)]
    pub configured: bool,
    /// How long the cloud remembers it after its end. Default 30 days, as the vendors' lists do.
    #[serde(default = "thirty_days")]
    pub keep: Span,
}

/// A rule by which new tasks keep coming.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    /// The time between two births.
    pub every: Span,
    /// The first birth, relative to the start of the simulation; may lie before it.
    #[serde(default)]
    pub from: Offset,
    /// No birth from here on.
    pub until: Option<Offset>,
    /// How long the cloud remembers a task of the rule that has ended. Default 30 days, as the
    /// vendors do; less keeps the lists of a long simulation short.
    #[serde(default = "thirty_days")]
    pub keep: Span,
    /// Put before the ids, which are numbers otherwise; AnalyticDB's jobs of clusters need one.
    #[serde(default)]
    pub prefix: String,
    /// The vendor's words, one of which is drawn; left out where the vendor has none.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Ids of the resources, one of which is drawn; left out: any.
    #[serde(default)]
    pub resources: Vec<String>,
    /// How much the times of a life vary, as a share: 0.3 makes them 30 % shorter to 30 % longer.
    #[serde(default)]
    pub vary: f64,
    /// The lives, one of which is drawn.
    pub outcomes: Vec<Outcome>,
}

/// One of the lives that a spawned task may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// How likely it is, compared with the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// As in [`TaskScript::life`].
    pub life: Vec<Phase>,
    /// As in [`TaskScript::steps`].
    #[serde(default)]
    pub steps: Vec<StepScript>,
}

/// A step of a task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepScript {
    /// The vendor's name of the step.
    pub name: String,
    /// How much of the work it is, compared with the others.
    #[serde(default = "one")]
    pub share: u32,
}

/// What a task does for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Accepted, not yet started.
    Wait(Stay),
    /// Making progress.
    Run(Run),
    /// Running, without progress.
    Hang(Stay),
    /// Held.
    Pause(Stay),
    /// In a state whose word the exporter does not know; `word` is required.
    Say(Stay),
    /// Ended well.
    Finish(End),
    /// Ended badly.
    Fail(End),
    /// Ended by a person.
    Cancel(End),
    /// Not there any more, or not there yet.
    Vanish(Gone),
}

/// A phase in which nothing changes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stay {
    /// How long.
    pub r#for: Option<Span>,
    /// The vendor's word, where the usual one is not meant.
    pub word: Option<String>,
}

/// A phase with progress.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// How long.
    pub r#for: Option<Span>,
    /// The vendor's word, where the usual one is not meant.
    pub word: Option<String>,
    /// The progress at its end, 0 to 1; less than before is allowed, vendors do that.
    #[serde(default = "all")]
    pub to: f64,
    /// How the progress is spread over the time.
    #[serde(default)]
    pub curve: Curve,
}

/// A final phase.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct End {
    /// How long, if it is not the last: what follows is a new run of the same task.
    pub r#for: Option<Span>,
    /// The vendor's word, where the usual one is not meant.
    pub word: Option<String>,
    /// The vendor's error code; failed tasks only.
    pub code: String,
    /// The vendor's error text; failed tasks only.
    pub message: String,
    /// The vendor fills in the end time only this much later.
    pub end_known_after: Option<Span>,
}

/// A phase without the task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gone {
    /// How long.
    pub r#for: Option<Span>,
}

/// How progress is spread over the time of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// In bursts with long lulls, as real tasks do.
    #[default]
    Uneven,
    /// Straight.
    Even,
    /// Hardly anything at first.
    SlowStart,
    /// Ever slower.
    SlowEnd,
    /// In four jumps.
    Stairs,
}

impl Phase {
    /// How long it lasts; `None` for ever.
    pub(super) fn lasts(&self) -> Option<Span> {
        match self {
            Self::Wait(stay) | Self::Hang(stay) | Self::Pause(stay) | Self::Say(stay) => stay.r#for,
            Self::Run(run) => run.r#for,
            Self::Finish(end) | Self::Fail(end) | Self::Cancel(end) => end.r#for,
            Self::Vanish(gone) => gone.r#for,
        }
    }

    /// The state it shows; `None` where the task is not to be seen.
    pub(super) fn state(&self) -> Option<TaskState> {
        match self {
            Self::Wait(_) => Some(TaskState::Pending),
            Self::Run(_) | Self::Hang(_) => Some(TaskState::Running),
            Self::Pause(_) => Some(TaskState::Paused),
            Self::Say(_) => Some(TaskState::Unknown),
            Self::Finish(_) => Some(TaskState::Succeeded),
            Self::Fail(_) => Some(TaskState::Failed),
            Self::Cancel(_) => Some(TaskState::Canceled),
            Self::Vanish(_) => None,
        }
    }

    /// How long after the end the vendor fills in its time.
    pub(super) fn end_known_after(&self) -> Span {
        match self {
            Self::Finish(end) | Self::Fail(end) | Self::Cancel(end) => end.end_known_after,
            Self::Wait(_)
            | Self::Run(_)
            | Self::Hang(_)
            | Self::Pause(_)
            | Self::Say(_)
            | Self::Vanish(_) => None,
        }
        .unwrap_or_default()
    }

    /// The vendor's word: the script's own, else the first that `api` documents for the state.
    pub(super) fn word<'a>(&'a self, api: &'static TaskApi) -> Option<&'a str> {
        let own = match self {
            Self::Wait(stay) | Self::Hang(stay) | Self::Pause(stay) | Self::Say(stay) => &stay.word,
            Self::Run(run) => &run.word,
            Self::Finish(end) | Self::Fail(end) | Self::Cancel(end) => &end.word,
            Self::Vanish(_) => &None,
        };
        let usual = || {
            let state = self.state()?;
            let known = api.facts.statuses.iter().find(|&&(_, known)| known == state);
            known.map(|&(word, _)| word)
        };
        own.as_deref().or_else(usual)
    }
}

impl Scenario {
    /// The scenario that is built in: all APIs, all states, failures within the first minute and
    /// from then on for as long as it runs.
    pub fn demo() -> anyhow::Result<Self> {
        Self::parse(include_str!("demo.yml"))
    }

    /// Reads a scenario file. The error says where it is wrong and what was meant.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = serde_saphyr::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.sources.is_empty(), "a scenario needs at least one source");
        unique(self.sources.iter().map(|source| source.name.as_str()), "source")?;
        unique(self.accounts.iter().map(|account| account.name.as_str()), "account")?;
        for source in &self.sources {
            source.check().with_context(|| format!("source {:?}", source.name))?;
        }
        for (index, one) in self.sources.iter().enumerate() {
            for other in self.sources.iter().skip(index + 1) {
                ensure!(
                    !one.shares_a_path_with(other)?,
                    "{:?} and {:?} are asked by the same path of one address, so each needs an account or a \
                     region of its own",
                    one.name,
                    other.name
                );
            }
        }
        Ok(())
    }
}

impl SourceScript {
    /// The API it names.
    pub(super) fn find_api(&self) -> anyhow::Result<&'static TaskApi> {
        catalog::named(&self.api)
            .with_context(|| format!("there is no api {:?}; docs/apis.md lists all", self.api))
    }

    /// Whether nothing in some request tells which of the two is asked: services of one project that have
    /// hosts of their own in the real cloud.
    fn shares_a_path_with(&self, other: &Self) -> anyhow::Result<bool> {
        let is_one_project = self.account() == other.account() && self.region == other.region;
        let (one, two) = (&self.find_api()?.facts, &other.find_api()?.facts);
        let (projects, others) = (one.project.map(|it| it.operation), two.operations);
        let own = one.operations.iter().filter(|&&it| Some(it) != projects);
        let mut routes = own.filter_map(|operation| operation.call.route());
        let is_shared =
            routes.any(|route| others.iter().any(|it| it.call.route().as_ref() == Some(&route)));
        Ok(is_one_project && one.cloud == two.cloud && one.name != two.name && is_shared)
    }

    /// The account it belongs to.
    pub(super) fn account(&self) -> &str {
        self.account.as_deref().unwrap_or(&self.name)
    }

    fn check(&self) -> anyhow::Result<()> {
        let api = self.find_api()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        ensure!(
            (1..=64).contains(&self.name.len()) && self.name.chars().all(plain),
            "a name is 1 to 64 of the characters a-z A-Z 0-9 _ . -"
        );
        ensure!(!self.region.is_empty(), "region is empty");
        ensure!(
            self.project_id.is_none() || api.facts.cloud == Cloud::Huawei,
            "only Huawei has a project_id"
        );
        ensure!(
            self.format == Format::Json || api.facts.cloud == Cloud::Alibaba,
            "only Alibaba answers in XML"
        );
        unique(self.resources.iter().map(|resource| resource.id.as_str()), "resource")?;
        for resource in &self.resources {
            ensure!(
                resource.from.zip(resource.until).is_none_or(|(from, until)| from < until),
                "resource {:?}: `until` is not later than `from`",
                resource.id
            );
        }
        unique(self.tasks.iter().map(|task| task.id.as_str()), "task")?;
        for task in &self.tasks {
            self.check_task(api, task).with_context(|| format!("task {:?}", task.id))?;
        }
        for (index, spawn) in self.spawn.iter().enumerate() {
            self.check_spawn(api, spawn).with_context(|| format!("spawn rule {}", index + 1))?;
        }
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check(api.facts.cloud).with_context(|| format!("fault {}", index + 1))?;
        }
        let limits = self.rate_limits.values().chain(&self.calls_a_minute);
        ensure!(limits.into_iter().all(|&limit| limit > 0), "a rate limit of 0 is none");
        Ok(())
    }

    fn check_task(&self, api: &'static TaskApi, task: &TaskScript) -> anyhow::Result<()> {
        ensure!(
            !task.id.is_empty() && task.id.len() <= Task::MAX_ID_BYTES,
            "an id has 1 to {} bytes",
            Task::MAX_ID_BYTES
        );
        if let Some(rule) = api.facts.ids.filter(|_| api.facts.cloud == Cloud::Tencent) {
            let (name, looks_like) = (api.facts.name, rule.looks_like);
            // Nothing here minds a number that begins with 0.
            let is_number = task.id.bytes().all(|byte| byte.is_ascii_digit());
            ensure!(
                (rule.fits)(&task.id) || (is_number && (rule.fits)("7")),
                "no task id of {name}. One is {looks_like}"
            );
        }
        self.check_resource(&task.resource)?;
        check_life(api, &task.life)?;
        check_steps(&task.steps)
    }

    fn check_spawn(&self, api: &'static TaskApi, spawn: &Spawn) -> anyhow::Result<()> {
        ensure!(spawn.every.seconds() >= 1, "every: at least 1s");
        ensure!((0.0..1.0).contains(&spawn.vary), "vary: a share from 0 to below 1");
        ensure!(!self.resources.is_empty(), "there is no resource for its tasks");
        for resource in &spawn.resources {
            self.check_resource(resource)?;
        }
        ensure!(spawn.outcomes.iter().any(|outcome| outcome.weight > 0), "no outcome has a weight");
        for outcome in &spawn.outcomes {
            check_life(api, &outcome.life)?;
            check_steps(&outcome.steps)?;
        }
        Ok(())
    }

    fn check_resource(&self, id: &str) -> anyhow::Result<()> {
        let there = self.resources.iter().flat_map(ResourceScript::all).any(|(it, _)| it == id);
        ensure!(there, "there is no resource {id:?}");
        Ok(())
    }
}

impl ResourceScript {
    /// Whether it exists `elapsed` seconds after the start.
    pub(super) fn exists(&self, elapsed: i64) -> bool {
        self.from.is_none_or(|from| from.0 <= elapsed)
            && self.until.is_none_or(|until| elapsed < until.0)
    }

    /// The ids and names it stands for.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Option<String>)> + '_ {
        let number = move |n: u32, text: &str| match self.count {
            Some(_) => format!("{text}{n:04}"),
            None => text.to_owned(),
        };
        (1..=self.count.unwrap_or(1))
            .map(move |n| (number(n, &self.id), self.name.as_deref().map(|name| number(n, name))))
    }
}

fn check_steps(steps: &[StepScript]) -> anyhow::Result<()> {
    ensure!(steps.iter().all(|step| step.share > 0), "a step has a share of at least 1");
    Ok(())
}

fn check_life(api: &'static TaskApi, life: &[Phase]) -> anyhow::Result<()> {
    let Some((last, before)) = life.split_last() else { bail!("the life has no phase") };
    for phase in before {
        ensure!(
            phase.lasts().is_some_and(|span| span.seconds() >= 1),
            "every phase but the last needs `for`, at least 1s: {phase:?}"
        );
    }
    ensure!(last.lasts().is_none(), "the last phase lasts for ever; leave its `for` out: {last:?}");
    for phase in life {
        if let Phase::Run(run) = phase {
            ensure!((0.0..=1.0).contains(&run.to), "to: a ratio from 0 to 1, not {}", run.to);
            ensure!(run.r#for.is_some(), "a run needs `for`; `hang` is what never ends");
        }
        let Some(state) = phase.state() else { continue };
        let Some(word) = phase.word(api) else {
            bail!("{} has no word for {}; give one as `word`", api.facts.name, state.as_str());
        };
        ensure!(
            api.facts.state(word) == state,
            "{word:?} does not mean {} to {}",
            state.as_str(),
            api.facts.name
        );
    }
    Ok(())
}

fn unique<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(!name.is_empty(), "a {what} has no name");
        ensure!(seen.insert(name), "there are two of the {what} {name:?}");
    }
    Ok(())
}

fn thirty_days() -> Span {
    MEMORY
}

fn one() -> u32 {
    1
}

fn all() -> f64 {
    1.0
}
