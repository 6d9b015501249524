//! No odd answer loses a task: one that is out of sight is asked for until it is known what has
//! become of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Target, TaskRef};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::model::{Resource, Timestamp};
use http::{Request, Response, StatusCode};

use crate::support::{Lab, one_task, place};

/// Whether a request asks for the task `1` alone.
fn is_by_id(request: &Request<Bytes>) -> bool {
    let text = format!("{} {:?} {:?}", request.uri(), request.headers(), request.body());
    // MySQL asks for one task by its instance and start.
    ["DescribeTaskInfo", "jobs?id=", "StartTimeEnd"].iter().any(|word| text.contains(word))
        || (text.contains("InstanceId")
            && !text.contains("StartTimeBegin")
            && !text.contains("TaskStatus"))
}

fn answer(status: u16, body: &'static str) -> Response<Bytes> {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// Odd answers to the question for one task; none says that there is no such task.
const ODD: &[(&str, &[(u16, &str)])] = &[
    (
        "tencent_cdb",
        &[
            (
                200,
                r#"{"Response":{"Error":{"Code":"LimitExceeded","Message":"m"},"RequestId":"x"}}"#,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"InvalidParameter","Message":"m"},"RequestId":"x"}}"#,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"UnauthorizedOperation","Message":"m"},"RequestId":"x"}}"#,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"InternalError","Message":"m"},"RequestId":"x"}}"#,
            ),
            (200, r#"{"Response":{"TotalCount":0,"Items":[],"RequestId":"x"}}"#),
            (200, r#"{"Response":{"TotalCount":0,"RequestId":"x"}}"#),
            (
                200,
                r#"{"Response":{"Error":{"Code":"InvalidParameter.InstanceNotFound","Message":"m"},"RequestId":"x"}}"#,
            ),
        ],
    ),
    (
        "tencent_redis",
        &[
            (
                200,
                r#"{"Response":{"Error":{"Code":"LimitExceeded","Message":"m"},"RequestId":"x"}}"#,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"InvalidParameter.InvalidParameter","Message":"m"},"RequestId":"x"}}"#,
            ),
            (
                200,
                r#"{"Response":{"Error":{"Code":"ResourceNotFound.InstanceNotExists","Message":"m"},"RequestId":"x"}}"#,
            ),
            (502, "<html></html>"),
            (200, r#"{"Response":{"RequestId":"x"}}"#),
        ],
    ),
    (
        "huawei_dds",
        &[
            (400, r#"{"error_code":"DBS.280001","error_msg":"m"}"#),
            (400, r#"{"error_code":"DBS.200543","error_msg":"m"}"#),
            (403, r#"{"error_code":"DBS.280063","error_msg":"m"}"#),
            (200, r#"{"job":[]}"#),
            (200, r#"{"job":{}}"#),
            (200, r#"{"job":{"id":"another"}}"#),
        ],
    ),
    (
        "alibaba_adb",
        &[
            (400, r#"{"Code":"InvalidTaskId.Malformed","Message":"m","RequestId":"x"}"#),
            (404, r#"{"Code":"InvalidDBCluster.NotFound","Message":"m","RequestId":"x"}"#),
            (403, r#"{"Code":"Forbidden.RAM","Message":"m","RequestId":"x"}"#),
            (200, r#"{"TaskInfo":{"TaskId":1}}"#),
            (200, r#"{"RequestId":"x"}"#),
        ],
    ),
];

/// What each API may answer to the question for the task `1` without naming it, and what cannot be
/// the vendor's answer.
const WITHOUT_TASK: &[(&str, &[&str], &[&str])] = &[
    (
        "tencent_cdb",
        &[
            r#"{"Response":{"TotalCount":0,"Items":[],"RequestId":"x"}}"#,
            r#"{"Response":{"TotalCount":0,"Items":null,"RequestId":"x"}}"#,
            r#"{"Response":{"TotalCount":0,"RequestId":"x"}}"#,
            r#"{"Response":{"RequestId":"x"}}"#,
            r#"{"Response":{"TotalCount":1,"Items":[{"JobId":2}],"RequestId":"x"}}"#,
            r#"{"Response":{"TotalCount":1,"Items":[{}],"RequestId":"x"}}"#,
        ],
        &[
            r#"{"Response":{"TotalCount":1,"RequestId":"x"}}"#,
            r#"{"Response":{"Items":"?","RequestId":"x"}}"#,
            r#"{"Response":{"a":1}}"#,
            "{}",
        ],
    ),
    (
        "tencent_redis",
        &[
            r#"{"Response":{"RequestId":"x"}}"#,
            r#"{"Response":{"Status":null,"TaskType":"","RequestId":"x"}}"#,
            r#"{"Response":{"Status":"","RequestId":"x"}}"#,
        ],
        &[r#"{"Response":{"a":1}}"#, r#"{"Response":{}}"#, "{}"],
    ),
    (
        "huawei_dds",
        &[
            r#"{"job":[]}"#,
            r#"{"job":null}"#,
            r#"{"job":{}}"#,
            r#"{"job":""}"#,
            r#"{"job":{"id":null,"status":null}}"#,
            r#"{"job":{"id":"2","status":"Running"}}"#,
        ],
        &[r#"{"job":7}"#, r#"{"jobs":[]}"#, "{}"],
    ),
    (
        "alibaba_adb",
        &[
            r#"{"RequestId":"x"}"#,
            r#"{"TaskInfo":null,"RequestId":"x"}"#,
            r#"{"TaskInfo":{},"RequestId":"x"}"#,
            r#"{"TaskInfo":[]}"#,
            r#"{"TaskInfo":"","RequestId":"x"}"#,
            r#"{"TaskInfo":{"TaskId":null,"Status":null},"RequestId":"x"}"#,
            "<DescribeTaskInfoResponse><RequestId>x</RequestId></DescribeTaskInfoResponse>",
            "<DescribeTaskInfoResponse><RequestId>x</RequestId><TaskInfo/></DescribeTaskInfoResponse>",
            "<aResponse><RequestId>x</RequestId><TaskInfo><TaskId/><Status/></TaskInfo></aResponse>",
        ],
        &[
            r#"{"TaskInfo":7,"RequestId":"x"}"#,
            r#"{"a":1}"#,
            "{}",
            "<aResponse><a>1</a></aResponse>",
        ],
    ),
];

#[test]
fn an_answer_by_id_that_is_without_the_task_finds_none_and_a_strange_one_is_an_error() {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    for api in APIS {
        let asked =
            TaskRef { id: "1".into(), resource: Some(Resource::new("r-1").into()), started: None };
        let Some(query) = api.by_id(&asked, now) else { continue };
        let listed = WITHOUT_TASK.iter().find(|(name, ..)| *name == api.facts.name);
        let (_, none, strange) = listed.unwrap_or(match api.facts.cloud {
            Cloud::Alibaba => &("", &[r#"{"RequestId":"x"}"#], &["{}", r#"{"a":1}"#]),
            Cloud::Huawei => &("", &[], &["{}"]),
            Cloud::Tencent => &("", &[], &["{}", r#"{"Response":{}}"#]),
        });
        let target = Target {
            endpoint: String::new(),
            region: place(api.facts.name).0.to_owned(),
            project_id: "p".to_owned(),
            utc_offset: jiff::tz::Offset::UTC,
            format: Format::Json,
        };
        let decode = |body| api.decode(&target, &query, &answer(200, body));
        for body in *none {
            let tasks = decode(body).unwrap().tasks;
            assert!(
                tasks.iter().all(|task| *task.id != *"1"),
                "{} {body}: {tasks:?}",
                api.facts.name
            );
        }
        for body in *strange {
            assert!(decode(body).is_err(), "{} {body}", api.facts.name);
        }
    }
}

fn failures(lab: &Lab) -> u64 {
    lab.sum("dbtask_task_failures_total")
}

/// A task that began a day and an hour before the start, so that no list of the last day shows its
/// end, and fails half an hour after it.
fn old_task(api: &str) -> String {
    one_task(api, "[{run: {for: 25h 30m}}, {fail: {}}]").replace("kind:", "at: -25h, kind:")
}

#[tokio::test(start_paused = true)]
async fn one_odd_answer_about_a_task_that_has_left_the_list_loses_no_failure() {
    for (api, answers) in ODD {
        for &(status, body) in *answers {
            let odd = move |elapsed: Duration, request: &Request<Bytes>| {
                let minutes = elapsed.as_secs() / 60;
                ((29..32).contains(&minutes) && is_by_id(request)).then(|| answer(status, body))
            };
            let lab = Lab::through(&old_task(api), |_| {}, odd);
            lab.minutes(28).await;
            assert_eq!(lab.state("one", "1"), "running", "{api} {body}");
            lab.minutes(20).await;
            assert!(lab.snapshot("one").up, "{api} {body}");
            assert_eq!(lab.state("one", "1"), "failed", "{api} {body}");
            lab.scrape_by(1);
            lab.minutes(6).await;
            assert_eq!(failures(&lab), 1, "{api} {body}");
            lab.minutes(60).await;
            assert_eq!(failures(&lab), 1, "{api} {body}");
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_out_of_sight_for_a_week_is_found_when_it_fails_over_restarts_too() {
    const DAY: u64 = 24 * 60;
    // DDS says in clear words that there is no such job, and after two hours of that is believed.
    for api in ["tencent_cdb", "tencent_redis", "alibaba_polardb"] {
        for restart in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let life = "[{run: {for: 3h}}, {vanish: {for: 168h}}, {fail: {}}]";
            let mut lab = Lab::stored(&one_task(api, life), folder.path(), |config| {
                config.sources[0].poll.interval = Duration::from_hours(1);
                config.sources[0].poll.idle_interval = Duration::from_hours(1);
            })
            .await;
            lab.minutes(6 * 60).await;
            assert_eq!(lab.state("one", "1"), "-", "{api}");
            for _ in 0..3 {
                if restart {
                    lab = lab.crash().await.start();
                }
                lab.minutes(2 * DAY).await;
                assert_eq!((lab.state("one", "1"), failures(&lab)), ("-", 0), "{api}");
            }
            lab.minutes(DAY).await;
            assert_eq!(lab.state("one", "1"), "failed", "{api}");
            assert_eq!(failures(&lab), 1, "{api}");
            assert!(lab.snapshot("one").up, "{api}");
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_can_never_be_asked_for_is_found_by_the_list_though_it_began_long_ago() {
    for (api, no) in [
        (
            "tencent_redis",
            r#"{"Response":{"Error":{"Code":"UnauthorizedOperation","Message":"m"},"RequestId":"x"}}"#,
        ),
        (
            "tencent_cdb",
            r#"{"Response":{"Error":{"Code":"LimitExceeded","Message":"m"},"RequestId":"x"}}"#,
        ),
        ("huawei_dds", r#"{"error_code":"DBS.280001","error_msg":"m"}"#),
    ] {
        let odd =
            move |_: Duration, request: &Request<Bytes>| is_by_id(request).then(|| answer(200, no));
        let lab = Lab::through(&old_task(api), |_| {}, odd);
        lab.minutes(60).await;
        assert_eq!(lab.state("one", "1"), "failed", "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_no_rows_loses_no_failure() {
    for (api, empty) in [
        ("tencent_cdb", r#"{"Response":{"TotalCount":0,"Items":[],"RequestId":"x"}}"#),
        ("tencent_redis", r#"{"Response":{"TotalCount":0,"Tasks":[],"RequestId":"x"}}"#),
        ("huawei_dds", r#"{"jobs":[],"job":[]}"#),
        (
            "alibaba_polardb",
            r#"{"Tasks":{"Task":[]},"TotalRecordCount":0,"PageNumber":1,"RequestId":"x"}"#,
        ),
    ] {
        let odd = move |elapsed: Duration, request: &Request<Bytes>| {
            let minutes = elapsed.as_secs() / 60;
            let is_search =
                request.headers().get("x-acs-action").is_some_and(|it| it == "DescribeDBClusters");
            ((20..200).contains(&minutes) && !is_search).then(|| answer(200, empty))
        };
        let lab = Lab::through(&old_task(api), |_| {}, odd);
        lab.minutes(19).await;
        assert_eq!(lab.state("one", "1"), "running", "{api}");
        lab.minutes(100).await;
        assert_eq!(lab.state("one", "1"), "-", "{api}");
        lab.minutes(100).await;
        assert_eq!(lab.state("one", "1"), "failed", "{api}");
        assert_eq!(failures(&lab), 1, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_vendor_that_denies_a_task_for_hours_is_asked_no_more() {
    for (api, by_id, denial, other) in [
        (
            "huawei_dds",
            "ShowJobDetail",
            r#"{"error_code":"DBS.200543","error_msg":"m"}"#,
            r#"{"error_code":"DBS.280001","error_msg":"m"}"#,
        ),
        (
            "tencent_redis",
            "DescribeTaskInfo",
            r#"{"Response":{"Error":{"Code":"ResourceNotFound","Message":"m"},"RequestId":"x"}}"#,
            r#"{"Response":{"Error":{"Code":"InvalidParameter","Message":"m"},"RequestId":"x"}}"#,
        ),
    ] {
        for (body, ends) in [(denial, true), (other, false)] {
            let life = "[{run: {for: 10m}}, {vanish: {}}]";
            let status = if api == "huawei_dds" { 400 } else { 200 };
            let odd = move |_: Duration, request: &Request<Bytes>| {
                is_by_id(request).then(|| answer(status, body))
            };
            let lab = Lab::through(&one_task(api, life), |_| {}, odd);
            let calls = || {
                let labels = format!("operation=\"{by_id}\",source=\"one\"");
                lab.value(&format!("dbtask_api_requests_total{{{labels}}}")).unwrap()
            };
            lab.minutes(100).await;
            let early = calls();
            assert!((4..40).contains(&early), "{api} {body}: {early} calls");
            lab.minutes(60).await;
            assert!(calls() > early, "{api} {body}: not given up within two hours");
            let late = calls();
            lab.minutes(24 * 60).await;
            let calls = calls() - late;
            assert_eq!(calls == 0, ends, "{api} {body}: {calls} calls in a day");
            assert!(calls <= 24 * 4 + 1, "{api} {body}: {calls} calls in a day");
            assert!(lab.snapshot("one").up);
            lab.stop().await;
        }
    }
}

/// Which task a request of Redis or DDS is about, if it is about one.
fn task_of(request: &Request<Bytes>) -> Option<u32> {
    let text = format!("{} {}", request.uri(), String::from_utf8_lossy(request.body()));
    let rest = ["\"TaskId\":", "jobs?id="].iter().find_map(|word| text.split_once(word))?.1;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_that_have_vanished_delay_nothing_and_are_asked_for_in_turn_at_a_bounded_rate()
 {
    const VANISHED: u32 = 1000;
    for (api, idle) in [("tencent_redis", false), ("huawei_dds", true)] {
        let (region, resource) = place(api);
        let mut scenario = format!(
            "sources:\n  - name: one\n    api: {api}\n    region: {region}\n    resources: [{{id: {resource}}}]\n    tasks:\n"
        );
        for id in 1..=VANISHED {
            let life = "[{run: {for: 10m}}, {vanish: {}}]";
            writeln!(scenario, "      - {{id: '{id}', resource: {resource}, life: {life}}}")
                .unwrap();
        }
        // One that is asked for by its id, for no list shows its end, and one that the list shows.
        let old = "at: -25h, life: [{run: {for: 28h}}, {fail: {}}]";
        let new = "at: 2h, life: [{run: {for: 1h}}, {fail: {}}]";
        if !idle {
            for (id, life) in [(2001, old), (2002, new)] {
                writeln!(scenario, "      - {{id: '{id}', resource: {resource}, {life}}}").unwrap();
            }
        }
        let asked: Arc<Mutex<BTreeMap<u32, u32>>> = Arc::default();
        let (count, far) = (Arc::clone(&asked), Arc::new(AtomicU32::new(0)));
        let looks = Arc::clone(&far);
        let lab = Lab::through(
            &scenario,
            |config| {
                config.sources[0].limits.tasks_per_source = 2000;
                config.sources[0].poll.lookback = Duration::from_mins(1);
            },
            move |_, request| {
                // Ten minutes before they began: other lists go back to the last poll, or by a month.
                if String::from_utf8_lossy(request.body()).contains("2026-09-21 22:0") {
                    looks.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(task) = task_of(request) {
                    *count.lock().unwrap().entry(task).or_default() += 1;
                }
                None
            },
        );
        let polls = || lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap();
        lab.minutes(60).await;
        assert_eq!(lab.state("one", "1"), "unknown", "{api}");
        asked.lock().unwrap().clear();
        far.store(0, Ordering::Relaxed);
        let before = polls();
        lab.minutes(60).await;
        let calls: u32 = asked.lock().unwrap().range(..=VANISHED).map(|(_, count)| count).sum();
        assert!((1500..=1830).contains(&calls), "{api}: {calls} calls in an hour");
        let counts = asked.lock().unwrap().clone();
        let times = (1..=VANISHED).map(|id| counts.get(&id).copied().unwrap_or(0));
        let (least, most) = (times.clone().min().unwrap(), times.max().unwrap());
        assert!(least >= 1 && most <= 2, "{api}: some {least}, some {most} times");
        if api == "tencent_redis" {
            let far = far.load(Ordering::Relaxed);
            assert!((10..=21).contains(&far), "{far} lists go back to the vanished");
        }
        let polled = polls() - before;
        let (at_least, at_most) = if idle { (29, 31) } else { (118, 122) };
        assert!((at_least..=at_most).contains(&polled), "{api}: {polled} polls");
        if !idle {
            lab.minutes(61).await;
            assert_eq!(lab.state("one", "2002"), "failed", "{api}");
            assert_eq!(lab.state("one", "2001"), "failed", "{api}: it waits for none of them");
        }
        assert!(lab.snapshot("one").up, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_forgotten_with_the_ledgers_memory_of_it() {
    const DAY: u64 = 24 * 60;
    let lab = Lab::new(&one_task("huawei_dds", "[{run: {for: 10m}}, {vanish: {}}]"), |config| {
        config.sources[0].poll.idle_interval = Duration::from_hours(1);
    });
    let calls = || lab.calls("ShowJobDetail");
    lab.minutes(33 * DAY).await;
    let before = calls();
    lab.minutes(DAY).await;
    assert!(calls() > before || before > 0);
    lab.minutes(2 * DAY).await;
    let after = calls();
    lab.minutes(2 * DAY).await;
    assert_eq!(calls(), after);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_denied_for_a_while_loses_no_failure() {
    for api in ["tencent_cdb", "tencent_redis"] {
        let (region, instance) = place(api);
        let scenario = format!(
            "
sources:
  - name: one
    api: {api}
    region: {region}
    resources: [{{id: {instance}}}, {{id: {instance}-other}}]
    tasks:
      - {{id: '1', resource: {instance}, kind: ROLLBACK, at: -25h, life: [{{run: {{for: 25h 30m}}}}, {{fail: {{}}}}]}}
      - {{id: '2', resource: {instance}-other, kind: ROLLBACK, life: [{{hang: {{}}}}]}}
"
        );
        let denial = r#"{"Response":{"Error":{"Code":"ResourceNotFound.InstanceNotFound","Message":"m"},"RequestId":"x"}}"#;
        let odd = move |elapsed: Duration, request: &Request<Bytes>| {
            let minutes = elapsed.as_secs() / 60;
            let text = String::from_utf8_lossy(request.body()).into_owned();
            let denied = text.contains(&format!("\"{instance}\"")) || text.contains("TaskId");
            ((25..140).contains(&minutes) && denied).then(|| answer(200, denial))
        };
        let lab = Lab::through(
            &scenario,
            |config| {
                let ids = [instance.to_owned(), format!("{instance}-other")];
                config.sources[0].resources = ids
                    .iter()
                    .map(|id| dbtask_clouds::model::Resource::new(id.as_str()).into())
                    .collect();
            },
            odd,
        );
        lab.minutes(27).await;
        assert_eq!(lab.state("one", "1"), "unknown", "{api}");
        lab.minutes(100).await;
        assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("-", "running"), "{api}");
        lab.minutes(33).await;
        assert_eq!(lab.state("one", "1"), "failed", "{api}");
        lab.minutes(6).await;
        assert_eq!(failures(&lab), 1, "{api}");
        lab.stop().await;
    }
}
