//! Huawei's Data Warehouse Service: what is asked, what answers say, and what the simulated cloud answers.

use std::sync::Arc;

use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::huawei::signature::get;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_simulator::World;
use http::Response;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, check_round_trip, field_names, fixture, list_requests,
    request_text, resource, target, time,
};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const JOB: &str = "2c9080e88459fa44018459fbeb600001";

fn dws() -> &'static TaskApi {
    catalog::named("huawei_dws").unwrap()
}

fn beijing() -> Target {
    target(dws(), "cn-north-4", 3)
}

fn now() -> Timestamp {
    time("2026-03-14T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-03-13T12:00:00Z"), resources, tags: &[] }
}

fn by_id(id: &str) -> Option<Query> {
    dws().by_id(&TaskRef { id: id.into(), resource: None, started: None }, now())
}

fn clusters() -> Query {
    dws().list(&scope(&[])).remove(0)
}

#[test]
fn some_regions_answer_under_a_domain_of_their_own() {
    for (region, endpoint) in [
        ("cn-north-4", "https://dws.cn-north-4.myhuaweicloud.com"),
        ("tr-west-1", "https://dws.tr-west-1.myhuaweicloud.cn"),
        ("eu-west-101", "https://dws.eu-west-101.myhuaweicloud.eu"),
        ("eu-de", "https://dws.eu-de.otc.t-systems.com"),
    ] {
        assert_eq!(dws().endpoint(region), endpoint);
    }
}

#[test]
fn all_clusters_are_asked_for_at_once_and_a_job_by_its_id() {
    let expected = |path: &str| {
        format!(
            "GET https://dws.cn-north-4.myhuaweicloud.com/v1.0/{PROJECT}/{path}\n\
             content-type: application/json\nx-project-id: {PROJECT}\n\n"
        )
    };
    let list = expected("clusters?enterprise_project_id=all_granted_eps");
    for resources in [&[][..], &[resource("x", None)]] {
        assert_eq!(list_requests(dws(), &beijing(), &scope(resources)), [&*list]);
    }
    let one = dws().facts.cloud.request(&beijing(), &by_id(JOB).unwrap());
    assert_eq!(request_text(&one), expected(&format!("job/{JOB}")));
    // What a cluster does has no id that could be asked for.
    for id in ["", "7d85f602-0000-4a30-afd4-e84f47470001/GROWING", "a/b", "short"] {
        assert_eq!(by_id(id), None, "{id}");
    }
}

#[test]
fn recorded_answers_are_read() {
    check_fixtures(dws(), &beijing(), |stem| match stem {
        "job-failed" => by_id(JOB),
        "job-waiting" => by_id("2c9080e88459fa44018459fbeb600002"),
        _ if stem.starts_with("job") => by_id("2c9080e88459fa44018459fbeb600003"),
        _ => stem.starts_with("clusters").then(clusters),
    });
    let response = Response::new(fixture(dws(), "job-failed.json"));
    let another = by_id("2c9080e88459fa44018459fbeb600009").unwrap();
    assert_eq!(dws().decode(&beijing(), &another, &response).unwrap().tasks, []);
}

#[test]
fn clusters_that_are_not_there_are_never_no_clusters() {
    for body in [
        json!({}),
        json!({"count": 0}),
        json!({"error_code": "DWS.0030", "error_msg": "why", "clusters": []}),
    ] {
        let page = dws().decode(&beijing(), &clusters(), &Response::new(body.to_string().into()));
        assert_eq!(page, Err(DecodeError::Missing("/clusters")), "{body}");
    }
    let response = Response::new(fixture(dws(), "clusters-count-more.json"));
    assert!(dws().decode(&beijing(), &clusters(), &response).unwrap().incomplete);
}

