//! Alibaba's `OceanBase`, `ListProjects`: recorded answers, requests, and the simulated vendor.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi};
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::refusal::RefusalKind;
use dbtask_clouds::signing::{Signing, hash};
use dbtask_simulator::{Gateway, World};
use http::{Request, Response};
use serde_json::{Value, json};

use crate::golden::{
    ask, check_fixtures, check_round_trip, fixture, fixtures, resource, target, time,
};

fn oceanbase() -> &'static TaskApi {
    catalog::named("alibaba_oceanbase").unwrap()
}

fn hangzhou() -> Target {
    target(oceanbase(), "cn-hangzhou", 8)
}

fn now() -> Timestamp {
    time("2026-03-01T08:00:30Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-02-28T08:00:30Z"), resources, tags: &[] }
}

fn list() -> Query {
    oceanbase().list(&scope(&[])).remove(0)
}

fn asked(name: &str) -> Option<Query> {
    name.starts_with("projects-").then(list)
}

#[test]
fn recorded_answers_become_these_tasks() {
    check_fixtures(oceanbase(), &hangzhou(), asked);
}

#[test]
fn no_user_host_or_stack_trace_is_shown() {
    for (name, body) in fixtures(oceanbase()) {
        let Some(query) = asked(&name) else { continue };
        let answer = Response::new(body);
        let Ok(page) = oceanbase().decode(&hangzhou(), &query, &answer) else { continue };
        let shown = format!("{page:?}");
        for secret in ["192.0.2", "oms'", "3306", "com.example", "admin", "c_4wexample"] {
            assert!(!shown.contains(secret), "{name}: {secret}");
        }
    }
}

#[test]
fn parameters_travel_in_the_body_which_the_signature_covers() {
    let queries = oceanbase().list(&scope(&[]));
    assert_eq!(queries.len(), 2);
    for (query, of) in queries.iter().zip(["MIGRATION", "SYNC"]) {
        let mut request = oceanbase().facts.cloud.request(&hangzhou(), query);
        assert_eq!(request.uri().to_string(), "https://oceanbasepro.cn-hangzhou.aliyuncs.com/?");
        let body = format!("PageNumber=1&PageSize=100&Type={of}");
        assert_eq!(request.body(), &Bytes::from(body.clone()));
        assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers()["x-acs-action"], "ListProjects");
        assert_eq!(request.headers()["x-acs-version"], "2019-09-01");
        let credentials = Credentials::Keys(AccessKeys {
            access_key_id: "LTAIexample".to_owned(),
            secret_access_key: "secret".into(),
            security_token: None,
        });
        let signing =
            Signing { service: "oceanbasepro", credentials: &credentials, now: now(), nonce: "1" };
        Cloud::Alibaba.sign(&mut request, &signing).unwrap();
        let headers = request.headers();
        assert_eq!(headers["x-acs-content-sha256"], *hash::sha256_hex(body.as_bytes()));
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains("SignedHeaders=content-type;host;"), "{authorization}");
        Cloud::Alibaba.verify(&request, "", Some(&credentials), now()).unwrap();
        *request.body_mut() = Bytes::from_static(b"Type=VERIFY");
        assert!(Cloud::Alibaba.verify(&request, "", Some(&credentials), now()).is_err());
    }
}

#[test]
fn a_refusal_with_a_good_status_is_no_empty_list() {
    for (name, code, kind) in [
        ("refused-inside-detail.json", "INVALID_PARAMETER", RefusalKind::Client),
        ("refused-old-form.json", "NoPermission", RefusalKind::Forbidden),
    ] {
        let answer = Response::new(fixture(oceanbase(), name));
        let refusal = oceanbase().facts.cloud.refusal(&answer).unwrap();
        assert_eq!((&*refusal.code, refusal.kind), (code, kind), "{name}");
        assert!(!refusal.message.is_empty());
    }
    for name in ["projects-steps.json", "projects-odd-values.json", "projects-empty.json"] {
        let answer = Response::new(fixture(oceanbase(), name));
        assert_eq!(oceanbase().facts.cloud.refusal(&answer), None, "{name}");
    }
}

#[test]
fn configured_projects_are_picked_out_of_the_list() {
    let watched = [resource("np_4wexample03", None)];
    let query = oceanbase().list(&scope(&watched)).remove(0);
    let answer = Response::new(fixture(oceanbase(), "projects-steps.json"));
    let page = oceanbase().decode(&hangzhou(), &query, &answer).unwrap();
    assert_eq!(page.tasks.len(), 1);
}

#[test]
fn the_simulated_vendor_is_read_as_it_is_over_all_pages() {
    let target = hangzhou();
    let task = |n: usize| {
        let (word, state) = oceanbase().facts.statuses[n % oceanbase().facts.statuses.len()];
        let id = format!("np_{n}");
        let error = TaskError { code: "OMS-1".into(), message: "no \"grant\"".into() };
        Task {
            kind: if n.is_multiple_of(3) { "SYNC" } else { "MIGRATION" }.into(),
            resource: resource(&id, Some("订单 to ob")),
            progress: Ratio::clamped(0.42),
            created: Some(time("2026-02-20T07:00:00Z")),
            started: (state != TaskState::Pending).then(|| time("2026-02-20T07:30:00Z")),
            ended: state.is_final().then(|| time("2026-02-20T08:00:00Z")),
            error: (state == TaskState::Failed).then(|| Box::new(error)),
            ..Task::new(id, state, word)
        }
    };
    let all: Vec<Task> = (0..330).map(task).collect();
    let world = World { now: now(), target: &target, resources: &[], tasks: &all };
    check_round_trip(oceanbase(), &world, &scope(&[]));
    assert_eq!(ask(oceanbase(), &world, oceanbase().list(&scope(&[]))).1, 3 + 2);
}

#[test]
fn the_simulated_vendor_looks_for_parameters_in_the_body_alone() {
    let said = |query: &str, body: &'static str| {
        let target = hangzhou();
        let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
        let request = Request::post(format!("https://x.example/?{query}"))
            .header("x-acs-action", "ListProjects")
            .header("x-acs-version", "2019-09-01")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let response = world.answer(oceanbase(), &request).unwrap();
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        body["Success"].clone()
    };
    assert_eq!(said("", "Type=MIGRATION"), json!(true));
    assert_eq!(said("Type=MIGRATION", ""), json!(false));
    assert_eq!(said("", "Type=VERIFY"), json!(false));
    assert_eq!(said("", "Type=SYNC&PageSize=151"), json!(false));
}
