//! `check --online`: one question to each source, and what the answer proves.
//!
//! What cannot be told is [`Verdict::Unknown`]: a refused signature says nothing of permissions, and
//! a page for people nothing of the vendor. Nothing is published and nothing is kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Operation, Query, Scope};
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::policy::{Policy, policies};
use dbtask_clouds::reason::Reason;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::transport::TransportError;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::collect::client::{Attempt, Caller, FetchError};
use crate::collect::source::{NO_PROJECT, Source};
use crate::config::{Config, SourceConfig};
use crate::credentials::{CredentialsError, guard};
use crate::snapshot::SourceInfo;

/// How long all questions may take together.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Whether something is so, as far as one answer shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// The answer does not say.
    #[default]
    Unknown,
}

/// What the answer to a source's question proves.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Who asked.
    pub source: Arc<SourceInfo>,
    /// What was asked for, or would have been.
    pub operation: &'static Operation,
    /// Whether the vendor itself answers.
    pub reachable: Verdict,
    /// Whether our clock is near enough to the vendor's.
    pub clock: Verdict,
    /// Seconds from our clock to the vendor's, if an answer of the vendor's showed it.
    pub skew: Option<i64>,
    /// Whether the vendor took the signature, or the token.
    pub signature: Verdict,
    /// Whether it let the source do what it asked for.
    pub permission: Verdict,
    /// What is wrong, and what helps; may hold the vendor's words.
    pub trouble: Vec<String>,
}

impl Finding {
    fn new(source: Arc<SourceInfo>, operation: &'static Operation) -> Self {
        Self {
            source,
            operation,
            reachable: Verdict::Unknown,
            clock: Verdict::Unknown,
            skew: None,
            signature: Verdict::Unknown,
            permission: Verdict::Unknown,
            trouble: Vec::new(),
        }
    }

    /// Whether anything is wrong or could not be told.
    pub fn is_problem(&self) -> bool {
        let proven = [self.reachable, self.signature, self.permission];
        self.clock == Verdict::No || proven.iter().any(|verdict| *verdict != Verdict::Yes)
    }
}