#[test]
fn only_the_watched_clusters_are_kept() {
    let watched = [resource("7d85f602-0000-4a30-afd4-e84f47470003", None)];
    let query = dws().list(&scope(&watched)).remove(0);
    let response = Response::new(fixture(dws(), "clusters-three.json"));
    let page = dws().decode(&beijing(), &query, &response).unwrap();
    let words: Vec<&str> = page.tasks.iter().map(|task| &*task.vendor_status).collect();
    assert_eq!(words, ["RESIZE_FAILURE"]);
}

fn cluster(number: usize) -> Arc<Resource> {
    resource(&format!("7d85f602-{number}"), (number > 0).then_some("dws"))
}

/// What clusters can do, at most one thing each.
fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let words = [
        "GROWING",
        "REDISTRIBUTION_PAUSED",
        "ORDER_PENDING",
        "RESIZE_FAILURE",
        "SOMETHING_FAILED",
        "",
    ];
    proptest::collection::vec((prop::sample::select(words.to_vec()), 0_u8..=100), 0..9).prop_map(
        |parts| {
            let some = parts.into_iter().enumerate().filter(|(_, (word, _))| !word.is_empty());
            some.map(|(number, (word, percent))| {
                let has_failed = word.contains("_FAIL");
                let state = match word {
                    "GROWING" => TaskState::Running,
                    "REDISTRIBUTION_PAUSED" => TaskState::Paused,
                    "ORDER_PENDING" => TaskState::Pending,
                    _ => TaskState::Failed,
                };
                let action = if has_failed { word } else { "GROWING" };
                let error = TaskError { code: "DWS.6000".into(), message: "".into() };
                Task {
                    kind: action.into(),
                    resource: cluster(number),
                    progress: Ratio::clamped(f64::from(percent) / 100.0).filter(|_| !has_failed),
                    error: has_failed.then(|| Box::new(error)),
                    ..Task::new(format!("7d85f602-{number}/{action}"), state, word)
                }
            })
            .collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn polls_find_every_simulated_task(tasks in tasks()) {
        let target = beijing();
        let resources: Vec<_> = (0..9).map(cluster).collect();
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        check_round_trip(dws(), &world, &scope(&[]));
        check_round_trip(dws(), &world, &scope(&resources));
    }

    #[test]
    fn no_answer_makes_decode_panic(body in any::spoilt(dws())) {
        for query in [clusters(), by_id(JOB).unwrap()] {
            let _ = dws().decode(&beijing(), &query, &Response::new(body.clone()));
        }
    }
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    let error = TaskError { code: "CreateELBTask-fail:DWS.0114".into(), message: "no IP".into() };
    let job = Task {
        kind: "ecfClusterElbCreateJob".into(),
        progress: Ratio::clamped(0.09),
        error: Some(Box::new(error)),
        ..Task::new(JOB, TaskState::Failed, "FAIL")
    };
    let (target, resources, tasks) = (beijing(), [cluster(1)], [job.clone()]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let ask_for = |path: &str| {
        let path = format!("/v1.0/{PROJECT}/{path}");
        answer(dws(), &get(&dws().endpoint("cn-north-4"), PROJECT, &path, &[]), &world)
    };
    let recorded = |file: &str| -> Value { serde_json::from_slice(&fixture(dws(), file)).unwrap() };
    let (status, listed) = ask_for("clusters");
    assert_eq!(status, 200);
    let three = recorded("clusters-three.json");
    assert_eq!(field_names(&listed, ""), field_names(&three, ""));
    assert_eq!(field_names(&listed, "/clusters/0"), field_names(&three, "/clusters/2"));
    let (_, one) = ask_for(&format!("job/{JOB}"));
    assert_eq!(field_names(&one, ""), field_names(&recorded("job-failed.json"), ""));
    assert_eq!(ask(dws(), &world, vec![by_id(JOB).unwrap()]), (vec![job], 1));
    let (status, refused) = ask_for("job/2c9080e88459fa44018459fbeb600009");
    assert_eq!((status, &refused["error_code"]), (404, &"DWS.0001".into()));
}
