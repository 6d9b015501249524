//! Alibaba's APIs: recorded answers become these tasks, and requests are exactly these.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable};
use dbtask_clouds::catalog;
use dbtask_clouds::document::{DecodeError, Format};
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use dbtask_simulator::World;
use http::{Request, Response};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

fn adb() -> &'static TaskApi {
    catalog::named("alibaba_adb").unwrap()
}

fn polardb() -> &'static TaskApi {
    catalog::named("alibaba_polardb").unwrap()
}

fn both() -> impl Iterator<Item = &'static TaskApi> {
    [adb(), polardb()].into_iter()
}

fn at(time: &str) -> Timestamp {
    Timestamp::from(time.parse::<jiff::Timestamp>().unwrap())
}

fn now() -> Timestamp {
    at("2026-03-01T08:00:30Z")
}

fn target(api: &TaskApi, format: Format) -> Target {
    Target {
        endpoint: api.endpoint("cn-hangzhou"),
        region: "cn-hangzhou".to_owned(),
        project_id: String::new(),
        utc_offset: jiff::tz::Offset::constant(8),
        format,
    }
}

fn resource(id: &str, name: Option<&str>) -> Arc<Resource> {
    Arc::new(Resource { id: id.into(), name: name.map(Into::into) })
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: at("2026-02-28T08:00:30Z"), resources, tags: &[] }
}

/// The query whose answer a fixture is: by id, the discovery, or of tasks in a status.
fn asked(api: &TaskApi, what: &str) -> Query {
    match what {
        "by id" => api
            .by_id(
                &TaskRef {
                    id: "1".into(),
                    resource: Some(resource("am-1", Some("reports"))),
                    started: None,
                },
                now(),
            )
            .unwrap(),
        "clusters" => api.discover(&scope(&[])).unwrap(),
        "list" => api.list(&scope(&[])).remove(0),
        status => api
            .list(&scope(&[resource("pc-1", Some("orders"))]))
            .into_iter()
            .find(|query| query.uri(api).contains(&format!("&Status={status}")))
            .unwrap(),
    }
}

trait Uri {
    /// Where the query is sent, in JSON.
    fn uri(&self, api: &TaskApi) -> String;
}

impl Uri for Query {
    fn uri(&self, api: &TaskApi) -> String {
        api.facts.cloud.request(&target(api, Format::Json), self).uri().to_string()
    }
}

