//! A world: what is simulated under one seed. Data only; everything that may be left out of it to
//! make its history shorter is an [`Event`].

use std::fmt;
use std::sync::Arc;

use dbtask_clouds::api::{Detail, Parameter, Query, Scope, TaskApi, TaskRef};
use dbtask_clouds::catalog;
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::model::{Resource, TaskState, Timestamp};
use dbtask_simulator::{
    Account, Curve, End, Fault, FaultKind, Gone, Offset, Phase, ResourceScript, Run, Scenario,
    SourceScript, Span, Stay, TaskScript,
};
use fastrand::Rng;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// What the vendors say of every task that fails.
pub(crate) const MESSAGE: &str = "the disk said \"no\"";
/// The operation that hands out sessions.
pub(crate) const ASSUME_ROLE: &str = "AssumeRole";

const ALIBABA_REGIONS: [&str; 8] = [
    "cn-hangzhou",
    "cn-beijing",
    "cn-shanghai",
    "cn-shenzhen",
    "cn-qingdao",
    "cn-chengdu",
    "cn-guangzhou",
    "cn-hongkong",
];
const TENCENT_REGIONS: [&str; 8] = [
    "ap-guangzhou",
    "ap-shanghai",
    "ap-beijing",
    "ap-bangkok",
    "ap-chengdu",
    "ap-hongkong",
    "ap-mumbai",
    "ap-tokyo",
];

/// Everything that happens under one seed. Times are seconds since the start.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) days: i64,
    /// How long it lasts.
    pub(crate) length: i64,
    pub(crate) has_journal: bool,
    /// The only promise that counts; `None`: all of them.
    pub(crate) rule: Option<&'static str>,
    pub(crate) sources: Vec<Watched>,
    pub(crate) events: Vec<Event>,
}

/// A source, and how it is configured.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) api: &'static TaskApi,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) format: Format,
    /// What exists.
    pub(crate) resources: Vec<String>,
    /// Whether the configuration leaves the resources out.
    pub(crate) takes_all: bool,
    pub(crate) interval: i64,
    pub(crate) idle_interval: i64,
    pub(crate) lookback: i64,
    pub(crate) stale_after: i64,
    pub(crate) finished: i64,
    pub(crate) failed: i64,
    /// How many tasks may be shown.
    pub(crate) limit: usize,
    /// Calls a day that its account may make.
    pub(crate) daily_budget: Option<u64>,
    /// Calls a minute that its cloud takes of each operation.
    pub(crate) quota: Option<u32>,
    /// How its account proves who it is.
    pub(crate) proof: Proof,
    /// Which source it takes the place and the name of, once the operator moves that one to another
    /// account.
    pub(crate) stands_in: Option<usize>,
}

/// How an account proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By its keys.
    Keys,
    /// By sessions of a role that last so many seconds.
    Role(i64),
    /// By a token, so that its requests carry no time.
    Token,
    /// By keys, one of which is in a file that may hold another one for a while.
    File,
}

/// Something that happens, and that a shorter history may do without.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A task lives.
    Task(usize, TaskScript),
    /// An operator registers a task, and may take that back.
    Register(Registration),
    /// A cloud breaks for a while.
    Fault(usize, Fault),
    /// Somebody scrapes.
    Scraper(Scraper),
    /// The disk of the journal is in trouble for a while.
    Disk(DiskTrouble),
    /// The process ends, and comes back.
    Down(Down),
    /// The operator gives the running process another configuration.
    Reload(Reload),
    /// Our clock is wrong for a while.
    Leap(Leap),
    /// The file with the key of an account holds another one for a while.
    WrongKey(WrongKey),
}

/// A task that is registered.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) source: usize,
    pub(crate) id: String,
    pub(crate) resource: String,
    pub(crate) at: i64,
    pub(crate) forgotten: Option<i64>,
}

/// Somebody who scrapes from one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scraper {
    pub(crate) client: u8,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) every: i64,
}

/// A time in which the journal cannot be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskTrouble {
    pub(crate) at: i64,
    pub(crate) lasts: i64,
}

/// A time in which the account of a source has a wrong key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrongKey {
    pub(crate) source: usize,
    pub(crate) at: i64,
    pub(crate) lasts: i64,
}

/// A time in which our clock is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leap {
    pub(crate) at: i64,
    pub(crate) lasts: i64,
    /// How far it is ahead.
    pub(crate) by: i64,
}

/// An end of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Down {
    pub(crate) at: i64,
    /// How long it is down.
    pub(crate) lasts: i64,
    pub(crate) how: How,
    /// What the operator changes meanwhile.
    pub(crate) change: Option<Change>,
}

/// A configuration that is taken over while the process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    pub(crate) at: i64,
    /// What the operator has changed; `None`: so that it cannot be read.
    pub(crate) change: Option<Change>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is told to.
    Stopped,
    /// As by SIGKILL.
    Killed,
    /// As by SIGKILL, after so many more operations of the journal.
    KilledAtJournal(u32),
}

/// What an operator writes into the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another interval.
    Interval(usize, i64),
    /// The source is taken out, or put back in.
    Toggle(usize),
    /// Only the first resource, or all again.
    Narrow(usize),
    /// The source polls another account from now on.
    Move(usize),
}

