//! Lives: what a scripted task looks like at a given instant. Pure: the script and the time decide.
//!
//! All times in here are whole seconds since the start of the simulation, negative before it.

use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Detail, TaskApi};
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use fastrand::Rng;

use super::hash::hash;
use super::scenario::{
    Curve, End, Outcome, Phase, ResourceScript, Run, SourceScript, Spawn, StepScript,
};

/// A task that the simulated cloud has let fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The source's name.
    pub source: String,
    /// The vendor's id.
    pub task_id: Arc<str>,
    /// The vendor's word for the sort of operation.
    pub kind: Arc<str>,
    /// When it failed.
    pub at: Timestamp,
    /// The vendor's code and text.
    pub error: TaskError,
}

/// The lives of one source's tasks, from before the start until for ever.
#[derive(Debug)]
pub(super) struct Lives {
    api: &'static TaskApi,
    script: SourceScript,
    /// All that exist at some time.
    resources: Vec<(ResourceScript, Arc<Resource>)>,
    start: Timestamp,
    seed: u64,
}

/// One life, with all that is left to chance decided.
struct Life<'a> {
    id: Arc<str>,
    kind: &'a str,
    resource: Arc<Resource>,
    phases: &'a [Phase],
    steps: &'a [StepScript],
    born: i64,
    /// How long it is remembered.
    keep: i64,
    /// Every time in it is multiplied by this.
    scale: f64,
}

/// What a life has come to by a certain time.
#[derive(Clone, Copy, Default)]
struct Course {
    created: i64,
    started: Option<i64>,
    ended: Option<i64>,
    /// When the vendor fills in the end.
    end_known: i64,
    progress: f64,
}

impl Lives {
    pub(super) fn new(
        api: &'static TaskApi,
        script: SourceScript,
        start: Timestamp,
        seed: u64,
    ) -> Self {
        let resources = script
            .resources
            .iter()
            .flat_map(|script| script.all().map(move |named| (script, named)))
            .map(|(script, (id, name))| {
                let resource = Resource { id: id.into(), name: name.map(Into::into) };
                (script.clone(), Arc::new(resource))
            })
            .collect();
        Self { api, script, resources, start, seed }
    }

    pub(super) fn script(&self) -> &SourceScript {
        &self.script
    }

    /// Every resource that exists at `now`.
    pub(super) fn resources(&self, now: Timestamp) -> Vec<Arc<Resource>> {
        let elapsed = now.as_second().saturating_sub(self.start.as_second());
        let existing = self.resources.iter().filter(|(script, _)| script.exists(elapsed));
        existing.map(|(_, resource)| Arc::clone(resource)).collect()
    }

    /// Every task that exists at `now`, newest first.
    pub(super) fn tasks(&self, now: Timestamp) -> Vec<Task> {
        let elapsed = now.as_second().saturating_sub(self.start.as_second());
        let mut tasks: Vec<Task> = self
            .told()
            .chain(self.spawned(elapsed, false))
            .filter_map(|life| life.at(self, elapsed))
            .collect();
        tasks.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
        tasks
    }

    /// Every failure up to `now`, oldest first, whether the task still exists or not.
    pub(super) fn failures(&self, now: Timestamp) -> Vec<Failure> {
        let elapsed = now.as_second().saturating_sub(self.start.as_second());
        let mut failures: Vec<Failure> = self
            .told()
            .chain(self.spawned(elapsed, true))
            .flat_map(|life| life.failures(self, elapsed))
            .collect();
        failures.sort_by_key(|failure| failure.at);
        failures
    }

