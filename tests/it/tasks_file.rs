//! A tasks file that changes while the exporter runs: a real file, virtual time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dbtask_exporter::config::Config;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::FaultKind;
use tempfile::TempDir;

use crate::support::Lab;

/// AnalyticDB, which cannot list its tasks.
const THREE: &str = "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{id: am-1}]
    tasks:
      - {id: '1', resource: am-1, kind: RESIZE, life: [{hang: {}}]}
      - {id: '2', resource: am-1, kind: RESIZE, life: [{run: {for: 10h}}, {fail: {}}]}
      - {id: '3', resource: am-1, kind: RESIZE, life: [{hang: {}}]}
";

/// A running exporter whose source has this tasks file, besides the task 1 in its configuration.
struct Watched {
    lab: Lab,
    folder: TempDir,
}

impl Watched {
    async fn new(listed: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.yml");
        fs::write(&path, listed).unwrap();
        let lab = Lab::new(THREE, |config| {
            let source = &mut config.sources[0];
            // So that a poll at the right time is no accident.
            source.poll.interval = Duration::from_hours(1);
            source.poll.idle_interval = Duration::from_hours(1);
            source.poll.stale_after = Duration::from_hours(3);
            source.tasks =
                source.tasks_with(&path, Ok(b"[{id: 1, resource: am-1}]".into())).unwrap();
            let tasks = source.tasks_with(&path, fs::read(&path)).unwrap();
            source.tasks_in_file = tasks[source.tasks.len()..].to_vec();
            source.tasks_file = Some(path);
        });
        let watched = Self { lab, folder };
        watched.lab.seconds(10).await;
        watched
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tasks.yml")
    }

