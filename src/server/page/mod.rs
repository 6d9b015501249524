//! `/`: the status page. It needs no script, and reads well at night.

mod address;
mod listing;
mod rows;
mod wording;

use std::sync::Arc;

use askama::Template;
use dbtask_clouds::model::{TaskState, Timestamp};

use self::address::{Address, Problem};
use self::listing::{Listing, PAGE};
use self::rows::{SourceRow, TaskRow, source_state};
use self::wording::{When, grouped, plural};
use super::filter::Filter;
use crate::snapshot::Snapshot;

/// The style sheet that the page asks for.
pub(super) const STYLE: &str = include_str!("../../../templates/style.css");
/// The picture in the tab: all is well, or it is not.
pub(super) const ICON: &str = include_str!("../../../templates/icon.svg");
/// The same for when it is not.
pub(super) const ICON_FAILED: &str = include_str!("../../../templates/icon-failed.svg");

/// After so many seconds the page asks for itself anew.
const REFRESH_SECONDS: u32 = 30;
/// The same while a source is about to be polled for the first time.
const HURRIED_REFRESH_SECONDS: u32 = 5;
/// Sources that are shown unless all are asked for.
const FEW_SOURCES: usize = 20;
/// Sources that are shown and offered at most.
const MAX_SOURCES: usize = 1000;
/// If the filter leaves no more tasks than this, their details are open.
const FEW_TASKS: usize = 3;

/// A page, and how it is to be sent.
pub(super) struct Written {
    pub(super) html: String,
    /// Whether the filter made sense.
    pub(super) is_good: bool,
    /// After so many seconds a browser should ask for the same address again.
    pub(super) refresh_seconds: Option<u32>,
}

/// A state to choose.
struct StateLink {
    label: &'static str,
    count: String,
    href: String,
    is_current: bool,
}

/// Something to choose in the form.
struct Choice<'a> {
    value: &'a str,
    is_chosen: bool,
}

/// The page as the template sees it.
#[derive(Template)]
#[template(path = "page.html", whitespace = "minimize")]
struct Page<'a> {
    title: String,
    /// The most important thing, and whether it is bad.
    verdict: String,
    is_bad: bool,
    now: When,
    refresh_seconds: Option<u32>,
    /// Where the page does not refresh itself, or does again.
    other_refresh: String,
    problem: Option<String>,
    states: Vec<StateLink>,
    source_choices: Vec<Choice<'a>>,
    state_choices: Vec<Choice<'a>>,
    /// Everything again, where there is a filter.
    clear: Option<String>,
    range: String,
    tasks: Vec<TaskRow>,
    are_open: bool,
    /// Why there is no task.
    emptiness: Option<String>,
    pager: Option<Pager>,
    sources: Sources,
    metrics: String,
    /// The same tasks as JSON.
    tasks_json: String,
    address: &'a Address,
}

/// The ways to other pages.
struct Pager {
    at: String,
    of: String,
    first: Option<String>,
    previous: Option<String>,
    next: Option<String>,
    last: Option<String>,
}

