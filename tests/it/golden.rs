//! Recorded answers and what they say: for each `X.json` (or `.xml`, `.html`) under
//! `tests/fixtures/api/<name>/` there is an `X.txt` with the page that it decodes to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::{Page, Query, Scope, Target, TaskApi};
use dbtask_clouds::document::{DecodeError, Format};
use dbtask_clouds::model::{Resource, Step, Task, Timestamp};
use dbtask_simulator::World;
use http::{Request, Response};
use serde_json::Value;

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// A source's target in a region whose vendor times are at `hours` from UTC.
pub(crate) fn target(api: &TaskApi, region: &str, hours: i8) -> Target {
    Target {
        endpoint: api.endpoint(region),
        region: region.to_owned(),
        project_id: "0123456789abcdef0123456789abcdef".to_owned(),
        utc_offset: jiff::tz::offset(hours),
        format: Format::Json,
    }
}

pub(crate) fn resource(id: &str, name: Option<&str>) -> Arc<Resource> {
    Arc::new(Resource { id: id.into(), name: name.map(Into::into) })
}

fn folder(api: &TaskApi) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/api").join(api.facts.name)
}

pub(crate) fn fixture(api: &TaskApi, file: &str) -> Bytes {
    let path = folder(api).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Every recorded answer, with its name.
pub(crate) fn fixtures(api: &TaskApi) -> BTreeMap<String, Bytes> {
    std::fs::read_dir(folder(api))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| matches!(name.rsplit_once('.'), Some((_, "json" | "xml" | "html"))))
        .map(|name| (name.clone(), fixture(api, &name)))
        .collect()
}

/// Checks every recorded answer against the text beside it. `query` says what was asked for by the
/// name of the file, and is `None` for answers that are not decoded. `UPDATE=1` writes the texts.
pub(crate) fn check_fixtures(
    api: &TaskApi,
    target: &Target,
    query: impl Fn(&str) -> Option<Query>,
) {
    let mut checked = BTreeSet::new();
    for (name, body) in fixtures(api) {
        let stem = name.rsplit_once('.').unwrap().0.to_owned();
        let Some(query) = query(&stem) else { continue };
        let decoded = api.decode(target, &query, &Response::new(body));
        let text = format!("{stem}.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(folder(api).join(&text), page_text(decoded.as_ref())).unwrap();
        }
        let expected = fixture(api, &text);
        let expected = std::str::from_utf8(&expected).unwrap();
        similar(expected, &page_text(decoded.as_ref()), &name);
        checked.insert(stem);
    }
    let texts = std::fs::read_dir(folder(api)).unwrap().filter_map(|entry| {
        entry.unwrap().file_name().to_str().unwrap().strip_suffix(".txt").map(str::to_owned)
    });
    assert_eq!(checked, texts.collect(), "answers and texts belong together");
}

/// Compares line by line, since a difference in a long page is hard to see.
fn similar(expected: &str, actual: &str, name: &str) {
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "{name}");
    }
    assert_eq!(expected.lines().count(), actual.lines().count(), "{name}:\n{actual}");
}

pub(crate) fn page_text(page: Result<&Page, &DecodeError>) -> String {
    let mut text = String::new();
    match page {
        // What exactly is broken is the parser's to word.
        Err(DecodeError::Syntax(_)) => text.push_str("error: the answer is broken\n"),
        Err(error) => writeln!(text, "error: {error}").unwrap(),
        Ok(page) => {
            for task in &page.tasks {
                text.push_str(&task_text(task));
                text.push_str(&steps_text(&task.steps));
                text.push('\n');
            }
            for query in &page.next {
                writeln!(text, "then {query} page {}", query.page).unwrap();
            }
            let unreadable = page.unreadable;
            let counts: Vec<String> = [
                (unreadable.status, "status", "statuses"),
                (unreadable.time, "time", "times"),
                (unreadable.progress, "progress", "progresses"),
                (unreadable.task_id, "task id", "task ids"),
            ]
            .into_iter()
            .filter(|&(count, ..)| count > 0)
            .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
            .collect();
            if !counts.is_empty() {
                writeln!(text, "unreadable: {}", counts.join(", ")).unwrap();
            }
        }
    }
    text
}