    /// Replaces the file, and gives the exporter the time in which it promises to notice.
    async fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        self.lab.seconds(32).await;
    }

    /// Reloads the configuration, for which the file is read as it is now.
    async fn reload(&mut self) {
        let content = fs::read(self.path());
        self.lab
            .reload(|config| {
                let source = &mut config.sources[0];
                let path = source.tasks_file.clone().unwrap();
                let tasks = source.tasks_with(&path, content).unwrap();
                source.tasks_in_file = tasks[source.tasks.len()..].to_vec();
            })
            .await;
    }

    /// The states of the three tasks; `-` for what is not shown.
    fn states(&self) -> [&'static str; 3] {
        ["1", "2", "3"].map(|id| self.lab.state("one", id))
    }

    fn reload_successful(&self) -> bool {
        self.lab.value("dbtask_exporter_config_last_reload_successful") == Some(1)
    }

    fn polls(&self) -> u64 {
        self.lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_new_in_the_file_is_polled_at_once() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    assert_eq!(watched.states(), ["running", "running", "-"]);
    watched.write("[{id: 2, resource: am-1}, {id: 3, resource: am-1}]").await;
    assert_eq!(watched.states(), ["running", "running", "running"]);
    assert!(watched.reload_successful());
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_the_same_causes_no_poll() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    assert_eq!(watched.polls(), 1);
    watched.write("# now with a comment\n[{id: 2, resource: am-1}]").await;
    assert_eq!(watched.polls(), 1);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_out_is_unknown_for_one_retention_and_asked_for_no_more() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    watched.write("").await;
    assert_eq!(watched.states(), ["running", "unknown", "-"]);
    assert!(watched.reload_successful(), "a list may be empty");
    let asked = || {
        let requests = watched.lab.cloud.requests();
        let of_it = requests.iter().filter(|(handled, _)| handled.operation == "DescribeTaskInfo");
        of_it.map(|(_, count)| count).sum::<u64>()
    };
    let before = asked();
    watched.lab.minutes(190).await;
    assert_eq!(watched.states(), ["running", "-", "-"]);
    assert_eq!(asked() - before, 3, "once an hour, for the task that is left");
    assert!(watched.lab.snapshot("one").up);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_comes_back_is_followed_again_and_its_failure_counted_once() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    watched.write("").await;
    watched.lab.minutes(60).await;
    watched.write("[{id: 2, resource: am-1}]").await;
    assert_eq!(watched.states()[1], "running");
    watched.lab.minutes(11 * 60).await;
    assert_eq!(watched.states()[1], "failed");
    watched.lab.scrape_by(1);
    let text = watched.lab.text();
    let failures = text.lines().find(|line| line.starts_with("dbtask_task_failures_total{"));
    assert!(failures.unwrap().ends_with(" 1"), "{failures:?}");
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_is_refused_whole_until_a_good_one_comes() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    for bad in [
        "[{id: 3, resource: am-1}, {id: 4}]",
        "[{id: 3, resource: am-1}, {id: 1, resource: am-1}]",
        "[{id: 3, resource: am-1}",
        "\u{0}",
        "tasks: [{id: 3, resource: am-1}]",
    ] {
        watched.write(bad).await;
        assert!(!watched.reload_successful(), "{bad}");
        assert_eq!(watched.states(), ["running", "running", "-"], "{bad}");
    }
    watched.write("[{id: 3, resource: am-1}]").await;
    assert!(watched.reload_successful());
    assert_eq!(watched.states(), ["running", "unknown", "running"]);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_version_before_a_refused_one_is_good_again() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    watched.write("[").await;
    assert!(!watched.reload_successful());
    watched.write("[{id: 2, resource: am-1}]").await;
    assert!(watched.reload_successful());
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_is_refused_and_its_tasks_go_on() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    fs::remove_file(watched.path()).unwrap();
    watched.lab.minutes(120).await;
    assert!(!watched.reload_successful());
    assert_eq!(watched.states(), ["running", "running", "-"]);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_put_right_is_asked_for_at_once() {
    let watched = Watched::new("[{id: 2, resource: am-wrong}]").await;
    assert_eq!(watched.states(), ["running", "-", "-"]);
    watched.write("[{id: 2, resource: am-1}]").await;
    assert_eq!(watched.states(), ["running", "running", "-"]);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_out_while_polls_fail_is_given_up_by_the_next_of_them() {
    let watched = Watched::new("[{id: 2, resource: am-1}]").await;
    watched.lab.inject("one", FaultKind::ServerError);
    watched.lab.minutes(60).await;
    assert_eq!(watched.states(), ["running", "running", "-"]);
    watched.write("").await;
    // No pause between polls that fail is longer than five minutes.
    watched.lab.minutes(6).await;
    assert_eq!(watched.states(), ["running", "unknown", "-"]);
    watched.lab.cloud.heal("one");
    watched.lab.minutes(6).await;
    assert_eq!(watched.states(), ["running", "unknown", "-"]);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_changed_back_right_after_a_reload_is_read_again() {
    let (before, after) = ("[{id: 2, resource: am-1}]", "[{id: 3, resource: am-1}]");
    let mut watched = Watched::new(before).await;
    fs::write(watched.path(), after).unwrap();
    watched.reload().await;
    watched.write(before).await;
    assert_eq!(watched.states()[..2], ["running", "running"], "what the file says");
    fs::write(watched.path(), after).unwrap();
    watched.reload().await;
    watched.lab.seconds(32).await;
    assert_eq!(watched.states(), ["running", "unknown", "running"], "a reload is in force");
    watched.write(before).await;
    watched.write(after).await;
    assert_eq!(watched.states(), ["running", "unknown", "running"], "and the file goes on to be");
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_and_a_bad_version_of_the_file_do_not_hide_each_other() {
    let mut watched = Watched::new("[{id: 2, resource: am-1}]").await;
    fs::write(watched.path(), "[{id: 3, resource: am-1}]").unwrap();
    watched.reload().await;
    watched.write("[").await;
    assert!(!watched.reload_successful());
    assert_eq!(watched.states(), ["running", "unknown", "running"]);
    watched.write("[{id: 3, resource: am-1}]").await;
    assert!(watched.reload_successful(), "as the reload has had it");
    watched.lab.stop().await;
}

#[test]
fn a_new_version_gets_the_checks_of_the_first() {
    let read = |text: &[u8]| {
        let config = "
sources:
  - name: adb
    api: alibaba_adb
    region: cn-hangzhou
    tasks: [{id: 7, resource: am-1}]
";
        let environment = Environment::default();
        let config = Config::parse(config, "config.yml", &environment).unwrap();
        let tasks = config.sources[0].tasks_with(Path::new("tasks.yml"), Ok(text.to_vec()));
        match tasks {
            Ok(tasks) => tasks.iter().map(|task| &*task.id).collect::<Vec<_>>().join(" "),
            Err(problems) => problems.to_string(),
        }
    };
    assert_eq!(read(b"[{id: 8, resource: am-1}]"), "7 8");
    assert_eq!(read(b""), "7");
    assert_eq!(
        read(b"- {id: 7, resource: am-1}\n- {id: 8}\n- {id: 9, resourse: am-1}\n"),
        "tasks.yml:1:3: [0]: the task \"7\" is listed twice\n\
         tasks.yml:2:3: [1]: needs a `resource`: alibaba_adb finds a task only by both\n\
         tasks.yml:3:3: [2]: needs a `resource`: alibaba_adb finds a task only by both\n\
         tasks.yml:3:11: [2].resourse: unknown key; did you mean \"resource\"?"
    );
    assert_eq!(read(b"a: \xff"), "tasks.yml: is not UTF-8 from byte 3 on");
    assert_eq!(read(b"a: 1"), "tasks.yml:1:1: must be a list");
}
