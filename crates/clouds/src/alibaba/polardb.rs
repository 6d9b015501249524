//! PolarDB, `DescribeTasks` and `DescribeDBClusters`, version 2017-08-01.
//!
//! - Reference: <https://www.alibabacloud.com/help/en/polardb/api-polardb-2017-08-01-describetasks>,
//!   read 2026-11-21; field types from the official Python packages 5.1.0 to 9.2.1.
//! - Permissions: `polardb:DescribeTasks`, `polardb:DescribeDBClusters`.
//! - Limits: no rate published; 30, 50 or 100 rows a page; how far back a window may reach is not
//!   documented, see [`WINDOW`].
//!
//! A row does not say what status its task is in, so each status is asked for by itself, cluster by
//! cluster, and the word asked for is the task's status. A task may move while this goes on: the
//! unfinished states are asked for first and the final ones last. The times of the window have
//! minutes but no seconds, the times in the rows have both. There is no way to ask for one task.
//!
//! A field without a value is absent, empty, null or the word `null`. The vendor's own example
//! shows a task at 100 % with half an hour left, so no field is derived from another, and the time
//! left of a final task is dropped. `PageRecordCount` is wrong in that example, too, and not read.
//! Left out: `CurrentStepName` and `StepProgressInfo`, which `StepsInfo` says better,
//! `ExpectedFinishTime`, `ProgressInfo` and `DBName`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Map, Value, json};

use crate::alibaba::{Parameters, Refused, parameter};
use crate::api::{
    Filter, Operation, Page, Query, Scope, Subject, Target, TaskApi, Unreadable, World,
};
use crate::cloud::Cloud;
use crate::document::{DecodeError, is_nothing};
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::{alibaba, wire};

pub(crate) static API: TaskApi = TaskApi {
    name: "alibaba_polardb",
    product: "PolarDB",
    cloud: Cloud::Alibaba,
    service: "polardb",
    doc: "https://www.alibabacloud.com/help/en/polardb/api-polardb-2017-08-01-describetasks",
    operations: &[&DESCRIBE_TASKS, &DESCRIBE_DB_CLUSTERS],
    statuses: STATUSES,
    list_window: None,
    task_id: "",
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
    discover: Some(discover),
    list,
    by_id: |_| None,
    request,
    decode,
    answer,
};

const VERSION: &str = "2017-08-01";

static DESCRIBE_TASKS: Operation =
    Operation { name: "DescribeTasks", permission: "polardb:DescribeTasks", per_second: 10 };

static DESCRIBE_DB_CLUSTERS: Operation = Operation {
    name: "DescribeDBClusters",
    permission: "polardb:DescribeDBClusters",
    per_second: 10,
};

/// In the order in which they are asked for.
const STATUSES: &[(&str, TaskState)] = &[
    ("Waiting", TaskState::Pending),
    ("Running", TaskState::Running),
    ("Pause", TaskState::Paused),
    // Broken off by an error: the only one that comes with a code and a message.
    ("Stop", TaskState::Failed),
    ("Closed", TaskState::Canceled),
    ("Finished", TaskState::Succeeded),
];

/// The widest window asked for. The vendor documents none for this operation, but keeps the tasks
/// of `DescribeHistoryTasks`, which shows the same work, for 30 days.
const WINDOW: Duration = Duration::from_hours(30 * 24);

/// Regions on the central host.
const CENTRAL: &[&str] = &[
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-beijing-gov-1",
    "cn-hangzhou",
    "cn-hangzhou-finance",
    "cn-heyuan",
    "cn-qingdao",
    "cn-shanghai",
    "cn-wuhan",
    "cn-wulanchabu",
    "cn-zhangbei",
];

static ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 9.2.1; the vendor's pages for VPCs",
    by_region: &[(
        CENTRAL,
        Addresses { public: "https://polardb.aliyuncs.com", vpc: VPC, intl: None },
    )],
    others: Addresses { public: "https://polardb.{region}.aliyuncs.com", vpc: VPC, intl: None },
    confirmed: &["ap-southeast-1", "cn-hongkong", "cn-shenzhen", "eu-central-1", "us-east-1"],
    disputed: &[],
};

const VPC: Option<&str> = Some("https://polardb-vpc.{region}.aliyuncs.com");

fn discover(scope: &Scope<'_>) -> Query {
    Query::new(&DESCRIBE_DB_CLUSTERS, Subject::Resources { tags: scope.tags.to_vec() })
}

