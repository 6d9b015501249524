//! What survives the end of the process, in virtual time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::Timestamp;
use dbtask_exporter::metrics::{Instruments, Metrics};
use dbtask_exporter::snapshot::SourceInfo;
use dbtask_exporter::storage::{Batch, Contents, Journal};
use dbtask_exporter::track::counters::Counters;
use dbtask_exporter::track::coverage::Gap;
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, text_of, value_in};

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

/// A source of one resource with these tasks.
fn mysql(tasks: &str) -> String {
    format!(
        "sources: [{{name: mysql, api: tencent_cdb, region: ap-guangzhou,
          resources: [{{id: cdb-1}}], tasks: [{tasks}]}}]"
    )
}

fn task(id: usize, kind: &str, life: &str) -> String {
    format!("{{id: '{id}', resource: cdb-1, kind: {kind}, life: [{life}]}},")
}

fn failures(kind: &str) -> String {
    format!("dbtask_task_failures_total{{source=\"mysql\",task_kind=\"{kind}\"}}")
}

/// Lets minutes pass in which somebody scrapes four times.
async fn scraped(lab: &Lab, minutes: u64) {
    for _ in 0..minutes * 4 {
        lab.seconds(15).await;
        lab.scrape_by(1);
    }
}

/// The exporter dies, and comes back after so many minutes.
async fn down(lab: Lab, minutes: u64) -> Lab {
    let setup = lab.crash().await;
    tokio::time::sleep(Duration::from_mins(minutes)).await;
    setup.start()
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_both_of_two_scrapers_see_the_old_value_first() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = task(1, "A", "{run: {for: 3m}}, {fail: {}}")
        + &task(2, "A", "{run: {for: 30m}}, {fail: {}}");
    let lab = Lab::stored(&mysql(&tasks), folder.path(), |_| {}).await;
    scraped(&lab, 10).await;
    let lab = down(lab, 60).await;
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for quarter in 0..32 {
        fast.extend(value_in(&lab.scrape_by(1), &failures("A")));
        if quarter % 4 == 2 {
            slow.extend(value_in(&lab.scrape_by(2), &failures("A")));
        }
        lab.seconds(15).await;
    }
    for seen in [&fast, &slow] {
        assert_eq!((seen.first(), seen.last()), (Some(&1), Some(&2)), "{seen:?}");
        assert!(seen.iter().filter(|&&value| value == 1).count() >= 2, "{seen:?}");
        assert!(seen.is_sorted(), "{seen:?}");
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_fifty_first_kind_is_other_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    // Late in the alphabet, so that `other` comes before them in the journal.
    let kind = |n: usize| format!("t-{n:02}");
    let early = |n| task(n, &kind(n), "{run: {for: 5m}}, {fail: {}}");
    let mut tasks: String = (0..50).map(early).collect();
    tasks += &task(50, "z-late", "{vanish: {for: 10m}}, {run: {for: 5m}}, {fail: {}}");
    tasks += &task(51, "t-07", "{vanish: {for: 60m}}, {run: {for: 5m}}, {fail: {}}");
    tasks += &task(52, "z-later", "{vanish: {for: 60m}}, {run: {for: 5m}}, {fail: {}}");
    let lab = Lab::stored(&mysql(&tasks), folder.path(), |_| {}).await;
    scraped(&lab, 30).await;
    let counted = |lab: &Lab| {
        let text = lab.text();
        let lines = text.lines().filter(|line| line.starts_with("dbtask_task_failures_total{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = counted(&lab);
    assert_eq!(before.len(), 51);
    assert_eq!(lab.value(&failures("other")), Some(1));
    let lab = down(lab, 60).await;
    assert_eq!(counted(&lab), before);
    scraped(&lab, 10).await;
    assert_eq!(counted(&lab).len(), 51);
    assert_eq!(lab.value(&failures("other")), Some(2));
    assert_eq!(lab.value(&failures("t-07")), Some(2));
    assert_eq!(lab.value(&failures("t-49")), Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_run_of_the_same_id_is_counted_though_it_fell_into_the_outage() {
    let folder = tempfile::tempdir().unwrap();
    let life = "{run: {for: 3m}}, {fail: {for: 20m}}, {run: {for: 5m}}, {fail: {}}";
    let lab = Lab::stored(&mysql(&task(1, "A", life)), folder.path(), |_| {}).await;
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(1));
    let lab = down(lab, 60).await;
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(2));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_time_that_is_filled_in_while_the_exporter_is_down_is_no_new_end() {
    let folder = tempfile::tempdir().unwrap();
    let life = "{run: {for: 3m}}, {fail: {end_known_after: 20m}}";
    let lab = Lab::stored(&mysql(&task(1, "A", life)), folder.path(), |_| {}).await;
    scraped(&lab, 10).await;
    let lab = down(lab, 60).await;
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_every_start_is_a_baseline() {
    let tasks = task(1, "A", "{run: {for: 3m}}, {fail: {}}")
        + &task(2, "A", "{run: {for: 30m}}, {fail: {}}");
    let lab = Lab::new(&mysql(&tasks), |_| {});
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(1));
    let lab = down(lab, 60).await;
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(0), "as if neither had been watched");
    assert_eq!(lab.value("dbtask_exporter_journals_set_aside"), None);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_set_aside_makes_the_start_a_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = task(1, "A", "{run: {for: 3m}}, {fail: {}}")
        + &task(2, "A", "{run: {for: 30m}}, {fail: {}}")
        + &task(3, "A", "{run: {for: 90m}}, {fail: {}}");
    let lab = Lab::stored(&mysql(&tasks), folder.path(), |_| {}).await;
    scraped(&lab, 10).await;
    assert_eq!(lab.value("dbtask_exporter_journals_set_aside"), Some(0));
    let setup = lab.crash().await;
    std::fs::write(folder.path().join("journal.db"), "broken").unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    let lab = setup.start();
    scraped(&lab, 10).await;
    assert_eq!(lab.value(&failures("A")), Some(0));
    assert_eq!(lab.value("dbtask_exporter_journals_set_aside"), Some(1));
    assert_eq!(lab.value("dbtask_exporter_journal_last_write_successful"), Some(1));
    scraped(&lab, 20).await;
    assert_eq!(lab.value(&failures("A")), Some(1), "the third");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn durations_and_the_last_failure_are_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let life = |n: usize| format!("{{run: {{for: {}s}}}}, {{fail: {{}}}}", 37 * n * n);
    let tasks: String = (1..=12).map(|n| task(n, "A", &life(n))).collect();
    let lab = Lab::stored(&mysql(&tasks), folder.path(), |_| {}).await;
    scraped(&lab, 120).await;
    let kept = |lab: &Lab| {
        let text = lab.text();
        let kept = ["dbtask_task_duration_seconds", "dbtask_task_last_failure_timestamp_seconds"];
        let lines = text.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = kept(&lab);
    let whole: usize = (1..=12).map(|n| 37 * n * n).sum();
    let sum = "dbtask_task_duration_seconds_sum{outcome=\"failed\",source=\"mysql\"}";
    assert!(before.iter().any(|line| line.starts_with(sum) && line.contains(&whole.to_string())));
    let lab = down(lab, 600).await;
    assert_eq!(kept(&lab), before);
    lab.minutes(10).await;
    assert_eq!(kept(&lab), before);
    lab.stop().await;
}

/// Counters over a journal, without anything that polls.
fn counters(folder: &Path) -> (Arc<Counters>, Metrics, Contents) {
    let instruments = Instruments::new().unwrap();
    let (journal, contents) = Journal::open(folder, instruments.clone()).unwrap();
    let counts = Arc::new(Counters::new(instruments.clone(), Arc::new(journal)));
    (counts, Metrics::new(instruments), contents)
}

#[tokio::test(start_paused = true)]
async fn coverage_gaps_are_shown_as_before_and_then_grow() {
    let folder = tempfile::tempdir().unwrap();
    let source = SourceInfo { name: "mysql".to_owned(), ..SourceInfo::default() };
    let seen = |metrics: &Metrics| {
        let text = text_of(metrics);
        let value = |name: &str| value_in(&text, &format!("{name}{{source=\"mysql\"}}"));
        let name = "dbtask_source_coverage_gap";
        (value(&format!("{name}s_total")), value(&format!("{name}_seconds_total")))
    };
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let mut before = (None, None);
    for life in 1..=3 {
        let (counts, metrics, mut contents) = counters(folder.path());
        counts.restore(&source, &mut contents);
        assert_eq!(seen(&metrics), before, "life {life}");
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&counts).run(stop.clone()));
        let to = now + Duration::from_secs(100);
        let gap = Some(Gap { from: now, to, goes_on: false });
        counts.enter(&source, &[], gap, false, now, Batch::default());
        tokio::time::sleep(Duration::from_mins(4)).await;
        assert_eq!(seen(&metrics), before, "nobody has seen the old value");
        tokio::time::sleep(Duration::from_mins(2)).await;
        before = (Some(life), Some(life * 100));
        assert_eq!(seen(&metrics), before);
        stop.cancel();
        running.await.unwrap();
    }
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

#[tokio::test(start_paused = true)]
async fn a_poll_that_changed_nothing_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = || std::fs::read(folder.path().join("journal.db")).unwrap();
    let tasks = task(1, "A", "{hang: {for: 3m}}, {fail: {}}");
    let lab = Lab::stored(&mysql(&tasks), folder.path(), |_| {}).await;
    lab.seconds(20).await;
    let (first, polls) = (file(), lab.calls("DescribeTasks"));
    lab.seconds(120).await;
    assert!(file() == first && lab.calls("DescribeTasks") >= polls + 4);
    lab.seconds(60).await;
    assert!(file() != first, "it has failed");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_today_survive_a_restart_and_begin_anew_at_midnight() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(TWO_FAILURES, folder.path(), |_| {}).await;
    let today = |lab: &Lab| {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        lab.snapshot("redis").calls.on(now)
    };
    lab.minutes(60).await;
    let made = lab.sum("dbtask_api_requests_total");
    assert!(made > 30, "{made} calls");
    assert_eq!(today(&lab), made);
    let lab = lab.crash().await.start();
    let kept = today(&lab);
    // Polls every two minutes, of two or three calls, and what is not yet written.
    assert!((made - 10..=made).contains(&kept), "{kept} of {made}");
    lab.minutes(9 * 60).await;
    let tomorrow = Timestamp::from_second(1_790_000_000 + 10 * 3600).unwrap();
    assert_eq!(today(&lab), 0);
    assert!((1..40).contains(&lab.snapshot("redis").calls.on(tomorrow)));
    lab.stop().await;
}
