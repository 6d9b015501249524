//! `Table`: a source's snapshot with all label text escaped once, and `Rendering`, which turns
//! tables into text family by family.
//!
//! The labels of a task lie one after another in one arena, its identity first:
//!
//! ```text
//! {source="s",task_id="7" ,resource_id="r",… ,status="RUNNING" ,code="E42"
//! └ key ────────────────┘ └ columns, one for each family of `Samples::TaskLabels` ┘
//! ```
//!
//! so one copy serves a series that has only the identity, and one or two any other. Values stay
//! in the snapshot.

use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use dbtask_clouds::model::{Step, TaskState};
use dbtask_clouds::reason::Reason;

use super::lines::{Lines, Name, Span};
use super::text::{self, MAX_LABEL_BYTES, Value, cut};
use super::{FAMILIES, Family, Samples};
use crate::snapshot::{Snapshot, Tracked};

/// How much text is rendered, and sent, at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// Room for a chunk and the lines that make it a little longer.
pub(super) const ROOM: usize = CHUNK + CHUNK / 4;

/// How many families have labels of their own for each task.
const COLUMNS: usize = {
    let mut count = 0;
    let mut rest = FAMILIES;
    while let [family, tail @ ..] = rest {
        if matches!(family.samples, Samples::TaskLabels(_)) {
            count += 1;
        }
        rest = tail;
    }
    count
};

/// One source, ready to be rendered.
#[derive(Debug)]
pub(super) struct Table {
    /// Where the values are.
    pub(super) snapshot: Arc<Snapshot>,
    /// `{source="…"`.
    source: Box<[u8]>,
    /// Label text, escaped.
    arena: Box<[u8]>,
    /// As the tasks of the snapshot; empty if the source has no series for tasks.
    rows: Box<[Row]>,
    /// The steps of all tasks, in the tasks' order.
    steps: Box<[StepRow]>,
}

/// Where in the arena the labels of a task are.
#[derive(Debug)]
struct Row {
    start: u32,
    /// The end of the key; equal to `start` for a task that repeats the id of the one before.
    key: u32,
    /// The ends of the columns; an empty one has no series.
    columns: [u32; COLUMNS],
}

impl Row {
    fn is_shown(&self) -> bool {
        self.key > self.start
    }

    fn column(&self, index: usize) -> Range<u32> {
        let before = index.checked_sub(1).and_then(|index| self.columns.get(index));
        let start = before.copied().unwrap_or(self.key);
        start..self.columns.get(index).copied().unwrap_or(start)
    }
}

/// Where in the arena the `step` label is, comma first.
#[derive(Debug)]
struct StepRow {
    task: u32,
    step: u32,
    labels: Range<u32>,
}

impl Table {
    /// How much memory it and its snapshot take, about.
    pub(super) fn bytes(&self) -> usize {
        let tasks = self.snapshot.tasks.len() + self.snapshot.hidden.len();
        // A task has texts as long as its labels besides.
        self.arena.len() * 2
            + size_of_val(&*self.rows)
            + size_of_val(&*self.steps)
            + tasks * size_of::<Tracked>()
    }

    /// Writes the count of the source at one value of a label.
    fn count(&self, lines: &mut Lines<'_>, name: &Name, label: &str, (value, count): (&str, u64)) {
        let mut text = BytesMut::new();
        text::label(&mut text, ",", label, value);
        lines.line(name, self.source(), Span::from(&*text), count.into());
    }

