//! Alibaba's planned maintenance, `DescribeActiveOperationTasks`, for every product that has it: recorded
//! answers, requests, the simulated vendor, and what becomes of planned work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Scope, Target, TaskApi};
use dbtask_clouds::catalog::{self, APIS};
use dbtask_clouds::model::{Resource, Task, TaskError, TaskState, Timestamp};
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::World;
use http::{Request, Response};

use crate::golden::{check_fixtures, check_round_trip, fixture, fixtures, resource, target, time};
use crate::support::Lab;

fn family() -> impl Iterator<Item = &'static TaskApi> {
    let name = "DescribeActiveOperationTasks";
    APIS.iter().copied().filter(move |api| api.facts.operations[0].name == name)
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

fn tasks(api: &TaskApi, target: &Target, body: Bytes) -> Vec<Task> {
    let query = api.list(&scope(&[])).remove(0);
    api.decode(target, &query, &Response::new(body)).unwrap().tasks
}

#[test]
fn recorded_answers_become_these_tasks() {
    for api in family() {
        check_fixtures(api, &hangzhou(api), |_| Some(api.list(&scope(&[])).remove(0)));
    }
}

#[test]
fn what_an_answer_says_of_parameters_and_reasons_is_no_error_and_is_not_shown() {
    for api in family() {
        for (name, body) in fixtures(api) {
            let query = api.list(&scope(&[])).remove(0);
            let Ok(page) = api.decode(&hangzhou(api), &query, &Response::new(body)) else {
                continue;
            };
            let shown = format!("{:?}", page.tasks);
            for hidden in ["userCancel", "UpgradeDBInstance", "Action", "TransientDisconnection"] {
                assert!(!shown.contains(hidden), "{}/{name}: {hidden}", api.facts.name);
            }
        }
    }
}

#[test]
fn one_call_asks_for_everything_in_the_region() {
    for (name, host, version, parameters) in [
        ("alibaba_rds_maintenance", "rds", "2014-08-15", "&ProductId=RDS&Region=cn-hangzhou"),
        (
            "alibaba_mongodb_maintenance",
            "mongodb",
            "2015-12-01",
            "&ProductId=MongoDB&Region=cn-hangzhou",
        ),
        (
            "alibaba_redis_maintenance",
            "r-kvstore",
            "2015-01-01",
            "&ProductId=Redis&Region=cn-hangzhou",
        ),
        ("alibaba_polardb_maintenance", "polardb", "2017-08-01", "&RegionId=cn-hangzhou"),
    ] {
        let api = catalog::named(name).unwrap();
        let queries = api.list(&scope(&[]));
        assert_eq!(queries.len(), 1);
        let request = api.facts.cloud.request(&hangzhou(api), &queries[0]);
        assert_eq!(
            request.uri().to_string(),
            format!(
                "https://{host}.aliyuncs.com/?PageNumber=1&PageSize=100{parameters}&Status=-1&TaskType=all"
            )
        );
        assert_eq!(request.headers()["x-acs-version"], version);
    }
    assert_eq!(family().count(), 4);
}

#[test]
fn a_plan_is_shown_while_it_is_one_and_never_as_a_start() {
    for api in family() {
        let found = tasks(api, &hangzhou(api), fixture(api, "tasks-states.json"));
        assert_eq!(found.len(), 9);
        for task in found {
            let is_pending = task.state == TaskState::Pending;
            assert_eq!(task.scheduled.is_some(), is_pending, "{task:?}");
            assert!(task.started.is_none_or(|start| start < now()), "{task:?}");
            assert!(task.ended.is_none() && task.progress.is_none() && task.remaining.is_none());
            assert_eq!(task.error.is_some(), task.state == TaskState::Failed);
        }
    }
}

#[test]
fn rows_of_other_regions_are_shown_only_where_all_are_watched() {
    let api = catalog::named("alibaba_rds_maintenance").unwrap();
    let body = fixture(api, "tasks-two-regions.json");
    assert_eq!(tasks(api, &hangzhou(api), body.clone()).len(), 3);
    let everywhere = target(api, "all", 8);
    assert_eq!(tasks(api, &everywhere, body).len(), 4);
    let query = api.list(&scope(&[])).remove(0);
    let uri = api.facts.cloud.request(&everywhere, &query).uri().to_string();
    assert!(uri.starts_with("https://rds.aliyuncs.com/?") && uri.contains("&Region=all&"), "{uri}");
}

#[test]
fn only_an_api_that_answers_for_all_regions_is_configured_with_all() {
    for api in APIS {
        let text = format!("sources: [{{name: a, api: {}, region: all}}]", api.facts.name);
        let config = Config::parse(&text, "test.yml", &Environment::default());
        let problems = config.err().map(|error| error.to_string()).unwrap_or_default();
        let is_refused = problems.contains("\"all\" is not a region");
        assert_eq!(is_refused, api.facts.endpoints.all_regions.is_none(), "{}", api.facts.name);
    }
}

#[test]
fn configured_instances_are_picked_out_of_the_list() {
    let api = catalog::named("alibaba_rds_maintenance").unwrap();
    let watched = [resource("rm-bp1example000003", None)];
    let query = api.list(&scope(&watched)).remove(0);
    let answer = Response::new(fixture(api, "tasks-two-regions.json"));
    let page = api.decode(&hangzhou(api), &query, &answer).unwrap();
    assert_eq!(page.tasks.iter().map(|task| &*task.id).collect::<Vec<_>>(), ["11113"]);
}