impl Change {
    /// The source whose configuration changes.
    pub(crate) fn source(&mut self) -> &mut usize {
        match self {
            Self::Interval(source, _)
            | Self::Toggle(source)
            | Self::Narrow(source)
            | Self::Move(source) => source,
        }
    }
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, days: i64) -> Self {
        let mut rng = Rng::with_seed(seed ^ (days.cast_unsigned() << 40));
        // A few hours of polls that follow each other quickly.
        let rushes = days == 1 && rng.u8(..12) == 0;
        // Many sources of one account.
        let many = days == 1 && !rushes && rng.u8(..20) == 0;
        let short = rushes || many;
        let length = if short { rng.i64(2 * HOUR..4 * HOUR) } else { days * DAY };
        let mut world = Self {
            seed,
            days,
            length,
            has_journal: rng.u8(..100) < 85,
            rule: None,
            sources: Vec::new(),
            events: Vec::new(),
        };
        let shared = many || rng.u8(..4) == 0;
        let in_file = rng.u8(..8) == 0;
        for n in 0..if many { rng.usize(5..=8) } else { rng.usize(1..=3) } {
            let same = world.sources.first().map(|first: &Watched| first.api);
            let same = same.filter(|_| many || shared && rng.bool());
            // Its list lacks what has to be asked for task by task.
            let same =
                same.or_else(|| (rushes && rng.bool()).then(|| catalog::named("tencent_redis"))?);
            let mut source = watched(n, same, shared, days, &mut rng);
            if in_file {
                source.proof = Proof::File;
            }
            if rushes {
                source.interval = rng.i64(5..=15);
                source.idle_interval = source.interval;
            }
            world.tasks_of(n, &source, rushes, &mut rng);
            world.faults_of(n, &source, &mut rng);
            world.sources.push(source);
        }
        if !many && rng.u8(..8) == 0 {
            world.another_account(&mut rng);
        }
        world.long_refusals(many, &mut rng);
        if in_file {
            world.wrong_keys(&mut rng);
        }
        world.scrapers(&mut rng);
        world.downs(&mut rng);
        world.disks(&mut rng);
        world.reloads(&mut rng);
        world.leap(&mut rng);
        world
    }

    fn tasks_of(&mut self, n: usize, source: &Watched, rushes: bool, rng: &mut Rng) {
        let per_day = rng.i64(2..=10);
        let count = if self.days == 1 { per_day + 2 } else { per_day.min(4) * self.days };
        // A cluster of AnalyticDB carries one job, so jobs come one after another.
        let mut job_after: Vec<i64> = vec![-2 * HOUR; source.resources.len()];
        for number in 0..count {
            let resource = rng.usize(..source.resources.len());
            // Much happens at the beginning.
            let latest = if rng.u8(..4) == 0 { HOUR.min(self.length) } else { self.length };
            let mut at = rng.i64(-3 * HOUR..latest);
            let by_id = source.only_by_id(&mut *rng);
            let is_job = source.api.facts.name == "alibaba_adb" && !by_id;
            if is_job {
                at = job_after[resource] + rng.i64(MINUTE..8 * HOUR * self.days.min(4));
            }
            let life = life(source, by_id || is_job, self.days, rng);
            if is_job {
                let lasts: i64 = life.iter().filter_map(lasts).sum();
                job_after[resource] = at + lasts + rng.i64(5 * MINUTE..3 * HOUR);
            }
            let kind = match source.api.facts.name {
                "alibaba_adb" if by_id => String::new(),
                "tencent_redis" => rng
                    .choice(["FLOW_RESIZE", "FLOW_CREATE", "FLOW_CLEAN"])
                    .unwrap_or("")
                    .to_owned(),
                _ => rng.choice(["RESTORE", "BACKUP \"full\"", "RESIZE"]).unwrap_or("").to_owned(),
            };
            let id = match source.api.facts.name {
                "alibaba_adb" if is_job => format!("job-{number}"),
                _ if source.api.facts.cloud == Cloud::Huawei => {
                    format!("{:08x}-0000-4000-8000-{n:012x}", number + 1)
                }
                _ => id_of(source.api, 1_000_000 * (n + 1) + usize::try_from(number).unwrap_or(0)),
            };
            let mut script = TaskScript {
                id,
                resource: source.resources[resource].clone(),
                kind,
                at: Offset(at),
                life,
                steps: Vec::new(),
                configured: by_id,
                // What is asked for by its id may be remembered for longer than lists reach back.
                keep: span(if by_id && rng.bool() { 400 * DAY } else { 30 * DAY }),
            };
            if by_id && self.has_journal && rng.bool() {
                let (id, resource) = (script.id.clone(), script.resource.clone());
                let at = (at + rng.i64(-HOUR..HOUR)).max(MINUTE);
                let forgotten = (rng.u8(..4) == 0).then(|| at + rng.i64(MINUTE..5 * HOUR));
                let registration = Registration { source: n, id, resource, at, forgotten };
                self.events.push(Event::Register(registration));
                script.configured = false;
            }
            self.events.push(Event::Task(n, script));
        }
        let crowds = if rushes { rng.bool() } else { rng.u8(..15) == 0 };
        if source.api.facts.name != "alibaba_adb" && !source.is_otc() && crowds {
            self.crowd_of(n, source, rushes, rng);
        }
    }

    /// The first source is moved to another account, with tasks of its own.
    fn another_account(&mut self, rng: &mut Rng) {
        let n = self.sources.len();
        let first = &self.sources[0];
        let other = Watched {
            name: format!("{}-other", first.name),
            account: format!("{}-other", first.account),
            proof: Proof::Keys,
            stands_in: Some(0),
            ..first.clone()
        };
        self.tasks_of(n, &other, false, rng);
        for event in &mut self.events {
            if let Event::Task(m, task) = event {
                let is_job = task.id.starts_with("job-");
                let given = other.is_otc() || other.api.facts.name == "alibaba_adb";
                task.configured |= *m == n && given && !is_job;
            }
        }
        self.events.retain(|event| match event {
            Event::Register(registration) => registration.source != n,
            _ => true,
        });
        self.faults_of(n, &other, rng);
        self.sources.push(other);
        let (at, change) = (rng.i64(HOUR..self.length), Some(Change::Move(0)));
        self.events.push(if rng.bool() {
            Event::Reload(Reload { at, change })
        } else {
            Event::Down(Down { at, lasts: rng.i64(1..HOUR), how: How::Killed, change })
        });
    }

    /// More tasks at once than a page holds. In a rush all of them fail at the same time.
    fn crowd_of(&mut self, n: usize, source: &Watched, rushes: bool, rng: &mut Rng) {
        let at = rng.i64(0..self.length - HOUR);
        let count = if rushes { rng.usize(200..=400) } else { 105 };
        let together = rushes.then(|| {
            let lasts = Some(span(rng.i64(5 * MINUTE..30 * MINUTE)));
            let run = Run { r#for: lasts, word: None, to: 1.0, curve: Curve::default() };
            vec![Phase::Run(run), Phase::Fail(end(None))]
        });
        for number in 0..count {
            let script = TaskScript {
                id: match source.api.facts.cloud {
                    Cloud::Huawei => format!("c{number:07x}-0000-4000-8000-{n:012x}"),
                    Cloud::Alibaba | Cloud::Tencent => {
                        id_of(source.api, 1_000_000 * (n + 1) + 500_000 + number)
                    }
                },
                resource: source.resources[0].clone(),
                kind: "FLOW_CLEAN".to_owned(),
                at: Offset(at),
                life: match &together {
                    Some(life) => life.clone(),
                    None => vec![work(rng), ending(source, None, rng)],
                },
                steps: Vec::new(),
                configured: false,
                keep: span(if rushes { HOUR } else { 30 * DAY }),
            };
            self.events.push(Event::Task(n, script));
        }
    }

    fn faults_of(&mut self, n: usize, source: &Watched, rng: &mut Rng) {
        for _ in 0..rng.i64(0..=5) * self.days.min(8) {
            let kind = FaultKind::ALL[rng.usize(..FaultKind::ALL.len())];
            if let Some(mut fault) = self.fault_of(source, kind, rng) {
                if rng.bool() {
                    self.when_a_task_ends(n, &mut fault, rng);
                }
                self.events.push(Event::Fault(n, fault));
            }
        }
        self.one_trouble_of(n, source, rng);
        if let (Proof::Role(_), true) = (source.proof, rng.bool()) {
            // What hands out sessions is a service of its own, with trouble of its own.
            let kinds = [FaultKind::Throttle, FaultKind::ServerError, FaultKind::Hang];
            let mut fault = Fault::new(kinds[rng.usize(..kinds.len())]);
            fault.from = span(rng.i64(0..self.length));
            fault.r#for = Some(span(rng.i64(MINUTE..2 * HOUR)));
            fault.operation = Some(ASSUME_ROLE.to_owned());
            self.events.push(Event::Fault(n, fault));
        }
        // A clock that is wrong from the beginning to the end.
        let loses_sessions = |it: &Event| {
            matches!(it, Event::Fault(m, fault)
            if *m == n && fault.kind == FaultKind::LostSession)
        };
        if rng.u8(..8) == 0 && !self.events.iter().any(loses_sessions) {
            let mut fault = Fault::new(FaultKind::SkewedClock);
            let most = if rng.u8(..4) == 0 { 3 * HOUR } else { 15 * MINUTE };
            fault.offset = Offset(rng.i64(-most..most));
            self.events.push(Event::Fault(n, fault));
        }
        self.ends_are_known_where_replicas_lag(n);
    }

    /// Moves a fault to where a task ends.
    fn when_a_task_ends(&self, n: usize, fault: &mut Fault, rng: &mut Rng) {
        let ends = self.events.iter().filter_map(|event| match event {
            Event::Task(m, task) if *m == n => {
                Some(task.at.0 + task.life.iter().filter_map(lasts).sum::<i64>())
            }
            _ => None,
        });
        let ends: Vec<i64> = ends.filter(|end| (0..self.length).contains(end)).collect();
        if let (Some(&end), Some(lasts)) = (rng.choice(&ends), fault.r#for) {
            fault.from = span((end - rng.i64(0..lasts.seconds())).max(0));
        }
    }

    /// A fault of this kind, if the source can meet it.
    fn fault_of(&self, source: &Watched, kind: FaultKind, rng: &mut Rng) -> Option<Fault> {
        let lasts = match rng.u8(..10) {
            0..5 => rng.i64(MINUTE..30 * MINUTE),
            5..9 => rng.i64(30 * MINUTE..4 * HOUR),
            _ => rng.i64(4 * HOUR..30 * HOUR),
        };
        let mut fault = Fault::new(kind);
        fault.from = span(rng.i64(0..self.length));
        fault.r#for = Some(span(lasts));
        if rng.bool() {
            fault.share = f64::from(rng.u32(10..95)) / 100.0;
        }
        fault.delay = span(*rng.choice(&[1, 5, 15, 19, 25]).unwrap_or(&5));
        fault.status = *rng.choice(&[500, 502, 503, 200]).unwrap_or(&503);
        if fault.status == 200 && kind == FaultKind::ServerError {
            fault.status = 500;
        }
        if rng.u8(..5) == 0 {
            let operations = source.api.facts.operations;
            fault.operation = Some(operations[rng.usize(..operations.len())].name.to_owned());
        }
        match kind {
            FaultKind::SkewedClock => return None,
            // Only Huawei's list may be missing, and that of OTC always is.
            FaultKind::MissingList if source.api.facts.name != "huawei_dds" || source.is_otc() => {
                return None;
            }
            FaultKind::LostSession => {
                // Once, for all the sessions that there are; a clock that is set has no part in it.
                fault.r#for = Some(span(4 * HOUR));
                (fault.share, fault.operation) = (1.0, None);
                return matches!(source.proof, Proof::Role(_)).then_some(fault);
            }
            // What is not there for hours, by the vendor's clear word, is given up.
            FaultKind::NotFound | FaultKind::MissingRows => {
                fault.r#for = Some(span(lasts.min(rng.i64(MINUTE..45 * MINUTE))));
            }
            FaultKind::Lagging => {
                fault.delay = span(rng.i64(MINUTE..8 * MINUTE));
                fault.share = f64::from(rng.u32(20..80)) / 100.0;
                fault.r#for = Some(span(lasts.min(2 * HOUR)));
            }
            FaultKind::Odd if rng.u8(..4) > 0 => {
                fault.operation = source.by_id_operation().map(str::to_owned);
            }
            _ => {}
        }
        if kind == FaultKind::NotFound {
            let resources = source.named_resources(1);
            fault.only = Some(rng.choice(resources)?.clone());
            fault.operation = None;
        }
        Some(fault)
    }

    /// One cluster, or one task that is given by its id, is refused for hours; the others are not.
    fn one_trouble_of(&mut self, n: usize, source: &Watched, rng: &mut Rng) {
        if rng.u8(..5) > 0 {
            return;
        }
        let given = self.events.iter().filter_map(|event| match event {
            Event::Task(m, task) if *m == n && !task.id.starts_with("job-") => Some(&task.id),
            _ => None,
        });
        let given: Vec<&String> = given.collect();
        let by_id = source.is_otc() || source.api.facts.name == "alibaba_adb";
        let only = match source.named_resources(2) {
            [] if by_id => rng.choice(given).cloned(),
            resources => rng.choice(resources).cloned(),
        };
        let kinds = [
            FaultKind::Forbidden,
            FaultKind::ServerError,
            FaultKind::Hang,
            FaultKind::Odd,
            FaultKind::Malformed,
        ];
        let mut fault = Fault::new(kinds[rng.usize(..kinds.len())]);
        fault.from = span(rng.i64(0..self.length));
        fault.r#for = Some(span(rng.i64(HOUR..10 * HOUR)));
        fault.only = only;
        if fault.only.is_some() {
            self.events.push(Event::Fault(n, fault));
        }
    }

    /// A task that goes on, after an end without its time, cannot be told from one that is run again.
    fn ends_are_known_where_replicas_lag(&mut self, n: usize) {
        let lags = |it: &Event| {
            matches!(it, Event::Fault(m, fault)
            if *m == n && fault.kind == FaultKind::Lagging)
        };
        if !self.events.iter().any(lags) {
            return;
        }
        for event in &mut self.events {
            let Event::Task(m, task) = event else { continue };
            for phase in task.life.iter_mut().filter(|_| *m == n) {
                if let Phase::Finish(end) | Phase::Fail(end) | Phase::Cancel(end) = phase {
                    end.end_known_after = None;
                }
            }
        }
    }

    /// Some worlds have a cloud that refuses everything for hours, or a key that is refused to all
    /// its sources.
    fn long_refusals(&mut self, many: bool, rng: &mut Rng) {
        let from = if many { 0 } else { rng.i64(0..self.length) };
        let mut refuse = |n: usize, kind, lasts: i64| {
            let mut fault = Fault::new(kind);
            (fault.from, fault.r#for) = (span(from), Some(span(lasts)));
            self.events.push(Event::Fault(n, fault));
        };
        match if many { rng.u8(..4) } else { rng.u8(..12) } {
            0 if self.days == 1 => {
                let kinds = [FaultKind::Throttle, FaultKind::ServerError, FaultKind::Reset];
                let kind = kinds[rng.usize(..kinds.len())];
                refuse(0, kind, rng.i64(2 * HOUR..5 * HOUR));
                (self.sources[0].interval, self.sources[0].idle_interval) = (MINUTE, MINUTE);
            }
            1..4 => {
                let lasts = rng.i64(HOUR..4 * HOUR);
                (0..self.sources.len()).for_each(|n| refuse(n, FaultKind::Unauthorized, lasts));
            }
            _ => {}
        }
    }

    /// The keys of some accounts are replaced by wrong ones, and by the right ones again.
    fn wrong_keys(&mut self, rng: &mut Rng) {
        for source in 0..self.sources.len() {
            let first =
                self.sources.iter().position(|it| it.account == self.sources[source].account);
            if first == Some(source) && rng.u8(..4) > 0 {
                let at = if rng.u8(..4) == 0 { 0 } else { rng.i64(0..self.length) };
                let lasts = rng.i64(MINUTE..2 * HOUR);
                self.events.push(Event::WrongKey(WrongKey { source, at, lasts }));
            }
        }
    }

    fn scrapers(&mut self, rng: &mut Rng) {
        for client in 1..=rng.u8(1..=3) {
            let every = *rng.choice(&[15, 30, 60, 60]).unwrap_or(&60);
            let every = if self.days == 1 { every } else { 60 };
            let (mut from, mut parts) = (rng.i64(0..HOUR), rng.u8(1..=3));
            while parts > 0 && from < self.length {
                let until = if parts == 1 { self.length } else { rng.i64(from..self.length) };
                // One in eight comes from an address that another has, too.
                let client = if rng.u8(..8) == 0 { 1 } else { client };
                self.events.push(Event::Scraper(Scraper { client, from, until, every }));
                from = until + rng.i64(MINUTE..3 * HOUR);
                parts -= 1;
            }
        }
    }

    fn downs(&mut self, rng: &mut Rng) {
        let mut at = 0;
        if self.days > 1 && rng.u8(..3) == 0 {
            // Longer than any list reaches back.
            let (lasts, change) = (rng.i64(30 * DAY..32 * DAY), None);
            at = rng.i64(HOUR..5 * DAY);
            self.events.push(Event::Down(Down { at, lasts, how: How::Killed, change }));
            at += lasts;
        }
        let gap = self.length / rng.i64(1..=8);
        loop {
            at += rng.i64(MINUTE..=gap.max(2 * MINUTE));
            if at >= self.length {
                return;
            }
            let how = match rng.u8(..10) {
                0..2 => How::Stopped,
                2..5 => How::Killed,
                _ => How::KilledAtJournal(rng.u32(0..12)),
            };
            let lasts = match rng.u8(..10) {
                0..4 => 0,
                4..8 => rng.i64(1..20 * MINUTE),
                _ => rng.i64(20 * MINUTE..DAY),
            };
            let change = (rng.u8(..3) == 0).then(|| self.any_change(rng));
            self.events.push(Event::Down(Down { at, lasts, how, change }));
            at += lasts;
        }
    }

    /// What an operator changes.
    fn any_change(&self, rng: &mut Rng) -> Change {
        let source = rng.usize(..self.sources.len() - usize::from(self.stand_in(0).is_some()));
        match rng.u8(..3) {
            0 => Change::Interval(source, rng.i64(MINUTE..20 * MINUTE)),
            1 => Change::Toggle(source),
            _ => Change::Narrow(source),
        }
    }

    /// Two worlds of three have an operator who reloads.
    fn reloads(&mut self, rng: &mut Rng) {
        if rng.u8(..3) == 0 {
            return;
        }
        for _ in 0..rng.i64(1..=6) * self.days.min(4) {
            let at = rng.i64(0..self.length);
            let change = (rng.u8(..6) != 0).then(|| self.any_change(rng));
            self.events.push(Event::Reload(Reload { at, change }));
            // What is taken out is often put back soon.
            if let Some(Change::Toggle(_)) = change
                && rng.bool()
            {
                let at = at + rng.i64(1..2 * HOUR);
                self.events.push(Event::Reload(Reload { at, change }));
            }
        }
    }

    /// One world in fifteen has a clock that leaps, and comes back.
    fn leap(&mut self, rng: &mut Rng) {
        let limited = self.sources.iter().any(|source| source.daily_budget.is_some());
        if limited || rng.u8(..15) > 0 {
            return;
        }
        for _ in 0..rng.i64(1..=3) {
            let at = rng.i64(0..self.length);
            let most = *rng.choice(&[10 * MINUTE, 6 * HOUR, 40 * DAY]).unwrap_or(&HOUR);
            let by = rng.i64(-most..most);
            self.events.push(Event::Leap(Leap { at, lasts: rng.i64(MINUTE..30 * MINUTE), by }));
        }
        // A registration ends by our clock.
        self.events.retain(|event| !matches!(event, Event::Register(_)));
        for event in &mut self.events {
            if let Event::Task(n, task) = event {
                let source = &self.sources[*n];
                let is_job = task.id.starts_with("job-");
                task.configured |=
                    source.is_otc() || (source.api.facts.name == "alibaba_adb" && !is_job);
            }
        }
    }

    fn disks(&mut self, rng: &mut Rng) {
        if self.has_journal && rng.u8(..4) == 0 {
            for _ in 0..rng.u8(1..=3) {
                let at = rng.i64(0..self.length);
                self.events.push(Event::Disk(DiskTrouble { at, lasts: rng.i64(MINUTE..3 * HOUR) }));
            }
        }
    }

    /// What the simulated clouds are told.
    pub(crate) fn scenario(&self) -> Scenario {
        let mut sources: Vec<SourceScript> = self.sources.iter().map(Watched::script).collect();
        for event in &self.events {
            match event {
                Event::Task(n, task) => sources[*n].tasks.push(task.clone()),
                Event::Fault(n, fault) => sources[*n].faults.push(fault.clone()),
                Event::Register(_)
                | Event::Scraper(_)
                | Event::Disk(_)
                | Event::Down(_)
                | Event::Reload(_)
                | Event::Leap(_)
                | Event::WrongKey(_) => {}
            }
        }
        let accounts = self.sources.iter().filter_map(Watched::script_of_account).collect();
        Scenario { seed: Some(self.seed), accounts, sources }
    }

    /// What takes the place of a source, if the operator moves it.
    pub(crate) fn stand_in(&self, source: usize) -> Option<usize> {
        self.sources.iter().position(|it| it.stands_in == Some(source))
    }

    /// The name of a source in the configuration.
    pub(crate) fn name(&self, source: usize) -> &str {
        &self.sources[self.sources[source].stands_in.unwrap_or(source)].name
    }

    /// Whether our clock leaps.
    pub(crate) fn leaps(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Leap(_)))
    }

    /// How far the clock of a source's cloud is ahead.
    pub(crate) fn skew(&self, source: usize) -> i64 {
        let skews = self.events.iter().filter_map(|event| match event {
            Event::Fault(n, fault) if *n == source && fault.kind == FaultKind::SkewedClock => {
                Some(fault.offset.0)
            }
            _ => None,
        });
        skews.sum()
    }
}

