//! `ApsaraDB` for `OceanBase`, `ListProjects`, version 2019-09-01: data migration and synchronisation.
//!
//! - Reference: <https://www.alibabacloud.com/help/en/apsaradb-for-oceanbase/latest/api-oceanbasepro-2019-09-01-dir-data-migration>,
//!   read 2026-11-30; field types from the official Python package 12.0.0.
//! - Permission: `oceanbase:ListProjects`, by the pattern of the vendor's others. None is published.
//! - Limits: no rate published; at most 150 rows a page.
//!
//! Parameters travel in a form in the body, the only place where the vendor takes them; the signature
//! covers it. One call lists the projects of one type, which is needed though the metadata calls it optional.
//! There is no window, and no filter by instance.
//!
//! A refusal comes with status 200, `Success` false, and a code of its own or one inside `ErrorDetail`. Good
//! answers may have an `ErrorDetail` too. One text calls `TotalCount` the number of pages, so a list ends at
//! a page that is not full as well.
//!
//! Times have no zone, and which one is meant is not documented. They are read as
//! Beijing's: were they UTC, they would be shown eight hours early, and never in the future.
//!
//! The progress is that of the step at work. An incremental step has no end, so it has none.
//!
//! Left out, since they hold hosts and users: `SourceConnectInfo`, `SinkConnectInfo`, `Owner`.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::alibaba::dts;
use crate::api::{
    Call, Client, Detail, Facts, Operation, Page, Parameter, Query, Scope, Target, TaskApi,
    Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Ratio, Resource, Step, Task, TaskError, TaskState};
use crate::wire;

/// `ApsaraDB` for `OceanBase`.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &OceanBase };

const FACTS: Facts = Facts {
    name: "alibaba_oceanbase",
    product: "ApsaraDB for OceanBase, data migration",
    cloud: Cloud::Alibaba,
    service: "oceanbasepro",
    doc: "https://www.alibabacloud.com/help/en/apsaradb-for-oceanbase/latest/\
          api-oceanbasepro-2019-09-01-dir-data-migration",
    finds: "the lists of migration and synchronisation projects of the region",
    shows: &[
        Detail::Progress,
        Detail::Steps,
        Detail::Created,
        Detail::Started,
        Detail::Ended,
        Detail::Error,
    ],
    notes: &[
        "What a task works on is its project. The vendor publishes no permission for the operation: the name here follows \
         its pattern.",
        "Times carry no zone, and the vendor does not say which is meant. They are read as UTC+08:00.",
        "The progress is that of the step at work. Incremental steps go on without end and have none.",
    ],
    operations: &[&LIST_PROJECTS],
    statuses: &[
        ("INIT", TaskState::Pending),
        ("UNCONFIGURED", TaskState::Pending),
        ("RUNNING", TaskState::Running),
        ("RUNNING_MODIFYING", TaskState::Running),
        ("RUNNING_MERGING", TaskState::Running),
        ("RUNNING_ALARMING", TaskState::Running),
        ("SUSPEND", TaskState::Paused),
        ("FAILED", TaskState::Failed),
        ("FINISHED", TaskState::Succeeded),
        ("RELEASING", TaskState::Canceled),
        ("RELEASED", TaskState::Canceled),
        ("DELETED", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: None,
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
};

static LIST_PROJECTS: Operation = Operation {
    name: "ListProjects",
    permission: "oceanbase:ListProjects",
    per_second: 1,
    call: Call::Form("2019-09-01"),
};

static ENDPOINTS: Endpoints = Endpoints {
    origin: "the vendor's Terraform provider; the vendor's pattern for VPCs",
    by_region: &[],
    others: Addresses {
        public: "https://oceanbasepro.{region}.aliyuncs.com",
        vpc: Some("https://oceanbasepro-vpc.{region}.aliyuncs.com"),
        intl: None,
    },
    all_regions: None,
    confirmed: &[],
    disputed: &[],
};

const PAGE_SIZE: u32 = 100;

/// The types of projects, each with a list of its own.
pub const TYPES: &[&str] = &["MIGRATION", "SYNC"];

/// What Beijing's clocks show.
const BEIJING: jiff::tz::Offset = jiff::tz::Offset::constant(8);

/// Projects are listed by type.
#[derive(Debug)]
struct OceanBase;

impl Client for OceanBase {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = |&of: &&'static str| {
            let query = Query::new(&LIST_PROJECTS)
                .with("Type", of.into())
                .with("PageNumber", Parameter::PageNumber)
                .with("PageSize", Parameter::Integer(PAGE_SIZE.into()));
            Query { resources: scope.resources.to_vec(), since: Some(scope.since), ..query }
        };
        TYPES.iter().map(query).collect()
    }

    fn decode(
        &self,
        _target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let total = wire::integer(&document, "TotalCount");
        let rows = wire::listed(&document, "/Data", total)?;
        let mut page = Page::default();
        page.tasks = rows
            .iter()
            .filter_map(|row| project(row, &mut page.unreadable))
            .filter(|task| {
                let wanted = &query.resources;
                wanted.is_empty() || wanted.iter().any(|it| it.id == task.resource.id)
            })
            .collect();
        page.read_list(query, rows, "Id", PAGE_SIZE, total);
        Ok(page)
    }
}