/// Status by status, each for all clusters, so that what is unfinished anywhere comes first.
fn list(scope: &Scope<'_>) -> Vec<Query> {
    let oldest = scope.now.saturating_sub(WINDOW);
    let query = |&(status, state): &(&'static str, TaskState), resource: &Arc<Resource>| {
        let filter = Filter {
            resources: vec![Arc::clone(resource)],
            status: Some(status),
            since: Some(if state.is_final() { scope.since.max(oldest) } else { oldest }),
            until: Some(scope.until()),
            ..Filter::default()
        };
        Query::new(&DESCRIBE_TASKS, Subject::Tasks(filter))
    };
    STATUSES
        .iter()
        .flat_map(|status| scope.resources.iter().map(move |resource| query(status, resource)))
        .collect()
}

fn request(target: &Target, query: &Query) -> Request<Bytes> {
    let mut parameters = Vec::from(alibaba::paging(query));
    let (operation, tags): (&Operation, &[(String, String)]) = match &query.subject {
        Subject::Resources { tags } => {
            parameters.push(("RegionId", target.region.clone()));
            (&DESCRIBE_DB_CLUSTERS, tags)
        }
        Subject::Tasks(filter) => {
            if let Some(resource) = filter.resources.first() {
                parameters.push(("DBClusterId", resource.id.to_string()));
            }
            if let Some(status) = filter.status {
                parameters.push(("Status", status.to_owned()));
            }
            if let (Some(since), Some(until)) = (filter.since, filter.until) {
                let (start, end) = window(since, until);
                parameters.push(("StartTime", start));
                parameters.push(("EndTime", end));
            }
            (&DESCRIBE_TASKS, &[])
        }
        // Never asked, since there are no such queries.
        Subject::Task(_) | Subject::Project => (&DESCRIBE_TASKS, &[]),
    };
    alibaba::request(target, operation.name, VERSION, &parameters, tags)
}

/// `StartTime` and `EndTime`: whole minutes around `since..=until`, and always at least one. An end
/// rounded down could hide the newest task.
fn window(since: Timestamp, until: Timestamp) -> (String, String) {
    const MINUTE: i64 = 60;
    let start = since.as_second().div_euclid(MINUTE);
    let end = (until + Duration::from_secs(59)).as_second().div_euclid(MINUTE);
    let text = |minute: i64| {
        let instant = jiff::Timestamp::from_second(minute.saturating_mul(MINUTE));
        instant.unwrap_or_default().strftime(MINUTES).to_string()
    };
    (text(start), text(end.max(start + 1)))
}

/// How the window's times are written: UTC, without seconds.
const MINUTES: &str = "%Y-%m-%dT%H:%MZ";

fn decode(
    _target: &Target,
    query: &Query,
    response: &Response<Bytes>,
) -> Result<Page, DecodeError> {
    let document = wire::document(response.body())?;
    let mut page = Page::default();
    let (rows, id) = if let Subject::Tasks(filter) = &query.subject {
        let rows = wire::rows(&document, "/Tasks/Task")?;
        let cluster = filter.resources.first().cloned().unwrap_or_default();
        let word = filter.status.unwrap_or_default();
        let (state, word) = (API.state(word), Arc::from(word));
        let read = |row| task(row, &cluster, state, &word, &mut page.unreadable);
        page.tasks = rows.iter().filter_map(read).collect();
        (rows, "TaskId")
    } else {
        let rows = wire::rows(&document, "/Items/DBCluster")?;
        page.resources = rows.iter().filter_map(alibaba::cluster).map(Arc::new).collect();
        (rows, "DBClusterId")
    };
    let total = wire::integer(&document, "TotalRecordCount");
    page.read_list(query, rows, id, alibaba::PAGE_SIZE, total);
    Ok(page)
}

fn task(
    row: &Value,
    cluster: &Arc<Resource>,
    state: TaskState,
    word: &Arc<str>,
    unreadable: &mut Unreadable,
) -> Option<Task> {
    let mut task = Task::new(wire::task_id(row, "TaskId", unreadable)?, state, Arc::clone(word));
    task.kind = wire::text(row, "TaskAction").map(Arc::from).unwrap_or_default();
    task.resource = Arc::clone(cluster);
    task.progress = wire::percent(row, "Progress", unreadable);
    task.started = wire::time(row, "BeginTime", Offset::UTC, unreadable);
    task.steps = steps(row, unreadable);
    if state.is_final() {
        task.ended = wire::time(row, "FinishTime", Offset::UTC, unreadable);
        for step in &mut task.steps {
            step.remaining = None;
        }
    } else {
        task.remaining = wire::seconds(row, "Remain", unreadable);
    }
    if state == TaskState::Failed {
        task.error = error(row).map(Box::new);
    }
    Some(task)
}

fn error(row: &Value) -> Option<TaskError> {
    let code = wire::text(row, "TaskErrorCode");
    let message = wire::text(row, "TaskErrorMessage");
    (code.is_some() || message.is_some()).then(|| TaskError {
        code: code.unwrap_or_default().into(),
        message: message.unwrap_or_default().into(),
    })
}