fn fixture(api: &TaskApi, name: &str) -> Vec<u8> {
    let path =
        format!("{}/tests/fixtures/api/{}/{name}", env!("CARGO_MANIFEST_DIR"), api.facts.name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decode(api: &TaskApi, query: &Query, body: impl Into<Bytes>) -> Result<Page, DecodeError> {
    api.decode(&target(api, Format::Json), query, &Response::new(body.into()))
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A page as text: a line for each task, step, resource, and for what could not be read.
fn text(page: &Page) -> String {
    let mut out = String::new();
    for task in &page.tasks {
        assert_eq!((task.created, task.origin.as_str()), (None, "listed"));
        writeln!(
            out,
            "{} {} on {} | {} {} | {} {} | {} to {}",
            task.id.escape_debug(),
            task.kind.escape_debug(),
            name(&task.resource),
            task.state.as_str(),
            task.vendor_status,
            or_dash(task.progress.map(Ratio::get)),
            or_dash(task.remaining.map(|left| format!("{}s", left.as_secs()))),
            or_dash(task.started),
            or_dash(task.ended),
        )
        .unwrap();
        for step in &task.steps {
            let progress = or_dash(step.progress.map(Ratio::get));
            let left = or_dash(step.remaining.map(|left| format!("{}s", left.as_secs())));
            let state = step.state.map(|state| format!(" {}", state.as_str())).unwrap_or_default();
            writeln!(out, "  {} {progress} {left}{state}", step.name).unwrap();
        }
        if let Some(error) = &task.error {
            writeln!(out, "  {}: {}", error.code, error.message.escape_debug()).unwrap();
        }
    }
    for resource in &page.resources {
        writeln!(out, "{}", name(resource)).unwrap();
    }
    if page.unreadable != Unreadable::default() {
        let Unreadable { status, time, progress, task_id } = page.unreadable;
        writeln!(out, "unreadable: {status} {time} {progress} {task_id}").unwrap();
    }
    out
}

fn name(resource: &Resource) -> String {
    let name = resource.name.as_deref().unwrap_or("-");
    format!("{} ({})", resource.id.escape_debug(), name.escape_debug())
}

/// Compares with `expected`, whose lines are indented as the code around them is.
fn assert_text(api: &TaskApi, name: &str, what: &str, expected: &str) {
    let page = decode(api, &asked(api, what), fixture(api, name)).unwrap();
    let lines = || expected.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().next().map_or(0, |line| line.len() - line.trim_start().len());
    let expected = lines().fold(String::new(), |all, line| all + &line[indent..] + "\n");
    assert_eq!(text(&page), expected, "{}/{name}", api.facts.name);
    assert_eq!(page.next, [], "{}/{name}", api.facts.name);
}

#[test]
fn answers_about_one_task_are_read() {
    let running = "
        412345678  on am-1 (reports) | running Running | 0.37 - | 2026-03-01T07:12:09Z to -
    ";
    let finished = "
        225685759  on am-1 (reports) | succeeded Finished | 1 - | 2020-01-07T07:39:56Z to 2020-01-07T08:08:50Z
    ";
    for (name, expected) in [
        ("task-published.json", finished),
        ("task-published.xml", finished),
        ("task-finished-string.json", finished),
        ("task-finished-root.xml", finished),
        ("task-running-string.json", running),
        ("task-running-number.json", running),
        ("task-running-root.xml", running),
        (
            "task-running-noroot.xml",
            "
            412345679  on am-1 (reports) | running Running | 0.08 - | 2026-03-01T07:58:00Z to -
            ",
        ),
        (
            "task-failed.json",
            "
            412340001  on am-1 (reports) | failed Failed | 0.62 - | 2026-02-27T22:00:00Z to 2026-02-27T22:41:07Z
            ",
        ),
        (
            "odd-task-word.json",
            "
            7  on am-1 (reports) | unknown Rebalancing | 0.125 - | 2026-03-01T07:12:00Z to -
            unreadable: 1 0 0 0
            ",
        ),
        (
            "odd-task-types.json",
            "
            9223372036854775807  on am-1 (reports) | succeeded FINISHED | - - | - to -
            unreadable: 0 2 1 0
            ",
        ),
        (
            "odd-task-numbers.json",
            "
            8  on am-1 (reports) | unknown  | 1 - | - to -
            ",
        ),
        (
            // It can only be about the task that was asked for.
            "odd-task-without-id.json",
            "
            1  on am-1 (reports) | running Running | 0.37 - | - to -
            ",
        ),
        ("odd-task-long-id.json", "\n  unreadable: 0 0 0 1"),
    ] {
        assert_text(adb(), name, "by id", expected);
    }
}

#[test]
fn the_jobs_that_clusters_carry_are_read() {
    assert_text(
        adb(),
        "clusters.json",
        "list",
        "
        am-bp1example000002/analyticDBFlexibleScaleOut/2026-03-01T07:00:00Z analyticDBFlexibleScaleOut on am-bp1example000002 (-) | running RUNNING | 0.5 - | 2026-03-01T07:00:00Z to -
          ApplyResource 1 - succeeded
          MigrateData 0.2 - running
          SwitchCluster 0 - pending
        ",
    );
    assert_text(
        adb(),
        "clusters.xml",
        "list",
        "
        am-bp1example000002/analyticDBFlexibleScaleOut/2026-03-01T07:00:00Z analyticDBFlexibleScaleOut on am-bp1example000002 (a & b) | running RUNNING | 0.5 - | 2026-03-01T07:00:00Z to -
          ApplyResource 0.5 - running
        ",
    );
    let steps: Vec<String> = (0..20).map(|n| format!("          step {n} 0 -")).collect();
    let steps = steps.join("\n");
    assert_text(
        adb(),
        "odd-clusters.json",
        "list",
        &format!(
            r#"
        am-quote\"s/scale \"out\"\n\\ scale \"out\"\n\\ on am-quote\"s (two\nlines) | running RUNNING | 0.5 - | - to -
        am-twin/scaleOut scaleOut on am-twin (-) | running RUNNING | 0.5 - | - to -
        am-twin/scaleOut scaleOut on am-twin (-) | running RUNNING | 0.6 - | - to -
        am-word/scaleOut/2026-03-01T07:00:00Z scaleOut on am-word (-) | unknown ROLLING_BACK | 0.5 - | 2026-03-01T07:00:00Z to -
          one 0 -
        am-done/scaleOut/2026-03-01T07:00:00Z scaleOut on am-done (-) | succeeded succeed | 1 - | 2026-03-01T07:00:00Z to 2026-03-01T07:25:00Z
          one 1 -
          two 1 -
          three - -
        am-types/scaleOut scaleOut on am-types (-) | running RUNNING | - - | - to -
          one - -
          three 0 -
        am-one-step/scaleOut/2026-03-01T07:00:00Z scaleOut on am-one-step (-) | running RUNNING | 0.5 - | 2026-03-01T07:00:00Z to -
          only 1 -
        am-many/scaleOut scaleOut on am-many (-) | running RUNNING | 0.5 - | - to -
{steps}
        unreadable: 1 1 2 3
        "#
        ),
    );
}

#[test]
fn lists_of_tasks_are_read() {
    let steps = "
          init_task 1 0s
          create_instance 0 1764s
          init_cluster 0 1s
          create_backup 0 2s";
    let running = format!(
        "
        500000001 CreateDBInstance on pc-1 (orders) | running Running | 0.25 1767s | 2026-03-01T07:40:00Z to -{steps}
        "
    );
    for (name, status, expected) in [
        ("tasks-running-single.json", "Running", running.clone()),
        ("tasks-running-double.json", "Running", running.clone()),
        (
            "tasks-running-root.xml",
            "Running",
            format!(
                "{}
        500000030 CreateDBNodes on pc-1 (orders) | running Running | 0.1 900s | 2026-03-01T07:45:00Z to -
                ",
                running.trim_end()
            ),
        ),
        (
            "tasks-two-running.json",
            "Running",
            format!(
                "
        500000021 CreateDBInstance on pc-1 (orders) | running Running | 0 3600s | 2026-03-01T07:59:58Z to -{steps}
        500000022 ModifyDBNodeClass on pc-1 (orders) | running Running | 0.99 4s | 2026-03-01T07:40:00Z to -
                "
            ),
        ),
        (
            "tasks-null-strings.json",
            "Waiting",
            "
            500000002 CreateDBInstance on pc-1 (orders) | pending Waiting | 0 0s | 2026-03-01T07:40:00Z to -
            "
            .to_owned(),
        ),
        (
            "tasks-published.json",
            "Finished",
            "
            111111111 CreateDBInstance on pc-1 (orders) | succeeded Finished | 1 - | 2020-12-02T02:39:15Z to 2020-12-02T02:40:15Z
              init_task 1 -
              create_instance 0 -
              init_cluster 0 -
              create_backup 0 -
            "
            .to_owned(),
        ),
        (
            "tasks-finished.json",
            "Finished",
            "
            500000040 CreateDBInstance on pc-1 (orders) | succeeded Finished | 1 - | 2026-02-28T00:00:00Z to 2026-02-28T00:12:00Z
              finish_task 1 -
            500000041 CreateDBNodes on pc-1 (orders) | succeeded Finished | 0.97 - | 2026-02-28T01:00:00Z to -
            "
            .to_owned(),
        ),
        (
            "tasks-stop-error.json",
            "Stop",
            r#"
            500000009 CreateDBInstance on pc-1 (orders) | failed Stop | 0.5 - | 2026-03-01T07:40:00Z to 2026-03-01T07:52:31Z
              init_task 1 -
              create_instance 0 -
              init_cluster 0 -
              create_backup 0 -
              ResourceNotEnough: no capacity left in zone \"cn-hangzhou-h\"\nretry in another zone
            "#
            .to_owned(),
        ),
        ("tasks-empty.json", "Waiting", String::new()),
        ("tasks-empty-root.xml", "Closed", String::new()),
    ] {
        assert_text(polardb(), name, status, &expected);
    }
}

#[test]
fn odd_rows_do_not_lose_a_page() {
    let longest = "7".repeat(128);
    let steps: Vec<String> =
        (0..20).map(|n| format!("          s{n} {} {n}s", f64::from(n) / 100.0)).collect();
    let steps = steps.join("\n");
    let expected = format!(
        r#"
        {longest} LongestId on pc-1 (orders) | paused Pause | - - | - to -
        quote\"s and\nlines\\ say \"hi\" on pc-1 (orders) | paused Pause | - - | - to -
        1 Twin on pc-1 (orders) | paused Pause | 0.1 - | - to -
        1 Twin on pc-1 (orders) | paused Pause | 0.2 - | - to -
        2 5 on pc-1 (orders) | paused Pause | - - | - to -
        3  on pc-1 (orders) | paused Pause | 0 - | - to -
        4  on pc-1 (orders) | paused Pause | 1 - | - to -
        5  on pc-1 (orders) | paused Pause | 0.995 12s | - to -
          a 0.5 7s
          b - -
        6  on pc-1 (orders) | paused Pause | 0.5 - | - to -
{steps}
        unreadable: 0 1 6 4
                "#
    );
    assert_text(polardb(), "odd-tasks.json", "Pause", &expected);
}

#[test]
fn clusters_are_discovered() {
    for (name, expected) in [
        (
            "clusters.json",
            "
            pc-bp1example000000 (orders)
            pc-bp1example000001 (pg 报表)
            ",
        ),
        ("clusters.xml", "\npc-bp1example000001 (pg 报表)"),
        (
            "odd-clusters.json",
            r#"
            pc-1 (-)
            pc-1 (\"a\"\nb)
            "#,
        ),
    ] {
        assert_text(polardb(), name, "clusters", expected);
    }
}

#[test]
fn broken_answers_are_errors() {
    for (api, name, what, expected) in [
        (adb(), "broken-cut.json", "list", "the answer is broken"),
        (adb(), "broken-cut.xml", "by id", "the answer is broken"),
        (adb(), "broken-page.html", "list", "the answer is neither JSON nor XML"),
        (adb(), "broken-page.html", "by id", "the answer is neither JSON nor XML"),
        (adb(), "broken-without-items.json", "list", "the answer has no /Items/DBCluster"),
        (polardb(), "broken-cut.json", "Running", "the answer is broken"),
        (polardb(), "broken-cut.xml", "Running", "the answer is broken"),
        (polardb(), "broken-page.html", "Stop", "the answer is neither JSON nor XML"),
        (polardb(), "broken-page.html", "clusters", "the answer is neither JSON nor XML"),
        (polardb(), "broken-without-tasks.json", "Running", "the answer has no /Tasks/Task"),
        (polardb(), "broken-tasks-number.json", "Running", "the answer has no /Tasks/Task"),
        (polardb(), "broken-without-items.json", "clusters", "the answer has no /Items/DBCluster"),
    ] {
        let error = decode(api, &asked(api, what), fixture(api, name)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{}/{name}: {error}", api.facts.name);
    }
}

#[test]
fn an_answer_without_the_task_is_no_error() {
    for name in ["broken-without-task.json", "broken-without-items.json"] {
        let page = decode(adb(), &asked(adb(), "by id"), fixture(adb(), name)).unwrap();
        assert_eq!(page.tasks, [], "{name}");
    }
    let list = fixture(adb(), "broken-task-list.json");
    let page = decode(adb(), &asked(adb(), "by id"), list).unwrap();
    assert_eq!(page.tasks[0].state, TaskState::Running, "a list of one is the one");
}

#[test]
fn every_fixture_is_a_golden_test() {
    let code = include_str!("api_alibaba.rs");
    for api in both() {
        let folder =
            format!("{}/tests/fixtures/api/{}", env!("CARGO_MANIFEST_DIR"), api.facts.name);
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "README.md" || code.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}

#[test]
fn every_documented_status_word_has_a_state() {
    let words = |api: &TaskApi, words: &[&str]| {
        words
            .iter()
            .map(|word| format!("{word} {}", api.facts.state(word).as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(
            adb(),
            &[
                "Waiting", "Running", "Finished", "Failed", "Closed", "Cancel", "Retry", "Pause",
                "Stop", "NOT_RUN", "RUNNING", "SUCCEED",
            ],
        ),
        [
            "Waiting pending",
            "Running running",
            "Finished succeeded",
            "Failed failed",
            "Closed canceled",
            "Cancel canceled",
            "Retry running",
            "Pause paused",
            "Stop failed",
            "NOT_RUN pending",
            "RUNNING running",
            "SUCCEED succeeded",
        ]
    );
    assert_eq!(
        words(polardb(), &["Waiting", "Running", "Finished", "Closed", "Pause", "Stop"]),
        [
            "Waiting pending",
            "Running running",
            "Finished succeeded",
            "Closed canceled",
            "Pause paused",
            "Stop failed",
        ]
    );
    for api in both() {
        for (word, state) in api.facts.statuses {
            assert_eq!(api.facts.state(&format!(" {} ", word.to_uppercase())), *state, "{word}");
        }
        assert_eq!(api.facts.state("Rebalancing"), TaskState::Unknown);
        assert_eq!(api.facts.state(""), TaskState::Unknown);
    }
}

#[test]
fn regions_have_these_endpoints() {
    for (region, adb_host, polardb_host) in [
        ("cn-hangzhou", "adb", "polardb"),
        ("cn-beijing", "adb", "polardb"),
        ("cn-shenzhen", "adb", "polardb.cn-shenzhen"),
        ("cn-hongkong", "adb", "polardb.cn-hongkong"),
        ("cn-heyuan", "adb.cn-heyuan", "polardb"),
        ("cn-wulanchabu", "adb.cn-wulanchabu", "polardb"),
        ("cn-beijing-gov-1", "adb", "polardb"),
        ("us-east-1", "adb", "polardb.us-east-1"),
        ("eu-central-1", "adb.eu-central-1", "polardb.eu-central-1"),
        ("me-east-1", "adb.ap-northeast-1", "polardb.me-east-1"),
        ("xx-unheard-of-9", "adb.xx-unheard-of-9", "polardb.xx-unheard-of-9"),
    ] {
        assert_eq!(adb().endpoint(region), format!("https://{adb_host}.aliyuncs.com"));
        assert_eq!(polardb().endpoint(region), format!("https://{polardb_host}.aliyuncs.com"));
    }
}

#[test]
fn requests_are_exactly_these() {
    let tags = [("env".to_owned(), "prod & test".to_owned()), ("team".to_owned(), String::new())];
    let clusters = [resource("am-1", None), resource("am-2", Some("reports"))];
    let tagged = Scope { tags: &tags, ..scope(&[]) };
    let all = adb().list(&scope(&[])).remove(0);
    let task = asked(polardb(), "Stop");
    for (api, query, expected) in [
        (
            adb(),
            asked(adb(), "by id"),
            "https://adb.aliyuncs.com/?DBClusterId=am-1&RegionId=cn-hangzhou&TaskId=1",
        ),
        (
            adb(),
            all.clone(),
            "https://adb.aliyuncs.com/?DBClusterVersion=All&PageNumber=1&PageSize=100\
             &RegionId=cn-hangzhou",
        ),
        (
            adb(),
            all.next_page(),
            "https://adb.aliyuncs.com/?DBClusterVersion=All&PageNumber=2&PageSize=100\
             &RegionId=cn-hangzhou",
        ),
        (
            adb(),
            adb().list(&scope(&clusters)).remove(0),
            "https://adb.aliyuncs.com/?DBClusterIds=am-1%2Cam-2&DBClusterVersion=All&PageNumber=1\
             &PageSize=100&RegionId=cn-hangzhou",
        ),
        (
            adb(),
            adb().list(&tagged).remove(0),
            "https://adb.aliyuncs.com/?DBClusterVersion=All&PageNumber=1&PageSize=100\
             &RegionId=cn-hangzhou&Tag.1.Key=env&Tag.1.Value=prod%20%26%20test&Tag.2.Key=team\
             &Tag.2.Value=",
        ),
        (
            polardb(),
            polardb().discover(&scope(&[])).unwrap(),
            "https://polardb.aliyuncs.com/?PageNumber=1&PageSize=100&RegionId=cn-hangzhou",
        ),
        (
            polardb(),
            polardb().discover(&tagged).unwrap().next_page(),
            "https://polardb.aliyuncs.com/?PageNumber=2&PageSize=100&RegionId=cn-hangzhou\
             &Tag.1.Key=env&Tag.1.Value=prod%20%26%20test&Tag.2.Key=team&Tag.2.Value=",
        ),
        (
            polardb(),
            task.clone(),
            "https://polardb.aliyuncs.com/?DBClusterId=pc-1&EndTime=2026-03-01T08%3A02Z\
             &PageNumber=1&PageSize=100&StartTime=2026-02-28T08%3A00Z&Status=Stop",
        ),
        (
            polardb(),
            task.next_page(),
            "https://polardb.aliyuncs.com/?DBClusterId=pc-1&EndTime=2026-03-01T08%3A02Z\
             &PageNumber=2&PageSize=100&StartTime=2026-02-28T08%3A00Z&Status=Stop",
        ),
    ] {
        assert_eq!(query.uri(api), expected);
    }
}

#[test]
fn the_format_is_asked_for_in_header_and_query() {
    for (api, what, action, version, json, xml) in [
        (
            adb(),
            "by id",
            "DescribeTaskInfo",
            "2019-03-15",
            "DBClusterId=am-1&RegionId=cn-hangzhou&TaskId=1",
            "DBClusterId=am-1&Format=XML&RegionId=cn-hangzhou&TaskId=1",
        ),
        (
            adb(),
            "list",
            "DescribeDBClusters",
            "2019-03-15",
            "DBClusterVersion=All&PageNumber=1&PageSize=100&RegionId=cn-hangzhou",
            "DBClusterVersion=All&Format=XML&PageNumber=1&PageSize=100&RegionId=cn-hangzhou",
        ),
        (
            polardb(),
            "clusters",
            "DescribeDBClusters",
            "2017-08-01",
            "PageNumber=1&PageSize=100&RegionId=cn-hangzhou",
            "Format=XML&PageNumber=1&PageSize=100&RegionId=cn-hangzhou",
        ),
        (
            polardb(),
            "Running",
            "DescribeTasks",
            "2017-08-01",
            "DBClusterId=pc-1&EndTime=2026-03-01T08%3A02Z&PageNumber=1&PageSize=100\
             &StartTime=2026-01-30T08%3A00Z&Status=Running",
            "DBClusterId=pc-1&EndTime=2026-03-01T08%3A02Z&Format=XML&PageNumber=1&PageSize=100\
             &StartTime=2026-01-30T08%3A00Z&Status=Running",
        ),
    ] {
        let query = asked(api, what);
        assert_eq!(query.to_string(), action);
        for (format, parameters, accept) in
            [(Format::Json, json, "application/json"), (Format::Xml, xml, "application/xml")]
        {
            let request = api.facts.cloud.request(&target(api, format), &query);
            assert_eq!(request.method(), "POST");
            assert_eq!(request.uri().path(), "/");
            assert_eq!(request.uri().query(), Some(parameters));
            assert_eq!(request.body(), "");
            let mut headers: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            headers.sort_unstable();
            let expected =
                [("accept", accept), ("x-acs-action", action), ("x-acs-version", version)];
            assert_eq!(headers, expected);
        }
    }
}

#[test]
fn each_cluster_is_asked_for_each_status_unfinished_first() {
    let clusters = [resource("pc-1", None), resource("pc-2", None)];
    let lines = |scope: &Scope<'_>| -> Vec<String> {
        polardb()
            .list(scope)
            .iter()
            .map(|query| {
                let (id, since) = (&query.resources[0].id, query.since.unwrap());
                format!("{id} {} {since}", query.status.unwrap())
            })
            .collect()
    };
    assert_eq!(
        lines(&scope(&clusters)),
        [
            "pc-1 Waiting 2026-01-30T08:00:30Z",
            "pc-2 Waiting 2026-01-30T08:00:30Z",
            "pc-1 Running 2026-01-30T08:00:30Z",
            "pc-2 Running 2026-01-30T08:00:30Z",
            "pc-1 Pause 2026-01-30T08:00:30Z",
            "pc-2 Pause 2026-01-30T08:00:30Z",
            "pc-1 Stop 2026-02-28T08:00:30Z",
            "pc-2 Stop 2026-02-28T08:00:30Z",
            "pc-1 Closed 2026-02-28T08:00:30Z",
            "pc-2 Closed 2026-02-28T08:00:30Z",
            "pc-1 Finished 2026-02-28T08:00:30Z",
            "pc-2 Finished 2026-02-28T08:00:30Z",
        ]
    );
    let long_ago = Scope { since: at("2020-01-01T00:00:00Z"), ..scope(&clusters[..1]) };
    assert_eq!(lines(&long_ago)[5], "pc-1 Finished 2026-01-30T08:00:30Z");
    assert!(lines(&scope(&[])).is_empty());
}

#[test]
fn many_configured_clusters_are_listed_a_page_at_a_time() {
    let clusters: Vec<_> = (0..250).map(|n| resource(&format!("am-{n}"), None)).collect();
    let sizes: Vec<usize> =
        adb().list(&scope(&clusters)).iter().map(|query| query.resources.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn a_task_is_asked_for_by_id_only_with_the_vendors_id_and_a_cluster() {
    let cluster = Some(resource("am-1", None));
    for (id, resource, expected) in [
        ("225685759", cluster.clone(), true),
        ("225685759", None, false),
        ("225685759", Some(Arc::default()), false),
        ("", cluster.clone(), false),
        ("-1", cluster.clone(), false),
        ("am-1/scaleOut", cluster.clone(), false),
        ("am-1/scaleOut/2026-03-01T07:00:00Z", cluster, false),
    ] {
        let task = TaskRef { id: id.into(), resource, started: None };
        assert_eq!(adb().by_id(&task, now()).is_some(), expected, "{task:?}");
        assert_eq!(polardb().by_id(&task, now()), None);
    }
}

#[test]
fn pages_are_asked_for_until_the_total_is_reached() {
    for (rows, total, page, more) in [
        (100, "250", 1, true),
        (100, "250", 2, true),
        (50, "250", 3, false),
        (100, "\"250\"", 2, true),
        (100, "100", 1, true),
        (100, "200", 2, true),
        (100, "null", 7, true),
        (99, "null", 1, false),
        (99, "250", 1, true),
        (0, "250", 2, false),
        (99, "-1", 1, false),
        (99, "\"250\"", 1, true),
        (100, "0", 1, true),
        (100, "-1", 1, true),
        (100, "1e300", 1, true),
        (100, "\"many\"", 1, true),
    ] {
        let rows = vec![r#"{"DBClusterId":"c-1","TaskId":"1"}"#; rows].join(",");
        for (api, what, body) in [
            (
                adb(),
                "list",
                format!(r#"{{"Items":{{"DBCluster":[{rows}]}},"TotalCount":{total}}}"#),
            ),
            (
                polardb(),
                "clusters",
                format!(r#"{{"Items":{{"DBCluster":[{rows}]}},"TotalRecordCount":{total}}}"#),
            ),
            (
                polardb(),
                "Running",
                format!(
                    r#"{{"Tasks":{{"Task":[{rows}]}},"PageRecordCount":1,"TotalRecordCount":{total}}}"#
                ),
            ),
        ] {
            let query = Query { page, ..asked(api, what) };
            let next = decode(api, &query, body).unwrap().next;
            let expected: &[Query] = if more { &[query.next_page()] } else { &[] };
            assert_eq!(next, expected, "{} {what} {total} {page}", api.facts.name);
        }
    }
}

/// What the simulated cloud says to an action with these parameters: status, and code or rows.
fn said(api: &TaskApi, world: &World<'_>, action: &str, parameters: &str) -> String {
    let (version, parameters) = parameters.split_once(' ').unwrap_or((parameters, ""));
    let request = Request::post(format!("https://x.example/?{parameters}"))
        .header("x-acs-action", action)
        .header("x-acs-version", version)
        .header("accept", "application/json")
        .body(Bytes::new())
        .unwrap();
    let Some(response) = world.answer(api, &request) else {
        return "nothing".to_owned();
    };
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let ids: Vec<&str> = ["/Items/DBCluster", "/Tasks/Task"]
        .iter()
        .filter_map(|pointer| body.pointer(pointer)?.as_array())
        .flatten()
        .map(|row| row.get("TaskId").or(row.get("DBClusterId")).unwrap().as_str().unwrap())
        .collect();
    let total = ["TotalCount", "TotalRecordCount"].iter().find_map(|field| body.get(field));
    match (body.get("Code"), total) {
        (Some(code), _) => format!("{} {}", response.status().as_u16(), code.as_str().unwrap()),
        (None, Some(total)) => format!("{} of {total}", ids.join(" ")),
        (None, None) => body["TaskInfo"].to_string(),
    }
}

/// Running tasks of these ids, clusters, status words and starts.
fn tasks_of(ids: &[(&str, &str, &str, &str)]) -> Vec<Task> {
    ids.iter()
        .map(|&(id, cluster, status, started)| Task {
            resource: resource(cluster, None),
            started: Some(at(started)),
            progress: Ratio::clamped(0.37),
            ..Task::new(id, TaskState::Running, status)
        })
        .collect()
}

#[test]
fn the_simulated_cloud_answers_as_analyticdb_does() {
    let target = target(adb(), Format::Json);
    let resources = ["am-1", "am-2", "amv-3"].map(|id| resource(id, None));
    let tasks = tasks_of(&[
        ("12", "am-1", "Running", "2026-03-01T07:00:00Z"),
        ("13", "am-1", "Failed", "2026-03-01T07:00:00Z"),
    ]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let v = "2019-03-15";
    for (action, parameters, expected) in [
        ("DescribeTasks", "2019-03-15", "nothing"),
        ("DescribeTaskInfo", "2021-12-01", "nothing"),
        ("DescribeTaskInfo", "2017-08-01", "nothing"),
        ("DescribeTaskInfo", "2019-03-15", "404 InvalidDBCluster.NotFound"),
        (
            "DescribeTaskInfo",
            "2019-03-15 DBClusterId=am-9&TaskId=12",
            "404 InvalidDBCluster.NotFound",
        ),
        ("DescribeTaskInfo", "2019-03-15 DBClusterId=am-1", "400 InvalidTaskId.Malformed"),
        ("DescribeTaskInfo", "2019-03-15 DBClusterId=am-1&TaskId=99", "404 InvalidTaskId.NotFound"),
        ("DescribeTaskInfo", "2019-03-15 DBClusterId=am-2&TaskId=12", "404 InvalidTaskId.NotFound"),
        (
            "DescribeTaskInfo",
            "2019-03-15 DBClusterId=am-1&TaskId=12&RegionId=cn-hangzhou",
            r#"{"BeginTime":"2026-03-01T07:00:00Z","Progress":"37","Status":"Running","TaskId":12}"#,
        ),
        ("DescribeDBClusters", "2019-03-15", "400 MissingParameter"),
        ("DescribeDBClusters", "2019-03-15 RegionId=cn-beijing", "400 InvalidRegionId"),
    ] {
        assert_eq!(said(adb(), &world, action, parameters), expected, "{action} {parameters}");
    }
    for (parameters, expected) in [
        ("", "amv-3 of 1"),
        ("DBClusterVersion=5.0", "amv-3 of 1"),
        ("DBClusterVersion=3.0", "am-1 am-2 of 2"),
        ("DBClusterVersion=All", "am-1 am-2 amv-3 of 3"),
        ("DBClusterVersion=4", "400 InvalidDBClusterVersion.Malformed"),
        ("DBClusterVersion=All&DBClusterIds=am-2%2Camv-3%2Cam-9", "am-2 amv-3 of 2"),
        ("DBClusterVersion=All&Tag.1.Key=env", " of 0"),
        ("DBClusterVersion=All&PageSize=31", "400 InvalidPageSize.Malformed"),
        ("DBClusterVersion=All&PageNumber=2", " of 3"),
        ("DBClusterVersion=All&PageNumber=0", "400 InvalidPageNumber.Malformed"),
    ] {
        let all = format!("{v} RegionId=cn-hangzhou&{parameters}");
        assert_eq!(said(adb(), &world, "DescribeDBClusters", &all), expected, "{parameters}");
    }
}

#[test]
fn the_simulated_cloud_answers_as_polardb_does() {
    let target = target(polardb(), Format::Json);
    let resources = ["pc-1", "pc-2"].map(|id| resource(id, None));
    let tasks = tasks_of(&[
        ("5", "pc-1", "Stop", "2026-03-01T07:05:30Z"),
        ("4", "pc-1", "Running", "2026-03-01T07:04:00Z"),
        ("3", "pc-1", "Waiting", "2026-03-01T07:03:00Z"),
        ("2", "pc-2", "Running", "2026-03-01T07:02:00Z"),
        ("1", "pc-1", "Finished", "2026-02-01T07:01:00Z"),
    ]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let window = "StartTime=2026-02-01T07:00Z&EndTime=2026-03-01T08:00Z";
    for (parameters, expected) in [
        ("", "400 InvalidDBClusterId.Malformed"),
        ("DBNodeId=pi-1", "400 InvalidDBNodeId.Malformed"),
        ("DBClusterId=pc-9", "404 InvalidDBClusterId.NotFound"),
        ("DBClusterId=pc-1", "400 InvalidStartTime.Malformed"),
        (
            "DBClusterId=pc-1&StartTime=2026-02-01T07:00:00Z&EndTime=2026-03-01T08:00Z",
            "400 InvalidStartTime.Malformed",
        ),
        ("DBClusterId=pc-1&StartTime=2026-02-01T07:00Z", "400 InvalidEndTime.Malformed"),
        (
            "DBClusterId=pc-1&StartTime=2026-02-01T07:00Z&EndTime=2026-02-01T07:00Z",
            "400 InvalidEndTime.Malformed",
        ),
        ("DBClusterId=pc-1&WINDOW", "4 3 of 2"),
        ("DBClusterId=pc-2&WINDOW", "2 of 1"),
        ("DBClusterId=pc-1&WINDOW&Status=", "4 3 of 2"),
        ("DBClusterId=pc-1&WINDOW&Status=Stop", "5 of 1"),
        ("DBClusterId=pc-1&WINDOW&Status=Stop%2C%20Finished", "5 1 of 2"),
        ("DBClusterId=pc-1&WINDOW&Status=Failed", "400 InvalidStatus.Malformed"),
        ("DBClusterId=pc-1&WINDOW&PageSize=20", "400 InvalidPageSize.Malformed"),
        ("DBClusterId=pc-1&WINDOW&PageSize=50&PageNumber=2", " of 2"),
        ("DBClusterId=pc-1&WINDOW&PageNumber=x", "400 InvalidPageNumber.Malformed"),
        (
            "DBClusterId=pc-1&StartTime=2026-03-01T07:04Z&EndTime=2026-03-01T07:05Z\
             &Status=Waiting,Running,Stop",
            "4 of 1",
        ),
    ] {
        let all = format!("2017-08-01 {}", parameters.replace("WINDOW", window));
        assert_eq!(said(polardb(), &world, "DescribeTasks", &all), expected, "{parameters}");
    }
    for (parameters, expected) in [
        ("2019-03-15 RegionId=cn-hangzhou", "nothing"),
        ("2017-08-01", "400 MissingParameter"),
        ("2017-08-01 RegionId=cn-hangzhou", "pc-1 pc-2 of 2"),
        ("2017-08-01 RegionId=cn-hangzhou&DBClusterIds=pc-2", "pc-2 of 1"),
    ] {
        assert_eq!(said(polardb(), &world, "DescribeDBClusters", parameters), expected);
    }
}

#[test]
fn the_simulated_cloud_writes_json_or_xml() {
    let target = target(adb(), Format::Json);
    let resources = [resource("am-1", None)];
    let tasks = tasks_of(&[("12", "am-1", "a < b", "2026-03-01T07:00:00Z")]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let json = "application/json;charset=utf-8";
    let xml = "text/xml;charset=utf-8";
    for (accept, parameters, kind, body) in [
        (
            "application/json",
            "DBClusterId=am-1&TaskId=12",
            json,
            r#"{"RequestId":"00000000-0000-4000-8000-000000000000","TaskInfo":{"BeginTime":"2026-03-01T07:00:00Z","Progress":"37","Status":"a < b","TaskId":12}}"#,
        ),
        (
            "application/xml",
            "DBClusterId=am-1&TaskId=12",
            xml,
            "<?xml version='1.0' encoding='UTF-8'?><DescribeTaskInfoResponse><RequestId>00000000-0000-4000-8000-000000000000</RequestId><TaskInfo><BeginTime>2026-03-01T07:00:00Z</BeginTime><Progress>37</Progress><Status>a &lt; b</Status><TaskId>12</TaskId></TaskInfo></DescribeTaskInfoResponse>",
        ),
        (
            "*/*",
            "DBClusterId=am-9&Format=JSON",
            json,
            r#"{"Code":"InvalidDBCluster.NotFound","HostId":"adb.aliyuncs.com","Message":"there is no such cluster","RequestId":"00000000-0000-4000-8000-000000000000"}"#,
        ),
        (
            "application/json",
            "DBClusterId=am-9&Format=xml",
            xml,
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>InvalidDBCluster.NotFound</Code><HostId>adb.aliyuncs.com</HostId><Message>there is no such cluster</Message><RequestId>00000000-0000-4000-8000-000000000000</RequestId></Error>",
        ),
    ] {
        let request = Request::post(format!("https://x.example/?{parameters}"))
            .header("x-acs-action", "DescribeTaskInfo")
            .header("x-acs-version", "2019-03-15")
            .header("accept", accept)
            .body(Bytes::new())
            .unwrap();
        let response = world.answer(adb(), &request).unwrap();
        assert_eq!(response.headers()["content-type"], kind);
        assert_eq!(response.body(), body);
    }
}

/// All tasks that one poll finds, the configured ids included, and how many calls it takes.
fn poll(api: &TaskApi, world: &World<'_>, scope: &Scope<'_>) -> (Vec<Task>, usize) {
    let mut calls = 0;
    let mut run = |first: Vec<Query>| {
        let (mut queries, mut tasks, mut resources) = (first, Vec::new(), Vec::new());
        while !queries.is_empty() {
            let query = queries.remove(0);
            let request = api.facts.cloud.request(world.target, &query);
            let response = world.answer(api, &request).unwrap();
            assert_eq!(response.status(), 200, "{query:?}");
            let page = api.decode(world.target, &query, &response).unwrap();
            assert_eq!(page.unreadable, Unreadable::default());
            tasks.extend(page.tasks);
            resources.extend(page.resources);
            queries.extend(page.next);
            calls += 1;
        }
        (tasks, resources)
    };
    let resources = api.discover(scope).map_or_else(Vec::new, |query| run(vec![query]).1);
    let (mut tasks, _) = run(api.list(&Scope { resources: &resources, ..*scope }));
    let ids = world.tasks.iter().filter_map(|task| {
        api.by_id(
            &TaskRef {
                id: Arc::clone(&task.id),
                resource: Some(Arc::clone(&task.resource)),
                started: None,
            },
            now(),
        )
    });
    tasks.extend(run(ids.collect()).0);
    (tasks, calls)
}

#[test]
fn every_page_of_a_large_region_is_read() {
    let clusters = |prefix: &str, count: usize| -> Vec<Arc<Resource>> {
        (0..count).map(|n| resource(&format!("{prefix}-{n}"), Some("n"))).collect()
    };
    let job = |cluster: &Arc<Resource>| Task {
        kind: "scaleOut".into(),
        resource: Arc::clone(cluster),
        ..Task::new(format!("{}/scaleOut", cluster.id), TaskState::Running, "RUNNING")
    };
    for format in [Format::Json, Format::Xml] {
        let target_of_adb = target(adb(), format);
        let resources = clusters("am", 250);
        let tasks: Vec<Task> = resources.iter().map(job).collect();
        let world =
            World { now: now(), target: &target_of_adb, resources: &resources, tasks: &tasks };
        let (found, calls) = poll(adb(), &world, &scope(&[]));
        assert_eq!((found.len(), calls), (250, 3));

        let target_of_polardb = target(polardb(), format);
        let resources = clusters("pc", 101);
        let tasks: Vec<Task> = (0..300)
            .map(|n| Task {
                resource: Arc::clone(&resources[0]),
                ..Task::new(n.to_string(), TaskState::Running, "Running")
            })
            .collect();
        let world =
            World { now: now(), target: &target_of_polardb, resources: &resources, tasks: &tasks };
        let (found, calls) = poll(polardb(), &world, &scope(&[]));
        // Two to discover, six for each cluster, and of the running ones two further pages and a
        // look at what follows a full one.
        assert_eq!((found, calls), (tasks, 2 + 101 * 6 + 3));
    }
}

fn text_of_a_person() -> impl Strategy<Value = String> {
    // Outer blanks and the word null do not survive, and are not meant to.
    "[a-zA-Z_<&\"'\\\\é数][a-zA-Z0-9 <>&\"'\\\\\n;%+é数]{0,12}[a-zA-Z0-9_.>]"
        .prop_filter("the word for nothing", |text| !text.eq_ignore_ascii_case("null"))
}

fn whole_percent() -> impl Strategy<Value = Option<Ratio>> {
    proptest::option::of((0..=100u8).prop_map(|n| Ratio::clamped(f64::from(n) / 100.0).unwrap()))
}

fn seconds() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0..1_000_000u64).prop_map(Duration::from_secs))
}

/// A time that lies within the window of a list.
fn recently() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of(
        (1..86_000u64).prop_map(|ago| now().saturating_sub(Duration::from_secs(ago))),
    )
}

/// A step, with a time left where the API has one.
fn step(remaining: impl Strategy<Value = Option<Duration>>) -> impl Strategy<Value = Step> {
    (text_of_a_person(), whole_percent(), remaining).prop_map(|(name, progress, remaining)| Step {
        name: name.into(),
        state: None,
        progress,
        remaining,
    })
}

/// A task with all that PolarDB can say.
fn polardb_task(clusters: &'static [&'static str]) -> impl Strategy<Value = Task> {
    (
        (1..u64::MAX, text_of_a_person(), select(clusters), select(polardb().facts.statuses)),
        (whole_percent(), seconds(), recently(), recently()),
        proptest::collection::vec(step(seconds()), 0..=Task::MAX_STEPS),
        proptest::option::of((text_of_a_person(), text_of_a_person())),
    )
        .prop_map(|(what, (progress, remaining, started, ended), mut steps, error)| {
            let (id, kind, cluster, (status, state)) = what;
            if state.is_final() {
                for step in &mut steps {
                    step.remaining = None;
                }
            }
            Task {
                kind: kind.into(),
                resource: resource(cluster, Some("a <name> & \"more\"")),
                progress,
                remaining: remaining.filter(|_| !state.is_final()),
                started,
                ended: ended.filter(|_| state.is_final()),
                steps: steps.into(),
                error: error
                    .filter(|_| state == TaskState::Failed)
                    .map(|(code, message)| (code.into(), message.into()))
                    .map(|(code, message)| Box::new(TaskError { code, message })),
                ..Task::new(id.to_string(), state, status)
            }
        })
}

/// A task with all that `DescribeTaskInfo` can say.
fn adb_task() -> impl Strategy<Value = Task> {
    let statuses: Vec<_> =
        adb().facts.statuses.iter().copied().filter(|(word, _)| *word != "NOT_RUN").collect();
    (1..u64::MAX, select(statuses), whole_percent(), recently(), recently()).prop_map(
        |(id, (status, state), progress, started, ended)| Task {
            resource: resource("am-1", Some("n")),
            progress,
            started,
            ended: ended.filter(|_| state.is_final()),
            ..Task::new(id.to_string(), state, status)
        },
    )
}

/// A step of a job, whose status the vendor says in three words.
fn job_step() -> impl Strategy<Value = Step> {
    let states = &[TaskState::Pending, TaskState::Running, TaskState::Succeeded];
    (step(Just(None)), select(states)).prop_map(|(step, state)| Step { state: Some(state), ..step })
}

/// A job of a cluster, which has at least one step.
fn adb_job(cluster: &'static str) -> impl Strategy<Value = Task> {
    (
        text_of_a_person(),
        select(&[
            ("NOT_RUN", TaskState::Pending),
            ("RUNNING", TaskState::Running),
            ("SUCCEED", TaskState::Succeeded),
        ]),
        (whole_percent(), recently(), recently()),
        proptest::collection::vec(job_step(), 1..=Task::MAX_STEPS),
    )
        .prop_map(move |(kind, (status, state), (progress, started, ended), steps)| {
            let id = match started {
                Some(started) => format!("{cluster}/{kind}/{started}"),
                None => format!("{cluster}/{kind}"),
            };
            Task {
                kind: kind.into(),
                resource: resource(cluster, Some("n")),
                progress,
                started,
                ended: ended.filter(|_| state.is_final()),
                steps: steps.into(),
                ..Task::new(id, state, status)
            }
        })
}

fn any_format() -> impl Strategy<Value = Format> {
    select(&[Format::Json, Format::Xml])
}

/// A fixture of either API, with the query it answers.
fn any_fixture() -> impl Strategy<Value = (&'static TaskApi, Query, Vec<u8>)> {
    let all: Vec<_> = [
        (adb(), "task-published.json", "by id"),
        (adb(), "task-running-root.xml", "by id"),
        (adb(), "clusters.json", "list"),
        (adb(), "clusters.xml", "list"),
        (adb(), "odd-clusters.json", "list"),
        (polardb(), "tasks-running-double.json", "Running"),
        (polardb(), "tasks-running-root.xml", "Stop"),
        (polardb(), "odd-tasks.json", "Finished"),
        (polardb(), "clusters.json", "clusters"),
    ]
    .into_iter()
    .map(|(api, name, what)| (api, asked(api, what), fixture(api, name)))
    .collect();
    select(all)
}

fn any_task() -> impl Strategy<Value = Task> {
    let ids = prop_oneof!["[0-9]{0,30}", any::<String>(), Just("pc-1/x".to_owned())];
    (
        (ids, any::<String>(), select(&["am-1", "amv-2", "pc-1", ""])),
        (select(&TaskState::ALL), prop_oneof!["Running|Stop|Waiting", any::<String>()]),
        (any::<i64>(), any::<i64>(), any::<f64>(), any::<u64>()),
        proptest::collection::vec((any::<String>(), any::<f64>()), 0..30),
    )
        .prop_map(|((id, kind, cluster), (state, word), (from, to, progress, left), steps)| {
            Task {
                kind: kind.clone().into(),
                resource: resource(cluster, Some(&kind)),
                progress: Ratio::clamped(progress),
                remaining: Some(Duration::from_secs(left)),
                started: Timestamp::from_second(from),
                ended: Timestamp::from_second(to),
                steps: steps
                    .into_iter()
                    .map(|(name, progress)| Step {
                        name: name.into(),
                        state: None,
                        progress: Ratio::clamped(progress),
                        remaining: Some(Duration::from_secs(left)),
                    })
                    .collect(),
                error: Some(Box::new(TaskError {
                    code: kind.clone().into(),
                    message: kind.into(),
                })),
                ..Task::new(id, state, word)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn polardb_tasks_come_back_as_they_were(
        tasks in proptest::collection::vec(polardb_task(&["pc-1", "pc-2"]), 0..12),
        format in any_format(),
    ) {
        let target = target(polardb(), format);
        let resources = ["pc-1", "pc-2"].map(|id| resource(id, Some("a <name> & \"more\"")));
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let (mut found, _) = poll(polardb(), &world, &scope(&[]));
        let mut tasks = tasks.clone();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        tasks.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(found, tasks);
    }

    #[test]
    fn analyticdb_tasks_come_back_as_they_were(
        tasks in proptest::collection::vec(adb_task(), 0..4),
        job in adb_job("am-1"),
        second in adb_job("amv-2"),
        format in any_format(),
    ) {
        let target = target(adb(), format);
        let resources = ["am-1", "amv-2", "am-3"].map(|id| resource(id, Some("n")));
        let tasks: Vec<Task> = [job, second].into_iter().chain(tasks).collect();
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let found = poll(adb(), &world, &scope(&[])).0;
        // A job that has not begun has no lasting id yet.
        let begun = |task: &&Task| task.started.is_some() || &*task.vendor_status != "NOT_RUN";
        let expected: Vec<Task> = tasks.iter().filter(begun).cloned().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_decode_panic(
        (api, query, body) in any_fixture(),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        (from, to) in any::<(Index, Index)>(),
    ) {
        let _ = decode(api, &query, noise.clone());
        let (from, to) = (from.index(body.len()), to.index(body.len()));
        let (from, to) = (from.min(to), from.max(to));
        for middle in [&[][..], &noise, b"null", b"\"", b"[]", b"{}", b"1e999", b"<a>", b"]]>"] {
            let _ = decode(api, &query, [&body[..from], middle, &body[to..]].concat());
            let _ = decode(api, &query, [&body[..from], middle, &body[from..]].concat());
        }
        let _ = decode(api, &query, body[..from].to_vec());
    }

    #[test]
    fn no_row_makes_decode_panic(
        word in any::<String>(),
        number in any::<f64>(),
        field in select(&[
            "TaskId", "Progress", "Remain", "BeginTime", "FinishTime", "StepsInfo", "Status",
            "TaskInfo", "DBClusterId", "TaskErrorCode",
        ]),
    ) {
        let nested = serde_json::json!({ "StepList": { "StepList": [{ "StepName": &word }, &word] } });
        for value in [Value::from(word.clone()), Value::from(number), nested, Value::from(vec![1])] {
            let row = serde_json::json!({ "TaskId": 1, "DBClusterId": "c-1", "Name": &word, field: &value });
            for (api, what, body) in [
                (adb(), "by id", serde_json::json!({ "TaskInfo": row })),
                (adb(), "list", serde_json::json!({ "Items": { "DBCluster": [{ "TaskInfo": &row, field: &value }] } })),
                (polardb(), "Stop", serde_json::json!({ "Tasks": { "Task": [row] } })),
                (polardb(), "clusters", serde_json::json!({ "Items": { "DBCluster": row } })),
            ] {
                prop_assert!(decode(api, &asked(api, what), body.to_string()).is_ok());
            }
        }
    }

    #[test]
    fn no_world_makes_answer_panic(
        tasks in proptest::collection::vec(any_task(), 0..6),
        format in any_format(),
        parameters in proptest::collection::vec((
            select(&["PageNumber", "PageSize", "Status", "StartTime", "EndTime", "DBClusterId",
                "TaskId", "RegionId", "DBClusterVersion", "DBClusterIds", "Format", "Tag.1.Key"]),
            "[A-Za-z0-9:.,-]{0,20}|18446744073709551615|2026-03-01T08:00Z|pc-1|am-1|100|All|cn-hangzhou",
        ), 0..6),
    ) {
        let resources = ["am-1", "amv-2", "pc-1", ""].map(|id| resource(id, Some(id)));
        let parameters: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for api in both() {
            let target = target(api, format);
            let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
            for query in api.list(&scope(&resources)).into_iter().chain(
                tasks.iter().filter_map(|task| api.by_id(&TaskRef {
                    id: Arc::clone(&task.id),
                    resource: Some(Arc::clone(&task.resource)),
                    started: None,
                }, now())),
            ) {
                let mut request = api.facts.cloud.request(&target, &query);
                let response = &world.answer(api, &request).unwrap();
                if response.status() == 200 {
                    prop_assert!(api.decode(&target, &query, response).is_ok());
                }
                let uri = format!("https://x.example/?{}", parameters.join("&"));
                *request.uri_mut() = uri.parse().unwrap();
                prop_assert!(&world.answer(api, &request).is_some());
            }
        }
    }
}
