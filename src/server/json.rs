//! `/api/v1`: sources and tasks as JSON.
//!
//! Field names are a contract. Times are RFC 3339 in UTC, durations are seconds, and what is not
//! known is `null`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::model::{Origin, Ratio, Resource, Step, TaskError, TaskState, Timestamp};
use http_body::{Body, Frame};
use serde::Serialize;

use super::App;
use super::filter::Filter;
use crate::snapshot::{FailingDiscovery, FailingResource, Snapshot, Tracked};
use crate::track::registrations::Registration;

/// How much is sent at once.
pub(super) const CHUNK: usize = 16 * 1024;
/// Sources, or runs of tasks of one source, that are looked at before others get their turn.
const TURNS: usize = 16;
/// Tasks in such a run, whether they are wanted or not.
const RUN: usize = 256;

/// `{"tasks": […]}`, ordered by source and id, or `{"sources": […]}`, ordered by name; those of them
/// that a filter leaves. Written while it is sent, from what the store has by then: a client that
/// reads slowly holds a piece of text and nothing else.
#[derive(Debug)]
pub(super) struct Listing {
    app: Arc<App>,
    filter: Filter,
    of: Of,
    at: At,
    is_empty: bool,
    /// What is sent first.
    begun: Vec<u8>,
    rests: bool,
}

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Tasks,
    /// A filter by state leaves those that have such a task.
    Sources,
}

/// How far a listing has come.
#[derive(Debug)]
enum At {
    Start,
    /// After this source, if any.
    Between(Option<String>),
    /// After the task with this id, in this source.
    Within(String, Box<str>),
    End,
}

impl Listing {
    /// Begins a listing; `Err` is all of it where it is short.
    pub(super) fn begin(app: Arc<App>, of: Of, filter: Filter) -> Result<Self, Bytes> {
        let (at, begun) = (At::Start, Vec::new());
        let mut listing = Self { app, filter, of, at, is_empty: true, begun, rests: false };
        match listing.some() {
            (begun, true) => Ok(Self { begun, ..listing }),
            (all, false) => Err(all.into()),
        }
    }

    /// How much memory it holds as long as it is not taken.
    pub(super) const HELD_BYTES: usize = 2 * CHUNK;

    /// Some text, and whether there may be more to come.
    fn some(&mut self) -> (Vec<u8>, bool) {
        let mut text = std::mem::take(&mut self.begun);
        for _ in 0..TURNS {
            if text.len() >= CHUNK {
                break;
            }
            if !self.write(&mut text) {
                return (text, false);
            }
        }
        (text, true)
    }

    /// Writes a little more; returns whether there may be more to come.
    fn write(&mut self, text: &mut Vec<u8>) -> bool {
        self.at = match std::mem::replace(&mut self.at, At::End) {
            At::Start => {
                text.extend_from_slice(match self.of {
                    Of::Tasks => b"{\"tasks\":[",
                    Of::Sources => b"{\"sources\":[",
                });
                At::Between(None)
            }
            At::Between(source) => {
                if let Some(snapshot) = self.app.store.snapshot_after(source.as_deref()) {
                    self.source(text, &snapshot, None)
                } else {
                    text.extend_from_slice(b"]}\n");
                    At::End
                }
            }
            At::Within(source, id) => match self.app.store.snapshot(&source) {
                Some(snapshot) => self.source(text, &snapshot, Some(&id)),
                None => At::Between(Some(source)),
            },
            At::End => return false,
        };
        true
    }

