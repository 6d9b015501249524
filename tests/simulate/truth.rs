//! What really happens to the tasks of a world, and which ends the exporter must have counted.
//!
//! The rule is exact: an end **must** be counted once a poll that went well from beginning to end
//! lay within the time in which the cloud showed it, and what the API is asked by then includes it.
//! It **may** be counted if it happened while the source was watched. Whatever may be counted and
//! need not be is one of these, each computed from the script:
//!
//! - no good poll lay within the time in which it could be seen (outages, short lives);
//! - the task started before the window of the list that was asked for, and was never seen
//!   unfinished, because nothing was remembered by then (a first start);
//! - the end of a second run was seen with no sign of the second run but itself (no unfinished
//!   sighting, and the API gives no start, or an end time was not filled in);
//! - the answers about it were odd, which fails no poll: it was left out, said not to exist, refused,
//!   or shown as it had been; and an hour afterwards, where it has to be asked for by its id;
//! - it was seen first without an end time, before the source had been read to its end;
//! - it ended within half a minute of the start, and the cloud's clock is another than ours.

use dbtask_clouds::api::Detail;
use dbtask_clouds::model::TaskState;
use dbtask_simulator::{Fault, FaultKind, Phase, Span, TaskScript};

use crate::world::{Event, HOUR, MINUTE, Watched, World, lasts};

/// The longest that an id that has led to no task is not asked for again.
pub(crate) const UNKNOWN_ID_PAUSE: i64 = 301;
/// The longest that what could not be had is not tried again.
const TRIED_AGAIN: i64 = 16 * MINUTE;
/// The longest that a task is not asked for again that was said not to exist.
const ASKED_AGAIN: i64 = 65 * MINUTE;
/// A task that is not to be seen for longer may be given up.
const GIVEN_UP: i64 = 45 * MINUTE;
/// How far before the last good poll lists are asked for.
const OVERLAP: i64 = 600;
/// Vendors' lists reach back thirty days; what is near the edge may be seen or not.
const WINDOW: i64 = 30 * 24 * HOUR - HOUR;

/// A task from birth to the end of the world.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) source: usize,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) resource: String,
    /// Found by its id alone.
    pub(crate) by_id: bool,
    /// Since when it is asked for, in seconds; `None` while nobody has asked for that.
    pub(crate) watched: Option<i64>,
    /// When the answers about it are not what they should be, and until when that may matter to
    /// who has to ask for it by its id; in seconds.
    veils: Vec<Veil>,
    /// The same for asking for it by its id alone.
    troubles: Vec<Veil>,
    /// The last good poll that was told of its resource, in milliseconds.
    heard: Option<i64>,
    /// The job that a cluster carries, shown under an id that is made.
    pub(crate) is_job: bool,
    pub(crate) stages: Vec<Stage>,
    pub(crate) ends: Vec<Ended>,
}

/// A time in which an answer may not be what it should.
#[derive(Clone, Copy, Debug)]
struct Veil {
    from: i64,
    until: i64,
    /// When it may be asked for again by its id.
    asked: i64,
    /// Whether nothing at all is said meanwhile of what it is about, and that is known.
    refused: bool,
}

/// Part of a life, in seconds; the end is the first that is not part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// `None` while it is not to be seen.
    pub(crate) state: Option<TaskState>,
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// When the present run was asked for.
    pub(crate) created: i64,
    pub(crate) started: Option<i64>,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) state: TaskState,
    pub(crate) at: i64,
    /// How long it can be seen.
    until: i64,
    /// When its time is filled in.
    known_at: i64,
    created: i64,
    started: i64,
    /// When the run could be seen unfinished.
    unfinished: Vec<(i64, i64)>,
    /// The run was not to be seen for a while before it ended.
    vanished: bool,
    is_first: bool,
    seen: Seen,
}

/// What good polls must have seen of a run, as far as the exporter remembers.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    unfinished: bool,
    ended: bool,
    known_end: bool,
    /// Since when the end must be counted, in milliseconds.
    counted: Option<i64>,
}

/// A poll that went well, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    pub(crate) begun: i64,
    pub(crate) ended: i64,
}

/// What the exporter can know of a source when a poll ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// In seconds: since when it is watched, at the latest.
    pub(crate) since: i64,
    /// When the source had first been read to its end, in milliseconds.
    pub(crate) baseline: Option<i64>,
    pub(crate) lookback: i64,
    pub(crate) skew: i64,
    /// Whether what is asked for by its id has an end time.
    pub(crate) ends_are_told_by_id: bool,
}