/// The page that `query` asks for, with a link to the metrics at `metrics_path`.
pub(super) fn page(
    query: &str,
    snapshots: &[Arc<Snapshot>],
    metrics_path: &str,
    now: Timestamp,
) -> Written {
    let (address, problem) = Address::new(query, snapshots);
    let is_good = !matches!(problem, Some(Problem::Filter(_)));
    let listing =
        Listing::new(if is_good { snapshots } else { &[] }, &address.filter, address.page);
    let problem = match problem {
        Some(Problem::Page(sentence)) => Some(sentence),
        Some(Problem::Filter(sentence)) => Some(format!("This filter cannot be: {sentence}.")),
        None if address.page > listing.pages => {
            let page = grouped(address.page as u64);
            Some(format!("There is no page {page} any more; this is the last one."))
        }
        None => None,
    };
    let waits = snapshots.iter().any(|snapshot| !snapshot.tried);
    let seconds = if waits { HURRIED_REFRESH_SECONDS } else { REFRESH_SECONDS };
    let refresh_seconds = (!address.is_still).then_some(seconds);
    let sources = Sources::new(snapshots, &address, now);
    let tally = Tally::new(&listing, snapshots, &address.filter);
    let page = Page {
        title: tally.title(),
        verdict: tally.verdict(),
        is_bad: tally.failed > 0 || tally.down > 0,
        now: When { at: now, now },
        refresh_seconds,
        other_refresh: Address { is_still: !address.is_still, ..address.at(listing.page) }.href(),
        states: state_links(&listing, &address),
        source_choices: source_choices(snapshots, &address.filter),
        state_choices: state_choices(&address.filter),
        emptiness: is_good.then(|| emptiness(&listing, snapshots, &address.filter)).flatten(),
        clear: (!is_good || !address.filter.is_empty())
            .then(|| address.to(Filter::default()).href()),
        range: range(&listing),
        tasks: listing.entries.iter().map(|entry| TaskRow::new(*entry, &address, now)).collect(),
        are_open: listing.found <= FEW_TASKS,
        pager: Pager::new(&listing, &address),
        sources,
        metrics: format!(".{metrics_path}"),
        tasks_json: format!("api/v1/tasks?{}", address.filter.query()),
        problem,
        address: &address,
    };
    // Writing to a string cannot fail.
    let html = page.render().unwrap_or_default();
    Written { html, is_good, refresh_seconds }
}

/// What somebody wants to know first.
struct Tally {
    failed: u64,
    down: u64,
    waiting: u64,
}

impl Tally {
    fn new(listing: &Listing<'_>, snapshots: &[Arc<Snapshot>], filter: &Filter) -> Self {
        let states = TaskState::ALL.into_iter().zip(listing.states);
        let failed = states.filter(|(state, _)| *state == TaskState::Failed);
        let of_state = |state| {
            let chosen = snapshots.iter().filter(|snapshot| filter.has_source(&snapshot.source));
            chosen.filter(|snapshot| source_state(snapshot) == state).count() as u64
        };
        Self {
            failed: failed.map(|(_, count)| count).sum(),
            down: of_state("down"),
            waiting: of_state("waiting"),
        }
    }

    /// What a row of tabs has room for.
    fn title(&self) -> String {
        let mut title = format!("{} failed", grouped(self.failed));
        if self.down > 0 {
            title = format!("{title}, {} down", plural(self.down, "source", "sources"));
        }
        title + " · dbtask-exporter"
    }

    fn verdict(&self) -> String {
        let failed = match self.failed {
            0 => "No failed task".to_owned(),
            failed => plural(failed, "failed task", "failed tasks"),
        };
        let sources = match (self.down, self.waiting) {
            (0, 0) => "every source answers".to_owned(),
            (0, waiting) => format!("{} not polled yet", plural(waiting, "source", "sources")),
            (down, _) => format!("{} down", plural(down, "source", "sources")),
        };
        format!("{failed}, {sources}")
    }
}

/// The table of sources.
struct Sources {
    rows: Vec<SourceRow>,
    /// How many more there are than are shown.
    more: Option<String>,
    /// The way to them, unless there are too many for one page.
    all: Option<String>,
    /// Those that are down, by name.
    down: Vec<String>,
}

impl Sources {
    /// Those that are down first, then by name.
    fn new(snapshots: &[Arc<Snapshot>], address: &Address, now: Timestamp) -> Self {
        let mut chosen: Vec<&Snapshot> = snapshots
            .iter()
            .map(|snapshot| &**snapshot)
            .filter(|snapshot| address.filter.has_source(&snapshot.source))
            .collect();
        chosen.sort_by_key(|snapshot| match source_state(snapshot) {
            "down" => 0,
            "waiting" => 1,
            _ => 2,
        });
        let limit = if address.all_sources { MAX_SOURCES } else { FEW_SOURCES };
        let more = chosen.len().saturating_sub(limit);
        let down = chosen.iter().filter(|snapshot| source_state(snapshot) == "down");
        Self {
            rows: chosen.iter().take(limit).map(|it| SourceRow::new(it, address, now)).collect(),
            more: (more > 0).then(|| grouped(more as u64)),
            all: (!address.all_sources)
                .then(|| Address { all_sources: true, ..address.clone() }.href()),
            down: down.take(FEW_SOURCES).map(|snapshot| snapshot.source.name.clone()).collect(),
        }
    }
}

