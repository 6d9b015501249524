//! What polls of Tencent Cloud's databases find and cost over hours, in virtual time.

use std::time::Duration;

use crate::support::Lab;

/// Half a year of finished tasks, one an hour, and two that began long ago and go on.
const POSTGRES: &str = "
sources:
  - name: one
    api: tencent_postgres
    region: ap-guangzhou
    resources: [{id: postgres-a}]
    tasks:
      - {id: '7', resource: postgres-a, kind: CloneInstance, at: -100d, life: [{hang: {}}]}
      - {id: '8', resource: postgres-a, kind: CloneInstance, at: -170d,
         life: [{pause: {for: 4081h}}, {finish: {}}]}
    spawn:
      - every: 1h
        from: -4200h
        until: -2h
        keep: 5000h
        kinds: [RestartInstance]
        outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
";

#[tokio::test(start_paused = true)]
async fn postgres_finds_old_unfinished_tasks_once_and_then_asks_for_them_by_their_ids() {
    let lab = Lab::new(POSTGRES, |config| {
        config.sources[0].poll.lookback = Duration::from_hours(24);
    });
    lab.minutes(1).await;
    assert_eq!((lab.state("one", "7"), lab.state("one", "8")), ("running", "paused"));
    assert!(lab.snapshot("one").tasks.len() < 30, "of half a year only what is unfinished");
    let first = lab.calls("DescribeTasks");
    assert!((42..=50).contains(&first), "{first} calls for 42 pages");
    lab.minutes(59).await;
    let calls = lab.calls("DescribeTasks") - first;
    // A poll in 30 seconds: its window, and the two tasks.
    assert!((300..=360).contains(&calls), "{calls} calls in 118 polls");
    lab.minutes(5).await;
    assert_eq!(lab.state("one", "8"), "succeeded");
    let labels = "source=\"one\",task_kind=\"CloneInstance\"";
    let ended = lab.value(&format!("dbtask_task_completions_total{{{labels}}}"));
    assert_eq!(ended, Some(1));
    lab.stop().await;
}

/// A job that fails, is started again by a person, and fails again; one that is retried within its
/// run; and one that goes on after its failure.
const DTS: &str = "
sources:
  - name: one
    api: tencent_dts_migration
    region: ap-guangzhou
    resources: [{id: cdb-a}]
    tasks:
      - {id: dts-twice, resource: cdb-a, kind: migration, life: [
          {run: {for: 10m, to: 0.5}}, {fail: {for: 10m, word: error, message: 'disk full'}},
          {run: {for: 10m, to: 0.5}}, {fail: {word: failed, message: 'disk full'}}]}
      - {id: dts-goes, resource: cdb-a, kind: migration, life: [
          {run: {for: 10m, to: 0.5}}, {fail: {for: 10m, word: resumableErr}},
          {run: {for: 10m}}, {finish: {}}]}
      - {id: dts-waits, resource: cdb-a, kind: migration,
         life: [{run: {for: 10m}}, {pause: {word: readyComplete}}]}
";

#[tokio::test(start_paused = true)]
async fn a_job_of_dts_that_fails_again_after_it_was_started_again_is_counted_twice() {
    let lab = Lab::new(DTS, |_| {});
    lab.minutes(15).await;
    assert_eq!((lab.state("one", "dts-twice"), lab.state("one", "dts-goes")), ("failed", "failed"));
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"migration\"}";
    assert_eq!(lab.value(failures), Some(2));
    lab.minutes(10).await;
    assert_eq!(
        (lab.state("one", "dts-twice"), lab.state("one", "dts-goes")),
        ("running", "running")
    );
    assert_eq!(lab.value(failures), Some(2));
    lab.minutes(20).await;
    assert_eq!(
        (lab.state("one", "dts-twice"), lab.state("one", "dts-goes")),
        ("failed", "succeeded")
    );
    assert_eq!(lab.value(failures), Some(3));
    let waits = lab.task("one", "dts-waits").unwrap().task;
    assert_eq!((waits.state.as_str(), &*waits.vendor_status), ("paused", "readyComplete"));
    lab.minutes(60).await;
    assert_eq!(lab.value(failures), Some(3), "it is listed for good");
    lab.stop().await;
}

/// 40 instances, with a task on one of them after 20 minutes.
const SQL_SERVER: &str = "
sources:
  - name: one
    api: tencent_sqlserver
    region: ap-guangzhou
    resources: [{id: mssql-, count: 40}]
    tasks:
      - {id: '7', resource: mssql-0007, kind: '62', at: 20m,
         life: [{run: {for: 30m}}, {fail: {code: '1205', message: 'out of space'}}]}
      - {id: '8', resource: mssql-0008, kind: '62', at: 22m, life: [{run: {for: 1m}}, {fail: {}}]}
