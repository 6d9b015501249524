//! Tencent Cloud's databases beside MySQL and Redis: what is asked, what answers say, and what the simulated
//! cloud answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Page, Query, Scope, Target, TaskApi, TaskRef, Unreadable};
use dbtask_clouds::catalog::{self, APIS};
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::World;
use http::Response;
use serde_json::{Value, json};

use crate::golden::{
    answer, ask, check_fixtures, fixture, fixtures, list_requests, page_text, request_text,
    resource, target, task_text, time,
};

fn api(name: &str) -> &'static TaskApi {
    catalog::named(name).unwrap()
}

fn guangzhou(api: &TaskApi) -> Target {
    target(api, "ap-guangzhou", 8)
}

fn now() -> Timestamp {
    time("2026-03-01T12:00:00Z")
}

fn scope(resources: &[Arc<Resource>]) -> Scope<'_> {
    Scope { now: now(), since: time("2026-02-28T12:00:00Z"), resources, tags: &[] }
}

fn by_id(api: &TaskApi, id: &str) -> Query {
    let resource = Some(resource("mssql-njj2mtpl", None));
    api.by_id(&TaskRef { id: id.into(), resource, started: None }, now()).unwrap()
}

/// What an answer of this name was asked with.
fn question(api: &TaskApi, stem: &str) -> Option<Query> {
    let is_flow = |start: &&str| stem.starts_with(start);
    let flows = ["describe-flow", "describe-async-request-info", "describe-task-info"];
    if flows.iter().any(is_flow) {
        return Some(by_id(api, "1207003"));
    }
    if stem.starts_with("describe-db-instances") {
        return None;
    }
    let resources =
        if api.discovers() { vec![resource("mssql-njj2mtpl", None)] } else { Vec::new() };
    Some(Query { resources, ..Query::new(api.facts.operations[0]) })
}

const NEW: &[&str] = &[
    "tencent_keewidb",
    "tencent_postgres",
    "tencent_cynosdb",
    "tencent_dts_migration",
    "tencent_dts_sync",
    "tencent_sqlserver",
    "tencent_dcdb",
    "tencent_tcaplusdb",
    "tencent_mongodb",
    "tencent_mariadb",
    "tencent_tdmysql",
    "tencent_cynosdb_flow",
    "tencent_dcdb_flow",
    "tencent_sqlserver_flow",
];

#[test]
fn recorded_answers_are_read() {
    for name in NEW {
        let api = api(name);
        check_fixtures(api, &guangzhou(api), |stem| question(api, stem));
    }
}

/// What stands in recorded and simulated answers where real ones have secrets.
const CANARY: &str = "NEVER-SHOW";

#[test]
fn no_secret_of_an_answer_reaches_a_page() {
    let (mut secrets, mut pages) = (0, 0);
    for api in APIS.iter().filter(|api| api.facts.cloud == Cloud::Tencent) {
        for (name, body) in fixtures(api) {
            let stem = name.rsplit_once('.').unwrap().0;
            secrets += usize::from(String::from_utf8_lossy(&body).contains(CANARY));
            let Some(query) = question(api, stem) else { continue };
            for task in [None, Some("1207003"), Some("120405"), Some("dts-er000002")] {
                let task = task.map(|id| TaskRef { id: id.into(), resource: None, started: None });
                let query = Query { task, ..query.clone() };
                let answer = Response::new(body.clone());
                let decoded = api.decode(&guangzhou(api), &query, &answer);
                assert!(!format!("{decoded:?}").contains(CANARY), "{} {name}", api.facts.name);
                pages += 1;
            }
        }
    }
    assert!(secrets >= 15 && pages > 200, "{secrets} answers with secrets, {pages} pages");
}

/// A table of the words for each state.
type States = &'static [(&'static str, TaskState)];

/// One word for each way in which a product differs from what one would expect.
const STATES: &[(&str, States)] = &[
    // The numbers of the lists, and of the flows of the same products.
    (
        "tencent_dcdb",
        &[
            ("0", TaskState::Pending),
            ("1", TaskState::Running),
            ("2", TaskState::Succeeded),
            ("3", TaskState::Failed),
            ("4", TaskState::Unknown),
            ("", TaskState::Unknown),
        ],
    ),
    (
        "tencent_dcdb_flow",
        &[
            ("0", TaskState::Succeeded),
            ("1", TaskState::Failed),
            ("2", TaskState::Running),
            ("3", TaskState::Unknown),
            ("", TaskState::Unknown),
        ],
    ),
    (
        "tencent_sqlserver",
        &[
            ("0", TaskState::Unknown),
            ("1", TaskState::Running),
            ("2", TaskState::Succeeded),
            ("3", TaskState::Failed),
        ],
    ),
    (
        "tencent_sqlserver_flow",
        &[
            ("0", TaskState::Succeeded),
            ("1", TaskState::Failed),
            ("2", TaskState::Running),
            ("3", TaskState::Unknown),
        ],
    ),
    (
        "tencent_mongodb",
        &[
            ("initial", TaskState::Pending),
            ("running", TaskState::Running),
            ("success", TaskState::Succeeded),
            ("failed", TaskState::Failed),
            ("paused", TaskState::Failed),
            ("undoed", TaskState::Failed),
            ("waitSwitch", TaskState::Unknown),
        ],
    ),
    (
        "tencent_tdmysql",
        &[("paused", TaskState::Paused), ("failed", TaskState::Failed), ("0", TaskState::Unknown)],
    ),
    (
        "tencent_postgres",
        &[
            ("Fail", TaskState::Failed),
            ("WaitSwitch", TaskState::Paused),
            ("Pause", TaskState::Paused),
            ("Failed", TaskState::Unknown),
        ],
    ),
    (
        "tencent_dts_migration",
        &[("readyComplete", TaskState::Paused), ("resumableErr", TaskState::Failed)],
    ),
    ("tencent_dts_sync", &[("ResumableErr", TaskState::Failed), ("Stopped", TaskState::Canceled)]),
    ("tencent_keewidb", &[("3", TaskState::Unknown), ("4", TaskState::Failed)]),
    ("tencent_cynosdb", &[("processing", TaskState::Running), ("melting", TaskState::Unknown)]),
];

