//! Flows by their ids: one family, a row for each product. No list exists, so only ids that are given are
//! watched: by configuration, a tasks file or registration.
//!
//! | product | operation, version | answer |
//! | --- | --- | --- |
//! | [`MONGODB`] | `DescribeAsyncRequestInfo`, 2019-07-25 | a word, and in newer answers times |
//! | [`MARIADB`] | `DescribeFlow`, 2017-03-12 | a number |
//! | [`TDMYSQL`] | `DescribeFlow`, 2021-11-22 | a word |
//! | [`CYNOSDB`] | `DescribeFlow`, 2019-01-07 | a number |
//! | [`DCDB`] | `DescribeFlow`, 2018-04-11 | a number |
//! | [`SQLSERVER`] | `DescribeFlowStatus`, 2018-03-28 | a number |
//!
//! Reference: the vendor's API Explorer, and <https://www.tencentcloud.com/document/product/1042/40887> for DCDB;
//! types from the official Python packages 3.1, read 2026-11-30. Permission: the operation's name. 20 calls a
//! second each; one call shows one flow.
//!
//! An answer says how a flow is, and nothing of its sort, instance, progress or error. In numbers 0 is
//! succeeded, 1 failed and 2 running: in the products' task *lists* they mean something else. An answer without
//! a status is no task.
//!
//! `MongoDB`: `paused` and `undoed` say that a task **failed** and was left or rolled back. There is
//! no status for one that is held.
//!
//! A call that begins nothing answers the id 0: there is nothing to wait for, so it is refused.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, SameTasks, Scope,
    Target, TaskApi, TaskRef,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::Endpoints;
use crate::model::{Task, TaskState, Timestamp};
use crate::tencent::cynosdb;
use crate::{tencent, wire};

/// TencentDB for `MongoDB`.
pub static MONGODB: TaskApi = MONGODB_FLOW.api();

static MONGODB_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_mongodb",
        product: "TencentDB for MongoDB",
        service: "mongodb",
        doc: tencent::explorer!("mongodb", "DescribeAsyncRequestInfo", "2019-07-25"),
        finds: "ids that are given",
        shows: &[Detail::Started, Detail::Ended],
        notes: &[
            "`paused` and `undoed` are failures: the vendor left the task as it was, or rolled it back.",
        ],
        operations: &[&MONGODB_OPERATION],
        statuses: &[
            ("initial", TaskState::Pending),
            ("running", TaskState::Running),
            ("success", TaskState::Succeeded),
            ("failed", TaskState::Failed),
            // "The execution failed, paused."
            ("paused", TaskState::Failed),
            // "The execution failed, rolled back."
            ("undoed", TaskState::Failed),
        ],
        ids: Some(IdRule {
            looks_like: "the `FlowId` or `AsyncRequestId` in the answer to the call that began the task",
            fits: is_request_id,
            needs: Needs::Nothing,
        }),
        endpoints: &MONGODB_ENDPOINTS,
        ..FAMILY
    },
    operation: &MONGODB_OPERATION,
    parameter: "AsyncRequestId",
    is_text: true,
};

static MONGODB_OPERATION: Operation =
    tencent::operation!("mongodb", "DescribeAsyncRequestInfo", "2019-07-25", 15);

static MONGODB_ENDPOINTS: Endpoints = tencent::hosts!("mongodb");

/// TencentDB for `MariaDB`.
pub static MARIADB: TaskApi = MARIADB_FLOW.api();

static MARIADB_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_mariadb",
        product: "TencentDB for MariaDB",
        service: "mariadb",
        doc: tencent::explorer!("mariadb", "DescribeFlow", "2017-03-12"),
        finds: "ids that are given",
        shows: &[],
        notes: &[],
        operations: &[&MARIADB_OPERATION],
        endpoints: &MARIADB_ENDPOINTS,
        ..FAMILY
    },
    operation: &MARIADB_OPERATION,
    ..FLOW
};

static MARIADB_OPERATION: Operation =
    tencent::operation!("mariadb", "DescribeFlow", "2017-03-12", 15);

static MARIADB_ENDPOINTS: Endpoints = tencent::hosts!("mariadb", intl: None);

/// TDSQL boundless.
pub static TDMYSQL: TaskApi = TDMYSQL_FLOW.api();

static TDMYSQL_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_tdmysql",
        product: "TDSQL boundless (TDStore)",
        service: "tdmysql",
        doc: tencent::explorer!("tdmysql", "DescribeFlow", "2021-11-22"),
        finds: "ids that are given",
        shows: &[],
        notes: &[],
        operations: &[&TDMYSQL_OPERATION],
        statuses: &[
            ("running", TaskState::Running),
            ("paused", TaskState::Paused),
            ("success", TaskState::Succeeded),
            ("failed", TaskState::Failed),
        ],
        endpoints: &TDMYSQL_ENDPOINTS,
        ..FAMILY
    },
    operation: &TDMYSQL_OPERATION,
    ..FLOW
};

static TDMYSQL_OPERATION: Operation =
    tencent::operation!("tdmysql", "DescribeFlow", "2021-11-22", 15);

// The international site's model of the call has neither id nor status.
static TDMYSQL_ENDPOINTS: Endpoints = tencent::hosts!("tdmysql", intl: None);

/// Flows of TDSQL-C.
pub static CYNOSDB: TaskApi = CYNOSDB_FLOW.api();

