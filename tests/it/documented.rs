//! Tables of keys in the documents, and how they are compared with what a configuration takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use dbtask_exporter::config::{Config, ConfigError};
use dbtask_exporter::platform::environment::Environment;
use serde_json::{Value, json};

/// The tables of a document.
pub(crate) struct Page(pub(crate) Vec<Table>);

pub(crate) struct Table {
    pub(crate) heading: String,
    /// The names of the columns.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// A key, and the other columns of its row.
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) cells: BTreeMap<String, String>,
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let (mut tables, mut heading, mut is_open) = (Vec::new(), String::new(), false);
        for line in text(name).lines() {
            if let Some(title) = line.strip_prefix('#') {
                title.trim_start_matches('#').trim().clone_into(&mut heading);
            }
            let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
                is_open = false;
                continue;
            };
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().to_owned()).collect();
            if !is_open {
                let heading = heading.clone();
                tables.push(Table { heading, columns: cells, rows: Vec::new() });
            } else if !cells[0].starts_with("---") {
                tables.last_mut().unwrap().rows.push(cells);
            }
            is_open = true;
        }
        Self(tables)
    }

    /// The headings above tables whose first column is `key`.
    pub(crate) fn headings(&self) -> Vec<&str> {
        let of_keys = self.0.iter().filter(|table| table.columns[0] == "key");
        of_keys.map(|table| table.heading.as_str()).collect()
    }

    pub(crate) fn table(&self, heading: &str, first: &str) -> &Table {
        let wanted = |table: &&Table| table.heading == heading && table.columns[0] == first;
        self.0.iter().find(wanted).unwrap_or_else(|| panic!("no table {heading}"))
    }

    pub(crate) fn rows(&self, heading: &str) -> Vec<Row> {
        let table = self.table(heading, "key");
        let row = |cells: &Vec<String>| {
            assert_eq!(cells.len(), table.columns.len(), "{cells:?}");
            let named = table.columns.iter().cloned().zip(cells.iter().cloned());
            let named: BTreeMap<_, _> = named.collect();
            let row = move |key| Row { key, cells: named.clone() };
            spans(&cells[0]).into_iter().map(row).collect::<Vec<_>>()
        };
        table.rows.iter().flat_map(row).collect()
    }
}

/// A document, as it is written.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// What stands between backticks.
pub(crate) fn spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Row {
    /// The cell of a column, empty if the table has no such.
    pub(crate) fn cell(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }

    /// The least and the largest value.
    fn range(&self) -> Option<(String, String)> {
        let (least, most) = self.cell("from, to").split_once(", ")?;
        Some((least.trim_matches('`').to_owned(), most.trim_matches('`').to_owned()))
    }
}

/// The keys of a table.
pub(crate) fn keys(rows: &[Row]) -> impl Iterator<Item = String> {
    rows.iter().map(|row| row.key.clone())
}

/// All that a configuration amounts to, or what is wrong with it.
pub(crate) type Outcome = Result<String, BTreeSet<String>>;

pub(crate) fn outcome<T: Debug>(result: Result<T, ConfigError>) -> Outcome {
    result.map(|config| format!("{config:?}")).map_err(|error| {
        let problems = error.problems.into_iter();
        problems.map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    })
}

/// A section in a configuration with nothing else that could be left out.
pub(crate) struct Place<'a> {
    pub(crate) read: &'a dyn Fn(&str) -> Outcome,
    pub(crate) base: Value,
    /// The section, as a JSON pointer.
    pub(crate) pointer: &'static str,
}

pub(crate) fn config(text: &str) -> Outcome {
    outcome(Config::parse(text, "test.yml", &Environment::default()))
}

