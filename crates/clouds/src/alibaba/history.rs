//! The task centre of Alibaba Cloud, `DescribeHistoryTasks`: one family, a row for each product.
//!
//! | product | version | reference |
//! | --- | --- | --- |
//! | [`RDS`] | 2014-08-15 | <https://www.alibabacloud.com/help/en/rds/developer-reference/api-rds-2014-08-15-describehistorytasks> |
//! | [`POLARDB`] | 2017-08-01 | <https://www.alibabacloud.com/help/en/polardb/api-polardb-2017-08-01-describehistorytasks> |
//! | [`ADB`] | 2021-12-01 | <https://www.alibabacloud.com/help/en/analyticdb/analyticdb-for-mysql/developer-reference/api-adb-2021-12-01-describehistorytasks> |
//! | [`MONGODB`] | 2015-12-01 | <https://www.alibabacloud.com/help/en/mongodb/developer-reference/api-dds-2015-12-01-describehistorytasks> |
//! | [`REDIS`] | 2015-01-01 | <https://www.alibabacloud.com/help/en/redis/developer-reference/api-r-kvstore-2015-01-01-describehistorytasks-redis> |
//!
//! - Read 2026-11-30; field types from the official clients for Python, Go and TypeScript, which agree
//!   (`alibabacloud-rds20140815` 16.0.2, `alibabacloud-polardb20170801` 9.2.1,
//!   `alibabacloud-adb20211201` 4.5.1, `alibabacloud-dds20151201` 9.5.0, `alibabacloud-r-kvstore20150101`
//!   7.0.0).
//! - Permission: the product's own `DescribeHistoryTasks`, on `*`. That of Redis begins with `kvstore:`.
//!   The page of `MongoDB` names instances as its resource, so a policy that names some may not let it list
//!   a region.
//! - Limits: no rate published, and sister operations of other products take 100 a minute; 10 to 100
//!   rows a page; tasks that began in the last 30 days, an older begin of the window is taken for
//!   that one.
//!
//! The page of RDS names MySQL, `PostgreSQL` and SQL Server. `MariaDB` is not there: none of its
//! operations can be expected. RDS has a `DescribeTasks` too, which shows operations of SQL Server
//! under other ids, numbers, instance by instance; this API does not call it.
//!
//! The page of PolarDB names PolarDB for MySQL; whether clusters for `PostgreSQL` and Oracle are there is
//! not documented. PolarDB writes `TotalCount` as a text and the id in place of the name, and its
//! filter does not offer `Failed`, which its rows have: there, what has ended is asked for without a
//! filter. `DescribeTasks` of PolarDB (`alibaba_polardb`) shows the same operations
//! under other ids. It has error texts and steps, and takes six calls for each cluster.
//!
//! `AnalyticDB` says `Success` in its answers, and may refuse with a good status. Its page names clusters
//! whose ids begin with `amv-`; whether those of the Data Warehouse edition (`am-`) are there is not
//! documented. `MongoDB` writes times without seconds in its examples. The older clients of `MongoDB` and
//! Redis declare the status as a number, whose meanings were never published.
//!
//! The window is about the start of a task and has to be given, with an id too. So a poll asks for
//! unfinished tasks over all 30 days, and for what has ended since some time by its start; an end that
//! this leaves out is found by its id. A task that runs for more than 30 days is out of sight. There
//! is no filter by tag, and 30 instances go into one query.
//!
//! A failed task comes without a code or a text, and no operation has them. `ReasonCode` says why a
//! task was *begun*, so it is no error. `RemainTime` is in seconds; 0 stands for "done", so of an
//! unfinished task it says nothing. The step at work is shown by its name alone. A `Waiting` task has
//! begun and holds before it switches over, so it is paused; `Cancelling` is work as well.
//!
//! Left out, since they hold account ids or JSON about the caller: `CallerSource`, `CallerUid`, `Uid`,
//! `ActionInfo`, `TaskDetail`.
//!
//! Not documented, and what is made of it:
//!
//! - Whether a running task has an empty `EndTime` or none: both are no end.
//! - What the `StartTime` of a `Scheduled` task is, its creation or its plan: it is not shown.
//! - Whether a window may end in the future: it ends five minutes from now, for clocks that differ.
//! - Whether `Items` may be null or left out: then there are no tasks, unless `TotalCount` counts some.
//! - Whether a page may be smaller than asked for: the size that the answer names is gone by.
//! - Whether another region's row can be in the answer: it is left out.
//! - Numbers in place of status words, which older clients declare for sister products: `unknown`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::Value;