#[test]
fn a_word_means_what_its_own_product_means_by_it() {
    for &(name, states) in STATES {
        for &(word, state) in states {
            assert_eq!(api(name).facts.state(word), state, "{name} {word:?}");
        }
    }
}

/// The body of each request of a poll, behind its action.
fn bodies(api: &TaskApi, queries: &[Query]) -> Vec<String> {
    let body = |query: &Query| {
        let request = api.facts.cloud.request(&guangzhou(api), query);
        let action = request.headers()["x-tc-action"].to_str().unwrap().to_owned();
        format!("{action} {}", std::str::from_utf8(request.body()).unwrap())
    };
    queries.iter().map(body).collect()
}

fn listed(api: &TaskApi, resources: &[&str]) -> Vec<String> {
    let resources: Vec<_> = resources.iter().map(|id| resource(id, None)).collect();
    bodies(api, &api.list(&scope(&resources)))
}

#[test]
fn a_request_names_its_action_version_and_region() {
    for (name, host, action, version) in [
        ("tencent_postgres", "postgres", "DescribeTasks", "2017-03-12"),
        ("tencent_cynosdb", "cynosdb", "DescribeTasks", "2019-01-07"),
        ("tencent_dts_migration", "dts", "DescribeMigrationJobs", "2021-12-06"),
        ("tencent_dts_sync", "dts", "DescribeSyncJobs", "2021-12-06"),
        ("tencent_dcdb", "dcdb", "DescribeUserTasks", "2018-04-11"),
        ("tencent_tcaplusdb", "tcaplusdb", "DescribeTasks", "2019-08-23"),
        ("tencent_keewidb", "keewidb", "DescribeTaskList", "2022-03-08"),
    ] {
        let api = api(name);
        let requests = list_requests(api, &guangzhou(api), &scope(&[]));
        let start = format!(
            "POST https://{host}.tencentcloudapi.com/\ncontent-type: application/json\n\
             x-tc-action: {action}\nx-tc-language: en-US\nx-tc-region: ap-guangzhou\n\
             x-tc-version: {version}\n\n{{"
        );
        assert!(requests.iter().all(|request| request.starts_with(&start)), "{requests:?}");
    }
}

#[test]
fn each_site_and_finance_region_has_its_host() {
    for (name, host, has_intl) in [
        ("tencent_postgres", "postgres", true),
        ("tencent_cynosdb", "cynosdb", true),
        ("tencent_dts_sync", "dts", true),
        ("tencent_sqlserver", "sqlserver", true),
        ("tencent_dcdb", "dcdb", false),
        ("tencent_dcdb_flow", "dcdb", true),
        ("tencent_mongodb", "mongodb", true),
        ("tencent_mariadb", "mariadb", false),
        ("tencent_tdmysql", "tdmysql", false),
        ("tencent_keewidb", "keewidb", false),
        ("tencent_tcaplusdb", "tcaplusdb", true),
    ] {
        let (api, end) = (api(name), "tencentcloudapi.com");
        assert_eq!(api.endpoint("ap-guangzhou"), format!("https://{host}.{end}"));
        let finance = "ap-shenzhen-fsi";
        assert_eq!(api.endpoint(finance), format!("https://{host}.{finance}.{end}"));
        let intl = api.facts.endpoints.named("intl", "ap-singapore");
        assert_eq!(intl, has_intl.then(|| format!("https://{host}.intl.{end}")), "{name}");
    }
}

