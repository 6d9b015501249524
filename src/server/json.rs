//! `/api/v1`: sources and tasks as JSON.
//!
//! Field names are a contract. Times are RFC 3339 in UTC, durations are seconds, and what is not
//! known is `null`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::filter::Filter;
use crate::registration::Registration;
use crate::store::{Snapshot, Tracked};
use crate::task::{Origin, Ratio, Resource, Step, TaskError, TaskState, Timestamp};

/// `{"tasks": […]}`, ordered by source and id.
pub(super) fn tasks(snapshots: &[Arc<Snapshot>], filter: &Filter) -> Vec<u8> {
    let shown = snapshots.iter().filter(|snapshot| filter.has_source(&snapshot.source));
    let tasks = shown
        .flat_map(|snapshot| {
            let tasks =
                snapshot.tasks.iter().filter(|tracked| filter.has(&snapshot.source, tracked));
            tasks.map(|tracked| TaskView::new(&snapshot.source.name, tracked))
        })
        .collect();
    write(&TasksView { tasks })
}

/// `{"task": …, "registration": …}`, either of which may be `null`.
pub(super) fn task(
    source: &str,
    id: &str,
    tracked: Option<&Tracked>,
    registration: Option<&Registration>,
) -> Vec<u8> {
    write(&OneTaskView {
        task: tracked.map(|tracked| TaskView::new(source, tracked)),
        registration: registration.map(|it| RegistrationView::new(source, id, it)),
    })
}

/// What is now registered, and what to mind.
pub(super) fn registered(
    source: &str,
    id: &str,
    registration: &Registration,
    warning: Option<&str>,
) -> Vec<u8> {
    write(&RegisteredView {
        registration: RegistrationView::new(source, id, registration),
        warning,
    })
}

/// `{"warning": "…"}`.
pub(super) fn warning(sentence: &str) -> Vec<u8> {
    write(&WarningView { warning: sentence })
}

/// `{"sources": […]}`, ordered by name. A filter by state leaves those that have such a task.
pub(super) fn sources(snapshots: &[Arc<Snapshot>], filter: &Filter, now: Timestamp) -> Vec<u8> {
    let counts = |snapshot: &Snapshot| TaskState::ALL.into_iter().zip(snapshot.states);
    let shown = snapshots.iter().filter(|snapshot| {
        filter.has_source(&snapshot.source)
            && (filter.states.is_empty()
                || counts(snapshot).any(|(state, count)| count > 0 && filter.has_state(state)))
    });
    let sources = shown
        .map(|snapshot| SourceView {
            name: &snapshot.source.name,
            cloud: snapshot.source.cloud,
            api: snapshot.source.api,
            region: &snapshot.source.region,
            account: &snapshot.source.account,
            tried: snapshot.tried,
            up: snapshot.up,
            last_success: snapshot.last_success,
            last_error: snapshot.last_error.as_deref(),
            last_error_reason: snapshot.last_error_reason,
            last_poll_duration_seconds: snapshot.last_poll_duration.map(|d| d.as_secs_f64()),
            poll_interval_seconds: snapshot.poll_interval.as_secs_f64(),
            next_poll: snapshot.next_poll,
            calls_today: snapshot.calls.on(now),
            daily_budget: snapshot.budget.map(|left| left.limit),
            daily_budget_remaining: snapshot.budget.map(|left| left.remaining),
            credentials_expiry: snapshot.credentials_expiry,
            missing_resources: &snapshot.missing_resources,
            tasks: counts(snapshot).map(|(state, count)| (state.as_str(), count)).collect(),
            tasks_truncated: snapshot.hidden.len(),
        })
        .collect();
    write(&SourcesView { sources })
}

/// `{"error": "…"}`.
pub(super) fn error(sentence: &str) -> Vec<u8> {
    write(&ErrorView { error: sentence })
}

fn write(view: &impl Serialize) -> Vec<u8> {
    // Fails only for maps whose keys are no strings, and for what fails to serialize itself.
    let mut json = serde_json::to_vec(view).unwrap_or_default();
    json.push(b'\n');
    json
}

#[derive(Serialize)]
struct ErrorView<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct WarningView<'a> {
    warning: &'a str,
}

#[derive(Serialize)]
struct OneTaskView<'a> {
    task: Option<TaskView<'a>>,
    registration: Option<RegistrationView<'a>>,
}

#[derive(Serialize)]
struct RegistrationView<'a> {
    source: &'a str,
    id: &'a str,
    resource: Option<&'a str>,
    registered: Timestamp,
}

#[derive(Serialize)]
struct RegisteredView<'a> {
    #[serde(flatten)]
    registration: RegistrationView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
}

#[derive(Serialize)]
struct TasksView<'a> {
    tasks: Vec<TaskView<'a>>,
}

#[derive(Serialize)]
struct SourcesView<'a> {
    sources: Vec<SourceView<'a>>,
}

#[derive(Serialize)]
struct TaskView<'a> {
    source: &'a str,
    id: &'a str,
    kind: &'a str,
    resource: &'a Resource,
    origin: Origin,
    state: TaskState,
    vendor_status: &'a str,
    progress: Option<Ratio>,
    remaining_seconds: Option<f64>,
    estimated_end: Option<Timestamp>,
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    last_seen: Timestamp,
    progress_changed: Timestamp,
    steps: Vec<StepView<'a>>,
    error: Option<&'a TaskError>,
}

#[derive(Serialize)]
struct StepView<'a> {
    name: &'a str,
    state: Option<TaskState>,
    progress: Option<Ratio>,
    remaining_seconds: Option<f64>,
}

#[derive(Serialize)]
struct SourceView<'a> {
    name: &'a str,
    cloud: &'a str,
    api: &'a str,
    region: &'a str,
    account: &'a str,
    tried: bool,
    up: bool,
    last_success: Option<Timestamp>,
    last_error: Option<&'a str>,
    last_error_reason: Option<&'a str>,
    last_poll_duration_seconds: Option<f64>,
    poll_interval_seconds: f64,
    next_poll: Option<Timestamp>,
    calls_today: u64,
    daily_budget: Option<u64>,
    daily_budget_remaining: Option<u64>,
    credentials_expiry: Option<Timestamp>,
    missing_resources: &'a [Box<str>],
    /// How many there are in each state, the truncated included.
    tasks: BTreeMap<&'static str, u64>,
    tasks_truncated: usize,
}

impl<'a> TaskView<'a> {
    fn new(source: &'a str, tracked: &'a Tracked) -> Self {
        let task = &tracked.task;
        Self {
            source,
            id: &task.id,
            kind: &task.kind,
            resource: &task.resource,
            origin: task.origin,
            state: task.state,
            vendor_status: &task.vendor_status,
            progress: task.progress,
            remaining_seconds: task.remaining.map(|left| left.as_secs_f64()),
            estimated_end: tracked.estimated_end,
            created: task.created,
            started: task.started,
            ended: task.ended,
            last_seen: tracked.last_seen,
            progress_changed: tracked.progress_changed,
            steps: task.steps.iter().map(StepView::new).collect(),
            error: task.error.as_deref(),
        }
    }
}

impl<'a> RegistrationView<'a> {
    fn new(source: &'a str, id: &'a str, registration: &'a Registration) -> Self {
        let resource = registration.resource.as_deref();
        Self { source, id, resource, registered: registration.registered }
    }
}

impl<'a> StepView<'a> {
    fn new(step: &'a Step) -> Self {
        Self {
            name: &step.name,
            state: step.state,
            progress: step.progress,
            remaining_seconds: step.remaining.as_ref().map(Duration::as_secs_f64),
        }
    }
}