impl Watched {
    fn script(&self) -> SourceScript {
        let resource = |id: &String| ResourceScript {
            id: id.clone(),
            name: None,
            count: None,
            from: None,
            until: None,
        };
        SourceScript {
            name: self.name.clone(),
            api: self.api.facts.name.to_owned(),
            region: self.region.clone(),
            account: Some(self.account.clone()),
            project_id: None,
            format: self.format,
            resources: self.resources.iter().map(resource).collect(),
            tasks: Vec::new(),
            spawn: Vec::new(),
            faults: Vec::new(),
            rate_limits: std::collections::BTreeMap::new(),
            calls_a_minute: self.quota,
        }
    }

    /// What there is to say of its account; `None` if it has keys.
    fn script_of_account(&self) -> Option<Account> {
        let (session, auth_token, role) = match (self.proof, self.api.facts.cloud) {
            (Proof::Keys | Proof::File, _) => return None,
            (Proof::Token, _) => (None, Some(format!("token-of-{}", self.account)), None),
            (Proof::Role(lasts), Cloud::Tencent) => {
                (Some(span(lasts)), None, Some("qcs::cam::uin/1:roleName/dbtask"))
            }
            (Proof::Role(lasts), _) => (Some(span(lasts)), None, Some("acs:ram::1:role/dbtask")),
        };
        Some(Account {
            name: self.account.clone(),
            access_key_id: None,
            secret_access_key: None,
            security_token: None,
            auth_token,
            session,
            role: role.map(str::to_owned),
            daily_budget: None,
        })
    }

