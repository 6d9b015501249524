//! What is kept of a task, what becomes unknown, and what is forgotten: each rule in virtual time.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::catalog::APIS;
use dbtask_exporter::config::Config;
use dbtask_simulator::{Fault, FaultKind};
use http::Response;

use crate::support::{Lab, Log, one_task};

/// The job that an AnalyticDB cluster carries, which has no id of the vendor's. It lives as told.
fn job(life: &str) -> String {
    format!(
        "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{{id: am-1}}]
    tasks: [{{id: job-1, resource: am-1, kind: ScaleOut, life: {life}}}]
"
    )
}

/// When the only task that is shown was last seen.
fn last_seen(lab: &Lab) -> dbtask_clouds::model::Timestamp {
    lab.snapshot("one").tasks[0].last_seen
}

/// The state of the only task that is shown; `-` if there is none.
fn state(lab: &Lab) -> &'static str {
    match &*lab.snapshot("one").tasks {
        [] => "-",
        [only] => only.task.state.as_str(),
        more => panic!("{} tasks", more.len()),
    }
}

/// Polls at one interval, busy or idle.
fn every(config: &mut Config, interval: Duration) {
    let poll = &mut config.sources[0].poll;
    poll.interval = interval;
    poll.idle_interval = interval;
    poll.stale_after = interval * 3;
}

fn failures(lab: &Lab) -> u64 {
    lab.sum("dbtask_task_failures_total")
}

fn is_up(lab: &Lab) -> bool {
    lab.snapshot("one").up
}

