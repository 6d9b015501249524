//! The daily budget of an account, in virtual time: the requests that arrive at the simulated
//! clouds are the judge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbtask_exporter::config::Config;
use dbtask_simulator::{Fault, FaultKind};
use tokio::time::Instant;

use crate::support::Lab;

/// Seconds from the start of a lab to the first midnight, UTC.
const MIDNIGHT: u64 = 1_790_035_200 - 1_790_000_000;
const DAY: u64 = 86_400;
/// A call counts for both days so near to midnight, so calls are plenty again so much later.
const OVERLAP: u64 = 60;
/// The calls of a poll of one of `many`.
const COST: u64 = 2;

/// An exporter whose requests are written down: second and region.
struct Watched {
    lab: Lab,
    requests: Arc<Mutex<Vec<(u64, String)>>>,
    start: Instant,
}

impl Watched {
    fn new(scenario: &str, adjust: impl FnOnce(&mut Config)) -> Self {
        let requests = Arc::<Mutex<Vec<(u64, String)>>>::default();
        let log = Arc::clone(&requests);
        let lab = Lab::through(scenario, adjust, move |elapsed, request| {
            let region = request.headers().get("x-tc-region").map(|value| value.to_str().unwrap());
            let region = region.unwrap_or_default().to_owned();
            log.lock().unwrap().push((elapsed.as_secs(), region));
            None
        });
        Self { lab, requests, start: Instant::now() }
    }

    /// How many requests each UTC day saw.
    fn by_day(&self) -> BTreeMap<u64, u64> {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len() as u64, self.lab.cloud.request_count(), "one log or the other");
        let mut days = BTreeMap::new();
        for (second, _) in requests.iter() {
            *days.entry((second + DAY - MIDNIGHT) / DAY).or_default() += 1;
        }
        days
    }

    /// The seconds at which polls of a region began, from a second on.
    fn polls(&self, region: &str, from: u64) -> Vec<u64> {
        let requests = self.requests.lock().unwrap();
        let mut seconds: Vec<u64> = requests
            .iter()
            .filter(|(second, of)| *second >= from && of == region)
            .map(|(second, _)| *second)
            .collect();
        seconds.dedup();
        seconds
    }

    /// Lets time pass until so many seconds after the start.
    async fn sleep_until(&self, second: u64) {
        self.lab.seconds(second - self.start.elapsed().as_secs()).await;
    }
}

/// MySQL sources of one account, each in a region of its own; the first so many have a task that
/// never ends.
fn many(count: usize, busy: usize) -> String {
    let mut scenario = "sources:\n".to_owned();
    for index in 0..count {
        let life = if index < busy { "[{hang: {}}]" } else { "[{run: {for: 1s}}, {finish: {}}]" };
        write!(
            scenario,
            "  - name: {}
    api: tencent_cdb
    region: ap-{index}
    account: shared
    resources: [{{id: cdb-{index}}}]
    tasks: [{{id: '1{index}', resource: cdb-{index}, kind: ROLLBACK, life: {life}}}]
",
            name(index)
        )
        .unwrap();
    }
    scenario
}

fn name(index: usize) -> String {
    format!("s{index}")
}

fn limit(budget: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        for source in &mut config.sources {
            source.daily_budget = Some(budget);
        }
    }
}

/// One source of each API, of three accounts.
const EVERY_API: &str = "
sources:
  - name: s0
    api: alibaba_adb
    region: cn-hangzhou
    account: shared
    resources: [{id: am-bp1}]
    tasks: [{id: '1', resource: am-bp1, configured: true, life: [{hang: {}}]}]
  - name: s1
    api: alibaba_polardb
    region: cn-hangzhou
    account: shared
    resources: [{id: pc-bp1}]
    tasks: [{id: '1', resource: pc-bp1, life: [{hang: {}}]}]
  - name: s2
    api: huawei_dds
    region: cn-north-4
    resources: [{id: 0123456789abcdef0123456789abcdein02}]
    tasks: [{id: '1', resource: 0123456789abcdef0123456789abcdein02, life: [{hang: {}}]}]
  - name: s3
    api: tencent_redis
    region: ap-guangzhou
    account: shared
    resources: [{id: crs-1}]
    tasks: [{id: '1', resource: crs-1, life: [{hang: {}}]}]
";