    /// The operation that asks for one task, where there is one.
    pub(crate) fn by_id_operation(&self) -> Option<&'static str> {
        let task = TaskRef {
            id: id_of(self.api, 7).into(),
            resource: Some(Arc::new(Resource::new(self.resources[0].as_str()))),
            started: None,
        };
        self.api
            .by_id(&task, Timestamp::from(jiff::Timestamp::UNIX_EPOCH))
            .map(|query| query.operation.name)
    }

    /// The resources, if there are so many that each is asked for by itself.
    pub(crate) fn named_resources(&self, least: usize) -> &[String] {
        let resources: Vec<_> = ["a", "b"].map(|id| Arc::new(Resource::new(id))).into();
        let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
        let scope = Scope { now, since: now, resources: &resources, tags: &[] };
        let one_by_one = self.api.list(&scope).iter().all(|query| query.resources.len() == 1);
        let names = one_by_one && (self.api.discovers() || !self.takes_all);
        if names && self.resources.len() >= least { &self.resources } else { &[] }
    }

    /// Whether its cloud has no list of tasks.
    pub(crate) fn is_otc(&self) -> bool {
        is_otc(&self.region)
    }

    fn only_by_id(&self, rng: &mut Rng) -> bool {
        self.is_otc() || (self.api.facts.name == "alibaba_adb" && rng.bool())
    }

    fn has(&self, state: TaskState) -> bool {
        self.api.facts.statuses.iter().any(|&(_, known)| known == state)
    }
}