use crate::alibaba::{self, PAGE_SIZE, adb, polardb};
use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, SameTasks,
    Scope, Target, TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Resource, Step, Task, TaskState, Timestamp};
use crate::wire;

/// `ApsaraDB` RDS.
pub static RDS: TaskApi = RDS_HISTORY.api();

static RDS_HISTORY: History = History {
    facts: Facts {
        name: "alibaba_rds_history",
        product: "ApsaraDB RDS",
        service: "rds",
        doc: "https://www.alibabacloud.com/help/en/rds/developer-reference/\
              api-rds-2014-08-15-describehistorytasks",
        operations: &[&RDS_OPERATION],
        notes: &[
            "It covers RDS for MySQL, PostgreSQL and SQL Server, but not for MariaDB.",
            REACH_NOTE,
            WORDS_NOTE,
        ],
        endpoints: &RDS_ENDPOINTS,
        ..FAMILY
    },
    operation: &RDS_OPERATION,
    filters_every_end: true,
};

static RDS_OPERATION: Operation = operation("rds:DescribeHistoryTasks", "2014-08-15");

pub(crate) static RDS_ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 16.0.2; the vendor's pattern for VPCs",
    by_region: &[
        (
            &[
                "ap-southeast-1",
                "cn-beijing",
                "cn-beijing-finance-1",
                "cn-hangzhou",
                "cn-heyuan",
                "cn-hongkong",
                "cn-north-2-gov-1",
                "cn-qingdao",
                "cn-shanghai",
                "cn-shanghai-finance-1",
                "cn-shenzhen",
                "cn-shenzhen-finance-1",
                "cn-wuhan",
                "cn-zhangbei",
                "us-east-1",
                "us-west-1",
            ],
            Addresses { public: "https://rds.aliyuncs.com", vpc: RDS_VPC, intl: None },
        ),
        // The map has no other host for it than that of the VPC.
        (
            &["cn-hangzhou-finance"],
            Addresses {
                public: "https://rds-vpc.cn-hangzhou-finance.aliyuncs.com",
                vpc: RDS_VPC,
                intl: None,
            },
        ),
    ],
    others: Addresses { public: "https://rds.{region}.aliyuncs.com", vpc: RDS_VPC, intl: None },
    all_regions: None,
    confirmed: &[],
    disputed: &[],
};

const RDS_VPC: Option<&str> = Some("https://rds-vpc.{region}.aliyuncs.com");

/// PolarDB.
pub static POLARDB: TaskApi = POLARDB_HISTORY.api();

static POLARDB_HISTORY: History = History {
    facts: Facts {
        name: "alibaba_polardb_history",
        product: "PolarDB, task centre",
        service: "polardb",
        doc: "https://www.alibabacloud.com/help/en/polardb/\
              api-polardb-2017-08-01-describehistorytasks",
        operations: &[&POLARDB_OPERATION],
        notes: &[REACH_NOTE],
        same_tasks_as: &[SameTasks {
            api: "alibaba_polardb",
            advice: "keep alibaba_polardb for error texts and steps, or alibaba_polardb_history for \
                     two calls a poll instead of six for each cluster",
        }],
        endpoints: &polardb::ENDPOINTS,
        ..FAMILY
    },
    operation: &POLARDB_OPERATION,
    filters_every_end: false,
};

static POLARDB_OPERATION: Operation = operation("polardb:DescribeHistoryTasks", "2017-08-01");

