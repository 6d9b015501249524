//! A failure is shown as soon as it is known; its text, where that takes a call of its own, follows.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::log::Format;
use dbtask_simulator::{Fault, FaultKind};
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{Lab, Log};

const LIST: &str = "DescribeTaskList";
const INFO: &str = "DescribeTaskInfo";
/// What [`INFO`] may be called a second.
const RATE: u64 = 15;
/// When the tasks of [`redis`] fail.
const FAILURE: u64 = 600;

/// A Redis source whose tasks `1` to `count` run for ten minutes and fail, all at once, and whose
/// task `1000` runs on.
fn redis(count: u32) -> String {
    let mut scenario = "sources:
  - name: one
    api: tencent_redis
    region: ap-guangzhou
    resources: [{id: crs-1}]
    tasks:
      - {id: '1000', resource: crs-1, kind: '003', life: [{hang: {}}]}
"
    .to_owned();
    for id in 1..=count {
        let life =
            format!("[{{run: {{for: {FAILURE}s}}}}, {{fail: {{message: 'node {id} is full'}}}}]");
        writeln!(scenario, "      - {{id: '{id}', resource: crs-1, kind: '003', life: {life}}}")
            .unwrap();
    }
    scenario
}

/// The operations that were asked for, and when.
type Calls = Arc<Mutex<Vec<(Duration, String, String)>>>;

/// A lab whose calls are written down, with what they were about, where `tamper` may answer
/// [`INFO`].
fn watched(
    scenario: &str,
    adjust: impl FnOnce(&mut Config),
    tamper: impl Fn(Duration, &str) -> Option<Response<Bytes>> + Send + Sync + 'static,
) -> (Lab, Calls) {
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let lab = Lab::through(scenario, adjust, move |elapsed, request| {
        let action = request.headers().get("x-tc-action").unwrap().to_str().unwrap().to_owned();
        let id = task_id(request);
        let answer = (action == INFO).then(|| tamper(elapsed, &id)).flatten();
        log.lock().unwrap().push((elapsed, action, id));
        answer
    });
    (lab, calls)
}

fn task_id(request: &Request<Bytes>) -> String {
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    body["TaskId"].to_string()
}

/// When an operation was called.
fn times(calls: &Calls, operation: &str) -> Vec<Duration> {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|(_, called, _)| called == operation).map(|(time, ..)| *time).collect()
}

/// The tasks whose texts were asked for, one after the other.
fn asked(calls: &Calls) -> Vec<String> {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|(_, called, _)| called == INFO).map(|(.., id)| id.clone()).collect()
}

/// When polls began, of which each asks for two lists at once.
fn polls(calls: &Calls) -> Vec<u64> {
    let mut seconds: Vec<u64> = times(calls, LIST).iter().map(Duration::as_secs).collect();
    seconds.dedup();
    seconds
}

/// How many tasks are shown as failed, and how many of them with a text.
fn failed(lab: &Lab) -> (usize, usize) {
    let snapshot = lab.snapshot("one");
    let tasks = snapshot.tasks.iter().chain(&snapshot.hidden);
    let failed = tasks.filter(|tracked| tracked.task.state.as_str() == "failed");
    let texts = failed.clone().filter(|tracked| tracked.task.error.is_some());
    (failed.count(), texts.count())
}

