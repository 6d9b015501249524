//! Alibaba's `DescribeTasks` instance by instance, RDS and PolarDB-X: recorded answers, requests, and the
//! simulated vendor.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi};
use dbtask_clouds::catalog;
use dbtask_clouds::model::{Ratio, Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::refusal::RefusalKind;
use dbtask_simulator::World;
use http::{Request, Response};

use crate::golden::{check_fixtures, check_round_trip, fixture, resource, target, time};

fn family() -> [&'static TaskApi; 2] {
    ["alibaba_rds", "alibaba_polardbx"].map(|name| catalog::named(name).unwrap())
}

fn hangzhou(api: &TaskApi) -> Target {
    target(api, "cn-hangzhou", 8)
}

fn now() -> Timestamp {
    time("2026-03-01T08:00:30Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-02-28T08:00:30Z"), resources, tags: &[] }
}

fn list(api: &TaskApi) -> Query {
    api.list(&scope(&[resource("rm-1", Some("orders"))])).remove(0)
}

fn uri(api: &TaskApi, query: &Query) -> String {
    api.facts.cloud.request(&hangzhou(api), query).uri().to_string()
}

#[test]
fn recorded_answers_become_these_tasks() {
    for api in family() {
        check_fixtures(api, &hangzhou(api), |name| name.starts_with("tasks-").then(|| list(api)));
    }
}

#[test]
fn recorded_answers_become_these_instances() {
    for (api, name, expected) in [
        (
            "alibaba_rds",
            "instances-sqlserver.json",
            [("rm-bp1example000011", Some("ledger")), ("rm-bp1example000012", None)],
        ),
        (
            "alibaba_polardbx",
            "instances-two.json",
            [("pxc-hzexample00001", Some("orders")), ("pxc-hzexample00002", None)],
        ),
    ] {
        let api = catalog::named(api).unwrap();
        let query = api.discover(&scope(&[])).unwrap();
        let page = api.decode(&hangzhou(api), &query, &Response::new(fixture(api, name))).unwrap();
        let found: Vec<_> = page.resources.iter().map(|it| (&*it.id, it.name.as_deref())).collect();
        assert_eq!(found, expected);
        assert!(page.next.is_empty());
    }
}

#[test]
fn each_instance_is_asked_by_itself_with_what_the_product_wants() {
    let [rds, polardbx] = family();
    let host = "https://rds.aliyuncs.com/";
    assert_eq!(
        uri(rds, &list(rds)),
        format!("{host}?DBInstanceId=rm-1&PageNumber=1&PageSize=100&RegionId=cn-hangzhou")
    );
    assert_eq!(
        uri(rds, &rds.discover(&scope(&[])).unwrap()),
        format!("{host}?Engine=SQLServer&PageNumber=1&PageSize=100&RegionId=cn-hangzhou")
    );
    let host = "https://polardbx.cn-hangzhou.aliyuncs.com/";
    // From the day before the window to the day after today, whatever the zone of these dates is.
    assert_eq!(
        uri(polardbx, &list(polardbx)),
        format!(
            "{host}?DBInstanceId=rm-1&EndTime=2026-03-02&PageNumber=1&PageSize=100\
             &RegionId=cn-hangzhou&StartTime=2026-01-29"
        )
    );
    assert_eq!(
        uri(polardbx, &polardbx.discover(&scope(&[])).unwrap()),
        format!("{host}?PageNumber=1&PageSize=100&RegionId=cn-hangzhou")
    );
    for (api, version) in [(rds, "2014-08-15"), (polardbx, "2020-02-02")] {
        let request = api.facts.cloud.request(&hangzhou(api), &list(api));
        assert_eq!(request.headers()["x-acs-version"], version);
        let three = ["a", "b", "c"].map(|id| resource(id, None));
        assert_eq!(api.list(&scope(&three)).len(), 3);
        assert!(api.list(&scope(&[])).is_empty());
    }
    assert_eq!(
        polardbx.endpoint("cn-hangzhou-finance"),
        "https://polardbx.cn-hangzhou.aliyuncs.com"
    );
}

#[test]
fn the_number_eight_is_a_failure_of_one_product_and_a_success_of_the_other() {
    let [rds, polardbx] = family();
    assert_eq!(rds.facts.state("8"), TaskState::Failed);
    assert_eq!(polardbx.facts.state("8"), TaskState::Succeeded);
    for word in ["Default", "3", "15", "Finished"] {
        assert_eq!(rds.facts.state(word), TaskState::Unknown, "{word}");
    }
    for word in ["0", "1", "2", "7", "PAUSED"] {
        assert_eq!(polardbx.facts.state(word), TaskState::Unknown, "{word}");
    }
}