#[test]
fn postgres_asks_for_its_window_and_at_first_for_180_days() {
    let api = api("tencent_postgres");
    assert_eq!(
        listed(api, &[]),
        [r#"DescribeTasks {"Limit":100,"MinStartTime":"2026-02-28 20:00:00","Offset":0}"#]
    );
    assert_eq!(
        listed(api, &["postgres-a", "postgres-b"]),
        [
            r#"DescribeTasks {"DBInstanceId":"postgres-a","Limit":100,"MinStartTime":"2026-02-28 20:00:00","Offset":0}"#,
            r#"DescribeTasks {"DBInstanceId":"postgres-b","Limit":100,"MinStartTime":"2026-02-28 20:00:00","Offset":0}"#,
        ]
    );
    let first = api.first_look(&scope(&[]));
    assert_eq!(
        bodies(api, &first),
        [r#"DescribeTasks {"Limit":100,"MinStartTime":"2025-09-02 20:05:00","Offset":0}"#]
    );
    // Of all these days only what is unfinished is of interest.
    let body = fixture(api, "describe-tasks-every-status.json");
    let page = api.decode(&guangzhou(api), &first[0], &Response::new(body)).unwrap();
    let states: Vec<_> = page.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Running, TaskState::Paused, TaskState::Paused]);
    assert_eq!(page.unreadable, Unreadable::default());
    let one = by_id(api, "120405");
    assert_eq!(bodies(api, &[one]), [r#"DescribeTasks {"Limit":100,"Offset":0,"TaskId":120405}"#]);
}

#[test]
fn postgres_shows_the_steps_of_a_task() {
    let api = api("tencent_postgres");
    let steps = |file: &str, id: &str| {
        let body = fixture(api, file);
        let page = api.decode(&guangzhou(api), &by_id(api, id), &Response::new(body)).unwrap();
        let step = |step: &Step| {
            let progress = step.progress.map(Ratio::get);
            (step.name.to_string(), step.state, progress)
        };
        page.tasks[0].steps.iter().map(step).collect::<Vec<_>>()
    };
    let (done, waits) = (Some(TaskState::Succeeded), Some(TaskState::Pending));
    assert_eq!(
        steps("describe-tasks-every-status.json", "120405"),
        [
            ("Pre-check".to_owned(), done, None),
            ("Initialize New Instance".to_owned(), done, None),
            ("Download Base Backup".to_owned(), done, Some(1.0)),
            ("Add Instance Management Process".to_owned(), Some(TaskState::Running), None),
            ("Task Complete".to_owned(), waits, None),
        ]
    );
    assert_eq!(
        steps("describe-tasks-every-status.json", "120404"),
        [("Wait Switch".to_owned(), None, None)]
    );
    let finished = steps("describe-tasks-published-instance.json", "120006");
    assert!(!finished.is_empty() && finished.iter().all(|(_, state, _)| *state == done));
    assert_eq!(
        steps("describe-tasks-odd-values.json", "120505"),
        [
            ("Pre-check".to_owned(), done, Some(1.0)),
            ("Restore".to_owned(), Some(TaskState::Failed), None),
        ]
    );
}

#[test]
fn a_hint_is_no_error() {
    let api = api("tencent_postgres");
    let body = fixture(api, "describe-tasks-every-status.json");
    let query = question(api, "describe-tasks").unwrap();
    let page = api.decode(&guangzhou(api), &query, &Response::new(body)).unwrap();
    let errors: Vec<_> = page.tasks.iter().map(|task| task.error.is_some()).collect();
    assert_eq!(errors, [false, false, false, true, false]);
}

#[test]
fn cynosdb_asks_for_each_word_by_itself_and_for_its_window() {
    let filter = |name: &str, value: &str| {
        format!(r#"{{"ExactMatch":true,"Names":["{name}"],"Values":["{value}"]}}"#)
    };
    let api = api("tencent_cynosdb");
    let expected: Vec<String> = ["processing", "running", "waiting"]
        .iter()
        .map(|word| {
            let filter = filter("Status", word);
            format!(r#"DescribeTasks {{"Filters":[{filter}],"Limit":100,"Offset":0}}"#)
        })
        .chain([r#"DescribeTasks {"Limit":100,"Offset":0,"StartTimeBegin":"2026-02-28 20:00:00"}"#
            .to_owned()])
        .collect();
    assert_eq!(listed(api, &[]), expected);
    let (cluster, status) = (filter("ClusterId", "cynosdbmysql-a"), filter("Status", "processing"));
    assert_eq!(
        listed(api, &["cynosdbmysql-a"])[0],
        format!(r#"DescribeTasks {{"Filters":[{cluster},{status}],"Limit":100,"Offset":0}}"#)
    );
    let one = filter("TaskId", "9007199254740993");
    assert_eq!(
        bodies(api, &[by_id(api, "9007199254740993")]),
        [format!(r#"DescribeTasks {{"Filters":[{one}],"Limit":100,"Offset":0}}"#)]
    );
}

#[test]
fn the_remaining_time_of_cynosdb_is_that_of_a_step() {
    let api = api("tencent_cynosdb");
    let step = |file: &str, id: &str| {
        let body = fixture(api, file);
        let page = api.decode(&guangzhou(api), &by_id(api, id), &Response::new(body)).unwrap();
        assert_eq!(page.tasks[0].remaining, None);
        let steps = &page.tasks[0].steps;
        steps.first().map(|step| {
            let progress = step.progress.map(Ratio::get);
            (step.name.to_string(), progress, step.remaining.map(|left| left.as_secs()))
        })
    };
    let named = |name: &str, progress, left| Some((name.to_owned(), progress, left));
    let processing = "describe-tasks-processing.json";
    assert_eq!(step(processing, "1207003"), named("CopyData", Some(0.61), Some(540)));
    assert_eq!(step(processing, "1207004"), None);
    // A rollback tells of it elsewhere.
    let odd = "describe-tasks-odd-values.json";
    assert_eq!(step(odd, "9007199254740993"), named("importingData", Some(0.98), Some(500)));
    assert_eq!(step(odd, "1207103"), named("Wait", None, None));
    // "0" beside the last step says that it is over.
    assert_eq!(step("describe-tasks-published.json", "1"), None);
}

#[test]
fn dts_asks_for_every_job_and_leaves_out_what_ended_before_the_window() {
    for (name, action, id) in [
        ("tencent_dts_migration", "DescribeMigrationJobs", "dts-amm1jw5q"),
        ("tencent_dts_sync", "DescribeSyncJobs", "sync-amm1jw5q"),
    ] {
        let api = api(name);
        let body = format!(r#"{action} {{"Limit":20,"Offset":0}}"#);
        assert_eq!(listed(api, &[]), [body.as_str()]);
        // The list cannot be asked for some instances; others are left out of the answer.
        assert_eq!(listed(api, &["cdb-a", "cdb-b"]), [body]);
        let one = format!(r#"{action} {{"JobId":"{id}","Limit":20,"Offset":0}}"#);
        assert_eq!(bodies(api, &[by_id(api, id)]), [one]);
    }
    let api = api("tencent_dts_migration");
    let decode = |since: &str, instances: &[&str]| {
        let resources: Vec<_> = instances.iter().map(|id| resource(id, None)).collect();
        let scope = Scope { since: time(since), ..scope(&resources) };
        let body = fixture(api, "describe-migration-jobs-states.json");
        let answer = Response::new(body);
        let page = api.decode(&guangzhou(api), &api.list(&scope)[0], &answer).unwrap();
        page.tasks.iter().map(|task| task.id.to_string()).collect::<Vec<_>>()
    };
    let all = ["dts-ru000001", "dts-er000002", "dts-cr000003", "dts-ca000004"];
    assert_eq!(decode("2026-03-01T10:00:00Z", &[]), all);
    // The last one was canceled just before; of the one that failed no end is known.
    assert_eq!(decode("2026-03-01T10:00:01Z", &[]), all[..3]);
    assert_eq!(decode("2026-03-01T10:00:00Z", &["cdb-o7uph0cj", "cdb-b"]), all);
    assert_eq!(decode("2026-03-01T10:00:00Z", &["cdb-b", "cdb-c"]), [""; 0]);
}

#[test]
fn a_row_that_the_vendor_found_stays_though_it_names_another_instance_or_none() {
    for (name, list, row) in [
        ("tencent_postgres", "TaskSet", json!({ "TaskId": 1, "Status": "Running" })),
        (
            "tencent_cynosdb",
            "TaskList",
            json!({ "ID": 1, "Status": "running", "ClusterId": "cynoadbmysql-a" }),
        ),
        ("tencent_dcdb", "FlowSet", json!({ "Id": 1, "Status": 1 })),
    ] {
        let api = api(name);
        let body = json!({ "Response": { "TotalCount": 1, list: [row] } });
        for query in api.list(&scope(&[resource("db-a", None)])) {
            let answer = Response::new(Bytes::from(body.to_string()));
            let page = api.decode(&guangzhou(api), &query, &answer).unwrap();
            assert_eq!(page.tasks.len(), 1, "{name}");
        }
    }
}

#[test]
fn an_answer_about_another_job_is_no_answer() {
    let api = api("tencent_dts_sync");
    let body = fixture(api, "describe-sync-jobs-published.json");
    let decode = |id: &str| {
        let answer = Response::new(body.clone());
        let page = api.decode(&guangzhou(api), &by_id(api, id), &answer).unwrap();
        (page.tasks.len(), page.next.len())
    };
    assert_eq!(decode("sync-09vy1os1"), (1, 0));
    assert_eq!(decode("sync-another0"), (0, 0));
}

#[test]
fn a_job_that_follows_its_source_has_no_progress() {
    let progress = |name: &str, step: &str, status: &str| {
        let api = api(name);
        let step =
            json!({ "StepNo": 2, "StepId": step, "Status": status, "Percent": 50, "Progress": 50 });
        let steps = json!([{ "StepNo": 1, "StepId": "dumper", "Status": "finished" }, step]);
        let job = json!({
            "JobId": "dts-1", "Status": "running",
            "StepInfo": { "StepAll": 2, "StepNow": 2, "StepInfo": steps },
            "Detail": { "StepAll": 2, "StepNow": 2, "Progress": 75, "StepInfos": steps },
        });
        let body = json!({ "Response": { "TotalCount": 1, "JobList": [job], "RequestId": "r" } });
        let page = decoded(api, &body);
        page.tasks[0].progress.map(Ratio::get)
    };
    for name in ["tencent_dts_migration", "tencent_dts_sync"] {
        assert_eq!(progress(name, "loader", "running"), Some(0.75), "{name}");
        assert_eq!(progress(name, "sinker", "running"), None, "{name}");
    }
}

fn decoded(api: &TaskApi, body: &Value) -> Page {
    let answer = Response::new(Bytes::from(body.to_string()));
    let query = question(api, "list").unwrap();
    api.decode(&guangzhou(api), &query, &answer).unwrap()
}

#[test]
fn sql_server_asks_each_instance_once_and_again_for_what_runs_if_its_list_is_long() {
    let api = api("tencent_sqlserver");
    assert_eq!(listed(api, &[]), [""; 0]);
    assert_eq!(
        listed(api, &["mssql-a", "mssql-b"]),
        [
            r#"DescribeInstanceTasks {"InstanceId":"mssql-a","Limit":100,"Offset":0}"#,
            r#"DescribeInstanceTasks {"InstanceId":"mssql-b","Limit":100,"Offset":0}"#,
        ]
    );
    let first = api.list(&scope(&[resource("mssql-a", None)])).remove(0);
    let next = |starts: &[&str], total: usize| {
        let many = starts.iter().cycle().take(100).enumerate();
        let mut rows: Vec<Value> = many
            .map(|(id, start)| json!({ "Id": id + 1, "Status": 2, "StartTime": start }))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row["StartTime"].to_string()));
        if starts.len() == 3 {
            rows.swap(0, 99);
        }
        let body = json!({ "Response": { "TotalCount": total, "InstanceTaskSet": rows } });
        let answer = Response::new(Bytes::from(body.to_string()));
        let page = api.decode(&guangzhou(api), &first, &answer).unwrap();
        bodies(api, &page.next)
    };
    let (new, old) = ("2026-03-01 12:00:00", "2026-02-01 12:00:00");
    let page_two = r#"DescribeInstanceTasks {"InstanceId":"mssql-a","Limit":100,"Offset":100}"#;
    assert_eq!(next(&[new], 250), [page_two]);
    // The last row began before the window: what is left out is of interest only if it still runs.
    assert_eq!(
        next(&[new, old], 250),
        [r#"DescribeInstanceTasks {"InstanceId":"mssql-a","Limit":100,"Offset":0,"Status":1}"#]
    );
    // Not in order, so nothing can be concluded.
    assert_eq!(next(&[new, old, "2026-02-02 12:00:00"], 250), [page_two]);
}

#[test]
fn sql_server_counts_pages_of_instances_and_passes_over_those_that_are_gone() {
    let api = api("tencent_sqlserver");
    let first = api.discover(&scope(&[])).unwrap();
    let second = first.next_page();
    assert_eq!(
        bodies(api, &[first.clone(), second]),
        [
            r#"DescribeDBInstances {"Limit":100,"Offset":0,"PaginationType":"pageNumber"}"#,
            r#"DescribeDBInstances {"Limit":100,"Offset":1,"PaginationType":"pageNumber"}"#,
        ]
    );
    let row = |status: u32| json!({ "InstanceId": format!("mssql-{status}"), "Status": status });
    let rows: Vec<Value> = (1..=13).map(row).chain([Value::Null, json!({})]).collect();
    let body = json!({ "Response": { "TotalCount": 15, "DBInstances": rows } });
    let answer = Response::new(Bytes::from(body.to_string()));
    let page = api.decode(&guangzhou(api), &first, &answer).unwrap();
    let found: Vec<_> = page.resources.iter().map(|it| it.id.replace("mssql-", "")).collect();
    assert_eq!(found, ["1", "2", "3", "4", "7", "9", "10", "11", "12", "13"]);
    assert_eq!(
        page.at_rest.iter().map(|id| &**id).collect::<Vec<_>>(),
        ["mssql-2", "mssql-4", "mssql-11"]
    );
    let names = |file: &str| {
        let answer = Response::new(fixture(api, file));
        let page = api.decode(&guangzhou(api), &first, &answer).unwrap();
        let name = |it: &Arc<Resource>| format!("{} {:?}", it.id, it.name.as_deref());
        (page.resources.iter().map(name).collect::<Vec<_>>(), page.at_rest.len())
    };
    let (found, at_rest) = names("describe-db-instances-page-1.json");
    assert_eq!(found, [r#"mssql-njj2mtpl Some("billing")"#, r#"mssql-3l3fgqn7 Some("crm")"#]);
    assert_eq!(at_rest, 1);
    assert!(names("describe-db-instances-page-2.json").0.len() <= 1);
}

#[test]
fn dcdb_asks_for_many_instances_at_once() {
    let api = api("tencent_dcdb");
    assert_eq!(
        listed(api, &[]),
        [
            r#"DescribeUserTasks {"Limit":100,"Offset":0,"Statuses":[0,1]}"#,
            r#"DescribeUserTasks {"Limit":100,"Offset":0,"StartTime":"2026-02-28 20:00:00"}"#,
        ]
    );
    assert_eq!(
        listed(api, &["tdsqlshard-a", "tdsqlshard-b"])[0],
        r#"DescribeUserTasks {"InstanceIds":["tdsqlshard-a","tdsqlshard-b"],"Limit":100,"Offset":0,"Statuses":[0,1]}"#
    );
    assert_eq!(
        bodies(api, &[by_id(api, "15985")]),
        [r#"DescribeUserTasks {"Limit":100,"Offset":0,"UTaskIds":[15985]}"#]
    );
}

#[test]
fn tcaplusdb_asks_for_all_there_is() {
    let api = api("tencent_tcaplusdb");
    assert_eq!(listed(api, &[]), [r#"DescribeTasks {"Limit":100,"Offset":0}"#]);
    assert_eq!(
        listed(api, &["5674209986"]),
        [r#"DescribeTasks {"ClusterIds":["5674209986"],"Limit":100,"Offset":0}"#]
    );
    assert_eq!(
        bodies(api, &[by_id(api, "5674209986-1300")]),
        [r#"DescribeTasks {"Limit":100,"Offset":0,"TaskIds":["5674209986-1300"]}"#]
    );
}

#[test]
fn keewidb_is_asked_as_redis_but_for_the_filter_that_it_lacks() {
    let api = api("tencent_keewidb");
    let window = |since: &str| {
        format!(
            r#"DescribeTaskList {{"BeginTime":"{since}","EndTime":"2026-03-01 20:01:00","Limit":100,"Offset":0}}"#
        )
    };
    assert_eq!(listed(api, &[]), [window("2026-02-28 20:00:00")]);
    let first = api.first_look(&scope(&[]));
    assert_eq!(bodies(api, &first), [window("2026-01-30 20:05:00")]);
    let body = fixture(api, "describe-task-list-running.json");
    let page = api.decode(&guangzhou(api), &first[0], &Response::new(body)).unwrap();
    assert_eq!(page.tasks.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Running]);
    assert_eq!(bodies(api, &[by_id(api, "7")]), [r#"DescribeTaskInfo {"TaskId":7}"#]);
}

#[test]
fn flows_are_asked_for_by_their_ids_alone() {
    for (name, body) in [
        ("tencent_mongodb", r#"DescribeAsyncRequestInfo {"AsyncRequestId":"1750660112001309"}"#),
        ("tencent_mariadb", r#"DescribeFlow {"FlowId":1750660112001309}"#),
        ("tencent_tdmysql", r#"DescribeFlow {"FlowId":1750660112001309}"#),
        ("tencent_cynosdb_flow", r#"DescribeFlow {"FlowId":1750660112001309}"#),
        ("tencent_dcdb_flow", r#"DescribeFlow {"FlowId":1750660112001309}"#),
        ("tencent_sqlserver_flow", r#"DescribeFlowStatus {"FlowId":1750660112001309}"#),
    ] {
        let api = api(name);
        assert_eq!(listed(api, &["any"]), [""; 0]);
        assert!(!api.discovers());
        assert_eq!(bodies(api, &[by_id(api, "1750660112001309")]), [body]);
        let zero = TaskRef { id: "0".into(), resource: None, started: None };
        assert_eq!(api.by_id(&zero, now()), None, "{name}");
    }
}

#[test]
fn a_configured_id_0_is_refused_with_the_reason() {
    let configured = |id: &str| {
        let text = format!(
            "credentials: [{{name: we, cloud: tencent, secret_id: a, secret_key: b}}]\n\
             sources: [{{name: one, api: tencent_mariadb, region: ap-guangzhou, credentials: we, \
             tasks: [{{id: '{id}'}}]}}]"
        );
        Config::parse(&text, "test.yml", &Environment::default())
    };
    assert!(configured("52356").is_ok());
    let problems = configured("0").unwrap_err().to_string();
    assert!(problems.contains("there is nothing to wait for"), "{problems}");
}

#[test]
fn a_flow_without_a_status_is_no_success() {
    for name in ["tencent_mariadb", "tencent_cynosdb_flow", "tencent_dcdb_flow"] {
        let api = api(name);
        let query = by_id(api, "7");
        for body in [r#"{"Status":null,"RequestId":"r"}"#, r#"{"RequestId":"r"}"#] {
            let body = format!(r#"{{"Response":{body}}}"#);
            let page = api.decode(&guangzhou(api), &query, &Response::new(body.into())).unwrap();
            assert_eq!(page_text(Ok(&page)), "", "{name}");
        }
    }
}

#[test]
fn a_total_that_counts_too_little_ends_no_list() {
    for (name, list, row) in [
        ("tencent_cynosdb", "TaskList", json!({ "ID": 1, "Status": "running" })),
        ("tencent_postgres", "TaskSet", json!({ "TaskId": 1, "Status": "Running" })),
        ("tencent_dcdb", "FlowSet", json!({ "Id": 1, "Status": 1 })),
        ("tencent_tcaplusdb", "TaskInfos", json!({ "TaskId": "1-1", "Progress": 1 })),
    ] {
        for (rows, total, more) in [(1, 0, 0), (100, 0, 1), (1, 100, 1), (99, -1, 0)] {
            let body =
                json!({ "Response": { "TotalCount": total, list: vec![row.clone(); rows] } });
            let page = decoded(api(name), &body);
            assert_eq!((page.tasks.len(), page.next.len()), (rows, more), "{name} {rows} {total}");
        }
    }
}

// The simulated cloud

fn instance() -> Arc<Resource> {
    resource("db-one", Some("one"))
}

/// The id with this number, as the API's ids look.
fn id_of(api: &TaskApi, number: usize) -> String {
    match api.facts.name {
        "tencent_dts_migration" => format!("dts-x{number:07}"),
        "tencent_dts_sync" => format!("sync-x{number:07}"),
        "tencent_tcaplusdb" => format!("db-one-{number}"),
        _ => number.to_string(),
    }
}

/// A task for each word, of which unfinished ones are old.
fn every_word(api: &TaskApi) -> Vec<Task> {
    let words = api.facts.statuses.iter().enumerate();
    let tasks = words.map(|(index, &(word, state))| {
        let age = if state.is_final() { 1 } else { 20 };
        let began = now().saturating_sub(Duration::from_hours(age));
        let failed = state == TaskState::Failed;
        let error = TaskError { code: "1205".into(), message: "out of space".into() };
        let tells_start = api.facts.name != "tencent_dcdb";
        Task {
            kind: if api.facts.name.contains("dts") { "migration" } else { "7" }.into(),
            resource: instance(),
            created: Some(began),
            started: Some(began).filter(|_| tells_start),
            ended: state.is_final().then(|| began + Duration::from_secs(30)),
            error: failed.then(|| Box::new(error)),
            ..Task::new(id_of(api, 9_007_199_254_740_900 + index), state, word)
        }
    });
    let tasks: Vec<Task> = tasks.collect();
    tasks.into_iter().rev().collect()
}

#[test]
fn a_poll_finds_every_simulated_task_with_every_word() {
    for name in NEW {
        let api = api(name);
        let (target, resources, tasks) = (guangzhou(api), [instance()], every_word(api));
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let scope = scope(&resources);
        let queries = api.first_look(&scope).into_iter().chain(api.list(&scope)).collect();
        let (found, _) = ask(api, &world, queries);
        if found.is_empty() {
            assert!(api.list(&scope).is_empty(), "{name}");
            continue;
        }
        for task in &tasks {
            let seen = found.iter().rfind(|seen| seen.id == task.id).unwrap_or_else(|| {
                panic!("{name} {}", task_text(task));
            });
            assert_eq!((seen.state, &seen.resource.id), (task.state, &task.resource.id), "{name}");
            assert_eq!(seen.ended, task.ended, "{name}");
            assert!(!format!("{seen:?}").contains(CANARY));
        }
    }
}

#[test]
fn every_simulated_task_is_found_by_its_id() {
    for name in NEW {
        let api = api(name);
        let (target, resources, tasks) = (guangzhou(api), [instance()], every_word(api));
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        for task in &tasks {
            let query = api.by_id(&TaskRef::of(task), now()).unwrap();
            let (found, _) = ask(api, &world, vec![query]);
            let found = found.iter().find(|found| found.id == task.id).unwrap();
            assert_eq!((found.state, &found.id), (task.state, &task.id), "{name}");
        }
    }
}

#[test]
fn every_page_of_a_large_region_is_read() {
    for (name, calls) in [
        ("tencent_postgres", 3),
        ("tencent_cynosdb", 3 + 1 + 1 + 3),
        ("tencent_dts_migration", 13),
        ("tencent_dts_sync", 13),
        ("tencent_dcdb", 3 + 3),
        ("tencent_tcaplusdb", 3),
        ("tencent_sqlserver", 3),
    ] {
        let api = api(name);
        let mut words = api.facts.statuses.iter();
        let &(running, state) = words.find(|(_, state)| *state == TaskState::Running).unwrap();
        let status = if name == "tencent_cynosdb" { "processing" } else { running };
        let began = Some(now().saturating_sub(Duration::from_hours(1)));
        let tasks: Vec<Task> = (1..=250)
            .rev()
            .map(|number| Task {
                resource: instance(),
                created: began,
                started: began.filter(|_| name != "tencent_dcdb"),
                ..Task::new(id_of(api, number), state, status)
            })
            .collect();
        let (target, resources) = (guangzhou(api), [instance()]);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let scope = if api.discovers() { scope(&resources) } else { scope(&[]) };
        let (found, requests) = ask(api, &world, api.list(&scope));
        let ids: std::collections::BTreeSet<_> = found.iter().map(|task| &task.id).collect();
        assert_eq!((ids.len(), requests), (250, calls), "{name}");
    }
}

#[test]
fn simulated_instances_are_discovered_over_all_pages() {
    let api = api("tencent_sqlserver");
    let resources: Vec<_> = (0..250).map(|n| resource(&format!("mssql-{n:03}"), None)).collect();
    let busy = Task { resource: resources[7].clone(), ..Task::new("1", TaskState::Running, "1") };
    let (target, tasks) = (guangzhou(api), [busy]);
    let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
    let mut queries = vec![api.discover(&scope(&[])).unwrap()];
    let (mut found, mut at_rest) = (0, 0);
    while let Some(query) = queries.pop() {
        let answer = world.answer(api, &api.facts.cloud.request(&target, &query)).unwrap();
        let page = api.decode(&target, &query, &answer).unwrap();
        found += page.resources.len();
        at_rest += page.at_rest.len();
        queries.extend(page.next);
    }
    assert_eq!((found, at_rest), (250, 249));
}

#[test]
fn simulated_answers_have_fields_of_recorded_ones() {
    for (name, file, list) in [
        ("tencent_postgres", "describe-tasks-every-status.json", "/Response/TaskSet/0"),
        ("tencent_cynosdb", "describe-tasks-processing.json", "/Response/TaskList/0"),
        ("tencent_dts_migration", "describe-migration-jobs-states.json", "/Response/JobList/0"),
        ("tencent_dts_sync", "describe-sync-jobs-published.json", "/Response/JobList/0"),
        ("tencent_dcdb", "describe-user-tasks-running.json", "/Response/FlowSet/0"),
        ("tencent_tcaplusdb", "describe-tasks-progress-is-state.json", "/Response/TaskInfos/0"),
        ("tencent_keewidb", "describe-task-list-running.json", "/Response/Tasks/0"),
        (
            "tencent_sqlserver",
            "describe-instance-tasks-running.json",
            "/Response/InstanceTaskSet/0",
        ),
    ] {
        let api = api(name);
        let recorded: Value = serde_json::from_slice(&fixture(api, file)).unwrap();
        let (target, resources, tasks) = (guangzhou(api), [instance()], every_word(api));
        let world = World { now: now(), target: &target, resources: &resources, tasks: &tasks };
        let query = api.list(&scope(&resources)).pop().unwrap();
        let request = api.facts.cloud.request(&target, &query);
        let (_, simulated) = answer(api, &request, &world);
        let fields = |document: &Value| {
            document.pointer(list).unwrap().as_object().unwrap().keys().cloned().collect()
        };
        let (simulated, recorded): (std::collections::BTreeSet<String>, _) =
            (fields(&simulated), fields(&recorded));
        let unknown: Vec<_> = simulated.difference(&recorded).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn the_simulated_cloud_refuses_in_the_words_of_each_service() {
    for (name, action, version, body, code) in [
        (
            "tencent_postgres",
            "DescribeTasks",
            "2017-03-12",
            json!({ "Limit": 101 }),
            "InvalidParameterValue.ParameterValueExceedError",
        ),
        (
            "tencent_postgres",
            "DescribeTasks",
            "2017-03-12",
            json!({ "Foo": 1 }),
            "UnknownParameter",
        ),
        (
            "tencent_cynosdb",
            "DescribeFlow",
            "2019-01-07",
            json!({ "FlowId": 7 }),
            "FailedOperation.FlowNotFoundError",
        ),
        (
            "tencent_dcdb",
            "DescribeFlow",
            "2018-04-11",
            json!({ "FlowId": 7 }),
            "InvalidParameter.FlowNotFound",
        ),
        (
            "tencent_mariadb",
            "DescribeFlow",
            "2017-03-12",
            json!({ "FlowId": 7 }),
            "InvalidParameter.FlowNotFound",
        ),
        ("tencent_mariadb", "DescribeFlow", "2017-03-12", json!({}), "MissingParameter"),
        (
            "tencent_mariadb",
            "DescribeFlow",
            "2017-03-12",
            json!({ "FlowId": "7" }),
            "InvalidParameter",
        ),
        (
            "tencent_sqlserver",
            "DescribeInstanceTasks",
            "2018-03-28",
            json!({ "InstanceId": "x", "Limit": 1 }),
            "ResourceNotFound.InstanceNotFound",
        ),
        (
            "tencent_sqlserver",
            "DescribeInstanceTasks",
            "2018-03-28",
            json!({ "InstanceId": "db-one" }),
            "MissingParameter",
        ),
        (
            "tencent_keewidb",
            "DescribeTaskList",
            "2022-03-08",
            json!({ "Result": [1] }),
            "UnknownParameter",
        ),
    ] {
        let api = api(name);
        let (target, resources) = (guangzhou(api), [instance()]);
        let world = World { now: now(), target: &target, resources: &resources, tasks: &[] };
        let request = dbtask_clouds::tencent::signature::call(
            &target.endpoint,
            action,
            version,
            "ap-guangzhou",
            &body,
        );
        let (status, said) = answer(api, &request, &world);
        assert_eq!(
            (status, said["Response"]["Error"]["Code"].as_str()),
            (200, Some(code)),
            "{body}"
        );
    }
}

#[test]
fn one_task_of_sql_server_is_picked_out_of_the_list_of_its_instance() {
    let api = api("tencent_sqlserver");
    let query = by_id(api, "23517");
    assert!(
        request_text(&api.facts.cloud.request(&guangzhou(api), &query))
            .ends_with(r#"{"InstanceId":"mssql-njj2mtpl","Limit":100,"Offset":0}"#)
    );
    let nowhere = TaskRef { id: "23517".into(), resource: None, started: None };
    assert_eq!(api.by_id(&nowhere, now()), None);
}