static CYNOSDB_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_cynosdb_flow",
        product: "TDSQL-C (CynosDB), flows",
        service: "cynosdb",
        doc: tencent::explorer!("cynosdb", "DescribeFlow", "2019-01-07"),
        finds: "ids that are given",
        shows: &[],
        notes: &[],
        operations: &[&CYNOSDB_OPERATION],
        same_tasks_as: &[SameTasks {
            api: "tencent_cynosdb",
            advice: "keep tencent_cynosdb, which lists every task, or tencent_cynosdb_flow where only a \
                     `FlowId` is known",
        }],
        endpoints: &cynosdb::ENDPOINTS,
        ..FAMILY
    },
    operation: &CYNOSDB_OPERATION,
    ..FLOW
};

static CYNOSDB_OPERATION: Operation =
    tencent::operation!("cynosdb", "DescribeFlow", "2019-01-07", 15);

/// Flows of TDSQL for `MySQL`.
pub static DCDB: TaskApi = DCDB_FLOW.api();

static DCDB_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_dcdb_flow",
        product: "TDSQL for MySQL (DCDB), flows",
        service: "dcdb",
        doc: "https://www.tencentcloud.com/document/product/1042/40887",
        finds: "ids that are given",
        shows: &[],
        notes: &[],
        operations: &[&DCDB_OPERATION],
        same_tasks_as: &[SameTasks {
            api: "tencent_dcdb",
            advice: "keep tencent_dcdb, which lists every task, or tencent_dcdb_flow where only a `FlowId` \
                     is known, and on the international site",
        }],
        endpoints: &DCDB_ENDPOINTS,
        ..FAMILY
    },
    operation: &DCDB_OPERATION,
    ..FLOW
};

static DCDB_OPERATION: Operation = tencent::operation!("dcdb", "DescribeFlow", "2018-04-11", 15);

static DCDB_ENDPOINTS: Endpoints = tencent::hosts!("dcdb");

/// Flows of TencentDB for SQL Server.
pub static SQLSERVER: TaskApi = SQLSERVER_FLOW.api();

static SQLSERVER_FLOW: Flow = Flow {
    facts: Facts {
        name: "tencent_sqlserver_flow",
        product: "TencentDB for SQL Server, flows",
        service: "sqlserver",
        doc: tencent::explorer!("sqlserver", "DescribeFlowStatus", "2018-03-28"),
        finds: "ids that are given",
        shows: &[],
        notes: &[],
        operations: &[&SQLSERVER_OPERATION],
        endpoints: &SQLSERVER_ENDPOINTS,
        ..FAMILY
    },
    operation: &SQLSERVER_OPERATION,
    ..FLOW
};

static SQLSERVER_OPERATION: Operation =
    tencent::operation!("sqlserver", "DescribeFlowStatus", "2018-03-28", 15);

pub(super) static SQLSERVER_ENDPOINTS: Endpoints = tencent::hosts!("sqlserver");

/// What most products share.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Tencent,
    service: "",
    doc: "",
    finds: "",
    shows: &[],
    notes: &[],
    operations: &[],
    statuses: &[("2", TaskState::Running), ("0", TaskState::Succeeded), ("1", TaskState::Failed)],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    error_by_id: false,
    ids: Some(IdRule {
        looks_like: "the `FlowId` in the answer to the call that began the task: a number",
        fits: tencent::is_number,
        needs: Needs::Nothing,
    }),
    endpoints: &MARIADB_ENDPOINTS,
    project: None,
};

const FLOW: Flow =
    Flow { facts: FAMILY, operation: &MARIADB_OPERATION, parameter: "FlowId", is_text: false };

/// A product whose flows are asked for by their ids.
#[derive(Debug)]
struct Flow {
    facts: Facts,
    operation: &'static Operation,
    /// The parameter that takes the id.
    parameter: &'static str,
    /// Whether the id is a text there, though it may be a number elsewhere.
    is_text: bool,
}

impl Flow {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }
}

/// A number as a rule; of other ids the documentation says nothing.
fn is_request_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.bytes().any(|byte| byte != b'0') && id.bytes().all(fits)
}

impl Client for Flow {
    fn list(&self, _: &Scope<'_>) -> Vec<Query> {
        Vec::new()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let id = if self.is_text {
            (*task.id).into()
        } else {
            Parameter::Integer(task.id.parse().ok()?)
        };
        let query = Query::new(self.operation).with(self.parameter, id);
        Some(Query { task: Some(task.clone()), ..query })
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = tencent::document(response)?;
        let mut page = Page::default();
        // What is said of the flow stands in the envelope itself.
        let row = document.get("Response").unwrap_or(&Value::Null);
        if !wire::says_any(row, &["Status"]) {
            let is_vendors = wire::is_vendors(row);
            return is_vendors.then_some(page).ok_or(DecodeError::Missing("/Response/Status"));
        }
        let Some(wanted) = &query.task else { return Ok(page) };
        let (state, word) = wire::status(&self.facts, row, "Status", &mut page.unreadable);
        let mut time = |field| wire::time(row, field, target.utc_offset, &mut page.unreadable);
        let (started, ended) = (time("StartTime"), time("EndTime"));
        page.tasks.push(Task {
            resource: wanted.resource.as_ref().map(Arc::clone).unwrap_or_default(),
            started,
            ended: ended.filter(|_| state.is_final()),
            ..Task::new(Arc::clone(&wanted.id), state, word)
        });
        Ok(page)
    }
}
