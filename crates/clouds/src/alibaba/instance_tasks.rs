//! `DescribeTasks`, instance by instance: one family, a row for each product.
//!
//! | product | version | reference |
//! | --- | --- | --- |
//! | [`RDS`] | 2014-08-15 | <https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-describetasks> |
//! | [`POLARDBX`] | 2020-02-02 | <https://www.alibabacloud.com/help/en/polardb/api-polardbx-2020-02-02-describetasks> |
//!
//! - Read 2026-11-30; field types from the official Python packages rds 16.0.2 and polardbx 3.13.0.
//! - Permissions: `DescribeTasks` and `DescribeDBInstances` of the product.
//! - Limits: no rate published; 30 to 100 rows a page of RDS, 5 to 1 000 of PolarDB-X. 100 is good for both.
//!
//! Instances have to be known: each takes a call a poll. They are found by `DescribeDBInstances`, of RDS
//! those with SQL Server alone, for the page of the operation names no other engine.
//!
//! The two differ in more than they look. RDS wraps its rows (`Items.TaskProgressInfo`), takes no window,
//! and writes times without seconds. PolarDB-X has a plain list, and wants a window of dates, whose zone and
//! whose end are not documented: it is asked from the day before the window to the day after today.
//!
//! Neither page lists its status words. Those of RDS are the words for which the vendor's Terraform provider
//! waits, and six numbers, which the older clients of Redis explain for the operation of the same name.
//! Those of PolarDB-X are from its page and from the vendor's operating procedures. 8 is a task that has been
//! broken off with RDS, and one that has succeeded with PolarDB-X.
//!
//! A field without a value may hold the word `null`. The page of RDS says that its list has waiting and
//! running tasks only, and its example has a task that is complete.
//!
//! Left out: `ProgressInfo`, `ExpectedFinishTime`, `DBName`, `ScaleOutToken`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::alibaba::{self, PAGE_SIZE, history, polardb};
use crate::api::{
    Call, Client, Detail, Facts, Operation, Page, Parameter, Query, SameTasks, Scope, Target,
    TaskApi, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Step, Task, TaskState, Timestamp};
use crate::wire;

/// `ApsaraDB` RDS for SQL Server.
pub static RDS: TaskApi = RDS_TASKS.api();

static RDS_TASKS: InstanceTasks = InstanceTasks {
    facts: Facts {
        name: "alibaba_rds",
        product: "ApsaraDB RDS for SQL Server",
        service: "rds",
        doc: "https://www.alibabacloud.com/help/en/rds/developer-reference/\
              api-rds-2014-08-15-describetasks",
        shows: &[
            Detail::Progress,
            Detail::Remaining,
            Detail::Steps,
            Detail::Started,
            Detail::Ended,
            Detail::Error,
        ],
        notes: &[
            "The vendor says that the list has waiting and running tasks only. What has left it before its end was seen \
             is `unknown`.",
            "The meaning of its numbers is inferred from an operation of the same name.",
        ],
        operations: &[&RDS_DESCRIBE_TASKS, &RDS_DESCRIBE_INSTANCES],
        statuses: &[
            ("NoStart", TaskState::Pending),
            ("Processing", TaskState::Running),
            ("Failed", TaskState::Failed),
            ("0", TaskState::Pending),
            ("1", TaskState::Running),
            ("2", TaskState::Succeeded),
            ("4", TaskState::Canceled),
            ("7", TaskState::Paused),
            ("8", TaskState::Failed),
        ],
        same_tasks_as: &[SameTasks {
            api: "alibaba_rds_history",
            advice: "keep alibaba_rds_history for every engine with two calls a poll, or alibaba_rds for error \
                     texts and steps of SQL Server with a call for each instance",
        }],
        endpoints: &history::RDS_ENDPOINTS,
        ..FAMILY
    },
    tasks: &RDS_DESCRIBE_TASKS,
    rows: "/Items/TaskProgressInfo",
    window: None,
    instances: Instances {
        operation: &RDS_DESCRIBE_INSTANCES,
        rows: "/Items/DBInstance",
        id: "DBInstanceId",
        name: "DBInstanceDescription",
        total: "TotalRecordCount",
        engine: Some("SQLServer"),
    },
};

