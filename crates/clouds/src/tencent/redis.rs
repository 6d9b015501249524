//! TencentDB for Redis, and `KeeWiDB`, which has its calls: `DescribeTaskList` and `DescribeTaskInfo`, versions
//! 2018-04-12 and 2022-03-08.
//!
//! Reference: <https://www.tencentcloud.com/document/product/239/33293> (the list) and
//! <https://www.tencentcloud.com/document/product/239/32064> (one task), pages of 2025-10-28.
//! Permissions: `redis:DescribeTaskList`, `redis:DescribeTaskInfo`. The list reaches back 30 days
//! and gives at most 100 rows a call, from an offset that is a multiple of the limit; 100 calls a
//! second. One task: 20 calls a second.
//!
//! `KeeWiDB`: the vendor's API Explorer; field types from the official Python package 3.1.189, read 2026-11-30. Only
//! the mainland site has it. 50 calls a second of the list; the rate of the other call and how far the list
//! reaches back are not documented.
//!
//! One list covers the region. It is asked for twice: what is not finished, as far back as the list
//! reaches, then everything since the beginning of the poll's window.
//!
//! The two calls say different things of the same task:
//!
//! | | list | one task |
//! | --- | --- | --- |
//! | status | a number: 0, 1, 2, 4 | a word |
//! | kind | a code, see [`KINDS`] | a sentence for people, which changes with the language |
//! | progress, end, instance name | yes | no |
//! | error text | no | yes |
//! | task id | yes | no |
//!
//! `KeeWiDB`'s list has no filter by result. A poll asks for what began since the beginning of its window, and the
//! first poll for [`WINDOW`] besides, of which it keeps the unfinished tasks; later those that began before are
//! asked for by their ids. Kinds come as codes or as names. The operator's account is left out.
//!
//! Oddities: progress is a fraction. Times have no zone, see [`Target::utc_offset`]. What stands
//! for the end of a task that has none is not documented; `0000-00-00 00:00:00` and nothing at all
//! are both read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::api::{
    Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::Endpoints;
use crate::model::{Resource, Task, TaskError, TaskState, Timestamp};
use crate::{tencent, wire};

/// TencentDB for Redis.
pub static API: TaskApi = REDIS.api();

static REDIS: Redis = Redis {
    facts: Facts {
        name: "tencent_redis",
        product: "TencentDB for Redis",
        service: "redis",
        doc: "https://www.tencentcloud.com/document/product/239/33293",
        finds: "the list of the region",
        shows: &[Detail::Progress, Detail::Started, Detail::Ended, Detail::Error],
        notes: &[],
        operations: &[&REDIS_LIST, &REDIS_INFO],
        list_window: Some(WINDOW),
        endpoints: &REDIS_ENDPOINTS,
        ..FAMILY
    },
    list: &REDIS_LIST,
    info: &REDIS_INFO,
    filters_by_result: true,
};

static REDIS_LIST: Operation = tencent::operation!("redis", "DescribeTaskList", "2018-04-12", 80);

static REDIS_INFO: Operation = tencent::operation!("redis", "DescribeTaskInfo", "2018-04-12", 15);

static REDIS_ENDPOINTS: Endpoints = tencent::hosts!("redis");

/// `KeeWiDB`.
pub static KEEWIDB: TaskApi = KEEWIDB_TASKS.api();

static KEEWIDB_TASKS: Redis = Redis {
    facts: Facts {
        name: "tencent_keewidb",
        product: "KeeWiDB",
        service: "keewidb",
        doc: tencent::explorer!("keewidb", "DescribeTaskList", "2022-03-08"),
        finds: "the list of the region",
        shows: &[Detail::Progress, Detail::Started, Detail::Ended, Detail::Error],
        notes: &[
            "The list cannot be asked for unfinished tasks alone. The first poll asks for 30 days, and keeps of what began before the `lookback` the unfinished tasks. Later each of those is asked for by its id: one call a poll.",
        ],
        operations: &[&KEEWIDB_LIST, &KEEWIDB_INFO],
        endpoints: &KEEWIDB_ENDPOINTS,
        ..FAMILY
    },
    list: &KEEWIDB_LIST,
    info: &KEEWIDB_INFO,
    filters_by_result: false,
};

static KEEWIDB_LIST: Operation =
    tencent::operation!("keewidb", "DescribeTaskList", "2022-03-08", 40);

// Its rate is not documented; that of Redis is 20.
static KEEWIDB_INFO: Operation =
    tencent::operation!("keewidb", "DescribeTaskInfo", "2022-03-08", 15);

static KEEWIDB_ENDPOINTS: Endpoints = tencent::hosts!("keewidb", intl: None);

/// What both products share.
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
    statuses: &[
        ("preparing", TaskState::Pending),
        ("running", TaskState::Running),
        ("succeed", TaskState::Succeeded),
        ("failed", TaskState::Failed),
        // Said of one task only; the list says 4 for both.
        ("error", TaskState::Failed),
        ("0", TaskState::Pending),
        ("1", TaskState::Running),
        ("2", TaskState::Succeeded),
        ("4", TaskState::Failed),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `TaskId` in the answer to the call that began the task: a number. A `DealId` or \
              `DealName` is an order's",
        fits: tencent::is_number,
        needs: Needs::Nothing,
    }),
    error_by_id: true,
    endpoints: &REDIS_ENDPOINTS,
    project: None,
};