const REACH_NOTE: &str = "It shows no task that began more than 30 days ago, by its id either, though the task still runs.";

const WORDS_NOTE: &str = "It is asked for the words that are documented. A task with a new word is seen only if it was seen \
     before; it is then asked for by its id, and `unknown`.";

/// `AnalyticDB` for `MySQL`.
pub static ADB: TaskApi = ADB_HISTORY.api();

static ADB_HISTORY: History = History {
    facts: Facts {
        name: "alibaba_adb_history",
        product: "AnalyticDB for MySQL, task centre",
        service: "adb",
        doc: "https://www.alibabacloud.com/help/en/analyticdb/analyticdb-for-mysql/\
              developer-reference/api-adb-2021-12-01-describehistorytasks",
        operations: &[&ADB_OPERATION],
        notes: &[
            "The vendor's page names clusters whose ids begin with `amv-`. Whether those of the Data Warehouse \
             edition (`am-`) are there is not documented.",
            REACH_NOTE,
            WORDS_NOTE,
        ],
        same_tasks_as: &[SameTasks {
            api: "alibaba_adb",
            advice: "keep alibaba_adb_history to see every task of a region with two calls a poll; \
                     alibaba_adb shows the ids that it is given, and the steps of the job that a cluster \
                     carries",
        }],
        endpoints: &adb::ENDPOINTS,
        ..FAMILY
    },
    operation: &ADB_OPERATION,
    filters_every_end: true,
};

static ADB_OPERATION: Operation = operation("adb:DescribeHistoryTasks", "2021-12-01");

/// `ApsaraDB` for `MongoDB`.
pub static MONGODB: TaskApi = MONGODB_HISTORY.api();

static MONGODB_HISTORY: History = History {
    facts: Facts {
        name: "alibaba_mongodb_history",
        product: "ApsaraDB for MongoDB, task centre",
        service: "dds",
        doc: "https://www.alibabacloud.com/help/en/mongodb/developer-reference/\
              api-dds-2015-12-01-describehistorytasks",
        operations: &[&MONGODB_OPERATION],
        endpoints: &MONGODB_ENDPOINTS,
        ..FAMILY
    },
    operation: &MONGODB_OPERATION,
    filters_every_end: true,
};

static MONGODB_OPERATION: Operation = operation("dds:DescribeHistoryTasks", "2015-12-01");

pub(crate) static MONGODB_ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 9.5.0; the vendor's pattern for VPCs",
    by_region: &[(
        &[
            "cn-beijing",
            "cn-hangzhou",
            "cn-hangzhou-finance",
            "cn-heyuan",
            "cn-shanghai",
            "cn-wuhan",
            "cn-wulanchabu",
            "cn-zhangbei",
        ],
        Addresses { public: "https://mongodb.aliyuncs.com", vpc: MONGODB_VPC, intl: None },
    )],
    others: Addresses {
        public: "https://mongodb.{region}.aliyuncs.com",
        vpc: MONGODB_VPC,
        intl: None,
    },
    all_regions: None,
    confirmed: &[],
    disputed: &[],
};

const MONGODB_VPC: Option<&str> = Some("https://mongodb-vpc.{region}.aliyuncs.com");

/// Tair and Redis.
pub static REDIS: TaskApi = REDIS_HISTORY.api();

static REDIS_HISTORY: History = History {
    facts: Facts {
        name: "alibaba_redis_history",
        product: "Tair and Redis, task centre",
        service: "r-kvstore",
        doc: "https://www.alibabacloud.com/help/en/redis/developer-reference/\
              api-r-kvstore-2015-01-01-describehistorytasks-redis",
        operations: &[&REDIS_OPERATION],
        endpoints: &REDIS_ENDPOINTS,
        ..FAMILY
    },
    operation: &REDIS_OPERATION,
    filters_every_end: true,
};

static REDIS_OPERATION: Operation = operation("kvstore:DescribeHistoryTasks", "2015-01-01");