impl Place<'_> {
    pub(crate) fn new(base: Value, pointer: &'static str) -> Self {
        Self { read: &config, base, pointer }
    }

    fn edited(&self, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Outcome {
        let mut tree = self.base.clone();
        edit(tree.pointer_mut(self.pointer).unwrap().as_object_mut().unwrap());
        (self.read)(&tree.to_string())
    }

    /// What comes of it with this key.
    pub(crate) fn with(&self, key: &str, value: impl Into<Value>) -> Outcome {
        self.edited(|section| {
            section.insert(key.to_owned(), value.into());
        })
    }

    pub(crate) fn without(&self, key: &str) -> Outcome {
        self.edited(|section| {
            section.remove(key);
        })
    }

    /// As messages spell it: `sources[0].poll.interval`.
    fn path(&self, key: &str) -> String {
        let parts = self.pointer.split('/').skip(1).chain([key]);
        let spelled = parts.map(|part| match part.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!(".{part}"),
        });
        spelled.collect::<String>().trim_start_matches('.').to_owned()
    }

    /// What is wrong with this key.
    pub(crate) fn problems(&self, key: &str, outcome: &Outcome) -> Vec<String> {
        let path = self.path(key);
        let Err(problems) = outcome else { return Vec::new() };
        let of_key = |problem: &String| {
            let rest = problem.strip_prefix(&path)?;
            rest.starts_with([':', '.', '[']).then(|| rest.trim_start_matches(": ").to_owned())
        };
        problems.iter().filter_map(of_key).collect()
    }

    /// Every key that the program takes here.
    fn known(&self) -> BTreeSet<String> {
        let problems = self.problems("?", &self.with("?", "x"));
        let list = problems[0].strip_prefix("unknown key; there are ").unwrap();
        list.split(", ").map(str::to_owned).collect()
    }

    pub(crate) fn has(&self, keys: impl IntoIterator<Item = String>) {
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), self.known(), "{}", self.pointer);
    }

    /// Looks at one row; its default, if that is in words.
    pub(crate) fn check(&self, row: &Row) -> Option<(String, String)> {
        let Row { key, .. } = row;
        let path = self.path(key);
        let read = self.problems(key, &self.with(key, json!([[]])));
        assert!(!read.is_empty(), "{path} is not read");

        let default = row.cell("default");
        assert!(!default.is_empty(), "{path} has no default");
        let missing = self.problems(key, &self.without(key));
        let is_required = missing.contains(&"is required".to_owned());
        assert_eq!(is_required, default == "required", "{path}: {missing:?}");

        self.check_range(row);
        if !default.starts_with('`') {
            return (!is_required).then(|| (key.clone(), default.to_owned()));
        }
        let default = &spans(default)[0];
        let base = (self.read)(&self.base.to_string());
        assert_eq!(self.with(key, value(default)), base, "{path} is {default} by default");
        let other = row.range().map_or_else(|| another(default), |(_, most)| most.into());
        assert_ne!(self.with(key, other), base, "{path} has no effect");
        None
    }

    fn check_range(&self, row: &Row) {
        let Row { key, .. } = row;
        let refused = |value: &str| {
            let problems = self.problems(key, &self.with(key, value));
            let range = |text: &String| {
                let range = text.strip_prefix("must be from ");
                range.or(text.strip_prefix("must be a whole number from ")).map(str::to_owned)
            };
            problems.iter().find_map(range)
        };
        let range = row.range();
        let said = range.as_ref().map(|(least, most)| format!("{least} to {most}"));
        // Neither a number nor within any range of durations.
        assert_eq!(refused("1ms"), said, "{}", self.path(key));
        let Some((least, most)) = range else { return };
        let (below, above) = if let (Ok(least), Ok(most)) = (least.parse(), most.parse::<u64>()) {
            (u64::checked_sub(least, 1).map(|it| it.to_string()), (most + 1).to_string())
        } else {
            let least = humantime::parse_duration(&least).unwrap().as_millis();
            (Some(format!("{}ms", least - 1)), format!("{most} 1s"))
        };
        for outside in below.into_iter().chain([above]) {
            assert!(refused(&outside).is_some(), "{}: {outside}", self.path(key));
        }
        for bound in [least, most] {
            assert_eq!(refused(&bound), None, "{}: {bound}", self.path(key));
        }
    }

    /// Looks at every row. The defaults that are in words must be `words`, each of them true.
    pub(crate) fn check_all(&self, rows: &[Row], words: &[(&str, &str, bool)]) {
        let found: BTreeSet<_> = rows.iter().filter_map(|row| self.check(row)).collect();
        for (key, default, is_true) in words {
            assert!(is_true, "{} is not {default:?} by default", self.path(key));
        }
        let words = words.iter().map(|&(key, default, _)| (key.to_owned(), default.to_owned()));
        assert_eq!(found, words.collect(), "{}", self.pointer);
    }
}

/// A default as a value.
pub(crate) fn value(text: &str) -> Value {
    match text.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        Some(list) => list.split(", ").collect(),
        None => text.into(),
    }
}

/// What a key may be besides this.
fn another(default: &str) -> Value {
    match default {
        "true" => "false".into(),
        "false" => "true".into(),
        "json" => "xml".into(),
        "TLS12" => "TLS13".into(),
        "TLS13" => "TLS12".into(),
        "NoClientCert" => "RequestClientCert".into(),
        _ if default.starts_with("+08") => "+00:00".into(),
        _ if default.starts_with('[') => json!(["CurveP256"]),
        _ => "another".into(),
    }
}
