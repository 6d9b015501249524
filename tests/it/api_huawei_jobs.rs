//! The lists of jobs of Huawei's databases: what is asked, what answers say, and what the simulated cloud
//! answers. DDS, which is one of them, has tests of its own besides.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::query;
use dbtask_simulator::{Scenario, World};
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, check_round_trip, field_names, fixture, request_text,
    resource, target, time,
};
use crate::support::{Lab, one_task};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";

const NAMES: [&str; 6] = [
    "huawei_dds",
    "huawei_rds",
    "huawei_taurusdb",
    "huawei_geminidb",
    "huawei_gaussdb",
    "huawei_ddm",
];

fn api(name: &str) -> &'static TaskApi {
    catalog::named(name).unwrap()
}

fn beijing(api: &TaskApi) -> Target {
    // The offset is Tencent's; it must change nothing here.
    target(api, "cn-north-4", 3)
}

fn now() -> Timestamp {
    time("2026-03-14T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-03-13T12:00:00Z"), resources, tags: &[] }
}

fn by_id(api: &TaskApi, id: &str) -> Query {
    api.by_id(&TaskRef { id: id.into(), resource: None, started: None }, now()).unwrap()
}

fn recent(api: &TaskApi) -> Query {
    api.list(&scope(&[])).pop().unwrap()
}

/// Method, address and the language that is asked for.
fn text(api: &TaskApi, query: &Query) -> String {
    let text = request_text(&api.facts.cloud.request(&beijing(api), query));
    let (project, english) = (format!("x-project-id: {PROJECT}"), "x-language: en-us");
    let mut lines = text.trim_end().lines();
    let mut said = lines.next().unwrap().replace(PROJECT, "{p}");
    for line in lines {
        match line {
            "content-type: application/json" => {}
            line if line == project => {}
            line if line == english => said.push_str(" in English"),
            line => panic!("{line}"),
        }
    }
    said
}

#[test]
fn services_answer_where_the_vendors_clients_ask_them() {
    for (name, region, endpoint) in [
        ("huawei_rds", "cn-north-4", "https://rds.cn-north-4.myhuaweicloud.com"),
        ("huawei_rds", "eu-west-101", "https://rds.eu-west-101.myhuaweicloud.eu"),
        ("huawei_rds", "eu-de", "https://rds.eu-de.otc.t-systems.com"),
        ("huawei_geminidb", "cn-north-4", "https://gaussdb-nosql.cn-north-4.myhuaweicloud.com"),
        ("huawei_taurusdb", "cn-north-4", "https://gaussdb.cn-north-4.myhuaweicloud.com"),
        ("huawei_taurusdb", "tr-west-1", "https://gaussdbformysql.tr-west-1.myhuaweicloud.com"),
        ("huawei_taurusdb", "cn-east-5", "https://gaussdb-mysql.cn-east-5.myhuaweicloud.com"),
        ("huawei_taurusdb", "eu-de", "https://gaussdb-mysql.eu-de.otc.t-systems.com"),
        ("huawei_gaussdb", "cn-north-4", "https://gaussdb-opengauss.cn-north-4.myhuaweicloud.com"),
        ("huawei_gaussdb", "cn-east-5", "https://gaussdb.cn-east-5.myhuaweicloud.com"),
        ("huawei_gaussdb", "eu-de", "https://gaussdb.eu-de.otc.t-systems.com"),
        ("huawei_ddm", "ap-southeast-1", "https://ddm.ap-southeast-1.myhuaweicloud.com"),
        ("huawei_ddm", "eu-west-101", "https://ddm.eu-west-101.myhuaweicloud.eu"),
    ] {
        assert_eq!(api(name).endpoint(region), endpoint);
    }
}

