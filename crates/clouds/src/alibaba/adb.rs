//! AnalyticDB for MySQL, `DescribeTaskInfo` and `DescribeDBClusters`, version 2019-03-15.
//!
//! - Reference: <https://www.alibabacloud.com/help/doc-detail/190217.htm>, read 2026-11-21; field
//!   types and status words from the official Python package 5.0.13.
//! - Permissions: `adb:DescribeTaskInfo`, `adb:DescribeDBClusters`.
//! - Limits: 500 calls a minute of each operation; 30, 50 or 100 rows a page.
//!
//! No operation lists the ids that `DescribeTaskInfo` takes: they are handed out once, by the call
//! that starts a task, and so come from the configuration or a registration. `DescribeTaskInfo`
//! names no kind, no time left and no reason for a failure. It writes the progress as a number or
//! as a string, and leaves the end time of an unfinished task out, empty or null.
//!
//! What can be listed is the job that a cluster carries in `DescribeDBClusters`, one at most. It
//! has no id, so one is made of cluster, job and the start of its first step:
//! `am-bp1example000002/analyticDBFlexibleScaleOut/2026-03-01T07:00:00Z`, or only the first two
//! while no step has started. Such a task cannot be asked for by its id. Without
//! `DBClusterVersion=All` the answer leaves out the Data Warehouse clusters (`am-…`), the very ones
//! that this version of the API is about.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::alibaba::PAGE_SIZE;
use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Step, Task, TaskState, Timestamp};
use crate::{alibaba, wire};

/// AnalyticDB for MySQL.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Adb };

const FACTS: Facts = Facts {
    name: "alibaba_adb",
    product: "AnalyticDB for MySQL",
    cloud: Cloud::Alibaba,
    service: "adb",
    doc: "https://www.alibabacloud.com/help/doc-detail/190217.htm",
    finds: "task ids, and the job that a cluster carries",
    shows: &[Detail::Progress, Detail::Steps, Detail::Started, Detail::Ended],
    notes: &[
        "`DescribeDBClusters` gives the job of a cluster no id. The exporter makes one from the cluster's id, the job's name and the start of its first step: \
         `am-bp1example000002/analyticDBFlexibleScaleOut/2026-03-01T07:00:00Z`. A job is shown from its first step on, for before that it has no lasting id. It cannot be \
         asked for by id: once the cluster no longer shows it, it is `unknown`.",
        "No list names what is asked for by id, and jobs are shown while they go on and no longer. So no gaps in coverage are counted.",
    ],
    operations: &[&DESCRIBE_TASK_INFO, &DESCRIBE_DB_CLUSTERS],
    statuses: &[
        ("Waiting", TaskState::Pending),
        ("Running", TaskState::Running),
        ("Retry", TaskState::Running),
        ("Pause", TaskState::Paused),
        ("Finished", TaskState::Succeeded),
        ("Failed", TaskState::Failed),
        ("Stop", TaskState::Failed),
        ("Cancel", TaskState::Canceled),
        ("Closed", TaskState::Canceled),
        // Of the jobs of clusters, whose third word is RUNNING.
        ("NOT_RUN", TaskState::Pending),
        ("SUCCEED", TaskState::Succeeded),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `TaskId` in the answer to the call that began the task: a number. The `t-…` of \
              `DescribeHistoryTasks` is the id of another list",
        fits: wire::is_number,
        needs: Needs::Resource,
    }),
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
};

const VERSION: &str = "2019-03-15";

// 500 calls a minute are published.
static DESCRIBE_TASK_INFO: Operation = Operation {
    name: "DescribeTaskInfo",
    permission: "adb:DescribeTaskInfo",
    per_second: 8,
    call: Call::Action(VERSION),
};

static DESCRIBE_DB_CLUSTERS: Operation = Operation {
    name: "DescribeDBClusters",
    permission: "adb:DescribeDBClusters",
    per_second: 8,
    call: Call::Action(VERSION),
};

/// Regions on the central host.
const CENTRAL: &[&str] = &[
    "ap-southeast-1",
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-beijing-gov-1",
    "cn-hangzhou",
    "cn-hangzhou-finance",
    "cn-hongkong",
    "cn-north-2-gov-1",
    "cn-qingdao",
    "cn-shanghai",
    "cn-shanghai-finance-1",
    "cn-shenzhen",
    "cn-shenzhen-finance-1",
    "cn-wuhan",
    "us-east-1",
    "us-west-1",
];

pub(crate) static ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 5.0.13; \
             the vendor's endpoint page of 2026-01 for VPCs and where it disagrees",
    by_region: &[
        (CENTRAL, Addresses { public: "https://adb.aliyuncs.com", vpc: VPC, intl: None }),
        // Another region's host.
        (
            &["me-east-1"],
            Addresses { public: "https://adb.ap-northeast-1.aliyuncs.com", vpc: VPC, intl: None },
        ),
    ],
    others: Addresses { public: "https://adb.{region}.aliyuncs.com", vpc: VPC, intl: None },
    all_regions: None,
    confirmed: &[
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-southeast-3",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "cn-chengdu",
        "cn-guangzhou",
        "cn-huhehaote",
        "cn-wulanchabu",
        "cn-zhangjiakou",
        "eu-central-1",
        "eu-west-1",
        "me-central-1",
        "na-south-1",
    ],
    disputed: &["ap-southeast-1", "cn-beijing", "cn-hongkong", "cn-qingdao", "cn-shenzhen"],
};

const VPC: Option<&str> = Some("https://adb-vpc.{region}.aliyuncs.com");

/// Jobs of clusters are listed, tasks are asked for by id.
#[derive(Debug)]
struct Adb;

