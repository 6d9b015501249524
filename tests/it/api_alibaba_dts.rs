//! Alibaba's Data Transmission Service: recorded answers, requests, and the simulated vendor.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::{Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::refusal::RefusalKind;
use dbtask_simulator::World;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::golden::{
    ask, check_fixtures, check_round_trip, fixture, fixtures, resource, target, time,
};

/// The job that `detail-*` answers are about.
const ASKED: &str = "k2gm967v16f0002";

fn dts() -> &'static TaskApi {
    catalog::named("alibaba_dts").unwrap()
}

fn hangzhou() -> Target {
    target(dts(), "cn-hangzhou", 8)
}

fn now() -> Timestamp {
    time("2026-03-01T08:00:30Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-02-28T08:00:30Z"), resources, tags: &[] }
}

fn list(sort: usize) -> Query {
    dts().list(&scope(&[])).remove(sort)
}

fn by_id(id: &str) -> Option<Query> {
    dts().by_id(&TaskRef { id: id.into(), resource: None, started: None }, now())
}

fn asked(name: &str) -> Option<Query> {
    match name.split_once('-').unwrap().0 {
        "migration" => Some(list(0)),
        "sync" => Some(list(1)),
        "subscribe" => Some(list(2)),
        "detail" => by_id(ASKED),
        _ => None,
    }
}

fn tasks(query: &Query, body: impl Into<Bytes>) -> Vec<Task> {
    dts().decode(&hangzhou(), query, &Response::new(body.into())).unwrap().tasks
}

fn uri(query: &Query) -> String {
    dts().facts.cloud.request(&hangzhou(), query).uri().to_string()
}

#[test]
fn recorded_answers_become_these_tasks() {
    check_fixtures(dts(), &hangzhou(), asked);
}

#[test]
fn no_user_host_or_stack_trace_is_shown() {
    for (name, body) in fixtures(dts()) {
        let Some(query) = asked(&name) else { continue };
        let Ok(page) = dts().decode(&hangzhou(), &query, &Response::new(body)) else { continue };
        let shown = format!("{page:?}");
        for secret in ["192.0.2", "dtstest", "3306", "java", "rm-bp1example", "rows/s"] {
            assert!(!shown.contains(secret), "{name}: {secret}");
        }
    }
}

#[test]
fn a_poll_asks_for_each_sort_of_job() {
    let sorts = ["MIGRATION", "SYNC", "SUBSCRIBE"];
    let queries = dts().list(&scope(&[]));
    assert_eq!(queries.len(), sorts.len());
    for (query, sort) in queries.iter().zip(sorts) {
        assert_eq!(
            uri(query),
            format!(
                "https://dts.aliyuncs.com/?JobType={sort}&PageNumber=1&PageSize=30&Region=cn-hangzhou\
                 &RegionId=cn-hangzhou&WithoutDbList=true"
            )
        );
    }
    let tags = [("env".to_owned(), "a \"b\"".to_owned())];
    let tagged = uri(&dts().list(&Scope { tags: &tags, ..scope(&[]) })[0]);
    let expected =
        "&Tags=%5B%7B%22key%22%3A%22env%22%2C%22value%22%3A%22a%20%5C%22b%5C%22%22%7D%5D&";
    assert!(tagged.contains(expected), "{tagged}");
    let request = dts().facts.cloud.request(&hangzhou(), &queries[0]);
    assert_eq!(request.headers()["x-acs-action"], "DescribeDtsJobs");
    assert_eq!(request.headers()["x-acs-version"], "2020-01-01");
}

#[test]
fn one_job_is_asked_for_with_its_direction() {
    assert_eq!(
        uri(&by_id("k2gm967v16f0002").unwrap()),
        "https://dts.aliyuncs.com/?DtsJobId=k2gm967v16f0002&RegionId=cn-hangzhou"
    );
    assert_eq!(
        uri(&by_id("k2gm967v16f0002:Reverse").unwrap()),
        "https://dts.aliyuncs.com/?DtsJobId=k2gm967v16f0002&RegionId=cn-hangzhou\
         &SynchronizationDirection=Reverse"
    );
    for id in ["", ":Reverse", "a-b", "a:Forward", "a b"] {
        assert_eq!(by_id(id), None, "{id}");
    }
}

#[test]
fn regions_outside_of_the_mainland_have_hosts_of_their_own() {
    for (region, host) in [
        ("cn-hangzhou", "dts"),
        ("cn-beijing", "dts"),
        ("cn-hongkong", "dts"),
        ("ap-southeast-1", "dts.ap-southeast-1"),
        ("eu-central-1", "dts.eu-central-1"),
    ] {
        assert_eq!(dts().endpoint(region), format!("https://{host}.aliyuncs.com"));
    }
}

