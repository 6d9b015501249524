//! Simulated days and months of the whole exporter. `docs/testing.md` says what is simulated and
//! what is promised.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod exposition;
mod judge;
mod play;
mod truth;
mod world;

use world::World;

fn main() {
    dbtask_exporter::sabotage::quiet();
    let mut args = std::env::args().skip(1);
    let first: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    let count: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    let days: i64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    for seed in first..first + count {
        let world = World::new(seed, days);
        let outcome = play::play(&world);
        match &outcome.violation {
            Some(violation) => println!("seed {seed}: {violation}"),
            None => {}
        }
        if count == 1 {
            for line in world.lines() {
                println!("{line}");
            }
            println!("{:x} {:?}", outcome.digest, outcome.tally);
        }
    }
}