#[test]
fn each_list_is_asked_for_in_its_own_words() {
    let ms = |text: &str| time(text).as_second() * 1000;
    let (day, soon) = (ms("2026-03-13T12:00:00Z"), ms("2026-03-14T12:01:00Z"));
    let (ahead, month) = (ms("2026-04-13T12:01:00Z"), ms("2026-02-12T12:01:00Z"));
    let window = "start_time=2026-03-13T12%3A00%3A00%2B0000";
    let end = "end_time=2026-03-14T12%3A01%3A00%2B0000";
    let host =
        |service: &str| format!("GET https://{service}.cn-north-4.myhuaweicloud.com/v3/{{p}}");
    let english = " in English";
    let cases = [
        (
            "huawei_rds",
            vec![
                format!("{}/tasklist?limit=50&offset=0&status=Running", host("rds")),
                format!(
                    "{}/tasklist?end_time={ahead}&limit=50&offset=0&start_time={day}",
                    host("rds")
                ),
            ],
            format!("{}/tasklist?id=a%26b&limit=50&offset=0", host("rds")),
        ),
        (
            "huawei_taurusdb",
            vec![
                format!(
                    "{}/immediate-jobs?limit=50&offset=0&status=Running{english}",
                    host("gaussdb")
                ),
                format!(
                    "{}/immediate-jobs?{end}&limit=50&offset=0&{window}{english}",
                    host("gaussdb")
                ),
            ],
            format!("{}/jobs?id=a%26b{english}", host("gaussdb")),
        ),
        (
            "huawei_geminidb",
            vec![
                format!("{}/jobs?limit=50&offset=0&status=Running", host("gaussdb-nosql")),
                format!("{}/jobs?{end}&limit=50&offset=0&{window}", host("gaussdb-nosql")),
            ],
            format!("{}/jobs?id=a%26b&limit=50&offset=0", host("gaussdb-nosql")),
        ),
        (
            "huawei_gaussdb",
            vec![
                format!(
                    "{}/tasks?limit=100&offset=0&status=Running{english}",
                    host("gaussdb-opengauss")
                ),
                format!(
                    "{}/tasks?end_time={soon}&limit=100&offset=0&start_time={day}{english}",
                    host("gaussdb-opengauss")
                ),
            ],
            format!("{}/jobs?id=a%26b", host("gaussdb-opengauss")),
        ),
        (
            "huawei_ddm",
            vec![format!(
                "{}/jobs?end_time={soon}&limit=128&offset=0&start_time={month}",
                host("ddm")
            )],
            format!("{}/jobs/a%26b", host("ddm")),
        ),
    ];
    for (name, list, one) in cases {
        let api = api(name);
        let watched = [resource("x", None), resource("y", None)];
        for resources in [&[][..], &watched] {
            let asked: Vec<String> =
                api.list(&scope(resources)).iter().map(|query| text(api, query)).collect();
            assert_eq!(asked, list, "{name} cannot filter by resources");
        }
        assert_eq!(text(api, &by_id(api, "a&b")), one, "{name}");
        for id in ["", "a/b", "../x", "a\nb", "c99ed9b8a5fd4ef8ae8e94fd1d20dc3ein07"] {
            let task = TaskRef { id: id.into(), resource: None, started: None };
            assert_eq!(api.by_id(&task, now()), None, "{name} {id:?}");
        }
    }
}

#[test]
fn the_second_page_follows_the_rows_of_the_first() {
    for (name, limit) in
        [("huawei_rds", 50), ("huawei_geminidb", 50), ("huawei_gaussdb", 100), ("huawei_ddm", 128)]
    {
        let query = recent(api(name)).next_page();
        assert!(text(api(name), &query).contains(&format!("offset={limit}&")), "{name}");
    }
}

#[test]
fn recorded_answers_are_read() {
    for name in &NAMES[1..] {
        let api = api(name);
        check_fixtures(api, &beijing(api), |stem| match stem {
            "task-published" => Some(by_id(api, "676e9f17f9b74289883a44a47b810031")),
            "task-pending" => Some(by_id(api, "31b8ae23-0000-4d80-b7b4-42a66c9b0001")),
            "task-running" => {
                let id = match *name {
                    "huawei_taurusdb" => "31b8ae23-0000-4d80-b7b4-42a66c9b0021",
                    "huawei_geminidb" => "6f85e061-0000-42e7-86d6-d3b1e40a0003",
                    _ => "31b8ae23-0000-4d80-b7b4-42a66c9b0031",
                };
                Some(by_id(api, id))
            }
            "task-failed" => Some(by_id(api, "5cbb8a90-0000-4cff-8a13-49aa8f310001")),
            "task-unknown-id" | "task-empty" => Some(by_id(api, "nobody-knows")),
            _ => stem.starts_with("list").then(|| Query { since: None, ..recent(api) }),
        });
    }
}

