//! Planned maintenance, `DescribeActiveOperationTasks`: one family, a row for each product.
//!
//! | product | version | reference |
//! | --- | --- | --- |
//! | [`RDS`] | 2014-08-15 | <https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-describeactiveoperationtasks> |
//! | [`MONGODB`] | 2015-12-01 | the models of the official clients |
//! | [`REDIS`] | 2015-01-01 | the models of the official clients |
//! | [`POLARDB`] | 2017-08-01 | the models of the official clients |
//!
//! - Read 2026-11-30; field types from the official Python packages rds 16.0.2, dds 9.5.0, r-kvstore 7.0.0
//!   and polardb 9.2.1. The addresses of the pages of the last three follow the vendor's pattern; these
//!   pages have not been read.
//! - Permission: the product's own `DescribeActiveOperationTasks`. That of Redis begins with `kvstore:`.
//! - Limits: no rate published but for an older form of Redis, 200 a minute; 100 rows a page. How long what
//!   has ended stays listed is not documented.
//!
//! One call lists everything: `Status=-1` and `TaskType=all` take all. RDS, `MongoDB` and Redis take
//! `Region=all` for all regions at once; `PolarDB` wants a region. The fields of `PolarDB` have other names.
//!
//! Nothing has an end time: `ModifiedTime` is near it, and no more. `StartTime` and `SwitchTime` of what has
//! not begun are plans. The second is when the service is interrupted, so it is what is shown as the plan.
//! `ResultInfo` is a reason, and an error only of what has failed. The example of `MongoDB` has a time
//! without a zone, which is read as UTC, as the others are. Ids are small numbers, unique within a product.
//!
//! Left out: `TaskParams`, `Deadline`, `Impact`, names of zones and nodes.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::alibaba::{self, PAGE_SIZE, history, polardb};
use crate::api::{
    Call, Client, Detail, Facts, Operation, Page, Parameter, Query, Scope, Target, TaskApi,
    Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{ALL_REGIONS, Addresses, Endpoints};
use crate::model::{Resource, Task, TaskError, TaskState};
use crate::wire;

/// `ApsaraDB` RDS.
pub static RDS: TaskApi = RDS_PLANS.api();

static RDS_PLANS: Maintenance = Maintenance {
    facts: Facts {
        name: "alibaba_rds_maintenance",
        product: "ApsaraDB RDS, planned maintenance",
        service: "rds",
        doc: "https://www.alibabacloud.com/help/en/rds/developer-reference/\
              api-rds-2014-08-15-describeactiveoperationtasks",
        operations: &[&RDS_OPERATION],
        endpoints: &RDS_ENDPOINTS,
        ..FAMILY
    },
    operation: &RDS_OPERATION,
    fields: &FIELDS,
    product_id: Some("RDS"),
};

static RDS_OPERATION: Operation = operation("rds:DescribeActiveOperationTasks", "2014-08-15");

static RDS_ENDPOINTS: Endpoints = everywhere(&history::RDS_ENDPOINTS, "https://rds.aliyuncs.com");

/// `ApsaraDB` for `MongoDB`.
pub static MONGODB: TaskApi = MONGODB_PLANS.api();

static MONGODB_PLANS: Maintenance = Maintenance {
    facts: Facts {
        name: "alibaba_mongodb_maintenance",
        product: "ApsaraDB for MongoDB, planned maintenance",
        service: "dds",
        doc: "https://www.alibabacloud.com/help/en/mongodb/developer-reference/\
              api-dds-2015-12-01-describeactiveoperationtasks",
        operations: &[&MONGODB_OPERATION],
        endpoints: &MONGODB_ENDPOINTS,
        ..FAMILY
    },
    operation: &MONGODB_OPERATION,
    fields: &FIELDS,
    product_id: Some("MongoDB"),
};

static MONGODB_OPERATION: Operation = operation("dds:DescribeActiveOperationTasks", "2015-12-01");

static MONGODB_ENDPOINTS: Endpoints =
    everywhere(&history::MONGODB_ENDPOINTS, "https://mongodb.aliyuncs.com");

/// Tair and Redis.
pub static REDIS: TaskApi = REDIS_PLANS.api();

static REDIS_PLANS: Maintenance = Maintenance {
    facts: Facts {
        name: "alibaba_redis_maintenance",
        product: "Tair and Redis, planned maintenance",
        service: "r-kvstore",
        doc: "https://www.alibabacloud.com/help/en/redis/developer-reference/\
              api-r-kvstore-2015-01-01-describeactiveoperationtasks-redis",
        operations: &[&REDIS_OPERATION],
        endpoints: &REDIS_ENDPOINTS,
        ..FAMILY
    },
    operation: &REDIS_OPERATION,
    fields: &FIELDS,
    product_id: Some("Redis"),
};

static REDIS_OPERATION: Operation = operation("kvstore:DescribeActiveOperationTasks", "2015-01-01");

static REDIS_ENDPOINTS: Endpoints =
    everywhere(&history::REDIS_ENDPOINTS, "https://r-kvstore.aliyuncs.com");

/// `PolarDB`, which wants a region.
pub static POLARDB: TaskApi = POLARDB_PLANS.api();

static POLARDB_PLANS: Maintenance = Maintenance {
    facts: Facts {
        name: "alibaba_polardb_maintenance",
        product: "PolarDB, planned maintenance",
        service: "polardb",
        doc: "https://www.alibabacloud.com/help/en/polardb/\
              api-polardb-2017-08-01-describeactiveoperationtasks",
        notes: &[PLANS_NOTE, TWICE_NOTE],
        operations: &[&POLARDB_OPERATION],
        endpoints: &polardb::ENDPOINTS,
        ..FAMILY
    },
    operation: &POLARDB_OPERATION,
    fields: &Fields { region: "RegionId", id: "TaskId", instance: "DBClusterId" },
    product_id: None,
};

static POLARDB_OPERATION: Operation =
    operation("polardb:DescribeActiveOperationTasks", "2017-08-01");

const PLANS_NOTE: &str = "What has not begun is `pending`, with the time of its switch-over as its plan. There is neither progress nor \
     an end time: when an end is counted, its time is that of the poll that found it.";

const TWICE_NOTE: &str = "Once maintenance goes on, the task centre of the product, if it has one, may show it too, under an id of its \
     own.";

const REGIONS_NOTE: &str = "`region: all` watches every region of the account with one call. Then no other source of this API should \
     watch one of them: its tasks would be counted twice.";

/// What all products share; a product adds its names, its operation and its hosts.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Alibaba,
    service: "",
    doc: "",
    finds: "the list of what is planned, going on and done in the region",
    shows: &[Detail::Created, Detail::Scheduled, Detail::Started, Detail::Error],
    notes: &[PLANS_NOTE, TWICE_NOTE, REGIONS_NOTE],
    operations: &[],
    statuses: &[
        // To be processed: the usual word for what is planned.
        ("3", TaskState::Pending),
        // Before the customer is told, and before the customer has chosen a time.
        ("0", TaskState::Pending),
        ("1", TaskState::Pending),
        ("2", TaskState::Pending),
        ("4", TaskState::Running),
        ("5", TaskState::Succeeded),
        ("6", TaskState::Failed),
        ("7", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: None,
    error_by_id: false,
    endpoints: &RDS_ENDPOINTS,
    project: None,
};

/// The operation of a product, which differs in its permission and its version only.
const fn operation(permission: &'static str, version: &'static str) -> Operation {
    Operation {
        name: "DescribeActiveOperationTasks",
        permission,
        per_second: 1,
        call: Call::Action(version),
    }
}

/// The hosts of a product, whose central one also answers for all regions at once.
const fn everywhere(regions: &'static Endpoints, central: &'static str) -> Endpoints {
    Endpoints {
        origin: regions.origin,
        by_region: regions.by_region,
        others: Addresses {
            public: regions.others.public,
            vpc: regions.others.vpc,
            intl: regions.others.intl,
        },
        all_regions: Some(central),
        confirmed: regions.confirmed,
        disputed: regions.disputed,
    }
}

/// How a product names things.
#[derive(Debug)]
struct Fields {
    /// The parameter for the region.
    region: &'static str,
    id: &'static str,
    instance: &'static str,
}

const FIELDS: Fields = Fields { region: "Region", id: "Id", instance: "InsName" };

/// A product's maintenance.
#[derive(Debug)]
struct Maintenance {
    facts: Facts,
    operation: &'static Operation,
    fields: &'static Fields,
    /// What the vendor calls the product in a request.
    product_id: Option<&'static str>,
}

impl Maintenance {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    fn task(&self, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
        let id = wire::task_id(row, self.fields.id, unreadable)?;
        let (state, word) = wire::status(&self.facts, row, "Status", unreadable);
        let mut time = |field| wire::time(row, field, Offset::UTC, unreadable);
        let (created, start, switch) = (time("CreatedTime"), time("StartTime"), time("SwitchTime"));
        let error = wire::text(row, "ResultInfo").filter(|_| state == TaskState::Failed);
        Some(Task {
            kind: wire::text(row, "TaskType").map(Arc::from).unwrap_or_default(),
            resource: self.instance(row).map(Arc::new).unwrap_or_default(),
            created,
            scheduled: switch.or(start).filter(|_| state == TaskState::Pending),
            started: start.filter(|_| has_begun(state)),
            error: error.map(|message| {
                Box::new(TaskError { code: Box::default(), message: message.into() })
            }),
            ..Task::new(id, state, word)
        })
    }

    fn instance(&self, row: &Value) -> Option<Resource> {
        let id = wire::text(row, self.fields.instance)?;
        let name = wire::text(row, "InsComment").filter(|name| *name != id);
        Some(Resource { name: name.map(Into::into), id: id.into() })
    }
}

/// Whether a start is one, and no plan. What was canceled may never have begun.
fn has_begun(state: TaskState) -> bool {
    matches!(state, TaskState::Running | TaskState::Succeeded | TaskState::Failed)
}

impl Client for Maintenance {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let mut query = alibaba::paged(self.operation)
            .with(self.fields.region, Parameter::Region)
            .with("Status", "-1".into())
            .with("TaskType", "all".into());
        if let Some(product) = self.product_id {
            query = query.with("ProductId", product.into());
        }
        vec![Query { resources: scope.resources.to_vec(), since: Some(scope.since), ..query }]
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let total = wire::integer(&document, "TotalRecordCount");
        let rows = wire::listed(&document, "/Items", total)?;
        let mut page = Page::default();
        let is_here = |row: &&Value| {
            target.region == ALL_REGIONS
                || wire::text(row, "Region")
                    .is_none_or(|region| region.eq_ignore_ascii_case(&target.region))
        };
        page.tasks = rows
            .iter()
            .filter(is_here)
            .filter_map(|row| self.task(row, &mut page.unreadable))
            .filter(|task| {
                let wanted = &query.resources;
                wanted.is_empty() || wanted.iter().any(|it| it.id == task.resource.id)
            })
            .collect();
        page.read_list(query, rows, self.fields.id, PAGE_SIZE, total);
        Ok(page)
    }
}
