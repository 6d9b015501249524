//! Data Transmission Service (DTS), `DescribeDtsJobs` and `DescribeDtsJobDetail`, version 2020-01-01.
//!
//! - Reference: <https://www.alibabacloud.com/help/en/dts/developer-reference/api-describedtsjobs>,
//!   read 2026-11-30; field types from the official Python package 5.11.7 and its Go twin 2.9.1.
//! - Permissions: `dts:DescribeDtsJobs`, `dts:DescribeDtsJobDetail`.
//! - Limits: 20 calls a second of the list for an account in a region, 40 of the detail; 30 rows a
//!   page, the only size that every edition of the page allows. More is clamped without a word.
//!
//! One call lists the jobs of one sort, so a poll takes three: migration, sync and subscribe. There
//! is no window: what has been released stays listed for a time. The list has neither start nor end;
//! the detail, which is asked for one job, has both.
//!
//! - `Percent` is the percentage of a phase. `Progress` is a count or a sentence. The progress of a job is
//!   that of the phase at work. Synchronisation has no end: its `Percent` stands at 95 or 100 for ever, so
//!   it is no progress.
//! - A two-way job carries its other direction in `ReverseJob`, with the same id or one of its own. Its id
//!   here ends in `:Reverse`.
//! - A refusal may come with status 200 and `Success` false; `%s` in its message stands for
//!   `DynamicMessage`.
//! - `Delay` is no time left. The `BeginTimestamp` of a subscription is that of its data.
//! - Texts of errors may hold users, addresses and stack traces: only the first line is kept, up to the
//!   cause, without users and addresses.
//!
//! Left out, since they hold hosts, users and names of tables: `SourceEndpoint`, `DestinationEndpoint`,
//! `Reserved`, `DbObject`, `ConsumptionClient`.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::api::{
    Call, Client, Detail, Facts, IdRule, Needs, Operation, Page, Parameter, Query, Scope, Target,
    TaskApi, TaskRef, Unreadable,
};
use crate::cloud::Cloud;
use crate::document::DecodeError;
use crate::endpoints::{Addresses, Endpoints};
use crate::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use crate::wire;

/// Data Transmission Service.
pub static API: TaskApi = TaskApi { facts: FACTS, client: &Dts };

const FACTS: Facts = Facts {
    name: "alibaba_dts",
    product: "Data Transmission Service",
    cloud: Cloud::Alibaba,
    service: "dts",
    doc: "https://www.alibabacloud.com/help/en/dts/developer-reference/api-describedtsjobs",
    finds: "the lists of migration, sync and subscribe jobs of the region",
    shows: &[Detail::Progress, Detail::Steps, Detail::Created, Detail::Error],
    notes: &[
        "The kind of a task is the sort of its job: `MIGRATION`, `SYNC` or `SUBSCRIBE`. What it works on is the DTS instance.",
        "The list has neither start nor end. When an end is counted, its time is that of the poll that found it. A job that is asked for by its id tells both.",
        "The progress is that of the phase at work, so it begins anew with each phase. Synchronisation goes on without end and has none.",
        "The second direction of a two-way job is a task of its own, whose id ends in `:Reverse`.",
        "Regions outside of the Chinese mainland are asked at hosts of their own. The central host answers them with an empty list, say the vendor's own operating procedures.",
    ],
    operations: &[&DESCRIBE_JOBS, &DESCRIBE_JOB_DETAIL],
    statuses: &[
        ("NotConfigured", TaskState::Pending),
        ("NotStarted", TaskState::Pending),
        ("PreCheckPass", TaskState::Pending),
        ("Migrating", TaskState::Running),
        ("Prechecking", TaskState::Running),
        ("Initializing", TaskState::Running),
        // These three go on for as long as nobody ends them.
        ("Synchronizing", TaskState::Running),
        ("Starting", TaskState::Running),
        ("Normal", TaskState::Running),
        ("Modifying", TaskState::Running),
        ("Retrying", TaskState::Running),
        ("Upgrade", TaskState::Running),
        ("Downgrade", TaskState::Running),
        // The vendor's word for "paused".
        ("Suspending", TaskState::Paused),
        // The account owes.
        ("Locked", TaskState::Paused),
        ("MigrationFailed", TaskState::Failed),
        ("PrecheckFailed", TaskState::Failed),
        ("InitializeFailed", TaskState::Failed),
        ("Failed", TaskState::Failed),
        ("ModifyFailed", TaskState::Failed),
        ("Abnormal", TaskState::Failed),
        ("Finished", TaskState::Succeeded),
    ],
    same_tasks_as: &[],
    list_window: None,
    forgets: false,
    ids: Some(IdRule {
        looks_like: "the `DtsJobId` of `DescribeDtsJobs`: letters and digits; with `:Reverse` behind it, the second \
              direction of a two-way job",
        fits: is_job_id,
        needs: Needs::Nothing,
    }),
    error_by_id: false,
    endpoints: &ENDPOINTS,
    project: None,
};

