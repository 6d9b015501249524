//! What Huawei's databases have planned: what is asked, what answers say, and what the simulated cloud
//! answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::huawei::signature::get;
use dbtask_clouds::model::{Resource, Task, TaskState, Timestamp};
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::World;
use http::Response;
use proptest::prelude::*;
use serde_json::Value;

use crate::golden::{
    answer, any, check_fixtures, check_round_trip, field_names, fixture, list_requests, resource,
    target, time,
};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";

/// Each API with its service, its path and the most rows of a page.
const LISTS: [(&str, &str, &str, usize); 5] = [
    ("huawei_dds_scheduled", "dds", "scheduled-jobs", 100),
    ("huawei_rds_scheduled", "rds", "schedule-tasks", 50),
    ("huawei_taurusdb_scheduled", "gaussdb", "scheduled-jobs", 100),
    ("huawei_geminidb_scheduled", "gaussdb-nosql", "scheduled-jobs", 100),
    ("huawei_gaussdb_scheduled", "gaussdb-opengauss", "instances/schedule-tasks", 100),
];

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
    let mut queries = api.list(&scope(&[]));
    assert_eq!(queries.len(), 1, "one call is enough");
    queries.remove(0)
}

#[test]
fn each_list_is_asked_for_in_its_own_words() {
    let window = "end_time=2026-03-14T12%3A01%3A00%2B0000&";
    let start = "&start_time=2026-02-12T12%3A01%3A00%2B0000";
    for (name, service, path, limit) in LISTS {
        let (window, start) = match name {
            "huawei_dds_scheduled" | "huawei_geminidb_scheduled" => (window, start),
            _ => ("", ""),
        };
        let language = match name {
            "huawei_taurusdb_scheduled" | "huawei_gaussdb_scheduled" => "x-language: en-us\n",
            _ => "",
        };
        let expected = format!(
            "GET https://{service}.cn-north-4.myhuaweicloud.com/v3/{PROJECT}/{path}?{window}limit={limit}\
             &offset=0{start}\ncontent-type: application/json\n{language}x-project-id: {PROJECT}\n\n"
        );
        let watched = [resource("x", None), resource("y", None)];
        for resources in [&[][..], &watched] {
            let asked = list_requests(api(name), &beijing(api(name)), &scope(resources));
            assert_eq!(asked, [&*expected], "{name}");
        }
        let task = TaskRef { id: "1".into(), resource: None, started: None };
        assert_eq!(api(name).by_id(&task, now()), None, "{name}");
    }
}

#[test]
fn recorded_answers_are_read() {
    for (name, ..) in LISTS {
        check_fixtures(api(name), &beijing(api(name)), |stem| {
            stem.starts_with("list").then(|| list(api(name)))
        });
    }
}

#[test]
fn planned_tasks_have_an_interval_of_their_own_unless_the_source_says_otherwise() {
    let minutes = |poll: &str, own: &str| {
        let source = |name: &str, own: &str| {
            format!("{{name: {name}, api: {name}, region: cn-north-4, project_id: {PROJECT}{own}}}")
        };
        let (jobs, plans) = (source("huawei_rds", ""), source("huawei_rds_scheduled", own));
        let text = format!("{poll}\nsources: [{jobs}, {plans}]\n");
        let config = Config::parse(&text, "test.yml", &Environment::default()).unwrap();
        let polls = config.sources.iter().map(|source| &source.poll);
        polls.map(|it| (it.interval.as_secs(), it.idle_interval.as_secs())).collect::<Vec<_>>()
    };
    assert_eq!(minutes("", ""), [(30, 120), (300, 300)]);
    assert_eq!(minutes("poll: {interval: 2s, idle_interval: 5s}", ""), [(2, 5), (300, 300)]);
    assert_eq!(minutes("poll: {interval: 10m}", ""), [(600, 600), (600, 600)]);
    assert_eq!(minutes("", ", poll: {interval: 1m}"), [(30, 120), (60, 120)]);
    // What is meant for the others is not too short for it.
    assert_eq!(minutes("poll: {stale_after: 1m}", ""), [(30, 120), (300, 300)]);
}

/// Tasks that the API can express: nothing that ended has an end.
fn tasks(api: &'static TaskApi) -> impl Strategy<Value = Vec<Task>> {
    let word = prop::sample::select(api.facts.statuses.to_vec());
    let task = (word, 0_usize..3, 1_u64..2_000_000, 0_u64..900_000);
    proptest::collection::vec(task, 0..230).prop_map(move |parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, ((word, state), instance, age, ahead))| {
            let created = now().saturating_sub(Duration::from_secs(age));
            let planned = Some(now() + Duration::from_secs(ahead));
            Task {
                kind: "RESIZE_FLAVOR".into(),
                resource: instance_of(instance),
                created: Some(created),
                scheduled: planned.filter(|_| state == TaskState::Pending),
                ..Task::new(format!("5ed6a9e9{index:04}"), state, word)
            }
        })
        .collect()
    })
}

fn instance_of(number: usize) -> Arc<Resource> {
    resource(&format!("{number:030}in01"), (number > 0).then_some("orders"))
}

fn apis() -> Vec<&'static TaskApi> {
    LISTS.map(|(name, ..)| api(name)).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn polls_find_every_simulated_task(
        (api, tasks) in prop::sample::select(apis()).prop_flat_map(|api| (Just(api), tasks(api))),
    ) {
        let target = beijing(api);
        let resources = [0, 1, 2].map(instance_of);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        check_round_trip(api, &world, &scope(&[]));
        check_round_trip(api, &world, &scope(&resources));
    }

    #[test]
    fn no_answer_makes_decode_panic(
        (api, body) in
            prop::sample::select(apis()).prop_flat_map(|api| (Just(api), any::spoilt(api))),
    ) {
        let _ = api.decode(&beijing(api), &list(api), &Response::new(body));
    }
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    for (name, _, path, most) in LISTS {
        let api = api(name);
        let task = Task {
            kind: "REBOOT".into(),
            resource: instance_of(1),
            created: Some(time("2026-03-14T02:11:09Z")),
            ..Task::new("7", TaskState::Pending, "Pending")
        };
        let (target, resources, tasks) = (beijing(api), [instance_of(1)], [task]);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let request = |parameters: &[(&str, String)]| {
            get(&api.endpoint("cn-north-4"), PROJECT, &format!("/v3/{PROJECT}/{path}"), parameters)
        };
        let recorded: Value = serde_json::from_slice(&fixture(api, "list-plans.json")).unwrap();
        let (status, simulated) = answer(api, &request(&[]), &world);
        assert_eq!(status, 200);
        assert_eq!(field_names(&simulated, ""), field_names(&recorded, ""), "{name}");
        let rows = simulated.as_object().unwrap().iter().find(|(_, value)| value.is_array());
        let row = format!("/{}/0", rows.unwrap().0);
        assert_eq!(field_names(&simulated, &row), field_names(&recorded, &row), "{name}");
        for (name, value) in [("limit", (most + 1).to_string()), ("limit", "0".to_owned())] {
            let (status, refused) = answer(api, &request(&[(name, value)]), &world);
            assert_eq!((status, &refused["error_code"]), (400, &"DBS.280001".into()));
        }
    }
}

#[test]
fn bytes_are_no_list() {
    for api in apis() {
        for body in ["", "[]", "null", "{}", "<html></html>"] {
            let response = Response::new(Bytes::from(body));
            assert!(api.decode(&beijing(api), &list(api), &response).is_err(), "{body}");
        }
    }
}