#[test]
fn the_simulated_vendor_is_read_as_it_is_over_all_pages() {
    for api in family() {
        let target = hangzhou(api);
        let task = |number: u32| {
            let (word, state) = api.facts.statuses[number as usize % api.facts.statuses.len()];
            let is_pending = state == TaskState::Pending;
            let begun =
                matches!(state, TaskState::Running | TaskState::Succeeded | TaskState::Failed);
            let error = TaskError { code: "".into(), message: "timed out".into() };
            Task {
                kind: "rds_apsaradb_ha".into(),
                resource: resource("db-1", Some("orders")),
                created: Some(time("2026-02-20T14:30:00Z")),
                scheduled: is_pending.then(|| time("2026-03-05T18:00:00Z")),
                started: begun.then(|| time("2026-02-27T18:00:00Z")),
                error: (state == TaskState::Failed).then(|| Box::new(error)),
                ..Task::new(number.to_string(), state, word)
            }
        };
        let all: Vec<Task> = (1..=250).map(task).collect();
        let world = World { now: now(), target: &target, resources: &[], tasks: &all };
        check_round_trip(api, &world, &scope(&[]));
    }
}

#[test]
fn the_simulated_vendor_refuses_what_it_does_not_take() {
    for (name, parameters, code) in [
        ("alibaba_rds_maintenance", "", Some("MissingParameter")),
        ("alibaba_rds_maintenance", "Region=cn-beijing", Some("InvalidRegionId")),
        ("alibaba_rds_maintenance", "Region=all", None),
        ("alibaba_rds_maintenance", "Region=all&Status=9", Some("InvalidStatus.Malformed")),
        ("alibaba_polardb_maintenance", "RegionId=all", Some("InvalidRegionId")),
        ("alibaba_polardb_maintenance", "RegionId=cn-hangzhou", None),
    ] {
        let api = catalog::named(name).unwrap();
        let target = hangzhou(api);
        let world = World { now: now(), target: &target, resources: &[], tasks: &[] };
        let dbtask_clouds::api::Call::Action(version) = api.facts.operations[0].call else {
            panic!("{name}");
        };
        let request = Request::post(format!("https://x.example/?{parameters}"))
            .header("x-acs-action", "DescribeActiveOperationTasks")
            .header("x-acs-version", version)
            .body(Bytes::new())
            .unwrap();
        let answer = world.answer(api, &request).unwrap();
        let refusal = api.facts.cloud.refusal(&answer);
        assert_eq!(refusal.as_ref().map(|it| &*it.code), code, "{name} {parameters}");
    }
}

/// A source `one` whose only task waits for so long, and then does this.
fn planned(wait: &str, then: &str) -> String {
    format!(
        "
sources:
  - name: one
    api: alibaba_rds_maintenance
    region: cn-hangzhou
    resources: [{{id: rm-1, name: orders}}]
    tasks: [{{id: '1', resource: rm-1, kind: rds_apsaradb_ha, life: [{{wait: {{for: {wait}}}}}, {then}]}}]
"
    )
}

#[tokio::test(start_paused = true)]
async fn work_that_waits_for_its_time_is_polled_at_leisure_and_told_with_its_plan() {
    let lab = Lab::new(&planned("2h", "{run: {for: 30m}}, {finish: {}}"), |_| {});
    lab.minutes(60).await;
    let task = lab.task("one", "1").unwrap().task;
    assert_eq!((task.state, task.started), (TaskState::Pending, None));
    let begin = lab.cloud_now() + Duration::from_hours(1);
    assert_eq!(task.scheduled, Some(begin));
    let series = "dbtask_task_scheduled_timestamp_seconds{source=\"one\",task_id=\"1\"}";
    assert_eq!(lab.value(series), Some(begin.as_second().unsigned_abs()));
    // Every two minutes, and not every 30 seconds.
    let calls = lab.calls("DescribeActiveOperationTasks");
    assert!((25..=36).contains(&calls), "{calls}");
    lab.minutes(65).await;
    assert_eq!(lab.state("one", "1"), "running");
    assert_eq!(lab.value(series), None);
    let busy = lab.calls("DescribeActiveOperationTasks");
    lab.minutes(10).await;
    let calls = lab.calls("DescribeActiveOperationTasks") - busy;
    assert!((18..=22).contains(&calls), "{calls}");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_gone_before_it_began_is_no_failure() {
    let lab = Lab::new(&planned("2h", "{vanish: {}}"), |_| {});
    lab.minutes(30).await;
    lab.scrape_by(1);
    assert_eq!(lab.state("one", "1"), "pending");
    lab.minutes(100).await;
    assert_eq!(lab.state("one", "1"), "unknown");
    let series = "dbtask_task_scheduled_timestamp_seconds{source=\"one\",task_id=\"1\"}";
    assert_eq!(lab.value(series), None);
    assert_eq!(lab.sum("dbtask_task_failures_total"), 0);
    assert_eq!(lab.sum("dbtask_task_completions_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn planned_work_is_kept_for_as_long_as_it_waits() {
    let lab = Lab::new(&planned("200h", "{run: {for: 1h}}, {finish: {}}"), |_| {});
    lab.minutes(100 * 60).await;
    assert_eq!(lab.state("one", "1"), "pending");
    lab.stop().await;
}
