//! A task and a source as the page shows them. All text from elsewhere is cut and made harmless
//! here; the template escapes it.

use dbtask_clouds::model::{Ratio, Step, TaskState, Timestamp};

use super::Address;
use super::listing::Entry;
use super::wording::{When, grouped, percent, shown, span};
use crate::server::filter::{Filter, encoded};
use crate::snapshot::Snapshot;

/// The longest name that is shown, in characters.
const MAX_NAME: usize = 120;
/// The longest failure text that is shown, in characters; the JSON has all of it.
const MAX_MESSAGE: usize = 1000;
/// The most missing resources, and the most failing ones, that are named.
const MAX_MISSING: usize = 10;

/// How far something is.
pub(super) struct Progress {
    /// 0 to 1.
    pub(super) ratio: f32,
    /// A whole number.
    pub(super) percent: String,
}

impl From<Ratio> for Progress {
    fn from(ratio: Ratio) -> Self {
        Self { ratio: ratio.get(), percent: percent(ratio) }
    }
}

/// Time left.
pub(super) struct Left {
    pub(super) span: String,
    /// Whether the vendor said so; else it is ours, from the pace so far.
    pub(super) is_reported: bool,
}

/// When a task ends, or has; of planned work, when it begins.
pub(super) struct End {
    /// What kind of end.
    pub(super) label: &'static str,
    pub(super) when: When,
}

/// Why a task failed, in the vendor's words.
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    /// Whether the JSON has more of it.
    pub(super) is_cut: bool,
}

/// One step of a task.
pub(super) struct StepRow {
    pub(super) name: String,
    pub(super) state: Option<&'static str>,
    pub(super) progress: Option<Progress>,
    pub(super) left: Option<String>,
}

/// One task.
pub(super) struct TaskRow {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) json: String,
    pub(super) kind: String,
    pub(super) resource_id: String,
    pub(super) resource_name: String,
    pub(super) source: String,
    pub(super) source_href: String,
    pub(super) state: &'static str,
    pub(super) vendor_status: String,
    pub(super) progress: Option<Progress>,
    /// Which step it is at: `step 2 of 4: Copy data`.
    pub(super) at_step: Option<String>,
    pub(super) left: Option<Left>,
    pub(super) end: Option<End>,
    pub(super) failure: Option<Failure>,
    pub(super) origin: &'static str,
    pub(super) is_hidden: bool,
    /// Further times, those that are known.
    pub(super) times: Vec<(&'static str, When)>,
    pub(super) steps: Vec<StepRow>,
}

impl TaskRow {
    pub(super) fn new(entry: Entry<'_>, address: &Address, now: Timestamp) -> Self {
        let (source, tracked) = (&entry.snapshot.source, entry.tracked);
        let task = &tracked.task;
        let when = |at| When { at, now };
        let times = [
            ("Created", task.created),
            ("Planned", task.scheduled),
            ("Started", task.started),
            ("Last change", Some(tracked.progress_changed)),
            ("Last seen", Some(tracked.last_seen)),
        ];
        let only = Filter::of(&source.name);
        Self {
            id: shown(&task.id, MAX_NAME),
            href: address.to(only.clone().with_text(&task.id)).href(),
            json: format!("api/v1/tasks/{}/{}", encoded(&source.name), encoded(&task.id)),
            kind: shown(&task.kind, MAX_NAME),
            resource_id: shown(&task.resource.id, MAX_NAME),
            resource_name: shown(task.resource.name.as_deref().unwrap_or_default(), MAX_NAME),
            source: source.name.clone(),
            source_href: address.to(only).href(),
            state: task.state.as_str(),
            vendor_status: shown(&task.vendor_status, MAX_NAME),
            progress: task.progress.map(Progress::from),
            at_step: at_step(entry),
            left: left(entry, now),
            end: end(entry, now),
            failure: task.error.as_deref().map(|error| Failure {
                code: shown(&error.code, MAX_NAME),
                message: shown(&error.message, MAX_MESSAGE),
                is_cut: error.message.chars().nth(MAX_MESSAGE).is_some(),
            }),
            origin: task.origin.as_str(),
            is_hidden: entry.is_hidden,
            times: times.into_iter().filter_map(|(name, at)| Some((name, when(at?)))).collect(),
            steps: task.steps.iter().map(step_row).collect(),
        }
    }
}

fn step_row(step: &Step) -> StepRow {
    StepRow {
        name: shown(&step.name, MAX_NAME),
        state: step.state.map(TaskState::as_str),
        progress: step.progress.map(Progress::from),
        left: step.remaining.map(span),
    }
}

/// The first step that has not ended, of a task that has not either.
fn at_step(entry: Entry<'_>) -> Option<String> {
    let task = &entry.tracked.task;
    let is_open = |step: &Step| match (step.state, step.progress) {
        (Some(state), _) => !state.is_final(),
        (None, progress) => progress.is_none_or(|ratio| ratio.get() < 1.0),
    };
    let at = task.steps.iter().position(is_open).filter(|_| !task.state.is_final())?;
    let name = shown(&task.steps.get(at)?.name, MAX_NAME);
    Some(format!("step {} of {}: {name}", at + 1, task.steps.len()))
}

