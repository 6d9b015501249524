//! Huawei's Data Replication Service: what is asked, what answers say, and what the simulated cloud answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::huawei::signature::post;
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::signing::Signing;
use dbtask_simulator::{Gateway as _, World};
use http::{Request, Response, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, field_names, fixture, list_requests, request_text, resource,
    target, time,
};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";

fn drs() -> &'static TaskApi {
    catalog::named("huawei_drs").unwrap()
}

fn beijing() -> Target {
    target(drs(), "cn-north-4", 3)
}

fn now() -> Timestamp {
    time("2026-03-14T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-03-13T12:00:00Z"), resources, tags: &[] }
}

fn by_id(id: &str) -> Query {
    drs().by_id(&TaskRef { id: id.into(), resource: None, started: None }, now()).unwrap()
}

fn lists() -> Vec<Query> {
    drs().list(&scope(&[]))
}

/// A query about the jobs with these ids, which a list has shown.
fn about(ids: &[&str]) -> Query {
    let known = |id: &&str| Task {
        kind: "migration mysql".into(),
        resource: resource("", Some("DRS-1")),
        ..Task::new(*id, TaskState::Running, "STARTJOBING")
    };
    Query { task: None, known: ids.iter().map(known).collect(), ..by_id(ids[0]) }
}

#[test]
fn each_sort_of_job_has_a_list_which_is_asked_for_with_a_body() {
    let expected = ["migration", "sync", "cloudDataGuard"].map(|sort| {
        format!(
            "POST https://drs.cn-north-4.myhuaweicloud.com/v3/{PROJECT}/jobs\n\
             content-type: application/json\nx-language: en-us\nx-project-id: {PROJECT}\n\n\
             {{\"cur_page\":1,\"db_use_type\":\"{sort}\",\"per_page\":100}}"
        )
    });
    assert_eq!(list_requests(drs(), &beijing(), &scope(&[])), expected);
    assert_eq!(list_requests(drs(), &beijing(), &scope(&[resource("x", None)])), expected);
    let second = request_text(&Cloud::Huawei.request(&beijing(), &lists()[0].next_page()));
    assert_eq!(second, expected[0].replace("\"cur_page\":1", "\"cur_page\":2"));
}