/// Every text that belongs to a recorded answer of the API, but for `detail-*`: what only the answer about one
/// task tells is no promise of the list.
pub(crate) fn golden_texts(api: &TaskApi) -> String {
    let names = std::fs::read_dir(folder(api)).unwrap().map(|entry| entry.unwrap().path());
    let is_detail = |path: &Path| {
        path.file_stem()
            .is_some_and(|stem| stem.to_str().is_some_and(|stem| stem.starts_with("detail-")))
    };
    let texts =
        names.filter(|path| path.extension().is_some_and(|end| end == "txt") && !is_detail(path));
    texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The steps of a task, behind it; what is not known is left out.
fn steps_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for (n, Step { name, state, progress, remaining }) in steps.iter().enumerate() {
        write!(text, "{} {name:?}", if n == 0 { ", steps" } else { "," }).unwrap();
        if let Some(state) = state {
            write!(text, " {}", state.as_str()).unwrap();
        }
        if let Some(progress) = progress {
            write!(text, " {}", progress.get()).unwrap();
        }
        if let Some(remaining) = remaining {
            write!(text, " remaining {remaining:?}").unwrap();
        }
    }
    text
}

/// A task on one line; what is not known is left out.
pub(crate) fn task_text(task: &Task) -> String {
    let mut text = format!("{:?} {:?} of {:?}", task.id, task.kind, task.resource.id);
    if let Some(name) = &task.resource.name {
        write!(text, " {name:?}").unwrap();
    }
    write!(text, " is {} {:?}", task.state.as_str(), task.vendor_status).unwrap();
    if let Some(progress) = task.progress {
        write!(text, ", progress {}", progress.get()).unwrap();
    }
    if let Some(remaining) = task.remaining {
        write!(text, ", remaining {remaining:?}").unwrap();
    }
    let times = [
        ("created", task.created),
        ("scheduled", task.scheduled),
        ("started", task.started),
        ("ended", task.ended),
    ];
    for (word, time) in times {
        if let Some(time) = time {
            write!(text, ", {word} {time}").unwrap();
        }
    }
    if let Some(error) = &task.error {
        write!(text, ", error {:?} {:?}", error.code, error.message).unwrap();
    }
    text
}

/// A request as it goes out, headers sorted.
pub(crate) fn request_text(request: &Request<Bytes>) -> String {
    let mut headers: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    let body = std::str::from_utf8(request.body()).unwrap();
    format!("{} {}\n{}\n\n{body}", request.method(), request.uri(), headers.join("\n"))
}

/// The requests that one poll begins with.
pub(crate) fn list_requests(api: &TaskApi, target: &Target, scope: &Scope<'_>) -> Vec<String> {
    let queries = api.list(scope);
    queries.iter().map(|query| request_text(&api.facts.cloud.request(target, query))).collect()
}

/// Asks the simulated cloud until there is nothing left to ask. Gives the tasks in the order of
/// the answers, and how many requests it took.
pub(crate) fn ask(api: &TaskApi, world: &World<'_>, queries: Vec<Query>) -> (Vec<Task>, usize) {
    let mut tasks = Vec::new();
    let mut queue = std::collections::VecDeque::from(queries);
    let mut requests = 0;
    while let Some(query) = queue.pop_front() {
        requests += 1;
        assert!(requests < 1000, "paging never ends");
        let request = api.facts.cloud.request(world.target, &query);
        let response = world.answer(api, &request).expect("the request is for this API");
        let page = api
            .decode(world.target, &query, &response)
            .unwrap_or_else(|error| panic!("{error}: {:?}", response.body()));
        assert_eq!(page.unreadable, dbtask_clouds::api::Unreadable::default());
        tasks.extend(page.tasks);
        queue.extend(page.next);
    }
    (tasks, requests)
}