    /// Escapes the labels of a snapshot.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        let mut source = BytesMut::new();
        // Names are bounded by the configuration; cutting one could make two sources the same.
        text::label(&mut source, "{", "source", &snapshot.source.name);
        let mut arena = BytesMut::new();
        let mut rows = Vec::new();
        let mut steps = Vec::new();
        if snapshot.source.per_task_metrics {
            rows.reserve_exact(snapshot.tasks.len());
            let mut values = Vec::new();
            let mut last_id = None;
            for (index, Tracked { task, .. }) in snapshot.tasks.iter().enumerate() {
                let start = offset(arena.len());
                let mut row = Row { start, key: start, columns: [start; COLUMNS] };
                // Two series with the same labels would spoil the whole scrape.
                if last_id.replace(&*task.id) != Some(&*task.id) {
                    arena.extend_from_slice(&source);
                    text::label(&mut arena, ",", "task_id", &task.id);
                    row.key = offset(arena.len());
                    let columns = FAMILIES.iter().filter_map(Family::task_labels);
                    for ((names, labels), end) in columns.zip(&mut row.columns) {
                        labels(task, &mut values);
                        for (name, value) in names.iter().zip(values.drain(..)) {
                            text::label(&mut arena, ",", name, cut(value, MAX_LABEL_BYTES));
                        }
                        *end = offset(arena.len());
                    }
                    name_steps(&task.steps, |step, name| {
                        let start = offset(arena.len());
                        text::label(&mut arena, ",", "step", name);
                        let labels = start..offset(arena.len());
                        steps.push(StepRow { task: offset(index), step: offset(step), labels });
                    });
                }
                rows.push(row);
            }
        }
        arena.extend_from_slice(&[0; Span::PADDING]);
        Self {
            snapshot,
            source: source.to_vec().into(),
            arena: arena.to_vec().into(),
            rows: rows.into(),
            steps: steps.into(),
        }
    }

    fn source(&self) -> Span<'_> {
        Span::from(&*self.source)
    }

    fn text(&self, from: u32, to: u32) -> Span<'_> {
        Span::new(&self.arena, from as usize, to as usize)
    }

    /// Tasks with their rows, from the one with index `from`.
    fn tasks(&self, from: usize) -> impl Iterator<Item = (&Tracked, &Row)> {
        let rows = self.rows.get(from..).unwrap_or_default();
        let tasks = self.snapshot.tasks.get(from..).unwrap_or_default();
        tasks.iter().zip(rows)
    }

    fn step(&self, row: &StepRow) -> Option<(&Row, &Step)> {
        let task = self.snapshot.tasks.get(row.task as usize)?;
        Some((self.rows.get(row.task as usize)?, task.task.steps.get(row.step as usize)?))
    }
}

/// An arena of 4 GiB would take ten million tasks in one source; whatever lies behind has no text.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Calls `each` with the index and the name of each step. A name that has been used in the task
/// gets a number, so that no two series are the same.
fn name_steps(steps: &[Step], mut each: impl FnMut(usize, &str)) {
    let mut used: Vec<String> = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let mut name = cut(&step.name, MAX_LABEL_BYTES).to_owned();
        let mut number = 2;
        while used.contains(&name) {
            let suffix = format!(" #{number}");
            let room = MAX_LABEL_BYTES.saturating_sub(suffix.len());
            name = [cut(&step.name, room), &suffix].concat();
            number += 1;
        }
        each(index, &name);
        used.push(name);
    }
}

/// The text of some tables, bit by bit. Only gauges come out of it, so it is the same in both
/// formats.
#[derive(Debug)]
pub(super) struct Rendering {
    tables: Arc<[Arc<Table>]>,
    family: usize,
    table: usize,
    /// The next task, or step.
    row: usize,
    /// Whether the family's header has been written.
    headed: bool,
}

impl Rendering {
    /// From the beginning.
    pub(super) fn new(tables: Arc<[Arc<Table>]>) -> Self {
        Self { tables, family: 0, table: 0, row: 0, headed: false }
    }

    /// Writes whole lines over `out`, from its start, until there are `enough` bytes or a little
    /// more; says how many there are, 0 at the end.
    pub(super) fn fill(&mut self, out: &mut BytesMut, enough: usize) -> usize {
        let mut lines = Lines::new(out);
        while let Some(family) = FAMILIES.get(self.family) {
            while let Some(table) = self.tables.get(self.table).cloned() {
                if !self.fill_from(family, &table, &mut lines, enough) {
                    return lines.written();
                }
                self.row = 0;
                self.table += 1;
            }
            self.table = 0;
            self.headed = false;
            self.family += 1;
        }
        lines.written()
    }