impl Client for Adb {
    /// One query, or one for as many clusters as fit a page, which also keeps the URL short.
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = |resources: &[Arc<Resource>]| {
            let mut query = alibaba::paged(&DESCRIBE_DB_CLUSTERS)
                .with("RegionId", Parameter::Region)
                .with("DBClusterVersion", "All".into());
            if !resources.is_empty() {
                let ids: Vec<&str> = resources.iter().map(|cluster| &*cluster.id).collect();
                query = query.with("DBClusterIds", Parameter::Text(ids.join(",")));
            }
            Query { resources: resources.to_vec(), ..alibaba::tagged(query, scope.tags) }
        };
        if scope.resources.is_empty() {
            return vec![query(&[])];
        }
        scope.resources.chunks(PAGE_SIZE as usize).map(query).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let cluster = task.resource.as_ref()?;
        Some(Query {
            task: Some(task.clone()),
            ..Query::new(&DESCRIBE_TASK_INFO)
                .with("RegionId", Parameter::Region)
                .with("DBClusterId", (*cluster.id).into())
                .with("TaskId", (*task.id).into())
        })
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        if let Some(asked) = &query.task {
            let rows = wire::rows_if_any(&document, "/TaskInfo")?;
            let of_task = rows.iter().find(|row| wire::says_any(row, &["TaskId", "Status"]));
            page.tasks.extend(of_task.and_then(|row| task(row, asked, &mut page.unreadable)));
            return Ok(page);
        }
        let rows = wire::rows(&document, "/Items/DBCluster")?;
        let total = wire::integer(&document, "TotalCount");
        page.read_list(query, rows, "DBClusterId", PAGE_SIZE, total);
        page.tasks = rows.iter().filter_map(|row| job(row, &mut page.unreadable)).collect();
        Ok(page)
    }
}

/// The task of a `DescribeTaskInfo`. An answer without an id is about the task asked for.
fn task(info: &Value, asked: &TaskRef, unreadable: &mut Unreadable) -> Option<Task> {
    let id = match wire::text(info, "TaskId") {
        Some(_) => wire::task_id(info, "TaskId", unreadable)?.into(),
        None => Arc::clone(&asked.id),
    };
    let (state, word) = status(info, unreadable);
    Some(Task {
        resource: asked.resource.clone().unwrap_or_default(),
        progress: wire::percent(info, "Progress", unreadable),
        started: wire::time(info, "BeginTime", Offset::UTC, unreadable),
        ended: state
            .is_final()
            .then(|| wire::time(info, "FinishTime", Offset::UTC, unreadable))
            .flatten(),
        ..Task::new(id, state, word)
    })
}

/// The job that a row of `DescribeDBClusters` carries; `None` for a cluster at rest.
fn job(row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let info = row.get("TaskInfo")?;
    let kind = wire::text(info, "Name");
    if kind.is_none() && wire::text(info, "Status").is_none() {
        return None;
    }
    let steps = wire::rows(info, "/StepList/StepList").unwrap_or_default();
    let started =
        steps.first().and_then(|step| wire::time(step, "StartTime", Offset::UTC, unreadable));
    let (state, word) = status(info, unreadable);
    if state == TaskState::Pending && started.is_none() {
        // Its id will hold its start. Shown before, it would be two tasks.
        return None;
    }
    let resource = alibaba::cluster(row);
    let id = resource
        .as_ref()
        .zip(kind.as_deref())
        .map(|(cluster, kind)| job_id(&cluster.id, kind, started))
        .filter(|id| id.len() <= Task::MAX_ID_BYTES);
    let Some(id) = id else {
        unreadable.task_id = unreadable.task_id.saturating_add(1);
        return None;
    };
    let mut last_end = || {
        steps.iter().filter_map(|step| wire::time(step, "EndTime", Offset::UTC, unreadable)).max()
    };
    Some(Task {
        kind: kind.map(Arc::from).unwrap_or_default(),
        resource: resource.map(Arc::new).unwrap_or_default(),
        started,
        ended: if state.is_final() { last_end() } else { None },
        progress: wire::percent(info, "Progress", unreadable),
        steps: steps.iter().filter_map(|row| step(row, unreadable)).take(Task::MAX_STEPS).collect(),
        ..Task::new(id, state, word)
    })
}

/// The id that stands for a job of a cluster. It is the same at every poll while the job runs, and
/// another for the next job of that name.
fn job_id(cluster: &str, kind: &str, started: Option<Timestamp>) -> String {
    match started {
        Some(started) => format!("{cluster}/{kind}/{started}"),
        None => format!("{cluster}/{kind}"),
    }
}

fn step(row: &Value, unreadable: &mut Unreadable) -> Option<Step> {
    Some(Step {
        name: wire::text(row, "StepName")?.into(),
        state: wire::text(row, "StepStatus")
            .map(|_| wire::status(&FACTS, row, "StepStatus", unreadable).0),
        progress: wire::percent(row, "StepProgress", unreadable),
        remaining: None,
    })
}

/// A status as our state and as the vendor's word, which is empty if there is none.
fn status(info: &Value, unreadable: &mut Unreadable) -> (TaskState, Arc<str>) {
    let Some(word) = wire::text(info, "Status") else {
        return (TaskState::Unknown, Arc::default());
    };
    let state = FACTS.state(&word);
    if state == TaskState::Unknown {
        unreadable.status = unreadable.status.saturating_add(1);
    }
    (state, word.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_job_has_a_start_once_there_is_one() {
        let started = Timestamp::from_second(1_772_348_400);
        assert_eq!(job_id("am-1", "scaleOut", started), "am-1/scaleOut/2026-03-01T07:00:00Z");
        assert_eq!(job_id("am-1", "scaleOut", None), "am-1/scaleOut");
    }
}
