//! The program, killed again and again while tasks fail: each failure is counted exactly once.
//!
//! `KILLS` says how often (200), `KILL_SEED` repeats the moments of an earlier run as far as
//! processes can.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbtask_exporter::platform::clock::Clock;
use dbtask_simulator::{Scenario, SimulatedCloud};
use fastrand::Rng;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::child::{Exporter, Samples, all_up, counted, failures, samples};

/// So many exporters, each with a journal of its own, watch the same clouds and are killed each for
/// itself.
const LANES: u32 = 4;

/// Counters that must never go back, by the beginnings of their names.
const MONOTONE: [&str; 5] = [
    "dbtask_task_failures_total",
    "dbtask_task_completions_total",
    "dbtask_task_cancellations_total",
    "dbtask_task_duration_seconds",
    "dbtask_source_coverage_gap",
];

/// Clouds that begin to live only with `until`, the second of the last births: before that they
/// have no task but AnalyticDB's, which hang.
fn scenario(until: Option<u64>) -> Scenario {
    let mut text = "seed: 7\nsources:\n".to_owned();
    for (name, api, region, resource, kinds, id) in [
        ("mysql", "tencent_cdb", "ap-guangzhou", "cdb-1", "[ROLLBACK, UPGRADE]", "9000001"),
        ("redis", "tencent_redis", "ap-guangzhou", "crs-1", "['900', '901']", "9000001"),
        ("polar", "alibaba_polardb", "cn-hangzhou", "pc-1", "[Resize, Restore]", "again"),
        ("dds", "huawei_dds", "cn-north-4", "0123in02", "[RESTORE, RESIZE]", "again"),
    ] {
        writeln!(
            text,
            "  - name: {name}\n    api: {api}\n    region: {region}\n    resources: [{{id: {resource}}}]"
        )
        .unwrap();
        let Some(until) = until else { continue };
        // The second run is there long enough to be seen however often we are killed.
        writeln!(
            text,
            "    tasks:
      - id: '{id}'
        resource: {resource}
        kind: '900'
        life: [{{run: {{for: 3s}}}}, {{fail: {{for: 25s}}}}, {{run: {{for: 25s}}}}, {{fail: {{}}}}]
    spawn:"
        )
        .unwrap();
        for _ in 0..2 {
            writeln!(
                text,
                "      - every: 1s
        until: {until}s
        kinds: {kinds}
        vary: 0.5
        outcomes:
          - {{weight: 2, life: [{{run: {{for: 3s}}}}, {{fail: {{code: '7', message: no}}}}]}}
          - {{life: [{{run: {{for: 7s}}}}, {{fail: {{end_known_after: 4s}}}}]}}
          - {{life: [{{run: {{for: 2s}}}}, {{finish: {{}}}}]}}"
            )
            .unwrap();
        }
    }
    writeln!(
        text,
        "  - name: adb\n    api: alibaba_adb\n    region: cn-hangzhou\n    resources: [{{id: am-1}}]\n    tasks:"
    )
    .unwrap();
    for number in 1..=20 {
        let life = match until {
            Some(_) => format!("[{{run: {{for: {}s}}}}, {{fail: {{}}}}]", 2 * number),
            None => "[{hang: {}}]".to_owned(),
        };
        writeln!(
            text,
            "      - {{id: '22568570{number}', resource: am-1, configured: true, life: {life}}}"
        )
        .unwrap();
    }
    Scenario::parse(&text).unwrap()
}