fn project(row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = wire::task_id(row, "Id", unreadable)?;
    let (state, word) = wire::status(&FACTS, row, "Status", unreadable);
    let mut time = |field| wire::time(row, field, BEIJING, unreadable);
    let (created, started, ended) = (time("GmtCreate"), time("GmtStart"), time("GmtFinish"));
    let rows = wire::rows(row, "/Steps").unwrap_or_default();
    let steps: Box<[Step]> =
        rows.iter().filter_map(|row| step(row, unreadable)).take(Task::MAX_STEPS).collect();
    Some(Task {
        kind: wire::text(row, "Type").map(Arc::from).unwrap_or_default(),
        resource: Arc::new(Resource {
            id: id.as_str().into(),
            name: wire::text(row, "Name").map(Into::into),
        }),
        progress: progress(row, &steps, unreadable),
        created,
        started: started.filter(|_| state != TaskState::Pending),
        ended: ended.filter(|_| state.is_final()),
        error: (state == TaskState::Failed).then(|| error(rows)).flatten().map(Box::new),
        steps,
        ..Task::new(id, state, word)
    })
}

fn step(row: &Value, unreadable: &mut Unreadable) -> Option<Step> {
    let name = wire::text(row, "Name")?;
    let word = wire::text(row, "Status").unwrap_or_default();
    let state = Some(FACTS.state(&word)).filter(|state| *state != TaskState::Unknown);
    let progress = wire::percent(row, "Progress", unreadable).filter(|_| !is_endless(&name));
    Some(Step { name: name.into(), state, progress, remaining: None })
}

/// Whether a step goes on without end: `INCR_TRANSFER`, `REVERSE_INCR_TRANSFER`.
fn is_endless(step: &str) -> bool {
    step.to_ascii_uppercase().contains("INCR")
}

/// How far the step at work is: as the project says, else as the step does.
fn progress(row: &Value, steps: &[Step], unreadable: &mut Unreadable) -> Option<Ratio> {
    let nothing = Value::Null;
    let extra = row.get("ExtraInfo").unwrap_or(&nothing);
    if wire::text(extra, "RunningStep").is_some_and(|step| is_endless(&step)) {
        return None;
    }
    let own = wire::percent(extra, "RunningProgress", unreadable);
    let at_work = steps.iter().find(|step| {
        step.state.is_some_and(|state| !matches!(state, TaskState::Succeeded | TaskState::Pending))
    });
    own.or_else(|| at_work.and_then(|step| step.progress))
}

/// Why a project failed: by the first step that says so.
fn error(steps: &[Value]) -> Option<TaskError> {
    let of_step = |step: &Value| {
        let extra = step.get("ExtraInfo")?;
        let details = wire::rows(extra, "/ErrorDetails").unwrap_or_default();
        let detail = details.iter().find(|it| wire::says_any(it, &["Code", "Message"]));
        let (code, message) = match detail {
            Some(detail) => (wire::text(detail, "Code"), wire::text(detail, "Message")),
            None => (wire::text(extra, "ErrorCode"), wire::text(extra, "ErrorMsg")),
        };
        (code.is_some() || message.is_some()).then(|| TaskError {
            code: code.unwrap_or_default().into(),
            message: dts::plain(&message.unwrap_or_default()).into(),
        })
    };
    steps.iter().find_map(of_step)
}