#[test]
fn an_answer_about_another_task_is_no_answer() {
    for (name, file) in [
        ("huawei_rds", "task-published.json"),
        ("huawei_taurusdb", "task-running.json"),
        ("huawei_geminidb", "task-running.json"),
        ("huawei_gaussdb", "task-failed.json"),
        ("huawei_ddm", "task-running.json"),
    ] {
        let api = api(name);
        let response = Response::new(fixture(api, file));
        let page = api.decode(&beijing(api), &by_id(api, "another"), &response).unwrap();
        assert_eq!(page.tasks, [], "{name}");
    }
}

#[test]
fn a_list_that_is_not_there_is_never_a_list_without_tasks() {
    for name in NAMES {
        let api = api(name);
        let pointer =
            if matches!(name, "huawei_rds" | "huawei_gaussdb") { "/tasks" } else { "/jobs" };
        let rows = &pointer[1..];
        for body in [
            json!({}),
            json!({"total_count": 0}),
            json!({"error_code": "DBS.280005", "error_msg": "why"}),
            json!({"errCode": "DBS.280005", "externalMessage": "why", rows: []}),
            json!({"error_code": "DBS.280005", "error_msg": "why", rows: null, "x": 1}),
        ] {
            let response = Response::new(Bytes::from(body.to_string()));
            let page = api.decode(&beijing(api), &recent(api), &response);
            assert_eq!(page, Err(DecodeError::Missing(pointer)), "{name} {body}");
        }
    }
}

