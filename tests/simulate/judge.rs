//! The judge: sees every request, every snapshot and every scrape, and knows the truth. The first
//! broken promise ends the simulation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use dbtask_clouds::api::{Detail, Scope};
use dbtask_clouds::model::{Resource, TaskState, Timestamp};
use dbtask_clouds::refusal::RefusalKind;
use dbtask_exporter::snapshot::{Snapshot, Tracked};
use dbtask_exporter::storage::{Contents, Table};
use dbtask_simulator::{FaultKind, Span};

use crate::exposition::{self, Samples, escaped};
use crate::truth::{self, Known, Life, Poll};
use crate::world::{ASSUME_ROLE, DAY, Event, HOUR, MINUTE, Proof, World, clock};

/// Everything that is promised.
pub(crate) const RULES: &[&str] = &[
    "missed",
    "counted twice",
    "gap",
    "counter",
    "too early",
    "stale",
    "state",
    "missing",
    "twice",
    "settled",
    "retention",
    "two polls at once",
    "rate",
    "budget",
    "backoff",
    "guard",
    "down",
    "memory",
    "journal",
    "exposition",
    "late",
    "text",
    "future",
    "reason",
    "ready",
    "failing",
];

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    /// Milliseconds since the start.
    pub(crate) at: i64,
    pub(crate) text: String,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Good,
    Refused(RefusalKind),
    None,
}

/// How a source is watched, by its resources and its interval in seconds; `None` if it is not.
pub(crate) type Watched = Option<(Vec<String>, i64)>;

/// What was met on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) good_polls: u64,
    pub(crate) lives: u64,
    pub(crate) scrapes: u64,
    pub(crate) read: u64,
    pub(crate) failures: u64,
    /// Failures that had to be counted, and were.
    pub(crate) certain: u64,
    /// Requests that were hit, by the word of the fault.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.good_polls += other.good_polls;
        self.lives += other.lives;
        self.scrapes += other.scrapes;
        self.read += other.read;
        self.failures += other.failures;
        self.certain += other.certain;
        for (word, count) in &other.faults {
            *self.faults.entry(word).or_default() += count;
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} requests, {} good polls, {} lives, {} scrapes, {} expositions read, {} failures \
             ({} certain); requests hit by faults:",
            self.requests,
            self.good_polls,
            self.lives,
            self.scrapes,
            self.read,
            self.failures,
            self.certain
        )?;
        for (word, count) in &self.faults {
            write!(f, " {word} {count}")?;
        }
        Ok(())
    }
}

/// How long what is to be shown may wait: five minutes, and a second for every step on the way.
const SETTLED: i64 = 305_000;
/// How exactly it is known where a vendor's list begins: clocks differ, and lists are asked for a
/// little less than they would give.
const GAP_EDGE: i64 = 20 * 60 * 1000;
/// How long a scraper may be silent and still be waited for.
const PATIENCE: i64 = 300_000;
/// How long it may take until the journal is written again: nothing is written without a poll.
const WRITTEN_AGAIN: i64 = 2 * 3_600_000;
/// How long the words of the vendor may come after what they are about, in seconds.
const TEXTS: i64 = 10 * MINUTE;
/// How long it takes at most until every source has been tried once, in seconds.
const READY: i64 = 3 * MINUTE;
/// What an exporter says whose journal cannot be written.
pub(crate) const WRITE_FAILED: &str = "\ndbtask_exporter_journal_last_write_successful 0\n";

pub(crate) struct Judge {
    world: World,
    epoch: i64,
    pub(crate) lives: Vec<Life>,
    watches: Vec<Watch>,
    /// In milliseconds.
    now: i64,
    /// How far our clock is ahead, in seconds.
    ahead: i64,
    process: Process,
    rates: HashMap<(String, String), VecDeque<i64>>,
    keys: HashMap<String, Key>,
    /// Calls of each account on each day.
    spent: HashMap<(String, i64), u64>,
    /// The last value of each series that must never fall, across restarts.
    lasting: HashMap<String, f64>,
    scrapers: BTreeMap<u8, VecDeque<i64>>,
    /// Scrapes are read until then, in milliseconds.
    hot_until: i64,
    /// Sources of which nobody has seen what the last process showed at its end.
    unsure: BTreeSet<usize>,
    /// The part of the last exposition that counts tasks.
    counted: String,
    /// When the disk of the journal was last in trouble, in milliseconds.
    disk_broke: i64,
    /// When each end was first shown: by source, id and time.
    settled: HashMap<(usize, String, i64), Timestamp>,
    pub(crate) verdict: Option<Violation>,
    pub(crate) digest: u64,
    pub(crate) tally: Tally,
}

/// What is known of a source.
#[derive(Debug)]
struct Watch {
    /// In this life.
    present: bool,
    resources: Vec<String>,
    reach: Reach,
    interval: i64,
    /// In seconds: since when it is watched, at the earliest and at the latest.
    since: (i64, i64),
    tried: bool,
    last: Option<Poll>,
    baseline: Option<i64>,
    last_success: Option<Timestamp>,
    /// The last good answer, in milliseconds.
    answered: i64,
    in_flight: u32,
    /// Those of them that may be for the words of the vendor.
    texts_in_flight: u32,
    /// The longest poll, in seconds: what it sees is dated at its end.
    longest: i64,
    /// When requests last ended, and when polls have begun since the last good answer.
    quiet_since: i64,
    troubled: VecDeque<i64>,
    /// Gaps in what could be seen, and the polls that ended them: certain ones and likely ones.
    gaps: Vec<(i64, bool)>,
    /// Whether all trouble since then was of the sort that is backed off from.
    backs_off: bool,
    /// Since when it is watched as it is now, in milliseconds.
    configured: i64,
    /// The last poll called something a refusal that was none; when the next one was due then.
    called_refused: Option<Timestamp>,
    /// Since when another one has its name, in seconds.
    gone: Option<i64>,
    /// What goes wrong with it in this world.
    troubles: Vec<Trouble>,
    snapshot: Option<Arc<Snapshot>>,
}

/// A time in which something is wrong, in seconds.
#[derive(Clone, Debug)]
struct Trouble {
    /// What a cloud does; `None`: our clock is wrong.
    kind: Option<FaultKind>,
    from: i64,
    until: i64,
    /// The resource or the task that it is about, if it is about one alone.
    only: Option<String>,
    /// Whether it meets every question there is.
    whole: bool,
    /// Whether it is about sessions, and not about tasks.
    sessions: bool,
    /// Whether it is over as soon as somebody tries: another key is there.
    mended: bool,
    /// How old answers are.
    lag: i64,
}

/// What the configuration has named of a source. What it names later is not watched before.
#[derive(Debug, Default)]
struct Reach {
    /// Since when each of them is watched, at the latest, in seconds; `None`: since the source is.
    since: BTreeMap<String, Option<i64>>,
    /// Whether a good poll has written that down.
    is_noted: bool,
}

impl Reach {
    /// The configuration names these from a second on.
    fn name(&mut self, resources: &[String], second: i64) {
        let is_first = self.since.is_empty();
        for resource in resources {
            let since = self.since.entry(resource.clone());
            let since = since.or_insert((!is_first).then_some(second));
            if !self.is_noted {
                *since = since.map(|_| second);
            }
        }
        self.is_noted = false;
    }
}

