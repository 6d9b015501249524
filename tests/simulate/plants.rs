//! Plants every bug of [`sabotage`], one at a time, and looks whether the simulation finds it.

use dbtask_exporter::platform::sabotage;
use dbtask_exporter::platform::sabotage::Bug;

use crate::judge::{RULES, Violation};
use crate::play::play;
use crate::world::World;
use crate::{MONTH, Results, in_parallel};

/// Seeds in which a bug has to be found.
const SEEDS: u64 = 300;

/// What is known of a planted bug.
struct Plant {
    bug: Bug,
    /// The rule that has to find it.
    rule: &'static str,
    /// The first seed in which that does, as `make plants` says: tried first to save time.
    seed: u64,
}

const fn plant(bug: Bug, rule: &'static str, seed: u64) -> Plant {
    Plant { bug, rule, seed }
}

const PLANTS: &[Plant] = &[
    plant(Bug::NoFlushBeforePublish, "settled", 3),
    plant(Bug::NoFlushBeforeShow, "counter", 2),
    plant(Bug::BaselineOnEveryStart, "settled", 1),
    plant(Bug::CountsForgotten, "counter", 1),
    plant(Bug::NoBackoff, "backoff", 32),
    plant(Bug::NoGuard, "guard", 20),
    plant(Bug::ShownTooEarly, "too early", 2),
    plant(Bug::RunsForgotten, "settled", 0),
    plant(Bug::NeverStale, "stale", 1),
    plant(Bug::AbsenceIsSuccess, "state", 1),
    plant(Bug::SentTwice, "two polls at once", 0),
    plant(Bug::NoRateLimit, "rate", 28),
    plant(Bug::SinceNotWidened, "gap", 8),
    plant(Bug::OutageForgotten, "missed", 8),
    plant(Bug::LateEndCounted, "counted twice", 1),
    plant(Bug::NoRetention, "retention", 1),
    plant(Bug::OnePage, "missed", 2),
    plant(Bug::NoEscapes, "exposition", 0),
    plant(Bug::BudgetForgotten, "budget", 48),
    plant(Bug::GapNotDeclared, "gap", 1),
    plant(Bug::RegistrationsForgotten, "missed", 1),
    plant(Bug::LastOfPageLost, "missing", 0),
    plant(Bug::EnteredAnew, "twice", 0),
    plant(Bug::RowsKept, "memory", 1),
    plant(Bug::BackoffGrows, "down", 10),
    plant(Bug::DiskGivenUp, "journal", 5),
    plant(Bug::BaselineOnReload, "settled", 1),
    plant(Bug::PolledSeldom, "late", 0),
    plant(Bug::TextDropped, "text", 9),
    plant(Bug::FutureShown, "future", 43),
    plant(Bug::SilenceIsAuth, "reason", 2),
    plant(Bug::TriedIfGood, "ready", 0),
    plant(Bug::FailingNotNamed, "failing", 0),
];

/// How long the worlds last in which the bug can be met.
fn days(bug: Bug) -> i64 {
    if bug == Bug::GapNotDeclared { MONTH } else { 1 }
}

/// What a planted bug breaks in the world of a seed.
fn broken(bug: Bug, seed: u64) -> Option<Violation> {
    sabotage::plant(Some(bug));
    let outcome = play(&World::new(seed, days(bug)));
    sabotage::plant(None);
    outcome.violation
}

/// Looks for every bug; with `hurry` in the known seed first.
pub(crate) fn look_for_all(results: &mut Results, hurry: bool) {
    for bug in Bug::ALL {
        results.check(PLANTS.iter().any(|it| it.bug == *bug), &format!("{bug:?} is planted"));
    }
    for rule in RULES {
        results.check(PLANTS.iter().any(|it| it.rule == *rule), &format!("a bug meets `{rule}`"));
    }
    let found = in_parallel(PLANTS, |&Plant { bug, rule, seed }| {
        let hint = hurry.then_some(seed);
        let seeds = hint.into_iter().chain(0..SEEDS);
        let mut others = seeds.map(|seed| (seed, broken(bug, seed)));
        let found = others.find(|(_, broken)| broken.as_ref().is_some_and(|it| it.rule == rule));
        match &found {
            Some((seed, Some(violation))) => println!("plant {bug:?}: seed {seed}, {violation}"),
            _ => println!("plant {bug:?}: NOT FOUND by `{rule}` in {SEEDS} seeds"),
        }
        found.is_some()
    });
    for found in found {
        results.add(found);
    }
}
