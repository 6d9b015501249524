//! Huawei's caches and graphs: what is asked, what answers say, and what the simulated cloud answers. And for
//! all services of Huawei: what is a secret in an answer stays in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::huawei::signature::get;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_simulator::World;
use http::Response;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, field_names, fixture, fixtures, list_requests, request_text,
    resource, target, time,
};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";

const NAMES: [&str; 3] = ["huawei_dcs", "huawei_dcs_migration", "huawei_ges"];

fn api(name: &str) -> &'static TaskApi {
    catalog::named(name).unwrap()
}

fn beijing(api: &TaskApi) -> Target {
    target(api, "cn-north-4", 3)
}

fn now() -> Timestamp {
    time("2026-03-14T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-03-13T12:00:00Z"), resources, tags: &[] }
}

fn list(api: &TaskApi) -> Query {
    api.list(&scope(&[])).remove(0)
}

/// The query for how far the first of these migrations is.
fn stats() -> Query {
    let api = api("huawei_dcs_migration");
    let body = json!({"migration_tasks": [{"task_id": "m/1", "status": "MIGRATING"}]}).to_string();
    api.decode(&beijing(api), &list(api), &Response::new(body.into())).unwrap().next.remove(0)
}

#[test]
fn services_answer_where_the_vendors_clients_ask_them() {
    for (name, region, endpoint) in [
        ("huawei_dcs", "cn-north-4", "https://dcs.cn-north-4.myhuaweicloud.com"),
        ("huawei_dcs", "eu-west-101", "https://dcs.eu-west-101.myhuaweicloud.com"),
        ("huawei_dcs_migration", "eu-de", "https://dcs.eu-de.otc.t-systems.com"),
        ("huawei_ges", "eu-west-101", "https://ges.eu-west-101.myhuaweicloud.eu"),
    ] {
        assert_eq!(api(name).endpoint(region), endpoint);
    }
}

#[test]
fn each_list_is_asked_for_in_its_own_words() {
    for (name, expected) in [
        (
            "huawei_dcs",
            "https://dcs.cn-north-4.myhuaweicloud.com/v2/{}/tasks?end_time=20260314120100&limit=1000\
             &offset=0&start_time=20260212120000",
        ),
        (
            "huawei_dcs_migration",
            "https://dcs.cn-north-4.myhuaweicloud.com/v2/{}/migration-tasks?limit=100&offset=0",
        ),
        (
            "huawei_ges",
            "https://ges.cn-north-4.myhuaweicloud.com/v2/{}/graphs/jobs?limit=100&offset=0",
        ),
    ] {
        let expected = format!(
            "GET {}\ncontent-type: application/json\nx-project-id: {PROJECT}\n\n",
            expected.replace("{}", PROJECT)
        );
        assert_eq!(list_requests(api(name), &beijing(api(name)), &scope(&[])), [&*expected]);
        let task = TaskRef { id: "1".into(), resource: None, started: None };
        assert_eq!(api(name).by_id(&task, now()), None, "{name}");
    }
    // An id is a part of the path, whatever is in it.
    let text = request_text(&Cloud::Huawei.request(&beijing(api("huawei_dcs")), &stats()));
    assert!(text.contains(&format!("/v2/{PROJECT}/migration-task/m%2F1/stats\n")), "{text}");
}

#[test]
fn recorded_answers_are_read() {
    for name in NAMES {
        let api = api(name);
        check_fixtures(api, &beijing(api), |stem| match stem {
            _ if stem.starts_with("stats") => Some(stats()),
            _ => stem.starts_with("list").then(|| list(api)),
        });
    }
}

#[test]
fn a_list_that_is_not_there_is_never_a_list_without_tasks() {
    for (name, pointer) in NAMES.iter().zip(["/tasks", "/migration_tasks", "/job_list"]) {
        let api = api(name);
        for body in [
            json!({}),
            json!({"count": 0}),
            json!({"error_code": "DCS.5000", "error_msg": "why", pointer[1..].to_owned(): []}),
            json!({"errorCode": "GES.0001", "errorMessage": "why", pointer[1..].to_owned(): null}),
        ] {
            let response = Response::new(Bytes::from(body.to_string()));
            let page = api.decode(&beijing(api), &list(api), &response);
            assert_eq!(page, Err(DecodeError::Missing(pointer)), "{name} {body}");
        }
    }
}