fn is_otc(region: &str) -> bool {
    region.starts_with("eu-")
}

fn watched(
    n: usize,
    same: Option<&'static TaskApi>,
    shared: bool,
    days: i64,
    rng: &mut Rng,
) -> Watched {
    // The judge goes by the ends that are told.
    let is_drawn = |api: &&&TaskApi| {
        api.facts.shows(Detail::Ended) && has_list(api) && !NOT_DRAWN.contains(&api.facts.name)
    };
    let drawn: Vec<_> = APIS.iter().filter(is_drawn).collect();
    let api = same.unwrap_or(drawn[rng.usize(..drawn.len())]);
    // The warehouse's version of AnalyticDB knows its clusters by this.
    let letter = if api.facts.name == "alibaba_adb" { "am" } else { api.facts.service };
    let region = match api.facts.cloud {
        Cloud::Huawei if api.facts.name == "huawei_dds" && n < 2 && rng.u8(..4) == 0 => {
            ["eu-de", "eu-nl"][n].to_owned()
        }
        Cloud::Huawei => format!("cn-north-{}", n + 1),
        Cloud::Alibaba => ALIBABA_REGIONS[n % ALIBABA_REGIONS.len()].to_owned(),
        Cloud::Tencent => TENCENT_REGIONS[n % TENCENT_REGIONS.len()].to_owned(),
    };
    let intervals: &[i64] =
        if days == 1 { &[60, 120, 180, 300, 300, 600] } else { &[900, 1800, 1800, 3600] };
    let interval = *rng.choice(intervals).unwrap_or(&300);
    let daily_budget = (days == 1 && !shared && rng.u8(..10) == 0).then(|| rng.u64(30..2000));
    let resources = (1..=rng.usize(1..=3)).map(|r| format!("{letter}-{n}{r}")).collect();
    let proof = match api.facts.cloud {
        _ if shared || daily_budget.is_some() || rng.u8(..4) > 0 => Proof::Keys,
        Cloud::Huawei => Proof::Token,
        Cloud::Alibaba | Cloud::Tencent => Proof::Role(rng.i64(15 * MINUTE..2 * HOUR)),
    };
    let quota = (days == 1 && daily_budget.is_none() && !shared && rng.u8(..8) == 0)
        .then(|| *rng.choice(&[1, 2, 3, 5, 10, 20, 60]).unwrap_or(&60));
    // OTC is another operator's cloud, with keys of its own. Where what is asked names no region, one
    // address can simulate one region.
    let alone = !shared || !names_region(api) || is_otc(&region);
    Watched {
        name: format!("{}-{n}", api.facts.name),
        api,
        region,
        account: if alone { format!("account-{n}") } else { "shared".to_owned() },
        format: if api.facts.cloud == Cloud::Alibaba && rng.bool() {
            Format::Xml
        } else {
            Format::Json
        },
        resources,
        takes_all: rng.bool(),
        interval,
        idle_interval: interval * rng.i64(1..=3),
        lookback: if rng.bool() { HOUR } else { rng.i64(1..=24) * HOUR },
        stale_after: (3 * interval).max(15 * MINUTE),
        finished: rng.i64(1..=3) * HOUR,
        failed: rng.i64(1..=24) * HOUR,
        limit: if rng.u8(..6) == 0 { rng.usize(1..12) } else { 500 },
        daily_budget,
        quota,
        proof,
        stands_in: None,
    }
}