/// Checks that a poll of the simulated cloud finds exactly the tasks that are there.
pub(crate) fn check_round_trip(api: &TaskApi, world: &World<'_>, scope: &Scope<'_>) {
    let (found, _) = ask(api, world, api.list(scope));
    let text = |tasks: &[Task]| tasks.iter().map(task_text).collect::<BTreeSet<String>>();
    assert_eq!(text(&found), text(world.tasks));
    let ids: HashSet<_> = found.iter().map(|task| &task.id).collect();
    assert_eq!(ids.len(), world.tasks.len(), "no task is told in two ways");
}

/// The answer to a request as JSON, with its status.
pub(crate) fn answer(api: &TaskApi, request: &Request<Bytes>, world: &World<'_>) -> (u16, Value) {
    let response = world.answer(api, request).expect("the request is for this API");
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

/// The names of the fields of the first row under a pointer.
pub(crate) fn field_names(document: &Value, pointer: &str) -> BTreeSet<String> {
    let value = document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {document}"));
    let row = value.as_array().map_or(value, |rows| &rows[0]);
    row.as_object().unwrap().keys().cloned().collect()
}

/// Tasks, targets and times that no vendor would have, for properties that must hold in any world.
pub(crate) mod any {
    use std::time::Duration;

    use dbtask_clouds::api::{Operation, Query, TaskRef};
    use dbtask_clouds::model::{Ratio, TaskError, TaskState};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
        prop_oneof![any::<i64>(), -400_000_000_000_i64..300_000_000_000]
            .prop_filter_map("not in the calendar", Timestamp::from_second)
    }

    pub(crate) fn resources() -> impl Strategy<Value = Vec<Arc<Resource>>> {
        proptest::collection::vec(any_resource(), 0..3)
    }

    fn any_resource() -> impl Strategy<Value = Arc<Resource>> {
        ("\\PC{0,8}", option::of("\\PC{0,8}")).prop_map(|(id, name)| resource(&id, name.as_deref()))
    }

    pub(crate) fn task() -> impl Strategy<Value = Task> {
        let state = prop::sample::select(TaskState::ALL.to_vec());
        let text = || prop_oneof!["\\PC{0,12}", "[0-9]{1,4}", "[A-Za-z ]{1,10}"];
        let times = || (option::of(timestamp()), option::of(timestamp()), option::of(timestamp()));
        let error = option::of((text(), text()));
        let progress = option::of(any::<f64>());
        (text(), text(), text(), any_resource(), state, times(), error, progress).prop_map(
            |(id, kind, status, resource, state, (created, started, ended), error, progress)| {
                Task {
                    kind: kind.into(),
                    resource,
                    created,
                    started,
                    ended,
                    progress: progress.and_then(Ratio::clamped),
                    remaining: Some(Duration::MAX),
                    error: error.map(|(code, message)| {
                        Box::new(TaskError { code: code.into(), message: message.into() })
                    }),
                    ..Task::new(id, state, status)
                }
            },
        )
    }

    /// A query of `operation` for anything.
    pub(crate) fn query(operation: &'static Operation) -> impl Strategy<Value = Query> {
        let list = (resources(), option::of(timestamp()));
        let wanted = ("\\PC{0,8}|[0-9]{1,20}", option::of(any_resource()), option::of(timestamp()));
        prop_oneof![
            list.prop_map(|(resources, since)| (None, resources, since)),
            wanted.prop_map(|(id, resource, started)| {
                (Some(TaskRef { id: id.into(), resource, started }), Vec::new(), None)
            }),
        ]
        .prop_map(move |(task, resources, since)| Query {
            task,
            resources,
            since,
            ..Query::new(operation)
        })
    }

    /// Bytes that are nearly a recorded answer: cut, and with one stretch replaced.
    pub(crate) fn spoilt(api: &'static TaskApi) -> impl Strategy<Value = Bytes> {
        let bodies: Vec<Bytes> = fixtures(api).into_values().collect();
        let garbage = proptest::collection::vec(any::<u8>(), 0..12);
        (prop::sample::select(bodies), any::<prop::sample::Index>(), 0_usize..12, garbage).prop_map(
            |(body, at, length, garbage)| {
                let at = at.index(body.len());
                let after = body.get((at + length).min(body.len())..).unwrap_or_default();
                [&body[..at], &garbage, after].concat().into()
            },
        )
    }
}