/// Tasks that an API can express.
fn tasks(api: &'static TaskApi) -> impl Strategy<Value = Vec<Task>> {
    let word = prop::sample::select(api.facts.statuses.to_vec());
    let task = (word, 0_usize..3, 0_u8..=100, 0_u64..2_000_000, "[a-z]{1,9}");
    let name = api.facts.name;
    proptest::collection::vec(task, 0..230).prop_map(move |parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, ((word, state), instance, percent, age, text))| {
            let at = Some(now().saturating_sub(Duration::from_secs(age)));
            let ended = at.map(|at| at + Duration::from_secs(30)).filter(|_| state.is_final());
            let has_failed = state == TaskState::Failed;
            let error = |code: &str, message: &str| {
                has_failed
                    .then(|| Box::new(TaskError { code: code.into(), message: message.into() }))
            };
            let task = Task::new(format!("8abf6e1e{index:04}"), state, word);
            let task = Task { kind: "Something".into(), ..task };
            match name {
                "huawei_dcs" => Task { created: at, ended, error: error("DCS.5003", ""), ..task },
                "huawei_dcs_migration" => Task {
                    resource: resource(&format!("eb1a8d1c-{instance}"), Some("redis-new")),
                    created: at,
                    progress: Ratio::clamped(f64::from(percent) / 100.0)
                        .filter(|_| word == "MIGRATING"),
                    error: error("", &text),
                    ..task
                },
                _ => Task {
                    resource: resource("", Some("social")),
                    started: at.filter(|_| state != TaskState::Pending),
                    ended,
                    error: error("", &text),
                    ..task
                },
            }
        })
        .collect()
    })
}

fn apis() -> Vec<&'static TaskApi> {
    NAMES.map(api).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn polls_find_every_simulated_task(
        (api, tasks) in prop::sample::select(apis()).prop_flat_map(|api| (Just(api), tasks(api))),
    ) {
        let target = beijing(api);
        let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
        let (found, _) = ask(api, &world, api.list(&scope(&[])));
        // Of two sightings the later counts.
        let by_id = |tasks: &[Task]| {
            let each = tasks.iter().map(|task| (Arc::clone(&task.id), task.clone()));
            each.collect::<BTreeMap<Arc<str>, Task>>()
        };
        prop_assert_eq!(by_id(&found), by_id(&tasks));
    }

    #[test]
    fn no_answer_makes_decode_panic(
        (api, body) in
            prop::sample::select(apis()).prop_flat_map(|api| (Just(api), any::spoilt(api))),
    ) {
        let _ = api.decode(&beijing(api), &list(api), &Response::new(body.clone()));
        let migrations = self::api("huawei_dcs_migration");
        let _ = migrations.decode(&beijing(migrations), &stats(), &Response::new(body));
    }
}

#[test]
fn a_row_without_an_instance_is_of_none_that_is_watched() {
    let api = api("huawei_dcs");
    let query = api.list(&scope(&[resource("some", None)])).remove(0);
    let response = Response::new(fixture(api, "list-four.json"));
    assert_eq!(api.decode(&beijing(api), &query, &response).unwrap().tasks, []);
}