const VERSION: &str = "2020-01-01";

static DESCRIBE_JOBS: Operation = Operation {
    name: "DescribeDtsJobs",
    permission: "dts:DescribeDtsJobs",
    per_second: 5,
    call: Call::Action(VERSION),
};

static DESCRIBE_JOB_DETAIL: Operation = Operation {
    name: "DescribeDtsJobDetail",
    permission: "dts:DescribeDtsJobDetail",
    per_second: 5,
    call: Call::Action(VERSION),
};

static ENDPOINTS: Endpoints = Endpoints {
    origin: "the endpoint map of the official Python package 5.11.7 for regions that begin with cn-; the \
             vendor's operating procedures and its Terraform provider for all others; the vendor's pattern \
             for VPCs",
    by_region: &[(
        &["cn-*"],
        Addresses { public: "https://dts.aliyuncs.com", vpc: VPC, intl: None },
    )],
    others: Addresses { public: "https://dts.{region}.aliyuncs.com", vpc: VPC, intl: None },
    all_regions: None,
    confirmed: &[],
    disputed: &["cn-hongkong"],
};

const VPC: Option<&str> = Some("https://dts-vpc.{region}.aliyuncs.com");

/// Rows a page.
pub const PAGE_SIZE: u32 = 30;

/// The sorts of jobs, each with a list of its own.
pub const SORTS: &[&str] = &["MIGRATION", "SYNC", "SUBSCRIBE"];

/// The phases of a job in their order, and whether each comes to an end.
pub const PHASES: &[(&str, bool)] = &[
    ("Precheck", true),
    ("StructureInitialization", true),
    ("DataInitialization", true),
    ("StructureDataCheck", true),
    ("FullDataCheck", true),
    ("TimeWindowDataCheck", true),
    ("DataEtl", false),
    ("DataSynchronization", false),
    ("IncDataCheck", false),
];

/// What stands behind the id of the second direction.
const REVERSE: &str = ":Reverse";

/// Jobs are listed by sort.
#[derive(Debug)]
struct Dts;

