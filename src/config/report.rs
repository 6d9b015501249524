//! What is wrong with a configuration, and a reader that finds all of it in one go.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::shape;
use super::yaml::{Key, Node, Place, Value};
use crate::platform::printable::printable;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file, or `environment`.
    pub file: String,
    /// From 1; 0 where the problem has no place in a file.
    pub line: u64,
    /// From 1, in characters; 0 where the problem has no place in a file.
    pub column: u64,
    /// The key, such as `sources[1].poll.interval`, or the environment variable; may be empty.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `config.yml:12:5: sources[1].region: is required`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", printable(&self.key))?;
        }
        write!(f, ": {}", printable(&self.message))
    }
}

impl ConfigError {
    /// More than anybody corrects in one go.
    const MAX_SHOWN: usize = 100;
}

impl fmt::Display for ConfigError {
    /// One line for each of the first hundred problems.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(Self::MAX_SHOWN).enumerate() {
            let line_end = if index > 0 { "\n" } else { "" };
            write!(f, "{line_end}{problem}")?;
        }
        match self.problems.len().saturating_sub(Self::MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The problems found so far in one file.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), problems: RefCell::default() }
    }

    pub(super) fn add(&self, at: Place, key: impl Into<String>, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            key: key.into(),
            message: message.into(),
        });
    }

    /// Takes over what was found in another file that this one names.
    pub(super) fn absorb(&self, other: Self) {
        self.problems.borrow_mut().append(&mut other.problems.into_inner());
    }

    /// `value`, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.file != self.file, problem.line, problem.column));
        // What is wrong in a default or a template is wrong for every source that takes it.
        let mut seen = HashSet::new();
        problems.retain(|problem| seen.insert(problem.clone()));
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(ConfigError { problems }),
        }
    }
}

/// One value of the file, with its path.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    report: &'a Report,
    path: String,
    node: &'a Node,
}

impl<'a> Field<'a> {
    pub(super) fn root(report: &'a Report, node: &'a Node) -> Self {
        Self { report, path: String::new(), node }
    }

    pub(super) fn at(&self) -> Place {
        self.node.at
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// The same place of the file with another value.
    pub(super) fn instead<'b>(&self, node: &'b Node) -> Field<'b>
    where
        'a: 'b,
    {
        Field { report: self.report, path: self.path.clone(), node }
    }

    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Reports that the value is wrong. A value that may be a secret in the wrong place is not shown.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        let mut message = message.into();
        if let Value::Text(text) = &self.node.value
            && shape::may_be_secret(text)
        {
            message = message.replace(&format!("{text:?}"), "\"…\"").replace(text, "…");
        }
        self.report.add(self.node.at, self.path.clone(), message);
    }

    /// The value as a mapping; one without a value counts as empty.
    pub(super) fn section(&self) -> Section<'a> {
        let entries = match &self.node.value {
            Value::Map(entries) => Some(entries.as_slice()),
            Value::Null => Some([].as_slice()),
            Value::Text(_) | Value::List(_) => {
                self.wrong("must be a mapping of keys to values");
                None
            }
        };
        Section { report: self.report, path: self.path.clone(), at: self.node.at, entries }
    }

    /// The items of a list; one without a value counts as empty.
    pub(super) fn items(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Field {
                    report: self.report,
                    path: format!("{}[{index}]", self.path),
                    node,
                })
                .collect(),
            Value::Null => Vec::new(),
            Value::Text(_) | Value::Map(_) => {
                self.wrong("must be a list");
                Vec::new()
            }
        }
    }

    /// Whether it is a list without items, or no value at all.
    pub(super) fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Text(_) | Value::Map(_) => false,
        }
    }

    /// Whether it is an empty text, or no value at all.
    pub(super) fn is_blank(&self) -> bool {
        match &self.node.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The value as text; numbers as they are spelled. Never empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if !text.is_empty() => return Some(text),
            Value::Text(_) | Value::Null => self.wrong("has no value"),
            Value::List(_) | Value::Map(_) => {
                self.wrong("must be a single value, not a list or a mapping");
            }
        }
        None
    }

    /// The value as text that `read` accepts; its error is what is wrong.
    pub(super) fn parse<T>(&self, read: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        read(self.text()?).map_err(|message| self.wrong(message)).ok()
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.parse(|text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    pub(super) fn number(&self, range: &RangeInclusive<usize>) -> Option<usize> {
        self.parse(|text| {
            text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                format!("must be a whole number from {} to {}", range.start(), range.end())
            })
        })
    }

    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        self.parse(|text| {
            let duration = shape::duration(text)?;
            if range.contains(&duration) {
                return Ok(duration);
            }
            let (least, most) = (*range.start(), *range.end());
            Err(format!("must be from {} to {}", shape::spell(least), shape::spell(most)))
        })
    }
}

/// A mapping of the file.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    report: &'a Report,
    path: String,
    at: Place,
    /// `None` if it is no mapping, which has been reported.
    entries: Option<&'a [(Key, Node)]>,
}

impl<'a> Section<'a> {
    fn entries(&self) -> &'a [(Key, Node)] {
        self.entries.unwrap_or_default()
    }

    /// Reports every key that is not in `known`, with the one that was probably meant.
    pub(super) fn allow(&self, known: &[&str]) {
        self.allow_or(known, |_| None);
    }

    /// The same, where `explain` may know better what is wrong with a key.
    pub(super) fn allow_or(&self, known: &[&str], explain: impl Fn(&str) -> Option<String>) {
        for (key, _) in self.entries() {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let message = explain(&key.name).unwrap_or_else(|| shape::unknown(&key.name, known));
            // `secret_key:value` without a blank is a key, too.
            let name = if shape::may_be_secret(&key.name) { "…" } else { &key.name };
            self.report.add(key.at, self.path_of(name), message);
        }
    }

    /// Reports a key that is known but may not be used here.
    pub(super) fn refuse(&self, name: &str, message: &str) {
        if let Some((key, _)) = self.entries().iter().find(|(key, _)| key.name == name) {
            self.report.add(key.at, self.path_of(name), message);
        }
    }

    /// The value of a key that need not be there.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let (_, node) = self.entries().iter().find(|(key, _)| key.name == name)?;
        Some(Field { report: self.report, path: self.path_of(name), node })
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, name: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() && self.entries.is_some() {
            self.report.add(self.at, self.path_of(name), "is required");
        }
        field
    }

    /// Every key and its value.
    pub(super) fn fields(&self) -> Vec<(&'a str, Field<'a>)> {
        let field = |key: &'a Key, node| {
            let path = self.path_of(&key.name);
            (key.name.as_str(), Field { report: self.report, path, node })
        };
        self.entries().iter().map(|(key, node)| field(key, node)).collect()
    }

    /// The path of a key in this section, whether it is there or not.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reports something about the whole section.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.report.add(self.at, self.path.clone(), message);
    }
}