    fn told(&self) -> impl Iterator<Item = Life<'_>> {
        self.script.tasks.iter().map(|task| Life {
            id: task.id.as_str().into(),
            kind: &task.kind,
            resource: self.resource(&task.resource),
            phases: &task.life,
            steps: &task.steps,
            born: task.at.0,
            keep: task.keep.seconds(),
            scale: 1.0,
        })
    }

    /// The tasks that the rules have given birth to; without `all` not those that must have been
    /// forgotten.
    fn spawned(&self, elapsed: i64, all: bool) -> impl Iterator<Item = Life<'_>> {
        let rules = self.script.spawn.iter().enumerate();
        rules.flat_map(move |(index, rule)| {
            let (from, every) = (rule.from.0, rule.every.seconds().max(1));
            let last = rule.until.map_or(elapsed, |until| elapsed.min(until.0.saturating_sub(1)));
            let keep = if all { i64::MAX } else { rule.keep.seconds() };
            let oldest = elapsed.saturating_sub(keep).saturating_sub(longest(rule));
            let births = oldest.saturating_sub(from).div_euclid(every).max(0)
                ..=last.saturating_sub(from).div_euclid(every);
            births.filter_map(move |n| self.born(index, rule, from + n * every))
        })
    }

    /// The task that rule `index` gives birth to at `born`.
    fn born<'a>(&'a self, index: usize, rule: &'a Spawn, born: i64) -> Option<Life<'a>> {
        let number = (self.start.as_second() + born) * 100 + i64::try_from(index).unwrap_or(99);
        let chance = format!("{}/{number}", self.script.name);
        let mut rng = Rng::with_seed(self.seed ^ hash(chance.as_bytes()));
        let outcome = draw(&rule.outcomes, &mut rng)?;
        let resource = if rule.resources.is_empty() {
            self.resources.get(rng.usize(..self.resources.len().max(1)))?.1.clone()
        } else {
            self.resource(rule.resources.get(rng.usize(..rule.resources.len()))?)
        };
        let kind = rule.kinds.get(rng.usize(..rule.kinds.len().max(1))).map_or("", String::as_str);
        let scale = 1.0 + rule.vary * (2.0 * rng.f64() - 1.0);
        let id = match self.api.facts.cloud {
            Cloud::Huawei => uuid(number, rng.u64(..)).into(),
            Cloud::Alibaba | Cloud::Tencent => format!("{}{number}", rule.prefix).into(),
        };
        let (phases, steps) = (outcome.life.as_slice(), outcome.steps.as_slice());
        let keep = rule.keep.seconds();
        Some(Life { id, kind, resource, phases, steps, born, keep, scale })
    }

    fn resource(&self, id: &str) -> Arc<Resource> {
        let found = self.resources.iter().find(|(_, resource)| *resource.id == *id);
        found.map(|(_, resource)| Arc::clone(resource)).unwrap_or_default()
    }

    /// The instant `second` of the simulation.
    fn instant(&self, second: i64) -> Option<Timestamp> {
        Timestamp::from_second(self.start.as_second().saturating_add(second))
    }
}

