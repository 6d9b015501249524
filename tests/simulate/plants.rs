//! Plants every bug of [`sabotage`], one at a time, and looks whether the simulation finds it.

use dbtask_exporter::sabotage::{self, Bug};

use crate::play::play;
use crate::world::World;
use crate::{MONTH, Results, in_parallel};

/// Seeds in which a bug has to be found.
const SEEDS: u64 = 300;

/// A seed that is known to find the bug, which is tried first to save time.
fn known_seed(bug: Bug) -> Option<u64> {
    KNOWN.iter().find(|(known, _)| *known == bug).map(|&(_, seed)| seed)
}

/// The first seed that finds each bug, as `make plants` says.
const KNOWN: &[(Bug, u64)] = &[
    (Bug::NoFlushBeforePublish, 2),
    (Bug::NoFlushBeforeShow, 32),
    (Bug::BaselineOnEveryStart, 2),
    (Bug::CountsForgotten, 2),
    (Bug::NoBackoff, 2),
    (Bug::NoGuard, 5),
    (Bug::ShownTooEarly, 2),
    (Bug::RunsForgotten, 0),
    (Bug::NeverStale, 1),
    (Bug::AbsenceIgnored, 2),
    (Bug::AbsenceIsSuccess, 2),
    (Bug::SentTwice, 1),
    (Bug::NoRateLimit, 14),
    (Bug::SinceNotWidened, 7),
    (Bug::LateEndCounted, 3),
    (Bug::NoRetention, 1),
    (Bug::OnePage, 42),
    (Bug::NoEscapes, 1),
    (Bug::BudgetForgotten, 57),
    (Bug::GapNotDeclared, 3),
    (Bug::RegistrationsForgotten, 2),
    (Bug::OutageForgotten, 15),
];

/// How long the worlds last in which the bug can be met.
fn days(bug: Bug) -> i64 {
    if bug == Bug::GapNotDeclared { MONTH } else { 1 }
}

/// Looks for every bug; with `hurry` the known seed first.
pub(crate) fn look_for_all(results: &mut Results, hurry: bool) {
    let found = in_parallel(Bug::ALL, |&bug| {
        sabotage::plant(Some(bug));
        let hint = known_seed(bug).filter(|_| hurry);
        let found = hint
            .into_iter()
            .chain(0..SEEDS)
            .find_map(|seed| Some((seed, play(&World::new(seed, days(bug))).violation?)));
        sabotage::plant(None);
        match &found {
            Some((seed, violation)) => println!("plant {bug:?}: seed {seed}, {violation}"),
            None => println!("plant {bug:?}: NOT FOUND in {SEEDS} seeds"),
        }
        found.is_some()
    });
    for found in found {
        results.add(found);
    }
}
