//! Alibaba's task centre, `DescribeHistoryTasks`, for every product that has it: recorded answers,
//! requests, and the simulated vendor.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable};
use dbtask_clouds::catalog::{self, APIS};
use dbtask_clouds::document::Format;
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskState, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::refusal::RefusalKind;
use dbtask_simulator::World;
use http::{Request, Response};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::golden::{check_fixtures, fixture, fixtures, resource, target, time};

/// The task that `task-*` answers are about.
const ASKED: &str = "t-83br18hloy3faf0001";

const WEEK: Duration = Duration::from_hours(7 * 24);

fn family() -> impl Iterator<Item = &'static TaskApi> {
    APIS.iter().copied().filter(|api| api.facts.operations[0].name == "DescribeHistoryTasks")
}

fn rds() -> &'static TaskApi {
    catalog::named("alibaba_rds_history").unwrap()
}

fn now() -> Timestamp {
    time("2026-03-01T08:00:30Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-02-28T08:00:30Z"), resources, tags: &[] }
}

fn hangzhou(api: &TaskApi) -> Target {
    target(api, "cn-hangzhou", 8)
}

fn reference(id: &str) -> TaskRef {
    TaskRef { id: id.into(), resource: None, started: None }
}

fn listed(api: &TaskApi) -> Query {
    api.list(&scope(&[])).remove(0)
}

fn decode(api: &TaskApi, query: &Query, body: impl Into<Bytes>) -> Page {
    api.decode(&hangzhou(api), query, &Response::new(body.into())).unwrap()
}

fn uri(api: &TaskApi, query: &Query) -> String {
    api.facts.cloud.request(&hangzhou(api), query).uri().to_string()
}

#[test]
fn recorded_answers_become_these_tasks() {
    for api in family() {
        check_fixtures(api, &hangzhou(api), |name| {
            if name.starts_with("refused-") {
                return None;
            }
            let by_id = name.starts_with("task-");
            if by_id { api.by_id(&reference(ASKED), now()) } else { Some(listed(api)) }
        });
    }
}

#[test]
fn nothing_of_the_account_and_no_reason_for_the_begin_is_shown() {
    for api in family() {
        let mut tasks = 0;
        for (name, body) in fixtures(api) {
            let answer = Response::new(body);
            let Ok(page) = api.decode(&hangzhou(api), &listed(api), &answer) else { continue };
            let shown = format!("{:?}", page.tasks);
            for secret in ["100000000000", "User", "callerUid", "step_name", "UpgradeMinorVersion"]
            {
                assert!(!shown.contains(secret), "{}/{name}: {secret}", api.facts.name);
            }
            assert!(page.tasks.iter().all(|task| task.error.is_none()), "{name}");
            tasks += page.tasks.len();
        }
        assert!(tasks > 0, "{}", api.facts.name);
    }
}

#[test]
fn a_poll_asks_for_what_is_unfinished_and_then_for_what_has_ended_since() {
    let host = "https://rds.aliyuncs.com/";
    let queries = rds().list(&scope(&[]));
    let (first, second) = (&queries[0], &queries[1]);
    assert_eq!(queries.len(), 2);
    assert_eq!((first.since, second.since), (None, Some(time("2026-02-28T08:00:30Z"))));
    assert_eq!(
        uri(rds(), first),
        format!(
            "{host}?FromStartTime=2026-01-30T08%3A01%3A30Z&PageNumber=1&PageSize=100\
             &RegionId=cn-hangzhou&Status=Scheduled%2CRunning%2CWaiting%2CCancelling\
             &ToStartTime=2026-03-01T08%3A05%3A30Z"
        )
    );
    let ended = format!(
        "{host}?FromStartTime=2026-02-28T08%3A00%3A29Z&PageNumber=1&PageSize=100\
         &RegionId=cn-hangzhou&Status=Failed%2CSucceed%2CCanceled\
         &ToStartTime=2026-03-01T08%3A05%3A30Z"
    );
    assert_eq!(uri(rds(), second), ended);
    assert_eq!(uri(rds(), &second.next_page()), ended.replace("PageNumber=1", "PageNumber=2"));
    let long_ago = Scope { since: time("2020-01-01T00:00:00Z"), ..scope(&[]) };
    let oldest = uri(rds(), &rds().list(&long_ago)[1]);
    assert!(oldest.contains("FromStartTime=2026-01-30T08%3A01%3A30Z"), "{oldest}");
    let request = rds().facts.cloud.request(&hangzhou(rds()), first);
    assert_eq!((request.method().as_str(), request.body().len()), ("POST", 0));
    assert_eq!(request.headers()["x-acs-action"], "DescribeHistoryTasks");
    assert_eq!(request.headers()["x-acs-version"], "2014-08-15");
}