/// What the judge would be wrong about: `OceanBase`, Tencent's DTS and `TcaplusDB` have few kinds and words; its SQL
/// Server is not asked at each poll where nothing runs; `KeeWiDB` shows a task that began long ago to the
/// first poll alone; rows of DCS and GES do not name the id of an instance.
const NOT_DRAWN: &[&str] = &[
    "alibaba_oceanbase",
    "huawei_dcs",
    "huawei_ges",
    "tencent_dts_migration",
    "tencent_dts_sync",
    "tencent_keewidb",
    "tencent_sqlserver",
    "tencent_tcaplusdb",
];

/// Whether there is a list of tasks, of the region or of a resource.
fn has_list(api: &TaskApi) -> bool {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    let scope = Scope { now, since: now, resources: &[], tags: &[] };
    api.discovers() || !api.list(&scope).is_empty()
}

/// An id that `api` can be asked for, if it can be for any.
fn id_of(api: &TaskApi, number: usize) -> String {
    let spellings = ["", "t-", "dts-", "sync-"].map(|prefix| format!("{prefix}{number}"));
    let fits = |id: &String| api.facts.ids.is_none_or(|rule| (rule.fits)(id));
    spellings.into_iter().find(fits).unwrap_or_else(|| number.to_string())
}

/// Whether every request for a list names the region. Only Alibaba's can leave it out.
fn names_region(api: &TaskApi) -> bool {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    let resources = [Arc::new(Resource::new("any"))];
    let queries = api.list(&Scope { now, since: now, resources: &resources, tags: &[] });
    let names =
        |query: &Query| query.parameters.iter().any(|(_, value)| *value == Parameter::Region);
    api.facts.cloud != Cloud::Alibaba || queries.iter().all(names)
}

