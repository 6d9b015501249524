//! One cluster, instance or id that cannot be asked never slows the others.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::model::Resource;
use dbtask_exporter::config::Config;
use http::{Request, Response, StatusCode};

use crate::support::{Lab, Log, place, silence};

/// One way to say no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct No {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

/// There is never an answer.
pub(crate) const SILENCE: No = No { status: 0, code: "", reason: "timeout" };
/// The answer makes no sense.
const NONSENSE: No = No { status: 200, code: "{", reason: "decode" };

pub(crate) const ALIBABA: &[No] = &[
    No { status: 403, code: "Forbidden.RAM", reason: "auth" },
    No { status: 403, code: "OperationDenied.DBClusterStatus", reason: "auth" },
    No { status: 400, code: "InvalidDBClusterStatus.Malformed", reason: "client" },
    No { status: 404, code: "IncorrectDBInstanceState", reason: "client" },
    No { status: 500, code: "InternalError", reason: "server" },
    No { status: 503, code: "ServiceUnavailable", reason: "server" },
    NONSENSE,
    SILENCE,
];

const HUAWEI: &[No] = &[
    No { status: 403, code: "DBS.280063", reason: "auth" },
    No { status: 400, code: "DBS.280001", reason: "client" },
    No { status: 409, code: "DBS.200019", reason: "client" },
    No { status: 500, code: "DBS.280005", reason: "server" },
    NONSENSE,
    SILENCE,
];

const TENCENT: &[No] = &[
    No { status: 200, code: "UnauthorizedOperation", reason: "auth" },
    No { status: 200, code: "OperationDenied.WrongStatus", reason: "client" },
    No { status: 200, code: "LimitExceeded", reason: "client" },
    No { status: 200, code: "InternalError.DatabaseAccessError", reason: "server" },
    No { status: 502, code: "", reason: "server" },
    NONSENSE,
    SILENCE,
];

impl No {
    pub(crate) fn answer(self) -> Response<Bytes> {
        let code = self.code;
        let body = match code {
            _ if self.status == 0 => return silence(),
            "" => "<html>oops</html>".to_owned(),
            "{" => "{".to_owned(),
            _ if code.starts_with("DBS.") => {
                format!(r#"{{"error_code":"{code}","error_msg":"no"}}"#)
            }
            _ if self.status == 200 => {
                format!(
                    r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"no"}},"RequestId":"x"}}}}"#
                )
            }
            _ => format!(r#"{{"Code":"{code}","Message":"no","RequestId":"x","HostId":"h"}}"#),
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        Response::builder().status(status).body(body.into()).unwrap()
    }
}

/// How a source comes to ask for things one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Discovery,
    Resources,
    Ids,
}

const MINUTE: Duration = Duration::from_mins(1);
/// From this minute on one of three is refused, until that one.
const FROM: u64 = 5;
const UNTIL: u64 = 60;

/// Three resources with a task each; the second fails while it is refused.
fn three(api: &str, by: By) -> String {
    let (region, resource) = place(api);
    let mut scenario =
        format!("sources:\n  - name: one\n    api: {api}\n    region: {region}\n    resources:\n");
    for n in 1..=3 {
        writeln!(scenario, "      - {{id: {resource}{n}}}").unwrap();
    }
    if api == "huawei_dds" {
        // Else the list would show them.
        scenario.push_str("    faults: [{kind: missing_list}]\n");
    }
    scenario.push_str("    tasks:\n");
    for (n, minutes) in [(1, 20), (2, 40), (3, 90)] {
        let configured = by == By::Ids;
        writeln!(
            scenario,
            "      - {{id: '7000{n}', resource: {resource}{n}, kind: RESIZE, configured: {configured}, life: [{{run: {{for: {minutes}m}}}}, {{fail: {{}}}}]}}"
        )
        .unwrap();
    }
    scenario
}