/// How far back the list reaches.
pub const WINDOW: Duration = Duration::from_hours(30 * 24);

/// How far back it is asked: the vendor measures from when it reads the request, by its own clock.
const REACH: Duration = Duration::from_mins(30 * 24 * 60 - 5);

/// The numbers of the list, and the words that the vendor has for them elsewhere.
pub const RESULTS: &[(&str, &str)] =
    &[("0", "preparing"), ("1", "running"), ("2", "succeed"), ("4", "failed")];

/// The words for tasks that are not finished.
const UNFINISHED: &[&str] = &["preparing", "running"];

/// The codes of the list and the vendor's names for them, in the vendor's spelling. The gaps in
/// the numbering are the vendor's too.
pub const KINDS: &[(&str, &str)] = &[
    ("001", "FLOW_CREATE"),
    ("002", "FLOW_RESIZE"),
    ("003", "FLOW_CLOSE"),
    ("004", "FLOW_CLEAN"),
    ("005", "FLOW_STARTUP"),
    ("006", "FLOW_DELETE"),
    ("007", "FLOW_SETPWD"),
    ("009", "FLOW_EXPORTBACKUP"),
    ("010", "FLOW_RESTOREBACKUP"),
    ("012", "FLOW_BACKUPINSTANCE"),
    ("013", "FLOW_MIGRATEINSTANCE"),
    ("014", "FLOW_DELBACKUP"),
    ("016", "FLOW_EXCHANGEINSTANCE"),
    ("017", "FLOW_AUTOBACKUP"),
    ("022", "FLOW_MIGRATECHECK"),
    ("023", "FLOW_MIGRATETASK"),
    ("025", "FLOW_CLEANDB"),
    ("026", "FLOW_CLONEBACKUP"),
    ("027", "FLOW_CHANGEVIP"),
    ("028", "FLOW_EXPORSHR"),
    ("029", "FLOW_ADDNODES"),
    ("031", "FLOW_CHANGENET"),
    ("033", "FLOW_MODIFYINSTACEREADONLY"),
    ("034", "FLOW_MODIFYINSTANCEPARAMS"),
    ("035", "FLOW_MODIFYINSTANCEPASSWORDFREE"),
    ("036", "FLOW_SWITCHINSTANCEVIP"),
    ("037", "FLOW_MODIFYINSTANCEACCOUNT"),
    ("038", "FLOW_MODIFYINSTANCEBANDWIDTH"),
    ("039", "FLOW_ENABLEINSTANCE_REPLICATE"),
    ("040", "FLOW_DISABLEINSTANCE_REPLICATE"),
    ("041", "FLOW_UpgradeArch"),
    ("042", "FLOW_DowngradeArch"),
    ("043", "FLOW_UpgradeVersion"),
    ("044", "FLOW_MODIFYCONNECTIONCONFIG"),
    ("045", "FLOW_CLEARNETWORK"),
    ("046", "FLOW_REMOVE_BACKUP_FILE"),
    ("047", "FLOW_UPGRADE_SUPPORT_MULTI_AZ"),
    ("048", "FLOW_SHUTDOWN_MASTER"),
    ("049", "FLOW_CHANGE_REPLICA_TO_MASTER"),
    ("050", "FLOW_CODE_ADD_REPLICATION_INSTANCE"),
    ("052", "FLOW_OPEN_WAN"),
    ("053", "FLOW_CLOSE_WAN"),
    ("054", "FLOW_UPDATE_WAN"),
    ("055", "FLOW_CODE_DELETE_REPLICATION_INSTANCE"),
    ("056", "FLOW_CODE_CHANGE_MASTER_INSTANCE"),
    ("057", "FLOW_CODE_CHANGE_INSTANCE_ROLE"),
    ("058", "FLOW_MIGRATE_NODE"),
    ("059", "FLOW_SWITCH_NODE"),
    ("060", "FLOW_UPGRADE_SMALL_VERSION"),
    ("061", "FLOW_UPGRADE_PROXY_VERSION"),
    ("062", "FLOW_MODIFY_INSTANCE_NETWORK"),
    ("063", "FLOW_MIGRATE_PROXY_NODE"),
    ("066", "FLOW_MIGRATION_INSTANCE_ZONE"),
    ("067", "FLOW_UPGRADE_INSTANCE_CACHE_AND_PROXY"),
    ("069", "FLOW_MODIFY_PROXY_NUM"),
    ("070", "FLOW_MODIFYBACKUPMOD"),
];

/// A product: the region is listed; the error text of a task is found by its id.
#[derive(Debug)]
struct Redis {
    facts: Facts,
    list: &'static Operation,
    info: &'static Operation,
    /// Whether the list can be asked for unfinished tasks alone.
    filters_by_result: bool,
}

impl Redis {
    const fn api(&'static self) -> TaskApi {
        TaskApi { facts: self.facts, client: self }
    }