#[test]
fn a_page_may_have_fewer_rows_than_were_asked_for() {
    for api in family() {
        let row = |id: u32| format!("{{\"TaskId\":\"{id}\",\"Status\":\"1\"}}");
        let body = |ids: std::ops::Range<u32>| {
            let rows = ids.map(row).collect::<Vec<_>>().join(",");
            let items = match api.facts.name {
                "alibaba_rds" => format!("{{\"TaskProgressInfo\":[{rows}]}}"),
                _ => format!("[{rows}]"),
            };
            Response::new(Bytes::from(format!(
                "{{\"RequestId\":\"x\",\"TotalRecordCount\":35,\"Items\":{items}}}"
            )))
        };
        let (query, mut pages) = (list(api), Pages::default());
        let read = |query: &Query, ids| api.decode(&hangzhou(api), query, &body(ids)).unwrap();
        let first = pages.take(&query, read(&query, 0..30));
        assert_eq!(first.next.len(), 1, "{}", api.facts.name);
        let second = pages.take(&first.next[0], read(&first.next[0], 30..35));
        assert_eq!((second.next.len(), second.incomplete), (0, false));
    }
}

#[test]
fn a_missing_instance_is_refused_as_one_that_is_not_there() {
    for code in ["InvalidDBInstanceId.NotFound", "DBInstance.NotFound"] {
        let body = format!("{{\"RequestId\":\"x\",\"Code\":\"{code}\",\"Message\":\"no\"}}");
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
        let refusal = family()[1].facts.cloud.refusal(&answer).unwrap();
        assert_eq!(refusal.kind, RefusalKind::NotFound);
    }
    let body = br#"{"RequestId":"x","Code":"RAM.Permission.Denied","Message":"no"}"#;
    let mut answer = Response::new(Bytes::from_static(body));
    *answer.status_mut() = http::StatusCode::BAD_REQUEST;
    let refusal = family()[1].facts.cloud.refusal(&answer).unwrap();
    assert_eq!(refusal.kind, RefusalKind::Forbidden);
}

#[test]
fn the_simulated_vendor_is_read_as_it_is_over_all_pages() {
    for api in family() {
        let target = hangzhou(api);
        let resources: Vec<_> = (0..150).map(|n| resource(&format!("db-{n}"), Some("x"))).collect();
        let task = |n: usize| {
            let (word, state) = api.facts.statuses[n % api.facts.statuses.len()];
            let error = TaskError { code: "Timeout".into(), message: "no \"node\"".into() };
            Task {
                kind: "ModifyDBInstanceSpec".into(),
                resource: Arc::clone(&resources[n % 2]),
                progress: Ratio::clamped(0.35),
                started: (state != TaskState::Pending).then(|| time("2026-02-20T07:00:00Z")),
                ended: state.is_final().then(|| time("2026-02-20T08:00:00Z")),
                error: (state == TaskState::Failed).then(|| Box::new(error)),
                ..Task::new((n + 1).to_string(), state, word)
            }
        };
        let all: Vec<Task> = (0..250).map(task).collect();
        let world = World { now: now(), target: &target, resources: &resources, tasks: &all };
        check_round_trip(api, &world, &scope(&resources));
        let query = api.discover(&scope(&[])).unwrap();
        let (mut next, mut found) = (vec![query], 0);
        while let Some(query) = next.pop() {
            let request = api.facts.cloud.request(&target, &query);
            let page = api.decode(&target, &query, &world.answer(api, &request).unwrap()).unwrap();
            found += page.resources.len();
            next.extend(page.next);
        }
        assert_eq!(found, 150);
    }
}

#[test]
fn the_simulated_vendor_refuses_what_it_does_not_take() {
    let resources = [resource("rm-1", None)];
    for (name, action, parameters, code) in [
        ("alibaba_rds", "DescribeTasks", "", Some("InvalidDBInstanceId.NotFound")),
        ("alibaba_rds", "DescribeTasks", "DBInstanceId=rm-1", None),
        (
            "alibaba_rds",
            "DescribeTasks",
            "DBInstanceId=rm-1&PageSize=29",
            Some("InvalidPageSize.Malformed"),
        ),
        ("alibaba_rds", "DescribeDBInstances", "", Some("MissingParameter")),
        ("alibaba_polardbx", "DescribeTasks", "DBInstanceId=rm-1", Some("MissingParameter")),
        (
            "alibaba_polardbx",
            "DescribeTasks",
            "DBInstanceId=rm-1&RegionId=cn-hangzhou",
            Some("InvalidStartTime.Malformed"),
        ),
        (
            "alibaba_polardbx",
            "DescribeTasks",
            "DBInstanceId=rm-1&RegionId=cn-hangzhou&StartTime=2026-02-01&EndTime=2026-03-01",
            None,
        ),
    ] {
        let api = catalog::named(name).unwrap();
        let target = hangzhou(api);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &[] };
        let dbtask_clouds::api::Call::Action(version) = api.facts.operations[0].call else {
            panic!("{name}");
        };
        let request = Request::post(format!("https://x.example/?{parameters}"))
            .header("x-acs-action", action)
            .header("x-acs-version", version)
            .body(Bytes::new())
            .unwrap();
        let answer = world.answer(api, &request).unwrap();
        let refusal = api.facts.cloud.refusal(&answer);
        assert_eq!(refusal.as_ref().map(|it| &*it.code), code, "{name} {action} {parameters}");
    }
}
