//! What survives the end of the process, in virtual time.

use std::time::Duration;

use crate::support::{Lab, value_in};

/// One task fails while the exporter runs, one while it is down.
const TWO_FAILURES: &str = "
sources:
  - name: redis
    api: tencent_redis
    region: ap-guangzhou
    resources: [{id: crs-a}]
    tasks:
      - {id: '1', resource: crs-a, kind: '10', life: [{run: {for: 3m}}, {fail: {}}]}
      - {id: '2', resource: crs-a, kind: '10', life: [{run: {for: 30m}}, {fail: {}}]}
";

#[tokio::test(start_paused = true)]
async fn a_failure_while_the_exporter_is_down_is_counted_once_and_served_after_the_old_value() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(TWO_FAILURES, folder.path(), |_| {}).await;
    for _ in 0..40 {
        lab.scrape_by(1);
        lab.seconds(15).await;
    }
    let text = lab.text();
    let failures = text.lines().find(|line| line.starts_with("dbtask_task_failures_total"));
    let (series, count) = failures.unwrap().rsplit_once(' ').unwrap();
    assert_eq!(count, "1");
    let seen = lab.task("redis", "2").unwrap().progress_changed;

    let down = lab.crash().await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let lab = down.start();
    assert_eq!(value_in(&lab.scrape_by(1), series), Some(1), "as before");
    assert_eq!(lab.state("redis", "1"), "failed");
    assert_eq!(lab.task("redis", "2").unwrap().progress_changed, seen);
    lab.seconds(10).await;
    assert_eq!(value_in(&lab.scrape_by(1), series), Some(1), "still as before");
    for _ in 0..20 {
        lab.seconds(15).await;
        lab.scrape_by(1);
    }
    assert_eq!(lab.value(series), Some(2));

    let lab = lab.crash().await.start();
    lab.minutes(10).await;
    assert_eq!(lab.value(series), Some(2), "not again");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_pace_of_a_task_and_when_it_last_moved_are_known_at_once_after_a_restart() {
    let scenario = "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-1}]
    tasks: [{id: '1', resource: cdb-1, life: [{run: {for: 60m, curve: even}}, {finish: {}}]}]
";
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(scenario, folder.path(), |_| {}).await;
    lab.minutes(20).await;
    let before = lab.task("one", "1").unwrap();

    let lab = lab.crash().await.start();
    lab.seconds(1).await;
    let after = lab.task("one", "1").unwrap();
    assert_eq!(after.progress_changed, before.progress_changed);
    assert_eq!(after.estimated_end, before.estimated_end);
    lab.minutes(1).await;
    let polled = lab.task("one", "1").unwrap();
    let moved =
        polled.estimated_end.unwrap().as_second() - before.estimated_end.unwrap().as_second();
    assert!(polled.last_seen > before.last_seen && moved.abs() < 60, "{before:?}, {polled:?}");
    lab.stop().await;
}