    /// Lists what comes after `id` in a source, or the source itself.
    fn source(&mut self, text: &mut Vec<u8>, snapshot: &Snapshot, id: Option<&str>) -> At {
        let name = || snapshot.source.name.clone();
        if !self.filter.has_source(&snapshot.source) {
            return At::Between(Some(name()));
        }
        match self.of {
            Of::Sources => {
                if has_state(snapshot, &self.filter) {
                    self.item(text, &SourceView::new(snapshot, self.app.clock.now()));
                }
            }
            Of::Tasks => {
                let is_past = |tracked: &Tracked| id.is_some_and(|id| *tracked.task.id <= *id);
                let from = snapshot.tasks.partition_point(is_past);
                let mut rest = snapshot.tasks.iter().skip(from).enumerate().peekable();
                while let Some((count, tracked)) = rest.next() {
                    if self.filter.has(&snapshot.source, tracked) {
                        self.item(text, &TaskView::new(&snapshot.source.name, tracked));
                    }
                    let id = &tracked.task.id;
                    let is_enough = text.len() >= CHUNK || count >= RUN;
                    if is_enough && rest.peek().is_some_and(|(_, next)| next.task.id != *id) {
                        return At::Within(name(), id.as_ref().into());
                    }
                }
            }
        }
        At::Between(Some(name()))
    }

    fn item(&mut self, text: &mut Vec<u8>, view: &impl Serialize) {
        if !std::mem::take(&mut self.is_empty) {
            text.push(b',');
        }
        append(text, view);
    }
}

impl Body for Listing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !std::mem::take(&mut self.rests) {
            self.rests = true;
            let (text, goes_on) = self.some();
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
            if !goes_on {
                return Poll::Ready(None);
            }
        }
        // Others get their turn after each piece.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// `{"tasks": […]}` of these sources, as a whole.
pub(super) fn tasks(snapshots: &[Arc<Snapshot>]) -> Vec<u8> {
    let tasks = snapshots.iter().flat_map(|snapshot| {
        snapshot.tasks.iter().map(|tracked| TaskView::new(&snapshot.source.name, tracked))
    });
    write(&TasksView { tasks: tasks.collect() })
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

/// Whether a source has a task in one of the states that are asked for.
fn has_state(snapshot: &Snapshot, filter: &Filter) -> bool {
    let mut counts = counts(snapshot);
    filter.states.is_empty() || counts.any(|(state, count)| count > 0 && filter.has_state(state))
}

fn counts(snapshot: &Snapshot) -> impl Iterator<Item = (TaskState, u64)> {
    TaskState::ALL.into_iter().zip(snapshot.states)
}

/// `{"error": "…"}`.
pub(super) fn error(sentence: &str) -> Vec<u8> {
    write(&ErrorView { error: sentence })
}

fn write(view: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::new();
    append(&mut json, view);
    json.push(b'\n');
    json
}

fn append(text: &mut Vec<u8>, view: &impl Serialize) {
    // Fails only for maps whose keys are no strings, and for what fails to serialize itself.
    let _ = serde_json::to_writer(text, view);
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
    scheduled: Option<Timestamp>,
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
    failing_resources: Vec<FailingView<'a>>,
    failing_discovery: Option<FailingDiscoveryView<'a>>,
    /// How many there are in each state, the truncated included.
    tasks: BTreeMap<&'static str, u64>,
    tasks_truncated: usize,
}

#[derive(Serialize)]
struct FailingView<'a> {
    id: &'a str,
    reason: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct FailingDiscoveryView<'a> {
    operation: &'static str,
    reason: &'static str,
    message: &'a str,
}

impl<'a> FailingDiscoveryView<'a> {
    fn new(failing: &'a FailingDiscovery) -> Self {
        let FailingDiscovery { operation, reason, message } = failing;
        Self { operation, reason: reason.as_str(), message }
    }
}

impl<'a> FailingView<'a> {
    fn new(failing: &'a FailingResource) -> Self {
        Self { id: &failing.id, reason: failing.reason.as_str(), message: &failing.message }
    }
}

impl<'a> SourceView<'a> {
    fn new(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        Self {
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
            failing_resources: snapshot.failing_resources.iter().map(FailingView::new).collect(),
            failing_discovery: snapshot.failing_discovery.as_ref().map(FailingDiscoveryView::new),
            tasks: counts(snapshot).map(|(state, count)| (state.as_str(), count)).collect(),
            tasks_truncated: snapshot.hidden.len(),
        }
    }
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
            scheduled: task.scheduled,
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