fn configure(config: &mut Config, api: &str, by: By) {
    let (_, resource) = place(api);
    if by == By::Resources {
        let ids = (1..=3).map(|n| Resource::new(format!("{resource}{n}")).into());
        config.sources[0].resources = ids.collect();
    }
}

/// Whether a request is about the second of three.
fn is_about_second(request: &Request<Bytes>, api: &str, by: By) -> bool {
    let (_, resource) = place(api);
    let text = format!("{} {}", request.uri(), String::from_utf8_lossy(request.body()));
    let has = |word: &str| text.contains(word);
    match (api, by) {
        ("tencent_cdb", _) | ("tencent_redis", By::Resources) => has(&format!("\"{resource}2\"")),
        ("tencent_redis", _) => has(":70002"),
        ("huawei_dds", _) => has("id=70002"),
        ("alibaba_adb", _) => has("TaskId=70002"),
        _ => has(&format!("DBClusterId={resource}2")),
    }
}

fn cases() -> Vec<(&'static str, By, No)> {
    let mut cases = Vec::new();
    for (api, by, noes) in [
        ("alibaba_polardb", By::Discovery, ALIBABA),
        ("alibaba_polardb", By::Resources, ALIBABA),
        ("alibaba_adb", By::Ids, ALIBABA),
        ("huawei_dds", By::Ids, HUAWEI),
        ("tencent_cdb", By::Resources, TENCENT),
        ("tencent_redis", By::Resources, TENCENT),
    ] {
        cases.extend(noes.iter().map(|&no| (api, by, no)));
    }
    cases
}

fn lab(api: &'static str, by: By, no: No) -> Lab {
    let tamper = move |elapsed: Duration, request: &Request<Bytes>| {
        let refuses =
            (FROM * MINUTE.as_secs()..UNTIL * MINUTE.as_secs()).contains(&elapsed.as_secs());
        (refuses && is_about_second(request, api, by)).then(|| no.answer())
    };
    Lab::through(&three(api, by), |config| configure(config, api, by), tamper)
}

fn polls(lab: &Lab) -> u64 {
    lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap()
}

fn failing(lab: &Lab, reason: &str) -> Option<u64> {
    let labels = format!("source=\"one\",reason=\"{reason}\"");
    lab.value(&format!("dbtask_source_resources_failing{{{labels}}}"))
}