#[tokio::test(start_paused = true)]
async fn a_failed_poll_keeps_the_last_tasks() {
    for api in APIS {
        let lab = Lab::new(&one_task(api.facts.name, "[{hang: {}}]"), |_| {});
        lab.minutes(1).await;
        lab.inject("one", FaultKind::ServerError);
        lab.minutes(10).await;
        assert!(!is_up(&lab), "{}", api.facts.name);
        assert_eq!(state(&lab), "running", "{}", api.facts.name);
        lab.cloud.heal("one");
        lab.minutes(6).await;
        assert!(is_up(&lab), "backoff never waits longer than five minutes: {}", api.facts.name);
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_task_is_unknown_once_no_good_answer_named_it_for_stale_after() {
    for api in APIS {
        let lab = Lab::new(&one_task(api.facts.name, "[{hang: {}}]"), |config| {
            config.sources[0].poll.stale_after = Duration::from_mins(20);
        });
        lab.minutes(1).await;
        lab.inject("one", FaultKind::Reset);
        lab.minutes(1).await;
        let known_for = last_seen(&lab);
        let mut running_for = 0;
        while state(&lab) == "running" {
            lab.seconds(1).await;
            running_for += 1;
            assert!(running_for < 3600, "{}", api.facts.name);
        }
        // A good answer at most 30 s before the fault; seconds are whole.
        assert!(
            (18 * 60..=19 * 60 + 1).contains(&running_for),
            "{}: {running_for} s",
            api.facts.name
        );
        assert_eq!(state(&lab), "unknown");
        assert_eq!(last_seen(&lab), known_for, "the age is not hidden");
        lab.minutes(5 * 60).await;
        assert_eq!(state(&lab), "unknown", "it is never dropped for its age: {}", api.facts.name);
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_does_not_go_stale() {
    let lab = Lab::new(&one_task("tencent_cdb", "[{run: {for: 1m}}, {finish: {}}]"), |_| {});
    lab.minutes(2).await;
    lab.inject("one", FaultKind::Reset);
    lab.minutes(40).await;
    assert_eq!(state(&lab), "succeeded");
    lab.minutes(25).await;
    assert_eq!(state(&lab), "-", "its retention goes on while polls fail");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_goes_stale_even_while_its_poll_is_under_way() {
    let lab = Lab::new(&one_task("tencent_cdb", "[{hang: {}}]"), |config| {
        config.sources[0].poll.timeout = Duration::from_hours(10);
    });
    lab.minutes(1).await;
    lab.inject("one", FaultKind::Hang);
    lab.minutes(10).await;
    assert_eq!(state(&lab), "running");
    lab.minutes(10).await;
    assert_eq!(state(&lab), "unknown");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_list_leaves_out_is_asked_for_by_its_id() {
    for (api, action, empty) in [
        ("tencent_redis", "DescribeTaskList", r#"{"Response":{"TotalCount":0,"Tasks":[]}}"#),
        ("huawei_dds", "/v3.1/", r#"{"jobs":[]}"#),
    ] {
        // After ten minutes the list is empty.
        let lab = Lab::through(
            &one_task(api, "[{run: {for: 30m}}, {fail: {}}]"),
            |_| {},
            move |elapsed, request| {
                let headers = request.headers();
                let is_list = headers.get("x-tc-action").is_some_and(|value| value == action)
                    || request.uri().path().starts_with(action);
                (is_list && elapsed > Duration::from_mins(10))
                    .then(|| Response::new(Bytes::from_static(empty.as_bytes())))
            },
        );
        lab.minutes(29).await;
        assert_eq!(state(&lab), "running", "{api}");
        lab.minutes(10).await;
        assert_eq!(state(&lab), "failed", "{api}");
        assert_eq!(failures(&lab), 1, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_vanished_task_becomes_unknown_and_goes_after_one_retention() {
    let life = "[{run: {for: 10m}}, {vanish: {}}]";
    for scenario in APIS.iter().map(|api| one_task(api.facts.name, life)).chain([job(life)]) {
        let log = Log::listen();
        let lab = Lab::new(&scenario, |_| {});
        lab.minutes(9).await;
        assert_eq!(state(&lab), "running", "{scenario}");
        lab.minutes(2).await;
        assert_eq!(state(&lab), "unknown", "{scenario}");
        assert_eq!(lab.value("dbtask_tasks{source=\"one\",state=\"unknown\"}"), Some(1));
        lab.minutes(57).await;
        assert_eq!(state(&lab), "unknown", "{scenario}");
        lab.minutes(5).await;
        assert_eq!(state(&lab), "-", "{scenario}");
        assert!(is_up(&lab), "{scenario}");
        let lines = log.lines("out of sight, and its end has not");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("level=warn") && lines[0].contains("from=running to=unknown"));
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn absence_is_never_success() {
    let life = "[{run: {for: 10m}}, {vanish: {}}]";
    for scenario in APIS.iter().map(|api| one_task(api.facts.name, life)).chain([job(life)]) {
        let lab = Lab::new(&scenario, |_| {});
        for _ in 0..90 {
            lab.minutes(1).await;
            assert_eq!(lab.value("dbtask_tasks{source=\"one\",state=\"succeeded\"}"), Some(0));
        }
        assert_eq!(lab.sum("dbtask_task_completions_total"), 0, "{scenario}");
        assert_eq!(failures(&lab), 0, "{scenario}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_complete_makes_nothing_vanish() {
    let scenario = one_task("alibaba_polardb", "[{run: {for: 10m}}, {vanish: {}}]");
    let lab = Lab::new(&scenario, |_| {});
    lab.minutes(9).await;
    // Half of the answers are broken, so that hardly any poll is whole.
    lab.cloud.inject("one", Fault { share: 0.9, ..Fault::new(FaultKind::Malformed) });
    lab.minutes(13).await;
    assert_eq!(state(&lab), "running");
    lab.minutes(10).await;
    assert_eq!(state(&lab), "unknown", "stale, and still to be asked for");
    lab.minutes(120).await;
    assert_eq!(state(&lab), "unknown");
    lab.cloud.heal("one");
    lab.minutes(70).await;
    assert_eq!(state(&lab), "-");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_goes_after_an_hour_and_a_failed_one_after_a_day() {
    for (end, retention) in [("finish", 60), ("cancel", 60), ("fail", 24 * 60)] {
        let life = format!("[{{run: {{for: 10m}}}}, {{{end}: {{}}}}]");
        let lab = Lab::new(&one_task("tencent_cdb", &life), |_| {});
        lab.minutes(10 + retention - 2).await;
        assert_ne!(state(&lab), "-", "{end}");
        lab.minutes(4).await;
        assert_eq!(state(&lab), "-", "{end}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retention_counts_from_the_first_poll_that_saw_the_end_however_old_that_is() {
    for (end, retention) in [("finish", 60), ("fail", 24 * 60)] {
        // It ended 19 hours ago, and the vendor lists it for another 30 days.
        let life = format!("[{{run: {{for: 1h}}}}, {{{end}: {{}}}}]");
        let scenario = one_task("tencent_cdb", &life).replace("kind:", "at: -20h, kind:");
        let lab = Lab::new(&scenario, |config| {
            config.sources[0].poll.lookback = Duration::from_hours(100);
        });
        lab.minutes(retention - 1).await;
        assert_ne!(state(&lab), "-", "{end}");
        lab.minutes(3).await;
        assert_eq!(state(&lab), "-", "{end}");
        lab.minutes(60).await;
        assert_eq!(state(&lab), "-", "{end}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlives_the_lookback_is_still_seen_to_fail() {
    // Three days of work, a lookback of one: no list by start time shows its end.
    for api in APIS {
        let life = "[{run: {for: 72h}}, {fail: {code: '7', message: no space}}]";
        let lab = Lab::new(&one_task(api.facts.name, life), |config| {
            every(config, Duration::from_hours(1));
        });
        lab.minutes(71 * 60).await;
        assert_eq!(state(&lab), "running", "{}", api.facts.name);
        lab.minutes(122).await;
        assert_eq!(state(&lab), "failed", "{}", api.facts.name);
        assert_eq!(failures(&lab), 1, "{}", api.facts.name);
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_runner_never_expires() {
    let life = "[{run: {for: 960h}}, {fail: {message: at last}}]";
    // Forty days, for every API but those of Alibaba that show nothing of a task for so long.
    let apis = APIS.iter().filter(|api| !api.facts.forgets);
    for scenario in apis.map(|api| one_task(api.facts.name, life)).chain([job(life)]) {
        let lab = Lab::new(&scenario, |config| every(config, Duration::from_hours(6)));
        lab.seconds(10).await;
        for day in 0..40 {
            assert_eq!(state(&lab), "running", "day {day}: {scenario}");
            lab.minutes(24 * 60).await;
        }
        lab.minutes(7 * 60).await;
        assert_eq!(state(&lab), "failed", "{scenario}");
        assert_eq!(failures(&lab), 1, "{scenario}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_runner_that_the_vendor_stops_listing_is_unknown_and_log_and_metrics_say_so() {
    let log = Log::listen();
    let lab = Lab::new(&one_task("alibaba_polardb", "[{hang: {}}]"), |config| {
        every(config, Duration::from_hours(6));
    });
    lab.seconds(10).await;
    let unknown = || lab.value("dbtask_tasks{source=\"one\",state=\"unknown\"}");
    let mut hours = 0;
    while state(&lab) == "running" {
        assert_eq!(log.lines("out of sight, and its end has not"), [""; 0]);
        assert_eq!(unknown(), Some(0));
        lab.minutes(60).await;
        hours += 1;
    }
    assert!((30 * 24..=30 * 24 + 7).contains(&hours), "after {hours} hours");
    assert_eq!((state(&lab), unknown()), ("unknown", Some(1)));
    lab.minutes(120).await;
    assert_eq!((state(&lab), unknown()), ("-", Some(0)), "after its retention");
    let lines = log.lines("out of sight, and its end has not");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("level=warn") && lines[0].contains("task_id=1"), "{lines:?}");
    assert_eq!(lab.sum("dbtask_task_completions_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_back_is_as_if_it_had_never_been_away() {
    // Away for less than its retention, and for longer.
    for away in [30, 180] {
        let life = format!(
            "[{{run: {{for: 10m}}}}, {{vanish: {{for: {away}m}}}}, {{run: {{for: 30m}}}}, {{fail: {{}}}}]"
        );
        for api in APIS {
            let lab = Lab::new(&one_task(api.facts.name, &life), |config| {
                every(config, Duration::from_mins(5));
            });
            lab.minutes(16).await;
            assert_eq!(state(&lab), "unknown", "{}", api.facts.name);
            lab.minutes(away).await;
            assert_eq!(state(&lab), "running", "{}", api.facts.name);
            assert_eq!(failures(&lab), 0);
            lab.minutes(40).await;
            assert_eq!(state(&lab), "failed", "{}", api.facts.name);
            assert_eq!(failures(&lab), 1, "{}", api.facts.name);
            lab.minutes(60).await;
            assert_eq!(failures(&lab), 1, "{}", api.facts.name);
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_back_ended_is_counted_once() {
    for away in [30, 180] {
        let life = format!("[{{run: {{for: 10m}}}}, {{vanish: {{for: {away}m}}}}, {{fail: {{}}}}]");
        for api in APIS {
            let lab = Lab::new(&one_task(api.facts.name, &life), |config| {
                every(config, Duration::from_mins(5));
            });
            lab.minutes(away + 20).await;
            assert_eq!(state(&lab), "failed", "{}", api.facts.name);
            assert_eq!(failures(&lab), 1, "{}", api.facts.name);
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_task_is_what_it_was_after_the_first_good_poll_and_is_counted_once() {
    for api in APIS {
        let lab = Lab::new(&one_task(api.facts.name, "[{run: {for: 2h}}, {fail: {}}]"), |config| {
            every(config, Duration::from_mins(5));
        });
        lab.minutes(6).await;
        lab.inject("one", FaultKind::Reset);
        lab.minutes(30).await;
        assert_eq!(state(&lab), "unknown", "{}", api.facts.name);
        lab.cloud.heal("one");
        lab.minutes(6).await;
        assert_eq!(state(&lab), "running", "{}", api.facts.name);
        lab.minutes(90).await;
        assert_eq!((state(&lab), failures(&lab)), ("failed", 1), "{}", api.facts.name);
        lab.stop().await;
    }
}