pub(crate) static REDIS_ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 7.0.0; the vendor's pattern for VPCs",
    by_region: &[(
        &["cn-hangzhou", "cn-hangzhou-finance", "cn-wuhan", "cn-zhangbei"],
        Addresses { public: "https://r-kvstore.aliyuncs.com", vpc: REDIS_VPC, intl: None },
    )],
    others: Addresses {
        public: "https://r-kvstore.{region}.aliyuncs.com",
        vpc: REDIS_VPC,
        intl: None,
    },
    all_regions: None,
    confirmed: &[],
    disputed: &[],
};

const REDIS_VPC: Option<&str> = Some("https://r-kvstore-vpc.{region}.aliyuncs.com");

/// What all products share; a product adds its names, its operation and its hosts.
const FAMILY: Facts = Facts {
    name: "",
    product: "",
    cloud: Cloud::Alibaba,
    service: "",
    doc: "",
    finds: "the task centre's list of the region",
    shows: &[Detail::Progress, Detail::Remaining, Detail::Steps, Detail::Started, Detail::Ended],
    notes: &[REACH_NOTE, WORDS_NOTE],
    operations: &[],
    statuses: &[
        ("Scheduled", TaskState::Pending),
        ("Running", TaskState::Running),
        ("Waiting", TaskState::Paused),
        ("Cancelling", TaskState::Running),
        ("Failed", TaskState::Failed),
        ("Succeed", TaskState::Succeeded),
        ("Canceled", TaskState::Canceled),
    ],
    same_tasks_as: &[],
    list_window: Some(WINDOW),
    forgets: true,
    ids: Some(IdRule {
        looks_like: "the `TaskId` that the console's task centre shows: `t-` and letters and digits. A \
              number is the id of another list",
        fits: is_task_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &RDS_ENDPOINTS,
    project: None,
};

/// How far back the list reaches.
const WINDOW: Duration = Duration::from_hours(30 * 24);

/// How far back it is asked: the vendor measures from when it reads the request, by its own clock.
const REACH: Duration = Duration::from_mins(30 * 24 * 60 - 1);

/// How far ahead it is asked: what begins while clocks differ must not be left out.
const AHEAD: Duration = Duration::from_mins(5);

/// Instances in one query, by the vendor's word.
const MAX_INSTANCES: usize = 30;

/// The operation of a product, which differs in its permission and its version only.
const fn operation(permission: &'static str, version: &'static str) -> Operation {
    Operation {
        name: "DescribeHistoryTasks",
        permission,
        per_second: 1,
        call: Call::Action(version),
    }
}

/// A product's task centre: the region is listed, and a task is asked for by its id.
#[derive(Debug)]
struct History {
    facts: Facts,
    operation: &'static Operation,
    /// Whether each word for an end can be filtered by.
    filters_every_end: bool,
}

impl History {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    /// The first page of what began from `since` on.
    fn window(&self, since: Timestamp, now: Timestamp) -> Query {
        alibaba::paged(self.operation)
            .with("RegionId", Parameter::Region)
            .with("FromStartTime", Parameter::Time(since))
            .with("ToStartTime", Parameter::Time(now + AHEAD))
    }

    /// The words for tasks that have ended, or for those that have not, as a filter.
    fn words(&self, ended: bool) -> Parameter {
        let statuses = self.facts.statuses.iter();
        let words: Vec<&str> = statuses
            .filter(|(_, state)| state.is_final() == ended)
            .map(|&(word, _)| word)
            .collect();
        Parameter::Text(words.join(","))
    }

    fn task(&self, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
        let id = wire::task_id(row, "TaskId", unreadable)?;
        let (state, word) = wire::status(&self.facts, row, "Status", unreadable);
        let started = wire::time(row, "StartTime", Offset::UTC, unreadable);
        let ended = wire::time(row, "EndTime", Offset::UTC, unreadable);
        let remaining = wire::seconds(row, "RemainTime", unreadable);
        let step = wire::text(row, "CurrentStepName").map(|name| Step {
            name: name.into(),
            state: None,
            progress: None,
            remaining: None,
        });
        Some(Task {
            kind: wire::text(row, "TaskType").map(Arc::from).unwrap_or_default(),
            resource: instance(row).map(Arc::new).unwrap_or_default(),
            progress: wire::percent(row, "Progress", unreadable),
            remaining: remaining.filter(|left| !state.is_final() && !left.is_zero()),
            started: started.filter(|_| state != TaskState::Pending),
            ended: ended.filter(|_| state.is_final()),
            steps: step.into_iter().collect(),
            ..Task::new(id, state, word)
        })
    }
}

impl Client for History {
    /// Unfinished tasks first, so that the sighting of an end wins.
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let oldest = scope.now.saturating_sub(REACH);
        // The vendor's texts disagree whether a start at that second is within.
        let since = scope.since.saturating_sub(Duration::from_secs(1)).max(oldest);
        let mut ended = self.window(since, scope.now);
        if self.filters_every_end {
            ended = ended.with("Status", self.words(true));
        }
        let unfinished = self.window(oldest, scope.now).with("Status", self.words(false));
        [
            Query { since: None, ..unfinished },
            Query { since: Some(scope.since.max(oldest)), ..ended },
        ]
        .into_iter()
        .flat_map(|query| of_instances(&query, scope.resources))
        .collect()
    }

    fn by_id(&self, task: &TaskRef, now: Timestamp) -> Option<Query> {
        let query = self.window(now.saturating_sub(REACH), now).with("TaskId", (*task.id).into());
        Some(Query { task: Some(task.clone()), ..query })
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = wire::document(response.body())?;
        let total = wire::integer(&document, "TotalCount");
        let rows = if total.is_some_and(|total| total > 0) {
            wire::rows(&document, "/Items")?
        } else {
            wire::rows_if_any(&document, "/Items")?
        };
        let mut page = Page::default();
        let is_here = |row: &&Value| {
            wire::text(row, "RegionId")
                .is_none_or(|region| region.eq_ignore_ascii_case(&target.region))
        };
        let is_wanted = |row: &&Value| match &query.task {
            Some(wanted) => wire::text(row, "TaskId").as_deref() == Some(&*wanted.id),
            None => true,
        };
        page.tasks = rows
            .iter()
            .filter(is_here)
            .filter(is_wanted)
            .filter_map(|row| self.task(row, &mut page.unreadable))
            .collect();
        if query.task.is_some() {
            page.tasks.truncate(1);
        } else {
            page.read_list(query, rows, "TaskId", page_size(&document), total);
        }
        Ok(page)
    }
}

/// The query for these instances, or for all; as many at once as the vendor takes.
fn of_instances(query: &Query, instances: &[Arc<Resource>]) -> Vec<Query> {
    if instances.is_empty() {
        return vec![query.clone()];
    }
    let some = |some: &[Arc<Resource>]| {
        let ids: Vec<&str> = some.iter().map(|instance| &*instance.id).collect();
        let query = query.clone().with("InstanceId", Parameter::Text(ids.join(",")));
        Query { resources: some.to_vec(), ..query }
    };
    instances.chunks(MAX_INSTANCES).map(some).collect()
}

/// Rows that a page may have: as many as the answer says, else as many as were asked for.
fn page_size(document: &Value) -> u32 {
    let said = wire::integer(document, "PageSize").and_then(|size| u32::try_from(size).ok());
    said.filter(|size| (1..PAGE_SIZE).contains(size)).unwrap_or(PAGE_SIZE)
}

/// What a row is about; `None` without an id. A name that repeats the id is none.
fn instance(row: &Value) -> Option<Resource> {
    let id = wire::text(row, "InstanceId")?;
    let name = wire::text(row, "InstanceName").filter(|name| *name != id);
    Some(Resource { name: name.map(Into::into), id: id.into() })
}

/// `t-83br18hloy3faf0001`.
fn is_task_id(id: &str) -> bool {
    id.strip_prefix("t-").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