fn clouds(until: Option<u64>) -> Arc<SimulatedCloud> {
    Arc::new(SimulatedCloud::new(&scenario(until), || Clock::System.now()).unwrap())
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// One exporter through all its lives.
struct Lane {
    config: PathBuf,
    storage: PathBuf,
    random: Rng,
    seen: Samples,
}

impl Lane {
    fn start(&self) -> Exporter {
        Exporter::start(&self.config, &self.storage)
    }

    /// A life that ends after `length`, and is looked at meanwhile.
    async fn live(&mut self, length: Duration) {
        let end = Instant::now() + length;
        let exporter = self.start();
        while Instant::now() < end {
            if let Some(text) = exporter.scrape().await {
                self.look(&text);
            }
            sleep_until(end.min(Instant::now() + Duration::from_millis(100))).await;
        }
        exporter.kill().await;
    }

    /// A life in which every source is polled to the end, so that also on a slow machine a run that
    /// another one follows is there for long enough to be seen.
    async fn live_until_polled(&mut self) {
        let exporter = self.start();
        let text = exporter.until("every source is polled", |text| all_up(text, 5)).await;
        self.look(&text);
        sleep(Duration::from_millis(self.random.u64(..80))).await;
        exporter.kill().await;
    }

    /// No counter is less than it was. One that was at 0 may be missing: the first sight of a kind
    /// is shown at once.
    fn look(&mut self, text: &str) {
        let now = samples(text, &MONOTONE);
        for (series, &before) in &self.seen {
            let value = now.get(series).copied();
            assert!(value.unwrap_or_default() >= before, "{series}: {value:?} after {before}");
        }
        self.seen = now;
    }

    /// Killed while it makes its journal, then left alone until it has a baseline.
    async fn begin(mut self) -> Self {
        for _ in 0..8 {
            let length = Duration::from_millis(self.random.u64(..150));
            self.live(length).await;
        }
        let exporter = self.start();
        exporter.until("a baseline of every source", |text| all_up(text, 5)).await;
        exporter.kill().await;
        self
    }

    async fn be_killed(mut self, kills: u64) -> Self {
        for kill in 0..kills {
            if kill % 8 == 7 {
                self.live_until_polled().await;
                continue;
            }
            let milliseconds = match self.random.u8(..20) {
                0..3 => self.random.u64(..80),
                3..13 => self.random.u64(..700),
                _ => self.random.u64(500..2500),
            };
            self.live(Duration::from_millis(milliseconds)).await;
            if self.random.u8(..5) == 0 {
                sleep(Duration::from_millis(self.random.u64(..2000))).await;
            }
        }
        self
    }

    /// The last life, in which everything is counted that was not yet.
    async fn settle(mut self, expected: Samples) {
        let exporter = self.start();
        let mut last = Samples::new();
        // What was never served begins at 0, and stays there for a minute.
        for _ in 0..1000 {
            sleep(Duration::from_millis(200)).await;
            let Some(text) = exporter.scrape().await else { continue };
            self.look(&text);
            last = counted(&text);
            if last == expected {
                break;
            }
        }
        assert_eq!(last, expected, "\n{}", exporter.log());
        sleep(Duration::from_secs(4)).await;
        let text = exporter.scrape().await.unwrap();
        self.look(&text);
        assert_eq!(counted(&text), expected, "not one more later");
        assert!(text.contains("dbtask_exporter_journals_set_aside 0\n"));
        assert!(text.contains("dbtask_exporter_journal_last_write_successful 1\n"));
        exporter.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_moment_counts_every_failure_exactly_once() {
    let kills = from_environment("KILLS", 200);
    let seed = from_environment("KILL_SEED", fastrand::u64(..1 << 32));
    println!("{kills} kills, seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serve = |clouds: &Arc<SimulatedCloud>, stop: &CancellationToken| {
        let listener = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
        tokio::spawn(Arc::clone(clouds).serve(listener, stop.clone()))
    };

    let (quiet, stop) = (clouds(None), CancellationToken::new());
    let fast = |text: String| text.replace("interval: 2s", "interval: 1s").replace("5s", "1s");
    std::fs::write(&config, fast(quiet.configuration(&endpoint))).unwrap();
    let served = serve(&quiet, &stop);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let storage = Path::new(folder.path()).join(format!("lane-{lane}/journal"));
        let random = Rng::with_seed(seed + u64::from(lane));
        let lane = Lane { config: config.clone(), storage, random, seen: Samples::new() };
        lanes.spawn(lane.begin());
    }
    let lanes = lanes.join_all().await;
    stop.cancel();
    served.await.unwrap();

    let each = kills.div_ceil(u64::from(LANES));
    let until = each.max(2);
    let (clouds, stop) = (clouds(Some(until)), CancellationToken::new());
    let begun = Instant::now();
    let served = serve(&clouds, &stop);
    let mut killed = JoinSet::new();
    for lane in lanes {
        killed.spawn(lane.be_killed(each));
    }
    let lanes = killed.join_all().await;
    println!("killed for {} s", begun.elapsed().as_secs());
    // Until the last task that was born has failed, and its end is known.
    sleep_until(begun + Duration::from_secs(60.max(until + 16))).await;
    let expected = failures(&clouds);
    let count: f64 = expected.values().sum();
    println!("{count} failures in {} series", expected.len());
    let mut settled = JoinSet::new();
    for lane in lanes {
        settled.spawn(lane.settle(expected.clone()));
    }
    settled.join_all().await;
    stop.cancel();
    served.await.unwrap();
}