impl Life {
    fn new(source: usize, watched: &Watched, script: &TaskScript) -> Self {
        let api = watched.api.facts.name;
        let has_start = watched.api.facts.shows(Detail::Started);
        let is_job = script.id.starts_with("job-");
        let by_id = watched.is_otc() || (api == "alibaba_adb" && !is_job);
        let watched = (!by_id || script.configured).then_some(i64::MIN);
        let mut stages: Vec<Stage> = Vec::new();
        let (mut from, mut created, mut started, mut over) =
            (script.at.0, script.at.0, None, false);
        for phase in &script.life {
            let state = state(phase);
            let until = lasts(phase).map_or(i64::MAX, |lasts| from + lasts);
            match state {
                Some(state) if state.is_final() => {
                    started.get_or_insert(from);
                    over = true;
                }
                Some(state) => {
                    if over {
                        (created, started, over) = (from, None, false);
                    }
                    if state != TaskState::Pending {
                        started.get_or_insert(from);
                    }
                }
                None => {}
            }
            stages.push(Stage { state, from, until, created, started });
            from = until;
        }
        let mut ends: Vec<Ended> = Vec::new();
        let keep = script.keep.seconds();
        let remembered = (keep - HOUR.min(keep / 10)).min(if by_id { i64::MAX } else { WINDOW });
        for ((stage, phase), index) in stages.iter().zip(&script.life).zip(0..) {
            let Some(state) = stage.state.filter(|state| state.is_final()) else { continue };
            let late = match phase {
                Phase::Finish(end) | Phase::Fail(end) | Phase::Cancel(end) => end.end_known_after,
                _ => None,
            };
            let run = stages[..index]
                .iter()
                .rev()
                .take_while(|before| before.state.is_none_or(|state| !state.is_final()));
            let run: Vec<&Stage> = run.collect();
            let shown = |before: &&&Stage| match before.state {
                // A word that nobody knows is no proof of a run; a job without a start has no id.
                Some(TaskState::Pending) => !is_job,
                Some(TaskState::Running | TaskState::Paused) => true,
                _ => false,
            };
            ends.push(Ended {
                state,
                at: stage.from,
                until: stage.until.min(stage.from + remembered),
                known_at: stage.from + late.map_or(0, Span::seconds),
                created: stage.created,
                started: if has_start {
                    stage.started.unwrap_or(stage.from)
                } else {
                    stage.created
                },
                unfinished: run.iter().filter(shown).map(|it| (it.from, it.until)).collect(),
                vanished: run.iter().any(|it| it.state.is_none() && it.until - it.from > GIVEN_UP),
                is_first: ends.is_empty(),
                seen: Seen::default(),
            });
        }
        let (id, kind, resource) =
            (script.id.clone(), script.kind.clone(), script.resource.clone());
        let vanished = stages.iter().filter(|stage| stage.state.is_none());
        let veils = vanished.map(|it| Veil::new(it.from, it.until, ASKED_AGAIN)).collect();
        Self {
            source,
            id,
            kind,
            resource,
            by_id,
            watched,
            veils,
            troubles: Vec::new(),
            heard: None,
            is_job,
            stages,
            ends,
        }
    }

    /// Notes when what is said of it, or the answer to a question for its id, may be wrong.
    fn veil(&mut self, world: &World) {
        let source = &world.sources[self.source];
        for event in &world.events {
            match event {
                Event::Fault(n, fault) if *n == self.source => self.veil_by(fault, source),
                Event::Leap(leap) => {
                    self.veils.push(Veil::new(leap.at, leap.at + leap.lasts, TRIED_AGAIN));
                }
                _ => {}
            }
        }
    }

    fn veil_by(&mut self, fault: &Fault, source: &Watched) {
        let from = fault.from.seconds();
        let until = fault.r#for.map_or(i64::MAX, |lasts| from.saturating_add(lasts.seconds()));
        let only = fault.only.as_ref();
        let concerns = only.is_none_or(|it| *it == self.resource || *it == self.id);
        let by_id = source.by_id_operation();
        match fault.kind {
            FaultKind::SkewedClock | FaultKind::WrongTotal | FaultKind::LostSession => {}
            FaultKind::Slow if !fault.is_too_slow() => {}
            FaultKind::Lagging => self.veils.push(Veil::new(from, until, 0)),
            FaultKind::MissingRows | FaultKind::ShortPages => {
                if fault.hides(&self.id) {
                    self.veils.push(Veil::new(from, until, ASKED_AGAIN));
                }
            }
            _ if !concerns => {}
            kind => {
                let odd = matches!(kind, FaultKind::Odd | FaultKind::NotFound) || only.is_some();
                let pause = if odd { ASKED_AGAIN } else { TRIED_AGAIN };
                if fault.operation.as_deref().is_none_or(|asked| Some(asked) == by_id) {
                    self.troubles.push(Veil::new(from, until, pause));
                }
                // What is refused is told of nothing, and the rest of the poll goes on; it does so
                // later where it was throttled.
                let parts = !source.named_resources(1).is_empty();
                if parts || only.is_some() || kind == FaultKind::Throttle {
                    let veil = Veil::new(from, until.saturating_add(TRIED_AGAIN), pause);
                    self.veils.push(Veil { refused: kind != FaultKind::NotFound, ..veil });
                }
            }
        }
    }