impl Client for Dts {
    fn list(&self, scope: &Scope<'_>) -> Vec<Query> {
        let query = |&sort: &&'static str| {
            let mut query = Query::new(&DESCRIBE_JOBS)
                // The page calls one of them deprecated, and the vendor's own tools send either.
                .with("Region", Parameter::Region)
                .with("RegionId", Parameter::Region)
                .with("JobType", sort.into())
                .with("PageNumber", Parameter::PageNumber)
                .with("PageSize", Parameter::Integer(PAGE_SIZE.into()))
                .with("WithoutDbList", "true".into());
            if !scope.tags.is_empty() {
                let tags = scope.tags.iter();
                let tags: Vec<Value> =
                    tags.map(|(key, value)| json!({ "key": key, "value": value })).collect();
                query = query.with("Tags", Parameter::Text(Value::from(tags).to_string()));
            }
            Query { resources: scope.resources.to_vec(), since: Some(scope.since), ..query }
        };
        SORTS.iter().map(query).collect()
    }

    fn by_id(&self, task: &TaskRef, _now: Timestamp) -> Option<Query> {
        let (id, direction) = match task.id.strip_suffix(REVERSE) {
            Some(id) => (id, Some("Reverse")),
            None => (&*task.id, None),
        };
        let mut query = Query::new(&DESCRIBE_JOB_DETAIL)
            .with("RegionId", Parameter::Region)
            .with("DtsJobId", id.into());
        if let Some(direction) = direction {
            query = query.with("SynchronizationDirection", direction.into());
        }
        Some(Query { task: Some(task.clone()), ..query })
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
            // An answer of the vendor's may be about no job. Any other says nothing.
            if !wire::is_vendors(&document) && !wire::says_any(&document, &["DtsJobId"]) {
                return Err(DecodeError::Missing("/DtsJobId"));
            }
            let is_asked = asked.id.strip_suffix(REVERSE).unwrap_or(&asked.id);
            if wire::text(&document, "DtsJobId").is_some_and(|id| id == is_asked) {
                let sort = sort_of(&document);
                let found =
                    job(&document, &sort, asked.id.ends_with(REVERSE), &mut page.unreadable);
                page.tasks.extend(found.map(|task| {
                    Task {
                        started: wire::time(
                            &document,
                            "BootTime",
                            Offset::UTC,
                            &mut page.unreadable,
                        ),
                        ended: wire::time(
                            &document,
                            "FinishTime",
                            Offset::UTC,
                            &mut page.unreadable,
                        )
                        .filter(|_| task.state.is_final()),
                        ..task
                    }
                }));
            }
            return Ok(page);
        }
        let total = wire::integer(&document, "TotalRecordCount");
        let rows = wire::listed(&document, "/DtsJobList", total)?;
        let sort: Arc<str> = asked_sort(query).into();
        for row in rows {
            page.tasks.extend(job(row, &sort, false, &mut page.unreadable));
            let reverse = row.get("ReverseJob").filter(|job| wire::says_any(job, &["Status"]));
            page.tasks.extend(reverse.and_then(|row| job(row, &sort, true, &mut page.unreadable)));
        }
        if !query.resources.is_empty() {
            let is_watched =
                |task: &Task| query.resources.iter().any(|wanted| wanted.id == task.resource.id);
            page.tasks.retain(is_watched);
        }
        page.read_list(query, rows, "DtsJobId", PAGE_SIZE, total);
        Ok(page)
    }
}

/// The sort of jobs that a list was asked for.
fn asked_sort(query: &Query) -> &str {
    let asked = query.parameters.iter().find(|(name, _)| name == "JobType");
    match asked {
        Some((_, Parameter::Text(sort))) => sort,
        _ => "",
    }
}

/// The sort of a job as a detail words it.
fn sort_of(row: &Value) -> Arc<str> {
    let word = wire::text(row, "JobType").unwrap_or_default().to_ascii_uppercase();
    match &*word {
        "ONLINE" | "OFFLINE" => "MIGRATION".into(),
        _ => word.into(),
    }
}

fn job(row: &Value, sort: &Arc<str>, reverse: bool, unreadable: &mut Unreadable) -> Option<Task> {
    let mut id = wire::task_id(row, "DtsJobId", unreadable)?;
    if reverse {
        id.push_str(REVERSE);
    }
    let (state, word) = wire::status(&FACTS, row, "Status", unreadable);
    let phases: Vec<Phase<'_>> =
        PHASES.iter().filter_map(|&(name, ends)| phase(row, name, ends, unreadable)).collect();
    let error = (state == TaskState::Failed).then(|| error(row, &phases)).flatten();
    Some(Task {
        kind: Arc::clone(sort),
        resource: instance(row).map(Arc::new).unwrap_or_default(),
        progress: progress(&phases, state),
        created: wire::time(row, "CreateTime", Offset::UTC, unreadable),
        steps: phases.into_iter().map(Phase::into_step).collect(),
        error: error.map(Box::new),
        ..Task::new(id, state, word)
    })
}

