//! `check --online` says of each source what one answer proves, and nothing more.

use std::net::Ipv4Addr;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::cloud::Credentials;
use dbtask_exporter::collect::check;
use dbtask_exporter::collect::check::{Finding, Verdict};
use dbtask_exporter::platform::clock::Clock;
use dbtask_simulator::{Scenario, SimulatedCloud};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::support::{Lab, place};

/// A source with one resource and these faults. Its account is its own.
fn source(name: &str, api: &str, faults: &str) -> String {
    let (region, resource) = place(api);
    format!(
        "  - {{name: {name}, api: {api}, region: {region}, resources: [{{id: {resource}}}], \
         faults: [{faults}]}}\n"
    )
}

/// What the program says to the configuration for clouds with these sources, once `adjust` has
/// changed it.
async fn checked(
    sources: &str,
    adjust: impl FnOnce(String) -> String,
) -> (Report, Arc<SimulatedCloud>) {
    let scenario = Scenario::parse(&format!("sources:\n{sources}")).unwrap();
    let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let text = cloud.configuration(&format!("http://{}", listener.local_addr().unwrap()));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Arc::clone(&cloud).serve(listener, stop.clone()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, adjust(text)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
        .args(["check", "--online", "--log.level=debug"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    stop.cancel();
    serving.await.unwrap();
    (Report::of(&output), cloud)
}

/// What the program has printed.
struct Report {
    code: Option<i32>,
    out: String,
    log: String,
}

impl Report {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), log: text(&output.stderr) }
    }

    /// The cells of a source's row, from the third on: operation and verdicts.
    fn row(&self, source: &str) -> Vec<&str> {
        let mut lines = self.out.lines().map(|line| line.split("  ").map(str::trim));
        let row = lines.find(|cells| cells.clone().next() == Some(source));
        let row = row.unwrap_or_else(|| panic!("{source} is not in\n{}\n{}", self.out, self.log));
        row.filter(|cell| !cell.is_empty()).skip(2).collect()
    }

    /// The lines below the table that are about a source.
    fn told(&self, source: &str) -> String {
        let about = format!("{source}: ");
        let lines = self.out.lines().filter_map(|line| line.strip_prefix(&about));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn where_all_is_well_every_source_says_yes_and_the_exit_code_is_0() {
    let apis = [
        ("alibaba_adb", "DescribeDBClusters"),
        ("alibaba_polardb", "DescribeDBClusters"),
        ("huawei_dds", "ListTasks"),
        ("tencent_redis", "DescribeTaskList"),
        ("tencent_cdb", "DescribeTasks"),
    ];
    let sources: String = apis.iter().map(|(api, _)| source(api, api, "")).collect();
    let (report, cloud) = checked(&sources, |text| text).await;
    for (api, operation) in apis {
        assert_eq!(report.row(api), [operation, "yes", "yes", "yes", "yes"], "{api}");
    }
    assert_eq!(report.code, Some(0), "{}\n{}", report.out, report.log);
    assert_eq!(cloud.request_count(), 5, "one call for each source");
    assert_eq!(report.told("tencent_redis"), "not tried: redis:DescribeTaskInfo");
    assert!(!report.out.contains("Grant"), "{}", report.out);
}

#[tokio::test]
async fn where_nothing_is_listed_one_of_the_ids_is_asked_for() {
    let flow = |name: &str, task: &str| {
        format!(
            "  - {{name: {name}, api: tencent_mariadb, region: ap-guangzhou, \
             resources: [{{id: tdsql-a}}], tasks: [{task}]}}\n"
        )
    };
    let task = "{id: '7', resource: tdsql-a, configured: true, life: [{hang: {}}]}";
    let sources = flow("given", task) + &flow("empty", "");
    let (report, cloud) = checked(&sources, |text| text).await;
    assert_eq!(report.row("given"), ["DescribeFlow", "yes", "yes", "yes", "yes"]);
    assert_eq!(cloud.request_count(), 1, "without an id there is nothing to ask");
}

/// Name, API, faults, verdicts, and words that have to be said.
type Case = (&'static str, &'static str, &'static str, [&'static str; 4], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "ram",
        "alibaba_adb",
        "{kind: forbidden}",
        ["yes", "yes", "yes", "no"],
        &["Forbidden.RAM", "adb:DescribeDBClusters is missing, says alibaba"],
    ),
    (
        "cam",
        "tencent_cdb",
        "{kind: forbidden}",
        ["yes", "yes", "yes", "no"],
        &["UnauthorizedOperation", "cdb:DescribeTasks is missing, says tencent"],
    ),
    (
        "iam",
        "huawei_dds",
        "{kind: forbidden}",
        ["yes", "yes", "yes", "no"],
        &["DBS.280063", "dds:task:list is missing, says huawei"],
    ),
    (
        "key-a",
        "alibaba_adb",
        "{kind: unauthorized}",
        ["yes", "yes", "no", "unknown"],
        &["SignatureDoesNotMatch"],
    ),
    (
        "key-h",
        "huawei_dds",
        "{kind: unauthorized}",
        ["yes", "yes", "no", "unknown"],
        &["APIGW.0301"],
    ),
    (
        "key-t",
        "tencent_cdb",
        "{kind: unauthorized}",
        ["yes", "yes", "no", "unknown"],
        &["AuthFailure.SignatureFailure"],
    ),
    (
        "ended",
        "tencent_cdb",
        "{kind: expired_token}",
        ["yes", "yes", "no", "unknown"],
        &["AuthFailure.TokenFailure", "the session has ended"],
    ),
    (
        "slow",
        "tencent_cdb",
        "{kind: throttle}",
        ["yes", "yes", "unknown", "unknown"],
        &["RequestLimitExceeded", "asked too often"],
    ),
    (
        "ill",
        "alibaba_adb",
        "{kind: server_error}",
        ["yes", "yes", "unknown", "unknown"],
        &["ServiceUnavailable"],
    ),
    ("html", "tencent_cdb", "{kind: html}", ["unknown"; 4], &["503", "load balancer"]),
    ("login", "tencent_cdb", "{kind: html, status: 200}", ["unknown"; 4], &["in between"]),
    ("moved", "huawei_dds", "{kind: redirect}", ["unknown"; 4], &["302"]),
    ("cut", "tencent_cdb", "{kind: cut}", ["unknown"; 4], &["cut short"]),
    (
        "reset",
        "tencent_cdb",
        "{kind: reset}",
        ["no", "unknown", "unknown", "unknown"],
        &["http://127.0.0.1:"],
    ),
    (
        "hang",
        "tencent_cdb",
        "{kind: hang}",
        ["no", "unknown", "unknown", "unknown"],
        &["no answer in time"],
    ),
    (
        "gone",
        "tencent_cdb",
        "",
        ["no", "unknown", "unknown", "unknown"],
        &["http://127.0.0.1:1: ", "proxy_url"],
    ),
];