impl<'a> Life<'a> {
    /// Every phase with its beginning and its end.
    fn phases(&self) -> impl Iterator<Item = (&'a Phase, i64, Option<i64>)> + use<'a> {
        let scale = self.scale;
        self.phases.iter().scan(Some(self.born), move |next, phase| {
            let begin = (*next)?;
            *next = phase.lasts().map(|span| begin.saturating_add(scaled(span.seconds(), scale)));
            Some((phase, begin, *next))
        })
    }

    /// The task at `elapsed`; `None` where there is none.
    fn at(&self, lives: &Lives, elapsed: i64) -> Option<Task> {
        let mut course = Course { created: self.born, ..Course::default() };
        for (phase, begin, end) in self.phases() {
            if elapsed < begin {
                return None;
            }
            course.enter(phase, begin);
            if end.is_none_or(|end| elapsed < end) {
                if end.is_none() && elapsed.saturating_sub(begin) > self.keep {
                    phase.state().filter(|state| !state.is_final())?;
                }
                course.progress = advance(phase, course.progress, begin, end, elapsed);
                let task = self.show(lives, phase, course, elapsed)?;
                // It waits for a time of its own.
                let is_planned =
                    task.state == TaskState::Pending && lives.api.facts.shows(Detail::Scheduled);
                let scheduled = end.filter(|_| is_planned).and_then(|end| lives.instant(end));
                return Some(Task { scheduled, ..task });
            }
            course.progress = advance(phase, course.progress, begin, end, end.unwrap_or(begin));
        }
        None
    }

    fn show(&self, lives: &Lives, phase: &'a Phase, course: Course, elapsed: i64) -> Option<Task> {
        let state = phase.state()?;
        let remaining = match state {
            TaskState::Running | TaskState::Paused => self.remaining(elapsed),
            TaskState::Pending
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Canceled
            | TaskState::Unknown => None,
        };
        let mut task = Task::new(self.id.clone(), state, phase.word(lives.api).unwrap_or_default());
        task.kind = self.kind.into();
        task.resource = self.resource.clone();
        task.progress = Ratio::clamped(course.progress);
        task.remaining = remaining;
        task.created = lives.instant(course.created);
        task.started = course.started.and_then(|second| lives.instant(second));
        task.ended = course
            .ended
            .filter(|_| state.is_final() && course.end_known <= elapsed)
            .and_then(|second| lives.instant(second));
        task.steps = self.steps(course.progress, remaining);
        if let Phase::Fail(end) = phase {
            task.error = Some(Box::new(error(end)));
        }
        Some(task)
    }

    /// The time until it ends; `None` if something comes first that never does.
    fn remaining(&self, elapsed: i64) -> Option<Duration> {
        for (phase, begin, end) in self.phases() {
            if end.is_some_and(|end| end <= elapsed) {
                continue;
            }
            match phase {
                Phase::Finish(_) | Phase::Fail(_) | Phase::Cancel(_) => {
                    return u64::try_from(begin.saturating_sub(elapsed))
                        .ok()
                        .map(Duration::from_secs);
                }
                Phase::Hang(_) | Phase::Vanish(_) => return None,
                Phase::Wait(_) | Phase::Run(_) | Phase::Pause(_) | Phase::Say(_) => {}
            }
        }
        None
    }

    /// The steps, one after the other, of a task that is at `progress`.
    fn steps(&self, progress: f64, remaining: Option<Duration>) -> Box<[Step]> {
        let whole: f64 = self.steps.iter().map(|step| f64::from(step.share)).sum();
        let left = (1.0 - progress).max(f64::EPSILON);
        let mut before = 0.0;
        let step = |step: &StepScript| {
            let share = f64::from(step.share) / whole;
            let done = hundredths(((progress - before) / share).clamp(0.0, 1.0));
            before += share;
            let part = share * (1.0 - done) / left;
            Step {
                name: step.name.as_str().into(),
                state: None,
                progress: Ratio::clamped(done),
                remaining: remaining.map(|whole| {
                    Duration::from_secs(whole.mul_f64(part.clamp(0.0, 1.0)).as_secs())
                }),
            }
        };
        self.steps.iter().map(step).collect()
    }

    fn failures(&self, lives: &Lives, elapsed: i64) -> Vec<Failure> {
        let failed = |(phase, begin, _): (&Phase, i64, Option<i64>)| {
            let Phase::Fail(end) = phase else { return None };
            let at = lives.instant(begin).filter(|_| begin <= elapsed)?;
            Some(Failure {
                source: lives.script.name.clone(),
                task_id: self.id.clone(),
                kind: self.kind.into(),
                at,
                error: error(end),
            })
        };
        self.phases().filter_map(failed).collect()
    }
}

impl Course {
    /// A phase begins. After an end, whatever is no end is a new run.
    fn enter(&mut self, phase: &Phase, begin: i64) {
        let Some(state) = phase.state() else { return };
        if state.is_final() {
            self.ended = Some(begin);
            self.end_known = begin.saturating_add(phase.end_known_after().seconds());
            self.started.get_or_insert(begin);
        } else {
            if self.ended.is_some() {
                *self = Self { created: begin, ..Self::default() };
            }
            if state != TaskState::Pending {
                self.started.get_or_insert(begin);
            }
        }
    }
}

/// The progress at `now` in a phase that was entered with `progress`.
fn advance(phase: &Phase, progress: f64, begin: i64, end: Option<i64>, now: i64) -> f64 {
    match (phase, end) {
        (Phase::Run(Run { to, curve, .. }), Some(end)) => {
            let passed = seconds(now.saturating_sub(begin)) / seconds(end.saturating_sub(begin));
            hundredths(progress + (to - progress) * curve.at(passed.clamp(0.0, 1.0)))
        }
        (Phase::Finish(_), _) => 1.0,
        _ => progress,
    }
}

impl Curve {
    /// The share of the progress that is made after the share `x` of the time.
    fn at(self, x: f64) -> f64 {
        match self {
            Self::Even => x,
            Self::Uneven => {
                const BENDS: [(f64, f64); 7] = [
                    (0.0, 0.0),
                    (0.1, 0.02),
                    (0.25, 0.3),
                    (0.5, 0.34),
                    (0.6, 0.7),
                    (0.9, 0.74),
                    (1.0, 1.0),
                ];
                let mut bends = BENDS.iter().zip(BENDS.iter().skip(1));
                bends
                    .rfind(|((from, _), _)| x >= *from)
                    .map_or(x, |((x0, y0), (x1, y1))| y0 + (y1 - y0) * (x - x0) / (x1 - x0))
            }
            Self::SlowStart => x.powi(3),
            Self::SlowEnd => 1.0 - (1.0 - x).powi(3),
            Self::Stairs => (x * 4.0).floor() / 4.0,
        }
    }
}

fn error(end: &End) -> TaskError {
    TaskError { code: end.code.as_str().into(), message: end.message.as_str().into() }
}

fn draw<'a>(outcomes: &'a [Outcome], rng: &mut Rng) -> Option<&'a Outcome> {
    let whole: u32 = outcomes.iter().map(|outcome| outcome.weight).sum();
    let mut ticket = rng.u32(..whole.max(1));
    outcomes.iter().find(|outcome| {
        let won = ticket < outcome.weight;
        ticket = ticket.saturating_sub(outcome.weight);
        won
    })
}

/// The longest that a task of this rule can take until its last phase, in seconds.
fn longest(rule: &Spawn) -> i64 {
    let length = |outcome: &Outcome| -> i64 {
        outcome
            .life
            .iter()
            .filter_map(Phase::lasts)
            .map(|span| scaled(span.seconds(), 1.0 + rule.vary))
            .sum()
    };
    rule.outcomes.iter().map(length).max().unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no life is that long")]
fn scaled(length: i64, scale: f64) -> i64 {
    ((seconds(length) * scale).round() as i64).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next million years")]
fn seconds(count: i64) -> f64 {
    count as f64
}

/// In whole percent, as most vendors report.
fn hundredths(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

/// An id in the shape of Huawei's, unique by `number`.
fn uuid(number: i64, chance: u64) -> String {
    let number = number.cast_unsigned();
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        number & 0xffff_ffff,
        (number >> 32) & 0xffff,
        chance & 0xfff,
        (chance >> 12) & 0xfff,
        chance >> 16
    )
}