";

#[tokio::test(start_paused = true)]
async fn instances_of_sql_server_where_nothing_runs_are_asked_every_five_minutes() {
    let lab = Lab::new(SQL_SERVER, |_| {});
    lab.minutes(1).await;
    let first = lab.calls("DescribeInstanceTasks");
    assert_eq!((first, lab.calls("DescribeDBInstances")), (40, 1));
    lab.minutes(19).await;
    let calls = lab.calls("DescribeInstanceTasks") - first;
    assert!((120..=160).contains(&calls), "{calls} calls for 40 instances in 19 minutes");
    // Neither a task that goes on nor one that was short is missed.
    lab.minutes(10).await;
    assert_eq!((lab.state("one", "7"), lab.state("one", "8")), ("running", "failed"));
    let before = lab.calls("DescribeInstanceTasks");
    lab.minutes(19).await;
    let calls = lab.calls("DescribeInstanceTasks") - before;
    // The busy one at each poll, the others as before.
    assert!((150..=200).contains(&calls), "{calls} calls");
    lab.minutes(6).await;
    let task = lab.task("one", "7").unwrap().task;
    let error = task.error.unwrap();
    assert_eq!((&*error.code, &*error.message), ("1205", "out of space"));
    assert_eq!(lab.sum("dbtask_task_failures_total"), 2);
    for quiet in ["dbtask_source_resources_failing", "dbtask_source_coverage_gaps_total"] {
        assert_eq!(lab.sum(quiet), 0, "{quiet}");
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_instances_of_sql_server_take_a_fifth_of_a_thousand_calls() {
    let task =
        |n: u32| format!("{{id: '{n}', resource: mssql-{n:04}, at: -1h, life: [{{hang: {{}}}}]}}");
    let busy: Vec<String> = (1..=10).map(task).collect();
    let busy = busy.join(", ");
    let scenario = format!(
        "sources:\n  - name: one\n    api: tencent_sqlserver\n    region: ap-guangzhou\n    \
         resources: [{{id: mssql-, count: 1000}}]\n    tasks: [{busy}]"
    );
    let lab = Lab::new(&scenario, |config| {
        config.sources[0].poll.interval = Duration::from_mins(1);
    });
    // At fifteen calls a second the first poll takes a minute.
    lab.minutes(3).await;
    let before = (lab.calls("DescribeInstanceTasks"), lab.calls("DescribeDBInstances"));
    lab.minutes(60).await;
    let tasks = lab.calls("DescribeInstanceTasks") - before.0;
    let instances = lab.calls("DescribeDBInstances") - before.1;
    assert!((160..=210).contains(&(tasks / 60)), "{tasks} calls in an hour");
    assert!((99..=143).contains(&instances), "{instances} pages of instances in an hour");
    assert_eq!(lab.state("one", "10"), "running");
    lab.stop().await;
}

/// A flow of each product that has no list, given by configuration.
#[tokio::test(start_paused = true)]
async fn flows_are_watched_by_their_ids_until_they_end() {
    for (api, failed) in [
        ("tencent_mongodb", "undoed"),
        ("tencent_mariadb", "1"),
        ("tencent_tdmysql", "failed"),
        ("tencent_cynosdb_flow", "1"),
        ("tencent_dcdb_flow", "1"),
        ("tencent_sqlserver_flow", "1"),
    ] {
        let scenario = format!(
            "
sources:
  - name: one
    api: {api}
    region: ap-guangzhou
    resources: [{{id: db-a}}]
    tasks:
      - {{id: '7', resource: db-a, configured: true,
         life: [{{run: {{for: 10m}}}}, {{fail: {{word: '{failed}'}}}}]}}
"
        );
        let lab = Lab::new(&scenario, |_| {});
        lab.minutes(5).await;
        assert_eq!(lab.state("one", "7"), "running", "{api}");
        assert_eq!(lab.value("dbtask_source_up{source=\"one\"}"), Some(1), "{api}");
        lab.minutes(10).await;
        let task = lab.task("one", "7").unwrap().task;
        assert_eq!((task.state.as_str(), &*task.vendor_status), ("failed", failed), "{api}");
        assert_eq!(&*task.resource.id, "db-a");
        assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api}");
        let calls: u64 = lab.cloud.requests().values().sum();
        lab.minutes(30).await;
        let later: u64 = lab.cloud.requests().values().sum();
        assert_eq!(later, calls, "{api} is asked no more");
        lab.stop().await;
    }
}