static RDS_DESCRIBE_TASKS: Operation =
    operation("DescribeTasks", "rds:DescribeTasks", "2014-08-15");

static RDS_DESCRIBE_INSTANCES: Operation =
    operation("DescribeDBInstances", "rds:DescribeDBInstances", "2014-08-15");

/// PolarDB-X 2.0.
pub static POLARDBX: TaskApi = POLARDBX_TASKS.api();

static POLARDBX_TASKS: InstanceTasks = InstanceTasks {
    facts: Facts {
        name: "alibaba_polardbx",
        product: "PolarDB-X",
        service: "polardbx",
        doc: "https://www.alibabacloud.com/help/en/polardb/api-polardbx-2020-02-02-describetasks",
        shows: &[Detail::Progress, Detail::Started, Detail::Ended, Detail::Error],
        notes: &[
            "It is asked 30 days back: of a task that runs for longer the end is not seen.",
            "The vendor's page has two of the status words. The others are from its operating procedures.",
        ],
        operations: &[&POLARDBX_DESCRIBE_TASKS, &POLARDBX_DESCRIBE_INSTANCES],
        statuses: &[
            ("RUNNING", TaskState::Running),
            ("FAILED", TaskState::Failed),
            ("8", TaskState::Succeeded),
            ("FINISH", TaskState::Succeeded),
            ("SUCCESS", TaskState::Succeeded),
            ("9", TaskState::Failed),
            ("15", TaskState::Failed),
            ("ERROR", TaskState::Failed),
        ],
        forgets: true,
        endpoints: &POLARDBX_ENDPOINTS,
        ..FAMILY
    },
    tasks: &POLARDBX_DESCRIBE_TASKS,
    rows: "/Items",
    window: Some(Duration::from_hours(30 * 24)),
    instances: Instances {
        operation: &POLARDBX_DESCRIBE_INSTANCES,
        rows: "/DBInstances",
        id: "DBInstanceName",
        name: "Description",
        total: "TotalNumber",
        engine: None,
    },
};

static POLARDBX_DESCRIBE_TASKS: Operation =
    operation("DescribeTasks", "polardbx:DescribeTasks", "2020-02-02");

static POLARDBX_DESCRIBE_INSTANCES: Operation =
    operation("DescribeDBInstances", "polardbx:DescribeDBInstances", "2020-02-02");

static POLARDBX_ENDPOINTS: Endpoints = Endpoints {
    origin: "the vendor's Terraform provider; the vendor's pattern for VPCs",
    by_region: &[(
        &["cn-hangzhou-finance"],
        Addresses {
            public: "https://polardbx.cn-hangzhou.aliyuncs.com",
            vpc: POLARDBX_VPC,
            intl: None,
        },
    )],
    others: Addresses {
        public: "https://polardbx.{region}.aliyuncs.com",
        vpc: POLARDBX_VPC,
        intl: None,
    },
    all_regions: None,
    confirmed: &[],
    // The map of the official package has the central host for these.
    disputed: &[
        "ap-northeast-1",
        "ap-south-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-5",
        "cn-wulanchabu",
        "eu-central-1",
        "eu-west-1",
        "me-east-1",
    ],
};

const POLARDBX_VPC: Option<&str> = Some("https://polardbx-vpc.{region}.aliyuncs.com");

/// What all products share; a product adds its names, its operations, its words and its hosts.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Alibaba,
    service: "",
    doc: "",
    finds: "instances, configured or discovered",
    shows: &[],
    notes: &[],
    operations: &[],
    statuses: &[],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: None,
    error_by_id: false,
    endpoints: &POLARDBX_ENDPOINTS,
    project: None,
};

const fn operation(
    name: &'static str,
    permission: &'static str,
    version: &'static str,
) -> Operation {
    Operation { name, permission, per_second: 5, call: Call::Action(version) }
}

/// A product whose tasks are listed instance by instance.
#[derive(Debug)]
struct InstanceTasks {
    facts: Facts,
    tasks: &'static Operation,
    /// Where the rows of tasks are.
    rows: &'static str,
    /// How far back it is asked, in dates; `None` where it takes no window.
    window: Option<Duration>,
    instances: Instances,
}