impl Trouble {
    fn of(event: &Event) -> Option<Self> {
        let (kind, from, lasts) = match event {
            Event::Fault(_, fault) => {
                (Some(fault.kind), fault.from.seconds(), fault.r#for.map(Span::seconds))
            }
            Event::Leap(leap) => (None, leap.at, Some(leap.lasts)),
            Event::WrongKey(wrong) => (Some(FaultKind::Unauthorized), wrong.at, Some(wrong.lasts)),
            _ => return None,
        };
        let mut trouble = Self {
            kind,
            from,
            until: lasts.map_or(i64::MAX, |lasts| from.saturating_add(lasts)),
            only: None,
            whole: false,
            sessions: false,
            mended: matches!(event, Event::WrongKey(_)),
            lag: 0,
        };
        if let Event::Fault(_, fault) = event {
            trouble.only.clone_from(&fault.only);
            trouble.whole = fault.operation.is_none() && fault.share >= 1.0;
            trouble.sessions = fault.operation.as_deref() == Some(ASSUME_ROLE);
            if fault.kind == FaultKind::Lagging {
                trouble.lag = fault.delay.seconds();
            }
            if fault.kind == FaultKind::LostSession {
                // Another session is had at once.
                trouble.until = from;
            }
        }
        Some(trouble)
    }

    fn meets(&self, from: i64, until: i64, recovery: i64) -> bool {
        self.from <= until && from <= self.until.saturating_add(recovery)
    }

    /// How long it may take after it until polls are as they should be; `None` where they are all
    /// the time.
    fn recovery(&self) -> Option<i64> {
        match self.kind {
            Some(
                FaultKind::SkewedClock
                | FaultKind::Lagging
                | FaultKind::MissingRows
                | FaultKind::ShortPages
                | FaultKind::WrongTotal,
            ) => None,
            Some(FaultKind::LostSession) => Some(5 * MINUTE),
            // A list that is not there is asked for again after an hour.
            Some(FaultKind::MissingList) => Some(65 * MINUTE),
            Some(_) if self.mended => Some(2 * MINUTE),
            Some(_) if self.sessions => Some(12 * MINUTE),
            Some(_) | None => Some(32 * MINUTE),
        }
    }

    /// Whether keys, sessions or permissions are refused.
    fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            Some(
                FaultKind::Unauthorized
                    | FaultKind::ExpiredToken
                    | FaultKind::Forbidden
                    | FaultKind::LostSession
            )
        )
    }
}

/// One life of the process.
#[derive(Debug, Default)]
struct Process {
    up: bool,
    /// When the series of a source and a kind were born: ever, and in this process.
    born: BTreeMap<(usize, String), (i64, i64)>,
    /// What each counter must not fall below.
    counters: HashMap<String, f64>,
    /// What was shown when the last process ended.
    inherited: HashMap<String, f64>,
    was_read: bool,
}

#[derive(Debug, Default)]
struct Key {
    refusals: u32,
    last: i64,
}

impl Judge {
    pub(crate) fn new(world: &World, epoch: Timestamp) -> Self {
        let troubles = |account: &str| {
            let of_account = |event: &&Event| match event {
                Event::Fault(m, _) => world.sources[*m].account == account,
                Event::WrongKey(wrong) => world.sources[wrong.source].account == account,
                _ => true,
            };
            world.events.iter().filter(of_account).filter_map(Trouble::of).collect()
        };
        let watches = world.sources.iter().map(|source| Watch {
            present: false,
            resources: Vec::new(),
            reach: Reach::default(),
            interval: source.interval,
            since: (0, 0),
            tried: false,
            last: None,
            baseline: None,
            last_success: None,
            answered: 0,
            in_flight: 0,
            texts_in_flight: 0,
            longest: 0,
            quiet_since: i64::MIN / 2,
            troubled: VecDeque::new(),
            gaps: Vec::new(),
            backs_off: true,
            configured: 0,
            called_refused: None,
            gone: None,
            troubles: troubles(&source.account),
            snapshot: None,
        });
        Self {
            world: world.clone(),
            epoch: epoch.as_second(),
            lives: truth::lives(world),
            watches: watches.collect(),
            now: 0,
            ahead: 0,
            process: Process::default(),
            rates: HashMap::new(),
            keys: HashMap::new(),
            spent: HashMap::new(),
            lasting: HashMap::new(),
            scrapers: BTreeMap::new(),
            hot_until: 0,
            unsure: BTreeSet::new(),
            counted: String::new(),
            disk_broke: i64::MIN / 2,
            settled: HashMap::new(),
            verdict: None,
            digest: 0xcbf2_9ce4_8422_2325,
            tally: Tally::default(),
        }
    }

    /// What time it is, in milliseconds since the start.
    pub(crate) fn at(&mut self, now: i64) -> &mut Self {
        self.now = now;
        self
    }

    fn second(&self) -> i64 {
        self.now / 1000
    }

    /// What our clock shows, in seconds.
    fn shown_by_clock(&self) -> i64 {
        self.epoch + self.second() + self.ahead
    }

    /// Another key is in the file of a source's account.
    pub(crate) fn key_changed(&mut self, source: usize) {
        let planned = &self.world.sources[source];
        self.keys.remove(&format!("{}/{}", planned.api.facts.cloud, planned.account));
    }

    /// So many sources have not been tried.
    pub(crate) fn ready(&mut self, awaited: usize) {
        let second = self.second();
        let watches = self.watches.iter().filter(|watch| watch.present);
        let configured = watches.clone().map(|watch| watch.configured / 1000).max();
        let silent = |it: &Trouble| {
            matches!(it.kind, Some(FaultKind::Hang | FaultKind::Slow))
                && it.meets(second - READY, second, 0)
        };
        let is_slow = watches.flat_map(|watch| &watch.troubles).any(silent);
        if awaited > 0 && !is_slow && configured.is_some_and(|since| second - since > READY) {
            self.broken("ready", format!("{awaited} sources have not been tried for {READY} s"));
        }
    }

    /// Our clock is so far ahead from now on.
    pub(crate) fn leaps(&mut self, ahead: i64) {
        self.ahead = ahead;
    }

    /// Whether our clock is wrong, or was not so long ago, in seconds.
    fn is_adrift(&self, n: usize, recovery: i64) -> bool {
        let second = self.second();
        let mut troubles = self.watches[n].troubles.iter();
        troubles.any(|it| it.kind.is_none() && it.meets(second, second, recovery))
    }

    fn broken(&mut self, rule: &'static str, text: String) {
        debug_assert!(RULES.contains(&rule), "{rule}");
        if self.world.rule.is_some_and(|only| only != rule) {
            return;
        }
        self.verdict.get_or_insert(Violation { rule, at: self.now, text });
    }

    fn name(&self, source: usize) -> &str {
        self.world.name(source)
    }

    /// A source may take the place and the name of another one: its counters go on.
    fn moves(&mut self, n: usize) {
        let Some(old) = self.world.sources[n].stands_in.filter(|_| !self.watches[n].tried) else {
            return;
        };
        let now = self.now;
        let gone = &mut self.watches[old].gone;
        *gone = Some(gone.unwrap_or(now / 1000));
        self.watches[old].reach = Reach::default();
        // What an earlier process left is shown until an account answers.
        self.watches[n].answered = now;
        let kinds = self.process.born.iter().filter(|((of, _), _)| *of == old);
        let born: Vec<_> =
            kinds.map(|((_, kind), &(ever, _))| ((n, kind.clone()), (ever, now))).collect();
        self.process.born.extend(born);
    }