#[test]
fn an_offset_that_is_refused_is_replaced_by_one() {
    let api = api("huawei_taurusdb");
    let refusal = |kind| Refusal {
        kind,
        code: "DBS.280001".to_owned(),
        message: String::new(),
        retry_after: None,
    };
    for query in api.list(&scope(&[])) {
        let other = api.client.instead(&query, &refusal(RefusalKind::Client)).unwrap();
        assert_eq!(text(api, &other), text(api, &query).replace("offset=0", "offset=1"));
        assert_eq!(api.client.instead(&other, &refusal(RefusalKind::Client)), None);
        assert_eq!(api.client.instead(&query, &refusal(RefusalKind::Server)), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_first_offset_is_refused_is_read_all_the_same() {
    // One that counts pages from 1 and refuses to be asked for the page before the first.
    let refuse = |_: Duration, request: &Request<Bytes>| {
        let offset = query::parameters(request).get("offset").cloned()?;
        let list = json!({"jobs": [{"job_id": "1", "status": "Running"}], "total_count": 1});
        let refusal = json!({"error_code": "DBS.280001", "error_msg": "Parameter error."});
        let is_refused = offset == "0";
        let body = if is_refused { refusal } else { list };
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = if is_refused { 400 } else { 200 }.try_into().unwrap();
        Some(response)
    };
    let lab = Lab::through(&one_task("huawei_taurusdb", "[{hang: {}}]"), |_| {}, refuse);
    lab.minutes(2).await;
    let snapshot = lab.snapshot("one");
    assert!(snapshot.up, "{:?}", snapshot.last_error);
    assert_eq!(snapshot.tasks.len(), 1);
    lab.stop().await;
}

#[test]
fn two_services_with_one_path_are_not_simulated_behind_one_key() {
    let scenario = |second: &str, region: &str| {
        let source = |name: &str, api: &str, region: &str| {
            format!(
                "  - {{name: {name}, api: {api}, region: {region}, account: a, resources: [{{id: i}}]}}\n"
            )
        };
        let sources =
            source("one", "huawei_geminidb", "cn-north-4") + &source("two", second, region);
        Scenario::parse(&format!("sources:\n{sources}"))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let refused = scenario("huawei_ddm", "cn-north-4").unwrap_err();
    assert!(refused.contains("\"one\" and \"two\" are asked by the same path"), "{refused}");
    assert_eq!(scenario("huawei_ddm", "cn-north-1"), Ok(()));
    assert_eq!(scenario("huawei_rds", "cn-north-4"), Ok(()));
    assert_eq!(scenario("huawei_geminidb", "cn-north-4"), Ok(()));
}

/// A list of `TaurusDB` whose offset means this: which rows it shows of all.
type Offset = fn(usize, usize) -> usize;

/// What a poll finds of so many tasks, one a minute, and with how many calls; `None` if it is not sure
/// to have found all.
fn found(count: u32, skipped: Offset, ignores_window: bool) -> (usize, usize, bool) {
    let api = api("huawei_taurusdb");
    let created = |n: u32| now().saturating_sub(Duration::from_secs(u64::from(n) * 60 + 5));
    let mut queries = VecDeque::from([recent(api)]);
    let (mut pages, mut ids, mut calls, mut whole) = (Pages::default(), BTreeSet::new(), 0, true);
    while let Some(query) = queries.pop_front() {
        calls += 1;
        assert!(calls < 1000, "it never ends");
        let request = api.facts.cloud.request(&beijing(api), &query);
        let parameters = query::parameters(&request);
        let [since, until] =
            ["start_time", "end_time"].map(|name| time(&parameters[name].replace("+0000", "Z")));
        let limit: usize = parameters["limit"].parse().unwrap();
        let offset: usize = parameters["offset"].parse().unwrap();
        let rows: Vec<Value> = (0..count)
            .filter(|&n| ignores_window || (since..=until).contains(&created(n)))
            .map(|n| json!({"job_id": n.to_string(), "status": "Completed", "created_time": created(n).to_string()}))
            .collect();
        let total = rows.len();
        let shown: Vec<Value> = rows.into_iter().skip(skipped(offset, limit)).take(limit).collect();
        let body = json!({"jobs": shown, "total_count": total}).to_string();
        let page = api.decode(&beijing(api), &query, &Response::new(body.into())).unwrap();
        let page = pages.take(&query, page);
        whole &= !page.incomplete;
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        for next in page.next.into_iter().rev() {
            queries.push_front(next);
        }
    }
    (ids.len(), calls, whole)
}

#[test]
fn the_list_of_taurusdb_is_whole_whether_its_offset_counts_records_or_pages() {
    let records: Offset = |offset, _| offset;
    let pages: Offset = |offset, limit| offset.saturating_sub(1) * limit;
    for skipped in [records, pages] {
        assert_eq!(found(0, skipped, false), (0, 1, true));
        assert_eq!(found(49, skipped, false), (49, 1, true));
        for count in [50, 51, 400, 1300] {
            let (ids, calls, whole) = found(count, skipped, false);
            assert_eq!((ids, whole), (count as usize, true), "{count}");
            assert!(calls <= 127, "{calls} calls for {count}");
        }
    }
}

#[test]
fn a_window_that_is_ignored_is_not_halved_for_ever() {
    let (ids, calls, whole) = found(400, |offset, _| offset, true);
    assert_eq!((ids, whole), (50, false));
    assert!(calls < 60, "{calls}");
}

fn words(api: &TaskApi) -> Vec<&'static str> {
    let known = api.facts.statuses.iter().map(|&(word, _)| word);
    // Neither list has a window for a task that waits for long.
    known.filter(|word| !matches!(*word, "Pending" | "Unauthorized")).collect()
}

/// Tasks that the API can express, within the reach of one poll: what is running may be old.
fn tasks(api: &'static TaskApi) -> impl Strategy<Value = Vec<Task>> {
    let word = prop::sample::select(words(api));
    let kind = prop::sample::select(vec!["RestoreInstance", "Something New"]);
    let task = (word, kind, 0_usize..3, 0_u8..=100, 0_u64..86_000, "[a-z(\"]([a-z\n\"]{0,20}\\.)");
    // As many as no list of half a window can hold would need more than one of each second.
    proptest::collection::vec(task, 0..160).prop_map(move |parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, (word, kind, instance, percent, age, reason))| {
            let state = api.facts.state(word);
            let is_old = state == TaskState::Running && api.facts.name != "huawei_taurusdb";
            let age = Duration::from_secs(if is_old { age * 30 } else { age });
            let created = now().saturating_sub(age);
            let error = TaskError { code: "".into(), message: reason.into() };
            Task {
                kind: kind.into(),
                resource: instance_of(instance),
                progress: Ratio::clamped(f64::from(percent) / 100.0)
                    .filter(|_| state == TaskState::Running),
                created: Some(created),
                ended: state.is_final().then(|| created + Duration::from_secs(30)),
                error: (state == TaskState::Failed).then(|| Box::new(error)),
                ..Task::new(format!("9d10bfd1-{index:04}"), state, word)
            }
        })
        .collect()
    })
}