#[test]
fn one_job_is_asked_for_by_its_id() {
    let text = request_text(&Cloud::Huawei.request(&beijing(), &by_id("a\"b")));
    let expected = format!(
        "POST https://drs.cn-north-4.myhuaweicloud.com/v3/{PROJECT}/jobs/batch-progress\n\
         content-type: application/json\nx-language: en-us\nx-project-id: {PROJECT}\n\n\
         {{\"jobs\":[\"a\\\"b\"]}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_body_is_signed_as_it_is_sent() {
    let keys = AccessKeys {
        access_key_id: "AK".to_owned(),
        secret_access_key: "SK".into(),
        security_token: None,
    };
    let credentials = Credentials::Keys(keys);
    let mut request = Cloud::Huawei.request(&beijing(), &lists()[0]);
    let signing = Signing { credentials: &credentials, service: "drs", now: now(), nonce: "" };
    Cloud::Huawei.sign(&mut request, &signing).unwrap();
    let verify =
        |request: &Request<Bytes>| Cloud::Huawei.verify(request, "drs", Some(&credentials), now());
    assert!(verify(&request).is_ok());
    *request.body_mut() = Bytes::from_static(b"{\"cur_page\":2}");
    assert!(verify(&request).is_err());
}

#[test]
fn recorded_answers_are_read() {
    let ids = [
        "8d0e8e36-0000-490d-8a46-8c61ac9jb001",
        "edae91cb-0000-49b6-a529-4921fb2jb002",
        "edae91cb-0000-49b6-a529-4921fb26jb21",
        "f95c5d83-0000-42bd-b295-38c31cd1jb15",
        "numbers",
        "signs",
        "complete",
        "incremental",
        "paused",
        "failed",
        "code-without-failure",
        "unknown",
        "deleted",
    ];
    check_fixtures(drs(), &beijing(), |stem| match stem {
        "task-unknown-id" => Some(by_id("nobody-knows")),
        "task-failed" => Some(by_id("edae91cb-0000-49b6-a529-4921fb2jb002")),
        _ if stem.starts_with("progress") => Some(about(&ids)),
        _ => stem.starts_with("list").then(|| lists().remove(0)),
    });
}

#[test]
fn no_text_of_a_job_is_ever_read() {
    for file in ["list-six.json", "list-odd.json", "progress-odd.json"] {
        let query = if file.starts_with("list") {
            lists().remove(0)
        } else {
            about(&["failed", "code-without-failure", "unknown", "deleted"])
        };
        let body = fixture(drs(), file);
        let raw = std::str::from_utf8(&body).unwrap();
        assert!(raw.contains("jdbc:mysql://"), "{file} has no secret");
        let page = drs().decode(&beijing(), &query, &Response::new(body)).unwrap();
        let said = format!("{page:?}");
        for secret in ["jdbc", "CANARY", "192.0.2.56", "EXAMPLEUSER"] {
            assert!(!said.contains(secret), "{file}: {said}");
        }
    }
}

#[test]
fn how_far_jobs_are_is_asked_for_those_that_have_not_ended_well_some_at_a_time() {
    let rows: Vec<Value> = (0..100)
        .map(|n| {
            let status = match n {
                0 => "RELEASE_RESOURCE_COMPLETE",
                1 => "DELETED",
                2 => "FULL_TRANSFER_FAILED",
                _ => "FULL_TRANSFER_STARTED",
            };
            json!({"id": format!("jb{n}"), "status": status})
        })
        .collect();
    let body = json!({"total_record": 250, "jobs": rows}).to_string();
    let query = lists().remove(0);
    let page = drs().decode(&beijing(), &query, &Response::new(body.into())).unwrap();
    let next: Vec<(&str, usize)> =
        page.next.iter().map(|query| (query.operation.name, query.known.len())).collect();
    let progress = "BatchListProgresses";
    assert_eq!(next, [("ShowJobList", 0), (progress, 50), (progress, 48)]);
    assert_eq!(&*page.next[1].known[0].id, "jb2");
    assert_eq!((page.next[0].page, page.tasks.len()), (2, 100));
}

/// Tasks that the API can express.
fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let word = prop::sample::select(drs().facts.statuses.to_vec());
    let sort = prop::sample::select(vec!["migration", "sync", "cloudDataGuard"]);
    proptest::collection::vec((word, sort, 0_u8..=100, 0_u64..90_000), 0..250).prop_map(|parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, ((word, state), sort, percent, left))| {
            let is_full = word.starts_with("FULL_TRANSFER_") && !word.ends_with("COMPLETE");
            let left = Duration::from_secs(left);
            let ratio = Ratio::clamped(f64::from(percent) / 100.0);
            let step = |name: &str| Step {
                name: name.into(),
                state: None,
                progress: ratio,
                remaining: Some(left),
            };
            let error = TaskError { code: "DRS.M00999".into(), message: "".into() };
            Task {
                kind: format!("{sort} mysql").into(),
                resource: resource("", Some("DRS-1")),
                progress: ratio.filter(|_| is_full),
                remaining: (is_full && !state.is_final()).then_some(left),
                steps: if is_full {
                    ["struct", "data", "index"].map(step).into()
                } else {
                    Box::default()
                },
                error: (state == TaskState::Failed).then(|| Box::new(error)),
                ..Task::new(format!("8d0e8e36-{index:04}jb"), state, word)
            }
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn polls_find_every_simulated_task(tasks in tasks()) {
        let target = beijing();
        let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
        let (found, _) = ask(drs(), &world, lists());
        // Of two sightings the later counts.
        let last = found.iter().map(|task| (Arc::clone(&task.id), task.clone()));
        let last: std::collections::BTreeMap<Arc<str>, Task> = last.collect();
        let wanted = tasks.iter().map(|task| (Arc::clone(&task.id), task.clone())).collect();
        prop_assert_eq!(last, wanted);
        for task in tasks.iter().take(3) {
            // Its list alone knows what it is.
            let bare = Task { kind: "".into(), resource: Arc::default(), ..task.clone() };
            prop_assert_eq!(ask(drs(), &world, vec![by_id(&task.id)]), (vec![bare], 1));
        }
    }

    #[test]
    fn no_answer_makes_decode_panic(body in any::spoilt(drs())) {
        for query in [lists().remove(0), by_id("1"), about(&["failed"])] {
            let _ = drs().decode(&beijing(), &query, &Response::new(body.clone()));
        }
    }
}

#[test]
fn jobs_are_chosen_by_their_ids() {
    let body = fixture(drs(), "list-six.json");
    let watched = [resource("24834eb6-0000-464e-a299-f7aa730jb105", None)];
    let query = drs().list(&scope(&watched)).remove(0);
    let page = drs().decode(&beijing(), &query, &Response::new(body)).unwrap();
    let words: Vec<&str> = page.tasks.iter().map(|task| &*task.vendor_status).collect();
    assert_eq!(words, ["PAUSING"]);
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    let task = Task {
        kind: "migration mysql".into(),
        resource: resource("", Some("DRS-1")),
        created: Some(now()),
        error: Some(Box::new(TaskError { code: "DRS.M00999".into(), message: "".into() })),
        ..Task::new("jb7", TaskState::Failed, "FULL_TRANSFER_FAILED")
    };
    let (target, tasks) = (beijing(), [task]);
    let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
    let ask = |path: &str, body: Value| {
        let endpoint = drs().endpoint("cn-north-4");
        answer(drs(), &post(&endpoint, PROJECT, &path.replace("{}", PROJECT), &body), &world)
    };
    let recorded = |file: &str| -> Value { serde_json::from_slice(&fixture(drs(), file)).unwrap() };
    let (status, listed) = ask("/v3/{}/jobs", json!({"db_use_type": "migration"}));
    assert_eq!(status, 200);
    assert_eq!(field_names(&listed, ""), field_names(&recorded("list-six.json"), ""));
    assert_eq!(field_names(&listed, "/jobs/0"), field_names(&recorded("list-six.json"), "/jobs/2"));
    let (status, far) = ask("/v3/{}/jobs/batch-progress", json!({"jobs": ["jb7", "jb8"]}));
    assert_eq!(status, StatusCode::ACCEPTED.as_u16());
    let known = ["results/0", "results/1"]
        .map(|row| field_names(&recorded("progress-two.json"), &format!("/{row}")));
    assert_eq!(field_names(&far, "/results/0"), &known[0] | &known[1]);
    assert_eq!(far["results"][1]["error_code"], "DRS.M00289");
    for body in
        [json!({}), json!({"db_use_type": "x"}), json!({"db_use_type": "sync", "per_page": 101})]
    {
        let (status, refused) = ask("/v3/{}/jobs", body);
        assert_eq!(status, 400);
        assert!(refused["error_code"].is_string());
    }
    // Whoever asks for no rows gets all of them.
    let (_, all) =
        ask("/v3/{}/jobs", json!({"db_use_type": "migration", "cur_page": 0, "per_page": 0}));
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn polls_of_a_region_take_a_call_for_each_list_and_for_each_fifty_jobs() {
    let task = |n: usize| Task {
        kind: "migration mysql".into(),
        ..Task::new(format!("jb{n}"), TaskState::Running, "INCRE_TRANSFER_STARTED")
    };
    for (count, calls) in [(0, 3), (1, 4), (50, 4), (51, 5)] {
        let (target, tasks) = (beijing(), (0..count).map(task).collect::<Vec<_>>());
        let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
        assert_eq!(ask(drs(), &world, lists()).1, calls, "{count}");
    }
}
