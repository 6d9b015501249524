//! Polling, minute by minute in virtual time: real sources over simulated clouds.

use std::fmt::Write as _;
use std::time::Duration;

use dbtask_simulator::{Fault, FaultKind};

use crate::support::{Lab, Log, is_given, one_task, place, task_id, value_in};

/// Two MySQL sources of different accounts, each with a task that runs for ever.
const TWO: &str = "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-1}]
    tasks: [{id: '1', resource: cdb-1, kind: ROLLBACK, life: [{hang: {}}]}]
  - name: two
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-2}]
    tasks: [{id: '2', resource: cdb-2, kind: ROLLBACK, life: [{hang: {}}]}]
";

fn polls(lab: &Lab, source: &str) -> u64 {
    lab.value(&format!("dbtask_source_polls_total{{source=\"{source}\"}}")).unwrap()
}

fn poll_failures(lab: &Lab, source: &str, reason: &str) -> u64 {
    let labels = format!("reason=\"{reason}\",source=\"{source}\"");
    lab.value(&format!("dbtask_source_poll_failures_total{{{labels}}}")).unwrap()
}

fn up(lab: &Lab, source: &str) -> bool {
    lab.snapshot(source).up
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_comes_within_five_seconds() {
    let lab = Lab::new(TWO, |_| {});
    assert!(!up(&lab, "one"), "not up before the first good poll");
    lab.seconds(6).await;
    assert!(up(&lab, "one") && up(&lab, "two"));
    assert_eq!(lab.state("one", "1"), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn polls_come_at_the_interval_and_more_rarely_when_nothing_runs() {
    let lab = Lab::new(&one_task("tencent_cdb", "[{run: {for: 30m}}, {finish: {}}]"), |_| {});
    lab.minutes(30).await;
    let busy = polls(&lab, "one");
    assert!((60..=61).contains(&busy), "{busy} polls in 30 minutes at 30 s");
    lab.minutes(60).await;
    let idle = polls(&lab, "one") - busy;
    assert!((29..=31).contains(&idle), "{idle} polls in an hour at 2 min");
    assert_eq!(lab.snapshot("one").poll_interval, Duration::from_mins(2));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_hanging_source_does_not_delay_another() {
    let lab = Lab::new(TWO, |_| {});
    lab.minutes(1).await;
    lab.inject("one", FaultKind::Hang);
    let before = polls(&lab, "two");
    lab.minutes(30).await;
    let since = polls(&lab, "two") - before;
    assert!((59..=61).contains(&since), "{since} polls of the healthy source");
    assert!(up(&lab, "two") && !up(&lab, "one"));
    assert_eq!(lab.state("two", "2"), "running");
    assert_eq!(lab.state("one", "1"), "unknown", "its last answer is half an hour old");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_fault_has_its_reason_and_loses_nothing() {
    for (kind, reason) in [
        (FaultKind::Throttle, "throttled"),
        (FaultKind::ServerError, "server"),
        (FaultKind::Cut, "decode"),
        (FaultKind::Malformed, "decode"),
        (FaultKind::Huge, "decode"),
        (FaultKind::Endless, "decode"),
        (FaultKind::Redirect, "client"),
        (FaultKind::Unauthorized, "auth"),
        (FaultKind::Forbidden, "auth"),
        (FaultKind::ExpiredToken, "auth"),
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "network"),
    ] {
        let lab = Lab::new(TWO, |_| {});
        lab.minutes(1).await;
        lab.inject("one", kind);
        lab.minutes(2).await;
        assert!(poll_failures(&lab, "one", reason) >= 1, "{kind:?} is {reason}");
        assert_eq!(lab.state("one", "1"), "running", "{kind:?}");
        assert_eq!(poll_failures(&lab, "two", reason), 0);
        lab.cloud.heal("one");
        lab.minutes(16).await;
        assert!(up(&lab, "one"), "{kind:?} heals");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_for_people_is_the_servers_trouble_with_an_error_status_and_decode_with_a_good_one()
{
    for (status, reason) in [(503, "server"), (200, "decode")] {
        let lab = Lab::new(TWO, |_| {});
        lab.minutes(1).await;
        lab.cloud.inject("one", Fault { status, ..Fault::new(FaultKind::Html) });
        lab.minutes(1).await;
        assert!(poll_failures(&lab, "one", reason) >= 1, "{status}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_slows_the_polls_down_to_at_most_five_minutes() {
    let lab = Lab::new(TWO, |_| {});
    lab.minutes(1).await;
    lab.inject("one", FaultKind::Throttle);
    let before = polls(&lab, "one");
    lab.minutes(300).await;
    let since = polls(&lab, "one") - before;
    // Full jitter: half of five minutes on average, so about 120 polls in five hours.
    assert!((60..=200).contains(&since), "{since} polls");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_corrected_once_and_costs_no_poll() {
    let lab = Lab::new(TWO, |_| {});
    lab.minutes(1).await;
    lab.inject("one", FaultKind::SkewedClock);
    lab.minutes(10).await;
    assert!(up(&lab, "one"));
    assert_eq!(poll_failures(&lab, "one", "clock"), 0);
    let labels = "operation=\"DescribeTasks\",reason=\"clock\",source=\"one\"";
    let failures = lab.value(&format!("dbtask_api_request_failures_total{{{labels}}}"));
    assert_eq!(failures, Some(1), "one refused request, then the vendor's time is known");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_tried_rarely_over_all_its_sources() {
    let scenario = TWO.replace("region: ap-guangzhou", "region: ap-guangzhou\n    account: shared");
    let lab = Lab::new(&scenario, |_| {});
    lab.inject("one", FaultKind::Unauthorized);
    lab.inject("two", FaultKind::Unauthorized);
    let mut tries = Vec::new();
    let mut seen = 0;
    for second in 0..2 * 3600 {
        lab.seconds(1).await;
        let count = lab.cloud.request_count();
        tries.extend(std::iter::repeat_n(second, usize::try_from(count - seen).unwrap()));
        seen = count;
    }
    assert!(tries.len() >= 4 + 7, "at least one try in 15 minutes: {tries:?}");
    for pair in tries[3..].windows(2) {
        let gap = pair[1] - pair[0];
        assert!((359..=901).contains(&gap), "{gap} s between two tries: {tries:?}");
    }
    lab.cloud.heal("one");
    lab.cloud.heal("two");
    lab.minutes(16).await;
    assert!(up(&lab, "one") && up(&lab, "two"), "one good answer frees both");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_does_not_stop_the_other_sources_of_the_key() {
    let scenario = TWO.replace("region: ap-guangzhou", "region: ap-guangzhou\n    account: shared");
    // Told apart by their regions: the fault belongs to one of them.
    let scenario = scenario.replacen("ap-guangzhou", "ap-shanghai", 1);
    let lab = Lab::new(&scenario, |_| {});
    lab.inject("one", FaultKind::Forbidden);
    lab.minutes(30).await;
    assert!(!up(&lab, "one") && up(&lab, "two"));
    assert!(polls(&lab, "two") >= 59);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_and_every_api_shows_all_its_tasks() {
    for api in dbtask_clouds::catalog::APIS {
        let lab = Lab::new(&crowd(api.facts.name, 250), |_| {});
        lab.minutes(3).await;
        let snapshot = lab.snapshot("one");
        assert!(snapshot.up, "{}: {:?}", api.facts.name, snapshot.last_error);
        assert_eq!(snapshot.tasks.len(), 250, "{}", api.facts.name);
        lab.stop().await;
    }
}

/// A source with so many running tasks.
fn crowd(api: &str, count: u32) -> String {
    let (region, resource) = place(api);
    let configured = if is_given(api) { ", configured: true" } else { "" };
    let mut scenario = format!(
        "sources:\n  - name: one\n    api: {api}\n    region: {region}\n    resources: [{{id: {resource}}}]\n    tasks:\n"
    );
    for number in 1..=count {
        let id = task_id(api, number);
        writeln!(
            scenario,
            "      - {{id: '{id}', resource: {resource}, at: -{number}s, life: [{{hang: {{}}}}]{configured}}}"
        )
        .unwrap();
    }
    scenario
}

#[tokio::test(start_paused = true)]
async fn a_source_that_counts_nothing_twice_counts_each_failure_once() {
    // Failed before the start: a baseline. Then one failure that is watched.
    let scenario = "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-1}]
    tasks:
      - {id: '1', resource: cdb-1, kind: ROLLBACK, at: -1h, life: [{run: {for: 10m}}, {fail: {}}]}
      - {id: '2', resource: cdb-1, kind: ROLLBACK, life: [{run: {for: 10m}}, {fail: {}}]}
      - {id: '3', resource: cdb-1, kind: ROLLBACK, at: 15m, life: [{run: {for: 10s}}, {fail: {}}]}
";
    let lab = Lab::new(scenario, |_| {});
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"ROLLBACK\"}";
    let mut seen = Vec::new();
    for _ in 0..60 {
        lab.minutes(1).await;
        seen.push(value_in(&lab.scrape_by(1), failures).unwrap());
    }
    assert_eq!(seen[0], 0, "the baseline is not counted, and the series is there at 0");
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&2), "{seen:?}");
    assert_eq!(lab.cloud.failures().len(), 3);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_series_is_served_at_0_before_it_is_served_at_1() {
    let life = "[{vanish: {for: 10m}}, {run: {for: 5s}}, {fail: {}}]";
    let lab = Lab::new(&one_task("tencent_cdb", life), |_| {});
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"ROLLBACK\"}";
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for quarter in 0..80 {
        lab.seconds(15).await;
        first.extend(value_in(&lab.scrape_by(1), failures));
        if quarter % 4 == 0 {
            second.extend(value_in(&lab.scrape_by(2), failures));
        }
    }
    for seen in [&first, &second] {
        assert_eq!(seen.first(), Some(&0), "born within one poll with its first failure");
        assert!(seen.iter().filter(|&&value| value == 0).count() >= 2, "{seen:?}");
        assert_eq!(seen.last(), Some(&1), "delayed, never lost: {seen:?}");
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_scraper_the_count_waits_five_minutes_at_most() {
    let life = "[{vanish: {for: 10m}}, {run: {for: 5s}}, {fail: {}}]";
    let lab = Lab::new(&one_task("tencent_cdb", life), |_| {});
    lab.minutes(30).await;
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"ROLLBACK\"}";
    assert_eq!(value_in(&lab.scrape_by(1), failures), Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redis_failure_is_asked_for_its_text_once() {
    let scenario = one_task(
        "tencent_redis",
        "[{run: {for: 10m}}, {fail: {message: 'not enough \"memory\"\non shard 2'}}]",
    );
    let lab = Lab::new(&scenario, |_| {});
    lab.minutes(120).await;
    let task = lab.task("one", "1").unwrap().task;
    assert!(task.error.unwrap().message.contains("on shard 2"));
    let asked = lab.cloud.requests();
    let asked: u64 = asked
        .iter()
        .filter(|(handled, _)| handled.operation == "DescribeTaskInfo")
        .map(|(_, count)| count)
        .sum();
    assert_eq!(asked, 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_estimated_end_comes_with_a_pace_and_goes_when_its_time_has_come() {
    let lab = Lab::new(
        &one_task("tencent_cdb", "[{run: {for: 60m, curve: even}}, {finish: {}}]"),
        |config| {
            config.sources[0].poll.stale_after = Duration::from_hours(9);
        },
    );
    let born = lab.cloud.tasks("one")[0].started.unwrap().as_second().cast_unsigned();
    let series = "dbtask_task_estimated_end_timestamp_seconds{source=\"one\",task_id=\"1\"}";
    lab.minutes(3).await;
    assert_eq!(lab.value(series), None, "no pace yet");
    lab.minutes(27).await;
    let end = lab.value(series).unwrap();
    assert!(end.abs_diff(born + 3600) < 60, "{end}, born {born}");
    lab.inject("one", FaultKind::ServerError);
    lab.seconds(end - born - 30 * 60 - 2).await;
    assert_eq!(lab.value(series), Some(end), "nothing is heard, and it is not over");
    lab.seconds(5).await;
    assert_eq!(lab.value(series), None, "never in the past");
    assert_eq!(lab.state("one", "1"), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_list_configured_ids_are_followed_to_their_end() {
    let scenario = "
sources:
  - name: one
    api: huawei_dds
    region: cn-north-4
    resources: [{id: 0123456789abcdef0123456789abcdein02}]
    faults: [{kind: missing_list}]
    tasks:
      - {id: job-1, resource: 0123456789abcdef0123456789abcdein02, configured: true, life: [{run: {for: 10m}}, {fail: {message: no}}]}
      - {id: job-2, resource: 0123456789abcdef0123456789abcdein02, life: [{hang: {}}]}
";
    let lab = Lab::new(scenario, |_| {});
    lab.minutes(1).await;
    assert!(up(&lab, "one"));
    assert_eq!((lab.state("one", "job-1"), lab.state("one", "job-2")), ("running", "-"));
    lab.minutes(11).await;
    assert_eq!(lab.state("one", "job-1"), "failed");
    let before = lab.cloud.request_count();
    // Within the hour after which the list is looked for again.
    lab.minutes(45).await;
    assert_eq!(lab.cloud.request_count(), before, "a finished task is never asked for again");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_project_is_asked_for_once() {
    let scenario = one_task("huawei_dds", "[{hang: {}}]");
    let lab = Lab::new(&scenario, |config| config.sources[0].target.project_id.clear());
    lab.minutes(10).await;
    assert!(up(&lab, "one"), "{:?}", lab.snapshot("one").last_error);
    assert_eq!(lab.state("one", "1"), "running");
    let asked =
        lab.value("dbtask_api_requests_total{operation=\"KeystoneListProjects\",source=\"one\"}");
    assert_eq!(asked, Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_region_without_one_project_of_its_name_is_told_as_that_and_looked_up_until_there_is_one()
{
    let none = r#"{"links":{},"projects":[]}"#;
    let two = r#"{"links":{},"projects":[{"id":"a"},{"id":"b"}]}"#;
    for answer in [none, two] {
        let log = Log::listen();
        let lab = Lab::through(
            &one_task("huawei_dds", "[{hang: {}}]"),
            |config| config.sources[0].target.project_id.clear(),
            move |elapsed, request| {
                let is_lookup = request.uri().path() == "/v3/projects";
                (is_lookup && elapsed < Duration::from_mins(10))
                    .then(|| http::Response::new(answer.into()))
            },
        );
        lab.minutes(9).await;
        let snapshot = lab.snapshot("one");
        assert_eq!((snapshot.up, snapshot.last_error_reason), (false, Some("client")), "{answer}");
        assert_eq!(
            snapshot.last_error.as_deref(),
            Some("KeystoneListProjects: the region has no project of its name: give `project_id`"),
        );
        let failures = lab.sum("dbtask_source_poll_failures_total");
        assert_eq!((poll_failures(&lab, "one", "client"), failures > 0), (failures, true));
        assert_eq!(log.lines("polls fail").len(), 1, "{}", log.text());
        assert_eq!(lab.calls("ListTasks"), 0, "there is nowhere to ask");
        lab.minutes(4).await;
        assert!(up(&lab, "one"), "{:?}", lab.snapshot("one").last_error);
        assert_eq!(lab.state("one", "1"), "running");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_operation_is_called_above_its_rate() {
    // 60 clusters in six states are 360 calls a poll, at ten a second.
    let scenario = "
sources:
  - name: one
    api: alibaba_polardb
    region: cn-hangzhou
    resources: [{id: pc-, count: 60}]
    rate_limits: {DescribeTasks: 12}
";
    let lab = Lab::new(scenario, |_| {});
    lab.minutes(10).await;
    assert!(up(&lab, "one"), "{:?}", lab.snapshot("one").last_error);
    assert!(lab.cloud.requests().keys().all(|handled| handled.outcome == "answered"));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_hides_tasks_but_counts_them() {
    let scenario = crowd("tencent_cdb", 30);
    let lab = Lab::new(&scenario, |config| config.sources[0].limits.tasks_per_source = 10);
    lab.minutes(1).await;
    let snapshot = lab.snapshot("one");
    assert_eq!((snapshot.tasks.len(), snapshot.hidden.len()), (10, 20));
    assert_eq!(lab.value("dbtask_tasks{source=\"one\",state=\"running\"}"), Some(30));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_count_of_a_kind_without_a_word_waits_for_its_0_like_any_other() {
    let scenario = "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{id: am-1}]
    tasks: [{id: '7', resource: am-1, configured: true, at: 20m, life: [{run: {for: 1s}}, {fail: {}}]}]
";
    let lab = Lab::new(scenario, |_| {});
    let series = "dbtask_task_failures_total{source=\"one\",task_kind=\"\"}";
    let mut seen = Vec::new();
    for _ in 0..200 {
        lab.seconds(15).await;
        seen.extend(value_in(&lab.scrape_by(1), series));
    }
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&1)));
    lab.stop().await;
}
