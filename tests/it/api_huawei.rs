//! Huawei's Document Database Service: what is asked, what answers say, and what the simulated
//! cloud answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::huawei::signature::get;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_simulator::World;
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, check_round_trip, field_names, fixture, list_requests,
    request_text, resource, target, task_text, time,
};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";

fn dds() -> &'static TaskApi {
    catalog::named("huawei_dds").unwrap()
}

fn beijing() -> Target {
    // The offset is Tencent's; it must change nothing here.
    target(dds(), "cn-north-4", 3)
}

fn now() -> Timestamp {
    time("2026-03-14T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-03-13T12:00:00Z"), resources, tags: &[] }
}

fn reference(id: &str) -> TaskRef {
    TaskRef { id: id.into(), resource: None, started: None }
}

fn everything() -> Query {
    Query::new(dds().facts.operations[0])
}

#[test]
fn each_region_has_its_host() {
    for (region, endpoint) in [
        ("cn-north-4", "https://dds.cn-north-4.myhuaweicloud.com"),
        ("eu-west-0", "https://dds.eu-west-0.myhuaweicloud.com"),
        ("eu-west-101", "https://dds.eu-west-101.myhuaweicloud.eu"),
        ("eu-de", "https://dds.eu-de.otc.t-systems.com"),
        ("eu-nl", "https://dds.eu-nl.otc.t-systems.com"),
    ] {
        assert_eq!(dds().endpoint(region), endpoint);
    }
}

#[test]
fn every_documented_status_has_a_state() {
    for (word, state) in [
        ("Running", TaskState::Running),
        ("Completed", TaskState::Succeeded),
        ("Failed", TaskState::Failed),
        (" failed ", TaskState::Failed),
        ("Pending", TaskState::Unknown),
        ("", TaskState::Unknown),
    ] {
        assert_eq!(dds().facts.state(word), state, "{word}");
    }
}

#[test]
fn recorded_answers_are_read() {
    check_fixtures(dds(), &beijing(), |stem| {
        let id = match stem {
            "job-completed" => "f85104b5-4a9c-4e0f-9505-fc5409d8f7ae",
            "job-failed" => "a03b1b8a-b756-467c-8a49-38720c3d23ec",
            _ => "9d10bfd1-affb-49c3-b977-298950a8d6fa",
        };
        if stem.starts_with("job") {
            dds().by_id(&reference(id), now())
        } else {
            stem.starts_with("list-tasks").then(everything)
        }
    });
}

#[test]
fn an_answer_about_another_task_is_no_answer() {
    let query = dds().by_id(&reference("another"), now()).unwrap();
    let body = fixture(dds(), "job-running.json");
    let page = dds().decode(&beijing(), &query, &Response::new(body)).unwrap();
    assert_eq!(page.tasks, []);
}