#[test]
fn polardb_is_asked_without_the_word_that_its_filter_does_not_offer() {
    let api = catalog::named("alibaba_polardb_history").unwrap();
    let queries = api.list(&scope(&[]));
    let host = "https://polardb.aliyuncs.com/";
    assert_eq!(
        uri(api, &queries[0]),
        uri(rds(), &listed(rds())).replace("https://rds.aliyuncs.com/", host)
    );
    assert_eq!(
        uri(api, &queries[1]),
        format!(
            "{host}?FromStartTime=2026-02-28T08%3A00%3A29Z&PageNumber=1&PageSize=100\
             &RegionId=cn-hangzhou&ToStartTime=2026-03-01T08%3A05%3A30Z"
        )
    );
    let request = api.facts.cloud.request(&hangzhou(api), &queries[0]);
    assert_eq!(request.headers()["x-acs-version"], "2017-08-01");
    assert_eq!(api.facts.operations[0].permission, "polardb:DescribeHistoryTasks");
    assert_eq!(api.endpoint("cn-shenzhen"), "https://polardb.cn-shenzhen.aliyuncs.com");
    let target = hangzhou(api);
    let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
    let window = "RegionId=cn-hangzhou&FromStartTime=2026-02-01T00:00:00Z\
                  &ToStartTime=2026-03-01T09:00:00Z";
    assert_eq!(said(api, &world, &format!("{window}&Status=Failed")), "400 InvalidParameter");
    assert_eq!(said(api, &world, &format!("{window}&Status=Succeed")), " of \"0\"");
}

#[test]
fn one_task_is_asked_for_with_the_window_that_has_to_be_given() {
    let query = rds().by_id(&reference(ASKED), now()).unwrap();
    assert_eq!(
        uri(rds(), &query),
        "https://rds.aliyuncs.com/?FromStartTime=2026-01-30T08%3A01%3A30Z&PageNumber=1\
         &PageSize=100&RegionId=cn-hangzhou&TaskId=t-83br18hloy3faf0001\
         &ToStartTime=2026-03-01T08%3A05%3A30Z"
    );
    for api in family() {
        for (id, expected) in [
            ("t-0mqi38ho0cgjv", true),
            ("t-1", true),
            ("t-", false),
            ("T-1", false),
            ("1", false),
            ("t-a,t-b", false),
            ("t-é", false),
            ("", false),
        ] {
            assert_eq!(api.by_id(&reference(id), now()).is_some(), expected, "{id}");
        }
    }
}

#[test]
fn thirty_instances_go_into_one_query_and_unfinished_tasks_of_all_come_first() {
    let instances: Vec<_> = (0..70).map(|n| resource(&format!("rm-{n}"), None)).collect();
    for api in family() {
        let queries = api.list(&scope(&instances));
        let sizes: Vec<usize> = queries.iter().map(|query| query.resources.len()).collect();
        assert_eq!(sizes, [30, 30, 10, 30, 30, 10]);
        assert!(queries[..3].iter().all(|query| query.since.is_none()));
        assert!(queries[3..].iter().all(|query| query.since.is_some()));
        let uri = uri(api, &api.list(&scope(&instances[..2]))[0]);
        assert!(uri.contains("&InstanceId=rm-0%2Crm-1&") || uri.contains("?InstanceId="), "{uri}");
    }
}

#[test]
fn every_documented_status_word_has_a_state_and_a_number_has_none() {
    for api in family() {
        for (word, state) in [
            ("Scheduled", TaskState::Pending),
            ("Running", TaskState::Running),
            ("Waiting", TaskState::Paused),
            ("Cancelling", TaskState::Running),
            ("Succeed", TaskState::Succeeded),
            ("Failed", TaskState::Failed),
            ("Canceled", TaskState::Canceled),
            ("Succeeded", TaskState::Unknown),
            ("Cancelled", TaskState::Unknown),
            ("1", TaskState::Unknown),
        ] {
            assert_eq!(api.facts.state(word), state, "{word}");
        }
    }
}