#[test]
fn a_refusal_with_a_good_status_is_no_empty_list() {
    for (name, code, kind, text) in [
        (
            "refused-good-status.json",
            "InvalidParameter",
            RefusalKind::Client,
            "The Value of Input Parameter Type is not valid.",
        ),
        (
            "refused-permission.json",
            "DTS.Msg.RamPermissionDenied",
            RefusalKind::Forbidden,
            "not authorized",
        ),
    ] {
        let refusal = dts().facts.cloud.refusal(&Response::new(fixture(dts(), name))).unwrap();
        assert_eq!((&*refusal.code, refusal.kind, &*refusal.message), (code, kind, text));
    }
    // Beside an empty list, and with other words for "no".
    for (body, kind) in [
        (
            json!({"Success": "false", "ErrCode": "InternalError", "DtsJobList": []}),
            RefusalKind::Server,
        ),
        (json!({"Success": false, "ErrCode": "InvalidJobId"}), RefusalKind::NotFound),
        (
            json!({"Success": false, "HttpStatusCode": 403, "ErrCode": "New"}),
            RefusalKind::Forbidden,
        ),
        (json!({"Success": false, "HttpStatusCode": "503"}), RefusalKind::Server),
        (json!({"Success": false}), RefusalKind::Client),
    ] {
        let answer = Response::new(Bytes::from(body.to_string()));
        assert_eq!(dts().facts.cloud.refusal(&answer).map(|it| it.kind), Some(kind), "{body}");
    }
    let empty = Response::new(fixture(dts(), "migration-empty.json"));
    assert_eq!(dts().facts.cloud.refusal(&empty), None);
}

#[test]
fn both_pages_of_thirty_are_read_though_fewer_rows_came_than_were_wanted() {
    let (first, mut pages) = (list(0), Pages::default());
    let read = |query: &Query, name| {
        dts().decode(&hangzhou(), query, &Response::new(fixture(dts(), name))).unwrap()
    };
    let page = pages.take(&first, read(&first, "migration-page1of2.json"));
    assert_eq!((page.tasks.len(), page.next.len()), (30, 1));
    let page = pages.take(&page.next[0], read(&page.next[0], "migration-page2of2.json"));
    assert_eq!((page.tasks.len(), page.next.len(), page.incomplete), (3, 0, false));
}

#[test]
fn progress_is_the_percentage_of_the_phase_at_work_and_never_its_count() {
    let progress = |row: Value| {
        let body = json!({ "RequestId": "x", "DtsJobList": [row] }).to_string();
        tasks(&list(0), body)[0].progress.map(Ratio::get)
    };
    let phase = |status: &str, percent: &str| json!({ "Status": status, "Percent": percent, "Progress": "44755" });
    let job = |word: &str, phases: &[(&str, Value)]| {
        let mut job = json!({ "DtsJobId": "a", "Status": word });
        for (name, phase) in phases {
            job[format!("{name}Status")] = phase.clone();
        }
        job
    };
    let (structure, data, sync) =
        ("StructureInitialization", "DataInitialization", "DataSynchronization");
    for (word, phases, expected) in [
        ("Migrating", vec![(structure, phase("Migrating", "20"))], Some(0.2)),
        (
            "Migrating",
            vec![(structure, phase("Finished", "100")), (data, phase("Migrating", "64"))],
            Some(0.64),
        ),
        ("Migrating", vec![(structure, phase("NotStarted", "0"))], Some(0.0)),
        (
            "Synchronizing",
            vec![(data, phase("Finished", "100")), (sync, phase("Catched", "95"))],
            None,
        ),
        (
            "Suspending",
            vec![(data, phase("Finished", "100")), (sync, phase("Suspending", "95"))],
            None,
        ),
        (
            "Synchronizing",
            vec![
                (data, phase("Finished", "100")),
                ("FullDataCheck", phase("Checking", "30")),
                (sync, phase("Catched", "95")),
            ],
            Some(0.3),
        ),
        (
            "Synchronizing",
            vec![
                (data, phase("Finished", "100")),
                ("FullDataCheck", phase("NotStarted", "0")),
                (sync, phase("Catched", "95")),
            ],
            None,
        ),
        (
            "Finished",
            vec![(data, phase("Finished", "100")), (sync, phase("Finished", "95"))],
            Some(1.0),
        ),
        ("MigrationFailed", vec![(data, phase("Failed", "12"))], Some(0.12)),
        ("Normal", vec![], None),
    ] {
        assert_eq!(progress(job(word, &phases)), expected, "{word} {phases:?}");
    }
}