#[test]
fn graphs_are_watched_by_their_names() {
    let api = api("huawei_ges");
    let query = api.list(&scope(&[resource("demo", None)])).remove(0);
    let response = Response::new(fixture(api, "list-three.json"));
    let page = api.decode(&beijing(api), &query, &response).unwrap();
    let kinds: Vec<&str> = page.tasks.iter().map(|task| &*task.kind).collect();
    assert_eq!(kinds, ["CreateGraph"]);
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    for (name, path, file, row) in [
        ("huawei_dcs", "/v2/{}/tasks", "list-four.json", "/tasks/0"),
        ("huawei_dcs", "/v2/{}/tasks", "list-four.json", ""),
        ("huawei_dcs_migration", "/v2/{}/migration-tasks", "list-five.json", "/migration_tasks/0"),
        ("huawei_dcs_migration", "/v2/{}/migration-tasks", "list-five.json", ""),
        ("huawei_dcs_migration", "/v2/{}/migration-task/7/stats", "stats-published.json", ""),
        ("huawei_ges", "/v2/{}/graphs/jobs", "list-three.json", "/job_list/0"),
        ("huawei_ges", "/v2/{}/graphs/jobs", "list-three.json", ""),
    ] {
        let api = api(name);
        let (_, state) = api.facts.statuses[1];
        let status_word = if name == "huawei_ges" { "running" } else { api.facts.statuses[1].0 };
        let task = Task {
            started: Some(now()),
            created: Some(now()),
            ..Task::new("7", state, status_word)
        };
        let task = Task { state: TaskState::Running, ..task };
        let (target, tasks) = (beijing(api), [task]);
        let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
        let request = |path: &str, parameters: &[(&str, String)]| {
            get(&api.endpoint("cn-north-4"), PROJECT, &path.replace("{}", PROJECT), parameters)
        };
        let recorded: Value = serde_json::from_slice(&fixture(api, file)).unwrap();
        let (status, simulated) = answer(api, &request(path, &[]), &world);
        assert_eq!(status, 200, "{simulated}");
        assert_eq!(field_names(&simulated, row), field_names(&recorded, row), "{name} {row}");
        let (status, refused) = answer(
            api,
            &request(&path.replace("/7/", "/8/"), &[("limit", "0".to_owned())]),
            &world,
        );
        assert_eq!(status, 400, "{name}");
        assert!(refused["error_code"].is_string(), "{name}");
    }
}

#[test]
fn the_task_centre_of_dcs_is_in_the_vendors_own_regions_only() {
    let api = api("huawei_dcs");
    for (region, status) in [("cn-north-4", 200), ("eu-de", 404), ("eu-west-101", 404)] {
        let target = target(api, region, 0);
        let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
        let request = Cloud::Huawei.request(&target, &list(api));
        assert_eq!(answer(api, &request, &world).0, status, "{region}");
    }
}

/// Fields that hold secrets, addresses or people's names in some answer of Huawei's.
const SECRETS: [&str; 26] = [
    "connect_info",
    "data_source",
    "db_password",
    "description",
    "detail",
    "details",
    "ecs_tenant_private_ip",
    "endpoint",
    "endpoints",
    "entities",
    "extend_fields",
    "jdbc_url",
    "job_detail",
    "order_id",
    "params",
    "password",
    "private_ip",
    "public_endpoints",
    "source_endpoint",
    "target_config",
    "target_endpoint",
    "target_instance_addrs",
    "task_content",
    "user_id",
    "user_name",
    "users",
];

/// The document with a canary in each of those fields of each of its objects.
fn with_canaries(value: &mut Value, more: &[&str]) {
    match value {
        Value::Object(fields) => {
            for value in fields.values_mut() {
                with_canaries(value, more);
            }
            for name in SECRETS.iter().chain(more) {
                fields.insert((*name).to_owned(), "CANARY".into());
            }
        }
        Value::Array(rows) => rows.iter_mut().for_each(|row| with_canaries(row, more)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_secret_of_an_answer_of_huaweis_is_ever_read() {
    for api in APIS.iter().filter(|api| api.facts.cloud == Cloud::Huawei) {
        // The texts of DRS and of clusters hold connection strings.
        let texts: &[&str] = match api.facts.name {
            "huawei_drs" => &["error_msg", "error_message", "error_log"],
            "huawei_dws" => &["failed_reasons", "error_msg"],
            _ => &[],
        };
        let task = TaskRef { id: "1".into(), resource: None, started: None };
        let mut queries = api.list(&scope(&[]));
        queries.extend(api.by_id(&task, now()));
        queries.extend(api.discover(&scope(&[])));
        let mut read = 0;
        for (file, body) in fixtures(api) {
            let Ok(mut document) = serde_json::from_slice::<Value>(&body) else { continue };
            with_canaries(&mut document, texts);
            let body = Bytes::from(document.to_string());
            let mut queries = std::collections::VecDeque::from(queries.clone());
            while let Some(query) = queries.pop_front() {
                let answer = Response::new(body.clone());
                let Ok(page) = api.decode(&beijing(api), &query, &answer) else { continue };
                assert!(!format!("{page:?}").contains("CANARY"), "{}: {file}", api.facts.name);
                read += page.tasks.len();
                let follows = |next: &&Query| next.operation != query.operation;
                queries.extend(page.next.iter().filter(follows).cloned());
            }
        }
        assert!(read > 0, "{}: nothing was read", api.facts.name);
    }
}