    fn note(&mut self, text: &[u8]) {
        for &byte in text {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    // The process.

    /// A process has been started that watches these: resources and interval of each source.
    pub(crate) fn started(&mut self, watched: &[Watched]) {
        self.tally.lives += 1;
        if !self.world.has_journal {
            self.sum_up();
        }
        let inherits = self.world.has_journal;
        let second = self.second();
        let born = std::mem::take(&mut self.process.born);
        let was_read = self.process.was_read;
        self.process = Process { up: true, ..Process::default() };
        if inherits {
            let reborn = born.into_iter().map(|(key, (ever, _))| (key, (ever, self.now)));
            self.process.born = reborn.collect();
            self.process.inherited = self.lasting.clone();
            if !was_read {
                self.unsure = (0..self.watches.len()).collect();
            }
        } else {
            self.lasting.clear();
            self.spent.clear();
            self.settled.clear();
            self.lives.iter_mut().for_each(Life::forgotten);
        }
        for (watch, watched) in self.watches.iter_mut().zip(watched) {
            watch.present = watched.is_some();
            watch.snapshot = None;
            (watch.in_flight, watch.texts_in_flight) = (0, 0);
            watch.troubled.clear();
            watch.backs_off = true;
            watch.quiet_since = i64::MIN / 2;
            watch.configured = self.now;
            if !inherits {
                (watch.last, watch.baseline, watch.last_success) = (None, None, None);
                watch.gaps.clear();
                // Also of a source that only a reload brings back.
                (watch.since, watch.tried) = ((0, 0), false);
                watch.reach = Reach::default();
            }
            let Some((resources, interval)) = watched else { continue };
            (watch.resources, watch.interval) = (resources.clone(), *interval);
            watch.reach.name(resources, second);
            if !inherits {
                watch.since = (second, second);
            } else if !watch.tried {
                // It may have died just before it could write down since when it watches.
                let earliest = if watch.since.1 == 0 { second } else { watch.since.0 };
                watch.since = (earliest, second);
            }
        }
        for (n, watched) in watched.iter().enumerate() {
            if watched.is_some() {
                self.moves(n);
            }
        }
        self.rates.clear();
        self.keys.clear();
        self.hot_until = self.now + SETTLED + 60_000;
    }

    /// The running process watches these from now on.
    pub(crate) fn reloaded(&mut self, watched: &[Watched]) {
        let second = self.second();
        for (n, watched) in watched.iter().enumerate() {
            if watched.is_some() {
                self.moves(n);
            }
            let watch = &mut self.watches[n];
            let Some((resources, interval)) = watched else {
                (watch.present, watch.snapshot) = (false, None);
                continue;
            };
            if watch.present && watch.resources == *resources && watch.interval == *interval {
                continue;
            }
            if !watch.present {
                for ((_, _), (_, here)) in
                    self.process.born.iter_mut().filter(|((of, _), _)| *of == n)
                {
                    *here = self.now;
                }
                let label = format!("source=\"{}\"", self.world.name(n));
                let shown = self.lasting.iter().filter(|(series, _)| series.contains(&label));
                let shown: Vec<_> = shown.map(|(series, &value)| (series.clone(), value)).collect();
                self.process.inherited.extend(shown);
                if !watch.tried {
                    let earliest = if watch.since.1 == 0 { second } else { watch.since.0 };
                    watch.since = (earliest, second);
                }
            }
            watch.present = true;
            (watch.resources, watch.interval) = (resources.clone(), *interval);
            watch.reach.name(resources, second);
            watch.troubled.clear();
            watch.backs_off = true;
            watch.quiet_since = i64::MIN / 2;
            watch.configured = self.now;
        }
        self.hot_until = self.now + SETTLED + 60_000;
    }

    /// It has ended, after a last look at what it served or in the middle of something.
    pub(crate) fn ended(&mut self, looked: bool) {
        self.process.up = false;
        self.process.was_read &= looked;
    }

    /// What a process has left in the journal, when the next one starts.
    pub(crate) fn left(&mut self, contents: &mut Contents) {
        #[derive(serde::Deserialize)]
        struct Past {
            polled: Timestamp,
            last_success: Option<Timestamp>,
        }
        #[derive(serde::Deserialize)]
        struct Task {
            tracked: Tracked,
        }
        #[derive(serde::Deserialize)]
        struct Run {
            last_seen: Timestamp,
        }
        if self.world.leaps() {
            return;
        }
        for n in 0..self.watches.len() {
            let (source, planned) = (self.name(n).to_owned(), &self.world.sources[n]);
            if planned.stands_in.is_some() {
                continue;
            }
            let Some(past) = contents.peek::<Past>(Table("poll"), &source) else { continue };
            let kept = [planned.finished, planned.failed];
            let tasks = contents.take::<Task>(Table("task"), &source).into_iter();
            let tasks = tasks.filter_map(|(id, Task { tracked })| {
                let kept = match tracked.task.state {
                    TaskState::Failed => kept[1],
                    // It has left the list unfinished, and is sought for as long as ends are known.
                    TaskState::Unknown => 35 * DAY + HOUR,
                    _ => kept[0],
                };
                Some((id, tracked.settled?.as_second() + kept, past.polled))
            });
            let runs = contents.take::<Run>(Table("run"), &source).into_iter();
            // What is asked for by its id does not grow old. Ages are by the vendor's clock; and
            // nothing is forgotten in a poll in which that has leapt.
            let given =
                |id: &str| self.lives.iter().any(|it| it.source == n && it.by_id && it.id == id);
            let late = self.world.skew(n).abs() + HOUR;
            let runs = runs.filter(|(id, _)| !given(id)).filter_map(|(id, run)| {
                Some((id, run.last_seen.as_second() + 35 * DAY + late, past.last_success?))
            });
            let old = tasks.chain(runs).find(|(_, until, then)| then.as_second() > until + 5);
            if let Some((id, until, then)) = old {
                let late = then.as_second() - until;
                let text = format!("{source}: {id} was in the journal {late} s longer than needed");
                return self.broken("memory", text);
            }
        }
    }

    /// The journal cannot be written from now on, for a while.
    pub(crate) fn disk_breaks(&mut self) {
        let lasts = self.world.events.iter().filter_map(|event| match event {
            Event::Disk(trouble) => Some(trouble.lasts * 1000),
            _ => None,
        });
        self.disk_broke = self.now + lasts.max().unwrap_or(0);
    }

    /// A task has been registered, durably; or that was taken back.
    pub(crate) fn registered(&mut self, source: usize, id: &str, is: bool) {
        let second = self.second();
        for life in self.lives.iter_mut().filter(|it| it.source == source && it.id == id) {
            if is {
                life.watched.get_or_insert(second);
            } else {
                life.watched = None;
            }
        }
    }

    // Requests.

    pub(crate) fn sent(&mut self, source: usize, operation: &str) {
        self.tally.requests += 1;
        let line = format!("{} {source} {operation}\n", self.now);
        self.note(line.as_bytes());
        let now = self.now;
        let (account, name) =
            (self.world.sources[source].account.clone(), self.name(source).to_owned());
        let watch = &mut self.watches[source];
        watch.in_flight += 1;
        // The words of the vendor are asked for beside the polls, one after the other.
        let api = self.world.sources[source].api;
        let planned = &self.world.sources[source];
        let is_text = api.facts.error_by_id && planned.by_id_operation() == Some(operation);
        watch.texts_in_flight += u32::from(is_text);
        if watch.in_flight > 1 + watch.texts_in_flight.min(1) {
            return self.broken("two polls at once", format!("{name}: two requests at once"));
        }
        // With a quota the calls of one poll may be minutes apart.
        if now - watch.quiet_since >= 900 && planned.quota.is_none() {
            watch.troubled.push_back(now);
            while watch.troubled.front().is_some_and(|&first| now - first > 4_500_000) {
                watch.troubled.pop_front();
            }
            let hour = watch.troubled.iter().filter(|&&at| now - at <= 3_600_000).count();
            let long = watch.troubled.front().is_some_and(|&first| now - first > 4_200_000);
            if watch.backs_off && long && now - watch.answered > 4_500_000 && hour > 42 {
                return self.broken(
                    "backoff",
                    format!("{name}: {hour} polls in an hour of throttling, errors or silence"),
                );
            }
        }
        let cloud_account = format!("{}/{account}", api.facts.cloud);
        if let Some(key) =
            self.keys.get(&cloud_account).filter(|_| self.is_by_key(source, operation))
            && key.refusals >= 4
            && now - key.last < 359_000
        {
            let text = format!(
                "{name}: the key was refused {} times in a row, last {} s ago",
                key.refusals,
                (now - key.last) / 1000
            );
            return self.broken("guard", text);
        }
        if operation == ASSUME_ROLE {
            return;
        }
        if let Some(budget) = self.world.sources[source].daily_budget {
            let day = (self.epoch + now / 1000) / (24 * 3600);
            let spent = self.spent.entry((cloud_account.clone(), day)).or_default();
            *spent += 1;
            if *spent > budget {
                return self.broken("budget", format!("{name}: more than {budget} calls in a day"));
            }
        }
        let Some(known) = api.facts.operations.iter().find(|known| known.name == operation) else {
            return self.broken("rate", format!("{name}: {operation} is no operation of its API"));
        };
        let calls = self
            .rates
            .entry((cloud_account, format!("{}/{operation}", api.facts.service)))
            .or_default();
        calls.push_back(now);
        while calls.front().is_some_and(|&first| first <= now - 1000) {
            calls.pop_front();
        }
        // A fifth of the rate may come at once.
        let most = (known.per_second + known.per_second / 5).max(known.per_second + 1);
        if calls.len() > most as usize {
            let text = format!("{name}: {} calls of {operation} in a second", calls.len());
            self.broken("rate", text);
        }
    }

    pub(crate) fn answered(&mut self, source: usize, operation: &str, answer: Answer) {
        let now = self.now;
        self.over(source, operation);
        let is_by_key = self.is_by_key(source, operation);
        let planned = &self.world.sources[source];
        let key = self
            .keys
            .entry(format!("{}/{}", planned.api.facts.cloud, planned.account))
            .or_default();
        match answer {
            // Each session has a key of its own.
            _ if !is_by_key => {}
            Answer::Good | Answer::Refused(RefusalKind::Forbidden | RefusalKind::NotFound) => {
                key.refusals = 0;
            }
            Answer::Refused(RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired) => {
                (key.refusals, key.last) = (key.refusals + 1, now);
            }
            Answer::Refused(_) | Answer::None => {}
        }
        let watch = &mut self.watches[source];
        watch.quiet_since = now;
        match answer {
            Answer::Good => {
                watch.answered = now;
                watch.troubled.clear();
                watch.backs_off = true;
            }
            Answer::Refused(RefusalKind::Throttled | RefusalKind::Server) | Answer::None => {}
            Answer::Refused(_) => watch.backs_off = false,
        }
    }

    /// Whether a request is signed with the key of the account, and not with that of a session.
    fn is_by_key(&self, source: usize, operation: &str) -> bool {
        operation == ASSUME_ROLE || !matches!(self.world.sources[source].proof, Proof::Role(_))
    }

    /// The process died while it waited for an answer.
    pub(crate) fn abandoned(&mut self, source: usize, operation: &str) {
        self.over(source, operation);
    }

    fn over(&mut self, source: usize, operation: &str) {
        let planned = &self.world.sources[source];
        let is_text = planned.api.facts.error_by_id && planned.by_id_operation() == Some(operation);
        let watch = &mut self.watches[source];
        watch.in_flight = watch.in_flight.saturating_sub(1);
        watch.texts_in_flight = watch.texts_in_flight.saturating_sub(u32::from(is_text));
    }

    // Snapshots.

    /// Looks at what is served now; `all` looks at what has not changed, too.
    pub(crate) fn look(&mut self, snapshots: &[Arc<Snapshot>], all: bool) {
        if !self.process.up {
            return;
        }
        for snapshot in snapshots {
            let named =
                |&n: &usize| self.watches[n].present && self.name(n) == snapshot.source.name;
            let Some(n) = (0..self.watches.len()).find(named) else { continue };
            let old = self.watches[n].snapshot.replace(Arc::clone(snapshot));
            let is_new = old.as_ref().is_none_or(|old| !Arc::ptr_eq(old, snapshot));
            if !is_new && !all {
                continue;
            }
            self.watches[n].tried |= snapshot.tried;
            let took = snapshot.last_poll_duration.map_or(0, |took| took.as_secs().cast_signed());
            self.watches[n].longest = self.watches[n].longest.max(took);
            let poll = is_new.then(|| self.good_poll(n, snapshot)).flatten();
            self.shown(n, snapshot, poll);
            if is_new {
                self.past(n, snapshot);
                self.reason(n, snapshot);
            }
            if all {
                self.alive(n, snapshot);
                self.named(n, snapshot);
                self.in_time(n, snapshot);
            }
        }
    }

    /// The good poll that this snapshot tells of for the first time.
    fn good_poll(&mut self, n: usize, snapshot: &Snapshot) -> Option<Poll> {
        let (now, shown, leaps) = (self.now, self.shown_by_clock(), self.world.leaps());
        let watch = &mut self.watches[n];
        let success = snapshot.last_success.filter(|_| snapshot.up && snapshot.tried)?;
        // What an earlier process has written down may be older than what it showed.
        let is_known = |last| if leaps { success == last } else { success <= last };
        if watch.last_success.is_some_and(is_known) {
            return None;
        }
        // A time that had to be put right is no poll.
        let is_fresh = shown - success.as_second() <= 1 && now - watch.answered < 2000;
        if leaps && !is_fresh {
            return None;
        }
        watch.last_success = Some(success);
        // Which takes more than one poll.
        if self.world.sources[n].quota.is_some() {
            return None;
        }
        let took = snapshot.last_poll_duration.unwrap_or_default();
        let poll =
            Poll { begun: now - i64::try_from(took.as_millis()).unwrap_or(0) - 1, ended: now };
        self.tally.good_polls += 1;
        watch.reach.is_noted = true;
        let planned = &self.world.sources[n];
        let known = Known {
            since: watch.since.1,
            baseline: watch.baseline,
            lookback: planned.lookback,
            skew: self.world.skew(n),
            ends_are_told_by_id: planned.api.facts.name != "tencent_redis",
        };
        let has_start = planned.api.facts.shows(Detail::Started);
        for life in self.lives.iter_mut().filter(|life| life.source == n) {
            if watch.resources.contains(&life.resource) {
                let reached = watch.reach.since.get(&life.resource).copied().flatten();
                let since = known.since.max(reached.unwrap_or(known.since));
                life.polled(poll, &Known { since, ..known }, has_start);
            } else {
                life.ignored(poll);
            }
        }
        // Where the vendor documents no window, no more is claimed than the lookback.
        let window =
            planned.api.facts.list_window.map_or(planned.lookback, |window| {
                i64::try_from(window.as_secs()).unwrap_or(i64::MAX)
            });
        if let Some(last) =
            watch.last.filter(|_| !planned.is_otc() && planned.api.facts.name != "alibaba_adb")
        {
            let window = window * 1000;
            let unseen = poll.begun - window - last.ended;
            // What is not told whole, or asked for by a clock that is wrong, may leave a gap.
            let odd =
                |kind| matches!(kind, Some(FaultKind::ShortPages | FaultKind::WrongTotal) | None);
            let (begun, ended) = (poll.begun / 1000, poll.ended / 1000);
            let is_odd =
                watch.troubles.iter().any(|it| odd(it.kind) && it.meets(begun, ended, MINUTE));
            if unseen > -GAP_EDGE || is_odd {
                watch.gaps.push((poll.ended, unseen > GAP_EDGE && !is_odd));
            }
        }
        watch.last = Some(poll);
        watch.baseline.get_or_insert(poll.ended);
        Some(poll)
    }

    /// Checks what is shown of each task.
    fn shown(&mut self, n: usize, snapshot: &Snapshot, poll: Option<Poll>) {
        let second = self.second();
        let lag = self.watches[n].troubles.iter().map(|it| it.lag).max().unwrap_or(0);
        let stale_after = self.world.sources[n].stale_after.max(3 * self.watches[n].interval)
            + self.watches[n].longest;
        let silent = self.now - self.watches[n].answered > (stale_after + 3) * 1000
            && !self.is_adrift(n, 2 * stale_after);
        let mut shown = BTreeSet::new();
        if snapshot.tasks.len() > self.world.sources[n].limit {
            let text = format!("{}: {} tasks are shown", self.name(n), snapshot.tasks.len());
            return self.broken("memory", text);
        }
        for tracked in snapshot.tasks.iter().chain(&snapshot.hidden) {
            let state = tracked.task.state;
            let unfinished =
                matches!(state, TaskState::Pending | TaskState::Running | TaskState::Paused);
            if unfinished && silent {
                let text = format!(
                    "{}: task {} is shown as {} though nothing has been heard for {} s",
                    self.name(n),
                    tracked.task.id,
                    state.as_str(),
                    (self.now - self.watches[n].answered) / 1000
                );
                return self.broken("stale", text);
            }
            self.process
                .born
                .entry((n, tracked.task.kind.to_string()))
                .or_insert((self.now, self.now));
            if tracked
                .settled
                .is_some_and(|settled| self.epoch + second - settled.as_second() < 2 * MINUTE)
            {
                self.hot_until = self.hot_until.max(self.now + SETTLED + 120_000);
            }
            if let Err((rule, text)) = self.task(n, tracked, poll, stale_after + lag) {
                let text = format!("{}: task {} {text}", self.name(n), tracked.task.id);
                return self.broken(rule, text);
            }
            if !shown.insert(&*tracked.task.id) {
                return self.broken("twice", format!("task {} is shown twice", tracked.task.id));
            }
        }
        // Until a poll has learned that this is another account, the tasks of the one before stay.
        let before = self.world.sources[n].stands_in;
        let is_of = |life: &&Life| life.source == n || Some(life.source) == before;
        let known = self.lives.iter().filter(is_of).count() as u64;
        if snapshot.states.iter().sum::<u64>() > known {
            return self
                .broken("memory", format!("{}: more tasks than there ever were", self.name(n)));
        }
        let Some(poll) = poll else { return };
        let missing = self.lives.iter().find(|life| {
            let stage = life.stage(poll.begun / 1000);
            life.source == n
                && !life.is_job
                && !life.by_id
                && !life.may_be_unasked(poll)
                && self.watches[n].resources.contains(&life.resource)
                && stage.is_some_and(|stage| {
                    stage.state == Some(TaskState::Running)
                        && stage.from < poll.begun / 1000 - truth::clock_edge(self.world.skew(n))
                        && stage.until > poll.ended / 1000 + 1
                        && second - stage.created < 29 * 24 * 3600
                })
                && !shown.contains(life.id.as_str())
        });
        if let Some(life) = missing {
            let text = format!("{}: task {} runs and is not shown", self.name(n), life.id);
            self.broken("missing", text);
        }
    }

    fn task(
        &mut self,
        n: usize,
        tracked: &Tracked,
        poll: Option<Poll>,
        stale_after: i64,
    ) -> Result<(), (&'static str, String)> {
        let second = self.second();
        let state = tracked.task.state;
        let planned = &self.world.sources[n];
        if let Some(settled) = tracked.settled {
            let retention =
                if state == TaskState::Failed { planned.failed } else { planned.finished };
            let late = self.shown_by_clock() - settled.as_second() - retention;
            // Nobody tells it that its clock has been set.
            let interval = self.watches[n].interval.max(planned.idle_interval);
            if late > 3 && !self.is_adrift(n, 2 * interval + MINUTE) {
                let state = state.as_str();
                return Err(("retention", format!("is shown as {state} {late} s too long")));
            }
        }
        let id = &*tracked.task.id;
        let Some(life) = self.lives.iter().find(|it| it.source == n && it.id == id) else {
            // A job of a cluster, whose id is made.
            return Ok(());
        };
        if state != TaskState::Unknown && !self.is_adrift(n, 2 * stale_after) {
            let oldest = if state.is_final() { i64::MIN } else { second - stale_after - 3 };
            if !life.was(state, oldest, second) {
                return Err((
                    "state",
                    format!("is shown as {}, long after it was", state.as_str()),
                ));
            }
        }
        if let (true, Some(settled)) = (state.is_final() && !self.world.leaps(), tracked.settled) {
            let since = settled.as_second() - self.epoch;
            let ended = life.ends.iter().rfind(|end| end.state == state && end.at <= since);
            if let Some(ended) = ended {
                let key = (n, id.to_owned(), ended.at);
                let first = *self.settled.entry(key).or_insert(settled);
                if settled > first {
                    let text = format!("was first seen to end at {first}, now at {settled}");
                    return Err(("settled", text));
                }
            }
        }
        let Some(poll) = poll else { return Ok(()) };
        let (begun, ended) = (poll.begun / 1000, poll.ended / 1000 + 1);
        let Some(present) = life.stage(begun) else { return Ok(()) };
        let begun = begun - truth::clock_edge(self.world.skew(n));
        let old = present
            .started
            .or(Some(present.created))
            .is_some_and(|at| second - at > 29 * 24 * 3600);
        if present.from >= begun
            || present.until <= ended
            || old
            || life.may_be_unasked(poll)
            || !self.watches[n].resources.contains(&life.resource)
        {
            return Ok(());
        }
        let fits = match present.state {
            None | Some(TaskState::Unknown) => state == TaskState::Unknown || state.is_final(),
            Some(real) if real.is_final() => {
                // What ended once more while its resource was not watched is shown as it was.
                let unwatched = present.from * 1000 < self.watches[n].configured;
                state == real || state == TaskState::Unknown || unwatched && state.is_final()
            }
            Some(real) => state == real || (life.by_id && state == TaskState::Unknown),
        };
        if fits {
            return Ok(());
        }
        let real = present.state.map_or("not there", TaskState::as_str);
        Err(("state", format!("is shown as {} by a good poll while it is {real}", state.as_str())))
    }

    /// Whether something is wrong between two seconds, or was shortly before, that is more than one
    /// resource of several.
    fn is_excused(&self, n: usize, from: i64, until: i64) -> bool {
        let watch = &self.watches[n];
        let interval = watch.interval.max(self.world.sources[n].idle_interval);
        watch.troubles.iter().filter(|it| it.only.is_none()).any(|it| {
            it.recovery().is_some_and(|recovery| it.meets(from, until, recovery + 3 * interval))
        })
    }

    /// After trouble is over for long enough, polls succeed again.
    fn alive(&mut self, n: usize, snapshot: &Snapshot) {
        let (planned, watch) = (&self.world.sources[n], &self.watches[n]);
        let second = self.second();
        // So long at least, whatever goes wrong, a good poll may take to come.
        let needs = 32 * MINUTE + 3 * watch.interval.max(planned.idle_interval);
        let lost = watch.troubles.iter().any(|it| it.kind == Some(FaultKind::LostSession));
        let needs = if lost { 5 * MINUTE + 3 * watch.interval } else { needs };
        if snapshot.up || second - watch.configured / 1000 < needs {
            return;
        }
        // A list that is known to be missing is not needed any more. Who has not seen that, because
        // the last process did, and whose registered tasks are over, has nothing to ask.
        let was_up = watch.last.is_some_and(|poll| poll.ended >= watch.configured);
        let kept = planned.finished.min(planned.failed) - self.world.skew(n).abs();
        let asks = self.lives.iter().any(|life| {
            life.source == n && life.watched.is_some() && (was_up || life.is_asked(second - kept))
        });
        if (planned.is_otc() && !asks) || planned.daily_budget.is_some() || planned.quota.is_some()
        {
            return;
        }
        // One of several does not take the others down.
        let alone = watch.resources.len() < 2 || planned.is_otc();
        let all_there_is =
            |it: &Trouble| alone && it.only.is_some() && it.meets(second, second, needs);
        if !self.is_excused(n, second, second) && !watch.troubles.iter().any(all_there_is) {
            let error = snapshot.last_error.clone().unwrap_or_default();
            let text = format!("{}: down without trouble: {error}", planned.name);
            self.broken("down", text);
        }
    }

    /// A resource or an id that alone cannot be asked is named, and nothing is while all is well.
    fn named(&mut self, n: usize, snapshot: &Snapshot) {
        let (planned, watch) = (&self.world.sources[n], &self.watches[n]);
        if !snapshot.up || planned.daily_budget.is_some() || planned.quota.is_some() {
            return;
        }
        let second = self.second();
        let named: BTreeSet<&str> = snapshot.failing_resources.iter().map(|it| &*it.id).collect();
        let interval = watch.interval.max(planned.idle_interval);
        let recent = second - 35 * MINUTE - 3 * interval;
        if let Some(id) = named.first()
            && !watch.troubles.iter().any(|it| it.meets(recent, second, 0))
        {
            let text = format!("{}: {id} is said to fail, and nothing does", planned.name);
            return self.broken("failing", text);
        }
        let within = self.bound(n) + truth::UNKNOWN_ID_PAUSE;
        let unnamed = watch.troubles.iter().find_map(|it| {
            let fails = matches!(
                it.kind,
                Some(
                    FaultKind::Forbidden
                        | FaultKind::ServerError
                        | FaultKind::Hang
                        | FaultKind::Malformed
                )
            );
            let id = it.only.as_ref().filter(|_| fails && it.whole)?;
            let since = it.from.max(watch.configured / 1000);
            let is_due = since + within <= second && second < it.until;
            let is_asked = watch.resources.len() > 1
                && planned.named_resources(2).contains(id)
                && watch.resources.contains(id)
                || self.lives.iter().any(|life| {
                    life.source == n && life.id == *id && life.must_be_asked(since, second)
                });
            // What is said of the others may be wrong, too, so that it is not asked.
            let is_odd = |other: &Trouble| {
                (!other.whole || other.only != it.only)
                    && other.meets(since - interval, second, 65 * MINUTE)
            };
            let is_plain = is_due && is_asked && !watch.troubles.iter().any(is_odd);
            (is_plain && !named.contains(id.as_str())).then(|| (id.clone(), second - since))
        });
        if let Some((id, lasts)) = unnamed {
            let text = format!("{}: {id} fails for {lasts} s, and is not named", planned.name);
            self.broken("failing", text);
        }
    }

    /// Nothing that is shown lies in the future.
    fn past(&mut self, n: usize, snapshot: &Snapshot) {
        let now = self.shown_by_clock() + 1;
        let of_task = |it: &Tracked| [Some(it.last_seen), Some(it.progress_changed), it.settled];
        let of_tasks = snapshot.tasks.iter().chain(&snapshot.hidden).flat_map(of_task);
        let shown = of_tasks.chain([snapshot.last_success]).flatten();
        if let Some(latest) = shown.max().filter(|latest| latest.as_second() > now) {
            let ahead = latest.as_second() - now;
            let text = format!("{}: {latest} is shown, which is in {ahead} s", self.name(n));
            self.broken("future", text);
        }
    }

    /// Only what is refused is called so.
    fn reason(&mut self, n: usize, snapshot: &Snapshot) {
        let second = self.second();
        let refused = |it: &Trouble| it.is_refusal() && it.meets(second, second, 16 * MINUTE);
        let is_wrong = snapshot.last_error_reason == Some("auth")
            && !self.watches[n].troubles.iter().any(refused);
        // A session may end while a request is under way.
        let before = self.watches[n].called_refused.filter(|_| is_wrong);
        self.watches[n].called_refused = before.or_else(|| snapshot.next_poll.filter(|_| is_wrong));
        if before.is_some_and(|next| Some(next) != snapshot.next_poll) {
            let error = snapshot.last_error.clone().unwrap_or_default();
            let text = format!("{}: nothing is refused, and it says so: {error}", self.name(n));
            self.broken("reason", text);
        }
    }

    /// How long it may take until an end is shown, if nothing is in the way, in seconds.
    fn bound(&self, n: usize) -> i64 {
        let (planned, watch) = (&self.world.sources[n], &self.watches[n]);
        let resource = |id: &String| Arc::new(Resource::new(id.as_str()));
        let resources: Vec<Arc<Resource>> = match planned.named_resources(1) {
            [] => Vec::new(),
            _ => watch.resources.iter().map(resource).collect(),
        };
        let now = Timestamp::from_second(self.epoch).expect("a good time");
        let scope = Scope { now, since: now, resources: &resources, tags: &[] };
        let given = self.lives.iter().filter(|life| life.source == n && life.by_id).count();
        let calls = planned.api.list(&scope).len() + given + 4;
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        // A quota is learned, and shared by what a poll asks; some is lost by asking for too much.
        let round = planned.quota.map_or(0, |quota| {
            let minutes = u64::try_from(calls).unwrap_or(0).div_ceil(u64::from(quota));
            10 * MINUTE + 4 * MINUTE * i64::try_from(minutes).unwrap_or(0)
        });
        let hangs =
            watch.troubles.iter().any(|it| it.only.is_some() && it.kind == Some(FaultKind::Hang));
        let interval = watch.interval.max(planned.idle_interval);
        2 * interval + 25 + calls / 2 + round + if hangs { 150 } else { 0 }
    }

    /// An end is shown soon, and so is what the vendor says of a failure.
    fn in_time(&mut self, n: usize, snapshot: &Snapshot) {
        let (planned, watch) = (&self.world.sources[n], &self.watches[n]);
        if planned.daily_budget.is_some() || !snapshot.tried && planned.quota.is_some() {
            return;
        }
        let second = self.second();
        let step = if self.world.days == 1 { MINUTE } else { 10 * MINUTE };
        // A quota has to be learned first.
        let learns = if planned.quota.is_some() { 2 * HOUR } else { 5 };
        let begun = watch.configured / 1000 + learns;
        let bound = self.bound(n);
        let has_text = planned.api.facts.shows(Detail::Error) && planned.quota.is_none();
        let mut wrong = None;
        let lives = self.lives.iter().filter(|life| {
            life.source == n && !life.is_job && watch.resources.contains(&life.resource)
        });
        for life in lives {
            let Some(watched) = life.watched.filter(|&it| it == i64::MIN || second - it < 6 * DAY)
            else {
                continue;
            };
            for end in &life.ends {
                let from = end.at.max(begun).max(watched);
                let bound = bound + if life.by_id { truth::UNKNOWN_ID_PAUSE } else { 0 };
                let age = second - from - bound;
                // Each is looked at once.
                let is_due = (0..step).contains(&age);
                let is_text_due = has_text
                    && end.state == TaskState::Failed
                    && (TEXTS..TEXTS + step).contains(&age);
                let retention =
                    if end.state == TaskState::Failed { planned.failed } else { planned.finished };
                let settled = self.settled.get(&(n, life.id.clone(), end.at));
                let settled = settled.map_or(end.at, |it| it.as_second() - self.epoch);
                if !(is_due || is_text_due) || settled + retention < second + 5 {
                    continue;
                }
                let asked_from = second - planned.lookback + 2 * MINUTE;
                let span = Poll { begun: from * 1000, ended: second * 1000 };
                let by_id = life.by_id || !end.is_listed(asked_from);
                // What was dated by a clock that was far behind is shown no more.
                let adrift = |it: &Trouble| it.kind.is_none() && it.meets(end.at, second, 0);
                if !end.is_known(asked_from, second)
                    || watch.troubles.iter().any(adrift)
                    || life.is_veiled(span)
                    || by_id && life.may_be_unasked(span)
                    || self.is_excused(n, from, second)
                {
                    continue;
                }
                let (id, state) = (&life.id, end.state.as_str());
                let shown = snapshot.task(id).map(|it| &it.task);
                let waited = second - from;
                if is_due && shown.is_none_or(|it| it.state != end.state) {
                    let is = shown.map_or("not", |it| it.state.as_str());
                    let text = format!("task {id} is {state} for {waited} s, and shown as {is}");
                    wrong.get_or_insert(("late", text));
                }
                if is_text_due && shown.is_some_and(|it| it.error.is_none()) {
                    let text = format!("task {id} is {state} for {waited} s, and nobody says why");
                    wrong.get_or_insert(("text", text));
                }
            }
        }
        if let Some((rule, text)) = wrong {
            let text = format!("{}: {text}", self.name(n));
            self.broken(rule, text);
        }
    }

    // Scrapes.

    /// Whether a scrape now is worth reading.
    pub(crate) fn is_hot(&self) -> bool {
        self.now <= self.hot_until
    }

    /// A scraper was served.
    pub(crate) fn scraped(&mut self, client: u8) {
        self.tally.scrapes += 1;
        let scrapes = self.scrapers.entry(client).or_default();
        scrapes.push_back(self.now);
        while scrapes.front().is_some_and(|&first| first < self.now - 3_600_000) {
            scrapes.pop_front();
        }
    }

    /// Reads an exposition. `by` is who was served it, if anybody: then only a change of what is
    /// counted of tasks is worth a closer look.
    pub(crate) fn read(&mut self, text: &str, by: Option<u8>) {
        let counted = counted(text);
        if by.is_some() && self.process.was_read && counted == self.counted {
            return;
        }
        counted.clone_into(&mut self.counted);
        self.tally.read += 1;
        let samples = match exposition::read(text) {
            Ok(samples) => samples,
            Err(error) => return self.broken("exposition", error),
        };
        // Who has no calls left may have nothing to write for long.
        let polls = self.world.sources.iter().all(|source| source.daily_budget.is_none())
            && self.watches.iter().any(|it| it.present && self.now - it.configured > WRITTEN_AGAIN);
        if polls && self.now - self.disk_broke > WRITTEN_AGAIN && text.contains(WRITE_FAILED) {
            self.broken("journal", "it is not written, and the disk is in order".to_owned());
        }
        let end = text.find("# HELP process_").unwrap_or(text.len());
        self.note(&text.as_bytes()[..end]);
        self.monotone(&samples);
        self.gate(&samples, by);
        self.reckon(&samples);
        let shown: usize = self
            .watches
            .iter()
            .filter_map(|it| it.snapshot.as_ref())
            .map(|it| it.tasks.len())
            .sum();
        let states = samples.keys().filter(|it| it.starts_with("dbtask_task_state{")).count();
        if by.is_none() && states != shown * TaskState::ALL.len() {
            self.broken("exposition", format!("{states} series of states for {shown} tasks"));
        }
        let failing: f64 = samples
            .iter()
            .filter(|(series, _)| series.starts_with("dbtask_source_resources_failing{"))
            .map(|(_, &value)| value)
            .sum();
        let named: usize = self
            .watches
            .iter()
            .filter_map(|it| it.snapshot.as_ref())
            .map(|it| it.failing_resources.len())
            .sum();
        if by.is_none() && (failing - f64_of(named)).abs() > 0.5 {
            self.broken("failing", format!("{failing} are counted, and {named} named"));
        }
        self.process.was_read = true;
    }

    /// No counter falls.
    fn monotone(&mut self, samples: &Samples<'_>) {
        // In order, so that the same history is told in the same words.
        let mut fallen = BTreeSet::new();
        for (series, &value) in samples {
            let name = series.split_once('{').map_or(&**series, |(name, _)| name);
            let counts =
                ["_total", "_count", "_bucket", "_sum"].iter().any(|end| name.ends_with(end));
            if !counts || name.starts_with("process_") {
                continue;
            }
            let lasts = name.starts_with("dbtask_task_") || name.contains("_coverage_gap");
            let before = if lasts { &mut self.lasting } else { &mut self.process.counters };
            let Some(before) = before.get_mut(&**series) else {
                before.insert(series.to_string(), value);
                continue;
            };
            if value < *before - 1e-6 {
                fallen.insert(format!("{series} fell from {before} to {value}"));
            }
            *before = value;
        }
        if let Some(text) = fallen.pop_first() {
            self.broken("counter", text);
        }
    }

    /// An old value is served before a new one.
    fn gate(&mut self, samples: &Samples<'_>, by: Option<u8>) {
        let now = self.now;
        for n in std::mem::take(&mut self.unsure) {
            if !self.watches[n].present {
                self.unsure.insert(n);
                continue;
            }
            let label = format!("source=\"{}\"", self.world.name(n));
            let of_source = samples.iter().filter(|(series, _)| series.contains(&label));
            let shown = of_source.map(|(series, &value)| (series.to_string(), value));
            self.process.inherited.extend(shown);
        }
        let mut early = None;
        for n in 0..self.watches.len() {
            if !self.watches[n].present {
                continue;
            }
            let born = self.process.born.iter().filter(|((of, _), _)| *of == n);
            for ((_, kind), &(ever, born)) in born {
                let (name, kind) = (self.world.name(n), escaped(kind));
                for family in ["failures", "completions"] {
                    let series = format!(
                        "dbtask_task_{family}_total{{source=\"{name}\",task_kind=\"{kind}\"}}"
                    );
                    let Some(&value) = samples.get(series.as_str()) else { continue };
                    let base = self.process.inherited.get(&series).copied().unwrap_or(0.0);
                    if value <= base || now - born >= PATIENCE - 2000 {
                        continue;
                    }
                    let mut anybody = false;
                    for (&client, scrapes) in &self.scrapers {
                        let served = |since: i64| {
                            scrapes.iter().any(|&at| at > since && (at < now || by != Some(client)))
                        };
                        anybody |= served(born);
                        let here = scrapes.iter().any(|&at| at <= born && at > born - PATIENCE)
                            && scrapes.back().is_some_and(|&at| at > now - PATIENCE);
                        // Who was served the old value by an earlier process has seen it.
                        if here && !served(ever) {
                            early.get_or_insert(format!(
                                "{series} is {value} and was {base}: scraper {client} has not \
                                 been served that in the {} s since it began",
                                (now - born) / 1000
                            ));
                        }
                    }
                    if !anybody {
                        early.get_or_insert(format!(
                            "{series} is {value} and was {base}, which this process has not served",
                        ));
                    }
                }
            }
        }
        if let Some(text) = early {
            self.broken("too early", text);
        }
    }

    /// Every end is counted once.
    fn reckon(&mut self, samples: &Samples<'_>) {
        let (now, second) = (self.now, self.second());
        let mut wrong = None;
        for (n, source) in self.world.sources.iter().enumerate() {
            let watch = &self.watches[n];
            if !watch.present {
                continue;
            }
            // What was counted of the one whose place it took is counted still.
            let is_of = |m: usize| m == n || source.stands_in == Some(m);
            let name = self.world.name(n);
            let gaps = format!("dbtask_source_coverage_gaps_total{{source=\"{name}\"}}");
            let value = samples.get(gaps.as_str()).copied().unwrap_or(0.0);
            let by = if now - watch.configured >= SETTLED { now - SETTLED } else { -1 };
            let there: Vec<(i64, bool)> = (0..self.watches.len())
                .filter(|&m| is_of(m))
                .flat_map(|m| self.watches[m].gaps.iter().copied())
                .collect();
            let least = there.iter().filter(|(at, certain)| *certain && *at <= by).count();
            // With few calls a day a poll may come later than the list reaches.
            let is_known = source.quota.is_none() && source.daily_budget.is_none();
            // A cluster or instance may be behind by itself, though the polls are good.
            let one_by_one = source.api.discovers() || !source.named_resources(1).is_empty();
            let limit = if one_by_one && !watch.troubles.is_empty() {
                f64::INFINITY
            } else {
                f64_of(there.len())
            };
            if is_known && !(f64_of(least)..=limit).contains(&value) {
                let text = format!("{gaps} is {value}, and there were {there:?}");
                wrong.get_or_insert(("gap", text));
            }
            let kinds: BTreeSet<&str> = self
                .lives
                .iter()
                .filter(|life| is_of(life.source))
                .map(|life| life.kind.as_str())
                .collect();
            for kind in kinds {
                let label = escaped(kind);
                for (family, outcome) in
                    [("failures", Some(TaskState::Failed)), ("completions", None)]
                {
                    let lives = self.lives.iter().filter(|it| is_of(it.source) && it.kind == kind);
                    let ends: Vec<_> = lives
                        .flat_map(|life| life.ends.iter().map(move |end| (life, end)))
                        .filter(|(_, end)| outcome.is_none_or(|state| end.state == state))
                        .collect();
                    // What had to be seen before this process must have been shown a while after
                    // it began; what it saw itself, a while after it saw it.
                    let must = ends.iter().filter(|(_, end)| end.must(by)).count();
                    let may = ends.iter().filter(|(life, end)| {
                        let watch = &self.watches[life.source];
                        let until = watch.gone.unwrap_or(second);
                        // Of an account that never answered there is nothing that the tasks of
                        // the one after it could be taken for.
                        let before = self.world.sources[life.source].stands_in;
                        let before = before.map(|old| &self.watches[old]);
                        let since = before.filter(|old| old.last.is_none()).unwrap_or(watch);
                        end.may(
                            since.since.0.min(watch.since.0),
                            self.world.skew(life.source),
                            until,
                        )
                    });
                    let may = may.count();
                    let series = format!(
                        "dbtask_task_{family}_total{{source=\"{name}\",task_kind=\"{label}\"}}"
                    );
                    let value = samples.get(series.as_str()).copied().unwrap_or(0.0);
                    let (must, may) = (f64_of(must), f64_of(may));
                    if value < must {
                        let told: Vec<String> = ends
                            .iter()
                            .filter(|(_, end)| end.must(by))
                            .map(|(life, end)| format!("{} at {}", life.id, clock(end.at)))
                            .collect();
                        let told = told.join(", ");
                        let text = format!("{series} is {value}, not {must}: {told}");
                        wrong.get_or_insert(("missed", text));
                    } else if value > may {
                        wrong.get_or_insert((
                            "counted twice",
                            format!("{series} is {value}, which is more than the {may} there were"),
                        ));
                    }
                }
            }
        }
        if let Some((rule, text)) = wrong {
            self.broken(rule, text);
        }
    }

    /// Sums up, at the end.
    pub(crate) fn sum_up(&mut self) {
        let second = self.second();
        let failed = self.lives.iter().flat_map(|life| &life.ends);
        let failed =
            failed.filter(|end| end.state == TaskState::Failed && (0..=second).contains(&end.at));
        let (mut failures, mut certain) = (0, 0);
        for end in failed {
            failures += 1;
            certain += u64::from(end.must(self.now));
        }
        self.tally.failures = failures;
        // Without a journal each process starts at nothing.
        self.tally.certain += certain;
    }

    /// Every failure up to now, by source, id and second: what the simulated clouds must say too.
    pub(crate) fn failures(&self) -> Vec<(String, String, i64)> {
        let second = self.second();
        let mut failures = Vec::new();
        for life in &self.lives {
            for end in &life.ends {
                if end.state == TaskState::Failed && end.at <= second {
                    let source = self.world.sources[life.source].name.clone();
                    failures.push((source, life.id.clone(), end.at));
                }
            }
        }
        failures.sort();
        failures
    }
}

fn f64_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The part of an exposition that counts the ends of tasks.
fn counted(text: &str) -> &str {
    let from = text.find("# HELP dbtask_task_completions_total").unwrap_or(0);
    let rest = &text[from..];
    let until =
        rest.find("# HELP dbtask_task_last_failure").or_else(|| rest.find("# HELP process_"));
    &rest[..until.unwrap_or(rest.len())]
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}: {}", self.rule, clock(self.at / 1000), self.text)
    }
}