    /// What began from `since` on.
    fn window(&self, scope: &Scope<'_>, since: Timestamp) -> impl Iterator<Item = Query> {
        let (operation, until) = (self.list, scope.until());
        tencent::instances(scope).into_iter().map(move |resources| {
            let query = tencent::of_instance(tencent::paged(operation), resources.first())
                .with("BeginTime", Parameter::Time(since))
                .with("EndTime", Parameter::Time(until));
            Query { resources, ..query }
        })
    }
}

impl Client for Redis {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let reach = scope.now.saturating_sub(REACH);
        let mut queries = Vec::new();
        if self.filters_by_result {
            let results: Vec<i64> = UNFINISHED.iter().filter_map(|word| result_of(word)).collect();
            let results = Parameter::Integers(results);
            queries.extend(self.window(scope, reach).map(|it| it.with("Result", results.clone())));
        }
        let since =
            if self.facts.list_window.is_some() { scope.since.max(reach) } else { scope.since };
        let recent = self.window(scope, since);
        queries.extend(recent.map(|query| Query { since: Some(since), ..query }));
        queries
    }

    fn first_look(&self, scope: &Scope<'_>) -> Vec<Query> {
        if self.filters_by_result {
            return Vec::new();
        }
        let all = self.window(scope, scope.now.saturating_sub(REACH));
        all.map(|query| Query { drops_ended: true, ..query }).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let id = Parameter::Integer(task.id.parse().ok()?);
        Some(Query { task: Some(task.clone()), ..Query::new(self.info).with("TaskId", id) })
    }

    fn decode(
        &self,
        target: &Target,
        query: &Query,
        response: &Response<Bytes>,
    ) -> Result<Page, DecodeError> {
        let document = tencent::document(response)?;
        let mut page = Page::default();
        match &query.task {
            None => {
                let rows = wire::rows(&document, "/Response/Tasks")?;
                page.tasks = rows
                    .iter()
                    .filter_map(|row| listed(target, row, &mut page.unreadable))
                    .filter(|task| !query.drops_ended || !task.state.is_final())
                    .collect();
                page.read_list(query, rows, "TaskId", tencent::LIMIT, tencent::total(&document));
            }
            Some(wanted) => {
                // What is said of the task stands in the envelope itself.
                let envelope = document.get("Response").unwrap_or(&Value::Null);
                if wire::says_any(envelope, &["Status"]) {
                    page.tasks.push(single(target, envelope, wanted, &mut page.unreadable));
                } else if !wire::is_vendors(envelope) {
                    return Err(DecodeError::Missing("/Response/Status"));
                }
            }
        }
        Ok(page)
    }
}

/// The number of the list for a word; `error`, which the list does not know, is a failure there.
pub fn result_of(word: &str) -> Option<i64> {
    let word = word.trim();
    let failed = if word.eq_ignore_ascii_case("error") { "failed" } else { word };
    let known = RESULTS.iter().find(|(_, known)| known.eq_ignore_ascii_case(failed));
    known.map_or(word, |&(result, _)| result).parse().ok()
}

/// A row of the list.
fn listed(target: &Target, row: &Value, unreadable: &mut Unreadable) -> Option<Task> {
    let id = tencent::task_id(row, "TaskId", unreadable)?;
    let (state, result) = wire::status(&FAMILY, row, "Result", unreadable);
    let word = RESULTS.iter().find(|(known, _)| *known == &*result).map(|&(_, word)| word);
    let kind = wire::text(row, "TaskType").unwrap_or_default();
    // A code that was a number on its way has lost its zeros.
    let code = format!("{kind:0>3}");
    let name = KINDS.iter().find(|(known, _)| *known == code).map(|&(_, name)| name);
    let ended = wire::time(row, "EndTime", target.utc_offset, unreadable);
    Some(Task {
        kind: name.map_or_else(|| kind.into(), Arc::from),
        resource: Arc::new(Resource {
            id: wire::text(row, "InstanceId").unwrap_or_default().into(),
            name: wire::text(row, "InstanceName").map(Into::into),
        }),
        progress: tencent::fraction(row, "Progress", unreadable),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        ended: ended.filter(|_| state.is_final()),
        ..Task::new(id, state, word.map_or(result, Arc::from))
    })
}

/// The answer about one task, which does not repeat its id.
fn single(target: &Target, row: &Value, wanted: &TaskRef, unreadable: &mut Unreadable) -> Task {
    let (state, vendor_status) = wire::status(&FAMILY, row, "Status", unreadable);
    let message = wire::text(row, "TaskMessage").filter(|_| state == TaskState::Failed);
    Task {
        kind: wire::text(row, "TaskType").unwrap_or_default().into(),
        resource: Arc::new(Resource::new(wire::text(row, "InstanceId").unwrap_or_default())),
        started: wire::time(row, "StartTime", target.utc_offset, unreadable),
        error: message
            .map(|message| Box::new(TaskError { code: Box::default(), message: message.into() })),
        ..Task::new(Arc::clone(&wanted.id), state, vendor_status)
    }
}