/// Asks every source its question, all at the same time, until `limit` has passed. Findings come in
/// the order of `sources`.
///
/// The sources of one account wait up to five seconds for what becomes of the first: if its keys are
/// refused theirs are not tried, for the vendors lock a key that is refused too often.
pub async fn ask(sources: Vec<Source>, limit: Duration) -> Vec<Finding> {
    let deadline = Instant::now() + limit;
    let mut accounts: Vec<Vec<Asking>> = Vec::new();
    for (number, source) in sources.into_iter().enumerate() {
        let Some(query) = question(&source) else { continue };
        let account = Arc::clone(&source.caller.account);
        let asking = Asking { number, source, query };
        let same = |known: &&mut Vec<Asking>| {
            known.first().is_some_and(|it| Arc::ptr_eq(&it.source.caller.account, &account))
        };
        match accounts.iter_mut().find(same) {
            Some(known) => known.push(asking),
            None => accounts.push(vec![asking]),
        }
    }
    let mut asked = JoinSet::new();
    for sources in accounts {
        asked.spawn(ask_account(sources, deadline));
    }
    let mut findings: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
    findings.sort_by_key(|(number, _)| *number);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// A source and its question, by its place in the list.
struct Asking {
    number: usize,
    source: Source,
    query: Query,
}

impl Asking {
    async fn ask(mut self, deadline: Instant) -> (usize, Finding) {
        let asked = timeout_at(deadline, ask_one(&mut self.source, &self.query)).await;
        let late = "there was no answer before the time for all questions was over";
        let finding = asked.unwrap_or_else(|_| self.unanswered(late.to_owned()));
        (self.number, finding)
    }

    /// What is known of a source from which nothing was heard.
    fn unanswered(&self, why: String) -> Finding {
        let finding = Finding::new(Arc::clone(&self.source.caller.info), self.query.operation);
        Finding { trouble: vec![why], ..finding }
    }
}

async fn ask_account(sources: Vec<Asking>, deadline: Instant) -> Vec<(usize, Finding)> {
    let mut sources = sources.into_iter();
    let Some(first) = sources.next() else { return Vec::new() };
    let name = first.source.caller.info.name.clone();
    let mut first = Box::pin(first.ask(deadline));
    let known = timeout(guard::OPEN, &mut first).await.ok();
    if known.as_ref().is_some_and(|(_, known)| known.signature == Verdict::No) {
        let why = format!("not asked: the same keys were refused for {name}");
        let others = sources.map(|asking| (asking.number, asking.unanswered(why.clone())));
        return known.into_iter().chain(others).collect();
    }
    let others = join_all(sources.map(|asking| asking.ask(deadline)));
    let (first, mut findings) =
        if let Some(known) = known { (known, others.await) } else { tokio::join!(first, others) };
    findings.push(first);
    findings
}

/// The question whose answer shows best whether the source may ask what it has to. Where nothing is listed,
/// that is one for an id that is given; `None` without any.
fn question(source: &Source) -> Option<Query> {
    let now = source.caller.vendor_now();
    let scope = Scope { now, since: now, resources: &source.resources, tags: &source.tags };
    source.caller.api.probe(&scope).or_else(|| of_given_id(source))
}

/// The question for one of the ids that are given.
fn of_given_id(source: &Source) -> Option<Query> {
    let now = source.caller.vendor_now();
    let wanted = source.watchlist.wanted();
    wanted.values().find_map(|(task, _)| source.caller.api.by_id(task, now))
}

async fn ask_one(source: &mut Source, query: &Query) -> Finding {
    let by_id = of_given_id(source);
    let caller = &mut source.caller;
    let search = caller.api.facts.project;
    if let Some(search) = search.filter(|_| caller.target.project_id.is_empty()) {
        let query = (search.query)();
        let (first, second) = caller.tries(&query).await;
        let last = second.as_ref().unwrap_or(&first);
        let found = last.result.as_ref().ok().and_then(|page| page.project_id.clone());
        let Some(project_id) = found else {
            let mut finding = judge(caller, query.operation, &first, second.as_ref());
            if last.result.is_ok() {
                finding.permission = Verdict::Unknown;
                finding.trouble.push(NO_PROJECT.to_owned());
            }
            return finding;
        };
        caller.target.project_id = project_id;
    }
    let (first, second) = caller.tries(query).await;
    let is_missing = |attempt: &Attempt| {
        let refusal = attempt.result.as_ref().err().and_then(FetchError::refusal);
        refusal.is_some_and(|it| it.kind == RefusalKind::NoSuchOperation && it.has_code())
    };
    // Where there is no list, tasks are asked for by their ids.
    if let Some(by_id) = by_id.filter(|_| is_missing(second.as_ref().unwrap_or(&first))) {
        let (first, second) = caller.tries(&by_id).await;
        return judge(caller, by_id.operation, &first, second.as_ref());
    }
    judge(caller, query.operation, &first, second.as_ref())
}

/// What the tries of one question prove: the last about everything but the clock, which may have
/// been put right after the first.
fn judge(
    caller: &Caller,
    operation: &'static Operation,
    first: &Attempt,
    second: Option<&Attempt>,
) -> Finding {
    let attempt = second.unwrap_or(first);
    let mut finding = Finding::new(Arc::clone(&caller.info), operation);
    [finding.reachable, finding.signature, finding.permission] = verdicts(&attempt.result);
    if let Err(error) = &attempt.result {
        finding.trouble.push(told(error, caller));
        finding.trouble.extend(advice(error, caller, operation));
    }
    if finding.reachable == Verdict::Yes {
        judge_clock(&mut finding, caller.api.facts.cloud, first, attempt);
    }
    finding
}

fn judge_clock(finding: &mut Finding, cloud: Cloud, first: &Attempt, last: &Attempt) {
    let refused = |attempt: &Attempt| {
        let refusal = attempt.result.as_ref().err().and_then(FetchError::refusal);
        refusal.is_some_and(|refusal| refusal.kind == RefusalKind::Clock)
    };
    let tolerance = cloud.clock_tolerance();
    finding.skew = last.offset.or(first.offset);
    let beyond = finding.skew.is_some_and(|skew| skew.unsigned_abs() > tolerance.as_secs());
    finding.clock = match finding.skew {
        _ if beyond || refused(first) || refused(last) => Verdict::No,
        Some(_) => Verdict::Yes,
        None => Verdict::Unknown,
    };
    if finding.clock == Verdict::No {
        let minutes = tolerance.as_secs() / 60;
        finding.trouble.push(format!(
            "the clock of this machine is wrong: {cloud} takes no more than {minutes} minutes; \
             let it be set by NTP"
        ));
    }
}

/// Whether the vendor was reached, took the signature, and gave permission.
fn verdicts<T>(result: &Result<T, FetchError>) -> [Verdict; 3] {
    use Verdict::{No, Unknown, Yes};
    match result {
        Ok(_) => [Yes, Yes, Yes],
        Err(FetchError::Transport(
            TransportError::Timeout | TransportError::Network(_) | TransportError::Stale(_),
        )) => [No, Unknown, Unknown],
        // Somebody answered; whether it was the vendor does not show.
        Err(
            FetchError::Transport(TransportError::Body(_))
            | FetchError::Decode(_)
            | FetchError::Credentials(_)
            | FetchError::Signing(_)
            | FetchError::NothingFound(_)
            | FetchError::Budget(_),
        ) => [Unknown; 3],
        Err(FetchError::Refused(refusal)) if !refusal.has_code() => [Unknown; 3],
        Err(FetchError::Refused(refusal)) => match refusal.kind {
            RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired => [Yes, No, Unknown],
            RefusalKind::Forbidden => [Yes, Yes, No],
            // Only somebody who is known is told this; whether permission was looked at before is
            // each service's secret.
            RefusalKind::NotFound => [Yes, Yes, Unknown],
            RefusalKind::Clock
            | RefusalKind::Throttled
            | RefusalKind::Server
            | RefusalKind::NoSuchOperation
            | RefusalKind::Client => [Yes, Unknown, Unknown],
        },
    }
}

/// The error, with the address where that may be what is wrong.
fn told(error: &FetchError, caller: &Caller) -> String {
    let endpoint = &caller.target.endpoint;
    match error {
        FetchError::Transport(_) | FetchError::Decode(_) => format!("{endpoint}: {error}"),
        FetchError::Refused(refusal) if !refusal.has_code() => {
            format!("{endpoint}: an answer without a code of the vendor's: {error}")
        }
        FetchError::Credentials(_)
        | FetchError::Signing(_)
        | FetchError::Refused(_)
        | FetchError::NothingFound(_)
        | FetchError::Budget(_) => error.to_string(),
    }
}

/// What helps; `None` where the error itself says it.
fn advice(error: &FetchError, caller: &Caller, operation: &Operation) -> Option<String> {
    let said = |text: &str| Some(text.to_owned());
    match error {
        FetchError::Transport(
            TransportError::Timeout | TransportError::Network(_) | TransportError::Stale(_),
        ) => {
            said("is `region` right, and `endpoint` and `proxy_url`, or HTTPS_PROXY and NO_PROXY?")
        }
        FetchError::Transport(TransportError::Body(_)) | FetchError::Decode(_) => {
            said("somebody in between may have answered, or `endpoint` is wrong")
        }
        FetchError::Credentials(CredentialsError::Session { reason, .. }) => {
            said(match reason.reason() {
                Reason::Timeout | Reason::Network => {
                    "the service that gives sessions was not reached: are `sts_endpoint` and \
                     `proxy_url` right?"
                }
                Reason::Throttled | Reason::Server => {
                    "the trouble is that of the service that gives sessions: try later"
                }
                Reason::Auth | Reason::Client | Reason::Decode | Reason::Budget | Reason::Clock => {
                    "the keys are sessions of a role, a machine or a pod, and none could be had"
                }
            })
        }
        FetchError::Credentials(_)
        | FetchError::Signing(_)
        | FetchError::NothingFound(_)
        | FetchError::Budget(_) => None,
        FetchError::Refused(refusal) if !refusal.has_code() => {
            said("a proxy or a load balancer may have answered, or `endpoint` is wrong")
        }
        FetchError::Refused(refusal) => match refusal.kind {
            RefusalKind::Unauthenticated => {
                said("the keys are unknown, disabled or locked, or the secret is another key's")
            }
            RefusalKind::CredentialsExpired => said("the session has ended: give new keys"),
            RefusalKind::Forbidden => Some(missing(refusal, caller.api.facts.cloud, operation)),
            RefusalKind::Throttled => said("asked too often: what else uses these keys? Try later"),
            RefusalKind::Server => said("the vendor's own trouble: try later"),
            RefusalKind::NotFound => said("are the ids in `resources` and `tasks` of this region?"),
            RefusalKind::NoSuchOperation => {
                said("not in this region: is `region` right? Where there is no list, give `tasks`")
            }
            RefusalKind::Clock | RefusalKind::Client => None,
        },
    }
}

/// Which action is missing, by the vendor's word, else by our knowledge.
fn missing(refusal: &Refusal, cloud: Cloud, operation: &Operation) -> String {
    let ours = operation.permission;
    let service = ours.split(':').next().unwrap_or_default();
    match refusal.named_action(service) {
        Some(action) => format!("{action} is missing, says {cloud}"),
        None => format!("{ours} is missing, which {} needs", operation.name),
    }
}

/// The operations that nothing was asked about, though the source calls them.
pub fn untried(config: &SourceConfig, finding: &Finding) -> Vec<&'static str> {
    let is_other = |it: &&Operation| it.permission != finding.operation.permission;
    let mut actions: Vec<_> = needed(config).filter(is_other).map(|it| it.permission).collect();
    // A project that was found shows that it may be looked for.
    if finding.permission == Verdict::Yes
        && let Some(search) = config.api.facts.project
    {
        actions.retain(|action| *action != search.operation.permission);
    }
    actions.sort_unstable();
    actions.dedup();
    actions
}

