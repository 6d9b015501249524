//! What the estimated end is worth: simulated lives, polled every 30 s from their beginning, through
//! the completions and the tasks of a source. `docs/estimates.md` is written from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use dbtask_clouds::model::{TaskState, Timestamp};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::track::completions::{Clocks, Completions};
use dbtask_exporter::track::findings::Findings;
use dbtask_exporter::track::tasks::{Retention, TaskTable};
use dbtask_simulator::{Scenario, SimulatedCloud};
use tokio::time::Instant;

/// A name, and the phases: the share of the life, and what is done in it.
type Life = (&'static str, &'static [(f64, &'static str)]);

const LIVES: &[Life] = &[
    ("even", &[(1.0, "run: {curve: even,")]),
    ("slow start", &[(1.0, "run: {curve: slow_start,")]),
    ("slow end", &[(1.0, "run: {curve: slow_end,")]),
    ("stairs, four", &[(1.0, "run: {curve: stairs,")]),
    ("uneven", &[(1.0, "run: {curve: uneven,")]),
    (
        "stalls for a third",
        &[(0.33, "run: {to: 0.4, curve: even,"), (0.33, "hang: {"), (0.34, "run: {curve: even,")],
    ),
    (
        "falls back",
        &[
            (0.4, "run: {to: 0.4, curve: even,"),
            (0.0, "run: {to: 0.2,"),
            (0.6, "run: {curve: even,"),
        ],
    ),
    ("hangs for good", &[(0.4, "run: {to: 0.4, curve: even,")]),
];
const HANGS: usize = 7;

/// How long a life is.
const LENGTHS: [(&str, f64); 3] = [("10 min", 600.0), ("1 h", 3600.0), ("6 h", 6.0 * 3600.0)];
/// At what share of a life its end is estimated.
const MOMENTS: [f64; 3] = [0.25, 0.5, 0.75];
const POLL: u64 = 30;
/// What the last pace is measured over.
const WINDOW: f64 = 600.0;

/// What a poll saw of a task, and when it should end according to the exporter; in seconds of its
/// life.
#[derive(Clone, Copy)]
struct Sighting {
    second: f64,
    progress: f64,
    end: Option<f64>,
}

/// A way of telling from the sightings so far when a task ends.
type Way = fn(&[Sighting]) -> Option<f64>;

/// The ways that are compared; ours first.
const WAYS: [(&str, Way); 4] = [
    ("exporter", |seen| seen.last()?.end),
    ("Theil-Sen", |seen| {
        let mut changes: Vec<Sighting> = Vec::new();
        for sighting in seen {
            match changes.last() {
                Some(last) if sighting.progress < last.progress => changes.clear(),
                Some(last) if sighting.progress <= last.progress => continue,
                _ => {}
            }
            changes.push(*sighting);
        }
        let mut paces: Vec<f64> = Vec::new();
        for (index, a) in changes.iter().enumerate() {
            let pace = |b: &Sighting| (b.progress - a.progress) / (b.second - a.second);
            paces.extend(changes[index + 1..].iter().map(pace));
        }
        let last = changes.last()?;
        // The same conditions as ours.
        seen.last()?.end?;
        (paces.len() >= 3).then(|| last.second + (1.0 - last.progress) / median(&mut paces))
    }),
    ("whole life", |seen| {
        let last = seen.last()?;
        end_at(last, last.progress, last.second)
    }),
    ("last 10 min", |seen| {
        let last = seen.last()?;
        let first = seen.iter().find(|old| old.second + WINDOW >= last.second)?;
        end_at(last, last.progress - first.progress, last.second - first.second)
    }),
];

/// When a task that has made so much progress in so many seconds ends at that pace.
fn end_at(last: &Sighting, made: f64, seconds: f64) -> Option<f64> {
    (made > 0.0).then(|| last.second + (1.0 - last.progress) * seconds / made)
}

fn scenario() -> String {
    let mut tasks = String::new();
    for (life, (_, phases)) in LIVES.iter().enumerate() {
        for (length, (_, seconds)) in LENGTHS.iter().enumerate() {
            write!(tasks, "      - {{id: '{}', resource: cdb-1, life: [", id(life, length))
                .unwrap();
            for (share, phase) in *phases {
                let seconds = (share * seconds).round().max(1.0);
                write!(tasks, "{{{phase} for: {seconds}s}}}}, ").unwrap();
            }
            let end = if life == HANGS { "hang" } else { "finish" };
            writeln!(tasks, "{{{end}: {{}}}}]}}").unwrap();
        }
    }
    format!(
        "seed: 1\nsources:\n  - name: one\n    api: tencent_cdb\n    region: ap-guangzhou\n    \
         resources: [{{id: cdb-1}}]\n    tasks:\n{tasks}"
    )
}

fn id(life: usize, length: usize) -> String {
    format!("{life}{length}")
}

/// What was seen of each task while it ran, by id.
async fn watch() -> BTreeMap<String, Vec<Sighting>> {
    let retention = Retention {
        stale_after: Duration::from_mins(15),
        finished: Duration::from_hours(1),
        failed: Duration::from_hours(24),
        tasks: 500,
    };
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let cloud =
        SimulatedCloud::new(&Scenario::parse(&scenario()).unwrap(), move || clock.now()).unwrap();
    let start = clock.now();
    let clocks = || Clocks { now: clock.now(), offset: Some(0), instant: Instant::now() };
    let (mut completions, mut table) = (Completions::new(clocks()), TaskTable::default());
    let mut seen: BTreeMap<String, Vec<Sighting>> = BTreeMap::new();
    // Polls do not fall on the second at which a life takes a turn.
    tokio::time::advance(Duration::from_secs(7)).await;
    while clock.now().since(start) < Duration::from_hours(8) {
        let now = clock.now();
        let mut tasks = cloud.tasks("one");
        for task in &mut tasks {
            // The vendor says nothing of it.
            task.remaining = None;
        }
        completions.enter(&tasks, true, |_| false, clocks());
        let findings = Findings { tasks, complete: true, ..Findings::default() };
        table.enter(findings, &completions, &retention, now);
        table.age(&retention, now);
        for tracked in table.tasks().filter(|tracked| tracked.task.state == TaskState::Running) {
            assert!(tracked.estimated_end.is_none_or(|end| end > now), "in the past");
            let second = |time: Timestamp| time.since(start).as_secs_f64();
            // As the vendor said it, in whole percent.
            let progress =
                (f64::from(tracked.task.progress.unwrap().get()) * 100.0).round() / 100.0;
            let sighting =
                Sighting { second: second(now), progress, end: tracked.estimated_end.map(second) };
            seen.entry(tracked.task.id.to_string()).or_default().push(sighting);
        }
        tokio::time::advance(Duration::from_secs(POLL)).await;
    }
    seen
}

/// The error of each way at each moment, as a share of the life.
fn errors(sightings: &[Sighting], length: f64) -> [[Option<f64>; MOMENTS.len()]; WAYS.len()] {
    WAYS.map(|(_, way)| {
        MOMENTS.map(|moment| {
            let so_far = sightings.partition_point(|seen| seen.second <= moment * length);
            way(&sightings[..so_far]).map(|end| end / length - 1.0)
        })
    })
}

fn percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    if percent == 0.0 { "0".to_owned() } else { format!("{percent:+}") }
}

fn mean(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let count = values.len() as f64;
    values.iter().sum::<f64>() / count
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// For each way: how many estimates there were, and the errors, without signs, where all ways had
/// an estimate.
fn compare(seen: &BTreeMap<String, Vec<Sighting>>) -> [(usize, Vec<f64>); WAYS.len()] {
    let mut compared: [(usize, Vec<f64>); WAYS.len()] = std::array::from_fn(|_| (0, Vec::new()));
    for life in 0..HANGS {
        for (length, (_, seconds)) in LENGTHS.iter().enumerate() {
            let errors = errors(&seen[&id(life, length)], *seconds);
            for moment in 0..MOMENTS.len() {
                let all = errors.iter().all(|of_way| of_way[moment].is_some());
                for ((count, compared), of_way) in compared.iter_mut().zip(&errors) {
                    *count += usize::from(of_way[moment].is_some());
                    compared.extend(of_way[moment].filter(|_| all).map(f64::abs));
                }
            }
        }
    }
    compared
}

/// `docs/estimates.md`.
fn page(seen: &BTreeMap<String, Vec<Sighting>>) -> String {
    let mut page = String::from(include_str!("estimates.md"));
    for (life, (name, _)) in LIVES.iter().enumerate().take(HANGS) {
        for (length, (long, seconds)) in LENGTHS.iter().enumerate() {
            write!(page, "| {name} | {long} |").unwrap();
            for error in errors(&seen[&id(life, length)], *seconds).into_iter().flatten() {
                write!(page, " {} |", error.map_or("-".to_owned(), percent)).unwrap();
            }
            page.push('\n');
        }
    }
    page.push_str(
        "\nAll of them together; errors without their signs, over the moments at which each way has
an estimate:

| way | estimates | median error | mean error | worst | off by more than half a life |
| --- | --- | --- | --- | --- | --- |
",
    );
    let moments = HANGS * LENGTHS.len() * MOMENTS.len();
    for ((way, _), (count, mut errors)) in WAYS.iter().zip(compare(seen)) {
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let (far, all) = (errors.iter().filter(|&&error| error > 0.5).count(), errors.len());
        let figures = [median(&mut errors), mean(&errors), worst].map(|error| error * 100.0);
        let [median, mean, worst] = figures.map(f64::round);
        writeln!(
            page,
            "| {way} | {count} of {moments} | {median} % | {mean} % | {worst} % | {far} of {all} |"
        )
        .unwrap();
    }
    page.push_str(
        "
## A task that hangs for good

It comes to 40 % evenly and stays there. The estimate goes once it has stood still for three times
its longest lull:

| life, had it gone on | last estimate after hanging for |
| --- | --- |
",
    );
    for (length, (long, seconds)) in LENGTHS.iter().enumerate() {
        let hanging = hanging(&seen[&id(HANGS, length)], *seconds);
        writeln!(page, "| {long} | {} |", humantime::format_duration(hanging)).unwrap();
    }
    page
}

/// For how long a task that hangs at 40 % had an estimate; zero if it never had one.
fn hanging(sightings: &[Sighting], length: f64) -> Duration {
    let last = sightings.iter().rfind(|sighting| sighting.end.is_some());
    let since = last.map_or(0.0, |last| last.second - length * 0.4);
    Duration::from_secs_f64(since.max(0.0))
}

#[tokio::test(start_paused = true)]
async fn the_page_of_estimates_is_what_simulated_lives_say() {
    let page = page(&watch().await);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/estimates.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page,
        "docs/estimates.md is old: UPDATE_DOCS=1 cargo test --test it estimates"
    );
}

#[tokio::test(start_paused = true)]
async fn the_estimate_beats_each_simpler_way_in_median_or_mean_and_is_exact_for_an_even_life() {
    let seen = watch().await;
    let [ours, others @ ..] =
        compare(&seen).map(|(_, mut errors)| (median(&mut errors), mean(&errors)));
    for (other, (name, _)) in others.into_iter().zip(&WAYS[1..]) {
        assert!(ours.0 < other.0 || ours.1 < other.1, "{ours:?}, {name} {other:?}");
    }
    for (length, (_, seconds)) in LENGTHS.iter().enumerate() {
        for error in errors(&seen[&id(0, length)], *seconds)[0].into_iter().flatten() {
            assert!(error.abs() < 0.02, "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_hangs_soon_has_no_estimate() {
    let seen = watch().await;
    for (length, (_, seconds)) in LENGTHS.iter().enumerate() {
        let hanging = hanging(&seen[&id(HANGS, length)], *seconds);
        // A percent takes a hundredth of the life, and a poll more to be seen.
        let patience = (seconds / 100.0 + 30.0) * 3.0;
        let patience = Duration::from_secs_f64(patience.max(300.0) + 30.0);
        assert!(hanging <= patience, "{seconds} s: {hanging:?}");
    }
}