/// The DTS instance of a job; without its id, the job.
fn instance(row: &Value) -> Option<Resource> {
    let id = wire::text(row, "DtsInstanceID").or_else(|| wire::text(row, "DtsJobId"))?;
    Some(Resource { name: wire::text(row, "DtsJobName").map(Into::into), id: id.into() })
}

/// A phase that an answer tells of.
struct Phase<'a> {
    name: &'static str,
    /// Whether it comes to an end.
    ends: bool,
    state: Option<TaskState>,
    percent: Option<Ratio>,
    row: &'a Value,
}

fn phase<'a>(
    job: &'a Value,
    name: &'static str,
    ends: bool,
    unreadable: &mut Unreadable,
) -> Option<Phase<'a>> {
    let row = job.get(format!("{name}Status"))?;
    let word = wire::text(row, "Status")?;
    let state = match &*word.to_ascii_lowercase() {
        "notstarted" => Some(TaskState::Pending),
        // "Catched": it has caught up, and goes on.
        "migrating" | "checking" | "prechecking" | "catched" => Some(TaskState::Running),
        "suspending" => Some(TaskState::Paused),
        "failed" => Some(TaskState::Failed),
        "finished" => Some(TaskState::Succeeded),
        _ => None,
    };
    let is_off = job.pointer(&format!("/MigrationMode/{name}")).is_some_and(is_false);
    if is_off && state == Some(TaskState::Pending) {
        return None;
    }
    let percent = wire::percent(row, "Percent", unreadable).filter(|_| ends);
    Some(Phase { name, ends, state, percent, row })
}

fn is_false(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => !yes,
        Value::String(text) => text.trim().eq_ignore_ascii_case("false"),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

impl Phase<'_> {
    fn into_step(self) -> Step {
        Step { name: self.name.into(), state: self.state, progress: self.percent, remaining: None }
    }
}

/// How far the phase at work is. What goes on for ever has no progress, unless the job is over: then it is
/// that of the last phase that came to an end.
fn progress(phases: &[Phase<'_>], state: TaskState) -> Option<Ratio> {
    let is_at_work = |phase: &&Phase<'_>| {
        matches!(phase.state, Some(TaskState::Running | TaskState::Paused | TaskState::Failed))
    };
    let is_over = |phase: &&Phase<'_>| phase.state == Some(TaskState::Succeeded);
    let mut ending = phases.iter().filter(|phase| phase.ends);
    if let Some(phase) = ending.clone().find(is_at_work) {
        return phase.percent;
    }
    if !state.is_final() && phases.iter().any(|phase| !phase.ends && is_at_work(&phase)) {
        return None;
    }
    let next = ending.clone().find(|phase| !is_over(phase));
    next.or(ending.next_back()).and_then(|phase| phase.percent)
}

