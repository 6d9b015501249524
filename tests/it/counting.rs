//! Each end of a task is counted once, under one label, and seen at 0 before it is seen at more.

use std::collections::BTreeSet;
use std::fmt::Write as _;

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
    assert_eq!(log.lines("begins anew").len(), 1);
    lab.stop().await;
}