fn refused(code: &str) -> Response<Bytes> {
    let body =
        format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"no"}},"RequestId":"x"}}}}"#);
    Response::builder().status(StatusCode::OK).body(body.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn five_hundred_failures_at_once_are_shown_and_counted_with_the_list_that_shows_them() {
    let (lab, _) = watched(&redis(500), |_| {}, |_, _| None);
    for _ in 0..FAILURE / 15 {
        lab.scrape_by(1);
        lab.seconds(15).await;
    }
    lab.scrape_by(1);
    assert_eq!(failed(&lab), (0, 0));
    lab.seconds(31).await;
    assert_eq!(failed(&lab).0, 500);
    assert_eq!(lab.sum("dbtask_task_failures_total"), 500);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn texts_follow_at_the_rate_of_the_api_and_delay_no_poll() {
    let (lab, calls) = watched(&redis(500), |_| {}, |_, _| None);
    lab.seconds(FAILURE + 31).await;
    let (_, early) = failed(&lab);
    assert!(early > 0, "texts are shown as they come");
    lab.seconds(500 / RATE + 3).await;
    assert_eq!(failed(&lab), (500, 500));
    let text = lab.task("one", "77").unwrap().task.error.unwrap();
    assert_eq!(&*text.message, "node 77 is full");
    lab.minutes(30).await;
    assert_eq!(times(&calls, INFO).len(), 500, "each is asked for once");
    let gaps: Vec<u64> = polls(&calls).windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|&gap| gap == 30), "{gaps:?}");
    let window = usize::try_from(RATE + RATE / 5 + 1).unwrap();
    for calls in times(&calls, INFO).windows(window) {
        assert!(calls[0] + Duration::from_secs(1) <= calls[window - 1], "{calls:?}");
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_failure_is_the_first_whose_text_is_asked_for() {
    let mut scenario = redis(100);
    for id in 2001..=2003 {
        let at = FAILURE + 25 + id - 2000;
        let life = "[{run: {for: 1s}}, {fail: {message: late}}]";
        writeln!(scenario, "      - {{id: '{id}', resource: crs-1, at: {at}s, life: {life}}}")
            .unwrap();
    }
    // One a second, so that many are left when more fail.
    scenario += "    faults: [{kind: slow, operation: DescribeTaskInfo, delay: 1s}]\n";
    let (lab, calls) = watched(&scenario, |_| {}, |_, _| None);
    lab.minutes(15).await;
    let asked = asked(&calls);
    let position = |id: &str| asked.iter().position(|other| other == id).unwrap();
    let late: Vec<usize> = ["2003", "2002", "2001"].map(position).to_vec();
    assert!(late.is_sorted() && late[2] == late[0] + 2, "{asked:?}");
    assert!(late[0] < 50, "they overtake those that failed before: {asked:?}");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(&redis(300), folder.path(), |_| {}).await;
    let mut seen = 0;
    let mut lab = lab;
    while failed(&lab).0 == 0 {
        lab.seconds(1).await;
    }
    for _ in 0..3 {
        lab.seconds(5).await;
        let (all, texts) = failed(&lab);
        assert!(all == 300 && texts >= seen, "{texts} texts of {all}: what was shown stays");
        seen = texts;
        lab = lab.crash().await.start();
    }
    assert!((1..300).contains(&seen), "{seen} texts before the last restart");
    lab.minutes(2).await;
    assert_eq!(failed(&lab), (300, 300));
    let asked = lab.calls(INFO);
    assert!(asked <= 300 + 4 * 2 * RATE, "{asked} calls: few are made twice");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_refused_is_asked_for_again_with_growing_pauses_and_given_up() {
    let (lab, calls) = watched(
        &redis(2),
        |_| {},
        |_, id| (id == "1").then(|| refused("ResourceNotFound.InstanceNotFound")),
    );
    lab.minutes(15).await;
    assert_eq!(failed(&lab), (2, 1));
    lab.minutes(10 * 60).await;
    let times: Vec<u64> = {
        let calls = calls.lock().unwrap();
        let of_it = calls.iter().filter(|(_, operation, id)| operation == INFO && id == "1");
        of_it.map(|(time, ..)| time.as_secs()).collect()
    };
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [30, 60, 120, 240], "{times:?}");
    assert!(lab.snapshot("one").up);
    assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_was_refused_for_a_while_comes() {
    let (lab, _) = watched(
        &redis(1),
        |_| {},
        |elapsed, _| (elapsed.as_secs() < FAILURE + 120).then(|| refused("ResourceNotFound")),
    );
    lab.minutes(15).await;
    assert_eq!(failed(&lab), (1, 1));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_with_texts_fails_no_poll_slows_no_source_and_loses_no_text() {
    for kind in [
        FaultKind::ServerError,
        FaultKind::Throttle,
        FaultKind::Forbidden,
        FaultKind::Hang,
        FaultKind::Reset,
        FaultKind::Malformed,
    ] {
        let (lab, calls) = watched(&redis(9), |_| {}, |_, _| None);
        let fault = Fault { operation: Some(INFO.to_owned()), ..Fault::new(kind) };
        lab.cloud.inject("one", fault);
        lab.minutes(30).await;
        assert_eq!(failed(&lab), (9, 0), "{kind:?}");
        assert!(lab.snapshot("one").up, "{kind:?}");
        assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{kind:?}");
        let gaps: Vec<u64> = polls(&calls).windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|&gap| gap == 30), "{kind:?}: {gaps:?}");
        // What is wrong with each is known after a few tries; what is wrong with all, sooner.
        assert!(times(&calls, INFO).len() <= 9 * 5, "{kind:?}");
        lab.cloud.heal("one");
        lab.minutes(30).await;
        // Each answer in itself made no sense, so each was given up.
        let texts = if kind == FaultKind::Malformed { 0 } else { 9 };
        assert_eq!(failed(&lab), (9, texts), "{kind:?}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn texts_come_though_polls_follow_each_other_without_a_pause() {
    let mut scenario = redis(5);
    scenario += "    faults: [{kind: slow, delay: 2s}]\n";
    let adjust = |config: &mut Config| config.sources[0].poll.interval = Duration::from_secs(1);
    let (lab, _) = watched(&scenario, adjust, |_, _| None);
    lab.minutes(12).await;
    assert_eq!(failed(&lab), (5, 5));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scarce_budget_is_for_polls_and_texts_take_turns_with_them() {
    let budget = 500;
    let limit = move |config: &mut Config| config.sources[0].daily_budget = Some(budget);
    let (lab, calls) = watched(&redis(100), limit, |_, _| None);
    // Two lists each half minute for the rest of the day are more than there is.
    lab.minutes(30).await;
    assert_eq!(failed(&lab).0, 100);
    let since = polls(&calls).iter().filter(|&&second| second >= FAILURE).count();
    let texts = times(&calls, INFO).len();
    assert!((since - 1..=since).contains(&texts), "{texts} texts beside {since} polls");
    lab.minutes(9 * 60).await;
    let longest = polls(&calls).windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest <= Some(40 * 60), "{longest:?} s between two polls");
    let today = calls.lock().unwrap().iter().filter(|(time, ..)| time.as_secs() < 35_200).count();
    assert!(today <= usize::try_from(budget).unwrap(), "{today} calls");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_with_plenty_left_does_not_slow_texts_down_nor_polls_after_them() {
    let limit = |config: &mut Config| config.sources[0].daily_budget = Some(8_000);
    let (lab, _) = watched(&redis(100), limit, |_, _| None);
    lab.seconds(FAILURE + 31 + 100 / RATE + 3).await;
    assert_eq!(failed(&lab), (100, 100));
    lab.minutes(2).await;
    assert_eq!(lab.snapshot("one").poll_interval, Duration::from_secs(30));
    assert_eq!(lab.snapshot("one").calls.on(lab.cloud_now()), lab.cloud.request_count());
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_a_failure_at_once_and_its_text_when_it_comes() {
    let log = Log::listen_in(Format::Json);
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = redis(1);
    // One that is there at the start, and is no news.
    scenario += "      - {id: '7', resource: crs-1, kind: '003', at: -1h, life: [{fail: {message: old}}]}\n";
    scenario +=
        "    faults: [{kind: server_error, operation: DescribeTaskInfo, from: 9m, for: 9m}]\n";
    let lab = Lab::stored(&scenario, folder.path(), |_| {}).await;
    lab.minutes(12).await;
    let line = |text: &str| -> Vec<Value> {
        log.lines(text).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let [failure] = &line("\"to\":\"failed\"")[..] else { panic!("{}", log.text()) };
    assert_eq!((&failure["task_id"], &failure["error_message"]), (&"1".into(), &Value::Null));
    assert!(line("task error").is_empty());
    let lab = lab.crash().await.start();
    lab.minutes(20).await;
    let [text] = &line("task error")[..] else { panic!("{}", log.text()) };
    let fields: BTreeSet<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "timestamp",
        "level",
        "target",
        "message",
        "source",
        "task_id",
        "kind",
        "resource_id",
        "error_code",
        "error_message",
    ];
    assert_eq!(fields, BTreeSet::from(known));
    assert_eq!((&text["task_id"], &text["error_message"]), (&"1".into(), &"node 1 is full".into()));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn polling_once_brings_the_texts_too() {
    let scenario = redis(3).replace(
        &format!("kind: '003', life: [{{run: {{for: {FAILURE}s}}}}, "),
        "kind: '003', at: -1h, life: [",
    );
    assert!(scenario.contains("-1h"));
    let (exporter, cloud) = Lab::unstarted(&scenario);
    let start = Instant::now();
    let snapshots = exporter.poll_once().await;
    let errors = snapshots[0].tasks.iter().filter(|tracked| tracked.task.error.is_some());
    assert_eq!((errors.count(), cloud.request_count()), (3, 2 + 3));
    assert!(start.elapsed() < Duration::from_secs(2));
}
