//! TencentDB for MySQL and for Redis: what is asked, what answers say, and what the simulated cloud
//! answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable};
use dbtask_clouds::catalog;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::tencent::signature::call;
use dbtask_simulator::World;
use http::Response;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::{
    answer, any, ask, check_fixtures, check_round_trip, field_names, fixture, list_requests,
    page_text, request_text, resource, target, task_text, time,
};

fn cdb() -> &'static TaskApi {
    catalog::named("tencent_cdb").unwrap()
}

fn redis() -> &'static TaskApi {
    catalog::named("tencent_redis").unwrap()
}

fn guangzhou(api: &TaskApi) -> Target {
    target(api, "ap-guangzhou", 8)
}

fn now() -> Timestamp {
    time("2024-06-17T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2024-06-16T12:00:00Z"), resources, tags: &[] }
}

fn reference(id: &str, instance: Option<&str>, started: Option<&str>) -> TaskRef {
    TaskRef {
        id: id.into(),
        resource: instance.map(|id| resource(id, None)),
        started: started.map(time),
    }
}

fn everything(api: &TaskApi) -> Query {
    Query::new(api.facts.operations[0])
}

#[test]
fn each_region_has_its_host() {
    for (region, host) in [
        ("ap-guangzhou", "tencentcloudapi.com"),
        ("na-ashburn", "tencentcloudapi.com"),
        ("ap-shanghai-fsi", "ap-shanghai-fsi.tencentcloudapi.com"),
        ("ap-shenzhen-fsi", "ap-shenzhen-fsi.tencentcloudapi.com"),
    ] {
        assert_eq!(cdb().endpoint(region), format!("https://cdb.{host}"));
        assert_eq!(redis().endpoint(region), format!("https://redis.{host}"));
    }
}