    /// Whether a good poll may have been told something wrong of it.
    pub(crate) fn is_veiled(&self, poll: Poll) -> bool {
        self.veils_of(poll).next().is_some()
    }

    fn veils_of(&self, poll: Poll) -> impl Iterator<Item = &Veil> {
        self.veils.iter().filter(move |veil| veil.meets(poll, veil.until))
    }

    /// Whether a good poll may have had no answer to the question for its id, or not have asked.
    pub(crate) fn may_be_unasked(&self, poll: Poll) -> bool {
        self.veils.iter().chain(&self.troubles).any(|veil| veil.meets(poll, veil.asked))
    }

    /// The stage at a second.
    pub(crate) fn stage(&self, second: i64) -> Option<&Stage> {
        self.stages.iter().find(|stage| (stage.from..stage.until).contains(&second))
    }

    /// Whether it is asked for by its id until further notice: it is configured, or registered and
    /// by `second` neither over nor gone, after which its registration is forgotten.
    pub(crate) fn is_asked(&self, second: i64) -> bool {
        let is_over = |stage: &Stage| stage.state.is_none_or(TaskState::is_final);
        self.watched == Some(i64::MIN)
            || !self.stages.iter().any(|stage| is_over(stage) && stage.from <= second)
    }

    /// Whether it has to be asked for by its id, and is there and unfinished, all the time.
    pub(crate) fn must_be_asked(&self, from: i64, until: i64) -> bool {
        let is_open = |stage: &Stage| stage.state.is_some_and(|state| !state.is_final());
        self.by_id
            && self.watched.is_some_and(|watched| watched <= from)
            && self.stages.first().is_some_and(|stage| stage.from <= from)
            && self
                .stages
                .iter()
                .filter(|stage| stage.from <= until && from < stage.until)
                .all(is_open)
    }

    /// Whether it was in `state` at some second of these.
    pub(crate) fn was(&self, state: TaskState, from: i64, until: i64) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.state == Some(state) && stage.from <= until && from <= stage.until)
    }

    /// A good poll has happened, with this task's resource watched.
    pub(crate) fn polled(&mut self, poll: Poll, known: &Known, has_start: bool) {
        let unasked = self.may_be_unasked(poll);
        let refused = self.veils_of(poll).any(|veil| veil.refused);
        let heard = if refused { self.heard } else { self.heard.replace(poll.ended) };
        let Some(watched) = self.watched.filter(|_| !self.is_veiled(poll)) else { return };
        if self.by_id && unasked {
            return;
        }
        let pause = if self.by_id { UNKNOWN_ID_PAUSE } else { 0 };
        let late = clock_edge(known.skew);
        let within = |from: i64, until: i64| {
            (from.max(watched.saturating_add(pause)) + 1 + late).saturating_mul(1000) <= poll.begun
                && poll.ended <= until.saturating_sub(1).saturating_mul(1000)
        };
        let begun = poll.begun / 1000;
        let asked_from = (begun - known.lookback)
            .min(heard.map_or(i64::MAX, |heard| heard / 1000 - OVERLAP))
            .max(begun - WINDOW);
        let mut before: Option<Seen> = None;
        for end in &mut self.ends {
            let recent = begun - end.created < WINDOW;
            if recent && end.unfinished.iter().any(|&(from, until)| within(from + pause, until)) {
                end.seen.unfinished = true;
            }
            if within(end.at, end.until) {
                let listed = !self.by_id && end.started - 2 >= asked_from;
                let known_end = poll.begun >= (end.known_at + 1) * 1000
                    && (listed || known.ends_are_told_by_id);
                let asked = if self.by_id {
                    end.seen.unfinished || within(end.at + pause, end.until)
                } else {
                    // Once it has been seen to end, nobody asks for it any more.
                    let asked = end.seen.unfinished && !end.vanished && !end.seen.ended && !unasked;
                    (asked && recent) || listed
                };
                end.seen.ended |= asked;
                let is_new = end.is_first
                    || end.seen.unfinished
                    || (has_start && known_end && before.is_some_and(|run| run.known_end));
                let read_before = known.baseline.is_some_and(|baseline| baseline <= end.at * 1000);
                let after_baseline = end.at > known.since + late + 1
                    && (end.seen.unfinished || read_before || end.known_at == end.at);
                if asked {
                    end.seen.known_end |= known_end;
                }
                if asked && is_new && after_baseline {
                    end.seen.counted.get_or_insert(poll.ended);
                }
            }
            before = Some(end.seen);
        }
    }

    /// A good poll has happened while nobody asked about this task's resource.
    pub(crate) fn ignored(&mut self, poll: Poll) {
        self.heard = Some(poll.ended);
        // What is out of sight for long is forgotten, and what follows is news only if it is listed.
        for end in &mut self.ends {
            end.seen.unfinished = false;
        }
    }

    /// The exporter has forgotten everything.
    pub(crate) fn forgotten(&mut self) {
        self.heard = None;
        for end in &mut self.ends {
            end.seen = Seen::default();
        }
    }
}

