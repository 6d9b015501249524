//! What HUAWEI CLOUD's databases have planned: one family, a row for each product.
//!
//! | product | call | reference |
//! | --- | --- | --- |
//! | [`DDS`] | `GET /v3/{project_id}/scheduled-jobs` | <https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0277.html> |
//! | [`RDS`] | `GET /v3/{project_id}/schedule-tasks` | <https://support.huaweicloud.com/intl/en-us/api-rds/> |
//! | [`TAURUSDB`] | `GET /v3/{project_id}/scheduled-jobs` | <https://support.huaweicloud.com/intl/en-us/api-taurusdb/ListScheduleJobs.html> |
//! | [`GEMINIDB`] | `GET /v3/{project_id}/scheduled-jobs` | <https://support.huaweicloud.com/intl/en-us/api-nosql/> |
//! | [`GAUSSDB`] | `GET /v3/{project_id}/instances/schedule-tasks` | <https://support.huaweicloud.com/intl/en-us/api-gaussdb/> |
//!
//! - Read 2026-11-30; field types from the official clients for Python (3.1.219) and Go (0.1.207).
//! - Permissions stand with the operations; those of RDS, `GeminiDB` and `GaussDB` are those of their lists
//!   of jobs, which is inferred.
//! - No rate limit is published. A plan changes rarely: every five minutes is enough.
//!
//! A list covers the project and is asked for as a whole, foreign rows dropped here. DDS and `GeminiDB` show
//! seven days unless they are asked for more, and are asked for 30.
//!
//! There is neither progress nor an error. The start of a task is a plan, and so is its end: the first is
//! shown while the task waits, the second never. A task may wait for its owner's authorisation.

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
use crate::document::DecodeError;
use crate::huawei::{self, hosts};
use crate::model::{Resource, Task, TaskState};
use crate::wire;

/// Document Database Service.
pub static DDS: TaskApi = DDS_PLANS.api();

static DDS_PLANS: Plans = Plans {
    facts: Facts {
        name: "huawei_dds_scheduled",
        product: "Document Database Service, planned tasks",
        service: "dds",
        doc: "https://support.huaweicloud.com/intl/en-us/api-dds/dds_api_0277.html",
        operations: &[&DDS_LIST, &huawei::LIST_PROJECTS],
        endpoints: &hosts::DDS,
        ..FAMILY
    },
    list: &DDS_LIST,
    has_window: true,
    ..PLANS
};

static DDS_LIST: Operation =
    operation("ListScheduledTasks", "dds:task:list", Call::Get("/v3/{project_id}/scheduled-jobs"));

/// RDS. A task that was deleted stays in the list for a while.
pub static RDS: TaskApi = RDS_PLANS.api();

static RDS_PLANS: Plans = Plans {
    facts: Facts {
        name: "huawei_rds_scheduled",
        product: "Relational Database Service, planned tasks",
        service: "rds",
        doc: "https://support.huaweicloud.com/intl/en-us/api-rds/",
        operations: &[&RDS_LIST, &huawei::LIST_PROJECTS],
        statuses: &[
            ("Pending", TaskState::Pending),
            ("Initing", TaskState::Pending),
            ("Unauthorized", TaskState::Pending),
            ("Running", TaskState::Running),
            ("Completed", TaskState::Succeeded),
            ("Failed", TaskState::Failed),
            ("Canceled", TaskState::Canceled),
            ("Deleted", TaskState::Canceled),
        ],
        endpoints: &hosts::RDS,
        ..FAMILY
    },
    list: &RDS_LIST,
    limit: 50,
    rows: "/schedule_tasks",
    id: "id",
    kind: "name",
    status: "status",
    ..PLANS
};

static RDS_LIST: Operation =
    operation("ListScheduleTasks", "rds:task:list", Call::Get("/v3/{project_id}/schedule-tasks"));

/// `TaurusDB`. A task of a proxy is shown with its instance.
pub static TAURUSDB: TaskApi = TAURUSDB_PLANS.api();

static TAURUSDB_PLANS: Plans = Plans {
    facts: Facts {
        name: "huawei_taurusdb_scheduled",
        product: "TaurusDB, planned tasks",
        service: "gaussdb",
        doc: "https://support.huaweicloud.com/intl/en-us/api-taurusdb/ListScheduleJobs.html",
        operations: &[&TAURUSDB_LIST, &huawei::LIST_PROJECTS],
        endpoints: &hosts::TAURUSDB,
        ..FAMILY
    },
    list: &TAURUSDB_LIST,
    speaks: true,
    ..PLANS
};

static TAURUSDB_LIST: Operation = operation(
    "ListScheduleJobs",
    "gaussdb:instance:list",
    Call::Get("/v3/{project_id}/scheduled-jobs"),
);

/// `GeminiDB`. The vendor's clients for Python and Go read no field of its rows.
pub static GEMINIDB: TaskApi = GEMINIDB_PLANS.api();

static GEMINIDB_PLANS: Plans = Plans {
    facts: Facts {
        name: "huawei_geminidb_scheduled",
        product: "GeminiDB, planned tasks",
        service: "gaussdb-nosql",
        doc: "https://support.huaweicloud.com/intl/en-us/api-nosql/",
        operations: &[&GEMINIDB_LIST, &huawei::LIST_PROJECTS],
        endpoints: &hosts::GEMINIDB,
        ..FAMILY
    },
    list: &GEMINIDB_LIST,
    has_window: true,
    ..PLANS
};

