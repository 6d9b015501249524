//! PolarDB, `DescribeTasks` and `DescribeDBClusters`, version 2017-08-01.
//!
//! - Reference: <https://www.alibabacloud.com/help/en/polardb/api-polardb-2017-08-01-describetasks>,
//!   read 2026-11-21; field types from the official Python packages 5.1.0 to 9.2.1.
//! - Permissions: `polardb:DescribeTasks`, `polardb:DescribeDBClusters`.
//! - Limits: no rate published; 30, 50 or 100 rows a page; how far back a window may reach is not
//!   documented; it is asked for 30 days back.
//!
//! A row does not say what status its task is in, so each status is asked for by itself, cluster by
//! cluster, and the word asked for is the task's status. A task may move while this goes on: the
//! unfinished states are asked for first and the final ones last. The times of the window have
//! minutes but no seconds, the times in the rows have both. There is no way to ask for one task.
//! [`history`](crate::alibaba::history) shows the same operations under other ids, with fewer calls, but
//! without steps and error texts: with both, each is counted twice.
//!
//! A field without a value is absent, empty, null or the word `null`. The vendor's own example
//! shows a task at 100 % with half an hour left, so no field is derived from another, and the time
//! left of a final task is dropped. `PageRecordCount` is wrong in that example, too, and not read.
//! Left out: `CurrentStepName` and `StepProgressInfo`, which `StepsInfo` says better,
//! `ExpectedFinishTime`, `ProgressInfo` and `DBName`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::api::{
    Call, Client, Detail, Facts, Operation, Page, Parameter, Query, Scope, Target, TaskApi,
    Unreadable,
};
use crate::cloud::Cloud;
use crate::document::{DecodeError, is_nothing};
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::{alibaba, wire};

/// PolarDB.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Polardb };

const FACTS: Facts = Facts {
    name: "alibaba_polardb",
    product: "PolarDB",
    cloud: Cloud::Alibaba,
    service: "polardb",
    doc: "https://www.alibabacloud.com/help/en/polardb/api-polardb-2017-08-01-describetasks",
    finds: "clusters, configured or discovered",
    shows: &[
        Detail::Progress,
        Detail::Remaining,
        Detail::Steps,
        Detail::Started,
        Detail::Ended,
        Detail::Error,
    ],
    notes: &["It is asked 30 days back: of a task that runs for longer the end is not seen."],
    operations: &[&DESCRIBE_TASKS, &DESCRIBE_DB_CLUSTERS],
    statuses: STATUSES,
    same_tasks_as: &[],
    list_window: None,
    forgets: true,
    ids: None,
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
};

const VERSION: &str = "2017-08-01";

static DESCRIBE_TASKS: Operation = Operation {
    name: "DescribeTasks",
    permission: "polardb:DescribeTasks",
    per_second: 10,
    call: Call::Action(VERSION),
};

static DESCRIBE_DB_CLUSTERS: Operation = Operation {
    name: "DescribeDBClusters",
    permission: "polardb:DescribeDBClusters",
    per_second: 10,
    call: Call::Action(VERSION),
};

/// In the order in which they are asked for.
pub const STATUSES: &[(&str, TaskState)] = &[
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

pub(crate) static ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 9.2.1; the vendor's pages for VPCs",
    by_region: &[(
        CENTRAL,
        Addresses { public: "https://polardb.aliyuncs.com", vpc: VPC, intl: None },
    )],
    others: Addresses { public: "https://polardb.{region}.aliyuncs.com", vpc: VPC, intl: None },
    all_regions: None,
    confirmed: &["ap-southeast-1", "cn-hongkong", "cn-shenzhen", "eu-central-1", "us-east-1"],
    disputed: &[],
};

const VPC: Option<&str> = Some("https://polardb-vpc.{region}.aliyuncs.com");

/// Tasks are listed by cluster and status.
#[derive(Debug)]
struct Polardb;

impl Client for Polardb {
    /// Status by status, each for all clusters, so that what is unfinished anywhere comes first.
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let oldest = scope.now.saturating_sub(WINDOW);
        let query = |&(status, state): &(&'static str, TaskState), resource: &Arc<Resource>| {
            let since = if state.is_final() { scope.since.max(oldest) } else { oldest };
            let (start, end) = window(since, scope.until());
            Query {
                resources: vec![Arc::clone(resource)],
                status: Some(status),
                since: Some(since),
                ..alibaba::paged(&DESCRIBE_TASKS)
                    .with("DBClusterId", (*resource.id).into())
                    .with("Status", status.into())
                    .with("StartTime", Parameter::Text(start))
                    .with("EndTime", Parameter::Text(end))
            }
        };
        STATUSES
            .iter()
            .flat_map(|status| scope.resources.iter().map(move |resource| query(status, resource)))
            .collect()
    }

    fn discover(&self, scope: &Scope<'_>) -> Option<Query> {
        let query = alibaba::paged(&DESCRIBE_DB_CLUSTERS).with("RegionId", Parameter::Region);
        Some(alibaba::tagged(query, scope.tags))
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        let (rows, id) = if query.operation == &DESCRIBE_DB_CLUSTERS {
            let rows = wire::rows(&document, "/Items/DBCluster")?;
            page.resources = rows.iter().filter_map(alibaba::cluster).map(Arc::new).collect();
            (rows, "DBClusterId")
        } else {
            let rows = wire::rows(&document, "/Tasks/Task")?;
            let cluster = query.resources.first().cloned().unwrap_or_default();
            let word = query.status.unwrap_or_default();
            let (state, word) = (FACTS.state(word), Arc::from(word));
            let read = |row| task(row, &cluster, state, &word, &mut page.unreadable);
            page.tasks = rows.iter().filter_map(read).collect();
            (rows, "TaskId")
        };
        let total = wire::integer(&document, "TotalRecordCount");
        page.read_list(query, rows, id, alibaba::PAGE_SIZE, total);
        Ok(page)
    }
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
pub const MINUTES: &str = "%Y-%m-%dT%H:%MZ";

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

pub(crate) fn error(row: &Value) -> Option<TaskError> {
    let code = wire::text(row, "TaskErrorCode");
    let message = wire::text(row, "TaskErrorMessage");
    (code.is_some() || message.is_some()).then(|| TaskError {
        code: code.unwrap_or_default().into(),
        message: message.unwrap_or_default().into(),
    })
}

/// The steps of a task. What cannot be read is counted and leaves none.
pub(crate) fn steps(row: &Value, unreadable: &mut Unreadable) -> Box<[Step]> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
}