/// Whether it is asked for tasks by their status alone, so that a word nobody knows is never seen.
fn asks_by_word(api: &TaskApi) -> bool {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    let resources = [Arc::new(Resource::new("any"))];
    let queries = api.list(&Scope { now, since: now, resources: &resources, tags: &[] });
    queries.iter().all(|query| query.parameters.iter().any(|(name, _)| name == "Status"))
}

/// What a task goes through. `plain` lives end once and never vanish and come back.
fn life(source: &Watched, plain: bool, days: i64, rng: &mut Rng) -> Vec<Phase> {
    let mut life = Vec::new();
    if source.has(TaskState::Pending) && rng.u8(..3) == 0 {
        life.push(Phase::Wait(stay(rng.i64(MINUTE..HOUR))));
    }
    life.push(work(rng));
    match rng.u8(..20) {
        0..2 if source.has(TaskState::Paused) => {
            life.push(Phase::Pause(stay(rng.i64(5 * MINUTE..3 * HOUR))));
            life.push(work(rng));
        }
        2 => life.push(Phase::Hang(stay(rng.i64(HOUR..8 * HOUR)))),
        3..5 if !plain && !asks_by_word(source.api) => {
            let word = Some("Pondering".to_owned());
            life.push(Phase::Say(Stay { r#for: Some(span(rng.i64(5 * MINUTE..HOUR))), word }));
            life.push(work(rng));
        }
        5 if !plain => {
            life.push(Phase::Vanish(Gone { r#for: Some(span(rng.i64(5 * MINUTE..3 * HOUR))) }));
            life.push(work(rng));
        }
        6 if days > 1 => life.push(Phase::Hang(stay(rng.i64(2 * DAY..35 * DAY)))),
        _ => {}
    }
    if !plain && rng.u8(..6) == 0 {
        // The same id once more.
        life.push(ending(source, Some(rng.i64(10 * MINUTE..6 * HOUR)), rng));
        life.push(work(rng));
    }
    match rng.u8(..20) {
        0 => life.push(Phase::Hang(Stay::default())),
        1 => life.push(Phase::Vanish(Gone::default())),
        2..4 if !plain => {
            life.push(ending(source, Some(rng.i64(HOUR..12 * HOUR)), rng));
            life.push(Phase::Vanish(Gone::default()));
        }
        _ => life.push(ending(source, None, rng)),
    }
    life
}

fn work(rng: &mut Rng) -> Phase {
    let lasts = match rng.u8(..10) {
        0 => rng.i64(5..60),
        1..4 => rng.i64(MINUTE..15 * MINUTE),
        4..9 => rng.i64(15 * MINUTE..2 * HOUR),
        _ => rng.i64(2 * HOUR..10 * HOUR),
    };
    Phase::Run(Run { r#for: Some(span(lasts)), word: None, to: 1.0, curve: Curve::default() })
}

/// The end of a task that lasts so long.
fn end(lasts: Option<i64>) -> End {
    End {
        r#for: lasts.map(span),
        word: None,
        code: "7".to_owned(),
        message: MESSAGE.to_owned(),
        end_known_after: None,
    }
}

fn ending(source: &Watched, lasts: Option<i64>, rng: &mut Rng) -> Phase {
    let late = rng.u8(..5) == 0;
    let end = End { end_known_after: late.then(|| span(rng.i64(10..40 * MINUTE))), ..end(lasts) };
    match rng.u8(..10) {
        0..3 => Phase::Finish(end),
        3..4 if source.has(TaskState::Canceled) => Phase::Cancel(end),
        _ => Phase::Fail(end),
    }
}

pub(crate) fn lasts(phase: &Phase) -> Option<i64> {
    match phase {
        Phase::Wait(stay) | Phase::Hang(stay) | Phase::Pause(stay) | Phase::Say(stay) => stay.r#for,
        Phase::Run(run) => run.r#for,
        Phase::Finish(end) | Phase::Fail(end) | Phase::Cancel(end) => end.r#for,
        Phase::Vanish(gone) => gone.r#for,
    }
    .map(Span::seconds)
}

fn stay(seconds: i64) -> Stay {
    Stay { r#for: Some(span(seconds)), word: None }
}

fn span(seconds: i64) -> Span {
    Span(std::time::Duration::from_secs(seconds.unsigned_abs()))
}

/// `2d 03:04:05` after the start.
pub(crate) fn clock(second: i64) -> String {
    let sign = if second < 0 { "-" } else { "" };
    let second = second.abs();
    let (days, rest) = (second / DAY, second % DAY);
    let text = format!("{:02}:{:02}:{:02}", rest / HOUR, rest / MINUTE % 60, rest % 60);
    if days == 0 { format!("{sign}{text}") } else { format!("{sign}{days}d {text}") }
}

impl World {
    /// The world in lines, in the order of time.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        if !self.has_journal {
            lines.push("no journal".to_owned());
        }
        let mut events: Vec<(i64, String)> =
            self.events.iter().map(|event| (event.at(), self.line(event))).collect();
        events.sort();
        lines.extend(events.into_iter().map(|(at, text)| format!("{:>12}  {text}", clock(at))));
        lines.push(format!("{:>12}  end", clock(self.length)));
        lines
    }

    fn line(&self, event: &Event) -> String {
        let name = |n: usize| &self.sources[n].name;
        match event {
            Event::Task(n, task) => {
                let life: Vec<String> = task.life.iter().map(phase).collect();
                let configured = if task.configured { ", configured" } else { "" };
                let (id, kind, on) = (&task.id, &task.kind, &task.resource);
                format!("{}: task {id} {kind:?} on {on}{configured}: {}", name(*n), life.join(", "))
            }
            Event::Register(Registration { source, id, forgotten, .. }) => {
                let forgotten = forgotten.map(|at| format!(", and forgotten at {}", clock(at)));
                format!(
                    "{}: task {id} is registered{}",
                    name(*source),
                    forgotten.unwrap_or_default()
                )
            }
            Event::Fault(n, fault) => {
                let lasts = fault.r#for.map_or("ever".to_owned(), |lasts| lasts.to_string());
                let operation = fault.operation.as_deref().unwrap_or("any operation");
                let (kind, share) = (fault.kind, fault.share * 100.0);
                let only = fault.only.as_ref().map(|it| format!(" that names {it}"));
                let operation = format!("{operation}{}", only.unwrap_or_default());
                let more = match kind {
                    FaultKind::SkewedClock => format!(" of {} s", fault.offset.0),
                    FaultKind::Slow | FaultKind::Lagging => format!(" by {}", fault.delay),
                    FaultKind::ServerError | FaultKind::Html => format!(" {}", fault.status),
                    _ => String::new(),
                };
                format!("{}: {kind}{more} for {lasts}, {share:.0} % of {operation}", name(*n))
            }
            Event::Scraper(Scraper { client, until, every, .. }) => {
                format!("scraper {client} comes every {every} s until {}", clock(*until))
            }
            Event::Disk(DiskTrouble { lasts, .. }) => {
                format!("the journal cannot be written for {}", clock(*lasts))
            }
            Event::Down(Down { lasts, how, change, .. }) => {
                let change = change.map(|change| format!(", {}", self.told(change)));
                let change = change.unwrap_or_default();
                format!("the process ends ({how:?}) and is back after {lasts} s{change}")
            }
            Event::Reload(Reload { change: Some(change), .. }) => {
                format!("reload: {}", self.told(*change))
            }
            Event::Reload(Reload { change: None, .. }) => "reload: broken".to_owned(),
            Event::WrongKey(WrongKey { source, lasts, .. }) => {
                format!("{}: the key in the file is wrong for {}", name(*source), clock(*lasts))
            }
            Event::Leap(Leap { lasts, by, .. }) => {
                format!("our clock is {} ahead for {}", clock(*by), clock(*lasts))
            }
        }
    }
}

impl World {
    fn told(&self, change: Change) -> String {
        let name = |n: usize| &self.sources[n].name;
        match change {
            Change::Interval(n, interval) => format!("{} is polled every {interval} s", name(n)),
            Change::Toggle(n) => format!("{} is taken out or put in", name(n)),
            Change::Narrow(n) => format!("{} has one resource or all", name(n)),
            Change::Move(n) => format!("{} polls another account", name(n)),
        }
    }
}

impl Event {
    pub(crate) fn at(&self) -> i64 {
        match self {
            Self::Task(_, task) => task.at.0,
            Self::Register(registration) => registration.at,
            Self::Fault(_, fault) => fault.from.seconds(),
            Self::Scraper(scraper) => scraper.from,
            Self::Disk(trouble) => trouble.at,
            Self::Down(down) => down.at,
            Self::Reload(reload) => reload.at,
            Self::Leap(leap) => leap.at,
            Self::WrongKey(wrong) => wrong.at,
        }
    }
}

fn phase(phase: &Phase) -> String {
    let (word, end) = match phase {
        Phase::Wait(_) => ("wait", None),
        Phase::Run(_) => ("run", None),
        Phase::Hang(_) => ("hang", None),
        Phase::Pause(_) => ("pause", None),
        Phase::Say(_) => ("say an unknown word", None),
        Phase::Vanish(_) => ("vanish", None),
        Phase::Finish(end) => ("finish", Some(end)),
        Phase::Fail(end) => ("fail", Some(end)),
        Phase::Cancel(end) => ("cancel", Some(end)),
    };
    let late = end.and_then(|end| end.end_known_after);
    let late = late.map_or(String::new(), |late| format!(" (end known after {late})"));
    match lasts(phase) {
        Some(lasts) => format!("{word}{late} for {}", clock(lasts)),
        None => format!("{word}{late}"),
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "source {} in {} of {}: {} resources{}, interval {} s, idle {} s, lookback {} h, \
             stale after {} s, retention {} h and {} h, {} tasks shown, {:?}, {:?}{}{}",
            self.name,
            self.region,
            self.account,
            self.resources.len(),
            if self.takes_all { ", none configured" } else { "" },
            self.interval,
            self.idle_interval,
            self.lookback / HOUR,
            self.stale_after,
            self.finished / HOUR,
            self.failed / HOUR,
            self.limit,
            self.format,
            self.proof,
            self.daily_budget.map_or(String::new(), |calls| format!(", {calls} calls a day")),
            self.quota.map_or(String::new(), |calls| format!(", {calls} calls a minute")),
        )
    }
}