#[test]
fn the_second_direction_of_a_job_is_a_task_whatever_id_it_has() {
    let row = |reverse: &str| {
        json!({
            "RequestId": "x",
            "DtsJobList": [{
                "DtsJobId": "a1", "Status": "Synchronizing", "DtsJobDirection": "Forward",
                "ReverseJob": { "DtsJobId": reverse, "Status": "Failed", "ErrorMessage": "DTS-1 x" },
            }],
        })
    };
    for (reverse, id) in [("a1", "a1:Reverse"), ("b2", "b2:Reverse")] {
        let found = tasks(&list(1), row(reverse).to_string());
        let shown: Vec<_> =
            found.iter().map(|task| (&*task.id, &*task.kind, task.state.as_str())).collect();
        assert_eq!(shown, [("a1", "SYNC", "running"), (id, "SYNC", "failed")]);
    }
}

#[test]
fn configured_instances_are_picked_out_of_the_list() {
    let watched = [resource("dtsk2gm967v16f0002", None)];
    let query = dts().list(&scope(&watched)).remove(0);
    let found = tasks(&query, fixture(dts(), "migration-phases.json"));
    assert_eq!(found.iter().map(|task| &*task.id).collect::<Vec<_>>(), ["k2gm967v16f0002"]);
}

fn job(id: &str, kind: &str, state: TaskState, word: &str) -> Task {
    let error = TaskError { code: "DTS-1".into(), message: "DTS-1 no grant".into() };
    Task {
        kind: kind.into(),
        resource: resource("dtsa", Some("orders \"to\" dw")),
        created: Some(time("2026-03-01T07:00:00Z")),
        progress: Ratio::clamped(0.64),
        steps: [Step {
            name: "DataInitialization".into(),
            state: Some(state).filter(|state| *state != TaskState::Pending),
            progress: Ratio::clamped(0.64),
            remaining: None,
        }]
        .into(),
        error: (state == TaskState::Failed).then(|| Box::new(error)),
        ..Task::new(id, state, word)
    }
}

#[test]
fn the_simulated_vendor_is_read_as_it_is_over_all_pages() {
    let target = hangzhou();
    let mut all = vec![
        job("s1", "SYNC", TaskState::Running, "Initializing"),
        job("s2", "SUBSCRIBE", TaskState::Paused, "Suspending"),
        job("s3", "MIGRATION", TaskState::Failed, "MigrationFailed"),
    ];
    let more = (0..70).map(|n| job(&format!("m{n}"), "MIGRATION", TaskState::Running, "Migrating"));
    all.extend(more);
    let world = World { now: now(), target: &target, resources: &[], tasks: &all };
    check_round_trip(dts(), &world, &scope(&[]));
    assert_eq!(ask(dts(), &world, dts().list(&scope(&[]))).1, 3 + 2);
    let (found, _) = ask(dts(), &world, vec![by_id("s3").unwrap()]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].error, all[2].error);
}

/// What the simulated vendor answers, with its status.
fn said(action: &str, parameters: &str) -> (u16, Value) {
    let target = hangzhou();
    let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
    let request = Request::post(format!("https://x.example/?{parameters}"))
        .header("x-acs-action", action)
        .header("x-acs-version", "2020-01-01")
        .body(Bytes::new())
        .unwrap();
    let response = world.answer(dts(), &request).unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn the_simulated_vendor_refuses_with_a_good_status() {
    for (action, parameters, code) in [
        ("DescribeDtsJobs", "", "InvalidParameter"),
        ("DescribeDtsJobs", "Region=cn-beijing", "InvalidParameter"),
        ("DescribeDtsJobs", "Region=cn-hangzhou&Type=x", "InvalidParameter"),
        ("DescribeDtsJobs", "RegionId=cn-hangzhou&JobType=CHECK", "InvalidParameter"),
        ("DescribeDtsJobDetail", "RegionId=cn-hangzhou&DtsJobId=a", "InvalidJobId"),
    ] {
        let (status, body) = said(action, parameters);
        assert_eq!((status, &body["Success"]), (200, &json!(false)), "{parameters}");
        assert_eq!(body["ErrCode"], code, "{parameters}");
        assert!(body.get("DtsJobList").is_none());
    }
    let (status, body) = said("DescribeDtsJobs", "Region=cn-hangzhou&PageSize=200");
    assert_eq!((status, &body["PageRecordCount"]), (200, &json!(30)));
}