    /// The same within one family and one table; `false` if `lines` got long enough before the
    /// end.
    fn fill_from(
        &mut self,
        family: &Family,
        table: &Table,
        lines: &mut Lines<'_>,
        enough: usize,
    ) -> bool {
        let name = Name::new(family.name);
        let headed = &mut self.headed;
        let mut head = |lines: &mut Lines<'_>| {
            if !std::mem::replace(headed, true) {
                lines.header(family);
            }
        };
        match family.samples {
            Samples::Registry => {}
            Samples::Task(value) => {
                for (tracked, row) in table.tasks(self.row) {
                    if lines.written() >= enough {
                        return false;
                    }
                    self.row += 1;
                    if let Some(value) = value(tracked)
                        && row.is_shown()
                    {
                        head(lines);
                        lines.line(&name, table.text(row.start, row.key), Span::default(), value);
                    }
                }
            }
            Samples::TaskState(state) => {
                for (tracked, row) in table.tasks(self.row) {
                    if lines.written() >= enough {
                        return false;
                    }
                    self.row += 1;
                    if row.is_shown() {
                        head(lines);
                        let state = state(&tracked.task);
                        lines.states(&name, table.text(row.start, row.key), state);
                    }
                }
            }
            Samples::TaskLabels(_) => {
                let before = FAMILIES.iter().take(self.family);
                let column = before.filter_map(Family::task_labels).count();
                for (_, row) in table.tasks(self.row) {
                    if lines.written() >= enough {
                        return false;
                    }
                    self.row += 1;
                    let Range { start, end } = row.column(column);
                    if end > start {
                        head(lines);
                        let key = table.text(row.start, row.key);
                        lines.line(&name, key, table.text(start, end), Value::Integer(1));
                    }
                }
            }
            Samples::Step(value) => {
                for step_row in table.steps.get(self.row..).unwrap_or_default() {
                    if lines.written() >= enough {
                        return false;
                    }
                    self.row += 1;
                    if let Some((row, step)) = table.step(step_row)
                        && let Some(value) = value(step)
                    {
                        head(lines);
                        let Range { start, end } = step_row.labels;
                        let key = table.text(row.start, row.key);
                        lines.line(&name, key, table.text(start, end), value);
                    }
                }
            }
            Samples::Source(value) => {
                if let Some(value) = value(&table.snapshot) {
                    head(lines);
                    lines.line(&name, table.source(), Span::default(), value);
                }
            }
            Samples::SourceLabels(labels) => {
                let mut values = Vec::new();
                labels(&table.snapshot.source, &mut values);
                let mut text = BytesMut::new();
                for (name, value) in family.labels.iter().skip(1).zip(values) {
                    text::label(&mut text, ",", name, cut(value, MAX_LABEL_BYTES));
                }
                head(lines);
                lines.line(&name, table.source(), Span::from(&*text), Value::Integer(1));
            }
            Samples::SourceReasons(count) => {
                let counts = Reason::ALL.map(|it| (it.as_str(), count(&table.snapshot, it)));
                let some = counts.into_iter().filter(|(_, count)| *count > 0);
                some.for_each(|it| {
                    head(lines);
                    table.count(lines, &name, "reason", it);
                });
            }
            Samples::SourceStates(counts) => {
                head(lines);
                let states = TaskState::ALL.map(TaskState::as_str);
                let counts = states.into_iter().zip(counts(&table.snapshot));
                counts.for_each(|it| table.count(lines, &name, "state", it));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[&str]) -> Vec<String> {
        let steps: Vec<_> = steps
            .iter()
            .map(|&name| Step { name: name.into(), state: None, progress: None, remaining: None })
            .collect();
        let mut names = Vec::new();
        name_steps(&steps, |_, name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn a_repeated_step_gets_a_number() {
        assert_eq!(names(&["a", "a", "a #2", "a"]), ["a", "a #2", "a #2 #2", "a #3"]);
    }

    #[test]
    fn steps_that_differ_only_behind_the_cut_stay_apart() {
        let (one, two) = (format!("{}1", "x".repeat(128)), format!("{}2", "x".repeat(128)));
        let names = names(&[&one, &two]);
        assert_eq!(names, ["x".repeat(128), format!("{} #2", "x".repeat(125))]);
    }
}