#[tokio::test(start_paused = true)]
async fn a_budget_is_never_exceeded_by_one_whatever_goes_wrong() {
    let faults = [
        None,
        Some(FaultKind::Throttle),
        Some(FaultKind::ServerError),
        Some(FaultKind::Hang),
        Some(FaultKind::SkewedClock),
        Some(FaultKind::Unauthorized),
        Some(FaultKind::Forbidden),
        Some(FaultKind::Reset),
        Some(FaultKind::Malformed),
        Some(FaultKind::Slow),
    ];
    for fault in faults {
        for share in [1.0, 0.3] {
            for budget in [1, 3, 40] {
                let watched = Watched::new(&many(4, 2), limit(budget));
                if let Some(kind) = fault {
                    for source in 0..4 {
                        watched
                            .lab
                            .cloud
                            .inject(&name(source), Fault { share, ..Fault::new(kind) });
                    }
                }
                watched.lab.seconds(MIDNIGHT + 2 * DAY).await;
                let days = watched.by_day();
                let told = format!("{budget} a day, {fault:?} at {share}: {days:?}");
                assert!(days.values().all(|&calls| calls <= budget), "{told}");
                assert!(days.contains_key(&1) && days.contains_key(&2), "{told}");
                if fault.is_none() {
                    assert!(days.values().all(|&calls| calls * 10 >= budget * 8), "{told}");
                }
                watched.lab.stop().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_holds_for_every_api() {
    for budget in [1, 30] {
        let watched = Watched::new(EVERY_API, limit(budget));
        watched.lab.seconds(MIDNIGHT + 2 * DAY).await;
        // Three accounts, each with its own.
        let days = watched.by_day();
        assert!(days.values().all(|&calls| calls <= 3 * budget), "{budget}: {days:?}");
        let handled = watched.lab.cloud.requests();
        let huawei: u64 = handled
            .iter()
            .filter(|(handled, _)| handled.source == "s2")
            .map(|(_, count)| count)
            .sum();
        assert!(huawei <= 3 * budget && huawei >= budget, "{huawei} of {budget} a day");
        watched.lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn polls_that_meet_at_one_instant_share_the_last_calls() {
    // A hundred sources want to begin within five seconds.
    let watched = Watched::new(&many(100, 100), limit(33));
    watched.lab.seconds(10).await;
    assert_eq!(watched.lab.cloud.request_count(), 33);
    watched.lab.seconds(MIDNIGHT + 3600).await;
    assert_eq!(watched.by_day(), BTreeMap::from([(0, 33), (1, 33)]));
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_source_starves_and_unfinished_tasks_come_first() {
    let (busy, idle, budget) = (2, 3, 1000);
    let watched = Watched::new(&many(busy + idle, busy), limit(budget));
    watched.sleep_until(MIDNIGHT + 2 * DAY).await;
    // A fifth of the budget lasts for a day at least, and a source with unfinished tasks gets four
    // polls for one of a source without.
    let shares = (4 * busy + idle) as u64;
    let bound = shares * COST * DAY / (budget / 5);
    for (sources, bound) in [(0..busy, bound / 4), (busy..busy + idle, bound)] {
        for source in sources {
            let polls = watched.polls(&format!("ap-{source}"), 0);
            let ends = [MIDNIGHT + 2 * DAY];
            for pair in polls.iter().chain(&ends).collect::<Vec<_>>().windows(2) {
                // Beyond the bound: the calls in hand, and the jitter after midnight.
                let gap = pair[1] - pair[0];
                assert!(
                    gap <= bound + bound / 10 + OVERLAP + 120,
                    "s{source}: {gap} s of {bound} s"
                );
            }
        }
    }
    // From the morning on, every day is slow.
    let polls = |source| watched.polls(&format!("ap-{source}"), MIDNIGHT + DAY * 5 / 4).len();
    let (few, most) = (polls(busy), polls(0));
    assert!((3 * few..=5 * few).contains(&most), "{most} polls for {few}");
    let days = watched.by_day();
    for day in [0, 1] {
        assert!(days[&day] <= budget && days[&day] >= budget * 97 / 100, "{days:?}");
    }
    for source in 0..busy + idle {
        assert!(watched.lab.snapshot(&name(source)).up, "s{source}");
    }
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_pace_returns_when_the_day_turns_but_not_at_one_instant() {
    let watched = Watched::new(&many(12, 12), limit(600));
    watched.sleep_until(MIDNIGHT - 1).await;
    let slow = watched.lab.snapshot("s0").poll_interval;
    assert!(slow >= Duration::from_mins(5), "{slow:?}");
    watched.sleep_until(MIDNIGHT + OVERLAP + 31).await;
    let first: Vec<u64> = (0..12)
        .map(|source| watched.polls(&format!("ap-{source}"), MIDNIGHT + OVERLAP)[0])
        .collect();
    let apart: std::collections::BTreeSet<_> = first.iter().collect();
    assert!(apart.len() >= 5, "spread over half a minute: {first:?}");
    watched.sleep_until(MIDNIGHT + OVERLAP + 120).await;
    for source in 0..12 {
        let snapshot = watched.lab.snapshot(&name(source));
        assert_eq!(snapshot.poll_interval, Duration::from_secs(30));
        assert!(snapshot.up);
    }
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_says_so_and_is_not_knocked_at() {
    let watched = Watched::new(&many(2, 2), limit(4));
    watched.lab.seconds(3600).await;
    let text = watched.lab.text();
    for source in ["s0", "s1"] {
        for (name, value) in [
            ("dbtask_api_budget_limit", "4"),
            ("dbtask_api_budget_remaining", "0"),
            ("dbtask_source_up", "0"),
        ] {
            let line = format!("{name}{{source=\"{source}\"}} {value}");
            assert!(text.lines().any(|one| one == line), "{line}");
        }
        let snapshot = watched.lab.snapshot(source);
        let error = snapshot.last_error.clone().unwrap();
        assert!(
            error.ends_with(
                "the daily budget of 4 calls is spent; there are more at 2026-09-22T00:01:00Z"
            ),
            "{error}"
        );
        assert_eq!(snapshot.tasks.len(), 1, "what was known stays");
        let value = |series: String| watched.lab.value(&series).unwrap();
        let shed = value(format!("dbtask_api_requests_shed_total{{source=\"{source}\"}}"));
        let failures = value(format!(
            "dbtask_source_poll_failures_total{{reason=\"budget\",source=\"{source}\"}}"
        ));
        assert_eq!((shed, failures), (1, 1), "the next try is when there are calls again");
        assert!(snapshot.poll_interval > Duration::from_hours(9));
    }
    watched.sleep_until(MIDNIGHT + OVERLAP + 45).await;
    assert_eq!(watched.by_day()[&1], 4);
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_nothing_changes() {
    let watched = Watched::new(&many(3, 3), |_| {});
    watched.lab.seconds(3600).await;
    assert!(!watched.lab.text().contains("dbtask_api_budget_limit{"));
    assert_eq!(watched.lab.value("dbtask_api_requests_shed_total{source=\"s0\"}"), Some(0));
    for source in 0..3 {
        let polls = watched.polls(&format!("ap-{source}"), 0);
        assert!((119..=121).contains(&polls.len()), "{} polls in an hour", polls.len());
    }
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scarce_budget_is_not_spent_on_trouble() {
    // Backoff alone would try again within seconds.
    let watched = Watched::new(&many(2, 2), limit(1000));
    watched.lab.seconds(5 * 3600).await;
    let before = watched.lab.cloud.request_count();
    assert!((800..1000).contains(&before), "{before}");
    watched.lab.inject("s0", FaultKind::ServerError);
    watched.lab.seconds(3 * 3600).await;
    let since = watched.lab.cloud.request_count() - before;
    assert!(since <= 140, "{since} calls in three of less than five hours, of two hundred left");
    watched.lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_outlives_the_process_and_is_never_exceeded_by_one_however_often_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::stored(&many(3, 3), folder.path(), limit(400)).await;
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        lab.seconds(random.u64(0..400)).await;
        lab = lab.crash().await.start();
        assert!(lab.cloud.request_count() <= 400);
    }
    lab.seconds(MIDNIGHT - 61 - start.elapsed().as_secs()).await;
    let first_day = lab.cloud.request_count();
    // A kill loses at most the block of two that was reserved.
    assert!((200..=400).contains(&first_day), "{first_day}");
    let left = lab.value("dbtask_api_budget_remaining{source=\"s0\"}").unwrap();
    assert!(left <= 400 - first_day, "{left} left of 400 after {first_day}");
    lab.seconds(61 + DAY - 61).await;
    let second_day = lab.cloud.request_count() - first_day;
    assert!((350..=400).contains(&second_day), "{second_day}");
    lab.stop().await;
}
