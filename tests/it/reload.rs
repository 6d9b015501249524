//! Another configuration while the exporter runs: whole or not at all, and nothing is lost by it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::{FaultKind, Scenario, SimulatedCloud};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::Exporter;
use crate::support::Lab;

/// Two sources of one account: a task of each fails after an hour.
const TWO: &str = "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    account: a
    resources: [{id: cdb-1}]
    tasks: [{id: '1', resource: cdb-1, kind: ROLLBACK, life: [{run: {for: 1h}}, {fail: {}}]}]
  - name: two
    api: tencent_cdb
    region: ap-shanghai
    account: a
    resources: [{id: cdb-2}]
    tasks:
      - {id: '2', resource: cdb-2, kind: ROLLBACK, life: [{run: {for: 1h}}, {fail: {}}]}
      - {id: '3', resource: cdb-2, kind: ROLLBACK, life: [{run: {for: 3h}}, {fail: {}}]}
";

const FAILED_ONE: &str = "dbtask_task_failures_total{source=\"one\",task_kind=\"ROLLBACK\"}";
const FAILED_TWO: &str = "dbtask_task_failures_total{source=\"two\",task_kind=\"ROLLBACK\"}";

fn hourly(config: &mut Config) {
    for source in &mut config.sources {
        source.poll.interval = Duration::from_hours(1);
        source.poll.idle_interval = Duration::from_hours(1);
        source.poll.stale_after = Duration::from_hours(4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_unchanged_notices_nothing_of_a_reload() {
    let mut lab = Lab::new(TWO, hourly);
    lab.minutes(1).await;
    let before = lab.snapshot("one");
    let calls = lab.cloud.request_count();
    let done =
        lab.reload(|config| config.sources[1].retention.failed = Duration::from_hours(1)).await;
    assert_eq!(done, "1 sources unchanged; changed: two");
    assert!(Arc::ptr_eq(&before, &lab.snapshot("one")), "nothing was published anew");
    lab.minutes(10).await;
    assert!(Arc::ptr_eq(&before, &lab.snapshot("one")), "and it was not polled early");
    assert!(lab.cloud.request_count() > calls, "the other one was");
    assert_eq!(lab.reload(|_| ()).await, "2 sources unchanged");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_changed_keeps_its_tasks_and_counts_each_failure_once() {
    let mut lab = Lab::new(TWO, |_| ());
    lab.minutes(30).await;
    assert_eq!(lab.state("two", "2"), "running");
    lab.reload(|config| config.sources[1].poll.interval = Duration::from_secs(10)).await;
    assert_eq!(lab.state("two", "2"), "running", "also before it has been polled again");
    lab.minutes(45).await;
    assert_eq!((lab.value(FAILED_ONE), lab.value(FAILED_TWO)), (Some(1), Some(1)));
    for seconds in [11, 12, 13] {
        let interval = Duration::from_secs(seconds);
        lab.reload(|config| config.sources[1].poll.interval = interval).await;
        assert_eq!(lab.value(FAILED_TWO), Some(1), "no counter ever falls");
        lab.minutes(10).await;
    }
    assert_eq!((lab.value(FAILED_ONE), lab.value(FAILED_TWO)), (Some(1), Some(1)));
    assert_eq!((lab.state("two", "2"), lab.state("two", "3")), ("failed", "running"));
    lab.minutes(120).await;
    assert_eq!(lab.value(FAILED_TWO), Some(2), "and what fails afterwards counts");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone_has_no_series_and_comes_back_as_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for stored in [false, true] {
        let mut lab = if stored {
            Lab::stored(TWO, folder.path(), |_| ()).await
        } else {
            Lab::new(TWO, |_| ())
        };
        lab.minutes(75).await;
        assert_eq!(lab.value(FAILED_TWO), Some(1));
        let two = lab.reload_without("two").await;
        lab.seconds(2).await;
        assert!(!lab.text().contains("source=\"two\""), "{}", lab.text());
        let calls = lab.cloud.request_count();
        lab.reload_without("one").await;
        lab.minutes(120).await;
        assert_eq!(lab.cloud.request_count(), calls, "nobody is left who asks");
        // What failed in between counts, what had failed before does not count again.
        assert_eq!(
            lab.reload(|config| config.sources.push(two)).await,
            "0 sources unchanged; new: two"
        );
        lab.minutes(10).await;
        assert_eq!(lab.value(FAILED_TWO), Some(2), "stored: {stored}");
        lab.stop().await;
    }
}

impl Lab {
    /// Reloads without a source, which is returned.
    async fn reload_without(&mut self, name: &str) -> dbtask_exporter::config::SourceConfig {
        let mut gone = None;
        let done = self
            .reload(|config| {
                let index = config.sources.iter().position(|source| source.name == name).unwrap();
                gone = Some(config.sources.remove(index));
            })
            .await;
        assert!(done.ends_with(&format!("gone: {name}")), "{done}");
        gone.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_with_another_region_begins_anew_and_its_counters_go_on() {
    let mut lab = Lab::new(TWO, |_| ());
    lab.minutes(75).await;
    assert_eq!((lab.state("one", "1"), lab.value(FAILED_ONE)), ("failed", Some(1)));
    // Where the tasks of `two` are: 2 has failed, which is a baseline to whoever comes there.
    lab.reload(|config| {
        let target = config.sources[1].target.clone();
        config.sources[0].target = target;
        config.sources[0].resources.clear();
    })
    .await;
    assert_eq!(lab.state("one", "1"), "-");
    lab.minutes(10).await;
    assert_eq!((lab.state("one", "2"), lab.value(FAILED_ONE)), ("failed", Some(1)));
    lab.minutes(120).await;
    assert_eq!((lab.state("one", "3"), lab.value(FAILED_ONE)), ("failed", Some(2)));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_of_another_account_begins_anew_and_counts_none_of_its_old_failures() {
    // What the other account has is seen by the same name, API and region.
    let scenario = TWO.replace("ap-shanghai\n    account: a", "ap-guangzhou\n    account: b");
    assert_ne!(scenario, TWO);
    let mut lab = Lab::new(&scenario, |config| {
        config.sources[1].poll.interval = Duration::from_hours(10);
        config.sources[1].poll.idle_interval = Duration::from_hours(10);
    });
    lab.minutes(90).await;
    assert_eq!((lab.value(FAILED_ONE), lab.state("one", "1")), (Some(1), "failed"));
    lab.reload(move_to_the_account_of_two).await;
    lab.minutes(10).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("-", "failed"));
    assert_eq!(lab.value(FAILED_ONE), Some(1), "it failed before this source watched it");
    lab.minutes(100).await;
    assert_eq!(lab.state("one", "3"), "failed");
    assert_eq!(lab.value(FAILED_ONE), Some(2));
    lab.stop().await;
}

/// Moves source `one` to the account of `two`, which goes.
fn move_to_the_account_of_two(config: &mut Config) {
    let other = config.sources.pop().unwrap();
    let one = &mut config.sources[0];
    (one.account, one.credentials) = (other.account, other.credentials);
    (one.resources, one.target) = (other.resources, other.target);
}

#[tokio::test(start_paused = true)]
async fn a_poll_of_another_account_that_fails_half_way_counts_none_of_its_old_failures() {
    // The second account has clusters of the same names.
    let scenario = TWO
        .replace("tencent_cdb", "tencent_redis")
        .replace("ap-shanghai\n    account: a", "ap-guangzhou\n    account: b")
        .replace("cdb-2", "cdb-1")
        .replace("cdb-", "crs-")
        .replace("[{run: {for: 1h}}, {fail: {}}]}]", "[{hang: {}}]}]");
    // The key of the second account is refused where a task is asked for by its id.
    let refuses = |elapsed: Duration, request: &Request<Bytes>| {
        let by_id = request.headers().get("x-tc-action").is_some_and(|it| it == "DescribeTaskInfo");
        let is_refused = by_id && (90..100).contains(&(elapsed.as_secs() / 60));
        let refusal = r#"{"Response":{"Error":{"Code":"AuthFailure.SecretIdNotFound","Message":"no"},"RequestId":"x"}}"#;
        is_refused.then(|| Response::new(refusal.into()))
    };
    let rarely = |config: &mut Config| {
        config.sources[1].poll.interval = Duration::from_hours(10);
        config.sources[1].poll.idle_interval = Duration::from_hours(10);
        config.sources.iter_mut().for_each(|source| source.resources.clear());
    };
    let mut lab = Lab::through(&scenario, rarely, refuses);
    lab.minutes(90).await;
    assert_eq!(lab.state("one", "1"), "running");
    lab.reload(move_to_the_account_of_two).await;
    lab.seconds(20).await;
    assert!(!lab.snapshot("one").up);
    let settled = lab.task("one", "2").unwrap().settled;
    assert_eq!(lab.sum("dbtask_task_failures_total"), 0, "it failed before this source watched it");
    lab.minutes(30).await;
    assert!(lab.snapshot("one").up);
    assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("-", "failed"));
    assert_eq!(lab.task("one", "2").unwrap().settled, settled, "it is not dated anew");
    assert_eq!(lab.sum("dbtask_task_failures_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_between_a_move_to_another_account_and_its_first_answer_is_counted() {
    let scenario = TWO.replace("ap-shanghai\n    account: a", "ap-guangzhou\n    account: b");
    let breaks = |elapsed: Duration, _: &Request<Bytes>| {
        let is_broken = (170..185).contains(&(elapsed.as_secs() / 60));
        is_broken.then(|| Response::builder().status(503).body(Bytes::new()).unwrap())
    };
    let mut lab = Lab::through(&scenario, |_| {}, breaks);
    lab.minutes(170).await;
    assert_eq!(lab.value(FAILED_ONE), Some(1));
    lab.reload(move_to_the_account_of_two).await;
    lab.minutes(45).await;
    assert_eq!((lab.state("one", "2"), lab.state("one", "3")), ("failed", "failed"));
    assert_eq!(lab.value(FAILED_ONE), Some(2), "the one that failed at 180 minutes");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_another_region_or_account_the_counters_go_on_over_a_restart_as_over_a_reload() {
    let other_account = TWO.replace("ap-shanghai\n    account: a", "ap-guangzhou\n    account: b");
    for scenario in [TWO, &other_account] {
        for reload in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mut lab = Lab::stored(scenario, folder.path(), |_| {}).await;
            lab.minutes(90).await;
            assert_eq!((lab.value(FAILED_ONE), lab.state("one", "1")), (Some(1), "failed"));
            let last_failure =
                lab.value("dbtask_task_last_failure_timestamp_seconds{source=\"one\"}").unwrap();
            let becomes_two = |config: &mut Config| {
                let other = config.sources.pop().unwrap();
                let one = &mut config.sources[0];
                (one.account, one.credentials) = (other.account, other.credentials);
                (one.resources, one.target) = (other.resources, other.target);
            };
            if reload {
                lab.reload(becomes_two).await;
            } else {
                let mut setup = lab.crash().await;
                becomes_two(&mut setup.config);
                lab = setup.start();
            }
            for _ in 0..10 {
                assert_eq!(lab.value(FAILED_ONE), Some(1), "reload {reload}");
                lab.minutes(1).await;
            }
            assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("-", "failed"));
            let shown = lab.value("dbtask_task_last_failure_timestamp_seconds{source=\"one\"}");
            assert_eq!(shown, Some(last_failure), "reload {reload}");
            lab.scrape_by(1);
            lab.minutes(110).await;
            assert_eq!(lab.state("one", "3"), "failed", "reload {reload}");
            assert_eq!(lab.value(FAILED_ONE), Some(2), "reload {reload}");
            let lab = lab.crash().await.start();
            assert_eq!(lab.value(FAILED_ONE), Some(2), "the journal has both");
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_many_others_have_followed_comes_back_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::stored(TWO, folder.path(), |_| {}).await;
    lab.minutes(90).await;
    assert_eq!(lab.value(FAILED_TWO), Some(1));
    let two = lab.reload_without("two").await;
    for n in 0..40 {
        let other = format!("other-{n}");
        let mut added = two.clone();
        added.name.clone_from(&other);
        lab.reload(|config| config.sources.push(added)).await;
        lab.reload_without(&other).await;
    }
    lab.minutes(120).await;
    lab.reload(|config| config.sources.push(two)).await;
    assert_eq!(lab.value(FAILED_TWO), Some(1), "as before");
    lab.minutes(10).await;
    assert_eq!(lab.value(FAILED_TWO), Some(2), "what failed in between");
    assert_eq!(lab.state("two", "3"), "failed");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_refused_changes_nothing() {
    let lab = Lab::new(TWO, |_| ());
    lab.minutes(1).await;
    let before = [lab.snapshot("one"), lab.snapshot("two")];
    let broken = Config::parse("sources: [{name: x}]", "new.yml", &Environment::default());
    let refusal = lab.control.take_over(broken).await.unwrap_err().to_string();
    assert!(refusal.contains("new.yml:1:"), "{refusal}");
    let successful = "dbtask_exporter_config_last_reload_successful";
    assert_eq!(lab.value(successful), Some(0));
    let after = [lab.snapshot("one"), lab.snapshot("two")];
    assert!(before.iter().zip(&after).all(|(before, after)| Arc::ptr_eq(before, after)));
    lab.minutes(75).await;
    assert_eq!((lab.value(FAILED_ONE), lab.value(FAILED_TWO)), (Some(1), Some(1)));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_not_tried_more_often_for_a_reload() {
    let mut lab = Lab::new(TWO, |_| ());
    lab.inject("one", FaultKind::Unauthorized);
    lab.inject("two", FaultKind::Unauthorized);
    lab.minutes(30).await;
    let (calls, begun) = (lab.cloud.request_count(), Instant::now());
    for minutes in 1..30 {
        lab.reload(|config| config.sources[0].poll.timeout = Duration::from_secs(minutes)).await;
        lab.reload_without("two").await;
        lab.reload(|config| config.sources.push(two_of(config))).await;
        lab.minutes(1).await;
    }
    // One try in six minutes, over all sources of the key.
    let most = begun.elapsed().as_secs() / 360 + 1;
    assert!(lab.cloud.request_count() - calls <= most, "{}", lab.cloud.request_count() - calls);
    lab.stop().await;
}

/// The source `two` as it was, made of `one`, which has its account.
fn two_of(config: &Config) -> dbtask_exporter::config::SourceConfig {
    let mut two = config.sources[0].clone();
    two.name = String::from("two");
    two.target.region = String::from("ap-shanghai");
    two
}

#[tokio::test(start_paused = true)]
async fn a_daily_budget_is_not_exceeded_by_one_however_often_it_is_reloaded() {
    const LIMIT: u64 = 150;
    let limited = |config: &mut Config| {
        for source in &mut config.sources {
            source.daily_budget = Some(LIMIT);
        }
    };
    let mut lab = Lab::new(TWO, limited);
    // Until the first midnight, UTC, and no further.
    for step in 1..=57 {
        lab.minutes(10).await;
        match step % 3 {
            0 => {
                let more = Duration::from_secs(1);
                lab.reload(|config| config.sources[0].poll.timeout += more).await;
            }
            1 => {
                lab.reload_without("two").await;
            }
            _ => {
                lab.reload(|config| config.sources.push(two_of(config))).await;
            }
        }
        assert!(lab.cloud.request_count() <= LIMIT, "step {step}: {}", lab.cloud.request_count());
    }
    assert!(lab.cloud.request_count() > LIMIT / 2, "{}", lab.cloud.request_count());
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_in_trouble_delays_no_other_of_the_same_cloud() {
    let scenario =
        TWO.replace("region: ap-shanghai\n    account: a", "region: ap-shanghai\n    account: b");
    let mut lab = Lab::new(&scenario, |config| config.sources[0].daily_budget = Some(20));
    lab.inject("one", FaultKind::Unauthorized);
    lab.minutes(60).await;
    let good = || lab.value("dbtask_source_polls_total{source=\"two\"}").unwrap();
    assert!(!lab.snapshot("one").up && lab.snapshot("two").up);
    assert!(good() >= 119, "{}", good());
    lab.reload(|config| config.sources[0].poll.timeout += Duration::from_secs(1)).await;
    lab.cloud.heal("one");
    lab.minutes(600).await;
    assert!(lab.snapshot("two").up);
    let good = lab.value("dbtask_source_polls_total{source=\"two\"}").unwrap();
    assert!(good >= 119 + 300, "{good}");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_wait_for_a_poll_that_hangs() {
    let mut lab = Lab::new(TWO, |config| {
        for source in &mut config.sources {
            source.poll.timeout = Duration::from_mins(10);
        }
    });
    lab.minutes(1).await;
    lab.inject("one", FaultKind::Hang);
    lab.minutes(1).await;
    let begun = Instant::now();
    lab.reload(|config| config.sources[0].poll.interval = Duration::from_secs(5)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    lab.cloud.heal("one");
    lab.minutes(1).await;
    assert!(lab.snapshot("one").up);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_reloads_leave_no_task_behind() {
    let mut lab = Lab::new(TWO, |_| ());
    lab.minutes(1).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for round in 0..300 {
        let interval = Duration::from_secs(30 + round % 2);
        lab.reload(|config| config.sources[0].poll.interval = interval).await;
        lab.reload_without("two").await;
        lab.reload(|config| config.sources.push(two_of(config))).await;
        lab.seconds(1).await;
    }
    assert_eq!(alive(), before);
    lab.stop().await;
}

/// Clouds on a port, and a folder with a configuration for them.
struct World {
    folder: tempfile::TempDir,
    /// The configuration with both sources.
    both: String,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    async fn new() -> Self {
        let scenario = Scenario::parse(TWO).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let both = cloud.configuration(&format!("http://{}", listener.local_addr().unwrap()));
        let shutdown = CancellationToken::new();
        tokio::spawn(cloud.serve(listener, shutdown.clone()));
        let world = Self { folder: tempfile::tempdir().unwrap(), both, shutdown };
        world.write(&world.one());
        world
    }

    /// The configuration with the first source alone.
    fn one(&self) -> String {
        let mut text = self.both.clone();
        let second = text.find("- name: two").or_else(|| text.find("- name: \"two\"")).unwrap();
        let rest = text[second..].find("\ncredentials:").map(|end| text.split_off(second + end));
        text.truncate(text[..second].trim_end().len());
        let _ = writeln!(text, "{}", rest.unwrap_or_default());
        text
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("config.yml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn start(&self, flags: &[&str]) -> Exporter {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"));
        command.args(flags);
        Exporter::start_as(command, &self.file(), &self.folder.path().join("journal"))
    }
}

fn is_up(text: &str, source: &str) -> bool {
    text.contains(&format!("dbtask_source_up{{source=\"{source}\"}} 1"))
}

fn is_good(text: &str) -> bool {
    text.contains("dbtask_exporter_config_last_reload_successful 1")
}

#[tokio::test]
async fn sighup_reloads_and_a_broken_file_leaves_the_old_in_force() {
    let world = World::new().await;
    let exporter = world.start(&[]);
    exporter
        .until("one source", |text| is_up(text, "one") && !text.contains("source=\"two\""))
        .await;
    world.write(&world.both);
    exporter.signal("HUP").await;
    exporter.until("both", |text| is_up(text, "one") && is_up(text, "two") && is_good(text)).await;
    world.write("sources: [{name: two, apy: tencent_cdb}]");
    exporter.signal("HUP").await;
    let text = exporter.until("a refusal", |text| !is_good(text)).await;
    assert!(is_up(&text, "one") && is_up(&text, "two"));
    assert_eq!(exporter.logged("unknown key").await, 1, "{}", exporter.log());
    std::fs::remove_file(world.file()).unwrap();
    exporter.signal("HUP").await;
    assert!(exporter.logged("No such file").await > 0, "{}", exporter.log());
    world.write(&world.one());
    exporter.signal("HUP").await;
    exporter.until("one again", |text| is_good(text) && !text.contains("source=\"two\"")).await;
    exporter.kill().await;
}

#[tokio::test]
async fn a_post_reloads_where_that_is_allowed_and_says_what_came_of_it() {
    let world = World::new().await;
    let closed = world.start(&[]);
    closed.until("serving", |text| is_up(text, "one")).await;
    let answer = closed.ask("POST", "/-/reload").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("--web.enable-lifecycle"),
        "{answer}"
    );
    closed.kill().await;

    let exporter = world.start(&["--web.enable-lifecycle"]);
    exporter.until("serving", |text| is_up(text, "one")).await;
    let answer = exporter.ask("GET", "/-/reload").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: POST"), "{answer}");
    world.write(&world.both);
    let answer = exporter.ask("POST", "/-/reload").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("1 sources unchanged; new: two"),
        "{answer}"
    );
    let ready = exporter.ask("GET", "/-/ready").await.unwrap();
    assert!(ready.starts_with("HTTP/1.1 200"), "it was ready, and still is: {ready}");
    world.write(
        &world.both.replace("region: ap-shanghai", "region: ap-shanghai\n  ca_file: gone.pem"),
    );
    let answer = exporter.ask("POST", "/-/reload").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("gone.pem"), "{answer}");
    exporter.until("both", |text| is_up(text, "two") && !is_good(text)).await;
    world.write(&world.both);
    let asked: Vec<_> = (0..20).map(|_| exporter.ask("POST", "/-/reload")).collect();
    for answer in futures_util::future::join_all(asked).await {
        assert!(answer.unwrap().contains("2 sources unchanged"), "all are answered");
    }
    exporter.kill().await;
}

#[tokio::test]
async fn reloads_leave_no_file_open() {
    let world = World::new().await;
    let exporter = world.start(&["--web.enable-lifecycle"]);
    exporter.until("serving", |text| is_up(text, "one")).await;
    let mut before = 0;
    for round in 0..200 {
        let text = if round % 2 == 0 { world.both.clone() } else { world.one() };
        world.write(&text);
        let answer = exporter.ask("POST", "/-/reload").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        if round == 19 {
            before = exporter.open_files();
        }
    }
    let after = exporter.open_files();
    // Connections to the clouds come and go.
    assert!(after <= before + 8, "{before} files were open after 20 reloads, {after} after 200");
    exporter.kill().await;
}

/// Replaces what `file` leads to by way of `..data`, as is done with a mounted `ConfigMap`.
fn swap(folder: &Path, version: &str, text: &str) {
    let data = folder.join(version);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("config.yml"), text).unwrap();
    let link = folder.join("..new");
    std::os::unix::fs::symlink(version, &link).unwrap();
    std::fs::rename(link, folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_changed_file_is_reloaded_by_itself_where_that_is_enabled() {
    let world = World::new().await;
    let folder = world.folder.path();
    std::fs::remove_file(world.file()).unwrap();
    swap(folder, "..1", &world.one());
    std::os::unix::fs::symlink("..data/config.yml", world.file()).unwrap();
    let exporter = world.start(&["--config.enable-auto-reload"]);
    exporter.until("one", |text| is_up(text, "one")).await;
    swap(folder, "..2", &world.both);
    exporter.until("both", |text| is_up(text, "two") && is_good(text)).await;
    swap(folder, "..3", "sources: 7");
    exporter.until("a refusal", |text| is_up(text, "two") && !is_good(text)).await;
    swap(folder, "..4", &world.one());
    exporter.until("one again", |text| is_good(text) && !text.contains("source=\"two\"")).await;
    exporter.kill().await;
}