fn state_links(listing: &Listing<'_>, address: &Address) -> Vec<StateLink> {
    let filter = &address.filter;
    let link = |label, count: u64, states: Vec<TaskState>, is_current| StateLink {
        label,
        count: grouped(count),
        href: address.to(filter.clone().with_states(states)).href(),
        is_current,
    };
    let all = link("all", listing.states.iter().sum(), Vec::new(), filter.states.is_empty());
    let states = TaskState::ALL.into_iter().zip(listing.states);
    let each = states.map(|(state, count)| {
        let is_current = !filter.states.is_empty() && filter.has_state(state);
        link(state.as_str(), count, vec![state], is_current)
    });
    std::iter::once(all).chain(each).collect()
}

fn source_choices<'a>(snapshots: &'a [Arc<Snapshot>], filter: &Filter) -> Vec<Choice<'a>> {
    let offered = snapshots.iter().map(|snapshot| &snapshot.source.name).enumerate();
    offered
        .map(|(index, name)| (index, name, filter.sources.contains(name)))
        .filter(|(index, _, is_chosen)| *index < MAX_SOURCES || *is_chosen)
        .map(|(_, value, is_chosen)| Choice { value, is_chosen })
        .collect()
}

fn state_choices(filter: &Filter) -> Vec<Choice<'static>> {
    let choice = |state: TaskState| Choice {
        value: state.as_str(),
        is_chosen: filter.states.contains(&state),
    };
    TaskState::ALL.into_iter().map(choice).collect()
}

/// Why there is no task to be seen; `None` if there is one.
fn emptiness(
    listing: &Listing<'_>,
    snapshots: &[Arc<Snapshot>],
    filter: &Filter,
) -> Option<String> {
    if listing.found > 0 {
        return None;
    }
    let count = |state| snapshots.iter().filter(|it| source_state(it) == state).count() as u64;
    let sentence = match (count("waiting"), count("down")) {
        _ if !filter.is_empty() => "No task matches this filter.".to_owned(),
        _ if snapshots.is_empty() => "No source is configured.".to_owned(),
        (1.., _) => "Not every source has been polled yet. The first polls come within seconds of \
                     the start; this page looks again by itself."
            .to_owned(),
        (0, 1..) => "No task is known, but not every source answers: see below.".to_owned(),
        (0, 0) => "Nothing goes on, and nothing has ended lately. Every source answers.".to_owned(),
    };
    Some(sentence)
}

/// `51 to 100 of 1 234 tasks`.
fn range(listing: &Listing<'_>) -> String {
    let all = plural(listing.found as u64, "task", "tasks");
    if listing.pages == 1 {
        return all;
    }
    let before = (listing.page - 1) * PAGE;
    let [first, last] =
        [before + 1, before + listing.entries.len()].map(|number| grouped(number as u64));
    format!("{first} to {last} of {all}")
}

impl Pager {
    /// `None` if everything is on one page.
    fn new(listing: &Listing<'_>, address: &Address) -> Option<Self> {
        let (page, pages) = (listing.page, listing.pages);
        let way = |to: usize, leads: bool| leads.then(|| address.at(to).href());
        (pages > 1).then(|| Self {
            at: grouped(page as u64),
            of: grouped(pages as u64),
            first: way(1, page > 2),
            previous: way(page - 1, page > 1),
            next: way(page + 1, page < pages),
            last: way(pages, page + 1 < pages),
        })
    }
}