#[tokio::test]
async fn every_trouble_is_told_apart_and_no_secret_is_shown_in_any() {
    let sources: String =
        CASES.iter().map(|(name, api, faults, ..)| source(name, api, faults)).collect();
    let (report, cloud) = checked(&sources, |text| {
        let (before, gone) = text.split_once("name: gone").unwrap();
        let (_, port) = gone.split_once("http://127.0.0.1:").unwrap();
        let port = port.split('\n').next().unwrap();
        let gone = gone.replacen(port, "1", 1);
        format!("{before}name: gone{gone}").replacen("poll:\n", "poll:\n  timeout: 8s\n", 1)
    })
    .await;
    for (name, _, _, verdicts, words) in CASES {
        assert_eq!(report.row(name)[1..], *verdicts, "{name}\n{}", report.out);
        for word in *words {
            assert!(report.told(name).contains(word), "{name}: {}", report.told(name));
        }
        let Some(Credentials::Keys(keys)) = cloud.credentials(name) else { panic!() };
        let secret = keys.secret_access_key.expose_secret();
        assert!(!report.out.contains(secret) && !report.log.contains(secret), "{name}");
        assert!(!report.out.contains("CanonicalRequest"), "{name}");
    }
    assert_eq!(report.code, Some(1));
    assert!(!report.out.contains('\u{1b}'), "no colour is needed");
    // Who lacks a permission is told what grants it, and nobody else.
    assert_eq!(report.out.matches("\nGrant to ").count(), 3, "{}", report.out);
    for (account, action) in
        [("alibaba-ram", "adb:DescribeTaskInfo"), ("tencent-cam", "cdb:DescribeTasks")]
    {
        let (_, policy) = report.out.split_once(&format!("\nGrant to {account} ")).unwrap();
        let policy = policy.split("\n\n").next().unwrap();
        assert!(policy.contains(action), "{policy}");
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_a_problem_though_the_rest_is_well() {
    let ahead = "{kind: skewed_clock, offset: 20m}";
    let sources =
        source("tencent", "tencent_cdb", ahead) + &source("alibaba", "alibaba_adb", ahead);
    let (report, _) = checked(&sources, |text| text).await;
    for name in ["tencent", "alibaba"] {
        let row = report.row(name);
        assert!(row[2].starts_with("no, ") && row[2].ends_with(" behind"), "{row:?}");
        assert_eq!([row[1], row[3], row[4]], ["yes"; 3], "{}", report.out);
        assert!(report.told(name).contains("NTP"), "{}", report.out);
    }
    assert_eq!(report.code, Some(1));
}

#[tokio::test]
async fn a_policy_grants_what_the_sources_of_the_account_need_and_nothing_else() {
    let (region, cluster) = place("alibaba_polardb");
    let fault = "faults: [{kind: forbidden}]";
    let sources = format!(
        "  - {{name: one, api: alibaba_polardb, region: {region}, account: a, \
         resources: [{{id: {cluster}}}], {fault}}}\n\
         \x20 - {{name: two, api: tencent_redis, region: ap-guangzhou, account: b, resources: [{{id: crs-1}}]}}\n"
    );
    // Clusters that are configured are not looked for.
    let (report, _) = checked(&sources, |text| {
        let name = "name: one\n";
        let (before, after) = text.split_once(name).unwrap();
        format!("{before}{name}  resources: [{cluster}]\n{after}")
    })
    .await;
    assert_eq!(report.row("one")[0], "DescribeTasks", "{}", report.out);
    assert!(report.out.contains("polardb:DescribeTasks"), "{}", report.out);
    assert!(!report.out.contains("polardb:DescribeDBClusters"), "{}", report.out);
    assert_eq!(report.out.matches("\nGrant to ").count(), 1, "{}", report.out);
}

#[tokio::test]
async fn keys_that_are_refused_are_not_tried_again_for_their_other_sources() {
    let one = |n: u8| {
        format!(
            "  - {{name: s{n}, api: huawei_dds, region: cn-north-4, account: a, \
             resources: [{{id: '0123456789abcdef0123456789abcdein02'}}], \
             faults: [{{kind: unauthorized}}]}}\n"
        )
    };
    let sources: String = (1..=8).map(one).collect();
    let (report, cloud) = checked(&sources, |text| text).await;
    assert_eq!(cloud.request_count(), 1, "{}", report.out);
    assert_eq!(report.row("s8")[1..], ["unknown"; 4]);
    assert_eq!(
        report.told("s8").lines().next(),
        Some("not asked: the same keys were refused for s1")
    );
}

#[tokio::test]
async fn where_huawei_has_no_list_or_no_project_is_given_what_a_poll_would_ask_is_asked() {
    let task = "tasks: [{id: '1', resource: r, configured: true, life: [{finish: {}}]}]";
    let sources = format!(
        "  - {{name: ids, api: huawei_dds, region: eu-de, resources: [{{id: r}}], {task}}}\n\
         \x20 - {{name: none, api: huawei_dds, region: eu-de, resources: [{{id: r}}]}}\n\
         \x20 - {{name: project, api: huawei_dds, region: cn-north-4, resources: [{{id: r}}]}}\n"
    );
    let (report, cloud) = checked(&sources, |text| {
        let (before, project) = text.split_once("name: project").unwrap();
        let lines = project.lines().filter(|line| !line.contains("project_id"));
        let project = lines.collect::<Vec<_>>().join("\n");
        format!("{before}name: project{project}")
    })
    .await;
    assert_eq!(report.row("ids"), ["ShowJobDetail", "yes", "yes", "yes", "yes"], "{}", report.out);
    assert_eq!(report.row("none"), ["ListTasks", "yes", "yes", "unknown", "unknown"]);
    assert!(report.told("none").contains("give `tasks`"), "{}", report.out);
    assert_eq!(report.row("project"), ["ListTasks", "yes", "yes", "yes", "yes"], "{}", report.out);
    assert_eq!(report.told("project"), "", "the project was found, so it may be looked for");
    assert_eq!(cloud.request_count(), 5);
}

#[tokio::test]
async fn a_file_is_needed() {
    let output = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
        .args(["check", "--online"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn verdicts(finding: &Finding) -> [Verdict; 3] {
    [finding.reachable, finding.signature, finding.permission]
}

#[tokio::test(start_paused = true)]
async fn sources_are_asked_at_the_same_time_and_none_beyond_the_limit() {
    let sources: String = (0..30)
        .map(|n| source(&format!("s{n}"), "tencent_cdb", "{kind: slow, delay: 4s}"))
        .chain([source("hangs", "tencent_cdb", "{kind: hang}")])
        .collect();
    let (exporter, _cloud) = Lab::unstarted(&format!("sources:\n{sources}"));
    let begun = Instant::now();
    let findings = check::ask(exporter.into_sources(), Duration::from_secs(10)).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    let (hangs, others) = findings.split_last().unwrap();
    assert!(others.iter().all(|finding| verdicts(finding) == [Verdict::Yes; 3]));
    assert_eq!(others.len(), 30);
    assert_eq!(verdicts(hangs), [Verdict::Unknown; 3]);
    assert!(hangs.is_problem() && hangs.trouble[0].contains("time for all questions"));
}
