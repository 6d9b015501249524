//! One API in one region of one account: what a source of the exporter polls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Scope, Target, TaskApi};
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Task, Timestamp};
use dbtask_clouds::signing::query;
use http::{Request, Response};

use super::account::project_id;
use super::fault::Fault;
use super::guard::Limit;
use super::life::Lives;
use super::scenario::SourceScript;
use super::world::World;

/// What there is behind one source.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) api: &'static TaskApi,
    pub(super) lives: Lives,
    pub(super) target: Target,
    /// Index into the accounts.
    pub(super) account: usize,
    /// The tasks as they were at the second in which they were last asked for.
    last: Mutex<Option<(Timestamp, Arc<[Task]>)>>,
}

impl Region {
    pub(super) fn new(
        script: &SourceScript,
        start: Timestamp,
        seed: u64,
        account: usize,
    ) -> anyhow::Result<Self> {
        let api = script.find_api()?;
        let project_id = match (api.facts.cloud, &script.project_id) {
            (Cloud::Huawei, Some(id)) => id.clone(),
            (Cloud::Huawei, None) => project_id(script.account(), &script.region),
            (Cloud::Alibaba | Cloud::Tencent, _) => String::new(),
        };
        let target = Target {
            endpoint: String::new(),
            region: script.region.clone(),
            project_id,
            utc_offset: jiff::tz::offset(8),
            format: script.format,
        };
        let lives = Lives::new(api, script.clone(), start, seed);
        Ok(Self { api, lives, target, account, last: Mutex::default() })
    }

    /// The source's name.
    pub(super) fn name(&self) -> &str {
        &self.lives.script().name
    }

    /// Whether its API calls this operation.
    pub(super) fn has(&self, operation: &str) -> bool {
        self.api.facts.operations.iter().any(|known| known.name == operation)
    }

    /// Whether its API lists tasks with this operation.
    pub(super) fn lists(&self, operation: &str) -> bool {
        let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
        let queries = self.api.list(&Scope { now, since: now, resources: &[], tags: &[] });
        queries.iter().any(|query| query.operation.name == operation)
    }

    /// Whether the request names this region, or its project.
    pub(super) fn is_meant(&self, request: &Request<Bytes>) -> bool {
        let parameter = |name| query::parameters(request).get(name) == Some(&self.target.region);
        match self.api.facts.cloud {
            Cloud::Alibaba => parameter("RegionId") || parameter("Region"),
            Cloud::Huawei => {
                let mut parts = request.uri().path().split('/');
                parts.any(|part| part == self.target.project_id) || parameter("name")
            }
            Cloud::Tencent => query::header(request.headers(), "x-tc-region") == self.target.region,
        }
    }

    /// What the vendor answers to a request that is authenticated; `None` if it is for another API.
    pub(super) fn answer(
        &self,
        request: &Request<Bytes>,
        now: Timestamp,
        view: &View,
    ) -> Option<Response<Bytes>> {
        let View { skew, lag, missing } = view;
        let (skew, is_there) = (*skew, |task: &Task| !missing.iter().any(|it| it.hides(&task.id)));
        let mut tasks = self.tasks(now.saturating_sub(*lag));
        if skew != 0 || !missing.is_empty() {
            let there = tasks.iter().filter(|task| is_there(task));
            tasks = there.map(|task| by_clock(task, skew)).collect();
        }
        let world = World {
            now: shifted(now, skew),
            target: &self.target,
            resources: &self.lives.resources(now),
            tasks: &tasks,
        };
        world.answer(self.api, request)
    }

    /// The tasks at `now`, kept until the second is over: lists come in pages.
    fn tasks(&self, now: Timestamp) -> Arc<[Task]> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tasks)) = last.as_ref().filter(|(then, _)| *then == now) {
            return Arc::clone(tasks);
        }
        let tasks: Arc<[Task]> = self.lives.tasks(now).into();
        *last = Some((now, Arc::clone(&tasks)));
        tasks
    }

    /// Calls that the vendor takes: in a second as scripted, else as published, else as is common;
    /// in a minute as scripted.
    pub(super) fn limits(&self, operation: &str) -> impl Iterator<Item = Limit> {
        let a_minute = self.lives.script().calls_a_minute.map(|calls| Limit { calls, seconds: 60 });
        let a_second = Limit { calls: self.rate_limit(operation), seconds: 1 };
        [Some(a_second), a_minute].into_iter().flatten()
    }

    fn rate_limit(&self, operation: &str) -> u32 {
        let scripted = self.lives.script().rate_limits.get(operation).copied();
        scripted.unwrap_or(match (self.api.facts.cloud, operation) {
            (Cloud::Tencent, "DescribeTaskInfo" | "DescribeInstances") => 20,
            (Cloud::Tencent, "DescribeTasks") => 50,
            (Cloud::Alibaba | Cloud::Tencent, _) => 100,
            (Cloud::Huawei, _) => 200,
        })
    }
}

/// How the vendor sees what there is; the default: as it is.
#[derive(Debug, Default)]
pub(super) struct View {
    /// How far its clock is ahead, in seconds: all its times are by that clock.
    pub(super) skew: i64,
    /// How old its picture is.
    pub(super) lag: Duration,
    /// Faults that take tasks out of the answer.
    pub(super) missing: Vec<Fault>,
}

/// An instant as a clock shows it that is `skew` seconds ahead.
pub(super) fn shifted(instant: Timestamp, skew: i64) -> Timestamp {
    Timestamp::from_second(instant.as_second().saturating_add(skew)).unwrap_or(instant)
}

/// A task with its times as a clock shows them that is `skew` seconds ahead.
fn by_clock(task: &Task, skew: i64) -> Task {
    let shifted = |time: Option<Timestamp>| time.map(|time| shifted(time, skew));
    let (created, started) = (shifted(task.created), shifted(task.started));
    let (scheduled, ended) = (shifted(task.scheduled), shifted(task.ended));
    Task { created, scheduled, started, ended, ..task.clone() }
}