/// How a product lists its instances.
#[derive(Debug)]
struct Instances {
    operation: &'static Operation,
    rows: &'static str,
    id: &'static str,
    name: &'static str,
    total: &'static str,
    /// The only engine that has tasks.
    engine: Option<&'static str>,
}

impl InstanceTasks {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    fn task(
        &self,
        row: &Value,
        instance: &Arc<Resource>,
        unreadable: &mut Unreadable,
    ) -> Option<Task> {
        let id = wire::task_id(row, "TaskId", unreadable)?;
        let (state, word) = wire::status(&self.facts, row, "Status", unreadable);
        let began = wire::time(row, "BeginTime", Offset::UTC, unreadable);
        let ended = wire::time(row, "FinishTime", Offset::UTC, unreadable);
        let remaining = wire::seconds(row, "Remain", unreadable);
        let error = if state == TaskState::Failed { polardb::error(row) } else { None };
        Some(Task {
            kind: wire::text(row, "TaskAction").map(Arc::from).unwrap_or_default(),
            resource: Arc::clone(instance),
            progress: wire::percent(row, "Progress", unreadable),
            remaining: remaining.filter(|left| !state.is_final() && !left.is_zero()),
            started: began.filter(|_| state != TaskState::Pending),
            ended: ended.filter(|_| state.is_final()),
            steps: steps(row, state, unreadable),
            error: error.map(Box::new),
            ..Task::new(id, state, word)
        })
    }

    fn instance(&self, row: &Value) -> Option<Resource> {
        let name = wire::text(row, self.instances.name);
        let id = wire::text(row, self.instances.id)?;
        Some(Resource { name: name.map(Into::into), id: id.into() })
    }
}

/// The steps that an answer lists, else the one at work.
fn steps(row: &Value, state: TaskState, unreadable: &mut Unreadable) -> Box<[Step]> {
    let mut steps = polardb::steps(row, unreadable);
    if state.is_final() {
        for step in &mut steps {
            step.remaining = None;
        }
    }
    if !steps.is_empty() {
        return steps;
    }
    let current = wire::text(row, "CurrentStepName").map(|name| Step {
        name: name.into(),
        state: None,
        progress: None,
        remaining: None,
    });
    current.into_iter().collect()
}

/// A date as the window has it: `2026-03-01`.
fn date(time: Timestamp) -> Parameter {
    Parameter::Text(time.to_jiff().strftime("%Y-%m-%d").to_string())
}

impl Client for InstanceTasks {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        const DAY: Duration = Duration::from_hours(24);
        let query = |instance: &Arc<Resource>| {
            let mut query = alibaba::paged(self.tasks)
                .with("RegionId", Parameter::Region)
                .with("DBInstanceId", (*instance.id).into());
            if let Some(window) = self.window {
                let oldest = scope.now.saturating_sub(window).saturating_sub(DAY);
                query =
                    query.with("StartTime", date(oldest)).with("EndTime", date(scope.now + DAY));
            }
            Query { resources: vec![Arc::clone(instance)], since: Some(scope.since), ..query }
        };
        scope.resources.iter().map(query).collect()
    }

    fn discover(&self, _scope: &Scope<'_>) -> Option<Query> {
        let mut query =
            alibaba::paged(self.instances.operation).with("RegionId", Parameter::Region);
        if let Some(engine) = self.instances.engine {
            query = query.with("Engine", engine.into());
        }
        Some(query)
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let mut page = Page::default();
        let Instances { operation, rows, id, total, .. } = self.instances;
        if query.operation == operation {
            let total = wire::integer(&document, total);
            let rows = wire::listed(&document, rows, total)?;
            page.resources =
                rows.iter().filter_map(|row| self.instance(row)).map(Arc::new).collect();
            page.read_list(query, rows, id, PAGE_SIZE, total);
        } else {
            let total = wire::integer(&document, "TotalRecordCount");
            let rows = wire::listed(&document, self.rows, total)?;
            let instance = query.resources.first().cloned().unwrap_or_default();
            let read = |row| self.task(row, &instance, &mut page.unreadable);
            page.tasks = rows.iter().filter_map(read).collect();
            page.read_list(query, rows, "TaskId", PAGE_SIZE, total);
        }
        Ok(page)
    }
}