impl Ended {
    /// Whether it must be counted by `by`, in milliseconds.
    pub(crate) fn must(&self, by: i64) -> bool {
        self.seen.counted.is_some_and(|counted| counted <= by)
    }

    /// Whether it may be counted at `now`, both in seconds.
    pub(crate) fn may(&self, since: i64, skew: i64, now: i64) -> bool {
        let watched = self.at >= since - 1 - clock_edge(skew) || self.known_at >= since - 1;
        watched && self.at <= now
    }

    /// Whether a list of what began from `asked_from` on has it.
    pub(crate) fn is_listed(&self, asked_from: i64) -> bool {
        self.started >= asked_from
    }

    /// Whether the run is one that an exporter knows of at `second`, which lists what began from
    /// `asked_from` on.
    pub(crate) fn is_known(&self, asked_from: i64, second: i64) -> bool {
        self.is_first
            && (self.seen.unfinished || self.is_listed(asked_from))
            && (self.at..self.until).contains(&second)
            && !self.vanished
    }
}

impl Veil {
    fn new(from: i64, until: i64, pause: i64) -> Self {
        Self { from, until, asked: until.saturating_add(pause), refused: false }
    }

    fn meets(self, poll: Poll, until: i64) -> bool {
        self.from.saturating_mul(1000) <= poll.ended
            && poll.begun <= until.saturating_add(1).saturating_mul(1000)
    }
}

/// How exactly the times of a cloud are known, in seconds, whose clock is so far ahead: answers are
/// stamped in whole seconds, and may be long under way.
pub(crate) fn clock_edge(skew: i64) -> i64 {
    if skew == 0 { 0 } else { 30 }
}

/// The lives of all tasks of a world.
pub(crate) fn lives(world: &World) -> Vec<Life> {
    let mut lives: Vec<Life> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Task(n, script) => Some(Life::new(*n, &world.sources[*n], script)),
            Event::Register(_)
            | Event::Fault(..)
            | Event::Scraper(_)
            | Event::Disk(_)
            | Event::Down(_)
            | Event::Reload(_)
            | Event::Leap(_)
            | Event::WrongKey(_) => None,
        })
        .collect();
    for life in &mut lives {
        life.veil(world);
    }
    // A cluster carries its newest job only.
    let births: Vec<(usize, String, i64)> = lives
        .iter()
        .filter(|life| life.is_job)
        .map(|life| (life.source, life.resource.clone(), life.stages[0].from))
        .collect();
    for life in lives.iter_mut().filter(|life| life.is_job) {
        let born = life.stages[0].from;
        let others = births.iter().filter(|(source, resource, other)| {
            (*source, resource) == (life.source, &life.resource) && *other > born
        });
        let next = others.map(|&(.., other)| other).min().unwrap_or(i64::MAX);
        for end in &mut life.ends {
            end.until = end.until.min(next);
            for (_, until) in &mut end.unfinished {
                *until = (*until).min(next);
            }
        }
    }
    lives
}

fn state(phase: &Phase) -> Option<TaskState> {
    match phase {
        Phase::Wait(_) => Some(TaskState::Pending),
        Phase::Run(_) | Phase::Hang(_) => Some(TaskState::Running),
        Phase::Pause(_) => Some(TaskState::Paused),
        Phase::Say(_) => Some(TaskState::Unknown),
        Phase::Finish(_) => Some(TaskState::Succeeded),
        Phase::Fail(_) => Some(TaskState::Failed),
        Phase::Cancel(_) => Some(TaskState::Canceled),
        Phase::Vanish(_) => None,
    }
}
