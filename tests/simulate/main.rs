//! Simulated days and months of the whole exporter in virtual time, all chance from one seed.
//!
//! ```text
//! world ─► play ─► [ exporter ◄─► simulated clouds ] ─► judge ◄─ truth
//!   ▲                                                     │
//!   └────────────────────── shrink ◄──────────────────────┘
//! ```
//!
//! `docs/testing.md` says what is simulated, what is promised, and what was found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the events and phases that it is about"
)]

mod exposition;
mod judge;
mod plants;
mod play;
mod shrink;
mod truth;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use dbtask_exporter::platform::sabotage;

use crate::judge::{RULES, Tally};
use crate::play::{Outcome, play};
use crate::world::World;

/// Simulated worlds. Without options: the days, months and plants of `make test`.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Options {
    /// How many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How long each world lasts, in days.
    #[arg(long, default_value_t = 1)]
    days: i64,
    /// Only look whether this promise is kept: a word of `docs/testing.md`.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(RULES))]
    rule: Option<String>,
    /// Do not make histories shorter: for many seeds on a slow machine.
    #[arg(long)]
    whole: bool,
    /// Only look for the planted bugs, from the first seed on.
    #[arg(long)]
    plants: bool,
    /// Say what happens in a world, even if all is well.
    #[arg(long)]
    tell: bool,
}

/// Days and months that `make test` runs.
const DAYS: u64 = 100;
const MONTHS: u64 = 4;
/// A month, and what lies beyond it in the vendors' lists.
const MONTH: i64 = 40;
/// Worlds that are played twice.
const TWICE: u64 = 6;

fn main() -> ExitCode {
    sabotage::quiet();
    let options = Options::parse();
    let mut results = Results::default();
    if options.plants {
        plants::look_for_all(&mut results, false);
    } else if let Some(seeds) = options.seeds {
        days(&mut results, options.first..options.first + seeds, options.days, &options);
    } else {
        days(&mut results, 0..DAYS, 1, &options);
        days(&mut results, 0..MONTHS, MONTH, &options);
        the_same_seed_is_the_same_history(&mut results);
        plants::look_for_all(&mut results, true);
    }
    println!("simulate: {} passed; {} failed", results.passed, results.failed);
    if results.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many tests went well, and how many did not.
#[derive(Debug, Default)]
pub(crate) struct Results {
    passed: u64,
    failed: u64,
}

impl Results {
    pub(crate) fn add(&mut self, good: bool) {
        *(if good { &mut self.passed } else { &mut self.failed }) += 1;
    }

    /// The same, with a line if it is not so.
    pub(crate) fn check(&mut self, good: bool, what: &str) {
        if !good {
            println!("it is not so that {what}");
        }
        self.add(good);
    }
}

/// Plays the worlds of these seeds.
fn days(results: &mut Results, seeds: std::ops::Range<u64>, days: i64, options: &Options) {
    let rule = RULES.iter().copied().find(|&rule| options.rule.as_deref() == Some(rule));
    let begun = tokio::time::Instant::now();
    let seeds: Vec<u64> = seeds.collect();
    let outcomes = in_parallel(&seeds, |&seed| {
        let world = World { rule, ..World::new(seed, days) };
        let outcome = play(&world);
        if outcome.violation.is_some() {
            report(&world, &outcome, options.whole);
        } else if options.tell {
            println!("{}\n{:?}", world.lines().join("\n"), outcome.tally);
        }
        outcome
    });
    let took = begun.elapsed().as_secs_f64();
    let mut tally = Tally::default();
    for outcome in &outcomes {
        results.add(outcome.violation.is_none());
        tally.add(&outcome.tally);
    }
    let count = f64::from(u32::try_from(seeds.len()).unwrap_or(u32::MAX));
    println!(
        "{} seeds of {days} days in {took:.1} s, {:.1} a second: {tally}",
        seeds.len(),
        count / took
    );
}

/// Prints the shortest history that breaks the same promise.
fn report(world: &World, outcome: &Outcome, whole: bool) {
    let Some(violation) = &outcome.violation else { return };
    if whole {
        println!("seed {} breaks a promise: {violation}", world.seed);
        return;
    }
    let (world, violation) = shrink::shortest(world, violation);
    println!(
        "\nseed {} breaks a promise: {violation}\n{}\nagain: make simulate SEEDS=1 FIRST={} DAYS={}\n",
        world.seed,
        world.lines().join("\n"),
        world.seed,
        world.days
    );
}

fn the_same_seed_is_the_same_history(results: &mut Results) {
    let seeds: Vec<u64> = (0..TWICE).collect();
    let digests = || in_parallel(&seeds, |&seed| play(&World::new(seed, 1)).digest);
    let same = digests() == digests();
    if !same {
        println!("the same seed had two histories");
    }
    results.add(same);
}

/// Does the work on all cores; results in the order of `items`.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