/// The steps of a task. What cannot be read is counted and leaves none.
fn steps(row: &Value, unreadable: &mut Unreadable) -> Box<[Step]> {
    let Some(info) = row.get("StepsInfo").filter(|info| !is_nothing(info)) else {
        return Box::default();
    };
    let Some(steps) = step_rows(info) else {
        unreadable.progress = unreadable.progress.saturating_add(1);
        return Box::default();
    };
    let step = |row: &Value| {
        Some(Step {
            name: wire::text(row, "name")?.into(),
            state: None,
            progress: wire::percent(row, "progress", unreadable),
            remaining: wire::seconds(row, "remain", unreadable),
        })
    };
    steps.iter().filter_map(step).take(Task::MAX_STEPS).collect()
}

/// `StepsInfo` is JSON inside JSON. The vendor's example is escaped once more than that, without
/// quotes around it; how often a real answer is escaped is not known.
fn step_rows(info: &Value) -> Option<Vec<Value>> {
    const MAX_ESCAPES: usize = 4;
    let mut info = info.clone();
    for _ in 0..MAX_ESCAPES {
        info = match info {
            Value::Array(rows) => return Some(rows),
            Value::String(text) => serde_json::from_str(&text)
                .or_else(|_| serde_json::from_str(&format!("\"{text}\"")).map(Value::String))
                .ok()?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
        };
    }
    None
}

fn answer(request: &Request<Bytes>, world: &World<'_>) -> Option<Response<Bytes>> {
    alibaba::answer(
        request,
        world,
        VERSION,
        &[(DESCRIBE_TASKS.name, describe_tasks), (DESCRIBE_DB_CLUSTERS.name, describe_db_clusters)],
    )
}

/// Nodes are not simulated, so a `DBNodeId` without a `DBClusterId` is refused.
fn describe_tasks(parameters: &Parameters, world: &World<'_>) -> Result<Value, Refused> {
    let cluster = match parameter(parameters, "DBClusterId") {
        "" if parameters.contains_key("DBNodeId") => {
            return Err(alibaba::malformed("InvalidDBNodeId.Malformed"));
        }
        "" => return Err(alibaba::malformed("InvalidDBClusterId.Malformed")),
        cluster => cluster,
    };
    if !world.resources.iter().any(|resource| *resource.id == *cluster) {
        let message = "there is no such cluster";
        return Err(Refused(StatusCode::NOT_FOUND, "InvalidDBClusterId.NotFound", message));
    }
    let (start, end) = (parameter(parameters, "StartTime"), parameter(parameters, "EndTime"));
    let from = minute(start).ok_or(alibaba::malformed("InvalidStartTime.Malformed"))?;
    let to = minute(end)
        .filter(|to| *to > from)
        .ok_or(alibaba::malformed("InvalidEndTime.Malformed"))?;
    let wanted = match parameter(parameters, "Status") {
        "" => "Waiting,Running",
        words => words,
    };
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    if !wanted.iter().all(|word| STATUSES.iter().any(|(known, _)| known == word)) {
        return Err(alibaba::malformed("InvalidStatus.Malformed"));
    }
    let found = |task: &&Task| {
        *task.resource.id == *cluster
            && wanted.iter().any(|word| *word == &*task.vendor_status)
            && task.started.is_none_or(|begin| (from..=to).contains(&begin.as_second()))
    };
    let tasks: Vec<&Task> = world.tasks.iter().filter(found).collect();
    let total = tasks.len();
    let (number, _, tasks) = alibaba::page(parameters, tasks)?;
    let rows: Vec<Value> = tasks.into_iter().map(task_row).collect();
    Ok(json!({
        "DBClusterId": cluster,
        "StartTime": start,
        "EndTime": end,
        "PageNumber": number,
        "PageRecordCount": rows.len(),
        "TotalRecordCount": total,
        "Tasks": { "Task": rows },
    }))
}

/// The Unix second of a time with minutes but no seconds.
fn minute(text: &str) -> Option<i64> {
    let parts = strtime::parse(MINUTES, text).ok().filter(|_| text.len() == 17)?;
    let instant = TimeZone::UTC.to_timestamp(parts.to_datetime().ok()?).ok()?;
    Some(instant.as_second())
}

fn task_row(task: &Task) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let error = task.error.as_deref().cloned().unwrap_or_default();
    let steps: Vec<Value> = task.steps.iter().map(step_row).collect();
    let done = |step: &&Step| step.progress.is_some_and(|progress| progress.get() >= 1.0);
    let current = steps.len().min(task.steps.iter().take_while(done).count() + 1);
    let current_name = task.steps.get(current.wrapping_sub(1)).map_or("", |step| &step.name);
    let mut row = json!({
        "TaskId": *task.id,
        "TaskAction": *task.kind,
        "BeginTime": time(task.started),
        "FinishTime": time(task.ended),
        "CurrentStepName": current_name,
        "StepProgressInfo": format!("{current}/{}", steps.len()),
        "StepsInfo": Value::from(steps).to_string(),
        "ExpectedFinishTime": "",
        "ProgressInfo": "",
        "DBName": "",
        "TaskErrorCode": error.code,
        "TaskErrorMessage": error.message,
    });
    if let Value::Object(fields) = &mut row {
        measure(
            fields,
            "Progress",
            "Remain",
            task.progress.map(alibaba::percentage),
            task.remaining,
        );
    }
    row
}

