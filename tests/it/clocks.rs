//! What is promised where our clock and the vendor's differ.

use std::fmt::Write as _;
use std::time::Duration;

use dbtask_exporter::config::Config;
use dbtask_simulator::{Fault, FaultKind, Offset};
use http::HeaderValue;

use crate::support::{Lab, Log, place, with_keys};

/// The APIs that list by time, and how many minutes each vendor's clock may be off unnoticed.
const LISTS: [(&str, i64); 4] =
    [("tencent_redis", 4), ("tencent_cdb", 4), ("huawei_dds", 14), ("alibaba_polardb", 14)];

/// A source whose cloud is so many minutes ahead: `old` failed three minutes before the start,
/// `new` begins and fails within a moment two minutes after it.
fn scenario(api: &str, ahead: i64) -> String {
    let (region, resource) = place(api);
    let mut text = format!(
        "
sources:
  - name: one
    api: {api}
    region: {region}
    resources: [{{id: {resource}}}]
    faults: [{{kind: skewed_clock, offset: {ahead}m}}]
    tasks:
"
    );
    for (id, at) in [("1", "-190s"), ("2", "120s")] {
        let life = "[{run: {for: 2s}}, {fail: {}}]";
        writeln!(text, "      - {{id: '{id}', resource: {resource}, at: {at}, life: {life}}}")
            .unwrap();
    }
    text
}

fn each_ten_seconds(config: &mut Config) {
    for source in &mut config.sources {
        source.poll.interval = Duration::from_secs(10);
        source.poll.idle_interval = Duration::from_secs(10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_no_vendor_refuses_loses_adds_and_delays_nothing() {
    for (api, most) in LISTS {
        for ahead in [-most, -most / 4, most / 4, most] {
            let lab = Lab::new(&scenario(api, ahead), each_ten_seconds);
            lab.seconds(60).await;
            assert_eq!(lab.state("one", "1"), "failed", "{api} {ahead}");
            assert_eq!(lab.sum("dbtask_task_failures_total"), 0, "{api} {ahead}");
            lab.seconds(75).await;
            assert_eq!(lab.state("one", "2"), "failed", "{api} {ahead}: it is shown at once");
            lab.minutes(10).await;
            assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api} {ahead}");
            assert!(lab.snapshot("one").up, "{api} {ahead}");
            assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{api} {ahead}");
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_drifts_while_the_source_is_watched_is_followed_without_a_refusal() {
    for (api, most) in LISTS {
        // The simulated cloud would move the times of what has ended along with its clock.
        let all = scenario(api, 0);
        let new: Vec<_> = all.lines().filter(|line| !line.contains("id: '1'")).collect();
        let lab = Lab::new(&new.join("\n"), each_ten_seconds);
        lab.seconds(60).await;
        let offset = Offset(most * 60);
        lab.cloud.inject("one", Fault { offset, ..Fault::new(FaultKind::SkewedClock) });
        lab.seconds(75).await;
        assert_eq!(lab.state("one", "2"), "failed", "{api}");
        lab.minutes(10).await;
        assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api}");
        assert_eq!(lab.sum("dbtask_api_request_failures_total"), 0, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn roles_are_assumed_however_wrong_our_clock_is() {
    for (api, keys) in [
        ("tencent_cdb", "role_arn: 'qcs::cam::uin/1:roleName/reader'"),
        ("alibaba_polardb", "role_arn: 'acs:ram::1:role/reader'"),
        ("huawei_dds", "agency_name: reader\n  agency_domain: other"),
    ] {
        for ahead in [-1440, -4, 20] {
            let scenario = scenario(api, ahead);
            let lab = Lab::new(&scenario, |config| {
                config.sources = with_keys(&scenario, keys);
                for source in &mut config.sources {
                    source.poll.interval = Duration::from_mins(1);
                    source.poll.idle_interval = Duration::from_mins(1);
                }
            });
            lab.seconds(15).await;
            let snapshot = lab.snapshot("one");
            assert!(snapshot.up, "{api} {ahead}: {:?}", snapshot.last_error);
            assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{api} {ahead}");
            lab.minutes(65).await;
            assert!(lab.snapshot("one").up, "{api} {ahead}: sessions are renewed");
            assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{api} {ahead}");
            assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api} {ahead}");
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_odd_date_is_nobodys_time() {
    let log = Log::listen();
    for (api, _) in LISTS {
        for odd in [1, 3, 8] {
            let lab = Lab::between(
                &scenario(api, 0),
                each_ten_seconds,
                |_, _| None,
                move |number, answer| {
                    if number == odd {
                        let date = HeaderValue::from_static("Tue, 01 Jan 2030 00:00:00 GMT");
                        answer.headers_mut().insert("date", date);
                    }
                },
            );
            lab.seconds(135).await;
            assert_eq!(lab.state("one", "2"), "failed", "{api}");
            lab.minutes(10).await;
            assert_eq!(lab.sum("dbtask_task_failures_total"), 1, "{api}");
            assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{api}");
            lab.stop().await;
        }
    }
    assert_eq!(log.lines("clock differs"), [""; 0]);
}
