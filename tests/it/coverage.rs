//! Where tasks may have come and gone unseen, it is said; nowhere else.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Client, Facts, Page, Query, Scope, Target, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::model::Timestamp;
use dbtask_exporter::config::Config;
use dbtask_simulator::{Fault, FaultKind, Offset};
use http::{Request, Response};

use crate::support::{Lab, Log, one_task, place};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Number and seconds of the gaps so far.
fn gaps(lab: &Lab) -> (u64, u64) {
    let of = |metric: &str| lab.value(&format!("{metric}{{source=\"one\"}}")).unwrap();
    (of("dbtask_source_coverage_gaps_total"), of("dbtask_source_coverage_gap_seconds_total"))
}

/// Polls every six hours, also those that fail for an answer that makes no sense.
fn rarely(config: &mut Config) {
    config.sources[0].poll.interval = Duration::from_hours(6);
    config.sources[0].poll.idle_interval = Duration::from_hours(6);
}

/// A good poll, then none for `seconds`, and then a good one within six hours.
async fn outage(lab: &Lab, seconds: u64) {
    lab.seconds(10).await;
    lab.inject("one", FaultKind::Malformed);
    lab.seconds(seconds - 10).await;
    lab.cloud.heal("one");
    lab.seconds(6 * HOUR + 60).await;
    assert!(lab.snapshot("one").up);
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_the_list_reaches_back_is_one_gap_with_its_seconds() {
    // 31 days and at most six hours.
    for (api, reach) in [
        ("huawei_dds", 30 * DAY),
        ("tencent_redis", 30 * DAY),
        ("alibaba_polardb", DAY),
        ("tencent_cdb", DAY),
    ] {
        let log = Log::listen();
        let lab = Lab::new(&one_task(api, "[{hang: {}}]"), rarely);
        outage(&lab, 31 * DAY).await;
        let (count, seconds) = gaps(&lab);
        let expected = 31 * DAY - reach;
        assert_eq!(count, 1, "{api}");
        assert!((expected..=expected + 6 * HOUR + 60).contains(&seconds), "{api}: {seconds} s");
        let lines = log.lines("come and gone unseen");
        assert_eq!(lines.len(), 1, "{lines:?}");
        let parts = ["level=warn", "source=one", "from=2026-09-21T", "to=2026-", "seconds="];
        assert!(parts.iter().all(|part| lines[0].contains(part)), "{lines:?}");
        lab.minutes(3 * 24 * 60).await;
        assert_eq!(gaps(&lab), (count, seconds), "{api}: nothing more once polls are whole again");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_within_the_reach_of_the_list_is_no_gap_and_its_failures_are_counted() {
    for (api, seconds) in [
        ("huawei_dds", 29 * DAY),
        ("tencent_redis", 29 * DAY),
        ("alibaba_polardb", 17 * HOUR),
        ("tencent_cdb", 17 * HOUR),
    ] {
        // It begins two hours after the last good poll, and fails an hour later.
        let life = "[{run: {for: 1h}}, {fail: {}}]";
        let scenario = one_task(api, life).replace("kind:", "at: 2h, kind:");
        let lab = Lab::new(&scenario, rarely);
        outage(&lab, seconds).await;
        lab.minutes(10).await;
        assert_eq!(gaps(&lab), (0, 0), "{api}");
        lab.scrape_by(1);
        lab.seconds(5).await;
        assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_configured_lookback_counts_where_the_vendor_documents_no_reach() {
    for api in ["alibaba_polardb", "tencent_cdb"] {
        let lab = Lab::new(&one_task(api, "[{hang: {}}]"), |config| {
            rarely(config);
            config.sources[0].poll.lookback = Duration::from_hours(5 * 24);
        });
        outage(&lab, 4 * DAY).await;
        assert_eq!(gaps(&lab), (0, 0), "{api}");
        outage(&lab, 6 * DAY).await;
        let (count, seconds) = gaps(&lab);
        assert_eq!(count, 1, "{api}");
        assert!((DAY..=DAY + 12 * HOUR).contains(&seconds), "{api}: {seconds} s");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn polls_in_their_usual_order_make_no_gap_however_short_the_lookback() {
    for api in ["alibaba_polardb", "tencent_cdb", "tencent_redis", "huawei_dds"] {
        let lab = Lab::new(&one_task(api, "[{run: {for: 10m}}, {finish: {}}]"), |config| {
            config.sources[0].poll.lookback = Duration::from_secs(1);
        });
        lab.minutes(60).await;
        lab.inject("one", FaultKind::Reset);
        lab.minutes(30).await;
        lab.cloud.heal("one");
        lab.minutes(60).await;
        assert_eq!(gaps(&lab), (0, 0), "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_id_alone_has_no_gaps() {
    let without_list = one_task("huawei_dds", "[{hang: {}}]")
        .replace("configured: false", "configured: true")
        .replace("    tasks:", "    faults: [{kind: missing_list}]\n    tasks:");
    for scenario in [one_task("alibaba_adb", "[{hang: {}}]"), without_list] {
        let lab = Lab::new(&scenario, rarely);
        outage(&lab, 31 * DAY).await;
        assert_eq!(gaps(&lab), (0, 0), "{scenario}");
        assert_eq!(lab.state("one", "1"), "running");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_never_polled_before_has_no_gap() {
    let lab = Lab::new(&one_task("tencent_redis", "[{hang: {}}]"), rarely);
    lab.inject("one", FaultKind::Malformed);
    lab.seconds(40 * DAY).await;
    lab.cloud.heal("one");
    lab.seconds(6 * HOUR + 60).await;
    assert!(lab.snapshot("one").up);
    assert_eq!(gaps(&lab), (0, 0));
    lab.stop().await;
}

/// A full page of a MySQL list: of a hundred running tasks, one is another on each page.
fn full_page(request: &Request<Bytes>) -> Bytes {
    let asked: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    let page = asked["Offset"].as_u64().unwrap() / 100;
    let mut rows = String::new();
    for id in (1000..1099).chain([2000 + page]) {
        write!(rows, r#"{{"JobId":{id},"TaskStatus":"RUNNING","InstanceIds":["cdb-1"]}},"#)
            .unwrap();
    }
    format!(r#"{{"Response":{{"Items":[{}]}}}}"#, rows.trim_end_matches(',')).into()
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_read_to_its_end_is_a_gap_that_goes_on_until_it_is() {
    let endless = move |elapsed: Duration, request: &Request<Bytes>| {
        let minutes = elapsed.as_secs() / 60;
        // The list, which alone asks for no instance.
        let is_list = !request.body().windows(10).any(|part| part == b"InstanceId");
        (is_list && (10..30).contains(&minutes)).then(|| Response::new(full_page(request)))
    };
    let log = Log::listen();
    let scenario = one_task("tencent_cdb", "[{run: {for: 15m}}, {fail: {}}]");
    let every_five_minutes = |config: &mut Config| {
        config.sources[0].poll.interval = Duration::from_mins(5);
        config.sources[0].poll.idle_interval = Duration::from_mins(5);
    };
    let lab = Lab::through(&scenario, every_five_minutes, endless);
    lab.minutes(9).await;
    assert_eq!(gaps(&lab), (0, 0));
    lab.minutes(20).await;
    let (count, seconds) = gaps(&lab);
    assert_eq!(count, 1, "it goes on, and is one");
    assert!((19 * 60..=20 * 60).contains(&seconds), "{seconds} s, from minute 5 to minute 25");
    assert_eq!(log.lines("come and gone unseen").len(), 1);
    assert_eq!(log.lines("not read to its end").len(), 1);
    let failed = "dbtask_task_failures_total{source=\"one\",task_kind=\"ROLLBACK\"}";
    assert_eq!(lab.state("one", "1"), "failed", "what was known is asked for by its id");
    lab.minutes(11).await;
    assert_eq!(lab.value(failed), Some(1));
    assert_eq!(gaps(&lab).0, 1);
    let after = gaps(&lab);
    lab.minutes(60).await;
    assert_eq!(gaps(&lab), after);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_put_right_in_the_middle_of_a_poll_is_no_gap() {
    for api in ["tencent_cdb", "tencent_redis", "huawei_dds", "alibaba_polardb"] {
        let lab = Lab::new(&one_task(api, "[{hang: {}}]"), |_| {});
        lab.minutes(1).await;
        lab.inject("one", FaultKind::SkewedClock);
        lab.minutes(10).await;
        lab.cloud.heal("one");
        lab.minutes(10).await;
        assert!(lab.snapshot("one").up, "{api}: {:?}", place(api));
        assert_eq!(lab.state("one", "1"), "running", "{api}");
        assert_eq!(gaps(&lab), (0, 0), "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_asked_by_a_wrong_clock_makes_nothing_vanish() {
    let log = Log::listen();
    let lab = Lab::new(&one_task("alibaba_polardb", "[{hang: {}}]"), |_| {});
    lab.minutes(1).await;
    // Sixty days behind: by our clock, what runs there began long before the list.
    let offset = Offset(-60 * 24 * 3600);
    lab.cloud.inject("one", Fault { offset, ..Fault::new(FaultKind::SkewedClock) });
    lab.minutes(10).await;
    assert!(lab.snapshot("one").up);
    assert_eq!(lab.state("one", "1"), "running");
    assert_eq!(log.lines("clock differs").len(), 1);
    assert_eq!(log.lines("out of sight, and its end has not"), [""; 0]);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_was_down_for_longer_than_the_list_reaches_back_says_so_once() {
    for (api, reach) in [("tencent_redis", 30 * DAY), ("alibaba_polardb", DAY)] {
        let folder = tempfile::tempdir().unwrap();
        let scenario = one_task(api, "[{run: {for: 900h}}, {fail: {}}]");
        let lab = Lab::stored(&scenario, folder.path(), |_| {}).await;
        lab.minutes(10).await;
        let down = lab.crash().await;
        tokio::time::sleep(Duration::from_secs(31 * DAY)).await;
        let lab = down.start();
        lab.minutes(10).await;
        let (count, seconds) = gaps(&lab);
        // The journal's last good poll may be up to five minutes old, and Redis is asked for five
        // minutes less than it keeps.
        let expected = 31 * DAY - reach;
        assert_eq!(count, 1, "{api}");
        assert!((expected..=expected + 660).contains(&seconds), "{api}: {seconds} s");
        let lab = lab.crash().await.start();
        lab.minutes(10).await;
        assert_eq!(gaps(&lab), (count, seconds), "{api}: not again");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_goes_on_over_restarts_is_one_and_no_second_of_it_counts_twice() {
    let endless = move |elapsed: Duration, request: &Request<Bytes>| {
        let is_list = !request.body().windows(10).any(|part| part == b"InstanceId");
        (is_list && elapsed >= Duration::from_mins(1)).then(|| Response::new(full_page(request)))
    };
    let every_two_minutes = |config: &mut Config| {
        config.sources[0].poll.interval = Duration::from_mins(2);
        config.sources[0].poll.idle_interval = Duration::from_mins(2);
    };
    let log = Log::listen();
    let folder = tempfile::tempdir().unwrap();
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    let setup = Lab::through(&scenario, every_two_minutes, endless).crash().await;
    let lab = setup.stored(folder.path()).start();
    lab.minutes(7).await;
    let lab = lab.crash().await.start();
    lab.minutes(7).await;
    let lab = lab.crash().await.start();
    lab.minutes(7).await;
    let lab = lab.crash().await.start();
    let (count, seconds) = gaps(&lab);
    assert_eq!(count, 1);
    assert_eq!(log.lines("come and gone unseen").len(), 1);
    assert!((12 * 60..=21 * 60).contains(&seconds), "{seconds} s in 21 minutes");
    lab.stop().await;
}

/// The API with an answer for the list of tasks that shows nothing and says that there is more,
/// while `is_odd`.
fn not_adding_up(name: &str, is_odd: &'static AtomicBool) -> &'static TaskApi {
    let TaskApi { facts, client } = catalog::named(name).unwrap();
    let client = Box::leak(Box::new(NotAddingUp { client: *client, is_odd }));
    let facts = Facts { endpoints: facts.endpoints, ids: facts.ids, ..*facts };
    Box::leak(Box::new(TaskApi { facts, client }))
}

#[derive(Debug)]
struct NotAddingUp {
    client: &'static dyn Client,
    is_odd: &'static AtomicBool,
}

impl Client for NotAddingUp {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        self.client.list(scope)
    }

    fn by_id(&self, task: &TaskRef, now: Timestamp) -> Option<Query> {
        self.client.by_id(task, now)
    }

    fn discover(&self, scope: &Scope<'_>) -> Option<Query> {
        self.client.discover(scope)
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        answer: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let page = self.client.decode(target, query, answer)?;
        let lists_tasks = query.task.is_none() && query.operation.name == "DescribeTasks";
        let is_odd = self.is_odd.load(Ordering::Relaxed) && lists_tasks;
        Ok(if is_odd { Page { incomplete: true, ..Page::default() } } else { page })
    }
}

static MYSQL_IS_ODD: AtomicBool = AtomicBool::new(false);
static POLARDB_IS_ODD: AtomicBool = AtomicBool::new(false);

#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_add_up_makes_nothing_vanish_and_leaves_no_gap_unless_it_goes_on() {
    for (api, is_odd) in [("tencent_cdb", &MYSQL_IS_ODD), ("alibaba_polardb", &POLARDB_IS_ODD)] {
        let log = Log::listen();
        let lab = Lab::new(&one_task(api, "[{run: {for: 5h}}, {fail: {}}]"), |config| {
            config.sources[0].api = not_adding_up(api, is_odd);
        });
        lab.minutes(10).await;
        is_odd.store(true, Ordering::Relaxed);
        lab.minutes(50).await;
        assert!(lab.snapshot("one").up, "{api}");
        let state = if api == "tencent_cdb" { "running" } else { "unknown" };
        assert_eq!(lab.state("one", "1"), state, "{api}: by its id, or stale");
        assert_eq!(log.lines("out of sight"), [""; 0], "{api}");
        assert_eq!(gaps(&lab), (0, 0), "{api}");
        is_odd.store(false, Ordering::Relaxed);
        lab.minutes(2).await;
        assert_eq!((lab.state("one", "1"), gaps(&lab)), ("running", (0, 0)), "{api}");
        is_odd.store(true, Ordering::Relaxed);
        lab.minutes(3 * 60).await;
        let (count, seconds) = gaps(&lab);
        assert_eq!(count, 1, "{api}");
        assert!((3600..=3 * 3600 + 120).contains(&seconds), "{api}: {seconds} s");
        assert_eq!(log.lines("does not add up").len(), 2, "{api}: twice it began");
        is_odd.store(false, Ordering::Relaxed);
        lab.minutes(2 * 60).await;
        assert_eq!(lab.state("one", "1"), "failed", "{api}");
        assert_eq!(gaps(&lab).0, 1, "{api}");
        lab.stop().await;
    }
}