fn needed(config: &SourceConfig) -> impl Iterator<Item = &'static Operation> {
    let has_project = !config.target.project_id.is_empty();
    config.api.needed(has_project, !config.resources.is_empty())
}

/// For each account that lacks a permission: its cloud and name, and what grants it all that its
/// sources need, and nothing else.
pub fn grants<'a>(config: &'a Config, findings: &[Finding]) -> Vec<(Cloud, &'a str, Vec<Policy>)> {
    let lacks = |cloud: Cloud, account: &str| {
        findings.iter().any(|finding| {
            finding.permission == Verdict::No
                && finding.source.cloud == cloud.as_str()
                && finding.source.account == account
        })
    };
    let mut accounts: Vec<(Cloud, &str)> = Vec::new();
    for source in &config.sources {
        let account = (source.api.facts.cloud, source.account.as_str());
        if !accounts.contains(&account) && lacks(account.0, account.1) {
            accounts.push(account);
        }
    }
    let of = |(cloud, account): (Cloud, &'a str)| {
        let sources = config.sources.iter();
        let its = sources.filter(|it| it.api.facts.cloud == cloud && it.account == account);
        (cloud, account, policies(cloud, its.flat_map(needed)))
    };
    accounts.into_iter().map(of).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_no_more_than_the_refusal_proves() {
        use RefusalKind as Kind;
        use Verdict::{No, Unknown, Yes};
        let refused = |kind, code: &str| {
            let (code, message) = (code.to_owned(), String::new());
            verdicts::<()>(&Err(FetchError::Refused(Refusal {
                kind,
                code,
                message,
                retry_after: None,
            })))
        };
        for (kind, expected) in [
            (Kind::Unauthenticated, [Yes, No, Unknown]),
            (Kind::CredentialsExpired, [Yes, No, Unknown]),
            (Kind::Forbidden, [Yes, Yes, No]),
            (Kind::NotFound, [Yes, Yes, Unknown]),
            (Kind::Clock, [Yes, Unknown, Unknown]),
            (Kind::Throttled, [Yes, Unknown, Unknown]),
            (Kind::Server, [Yes, Unknown, Unknown]),
            (Kind::NoSuchOperation, [Yes, Unknown, Unknown]),
            (Kind::Client, [Yes, Unknown, Unknown]),
        ] {
            assert_eq!(refused(kind, "Code"), expected, "{kind:?}");
            // Without a code it need not be the vendor who answered.
            assert_eq!(refused(kind, "403"), [Unknown; 3], "{kind:?}");
        }
    }
}
