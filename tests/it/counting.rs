//! Each end of a task is counted once, under one label, and seen at 0 before it is seen at more.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::support::{Lab, Log, one_task};

/// Every series of a counter, with its value, ordered.
fn series(lab: &Lab, metric: &str) -> BTreeSet<String> {
    let text = lab.text();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn kinds_beyond_the_fiftieth_are_other_and_stay_so_over_a_restart() {
    let mut scenario = "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-1}]
    tasks:
"
    .to_owned();
    // After "other" in the order of the labels.
    for id in 10..62 {
        writeln!(
            scenario,
            "      - {{id: '{id}', resource: cdb-1, kind: z{id}, life: [{{run: {{for: 3m}}}}, {{fail: {{}}}}]}}"
        )
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(&scenario, folder.path(), |_| {}).await;
    lab.minutes(10).await;
    let before = series(&lab, "dbtask_task_failures_total");
    assert_eq!(before.len(), 51);
    let other = "dbtask_task_failures_total{source=\"one\",task_kind=\"other\"} 2";
    assert!(before.contains(other), "{before:?}");
    let lab = lab.crash().await.start();
    lab.minutes(10).await;
    assert_eq!(series(&lab, "dbtask_task_failures_total"), before);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_vendor_names_no_kind_is_counted_after_its_series_was_seen_at_zero() {
    let scenario = one_task("alibaba_adb", "[{fail: {}}]").replace("kind:", "at: 20m, kind:");
    let lab = Lab::new(&scenario, |_| {});
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"\"}";
    let mut seen = Vec::new();
    for _ in 0..200 {
        lab.scrape_by(1);
        seen.extend(lab.value(failures));
        lab.seconds(15).await;
    }
    seen.dedup();
    assert_eq!(seen, [0, 1]);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quick_failure_is_counted_though_our_clock_is_two_hours_ahead() {
    let life = "[{run: {for: 10s}}, {fail: {}}]";
    let scenario = one_task("tencent_cdb", life).replace("kind:", "at: 605s, kind:");
    let lab = Lab::new(&scenario, |_| {}).crash().await.ahead(7200).start();
    lab.minutes(30).await;
    assert_eq!(lab.state("one", "1"), "failed");
    assert_eq!(lab.sum("dbtask_task_failures_total"), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_failure_is_not_counted_though_our_clock_is_two_hours_behind() {
    let life = "[{run: {for: 10s}}, {fail: {}}]";
    let scenario = one_task("tencent_cdb", life).replace("kind:", "at: -110m, kind:");
    let lab = Lab::new(&scenario, |_| {}).crash().await.ahead(-7200).start();
    lab.minutes(30).await;
    assert_eq!(lab.state("one", "1"), "failed");
    assert_eq!(lab.sum("dbtask_task_failures_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_had_a_good_poll_begins_anew_in_another_region_all_the_same() {
    let log = Log::listen();
    let folder = tempfile::tempdir().unwrap();
    let scenario = one_task("tencent_cdb", "[{hang: {}}]")
        .replace("    tasks:", "    faults: [{kind: server_error}]\n    tasks:");
    let lab = Lab::stored(&scenario, folder.path(), |_| {}).await;
    lab.minutes(10).await;
    let mut down = lab.crash().await;
    down.config.sources[0].target.region = "ap-beijing".to_owned();
    let lab = down.start();
    assert_eq!(log.lines("its tasks begin anew").len(), 1);
    lab.stop().await;
}

/// A MySQL list of one task with this status, of which the end is known once it is final.
fn mysql_row(status: &str) -> Response<Bytes> {
    // The clouds' clock begins on 2026-09-21 at 22:13:20, as this vendor writes it.
    let end = if status == "RUNNING" { "" } else { "2026-09-21 22:17:30" };
    let row = format!(
        r#"{{"JobId":7,"TaskType":"ROLLBACK","TaskStatus":"{status}","InstanceIds":["cdb-1"],
           "StartTime":"2026-09-21 22:13:50","EndTime":"{end}","Progress":40}}"#
    );
    Response::new(format!(r#"{{"Response":{{"TotalCount":1,"Items":[{row}]}}}}"#).into())
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_counts_no_failure_twice_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let flips = |elapsed: Duration, _: &Request<Bytes>| {
        let minute = elapsed.as_secs() / 60;
        let runs = minute < 5 || (10..13).contains(&minute) || (16..19).contains(&minute);
        Some(mysql_row(if runs { "RUNNING" } else { "FAILED" }))
    };
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    let lab = Lab::through(&scenario, |_| {}, flips).crash().await.stored(folder.path()).start();
    // What has ended is looked at every two minutes.
    lab.seconds(750).await;
    assert_eq!(lab.state("one", "7"), "running");
    let lab = lab.crash().await.start();
    lab.minutes(25).await;
    assert_eq!(lab.state("one", "7"), "failed");
    assert_eq!(lab.sum("dbtask_task_failures_total"), 1);
    let settled = lab.task("one", "7").unwrap().settled.unwrap();
    let settled = settled.as_second() - 1_790_000_000;
    assert!((300..=335).contains(&settled), "{settled} s, not the first poll that saw it end");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_that_stays_configured_is_counted_once_in_a_hundred_days() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = one_task("alibaba_adb", "[{run: {for: 10m}}, {fail: {}}]");
    let rarely = |config: &mut dbtask_exporter::config::Config| {
        config.sources[0].poll.interval = Duration::from_hours(6);
        config.sources[0].poll.idle_interval = Duration::from_hours(6);
    };
    let mut lab = Lab::stored(&scenario, folder.path(), rarely).await;
    for _ in 0..5 {
        lab.minutes(20 * 24 * 60).await;
        assert_eq!(lab.sum("dbtask_task_failures_total"), 1);
        assert_eq!(lab.state("one", "1"), "-");
        lab = lab.crash().await.start();
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_clock_that_leaps_forty_days_counts_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    // No answer says what time it is, and none minds at what time it is asked. By a clock that has
    // leapt the list shows nothing.
    let list = |elapsed: Duration, _: &Request<Bytes>| {
        let nothing = r#"{"Response":{"TotalCount":0,"Items":[]}}"#;
        Some(match elapsed.as_secs() {
            0..250 => mysql_row("RUNNING"),
            elapsed if elapsed / 600 % 2 == 1 => Response::new(nothing.into()),
            _ => mysql_row("FAILED"),
        })
    };
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    let setup = Lab::through(&scenario, |_| {}, list).crash().await;
    let mut lab = setup.stored(folder.path()).start();
    lab.seconds(595).await;
    let day = 24 * 3600;
    for leap in [40 * day, -40 * day, 400 * day, -400 * day] {
        lab = lab.crash().await.ahead(leap).start();
        lab.minutes(10).await;
        assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{leap}");
        let success = lab.snapshot("one").last_success.unwrap().as_second() - 1_790_000_000;
        assert!(success <= 3000 + leap.max(0), "{success} s, after a leap of {leap} s");
    }
    lab.stop().await;
}
