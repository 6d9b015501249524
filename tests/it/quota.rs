//! A small quota starves nobody: a scripted cloud admits so many calls in any minute, in virtual
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dbtask_exporter::config::Config;
use dbtask_simulator::{Fault, FaultKind};
use http::{Request, Response, StatusCode};
use tokio::time::Instant;

use crate::support::{Lab, place};

const MINUTE: Duration = Duration::from_mins(1);

/// The calls that were admitted lately, by operation, and how many were made in all.
#[derive(Debug, Default)]
struct Quota {
    admitted: BTreeMap<String, Vec<Duration>>,
    calls: usize,
}

impl Quota {
    /// Whether a call is one too many of `limit` in the minute before it.
    fn is_over(&mut self, operation: &str, limit: usize, now: Duration) -> bool {
        let admitted = self.admitted.entry(operation.to_owned()).or_default();
        admitted.retain(|&time| time + MINUTE > now);
        self.calls += 1;
        if admitted.len() >= limit {
            return true;
        }
        admitted.push(now);
        false
    }
}

/// The refusal of one call too many, in the vendor's words.
fn throttled(request: &Request<Bytes>) -> Response<Bytes> {
    let has = |name: &str| request.headers().contains_key(name);
    let (status, body) = if has("x-acs-action") {
        let body = r#"{"Code":"Throttling.User","Message":"Request was denied due to user flow control.","RequestId":"x","HostId":"h"}"#;
        (StatusCode::BAD_REQUEST, body)
    } else if has("x-tc-action") {
        let body = r#"{"Response":{"Error":{"Code":"RequestLimitExceeded","Message":"no"},"RequestId":"x"}}"#;
        (StatusCode::OK, body)
    } else {
        let body = r#"{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached"}"#;
        (StatusCode::TOO_MANY_REQUESTS, body)
    };
    Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
}

fn operation(request: &Request<Bytes>) -> String {
    let action =
        ["x-acs-action", "x-tc-action"].into_iter().find_map(|name| request.headers().get(name));
    let path = || request.uri().path().chars().take(8).collect();
    action.map_or_else(path, |action| action.to_str().unwrap().to_owned())
}

/// A lab whose cloud admits `limit` calls in any minute, of each operation or of all together.
fn limited(
    scenario: &str,
    limit: usize,
    shared: bool,
    adjust: impl FnOnce(&mut Config),
) -> (Lab, Arc<Mutex<Quota>>) {
    let quota = Arc::<Mutex<Quota>>::default();
    let counted = Arc::clone(&quota);
    let lab = Lab::through(scenario, adjust, move |elapsed, request| {
        let operation = if shared { String::new() } else { operation(request) };
        let is_over = counted.lock().unwrap().is_over(&operation, limit, elapsed);
        is_over.then(|| throttled(request))
    });
    (lab, quota)
}

/// A source whose tasks `1` to `count`, spread over its resources, fail `apart` from each other.
fn ending(api: &str, resources: u64, count: u64, apart: u64) -> String {
    let (region, resource) = place(api);
    let mut scenario =
        format!("sources:\n  - name: one\n    api: {api}\n    region: {region}\n    resources:\n");
    for index in 0..resources {
        writeln!(scenario, "      - {{id: {resource}-{index}}}").unwrap();
    }
    scenario += "    tasks:\n";
    let configured = api == "alibaba_adb";
    for id in 1..=count {
        let index = id % resources;
        let life = format!("[{{run: {{for: {}s}}}}, {{fail: {{message: no}}}}]", id * apart);
        writeln!(
            scenario,
            "      - {{id: '{id}', resource: {resource}-{index}, configured: {configured}, life: {life}}}"
        )
        .unwrap();
    }
    scenario
}

/// The longest that a round of so many calls takes at so many a minute, as docs/configuration.md
/// states it, in seconds.
fn round(calls: usize, limit: usize) -> u64 {
    60 * (2 * calls / limit + 6) as u64
}

#[tokio::test(start_paused = true)]
async fn whatever_the_quota_every_end_is_seen_in_the_stated_time() {
    // Clusters or instances, the calls of a round, and whether all operations share the quota.
    for (api, resources, calls, shared) in [
        ("alibaba_polardb", 8, 8 * 6, false),
        ("alibaba_polardb", 8, 8 * 6 + 1, true),
        ("alibaba_adb", 3, 8 + 1, true),
        ("huawei_dds", 3, 2, true),
        ("tencent_redis", 3, 2 + 1, true),
        ("tencent_cdb", 3, 2, true),
    ] {
        for limit in [1, 2, 5, 60] {
            let (count, bound) = (8, 2 * round(calls, limit));
            let apart = bound / 3;
            let scenario = ending(api, resources, count, apart);
            let (lab, _) = limited(&scenario, limit, shared, |config| {
                config.sources[0].poll.lookback = Duration::from_hours(72);
                config.sources[0].resources.clear();
            });
            let start = Instant::now();
            for id in 1..=count {
                let due = id * apart + bound;
                while lab.state("one", &id.to_string()) != "failed" {
                    let late = start.elapsed().as_secs() > due;
                    assert!(!late, "{api} at {limit} a minute: task {id} after {bound} s");
                    lab.seconds(5).await;
                }
            }
            lab.stop().await;
        }
    }
}