#[test]
fn regions_have_these_endpoints() {
    for (region, host) in [
        ("cn-hangzhou", "rds"),
        ("cn-hongkong", "rds"),
        ("us-east-1", "rds"),
        ("cn-hangzhou-finance", "rds-vpc.cn-hangzhou-finance"),
        ("cn-chengdu", "rds.cn-chengdu"),
        ("eu-central-1", "rds.eu-central-1"),
    ] {
        assert_eq!(rds().endpoint(region), format!("https://{host}.aliyuncs.com"));
    }
}

/// The tasks of these pages, read one after the other, and whether they are all there is.
fn read(api: &TaskApi, pages: &[&str]) -> (usize, bool) {
    let (mut query, mut list, mut tasks) = (listed(api), Pages::default(), 0);
    for body in pages {
        let page = list.take(&query, decode(api, &query, fixture(api, body)));
        tasks += page.tasks.len();
        match page.next.as_slice() {
            [] => return (tasks, !page.incomplete),
            [next] => query = next.clone(),
            more => panic!("{more:?}"),
        }
    }
    panic!("it goes on after {}", pages.len());
}

#[test]
fn pages_are_read_until_the_total_is_reached_whatever_size_they_have() {
    assert_eq!(read(rds(), &["tasks-page1of2.json", "tasks-page2of2.json"]), (103, true));
    // Ten rows a page, and the second has two that were not on the first.
    let rows = |ids: std::ops::Range<u32>| {
        let row = |id| json!({ "TaskId": format!("t-{id}"), "Status": "Running" });
        ids.map(row).collect::<Vec<_>>()
    };
    for api in family() {
        for total in [json!(12), json!("12"), json!(null), json!("")] {
            let mut pages = Pages::default();
            let query = listed(api);
            let body = |rows: Vec<Value>| json!({ "RequestId": "x", "PageSize": 10, "TotalCount": total, "Items": rows });
            let first = pages.take(&query, decode(api, &query, body(rows(0..10)).to_string()));
            assert_eq!(first.next, [query.next_page()], "{total}");
            let second = &first.next[0];
            let last = pages.take(second, decode(api, second, body(rows(10..12)).to_string()));
            assert_eq!((last.next.len(), last.incomplete), (0, false), "{total}");
        }
    }
}

#[test]
fn a_refusal_with_a_good_status_is_no_empty_list() {
    let body = br#"{"RequestId":"x","Success":false,"Code":"InvalidParameter","HttpStatusCode":400,
        "Message":"The specified parameter FromStartTime is not valid.","PageNumber":0,"PageSize":0,
        "TotalCount":0,"Items":null}"#;
    for api in family() {
        let refusal = api.facts.cloud.refusal(&Response::new(Bytes::from_static(body))).unwrap();
        assert_eq!(refusal.code, "InvalidParameter");
    }
    let adb = catalog::named("alibaba_adb_history").unwrap();
    let recorded = Response::new(fixture(adb, "refused-good-status.json"));
    let refusal = adb.facts.cloud.refusal(&recorded).unwrap();
    assert_eq!((&*refusal.code, refusal.kind), ("InvalidParameter", RefusalKind::Client));
    // Its good answers have a code too.
    let good = Response::new(fixture(adb, "tasks-success.json"));
    assert_eq!(adb.facts.cloud.refusal(&good), None);
}

#[test]
fn each_product_is_asked_with_its_own_host_version_and_permission() {
    for (name, host, version, permission) in [
        ("alibaba_rds_history", "rds", "2014-08-15", "rds"),
        ("alibaba_polardb_history", "polardb", "2017-08-01", "polardb"),
        ("alibaba_adb_history", "adb", "2021-12-01", "adb"),
        ("alibaba_mongodb_history", "mongodb", "2015-12-01", "dds"),
        ("alibaba_redis_history", "r-kvstore", "2015-01-01", "kvstore"),
    ] {
        let api = catalog::named(name).unwrap();
        let request = api.facts.cloud.request(&hangzhou(api), &listed(api));
        assert_eq!(request.uri().host(), Some(&*format!("{host}.aliyuncs.com")));
        assert_eq!(request.headers()["x-acs-version"], version);
        let permission = format!("{permission}:DescribeHistoryTasks");
        assert_eq!(api.facts.operations[0].permission, permission);
        for region in ["eu-central-1", "cn-chengdu"] {
            assert_eq!(api.endpoint(region), format!("https://{host}.{region}.aliyuncs.com"));
        }
        let vpc = api.facts.endpoints.named("vpc", "cn-hangzhou").unwrap();
        assert_eq!(vpc, format!("https://{host}-vpc.cn-hangzhou.aliyuncs.com"));
    }
    assert_eq!(family().count(), 5);
}