fn instance_of(number: usize) -> Arc<Resource> {
    resource(&format!("{number:030}in02"), (number > 0).then_some("orders"))
}

fn worlds() -> impl Strategy<Value = (&'static TaskApi, Vec<Task>)> {
    let named = prop::sample::select(NAMES.map(api).to_vec());
    named.prop_flat_map(|api| (Just(api), tasks(api)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn polls_find_every_simulated_task((api, mut tasks) in worlds()) {
        if api.facts.name == "huawei_taurusdb" {
            // The list of what is running has no second page.
            let mut running = 0;
            tasks.retain(|task| {
                running += usize::from(task.state == TaskState::Running);
                task.state != TaskState::Running || running < 50
            });
        }
        let target = beijing(api);
        let resources = [0, 1, 2].map(instance_of);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        check_round_trip(api, &world, &scope(&[]));
        check_round_trip(api, &world, &scope(&resources));
        for task in tasks.iter().take(3) {
            let has_no_reason = api.facts.name == "huawei_ddm";
            let shown = Task { error: task.error.clone().filter(|_| !has_no_reason), ..task.clone() };
            prop_assert_eq!(ask(api, &world, vec![by_id(api, &task.id)]), (vec![shown], 1));
        }
    }

    #[test]
    fn no_answer_makes_decode_panic(
        (api, body) in prop::sample::select(NAMES.map(api).to_vec())
            .prop_flat_map(|api| (Just(api), any::spoilt(api))),
    ) {
        for query in [recent(api), by_id(api, "1")] {
            let _ = api.decode(&beijing(api), &query, &Response::new(body.clone()));
        }
    }
}

fn failed_task(id: &str) -> Task {
    Task {
        kind: "EnlargeVolume".into(),
        resource: instance_of(1),
        created: Some(time("2026-03-14T02:11:09Z")),
        ended: Some(time("2026-03-14T02:12:00Z")),
        error: Some(Box::new(TaskError { code: "".into(), message: "no room".into() })),
        ..Task::new(id, TaskState::Failed, "Failed")
    }
}

fn request(api: &TaskApi, path: &str, parameters: &[(&str, &str)]) -> Request<Bytes> {
    let parameters: Vec<(&str, String)> =
        parameters.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    let path = path.replace("{}", PROJECT);
    dbtask_clouds::huawei::signature::get(&api.endpoint("cn-north-4"), PROJECT, &path, &parameters)
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    const MS: [(&str, &str); 2] = [("start_time", "1773380000000"), ("end_time", "1773480000000")];
    for (name, path, parameters, file, row) in [
        ("huawei_rds", "/v3/{}/tasklist", &[][..], "list-three.json", "/tasks/1"),
        ("huawei_rds", "/v3/{}/tasklist", &[], "list-three.json", ""),
        ("huawei_taurusdb", "/v3/{}/immediate-jobs", &[], "list-two.json", "/jobs/0"),
        ("huawei_taurusdb", "/v3/{}/immediate-jobs", &[], "list-two.json", ""),
        ("huawei_taurusdb", "/v3/{}/jobs", &[("id", "7")], "task-pending.json", "/job"),
        ("huawei_geminidb", "/v3/{}/jobs", &[], "list-two.json", "/jobs/0"),
        ("huawei_geminidb", "/v3/{}/jobs", &[], "list-two.json", ""),
        ("huawei_gaussdb", "/v3/{}/tasks", &[], "list-two.json", "/tasks/0"),
        ("huawei_gaussdb", "/v3/{}/tasks", &[], "list-two.json", "/tasks/0/instance_info"),
        ("huawei_gaussdb", "/v3/{}/jobs", &[("id", "7")], "task-failed.json", "/job"),
        ("huawei_ddm", "/v3/{}/jobs", &MS, "list-five.json", "/jobs/0"),
        ("huawei_ddm", "/v3/{}/jobs", &MS, "list-five.json", ""),
        ("huawei_ddm", "/v3/{}/jobs/7", &[], "task-running.json", "/job"),
    ] {
        let api = api(name);
        let (target, resources, tasks) = (beijing(api), [instance_of(1)], [failed_task("7")]);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let recorded: Value = serde_json::from_slice(&fixture(api, file)).unwrap();
        let (status, simulated) = answer(api, &request(api, path, parameters), &world);
        assert_eq!(status, 200, "{name} {simulated}");
        let pointer = row.replace("/1", "/0");
        assert_eq!(field_names(&simulated, &pointer), field_names(&recorded, row), "{name} {row}");
    }
}

#[test]
fn the_simulated_cloud_refuses_what_the_vendor_refuses() {
    for (name, path, parameters, status, code) in [
        ("huawei_rds", "/v3/{}/tasklist", &[("limit", "51")][..], 400, "DBS.280001"),
        ("huawei_rds", "/v3/{}/tasklist", &[("start_time", "1773380000000")], 400, "DBS.280001"),
        (
            "huawei_rds",
            "/v3/{}/tasklist",
            &[("start_time", "2026-03-13T00:00:00Z")],
            400,
            "DBS.280067",
        ),
        ("huawei_taurusdb", "/v3/{}/immediate-jobs", &[("limit", "30")], 400, "DBS.280001"),
        ("huawei_taurusdb", "/v3/{}/jobs", &[("id", "8")], 400, "DBS.200543"),
        ("huawei_geminidb", "/v3/{}/jobs", &[("limit", "100")], 400, "DBS.280001"),
        ("huawei_geminidb", "/v3/{}/jobs", &[("status", "Paused")], 400, "DBS.280001"),
        ("huawei_gaussdb", "/v3/{}/jobs", &[("id", "8")], 400, "DBS.200543"),
        ("huawei_ddm", "/v3/{}/jobs", &[], 400, "DBS.280001"),
        ("huawei_ddm", "/v3/{}/jobs/8", &[], 400, "DBS.300120"),
        ("huawei_ddm", "/v3/another/jobs/8", &[], 403, "APIGW.0310"),
    ] {
        let api = api(name);
        let (target, tasks) = (beijing(api), [failed_task("7")]);
        let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
        let response = world.answer(api, &request(api, path, parameters)).unwrap();
        assert_eq!(response.status(), status, "{name} {parameters:?}");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let is_ddm = name == "huawei_ddm" && !code.starts_with("APIGW");
        assert_eq!(body[if is_ddm { "errCode" } else { "error_code" }], code, "{name}");
        assert_eq!(Cloud::Huawei.refusal(&response).unwrap().code, code);
    }
}

#[test]
fn what_waits_and_what_ended_otherwise_is_told_apart() {
    for (name, word, state) in [
        ("huawei_rds", "Complete", TaskState::Succeeded),
        ("huawei_rds", "Unauthorized", TaskState::Pending),
        ("huawei_taurusdb", "Pending", TaskState::Pending),
        ("huawei_taurusdb", "canceled ", TaskState::Canceled),
        ("huawei_ddm", "ToBeSwitched", TaskState::Paused),
        ("huawei_ddm", "Rollbacking", TaskState::Running),
        ("huawei_ddm", "RollbackSuccess", TaskState::Canceled),
        ("huawei_ddm", "Pending", TaskState::Unknown),
        ("huawei_gaussdb", "Expanding", TaskState::Unknown),
    ] {
        assert_eq!(api(name).facts.state(word), state, "{name} {word}");
    }
}