#[test]
fn calls_stay_below_the_published_rates() {
    let rates = |api: &TaskApi| {
        let line = |operation: &&dbtask_clouds::api::Operation| {
            format!("{} {}/s", operation.permission, operation.per_second)
        };
        api.facts.operations.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(rates(cdb()), ["cdb:DescribeTasks 40/s"]);
    assert_eq!(rates(redis()), ["redis:DescribeTaskList 80/s", "redis:DescribeTaskInfo 15/s"]);
}

#[test]
fn every_documented_status_has_a_state() {
    for (word, state) in [
        ("UNDEFINED", TaskState::Pending),
        ("INITIAL", TaskState::Pending),
        ("WAITING", TaskState::Pending),
        ("RUNNING", TaskState::Running),
        ("PAUSED", TaskState::Paused),
        ("PAUSED ", TaskState::Paused),
        ("SUCCEED", TaskState::Succeeded),
        ("SUCCESS", TaskState::Succeeded),
        ("succeed", TaskState::Succeeded),
        ("FAILED", TaskState::Failed),
        ("KILLED", TaskState::Canceled),
        ("REMOVED", TaskState::Canceled),
        ("2", TaskState::Unknown),
        ("", TaskState::Unknown),
    ] {
        assert_eq!(cdb().facts.state(word), state, "{word}");
    }
    for (word, state) in [
        ("preparing", TaskState::Pending),
        ("running", TaskState::Running),
        ("succeed", TaskState::Succeeded),
        ("failed", TaskState::Failed),
        ("error", TaskState::Failed),
        ("Error", TaskState::Failed),
        ("0", TaskState::Pending),
        ("1", TaskState::Running),
        ("2", TaskState::Succeeded),
        ("3", TaskState::Unknown),
        ("4", TaskState::Failed),
    ] {
        assert_eq!(redis().facts.state(word), state, "{word}");
    }
}

#[test]
fn recorded_answers_are_read() {
    check_fixtures(cdb(), &guangzhou(cdb()), |stem| {
        stem.starts_with("describe-tasks").then(|| everything(cdb()))
    });
    check_fixtures(redis(), &guangzhou(redis()), |stem| {
        if stem.starts_with("describe-task-info") {
            redis().by_id(&reference("18215", None, None), now())
        } else {
            stem.starts_with("describe-task-list").then(|| everything(redis()))
        }
    });
}

#[test]
fn times_are_read_at_the_offset_of_the_source() {
    let body = fixture(redis(), "describe-task-info-running.json");
    let query = redis().by_id(&reference("18215", None, None), now()).unwrap();
    for (hours, expected) in [(8, "2024-05-19T18:13:07Z"), (-5, "2024-05-20T07:13:07Z")] {
        let target = target(redis(), "na-ashburn", hours);
        let page = redis().decode(&target, &query, &Response::new(body.clone())).unwrap();
        assert_eq!(page.tasks[0].started, Some(time(expected)));
    }
}

const CDB_HEADERS: &str = "POST https://cdb.tencentcloudapi.com/
content-type: application/json
x-tc-action: DescribeTasks
x-tc-language: en-US
x-tc-region: ap-guangzhou
x-tc-version: 2017-03-20

";

#[test]
fn mysql_asks_for_the_unfinished_then_for_the_recent() {
    let target = guangzhou(cdb());
    assert_eq!(
        list_requests(cdb(), &target, &scope(&[])),
        [
            r#"{"Limit":100,"Offset":0,"TaskStatus":[-1,0,1,6]}"#,
            r#"{"Limit":100,"Offset":0,"StartTimeBegin":"2024-06-16 20:00:00"}"#,
        ]
        .map(|body| format!("{CDB_HEADERS}{body}"))
    );
    let watched = [resource("cdb-one", None), resource("cdb-two", Some("two"))];
    assert_eq!(
        list_requests(cdb(), &target, &scope(&watched)),
        [
            r#"{"InstanceId":"cdb-one","Limit":100,"Offset":0,"TaskStatus":[-1,0,1,6]}"#,
            r#"{"InstanceId":"cdb-two","Limit":100,"Offset":0,"TaskStatus":[-1,0,1,6]}"#,
            r#"{"InstanceId":"cdb-one","Limit":100,"Offset":0,"StartTimeBegin":"2024-06-16 20:00:00"}"#,
            r#"{"InstanceId":"cdb-two","Limit":100,"Offset":0,"StartTimeBegin":"2024-06-16 20:00:00"}"#,
        ]
        .map(|body| format!("{CDB_HEADERS}{body}"))
    );
    let page_three = Query { page: 3, ..cdb().list(&scope(&[])).remove(0) };
    assert_eq!(
        request_text(&cdb().facts.cloud.request(&target, &page_three)),
        format!("{CDB_HEADERS}{}", r#"{"Limit":100,"Offset":200,"TaskStatus":[-1,0,1,6]}"#)
    );
}

#[test]
fn mysql_asks_for_one_task_by_what_is_known_of_it() {
    let target = guangzhou(cdb());
    let started = Some("2024-06-17T09:50:05Z");
    for (task, body) in [
        (
            reference("9", Some("cdb-one"), started),
            r#"{"InstanceId":"cdb-one","Limit":100,"Offset":0,"StartTimeBegin":"2024-06-17 17:50:04","StartTimeEnd":"2024-06-17 17:50:06"}"#,
        ),
        (
            reference("9", Some("cdb-one"), None),
            r#"{"InstanceId":"cdb-one","Limit":100,"Offset":0}"#,
        ),
        (
            reference("9", None, started),
            r#"{"Limit":100,"Offset":0,"StartTimeBegin":"2024-06-17 17:50:04","StartTimeEnd":"2024-06-17 17:50:06"}"#,
        ),
    ] {
        let query = cdb().by_id(&task, now()).unwrap();
        assert_eq!(
            request_text(&cdb().facts.cloud.request(&target, &query)),
            format!("{CDB_HEADERS}{body}")
        );
    }
    assert_eq!(cdb().by_id(&reference("9", None, None), now()), None);
    assert_eq!(cdb().by_id(&reference("9", Some(""), None), now()), None);
}

#[test]
fn mysql_keeps_of_the_rows_the_one_task_that_was_asked_for() {
    let decode = |task: &TaskRef, body: Bytes| {
        let query = cdb().by_id(task, now()).unwrap();
        let page = cdb().decode(&guangzhou(cdb()), &query, &Response::new(body)).unwrap();
        assert_eq!(page.unreadable, Unreadable::default(), "other rows are nobody's business");
        let next = page.next.iter().map(|query| query.task.clone()).collect::<Vec<_>>();
        (page_text(Ok(&page)), next)
    };
    let published = fixture(cdb(), "describe-tasks-published.json");
    let (text, _) = decode(&reference("69", Some("cdb-6kd9h71i"), None), published.clone());
    assert_eq!(
        text,
        "\"69\" \"INITIAL\" of \"cdb-6kd9h71i\" is succeeded \"SUCCEED\", progress 1, \
         started 2018-07-06T14:01:42Z, ended 2018-07-06T14:02:26Z\n"
    );
    let odd = fixture(cdb(), "describe-tasks-odd-values.json");
    decode(&reference("41", Some("cdb-c1nl9rpv"), None), odd);

    let gone = reference("6", Some("cdb-6kd9h71i"), None);
    assert_eq!(decode(&gone, published.clone()), (String::new(), vec![]));
    let moved = TaskRef { started: Some(now()), ..gone.clone() };
    assert_eq!(
        decode(&moved, published.clone()),
        ("then DescribeTasks page 1\n".to_owned(), vec![Some(gone)]),
        "it may have started anew"
    );
    let nowhere = reference("6", None, Some("2018-07-06T14:01:42Z"));
    assert_eq!(decode(&nowhere, published), (String::new(), vec![]));
}

#[test]
fn a_batch_task_belongs_to_the_instance_that_was_asked_for() {
    let body = fixture(cdb(), "describe-tasks-mixed-states.json");
    for (asked, expected) in [
        ("cdb-3gj2ya22", "cdb-3gj2ya22"),
        ("cdb-3gj2ya11", "cdb-3gj2ya11"),
        ("cdb-other", "cdb-3gj2ya11"),
    ] {
        let resources = vec![resource(asked, None)];
        let query = Query { resources, ..Query::new(cdb().facts.operations[0]) };
        let page = cdb().decode(&guangzhou(cdb()), &query, &Response::new(body.clone())).unwrap();
        assert_eq!(&*page.tasks[2].resource.id, expected);
    }
}

#[test]
fn the_instance_of_a_task_is_found_however_it_is_written() {
    for (ids, expected) in [
        (r#"["cdb-1"]"#, "cdb-1"),
        (r#"" cdb-1 ""#, "cdb-1"),
        (r#"["", "null", null, "cdb-1"]"#, "cdb-1"),
        ("[]", ""),
        (r#""null""#, ""),
        ("null", ""),
        ("7", ""),
    ] {
        let body = format!(
            r#"{{"Response":{{"Items":[{{"JobId":1,"TaskStatus":"FAILED","InstanceIds":{ids}}}]}}}}"#
        );
        let page = decode_text(cdb(), &body);
        assert_eq!(&*page.tasks[0].resource.id, expected, "{ids}");
    }
}

#[test]
fn a_kind_of_redis_is_known_without_its_leading_zeros() {
    for (kind, expected) in [
        (r#""037""#, "FLOW_MODIFYINSTANCEACCOUNT"),
        (r#""37""#, "FLOW_MODIFYINSTANCEACCOUNT"),
        ("37", "FLOW_MODIFYINSTANCEACCOUNT"),
        (r#""FLOW_RESIZE""#, "FLOW_RESIZE"),
        (r#""8""#, "8"),
        ("null", ""),
    ] {
        let body =
            format!(r#"{{"Response":{{"Tasks":[{{"TaskId":1,"Result":1,"TaskType":{kind}}}]}}}}"#);
        assert_eq!(&*decode_text(redis(), &body).tasks[0].kind, expected, "{kind}");
    }
}

fn decode_text(api: &TaskApi, body: &str) -> Page {
    let answer = Response::new(Bytes::from(body.to_owned()));
    api.decode(&guangzhou(api), &everything(api), &answer).unwrap()
}

const REDIS_HEADERS: &str = "content-type: application/json
x-tc-language: en-US
x-tc-region: ap-guangzhou
x-tc-version: 2018-04-12";

#[test]
fn redis_asks_for_the_unfinished_then_for_the_recent() {
    let expected = |body: &str| {
        let headers =
            REDIS_HEADERS.replace("x-tc-language", "x-tc-action: DescribeTaskList\nx-tc-language");
        format!("POST https://redis.tencentcloudapi.com/\n{headers}\n\n{body}")
    };
    let target = guangzhou(redis());
    assert_eq!(
        list_requests(redis(), &target, &scope(&[])),
        [
            r#"{"BeginTime":"2024-05-18 20:05:00","EndTime":"2024-06-17 20:01:00","Limit":100,"Offset":0,"Result":[0,1]}"#,
            r#"{"BeginTime":"2024-06-16 20:00:00","EndTime":"2024-06-17 20:01:00","Limit":100,"Offset":0}"#,
        ]
        .map(expected)
    );
    let watched = [resource("crs-one", None)];
    let long_ago = Scope { since: time("2023-01-01T00:00:00Z"), ..scope(&watched) };
    assert_eq!(
        list_requests(redis(), &target, &long_ago),
        [
            r#"{"BeginTime":"2024-05-18 20:05:00","EndTime":"2024-06-17 20:01:00","InstanceId":"crs-one","Limit":100,"Offset":0,"Result":[0,1]}"#,
            r#"{"BeginTime":"2024-05-18 20:05:00","EndTime":"2024-06-17 20:01:00","InstanceId":"crs-one","Limit":100,"Offset":0}"#,
        ]
        .map(expected)
    );
}

#[test]
fn redis_asks_for_one_task_by_its_number() {
    let query = redis().by_id(&reference("18215", None, None), now()).unwrap();
    let headers =
        REDIS_HEADERS.replace("x-tc-language", "x-tc-action: DescribeTaskInfo\nx-tc-language");
    assert_eq!(
        request_text(&redis().facts.cloud.request(&guangzhou(redis()), &query)),
        format!("POST https://redis.tencentcloudapi.com/\n{headers}\n\n{{\"TaskId\":18215}}")
    );
    assert!(redis().by_id(&reference("18446744073709551615", None, None), now()).is_some());
    for id in ["", "x", "-1", "+7", "007", "1.5", "18446744073709551616", "1 "] {
        assert_eq!(redis().by_id(&reference(id, None, None), now()), None, "{id:?}");
    }
}

/// A whole page of rows, each like the first of a recorded one.
fn full_page(api: &TaskApi, file: &str, list: &str, rows: usize, total: &Value) -> Bytes {
    let mut document: Value = serde_json::from_slice(&fixture(api, file)).unwrap();
    let list = document.pointer_mut(list).unwrap();
    *list = vec![list[0].clone(); rows].into();
    document["Response"]["TotalCount"] = total.clone();
    document.to_string().into()
}

#[test]
fn a_full_page_leads_to_the_next_and_so_does_a_total_that_says_that_there_is_more() {
    for (api, file, list) in [
        (cdb(), "describe-tasks-running.json", "/Response/Items"),
        (redis(), "describe-task-list-running.json", "/Response/Tasks"),
    ] {
        for query in api.list(&scope(&[resource("crs-k3x9d0ab", None)])) {
            for (rows, total, more) in [
                (99, json!(99), false),
                (99, json!(100), true),
                (99, json!("100"), true),
                (99, json!(0), false),
                (99, json!(null), false),
                (99, json!(-1), false),
                (99, json!("many"), false),
                (100, json!(100), true),
                (100, json!(0), true),
                (100, json!(null), true),
                (100, json!(u64::MAX), true),
                (0, json!(7), false),
            ] {
                let next = if more { vec![query.next_page()] } else { vec![] };
                let body = full_page(api, file, list, rows, &total);
                let page = api.decode(&guangzhou(api), &query, &Response::new(body)).unwrap();
                assert_eq!((page.tasks.len(), page.next), (rows, next));
            }
        }
    }
    let query = cdb().by_id(&reference("6", Some("cdb-one"), None), now()).unwrap();
    let file = "describe-tasks-running.json";
    let body = full_page(cdb(), file, "/Response/Items", 100, &json!(100));
    let page = cdb().decode(&guangzhou(cdb()), &query, &Response::new(body)).unwrap();
    assert_eq!((page.tasks.len(), page.next), (0, vec![query.next_page()]));
}

fn instance_of(prefix: &str, number: usize) -> Arc<Resource> {
    let name = (prefix == "crs").then(|| format!("cache {number}"));
    resource(&format!("{prefix}-{number}"), name.as_deref())
}

/// Tasks that the API can express, within the reach of one poll: what is not finished may be old.
fn tasks(api: &'static TaskApi) -> impl Strategy<Value = Vec<Task>> {
    let is_cdb = api.facts.name == "tencent_cdb";
    let words: Vec<&'static str> = if is_cdb {
        api.facts.statuses.iter().map(|&(word, _)| word).collect()
    } else {
        vec!["preparing", "running", "succeed", "failed"]
    };
    let kinds = if is_cdb {
        ["ROLLBACK", "SWITCH DR TO MASTER", "SOMETHING NEW"]
    } else {
        ["FLOW_CREATE", "FLOW_MODIFYBACKUPMOD", "064"]
    };
    let prefix = if is_cdb { "cdb" } else { "crs" };
    let error = ("[1-9][0-9]{0,4}", "[a-z(\"'<]([a-z\n\"\u{4efb}]{0,20}\\.)");
    let task = (
        prop::sample::select(words),
        prop::sample::select(kinds.to_vec()),
        0_usize..3,
        0_u8..=100,
        0_u64..86_000,
        error,
    );
    proptest::collection::vec(task, 0..250).prop_map(move |parts| {
        let many = parts.into_iter().enumerate();
        many.map(|(index, (word, kind, instance, percent, age, (code, message)))| {
            let state = api.facts.state(word);
            // A day of unfinished tasks becomes four weeks; `WAITING` cannot be asked for.
            let is_old = !state.is_final() && word != "WAITING";
            let started =
                now().saturating_sub(Duration::from_secs(if is_old { age * 28 } else { age }));
            let error = TaskError { code: code.into(), message: message.into() };
            Task {
                kind: kind.into(),
                resource: instance_of(prefix, instance),
                progress: Ratio::clamped(f64::from(percent) / 100.0),
                started: Some(started),
                ended: state.is_final().then(|| started + Duration::from_secs(30)),
                error: (is_cdb && state == TaskState::Failed).then(|| Box::new(error)),
                ..Task::new((9_000_000 - index).to_string(), state, word)
            }
        })
        .collect()
    })
}

fn check_polls(api: &TaskApi, tasks: &[Task]) {
    let target = guangzhou(api);
    let resources = [0, 1, 2].map(|number| match api.facts.name {
        "tencent_cdb" => instance_of("cdb", number),
        _ => instance_of("crs", number),
    });
    let world = World { now: now(), target: &target, resources: &resources, tasks };
    check_round_trip(api, &world, &scope(&[]));
    check_round_trip(api, &world, &scope(&resources));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn mysql_polls_find_every_simulated_task(tasks in tasks(cdb())) {
        check_polls(cdb(), &tasks);
    }

    #[test]
    fn redis_polls_find_every_simulated_task(tasks in tasks(redis())) {
        check_polls(redis(), &tasks);
    }
}

fn world<'a>(target: &'a Target, resources: &'a [Arc<Resource>], tasks: &'a [Task]) -> World<'a> {
    World { now: now(), target, resources, tasks }
}

fn failed_task(id: &str, instance: &Arc<Resource>, word: &str) -> Task {
    Task {
        kind: if word == "FAILED" { "REBOOT" } else { "FLOW_RESIZE" }.into(),
        resource: Arc::clone(instance),
        progress: Ratio::clamped(0.35),
        started: Some(time("2024-06-17T07:44:03Z")),
        ended: Some(time("2024-06-17T07:51:58Z")),
        error: Some(Box::new(TaskError { code: "9013".into(), message: "is locked".into() })),
        ..Task::new(id, TaskState::Failed, word)
    }
}

#[test]
fn a_simulated_task_is_found_by_its_id() {
    let instance = resource("cdb-one", None);
    let resources = [Arc::clone(&instance)];
    let many: Vec<Task> =
        (1..=250).rev().map(|id: u32| failed_task(&id.to_string(), &instance, "FAILED")).collect();
    let target = guangzhou(cdb());
    let world = world(&target, &resources, &many);
    for (task, requests) in [
        // All 250 began in the same second: the third page has the first of them.
        (reference("1", Some("cdb-one"), Some("2024-06-17T07:44:03Z")), 3),
        (reference("1", Some("cdb-one"), None), 3),
        (reference("1", None, Some("2024-06-17T07:44:04Z")), 3),
        (reference("250", Some("cdb-one"), Some("2024-06-17T07:44:03Z")), 1),
        // Not where it was said to be: one empty answer, then all of the instance.
        (reference("1", Some("cdb-one"), Some("2024-06-17T09:00:00Z")), 4),
    ] {
        let expected = many.iter().find(|known| known.id == task.id).unwrap();
        let (found, took) = ask(cdb(), &world, vec![cdb().by_id(&task, now()).unwrap()]);
        assert_eq!((found, took), (vec![expected.clone()], requests), "{task:?}");
    }
    let gone = cdb().by_id(&reference("999", Some("cdb-one"), None), now()).unwrap();
    assert_eq!(ask(cdb(), &world, vec![gone]), (vec![], 3));
}

#[test]
fn redis_tells_why_a_simulated_task_failed_by_its_id() {
    let instance = resource("crs-one", Some("sessions"));
    let target = guangzhou(redis());
    let tasks = [failed_task("7", &instance, "failed")];
    let world = world(&target, &[], &tasks);
    let text = |tasks: &[Task]| tasks.iter().map(task_text).collect::<Vec<_>>();
    let (listed, _) = ask(redis(), &world, redis().list(&scope(&[])));
    let line = "\"7\" \"FLOW_RESIZE\" of \"crs-one\" \"sessions\" is failed \"failed\", progress 0.35, \
                started 2024-06-17T07:44:03Z, ended 2024-06-17T07:51:58Z";
    assert_eq!(text(&listed), [line]);
    let query = redis().by_id(&reference("7", None, None), now()).unwrap();
    let (found, _) = ask(redis(), &world, vec![query]);
    let line = "\"7\" \"FLOW_RESIZE\" of \"crs-one\" is failed \"failed\", \
                started 2024-06-17T07:44:03Z, error \"\" \"is locked\"";
    assert_eq!(text(&found), [line]);
}

#[test]
fn simulated_answers_have_the_fields_of_recorded_ones() {
    for (api, action, body, file, list) in [
        (cdb(), "DescribeTasks", json!({}), "describe-tasks-running.json", "/Response/Items"),
        (cdb(), "DescribeTasks", json!({}), "describe-tasks-running.json", "/Response"),
        (cdb(), "DescribeDBInstances", json!({}), "describe-db-instances.json", "/Response/Items"),
        (
            redis(),
            "DescribeTaskList",
            json!({}),
            "describe-task-list-running.json",
            "/Response/Tasks",
        ),
        (redis(), "DescribeTaskList", json!({}), "describe-task-list-running.json", "/Response"),
        (
            redis(),
            "DescribeTaskInfo",
            json!({"TaskId": 7}),
            "describe-task-info-running.json",
            "/Response",
        ),
        (
            redis(),
            "DescribeInstances",
            json!({}),
            "describe-instances.json",
            "/Response/InstanceSet",
        ),
    ] {
        let recorded: Value = serde_json::from_slice(&fixture(api, file)).unwrap();
        let instance = resource("db-one", Some("one"));
        let (target, resources) = (guangzhou(api), [Arc::clone(&instance)]);
        let tasks = [failed_task("7", &instance, "failed")];
        let world = world(&target, &resources, &tasks);
        let (_, simulated) = answer(api, &request(api, action, &body), &world);
        assert_eq!(field_names(&simulated, list), field_names(&recorded, list), "{action}");
    }
}

fn request(api: &TaskApi, action: &str, body: &Value) -> http::Request<Bytes> {
    let version = if api.facts.name == "tencent_cdb" { "2017-03-20" } else { "2018-04-12" };
    call(&api.endpoint("ap-guangzhou"), action, version, "ap-guangzhou", body)
}

#[test]
fn the_simulated_cloud_refuses_what_the_vendor_refuses() {
    const INVALID: &str = "InvalidParameter.InvalidParameter";
    let instance = resource("db-one", None);
    let tasks = [failed_task("7", &instance, "failed")];
    for (api, action, body, code) in [
        (cdb(), "DescribeTasks", json!({ "Foo": 1 }), "UnknownParameter"),
        (cdb(), "DescribeTasks", json!([]), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "Limit": 101 }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "Limit": 0 }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "Offset": -1 }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "Limit": "100" }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "TaskStatus": 1 }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "StartTimeBegin": "soon" }), "InvalidParameter"),
        (cdb(), "DescribeTasks", json!({ "InstanceId": "x" }), "InvalidParameter.InstanceNotFound"),
        (cdb(), "DescribeDBInstances", json!({ "Limit": 2001 }), "InvalidParameter"),
        (redis(), "DescribeTaskList", json!({ "Foo": 1 }), "UnknownParameter"),
        (redis(), "DescribeTaskList", json!({ "Limit": 101 }), INVALID),
        (redis(), "DescribeTaskList", json!({ "Limit": 50, "Offset": 75 }), INVALID),
        (
            redis(),
            "DescribeTaskList",
            json!({ "InstanceId": "x" }),
            "ResourceNotFound.InstanceNotExists",
        ),
        (redis(), "DescribeTaskInfo", json!({}), "MissingParameter"),
        (redis(), "DescribeTaskInfo", json!({ "TaskId": 8 }), INVALID),
        (redis(), "DescribeTaskInfo", json!({ "TaskId": "7" }), "InvalidParameter"),
        (redis(), "DescribeInstances", json!({ "Limit": 1001 }), INVALID),
    ] {
        let target = guangzhou(api);
        let world = world(&target, &[], &tasks);
        let (status, refused) = answer(api, &request(api, action, &body), &world);
        assert_eq!(
            (status, refused["Response"]["Error"]["Code"].as_str()),
            (200, Some(code)),
            "{body}"
        );
        assert_eq!(refused["Response"]["RequestId"].as_str().map(str::len), Some(36));
    }
}

#[test]
fn the_simulated_cloud_serves_one_region_only() {
    for (api, action) in [(cdb(), "DescribeTasks"), (redis(), "DescribeTaskList")] {
        let target = guangzhou(api);
        let world = world(&target, &[], &[]);
        for (region, refused) in
            [("ap-guangzhou", None), ("ap-nowhere", Some("UnsupportedRegion")), ("", None)]
        {
            let mut request = request(api, action, &json!({}));
            request.headers_mut().insert("x-tc-region", region.parse().unwrap());
            let (_, said) = answer(api, &request, &world);
            assert_eq!(said["Response"]["Error"]["Code"].as_str(), refused, "{region:?}");
        }
    }
}

#[test]
fn the_simulated_cloud_filters_and_pages_as_the_vendor_does() {
    let instances = [resource("db-one", Some("one")), resource("db-two", None)];
    let mut tasks: Vec<Task> = (0..50)
        .map(|index: usize| {
            failed_task(&(100 - index).to_string(), &instances[index % 2], "FAILED")
        })
        .collect();
    tasks[0].vendor_status = "RUNNING".into();
    tasks[1].vendor_status = "running".into();
    tasks[2].kind = "FLOW_UPDATE_WAN".into();
    tasks[3].started = Some(time("2024-05-01T00:00:00Z"));
    for (api, list, body, ids) in [
        (cdb(), "Items", json!({}), 20),
        (cdb(), "Items", json!({ "Limit": 100 }), 50),
        (cdb(), "Items", json!({ "Limit": 7, "Offset": 45 }), 5),
        (cdb(), "Items", json!({ "Limit": 7, "Offset": 1000 }), 0),
        (cdb(), "Items", json!({ "Limit": 100, "InstanceId": "db-two" }), 25),
        (cdb(), "Items", json!({ "TaskStatus": [1] }), 2),
        (cdb(), "Items", json!({ "TaskStatus": [1, 3], "Limit": 100 }), 50),
        (cdb(), "Items", json!({ "TaskTypes": [7], "Limit": 100 }), 49),
        (cdb(), "Items", json!({ "StartTimeEnd": "2024-06-01 00:00:00" }), 1),
        (redis(), "Tasks", json!({}), 20),
        (redis(), "Tasks", json!({ "Limit": 30, "Offset": 30 }), 19),
        (redis(), "Tasks", json!({ "Result": [1], "Limit": 100 }), 2),
        (redis(), "Tasks", json!({ "Result": [0, 4], "Limit": 100 }), 47),
        (redis(), "Tasks", json!({ "TaskTypes": ["054"] }), 1),
        (redis(), "Tasks", json!({ "TaskTypes": ["FLOW_UPDATE_WAN", "099"] }), 1),
        (redis(), "Tasks", json!({ "InstanceName": "one", "Limit": 100 }), 25),
        (redis(), "Tasks", json!({ "BeginTime": "2024-06-17 15:44:04" }), 0),
        (redis(), "Tasks", json!({ "BeginTime": "2024-06-17 15:44:03", "Limit": 100 }), 49),
    ] {
        let target = guangzhou(api);
        let world = world(&target, &instances, &tasks);
        let action = if list == "Items" { "DescribeTasks" } else { "DescribeTaskList" };
        let (_, page) = answer(api, &request(api, action, &body), &world);
        assert_eq!(page["Response"][list].as_array().map(Vec::len), Some(ids), "{body}");
    }
}

#[test]
fn requests_for_another_api_are_left_to_it() {
    let target = guangzhou(cdb());
    let world = world(&target, &[], &[]);
    let ours = request(cdb(), "DescribeTasks", &json!({}));
    assert!(world.answer(cdb(), &ours).is_some());
    assert!(world.answer(redis(), &ours).is_none());
    assert!(world.answer(cdb(), &request(cdb(), "DescribeNothing", &json!({}))).is_none());
    assert!(world.answer(redis(), &request(redis(), "DescribeTasks", &json!({}))).is_none());
    let (mut head, body) = ours.into_parts();
    head.method = http::Method::GET;
    let get = http::Request::from_parts(head, body);
    assert!(world.answer(cdb(), &get).is_none());
}

const PARAMETERS: [&str; 14] = [
    "InstanceId",
    "InstanceName",
    "AsyncRequestId",
    "TaskId",
    "TaskTypes",
    "TaskStatus",
    "Result",
    "BeginTime",
    "EndTime",
    "StartTimeBegin",
    "InstanceIds",
    "InstanceNames",
    "Offset",
    "Limit",
];

fn any_parameters() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (0..200_i64).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}".prop_map(Value::from),
        proptest::collection::vec(-1..7_i64, 0..3).prop_map(Value::from),
        proptest::collection::vec("[0-9]{3}", 0..3).prop_map(Value::from),
        Just(Value::Null),
    ];
    proptest::collection::btree_map(prop::sample::select(PARAMETERS.to_vec()), value, 0..4)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn no_bytes_make_decode_panic(
        is_cdb: bool,
        body in proptest::collection::vec(any::<u8>(), 0..300),
        cdb_body in any::spoilt(cdb()),
        redis_body in any::spoilt(redis()),
        asked in any::query(redis().facts.operations[0]),
    ) {
        let api = if is_cdb { cdb() } else { redis() };
        let query = Query { operation: api.facts.operations[0], ..asked };
        for body in [body.into(), cdb_body, redis_body] {
            let _ = api.decode(&guangzhou(api), &query, &Response::new(body));
        }
    }

    #[test]
    fn no_world_makes_answer_panic(
        is_cdb: bool,
        (now, hours) in (any::timestamp(), -25_i8..=25),
        resources in any::resources(),
        tasks in proptest::collection::vec(any::task(), 0..5),
        asked in any::query(redis().facts.operations[0]),
        page: u32,
        parameters in any_parameters(),
    ) {
        let api = if is_cdb { cdb() } else { redis() };
        let target = target(api, "ap-guangzhou", hours);
        let world = World { now, target: &target, resources: &resources, tasks: &tasks };
        for operation in api.facts.operations {
            let query = Query { operation, page, ..asked.clone() };
            let response = world.answer(api, &api.facts.cloud.request(&target, &query)).unwrap();
            let _ = api.decode(&target, &query, &response);
        }
        for action in [
            "DescribeTasks", "DescribeDBInstances",
            "DescribeTaskList", "DescribeTaskInfo", "DescribeInstances",
        ] {
            let _ = world.answer(api, &request(api, action, &parameters));
        }
        let scope = Scope { now, since: now, resources: &resources, tags: &[] };
        let by_id = tasks.iter().filter_map(|task| api.by_id(&TaskRef::of(task), now));
        for query in api.list(&scope).into_iter().chain(by_id) {
            let request = api.facts.cloud.request(&target, &query);
            if let Some(answer) = world.answer(api, &request) {
                let _ = api.decode(&target, &query, &answer);
            }
        }
    }
}