/// What the simulated vendor says to these parameters: a code, or ids and the total.
fn said(api: &TaskApi, world: &World<'_>, parameters: &str) -> String {
    let version = api.facts.operations[0].call;
    let dbtask_clouds::api::Call::Action(version) = version else { panic!("{version:?}") };
    let request = Request::post(format!("https://x.example/?{parameters}"))
        .header("x-acs-action", "DescribeHistoryTasks")
        .header("x-acs-version", version)
        .header("accept", "application/json")
        .body(Bytes::new())
        .unwrap();
    let response = world.answer(api, &request).unwrap();
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    if let Some(code) = body.get("Code") {
        return format!("{} {}", response.status().as_u16(), code.as_str().unwrap());
    }
    let rows = body["Items"].as_array().unwrap().iter();
    let ids: Vec<&str> = rows.map(|row| row["TaskId"].as_str().unwrap()).collect();
    format!("{} of {}", ids.join(" "), body["TotalCount"])
}

#[test]
fn the_simulated_vendor_answers_as_documented() {
    let target = hangzhou(rds());
    let resources = ["rm-1", "rm-2"].map(|id| resource(id, None));
    let task = |id: &str, instance, status: &str, started| Task {
        resource: resource(instance, None),
        started: Some(time(started)),
        ..Task::new(id, TaskState::Running, status)
    };
    let tasks = [
        task("t-4", "rm-1", "Running", "2026-03-01T07:00:00Z"),
        task("t-3", "rm-2", "Failed", "2026-02-28T07:00:00Z"),
        task("t-2", "rm-2", "Waiting", "2026-02-27T07:00:00Z"),
        task("t-1", "rm-1", "Running", "2026-01-01T07:00:00Z"),
    ];
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let window = "RegionId=cn-hangzhou&FromStartTime=2025-12-01T00:00:00Z\
                  &ToStartTime=2026-03-01T09:00:00Z";
    for (parameters, expected) in [
        ("", "400 MissingParameter"),
        ("RegionId=cn-beijing", "400 InvalidRegionId"),
        ("RegionId=cn-hangzhou", "400 MissingParameter"),
        ("RegionId=cn-hangzhou&TaskId=t-4", "400 MissingParameter"),
        (
            "RegionId=cn-hangzhou&FromStartTime=2026-02-01T00:00Z&ToStartTime=2026-03-01T09:00:00Z",
            "400 InvalidParameter",
        ),
        // What began more than 30 days ago is gone.
        ("WINDOW", "t-4 t-3 t-2 of 3"),
        ("WINDOW&TaskId=t-1", " of 0"),
        ("WINDOW&TaskId=t-4,t-2,t-9", "t-4 t-2 of 2"),
        ("WINDOW&InstanceId=rm-2", "t-3 t-2 of 2"),
        ("WINDOW&Status=Running,Waiting", "t-4 t-2 of 2"),
        ("WINDOW&Status=Finished", "400 InvalidParameter"),
        ("WINDOW&PageSize=9", "400 InvalidParameter"),
        ("WINDOW&PageSize=101", "400 InvalidParameter"),
        ("WINDOW&PageNumber=0", "400 InvalidParameter"),
        ("WINDOW&PageNumber=2", " of 3"),
    ] {
        let parameters = parameters.replace("WINDOW", window);
        assert_eq!(said(rds(), &world, &parameters), expected, "{parameters}");
    }
}

/// All tasks that these queries and those that follow them find, and how many calls it takes.
fn ask(api: &TaskApi, world: &World<'_>, mut queries: Vec<Query>) -> (Vec<Task>, usize) {
    let (mut tasks, mut calls) = (Vec::new(), 0);
    while !queries.is_empty() {
        let query = queries.remove(0);
        let request = api.facts.cloud.request(world.target, &query);
        let response = world.answer(api, &request).unwrap();
        assert_eq!(response.status(), 200, "{query:?}: {response:?}");
        let page = api.decode(world.target, &query, &response).unwrap();
        assert_eq!(page.unreadable, Unreadable::default());
        tasks.extend(page.tasks);
        queries.extend(page.next);
        calls += 1;
    }
    (tasks, calls)
}