/// What the vendor says is left, else what the estimated end leaves.
fn left(entry: Entry<'_>, now: Timestamp) -> Option<Left> {
    let tracked = entry.tracked;
    if let Some(remaining) = tracked.task.remaining {
        return Some(Left { span: span(remaining), is_reported: true });
    }
    let end = tracked.estimated_end.filter(|&end| end > now)?;
    Some(Left { span: span(end.since(now)), is_reported: false })
}

fn end(entry: Entry<'_>, now: Timestamp) -> Option<End> {
    let tracked = entry.tracked;
    let (label, at) = match (tracked.task.state.is_final(), tracked.task.ended) {
        (true, Some(ended)) => ("ended", ended),
        // Some vendors say that, but not when.
        (true, None) => ("seen ended", tracked.settled?),
        (false, _) => match (tracked.task.scheduled, tracked.estimated_end) {
            (Some(begin), _) if begin < now => ("due", begin),
            (Some(begin), _) => ("starts", begin),
            (None, Some(end)) if end < now => ("overdue", end),
            (None, end) => ("expected", end?),
        },
    };
    Some(End { label, when: When { at, now } })
}

/// One source.
pub(super) struct SourceRow {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) api: &'static str,
    pub(super) region: String,
    pub(super) account: String,
    /// `up`, `down` or `waiting`.
    pub(super) state: &'static str,
    pub(super) last_success: Option<When>,
    pub(super) next_poll: Option<When>,
    pub(super) interval: String,
    pub(super) calls: String,
    /// What is left of the daily budget, and how much that was.
    pub(super) budget: Option<(String, String)>,
    pub(super) tasks: String,
    /// How many have failed, and the way to them.
    pub(super) failed: Option<(String, String)>,
    /// What went wrong, in our words and in those of the error.
    pub(super) trouble: Option<(&'static str, String)>,
    /// Configured resources that do not exist.
    pub(super) missing: Option<String>,
    /// Clusters, instances and task ids that cannot be asked, and why.
    pub(super) failing: Vec<(String, String)>,
    /// How many more there are of them.
    pub(super) more_failing: usize,
    /// Why clusters cannot be looked for.
    pub(super) failing_discovery: Option<String>,
    pub(super) credentials_expiry: Option<When>,
}

/// How a source is.
pub(super) fn source_state(snapshot: &Snapshot) -> &'static str {
    match (snapshot.tried, snapshot.up) {
        (false, _) => "waiting",
        (true, true) => "up",
        (true, false) => "down",
    }
}

impl SourceRow {
    pub(super) fn new(snapshot: &Snapshot, address: &Address, now: Timestamp) -> Self {
        let source = &snapshot.source;
        let when = |at| When { at, now };
        let only = Filter::of(&source.name);
        let failed_only = only.clone().with_states(vec![TaskState::Failed]);
        let states = TaskState::ALL.into_iter().zip(snapshot.states);
        let failed =
            states.clone().find(|(state, count)| *state == TaskState::Failed && *count > 0);
        let missing: Vec<String> = snapshot
            .missing_resources
            .iter()
            .take(MAX_MISSING)
            .map(|id| shown(id, MAX_NAME))
            .chain((snapshot.missing_resources.len() > MAX_MISSING).then(|| "…".to_owned()))
            .collect();
        Self {
            name: source.name.clone(),
            href: address.to(only).href(),
            api: source.api,
            region: source.region.clone(),
            account: source.account.clone(),
            state: source_state(snapshot),
            last_success: snapshot.last_success.map(when),
            next_poll: snapshot.next_poll.map(when),
            interval: span(snapshot.poll_interval),
            calls: grouped(snapshot.calls.on(now)),
            budget: snapshot.budget.map(|left| (grouped(left.remaining), grouped(left.limit))),
            tasks: grouped(states.map(|(_, count)| count).sum()),
            failed: failed.map(|(_, count)| (grouped(count), address.to(failed_only).href())),
            trouble: snapshot
                .last_error
                .as_deref()
                .map(|error| (meaning(snapshot.last_error_reason), shown(error, MAX_MESSAGE))),
            missing: (!missing.is_empty()).then(|| missing.join(", ")),
            failing: snapshot
                .failing_resources
                .iter()
                .take(MAX_MISSING)
                .map(|it| (shown(&it.id, MAX_NAME), shown(&it.message, MAX_MESSAGE)))
                .collect(),
            more_failing: snapshot.failing_resources.len().saturating_sub(MAX_MISSING),
            failing_discovery: snapshot
                .failing_discovery
                .as_ref()
                .map(|it| shown(&format!("{}: {}", it.operation, it.message), MAX_MESSAGE)),
            credentials_expiry: snapshot.credentials_expiry.map(when),
        }
    }
}

/// What a reason means for whoever is on duty.
fn meaning(reason: Option<&str>) -> &'static str {
    match reason {
        Some("auth") => "The cloud does not accept the credentials, or they lack a permission.",
        Some("throttled") => "The cloud wants fewer calls; polls are spaced out until it relents.",
        Some("timeout") => "The cloud did not answer in time.",
        Some("network") => "The cloud cannot be reached. Look at DNS, proxy and firewall.",
        Some("server") => "The cloud has trouble of its own.",
        Some("client") => "The cloud finds something wrong with what the configuration asks for.",
        Some("decode") => "The answer is not what the cloud documents.",
        Some("budget") => "The daily budget of calls is spent.",
        Some("clock") => "The clocks of this machine and of the cloud differ too much.",
        _ => "The last poll did not go well.",
    }
}