/// Why a job failed: in its own words, else in those of the phase that failed.
fn error(row: &Value, phases: &[Phase<'_>]) -> Option<TaskError> {
    let own = wire::text(row, "ErrorMessage");
    let failed = phases.iter().find(|phase| phase.state == Some(TaskState::Failed));
    let of_phase = || failed.and_then(|phase| wire::text(phase.row, "ErrorMessage"));
    let text = own.or_else(of_phase).unwrap_or_default();
    let check = failed.and_then(|phase| failed_check(phase.row));
    let details = wire::rows(row, "/ErrorDetails").unwrap_or_default();
    let code = leading_code(&text).map(str::to_owned).or_else(|| {
        let first = details.iter().find_map(|detail| wire::text(detail, "ErrorCode"));
        first.map(std::borrow::Cow::into_owned)
    });
    let message = match check {
        Some(check) if text.is_empty() => plain(&check),
        Some(check) => format!("{} {}", plain(&text), plain(&check)),
        None => plain(&text),
    };
    (code.is_some() || !message.is_empty())
        .then(|| TaskError { code: code.unwrap_or_default().into(), message: message.into() })
}

/// The first check of a phase that failed, and why.
fn failed_check(phase: &Value) -> Option<String> {
    let checks = wire::rows(phase, "/Detail").ok()?;
    let failed = checks.iter().find(|check| {
        wire::text(check, "CheckResult").is_some_and(|word| word.eq_ignore_ascii_case("failed"))
    })?;
    let parts = ["CheckItem", "FailedReason"].map(|field| wire::text(failed, field));
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

/// `DTS-1020042`, if a text begins so.
fn leading_code(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("DTS-")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    (end > 0).then(|| text.get(.."DTS-".len() + end)).flatten()
}

/// A text of the vendor's without what follows it in a stack trace, and without users and addresses.
pub(crate) fn plain(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let cause = [" cause by", " caused by", " cause:", "; nested exception"]
        .iter()
        .filter_map(|mark| line.to_ascii_lowercase().find(mark))
        .min();
    let line = line.get(..cause.unwrap_or(line.len())).unwrap_or(line);
    without_addresses(&without_users(line)).trim_end().to_owned()
}

/// With `'…'@'…'` in place of every user of a database.
fn without_users(text: &str) -> String {
    const BETWEEN: &str = "'@'";
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = rest.find(BETWEEN) {
        let (before, after) = rest.split_at(at);
        let after = after.get(BETWEEN.len()..).unwrap_or_default();
        let begin = before.rfind('\'').unwrap_or(0);
        let end = after.find('\'').map_or(after.len(), |end| end + 1);
        out.push_str(before.get(..begin).unwrap_or_default());
        out.push_str("'…'@'…'");
        rest = after.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// With `…` in place of every address of four numbers, and of a port behind it.
fn without_addresses(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':');
    let is_address = |word: &str| {
        let word = word.trim_matches(['.', ':']);
        let (host, port) = word.split_once(':').unwrap_or((word, "0"));
        host.parse::<std::net::Ipv4Addr>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut out = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if is_part(character) {
            word.push(character);
            continue;
        }
        let shown = if is_address(&word) { "…" } else { &word };
        out.push_str(shown);
        word.clear();
        if character != '\0' {
            out.push(character);
        }
    }
    out
}

/// `l3m1213ye7l0041`, and the same with `:Reverse` behind it.
fn is_job_id(id: &str) -> bool {
    let id = id.strip_suffix(REVERSE).unwrap_or(id);
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_without_users_addresses_and_causes() {
        for (text, expected) in [
            (
                "DTS-1020042 type \"geometry\" does not exist;",
                "DTS-1020042 type \"geometry\" does not exist;",
            ),
            (
                "Access denied for user 'dtstest'@'192.0.2.9' (using password: YES)",
                "Access denied for user '…'@'…' (using password: YES)",
            ),
            ("DTS-070211: Connect failed. cause by [java.net.X: 1]", "DTS-070211: Connect failed."),
            ("first line\n\tat com.example.Main", "first line"),
            ("no route to 192.0.2.10:3306, 10.0.0.1.", "no route to …, …"),
            ("version 8.0.36 at 1.2.3 and 300.1.1.1", "version 8.0.36 at 1.2.3 and 300.1.1.1"),
            ("'@'", "'…'@'…'"),
            ("it's 'a'@'b' and 'c'@'d", "it's '…'@'…' and '…'@'…'"),
            ("数据 'é'@'数' 源", "数据 '…'@'…' 源"),
            ("", ""),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn a_code_leads_a_text_or_there_is_none() {
        for (text, expected) in [
            ("DTS-1020042 Execute sql error", Some("DTS-1020042")),
            ("DTS-070211: Connect", Some("DTS-070211")),
            ("DTS-31009", Some("DTS-31009")),
            ("DTS-", None),
            ("see DTS-1", None),
            ("", None),
        ] {
            assert_eq!(leading_code(text), expected, "{text}");
        }
    }
}