#[test]
fn a_code_beside_a_list_without_rows_is_no_empty_list() {
    let row = r#"{"id": "1", "status": "Running"}"#;
    for code in ["error_code", "errorCode", "errCode", "code"] {
        let decode = |rows: &str| {
            let body = format!(r#"{{"{code}": "DBS.280001", "jobs": [{rows}]}}"#);
            let page = dds().decode(&beijing(), &everything(), &Response::new(body.into()));
            page.map(|page| page.tasks.len())
        };
        assert_eq!(decode(""), Err(DecodeError::Missing("/jobs")), "{code}");
        assert_eq!(decode(row), Ok(1), "{code}");
    }
}

#[test]
fn only_the_watched_resources_are_kept() {
    let body = fixture(dds(), "list-tasks-page-1-of-2.json");
    let watched = [resource("2d6a1f7b8c9e4d3a8f4b6c8d0e2f3a02in02", None)];
    let query = dds().list(&scope(&watched)).remove(0);
    let page = dds().decode(&beijing(), &query, &Response::new(body)).unwrap();
    let kinds: Vec<&str> = page.tasks.iter().map(|task| &*task.kind).collect();
    assert_eq!(kinds, ["EnlargeMongoDBVolume"]);
}

#[test]
fn the_running_are_asked_for_then_the_recent() {
    let expected = |query: &str| {
        format!(
            "GET https://dds.cn-north-4.myhuaweicloud.com/v3.1/{PROJECT}/jobs?{query}\n\
             content-type: application/json\nx-project-id: {PROJECT}\n\n"
        )
    };
    let running = "end_time=2026-03-14T12%3A01%3A00%2B0000&limit=100&offset=0\
                   &start_time=2026-02-12T12%3A01%3A00%2B0000&status=Running";
    let recent = "end_time=2026-03-14T12%3A01%3A00%2B0000&limit=100&offset=0\
                  &start_time=2026-03-13T12%3A00%3A00%2B0000";
    let watched = [resource("x", None), resource("y", None)];
    for resources in [&[][..], &watched] {
        assert_eq!(
            list_requests(dds(), &beijing(), &scope(resources)),
            [running, recent].map(expected),
            "the list cannot be filtered by resource"
        );
    }
    let long_ago = Scope { since: time("2020-01-01T00:00:00Z"), ..scope(&[]) };
    let widest = running.replace("&status=Running", "");
    assert_eq!(
        list_requests(dds(), &beijing(), &long_ago),
        [running, &widest].map(expected),
        "a span may not exceed 30 days"
    );
    let at_once = Scope { since: now(), ..scope(&[]) };
    let second = recent.replace("2026-03-13T12%3A00%3A00", "2026-03-14T11%3A59%3A59");
    assert_eq!(
        list_requests(dds(), &beijing(), &at_once),
        [running, &second].map(expected),
        "a span may not be empty"
    );
    let page_three = Query { page: 3, ..dds().list(&scope(&[])).remove(1) };
    assert_eq!(
        request_text(&dds().facts.cloud.request(&beijing(), &page_three)),
        expected(&recent.replace("offset=0", "offset=200"))
    );
}

#[test]
fn one_task_is_asked_for_by_its_id() {
    let text = |id: &str| {
        let query = dds().by_id(&reference(id), now()).unwrap();
        request_text(&dds().facts.cloud.request(&beijing(), &query))
    };
    let expected = |query: &str| {
        format!(
            "GET https://dds.cn-north-4.myhuaweicloud.com/v3/{PROJECT}/jobs?id={query}\n\
             content-type: application/json\nx-project-id: {PROJECT}\n\n"
        )
    };
    let id = "9d10bfd1-affb-49c3-b977-298950a8d6fa";
    assert_eq!(text(id), expected(id));
    assert_eq!(text("a&b=c#d?e ü"), expected("a%26b%3Dc%23d%3Fe%20%C3%BC"));
    for id in ["", "a/b", "../x", "a\nb", "a\u{0}", "\u{7f}"] {
        assert_eq!(dds().by_id(&reference(id), now()), None, "{id:?}");
    }
}

#[test]
fn a_full_page_leads_to_the_next_whatever_is_kept_of_it_and_so_does_a_total() {
    let mut document: Value =
        serde_json::from_slice(&fixture(dds(), "list-tasks-page-1-of-2.json")).unwrap();
    let row = document["jobs"][0].clone();
    let watched = [resource("none of these", None)];
    for (resources, kept) in [(&[][..], true), (&watched, false)] {
        let query = dds().list(&scope(resources)).remove(1);
        for (rows, total, more) in [
            (99, json!(null), false),
            (99, json!(120), true),
            (99, json!(5), false),
            (100, json!(null), true),
            (100, json!(100), true),
            (100, json!(0), true),
        ] {
            let next = if more { vec![query.next_page()] } else { vec![] };
            document["total_count"] = total;
            document["jobs"] = vec![row.clone(); rows].into();
            let response = Response::new(Bytes::from(document.to_string()));
            let page = dds().decode(&beijing(), &query, &response).unwrap();
            assert_eq!((page.tasks.len(), page.next), (if kept { rows } else { 0 }, next));
        }
    }
}

/// Tasks that the API can express, within the reach of one poll: what is running may be old.
fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let word = prop::sample::select(vec!["Running", "Completed", "Failed"]);
    let kind = prop::sample::select(vec!["MongodbSnapshotBackup", "Something New"]);
    let task = (word, kind, 0_usize..3, 0_u8..=100, 0_u64..86_000, "[a-z(\"]([a-z\n\"]{0,20}\\.)");
    proptest::collection::vec(task, 0..250).prop_map(|parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, (word, kind, instance, percent, age, reason))| {
            let state = dds().facts.state(word);
            let is_running = state == TaskState::Running;
            let age = Duration::from_secs(if is_running { age * 30 } else { age });
            let created = now().saturating_sub(age);
            let error = TaskError { code: "".into(), message: reason.into() };
            Task {
                kind: kind.into(),
                resource: instance_of(instance),
                progress: Ratio::clamped(f64::from(percent) / 100.0).filter(|_| is_running),
                created: Some(created),
                ended: (!is_running).then(|| created + Duration::from_secs(30)),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn polls_find_every_simulated_task(tasks in tasks()) {
        let target = beijing();
        let resources = [0, 1, 2].map(instance_of);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        check_round_trip(dds(), &world, &scope(&[]));
        check_round_trip(dds(), &world, &scope(&resources));
        for task in tasks.iter().take(3) {
            let query = dds().by_id(&reference(&task.id), now()).unwrap();
            prop_assert_eq!(ask(dds(), &world, vec![query]), (vec![task.clone()], 1));
        }
    }
}

fn failed_task(id: &str) -> Task {
    Task {
        kind: "EnlargeMongoDBVolume".into(),
        resource: instance_of(1),
        created: Some(time("2026-03-14T02:11:09Z")),
        ended: Some(time("2026-03-14T02:12:00Z")),
        error: Some(Box::new(TaskError { code: "".into(), message: "no room".into() })),
        ..Task::new(id, TaskState::Failed, "Failed")
    }
}

fn request(path: &str, parameters: &[(&str, &str)]) -> Request<Bytes> {
    let parameters: Vec<(&str, String)> =
        parameters.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    get("https://dds.cn-north-4.myhuaweicloud.com", PROJECT, path, &parameters)
}

const WINDOW: [(&str, &str); 2] =
    [("start_time", "2026-03-13T20:00:00+0800"), ("end_time", "2026-03-14T12:00:00+0000")];

fn windowed<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    WINDOW.iter().chain(more).copied().collect()
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    let (target, resources, tasks) = (beijing(), [instance_of(1)], [failed_task("7")]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    for (path, parameters, file, list) in [
        ("/v3.1/{}/jobs", &WINDOW[..], "list-tasks-no-total.json", "/jobs"),
        ("/v3.1/{}/jobs", &WINDOW, "list-tasks-no-total.json", ""),
        ("/v3/{}/jobs", &[("id", "7")], "job-failed.json", "/job"),
        ("/v3/{}/jobs", &[("id", "7")], "job-failed.json", "/job/instance"),
        ("/v3/{}/instances", &[], "list-instances.json", "/instances"),
        ("/v3/{}/instances", &[], "list-instances.json", ""),
        ("/v3/projects", &[("name", "cn-north-4")], "iam-list-projects.json", "/projects"),
        ("/v3/projects", &[("name", "cn-north-4")], "iam-list-projects.json", "/links"),
    ] {
        let recorded: Value = serde_json::from_slice(&fixture(dds(), file)).unwrap();
        let request = request(&path.replace("{}", PROJECT), parameters);
        let (status, simulated) = answer(dds(), &request, &world);
        assert_eq!(status, 200);
        assert_eq!(field_names(&simulated, list), field_names(&recorded, list), "{path}");
    }
}

#[test]
fn a_simulated_running_task_seems_to_have_ended() {
    let task = Task {
        kind: "Create_MongoDB".into(),
        resource: resource("cf538a2dd8ec4b26860b27060902712fin02", Some("dds-3a98-wcc")),
        progress: Ratio::clamped(0.09),
        created: Some(time("2021-07-13T07:28:43Z")),
        ..Task::new("9d10bfd1-affb-49c3-b977-298950a8d6fa", TaskState::Running, "Running")
    };
    let (target, tasks) = (beijing(), [task]);
    let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
    let recorded: Value = serde_json::from_slice(&fixture(dds(), "job-running.json")).unwrap();
    let request = request(&format!("/v3/{PROJECT}/jobs"), &[("id", &tasks[0].id)]);
    assert_eq!(answer(dds(), &request, &world), (200, recorded));
}

#[test]
fn the_simulated_cloud_refuses_what_the_vendor_refuses() {
    let (target, tasks) = (beijing(), [failed_task("7")]);
    let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
    let list = format!("/v3.1/{PROJECT}/jobs");
    let job = format!("/v3/{PROJECT}/jobs");
    let instances = format!("/v3/{PROJECT}/instances");
    let day = "2026-03-13T00:00:00+0000";
    for (path, parameters, status, code) in [
        (&list, vec![], 400, "DBS.280001"),
        (&list, vec![("end_time", day)], 400, "DBS.280001"),
        (&list, vec![("start_time", day)], 400, "DBS.280001"),
        (&list, vec![("start_time", "soon"), ("end_time", day)], 400, "DBS.280067"),
        (&list, vec![("start_time", day), ("end_time", "later")], 400, "DBS.280068"),
        (&list, vec![("start_time", day), ("end_time", day)], 400, "DBS.280068"),
        (
            &list,
            vec![("start_time", "2026-02-10T23:59:59+0000"), ("end_time", day)],
            400,
            "DBS.280068",
        ),
        (&list, windowed(&[("limit", "101")]), 400, "DBS.280001"),
        (&list, windowed(&[("limit", "0")]), 400, "DBS.280001"),
        (&list, windowed(&[("offset", "-1")]), 400, "DBS.280001"),
        (&list, windowed(&[("status", "Paused")]), 400, "DBS.280001"),
        (&job, vec![], 400, "DBS.280001"),
        (&job, vec![("id", "8")], 400, "DBS.200543"),
        (&instances, vec![("limit", "101")], 400, "DBS.280001"),
        (&instances, vec![("name", "*")], 400, "DBS.280001"),
        (&"/v3/another/jobs".to_owned(), vec![("id", "7")], 403, "APIGW.0310"),
    ] {
        let (refused, body) = answer(dds(), &request(path, &parameters), &world);
        assert_eq!((refused, body["error_code"].as_str()), (status, Some(code)), "{parameters:?}");
        assert!(body["error_msg"].is_string());
    }
}

#[test]
fn open_telekom_cloud_has_no_list() {
    let (target, tasks) = (target(dds(), "eu-de", 0), [failed_task("7")]);
    let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
    let ask = |path: &str, parameters: &[(&str, &str)]| {
        answer(dds(), &request(&path.replace("{}", PROJECT), parameters), &world).0
    };
    assert_eq!(ask("/v3.1/{}/jobs", &WINDOW), 404);
    assert_eq!(ask("/v3/{}/jobs", &[("id", "7")]), 200);
}

#[test]
fn the_simulated_cloud_filters_and_pages_as_the_vendor_does() {
    let mut tasks: Vec<Task> = (0..250).map(|id: u32| failed_task(&id.to_string())).collect();
    tasks[0].vendor_status = "Running".into();
    tasks[1].kind = "CreateMongoDB".into();
    tasks[2].created = Some(time("2026-03-13T11:59:59Z"));
    let target = beijing();
    let resources = [0, 1, 2].map(instance_of);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    for (parameters, rows) in [
        (windowed(&[]), 100),
        (windowed(&[("offset", "200")]), 49),
        (windowed(&[("offset", "200"), ("limit", "30")]), 30),
        (windowed(&[("offset", "249")]), 0),
        (windowed(&[("status", "Running")]), 1),
        (windowed(&[("name", "CreateMongoDB")]), 1),
        (windowed(&[("id", "17")]), 1),
        (windowed(&[("id", "2")]), 0),
    ] {
        let request = request(&format!("/v3.1/{PROJECT}/jobs"), &parameters);
        let (_, body) = answer(dds(), &request, &world);
        assert_eq!(body["jobs"].as_array().map(Vec::len), Some(rows), "{parameters:?}");
    }
    for (parameters, total) in
        [(&[][..], 3), (&[("name", "orders")], 2), (&[("name", "*rder")], 2), (&[("id", "x")], 0)]
    {
        let request = request(&format!("/v3/{PROJECT}/instances"), parameters);
        let (_, body) = answer(dds(), &request, &world);
        assert_eq!(body["total_count"], json!(total), "{parameters:?}");
    }
}

#[test]
fn the_project_of_the_region_is_told_by_its_name() {
    let target = beijing();
    let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
    let projects = |name: &str| {
        let (_, body) = answer(dds(), &request("/v3/projects", &[("name", name)]), &world);
        body["projects"].as_array().unwrap().iter().map(|project| project["id"].clone()).collect()
    };
    let ours: Vec<Value> = projects("cn-north-4");
    assert_eq!(ours, [json!(PROJECT)]);
    let others: Vec<Value> = projects("cn-north-1");
    assert_eq!(others, [json!(null); 0]);
}

#[test]
fn requests_for_another_api_are_left_to_it() {
    let target = beijing();
    let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
    for path in ["/", "/v3", "/v3/projects/x", "/v3/{}/scheduled-jobs", "/v2/{}/jobs"] {
        let request = request(&path.replace("{}", PROJECT), &[]);
        assert!(world.answer(dds(), &request).is_none(), "{path}");
    }
    let mut post = request(&format!("/v3/{PROJECT}/jobs"), &[]);
    *post.method_mut() = http::Method::POST;
    assert!(world.answer(dds(), &post).is_none());
}

#[test]
fn a_listed_task_reads_the_same_by_its_id() {
    let (target, tasks) = (beijing(), [failed_task("7")]);
    let world = World { now: now(), target: &target, resources: &[], tasks: &tasks };
    let line = "\"7\" \"EnlargeMongoDBVolume\" of \"000000000000000000000000000001in02\" \"orders\" \
                is failed \"Failed\", created 2026-03-14T02:11:09Z, ended 2026-03-14T02:12:00Z, \
                error \"\" \"no room\"";
    for queries in [dds().list(&scope(&[])), vec![dds().by_id(&reference("7"), now()).unwrap()]] {
        let (found, _) = ask(dds(), &world, queries);
        assert_eq!(found.iter().map(task_text).collect::<Vec<_>>(), [line]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_decode_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        spoilt in any::spoilt(dds()),
        asked in any::query(dds().facts.operations[0]),
    ) {
        let query = Query { operation: dds().facts.operations[0], ..asked };
        for body in [body.into(), spoilt] {
            let _ = dds().decode(&beijing(), &query, &Response::new(body));
        }
    }

    #[test]
    fn no_world_makes_answer_panic(
        now in any::timestamp(),
        resources in any::resources(),
        tasks in proptest::collection::vec(any::task(), 0..5),
        asked in any::query(dds().facts.operations[0]),
        page: u32,
        path in prop::sample::select(vec!["/v3.1/{}/jobs", "/v3/{}/jobs", "/v3/{}/instances", "/v3/projects"]),
        text in "\\PC{0,20}|[0-9]{1,4}|2026-03-1[0-9]T12:00:00\\+0000",
        names in proptest::collection::vec(
            prop::sample::select(vec!["start_time", "end_time", "status", "limit", "offset", "id", "name"]),
            0..4,
        ),
    ) {
        let target = beijing();
        let world = World { now, target: &target, resources: &resources, tasks: &tasks };
        for operation in dds().facts.operations {
            let query = Query { operation, page, ..asked.clone() };
            let response = world.answer(dds(), &dds().facts.cloud.request(&target, &query)).unwrap();
            let _ = dds().decode(&target, &query, &response);
        }
        let parameters: Vec<(&str, &str)> = names.iter().map(|&name| (name, &*text)).collect();
        world.answer(dds(), &request(&path.replace("{}", PROJECT), &parameters)).unwrap();
        let scope = Scope { now, since: now, resources: &resources, tags: &[] };
        let by_id = tasks.iter().filter_map(|task| dds().by_id(&TaskRef::of(task), now));
        for query in dds().list(&scope).into_iter().chain(by_id) {
            let request = dds().facts.cloud.request(&target, &query);
            if let Some(answer) = world.answer(dds(), &request) {
                let _ = dds().decode(&target, &query, &answer);
            }
        }
    }
}