#[test]
fn every_page_of_a_large_region_is_read() {
    for api in family() {
        for format in [Format::Json, Format::Xml] {
            let target = Target { format, ..hangzhou(api) };
            let resources = [resource("rm-1", Some("orders"))];
            let tasks: Vec<Task> = (0..250)
                .map(|n| Task {
                    kind: "RestartIns".into(),
                    resource: Arc::clone(&resources[0]),
                    started: Some(now().saturating_sub(WEEK)),
                    ..Task::new(format!("t-{n}"), TaskState::Running, "Running")
                })
                .collect();
            let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
            let (found, calls) = ask(api, &world, api.list(&scope(&[])));
            // A list without a filter would show what began in the last day once more: nothing did.
            assert_eq!((found.len(), calls), (250, 3 + 1), "{}", api.facts.name);
        }
    }
}

fn text_of_a_person() -> impl Strategy<Value = String> {
    "[a-zA-Z_<&\"'\\\\é数][a-zA-Z0-9 <>&\"'\\\\\n;%+é数]{0,12}[a-zA-Z0-9_.>]"
        .prop_filter("the word for nothing", |text| !text.eq_ignore_ascii_case("null"))
}

fn recently() -> impl Strategy<Value = Timestamp> {
    (1..86_000u64).prop_map(|ago| now().saturating_sub(Duration::from_secs(ago)))
}

/// A task with all that the task centre can say.
fn any_task() -> impl Strategy<Value = Task> {
    (
        ("t-[a-z0-9]{1,18}", text_of_a_person(), select(rds().facts.statuses)),
        (0..=1000u16, 1..1_000_000u64, recently(), proptest::option::of(recently())),
        proptest::option::of(text_of_a_person()),
    )
        .prop_map(|((id, kind, (word, state)), (progress, left, started, ended), step)| Task {
            kind: kind.into(),
            resource: resource("rm-1", Some("a <name> & \"more\"")),
            progress: Ratio::clamped(f64::from(progress) / 1000.0),
            remaining: (!state.is_final()).then(|| Duration::from_secs(left)),
            started: (state != TaskState::Pending).then_some(started),
            ended: ended.filter(|_| state.is_final()),
            steps: step
                .filter(|_| state != TaskState::Pending)
                .map(|name| Step {
                    name: name.into(),
                    state: None,
                    progress: None,
                    remaining: None,
                })
                .into_iter()
                .collect(),
            ..Task::new(id, state, word)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tasks_come_back_as_they_were_from_lists_and_by_id(
        tasks in proptest::collection::btree_map("t-[a-z0-9]{1,18}", any_task(), 0..12),
        format in select(&[Format::Json, Format::Xml]),
        api in select(family().collect::<Vec<_>>()),
    ) {
        let tasks: Vec<Task> =
            tasks.into_iter().map(|(id, task)| Task { id: id.into(), ..task }).collect();
        let target = Target { format, ..hangzhou(api) };
        let resources = [resource("rm-1", Some("a <name> & \"more\""))];
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let by_id = tasks.iter().map(|task| api.by_id(&TaskRef::of(task), now()).unwrap());
        let name = |task: &Task| (!api.facts.name.contains("polardb")).then(|| task.resource.name.clone()).flatten();
        let expected: Vec<Task> = tasks
            .iter()
            .map(|task| Task {
                resource: Arc::new(Resource { id: task.resource.id.clone(), name: name(task) }),
                ..task.clone()
            })
            .collect();
        prop_assert_eq!(ask(api, &world, by_id.collect()).0, expected.clone());
        let mut found = ask(api, &world, api.list(&scope(&[]))).0;
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_row_makes_decode_panic(
        word in any::<String>(),
        number in any::<f64>(),
        field in select(&[
            "TaskId", "TaskType", "Status", "Progress", "RemainTime", "StartTime", "EndTime",
            "CurrentStepName", "InstanceId", "InstanceName", "RegionId",
        ]),
    ) {
        for value in [json!(word), json!(number), json!({ "a": [&word] }), json!([1]), json!(null)] {
            let body = json!({ "RequestId": "x", "Items": [{ "TaskId": "t-1", field: value }, value] });
            for query in [listed(rds()), rds().by_id(&reference("t-1"), now()).unwrap()] {
                decode(rds(), &query, body.to_string());
            }
        }
    }
}