/// What a call asked for, of PolarDB's clusters: cluster and status.
fn asked_for(request: &Request<Bytes>) -> Option<String> {
    let query = request.uri().query()?;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    Some(format!("{} {}", value("DBClusterId=")?, value("Status=")?))
}

#[tokio::test(start_paused = true)]
async fn a_poll_goes_on_where_it_was_throttled_and_makes_no_call_twice() {
    let answered = Arc::<Mutex<Vec<String>>>::default();
    let (log, quota) = (Arc::clone(&answered), Mutex::<Quota>::default());
    let scenario = ending("alibaba_polardb", 8, 8, 36_000);
    let lab = Lab::through(
        &scenario,
        |_| {},
        move |elapsed, request| {
            let is_over = quota.lock().unwrap().is_over("all", 5, elapsed);
            log.lock().unwrap().extend(asked_for(request).filter(|_| !is_over));
            is_over.then(|| throttled(request))
        },
    );
    lab.minutes(4 * 60).await;
    let answered = answered.lock().unwrap().clone();
    assert!(answered.len() > 10 * 48, "{} calls", answered.len());
    for round in answered.chunks_exact(48) {
        let different: BTreeSet<&String> = round.iter().collect();
        assert_eq!(different.len(), 48, "final states are asked for in every round: {round:?}");
    }
    let polls = lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap();
    let failures = lab.sum("dbtask_source_poll_failures_total");
    assert_eq!(polls - failures, answered.len() as u64 / 48);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_poll_sees_is_shown_at_once_and_its_interval_is_the_truth() {
    let (lab, _) = limited(&ending("alibaba_polardb", 10, 10, 10), 2, false, |_| {});
    let mut seen = Vec::new();
    for _ in 0..40 {
        lab.minutes(1).await;
        seen.push(lab.snapshot("one").tasks.len());
    }
    let polls = lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap();
    assert_eq!(polls, lab.sum("dbtask_source_poll_failures_total"), "the first poll goes on");
    assert!(seen.iter().any(|&tasks| (1..10).contains(&tasks)), "part by part: {seen:?}");
    let interval = lab.snapshot("one").poll_interval;
    assert!(interval >= Duration::from_mins(38), "{interval:?}");
    lab.minutes(5 * 60).await;
    let snapshot = lab.snapshot("one");
    assert!(snapshot.up, "{:?}", snapshot.last_error);
    let duration = snapshot.last_poll_duration.unwrap();
    assert!((30..=50).contains(&(duration.as_secs() / 60)), "60 calls at 2 a minute: {duration:?}");
    assert!(snapshot.poll_interval >= duration);
    assert_eq!(snapshot.tasks.len(), 10);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_throttles_now_and_then_fails_no_poll() {
    let scenario = ending("tencent_cdb", 3, 3, 36_000);
    let lab = Lab::through(
        &scenario,
        |_| {},
        |elapsed, request| {
            // The first call after each ten minutes.
            (elapsed.as_secs() % 600 < 30 && elapsed.subsec_nanos() == 0)
                .then(|| throttled(request))
        },
    );
    lab.minutes(3 * 60).await;
    assert!(lab.snapshot("one").up);
    assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_throttles_everything_is_told_and_its_end_too() {
    let lab = Lab::new(&ending("tencent_cdb", 3, 3, 36_000), |_| {});
    lab.minutes(10).await;
    lab.inject("one", FaultKind::Throttle);
    lab.minutes(2).await;
    let snapshot = lab.snapshot("one");
    assert!(!snapshot.up);
    assert_eq!(snapshot.last_error_reason, Some("throttled"));
    lab.minutes(30).await;
    assert!(!lab.snapshot("one").up);
    assert_eq!(lab.state("one", "1"), "unknown", "nothing is heard of it for too long");
    lab.cloud.heal("one");
    lab.minutes(5).await;
    let snapshot = lab.snapshot("one");
    assert!(snapshot.up, "{:?}", snapshot.last_error);
    assert_eq!(lab.state("one", "1"), "running");
    lab.minutes(15).await;
    assert_eq!(lab.snapshot("one").poll_interval, Duration::from_secs(30));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_pages_of_clusters_are_found_though_each_is_throttled() {
    let admitted = Arc::<Mutex<Quota>>::default();
    let quota = Arc::clone(&admitted);
    let scenario = ending("alibaba_polardb", 350, 350, 36_000);
    let lab = Lab::through(
        &scenario,
        |config| config.sources[0].resources.clear(),
        move |elapsed, request| {
            let is_discovery = operation(request) == "DescribeDBClusters";
            let is_over = is_discovery && quota.lock().unwrap().is_over("discovery", 1, elapsed);
            is_over.then(|| throttled(request))
        },
    );
    lab.minutes(20).await;
    let snapshot = lab.snapshot("one");
    let quota = admitted.lock().unwrap().calls;
    assert_eq!(snapshot.tasks.len(), 350, "{quota} calls, {:?}", snapshot.last_error);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_asked_for_delay_nothing_that_the_list_shows() {
    let mut scenario = "sources:
  - name: one
    api: tencent_redis
    region: ap-guangzhou
    resources: [{id: crs-1}]
    faults: [{kind: slow, operation: DescribeTaskInfo, delay: 2s}]
    tasks:
      - {id: '1', resource: crs-1, life: [{run: {for: 10m}}, {fail: {message: no}}]}
"
    .to_owned();
    for id in 100..160 {
        // The list shows none of them.
        let life = "[{vanish: {for: 1d}}, {hang: {}}]";
        writeln!(
            scenario,
            "      - {{id: '{id}', resource: crs-1, configured: true, life: {life}}}"
        )
        .unwrap();
    }
    let lab = Lab::new(&scenario, |config| {
        config.sources[0].poll.interval = Duration::from_mins(2);
        config.sources[0].poll.idle_interval = Duration::from_mins(2);
    });
    let mut state = "";
    let mut second = 0;
    while state != "failed" {
        lab.seconds(1).await;
        second += 1;
        state = lab.state("one", "1");
        assert!(second <= 600 + 120 + 3, "shown when the list shows it");
    }
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_not_exceeded_by_one_by_polls_that_are_throttled() {
    for limit in [1, 5] {
        let (lab, quota) = limited(&ending("tencent_redis", 3, 20, 900), limit, true, |config| {
            config.sources[0].daily_budget = Some(150);
        });
        // Until the day turns.
        lab.seconds(35_190).await;
        let calls = quota.lock().unwrap().calls;
        assert!((100..=150).contains(&calls), "{calls} calls");
        assert_eq!(
            lab.value("dbtask_api_budget_remaining{source=\"one\"}"),
            Some(150 - calls as u64)
        );
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn polling_once_does_not_wait_for_a_vendor_that_throttles_everything() {
    let (exporter, cloud) = Lab::unstarted(&ending("tencent_cdb", 1, 1, 600));
    cloud.inject("one", Fault::new(FaultKind::Throttle));
    let start = Instant::now();
    let snapshots = exporter.poll_once().await;
    assert_eq!(snapshots[0].last_error_reason, Some("throttled"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_source_is_up_only_once_a_poll_has_ended_however_it_is_throttled() {
    // After the restart, half an hour in which all is throttled but every tenth call.
    let (since, calls) = (Duration::from_hours(1), Arc::<Mutex<usize>>::default());
    let scenario = ending("alibaba_polardb", 5, 3, 36_000);
    let folder = tempfile::tempdir().unwrap();
    let setup = Lab::through(
        &scenario,
        |_| {},
        move |elapsed, request| {
            let lasts = (since..since + Duration::from_mins(30)).contains(&elapsed);
            let mut calls = calls.lock().unwrap();
            *calls += usize::from(lasts);
            (lasts && *calls % 10 > 0).then(|| throttled(request))
        },
    );
    let lab = setup.crash().await.stored(folder.path()).start();
    lab.minutes(60).await;
    assert!(lab.snapshot("one").up);
    let lab = lab.crash().await.start();
    let (mut answered, mut waits) = (0, 0);
    for _ in 0..150 {
        lab.seconds(10).await;
        let snapshot = lab.snapshot("one");
        assert!(!snapshot.up, "no poll of this process has ended");
        let failed = snapshot.last_error_reason.is_some();
        (answered, waits) = (answered + usize::from(!failed), waits + usize::from(failed));
    }
    assert!(answered > 0 && waits > 0, "{answered} {waits}");
    lab.minutes(60).await;
    assert!(lab.snapshot("one").up);
    lab.stop().await;
}