fn step_row(step: &Step) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), (*step.name).into());
    let progress = step.progress.map(alibaba::percentage);
    measure(&mut fields, "progress", "remain", progress, step.remaining);
    Value::Object(fields)
}

/// Adds the whole percentage and the seconds left that are known, as numbers.
fn measure(
    fields: &mut Map<String, Value>,
    progress_field: &str,
    remain_field: &str,
    progress: Option<String>,
    remaining: Option<Duration>,
) {
    if let Some(progress) = progress.and_then(|progress| progress.parse::<u64>().ok()) {
        fields.insert(progress_field.to_owned(), progress.into());
    }
    if let Some(remaining) = remaining {
        fields.insert(remain_field.to_owned(), remaining.as_secs().into());
    }
}

fn describe_db_clusters(parameters: &Parameters, world: &World<'_>) -> Result<Value, Refused> {
    let clusters = alibaba::clusters(parameters, world)?;
    let total = clusters.len();
    let (number, _, clusters) = alibaba::page(parameters, clusters)?;
    let rows: Vec<Value> = clusters
        .into_iter()
        .map(|cluster| {
            json!({
                "DBClusterId": cluster.id,
                "DBClusterDescription": cluster.name.as_deref().unwrap_or_default(),
                "DBClusterStatus": "Running",
                "RegionId": world.target.region,
                "Engine": "POLARDB",
                "DBType": "MySQL",
                "DBVersion": "8.0",
                "PayType": "Postpaid",
                "Expired": "false",
                "LockMode": "Unlock",
                "Tags": { "Tag": [] },
                "DBNodes": { "DBNode": [] },
            })
        })
        .collect();
    Ok(json!({
        "PageNumber": number,
        "PageRecordCount": rows.len(),
        "TotalRecordCount": total,
        "Items": { "DBCluster": rows },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        Timestamp::from(time.parse::<jiff::Timestamp>().unwrap())
    }

    #[test]
    fn a_window_has_whole_minutes_around_both_ends() {
        for (since, until, start, end) in [
            ("2026-03-01T07:59:59Z", "2026-03-01T08:00:01Z", "07:59Z", "08:01Z"),
            ("2026-03-01T07:59:00Z", "2026-03-01T08:00:00Z", "07:59Z", "08:00Z"),
            ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z", "08:00Z", "08:01Z"),
            ("2026-03-01T08:00:59Z", "2026-03-01T08:00:30Z", "08:00Z", "08:01Z"),
            ("2026-03-01T09:00:00Z", "2026-03-01T08:00:00Z", "09:00Z", "09:01Z"),
        ] {
            let expected = (format!("2026-03-01T{start}"), format!("2026-03-01T{end}"));
            assert_eq!(window(at(since), at(until)), expected, "{since} {until}");
        }
        assert_eq!(
            window(at("1970-01-01T00:00:59Z"), at("2026-03-01T08:00:00Z")).0,
            "1970-01-01T00:00Z"
        );
    }

    #[test]
    fn steps_are_read_however_often_they_are_escaped() {
        let rows = vec![json!({ "name": "init \"a\"" })];
        let (mut bare, mut quoted) = (json!(rows).to_string(), json!(rows).to_string());
        for times in 1..=3 {
            assert_eq!(step_rows(&json!(bare)), Some(rows.clone()), "bare, {times}");
            assert_eq!(step_rows(&json!(quoted)), Some(rows.clone()), "quoted, {times}");
            quoted = json!(quoted).to_string();
            bare = json!(bare).to_string().trim_matches('"').to_owned();
        }
        assert_eq!(step_rows(&json!(rows)), Some(rows));
        for text in ["[", "[{\\\"name", "{}", "7", "\"", "\\", "[{\"name\": \"a\\\"}]", "\"null\""]
        {
            assert_eq!(step_rows(&json!(text)), None, "{text}");
        }
    }

    #[test]
    fn only_minutes_are_a_minute() {
        assert_eq!(minute("2020-12-02T03:00Z"), Some(1_606_878_000));
        for text in [
            "",
            "2020-12-02T03:00:00Z",
            "2020-12-02T03:00",
            "2020-12-2T03:00Z",
            "2020-13-02T03:00Z",
        ] {
            assert_eq!(minute(text), None, "{text}");
        }
    }
}