fn failures(lab: &Lab) -> u64 {
    lab.sum("dbtask_task_failures_total")
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_in_any_way_does_not_slow_the_others_and_is_named() {
    for (api, by, no) in cases() {
        let log = Log::listen();
        let lab = lab(api, by, no);
        let case = format!("{api} {by:?} {no:?}");
        lab.minutes(FROM - 1).await;
        assert_eq!(lab.sum("dbtask_source_resources_failing"), 0, "{case}");
        lab.minutes(2).await;
        let before = polls(&lab);
        for minute in FROM + 1..35 {
            let snapshot = lab.snapshot("one");
            assert!(snapshot.up, "{case} in minute {minute}: {:?}", snapshot.last_error);
            let names: Vec<&str> = snapshot.failing_resources.iter().map(|it| &*it.id).collect();
            let second =
                if by == By::Ids { "70002".to_owned() } else { format!("{}2", place(api).1) };
            assert_eq!(names, [second], "{case} in minute {minute}");
            assert_eq!(failing(&lab, no.reason), Some(1), "{case} in minute {minute}");
            assert_eq!(lab.state("one", "70003"), "running", "{case}");
            lab.minutes(1).await;
            if minute == 22 {
                assert_eq!(lab.state("one", "70001"), "failed", "{case}");
                let state = lab.state("one", "70002");
                assert_eq!(state, "unknown", "{case}: nothing was heard for stale_after");
            }
        }
        let polled = polls(&lab) - before;
        let minutes = 35 - FROM - 1;
        assert!((2 * minutes - 2..=2 * minutes + 1).contains(&polled), "{case}: {polled} polls");
        assert_eq!(log.lines("cannot be asked").len(), 1, "{case}: {}", log.text());
        assert_eq!(log.lines("polls fail"), [""; 0], "{case}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_refused_is_asked_again_and_what_ended_meanwhile_is_counted_once() {
    for (api, by, no) in cases() {
        let log = Log::listen();
        let lab = lab(api, by, no);
        let case = format!("{api} {by:?} {no:?}");
        lab.minutes(UNTIL - 1).await;
        lab.scrape_by(1);
        assert_eq!(failures(&lab), 1, "{case}");
        lab.minutes(17).await;
        assert_eq!(lab.sum("dbtask_source_resources_failing"), 0, "{case}");
        assert_eq!(lab.state("one", "70002"), "failed", "{case}");
        lab.minutes(10).await;
        assert_eq!(failures(&lab), 2, "{case}");
        assert_eq!(log.lines("again").len(), 1, "{case}: {}", log.text());
        assert_eq!(lab.sum("dbtask_source_coverage_gaps_total"), 0, "{case}");
        assert_eq!(lab.sum("dbtask_source_poll_failures_total"), 0, "{case}");
        lab.minutes(20).await;
        assert_eq!(failures(&lab), 3, "{case}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_was_refused_over_a_restart_loses_nothing() {
    let no = No { status: 403, code: "Forbidden.RAM", reason: "auth" };
    let folder = tempfile::tempdir().unwrap();
    let setup = lab("alibaba_polardb", By::Discovery, no).crash().await;
    let every_minute = |config: &mut Config| config.sources[0].poll.lookback = MINUTE;
    let mut setup = setup.stored(folder.path());
    every_minute(&mut setup.config);
    let lab = setup.start();
    lab.minutes(FROM + 30).await;
    assert_eq!(lab.sum("dbtask_source_resources_failing"), 1);
    let lab = lab.crash().await.start();
    lab.minutes(UNTIL - FROM - 20).await;
    assert_eq!(lab.state("one", "70002"), "failed", "its list went back to where it was covered");
    lab.minutes(6).await;
    lab.scrape_by(1);
    assert_eq!(failures(&lab), 2);
    lab.stop().await;
}

/// As many clusters as told, each with a task that goes on.
fn crowd(clusters: usize) -> String {
    let mut scenario = "sources:\n  - name: one\n    api: alibaba_polardb\n    region: cn-hangzhou\n    resources:\n".to_owned();
    for n in 10..10 + clusters {
        writeln!(scenario, "      - {{id: pc-{n}}}").unwrap();
    }
    scenario.push_str("    tasks:\n");
    for n in 10..10 + clusters {
        writeln!(
            scenario,
            "      - {{id: '{n}', resource: pc-{n}, kind: RESIZE, life: [{{hang: {{}}}}]}}"
        )
        .unwrap();
    }
    scenario
}

fn refuse(
    from: Duration,
    no: No,
    which: fn(u32) -> bool,
) -> impl Fn(Duration, &Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static {
    move |elapsed, request| {
        let uri = request.uri().to_string();
        let (_, rest) = uri.split_once("DBClusterId=pc-")?;
        let number = rest.get(..2)?.parse().ok()?;
        (elapsed >= from && which(number)).then(|| no.answer())
    }
}

#[tokio::test(start_paused = true)]
async fn several_that_never_answer_starve_nobody() {
    for no in [SILENCE, No { status: 500, code: "InternalError", reason: "server" }] {
        // Seven of twenty, the first ones among them.
        let lab = Lab::through(&crowd(20), |_| {}, refuse(Duration::ZERO, no, |n| n < 17));
        lab.minutes(10).await;
        for n in 17..30 {
            assert_eq!(lab.state("one", &n.to_string()), "running", "{n}");
        }
        let before = polls(&lab);
        for _ in 0..60 {
            lab.minutes(1).await;
            assert!(lab.snapshot("one").up, "{:?}", lab.snapshot("one").last_error);
            assert_eq!(lab.snapshot("one").states[1], 13, "{no:?}");
        }
        assert!(polls(&lab) - before > 60, "{} polls in an hour", polls(&lab) - before);
        assert_eq!(failing(&lab, no.reason), Some(7));
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_that_are_refused_cost_the_others_no_poll() {
    let no = No { status: 403, code: "Forbidden.RAM", reason: "auth" };
    let lab = Lab::through(&crowd(20), |_| {}, refuse(Duration::ZERO, no, |n| n < 29));
    for _ in 0..60 {
        lab.minutes(1).await;
        assert!(lab.snapshot("one").up);
        assert_eq!(lab.state("one", "29"), "running");
    }
    assert_eq!(failing(&lab, "auth"), Some(19));
    let names = lab.snapshot("one").failing_resources.clone();
    assert!(names.iter().all(|it| it.message.contains("Forbidden.RAM")), "{names:?}");
    let refused = lab.sum("dbtask_api_request_failures_total");
    assert!(refused < 19 * 15, "{refused} calls for what is refused, in an hour");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_of_which_nothing_may_be_asked_is_down() {
    for no in ALIBABA {
        let lab = Lab::through(&crowd(5), |_| {}, refuse(5 * MINUTE, *no, |_| true));
        lab.minutes(4).await;
        assert!(lab.snapshot("one").up);
        lab.minutes(3).await;
        for _ in 0..30 {
            let snapshot = lab.snapshot("one");
            assert_eq!(
                (snapshot.up, snapshot.last_error_reason),
                (false, Some(no.reason)),
                "{no:?}"
            );
            lab.minutes(1).await;
        }
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_away_costs_few_timeouts_a_poll() {
    let lab = Lab::through(&crowd(40), |_| {}, refuse(5 * MINUTE, SILENCE, |_| true));
    lab.minutes(4).await;
    let timeouts = || {
        let labels = "operation=\"DescribeTasks\",reason=\"timeout\",source=\"one\"";
        lab.value(&format!("dbtask_api_request_failures_total{{{labels}}}")).unwrap_or(0)
    };
    assert_eq!(timeouts(), 0);
    let before = polls(&lab);
    lab.minutes(120).await;
    let (timeouts, polls) = (timeouts(), polls(&lab) - before);
    assert!(timeouts <= 3 * polls, "{timeouts} in {polls} polls");
    assert!(timeouts > 40, "each has been tried");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_without_the_call_for_one_task_does_not_take_the_list_down() {
    for (api, no) in
        [("tencent_redis", TENCENT[0]), ("huawei_dds", HUAWEI[0]), ("tencent_cdb", TENCENT[0])]
    {
        let (region, resource) = place(api);
        // The first leaves the list and is asked for, the second is only listed.
        let scenario = format!(
            "
sources:
  - name: one
    api: {api}
    region: {region}
    resources: [{{id: {resource}}}]
    tasks:
      - {{id: '1', resource: {resource}, kind: '10', life: [{{run: {{for: 10m}}}}, {{vanish: {{}}}}]}}
      - {{id: '2', resource: {resource}, kind: '10', at: 1m, life: [{{run: {{for: 30m}}}}, {{fail: {{}}}}]}}
"
        );
        let lab = Lab::through(
            &scenario,
            |_| {},
            move |_, request| {
                let text =
                    format!("{} {:?} {:?}", request.uri(), request.headers(), request.body());
                // MySQL asks for one task by its instance.
                let by_id = ["DescribeTaskInfo", "jobs?id=", r#"InstanceId\""#];
                by_id.iter().any(|word| text.contains(word)).then(|| no.answer())
            },
        );
        for minute in 0..60 {
            lab.minutes(1).await;
            assert!(lab.snapshot("one").up, "{api}: {:?}", lab.snapshot("one").last_error);
            if (12..40).contains(&minute) {
                assert_eq!(failing(&lab, "auth"), Some(1), "{api} in minute {minute}");
            }
        }
        assert_eq!(lab.state("one", "2"), "failed", "{api}");
        assert!(polls(&lab) > 60, "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_refused_where_there_is_no_list_takes_nothing_down() {
    for no in HUAWEI.iter().filter(|no| !["server", "timeout", "decode"].contains(&no.reason)) {
        let scenario = three("huawei_dds", By::Ids);
        for ids in [1, 2] {
            let lab = Lab::through(
                &scenario,
                |config| {
                    let ids: &[&str] = if ids == 2 { &["70002", "70003"] } else { &["70002"] };
                    config.sources[0].tasks.retain(|task| ids.contains(&&*task.id));
                },
                move |_, request| {
                    request.uri().to_string().contains("id=70002").then(|| no.answer())
                },
            );
            for _ in 0..60 {
                lab.minutes(1).await;
                assert!(
                    lab.snapshot("one").up,
                    "{no:?}, {ids} ids: {:?}",
                    lab.snapshot("one").last_error
                );
                assert_eq!(failing(&lab, no.reason), Some(1), "{no:?}");
            }
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_failure_of_an_id_that_was_refused_at_first_is_part_of_the_baseline() {
    // Redis tells no end by id, and its list does not reach back to these two.
    let (region, resource) = place("tencent_redis");
    let old = "kind: FLOW_CLEAN, at: -40h, configured: true, life: [{run: {for: 1h}}, {fail: {}}]";
    let scenario = format!(
        "sources:\n  - name: one\n    api: tencent_redis\n    region: {region}\n    \
         resources: [{{id: {resource}}}]\n    tasks:\n      \
         - {{id: '70001', resource: {resource}, {old}}}\n      \
         - {{id: '70002', resource: {resource}, {old}}}\n"
    );
    for no in TENCENT {
        let refused = move |elapsed: Duration, request: &Request<Bytes>| {
            let refuses = elapsed < 6 * MINUTE;
            (refuses && is_about_second(request, "tencent_redis", By::Ids)).then(|| no.answer())
        };
        let lab = Lab::through(&scenario, |_| {}, refused);
        lab.scrape_by(1);
        lab.minutes(40).await;
        assert_eq!(lab.state("one", "70002"), "failed", "{no:?}");
        assert_eq!(failures(&lab), 0, "{no:?}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_for_several_that_is_refused_for_one_is_asked_for_each() {
    let scenario = "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{id: am-1}, {id: am-2}, {id: am-3}]
    tasks:
      - {id: a, resource: am-1, kind: Scale, life: [{hang: {}}]}
      - {id: b, resource: am-2, kind: Scale, life: [{hang: {}}]}
      - {id: c, resource: am-3, kind: Scale, life: [{hang: {}}]}
";
    let configure = |config: &mut Config| {
        config.sources[0].resources =
            ["am-1", "am-2", "am-3"].map(|id| Resource::new(id).into()).into();
    };
    for no in &ALIBABA[..4] {
        let lab = Lab::through(scenario, configure, |elapsed, request| {
            let refuses = elapsed > 10 * MINUTE && request.uri().to_string().contains("am-2");
            refuses.then(|| no.answer())
        });
        lab.minutes(5).await;
        assert_eq!(lab.snapshot("one").states[1], 3);
        for _ in 0..60 {
            lab.minutes(1).await;
            let snapshot = lab.snapshot("one");
            assert!(snapshot.up, "{no:?}: {:?}", snapshot.last_error);
            let running = snapshot.tasks.iter().filter(|it| &*it.task.resource.id != "am-2");
            let states: Vec<&str> = running.map(|it| it.task.state.as_str()).collect();
            assert_eq!(states, ["running", "running"], "{no:?}");
        }
        let names = lab.snapshot("one").failing_resources.clone();
        assert_eq!((names.len(), &*names[0].id), (1, "am-2"), "{no:?}");
        lab.stop().await;
    }
}