static GEMINIDB_LIST: Operation =
    operation("ListNosqlTaskList", "nosql:task:list", Call::Get("/v3/{project_id}/scheduled-jobs"));

/// `GaussDB`. Its kinds are in the language that is asked for, or in Chinese.
pub static GAUSSDB: TaskApi = GAUSSDB_PLANS.api();

static GAUSSDB_PLANS: Plans = Plans {
    facts: Facts {
        name: "huawei_gaussdb_scheduled",
        product: "GaussDB, planned tasks",
        service: "gaussdb-opengauss",
        doc: "https://support.huaweicloud.com/intl/en-us/api-gaussdb/",
        operations: &[&GAUSSDB_LIST, &huawei::LIST_PROJECTS],
        endpoints: &hosts::GAUSSDB,
        ..FAMILY
    },
    list: &GAUSSDB_LIST,
    speaks: true,
    rows: "/tasks",
    id: "task_id",
    kind: "task_name",
    status: "status",
    ..PLANS
};

static GAUSSDB_LIST: Operation = operation(
    "ListScheduleTask",
    "gaussdb:task:list",
    Call::Get("/v3/{project_id}/instances/schedule-tasks"),
);

/// What all products share; a product adds its names, its operation and its hosts.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Huawei,
    service: "",
    doc: "",
    finds: "the list of the region",
    shows: &[Detail::Created, Detail::Scheduled],
    notes: &[
        "It shows what is planned. Whether a task that has begun is in the product's list of jobs too, under another id, is not documented.",
        "Planned ends are not shown, and so no end is.",
    ],
    operations: &[],
    statuses: &[
        ("Pending", TaskState::Pending),
        // Waits for the owner to authorise it.
        ("Unauthorized", TaskState::Pending),
        ("Running", TaskState::Running),
        ("Completed", TaskState::Succeeded),
        ("Failed", TaskState::Failed),
        ("Canceled", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: true,
    ids: None,
    error_by_id: false,
    endpoints: &hosts::DDS,
    project: Some(&huawei::PROJECT),
};

const PLANS: Plans = Plans {
    facts: FAMILY,
    list: &DDS_LIST,
    has_window: false,
    limit: 100,
    speaks: false,
    rows: "/schedules",
    id: "job_id",
    kind: "job_name",
    status: "job_status",
};

/// How far back a list is asked for that has a window.
const WINDOW: Duration = Duration::from_hours(30 * 24);

const fn operation(name: &'static str, permission: &'static str, call: Call) -> Operation {
    Operation { name, permission, per_second: 1, call }
}

/// A product's plans: the project is listed.
#[derive(Debug)]
struct Plans {
    facts: Facts,
    list: &'static Operation,
    /// Whether it shows some days only, unless it is asked for more.
    has_window: bool,
    /// The most rows that it gives for one call.
    limit: u32,
    /// Whether it takes the language of its texts.
    speaks: bool,
    /// Where the rows are, as a JSON pointer, and how their fields are called.
    rows: &'static str,
    id: &'static str,
    kind: &'static str,
    status: &'static str,
}

impl Plans {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    fn task(
        &self,
        row: &Value,
        resources: &[Arc<Resource>],
        unreadable: &mut Unreadable,
    ) -> Option<Task> {
        let resource = Resource {
            id: wire::text(row, "instance_id").unwrap_or_default().into(),
            name: wire::text(row, "instance_name").map(Into::into),
        };
        if !huawei::is_watched(resources, &resource) {
            return None;
        }
        let id = wire::task_id(row, self.id, unreadable)?;
        let (state, word) = wire::status(&self.facts, row, self.status, unreadable);
        let planned = wire::time(row, "start_time", Offset::UTC, unreadable);
        Some(Task {
            kind: wire::text(row, self.kind).unwrap_or_default().into(),
            resource: Arc::new(resource),
            created: wire::time(row, "create_time", Offset::UTC, unreadable),
            scheduled: planned.filter(|_| state == TaskState::Pending),
            ..Task::new(id, state, word)
        })
    }
}

impl Client for Plans {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let mut query = huawei::in_english(Query::new(self.list), self.speaks)
            .with("limit", Parameter::Integer(self.limit.into()))
            .with("offset", Parameter::Offset(self.limit));
        let mut since = scope.since;
        if self.has_window {
            since = scope.until().saturating_sub(WINDOW);
            query = query
                .with("start_time", Parameter::Time(since))
                .with("end_time", Parameter::Time(scope.until()));
        }
        vec![Query { resources: scope.resources.to_vec(), since: Some(since), ..query }]
    }

    fn least_interval(&self) -> Option<Duration> {
        Some(Duration::from_mins(5))
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let rows = huawei::rows(&document, self.rows)?;
        let mut page = Page::default();
        page.tasks = rows
            .iter()
            .filter_map(|row| self.task(row, &query.resources, &mut page.unreadable))
            .collect();
        page.read_list(query, rows, self.id, self.limit, wire::integer(&document, "total_count"));
        Ok(page)
    }
}
