//! `Filter`: which tasks a client asks for, on the page and in the JSON alike.

use std::fmt::Write as _;

use dbtask_clouds::model::TaskState;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::snapshot::{SourceInfo, Tracked};

/// What is escaped in a part of a URI: all but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest text that is looked for, in characters: it comes back in every link of the page.
pub(super) const MAX_TEXT: usize = 200;

/// `?source=…&state=…&q=…`: sources and states as often as one likes, any of which will do, and
/// words, all of which a task must have somewhere. What is empty chooses nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter {
    /// By name; empty means all.
    pub(super) sources: Vec<String>,
    /// Empty means all.
    pub(super) states: Vec<TaskState>,
    /// As it was typed.
    pub(super) text: String,
    /// Its words, in lower case.
    words: Vec<String>,
}

impl Filter {
    /// Reads the query of a URI; fails with a sentence for the client. Other parameters are
    /// passed over.
    pub(super) fn new(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in pairs(query).filter(|(_, value)| !value.is_empty()) {
            match name {
                "source" if !filter.sources.contains(&value) => filter.sources.push(value),
                "state" => {
                    let state = state(&value)?;
                    if !filter.states.contains(&state) {
                        filter.states.push(state);
                    }
                }
                "q" => filter.text = value,
                _ => {}
            }
        }
        if filter.text.chars().count() > MAX_TEXT {
            return Err(format!("a text to look for has at most {MAX_TEXT} characters"));
        }
        let text = std::mem::take(&mut filter.text);
        Ok(filter.with_text(&text))
    }

    /// All tasks of one source.
    pub(super) fn of(source: &str) -> Self {
        Self { sources: vec![source.to_owned()], ..Self::default() }
    }

    /// The same with other states.
    pub(super) fn with_states(self, states: Vec<TaskState>) -> Self {
        Self { states, ..self }
    }

    /// The same with another text.
    pub(super) fn with_text(self, text: &str) -> Self {
        let words = text.split_whitespace().map(str::to_lowercase).collect();
        Self { text: text.to_owned(), words, ..self }
    }

    /// Whether everything is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.states.is_empty() && self.words.is_empty()
    }

    pub(super) fn has_source(&self, source: &SourceInfo) -> bool {
        self.sources.is_empty() || self.sources.contains(&source.name)
    }

    pub(super) fn has_state(&self, state: TaskState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    pub(super) fn has(&self, source: &SourceInfo, tracked: &Tracked) -> bool {
        self.has_state(tracked.task.state) && self.has_text(source, tracked)
    }

    /// Whether every word is somewhere in what identifies, describes or explains the task.
    pub(super) fn has_text(&self, source: &SourceInfo, tracked: &Tracked) -> bool {
        let task = &tracked.task;
        let resource = &task.resource;
        let error = task.error.as_deref();
        let fields = [
            &*task.id,
            &*task.kind,
            &*resource.id,
            resource.name.as_deref().unwrap_or_default(),
            &*task.vendor_status,
            &*source.name,
            error.map_or("", |error| &*error.code),
            error.map_or("", |error| &*error.message),
        ];
        self.words.iter().all(|word| fields.iter().any(|field| contains(field, word)))
    }

    /// The same as the query of a URI, each part with an `&` behind it.
    pub(super) fn query(&self) -> String {
        let mut query = String::new();
        let sources = self.sources.iter().map(|source| ("source", source.as_str()));
        let states = self.states.iter().map(|state| ("state", state.as_str()));
        let text = (!self.text.is_empty()).then_some(("q", self.text.as_str()));
        for (name, value) in sources.chain(states).chain(text) {
            // Writing to a string cannot fail.
            let _ = write!(query, "{name}={}&", encoded(value));
        }
        query
    }
}

/// The parameters of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        (name, percent_decode_str(&value).decode_utf8_lossy().into_owned())
    })
}

/// `text` as a part of a URI.
pub(super) fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

fn state(word: &str) -> Result<TaskState, String> {
    let known = TaskState::ALL.into_iter().find(|state| state.as_str() == word);
    known.ok_or_else(|| {
        let words = TaskState::ALL.map(TaskState::as_str).join(", ");
        let word: String = word.chars().take(40).collect();
        format!("no state is called {word:?}; the states are {words}")
    })
}

/// Whether `word`, which is in lower case, is in `field` in any case.
fn contains(field: &str, word: &str) -> bool {
    if field.is_ascii() {
        let word = word.as_bytes();
        return field.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    }
    field.to_lowercase().contains(word)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dbtask_clouds::model::{Resource, Task, TaskError, Timestamp};

    use super::*;

    #[test]
    fn filters_are_decoded_and_may_repeat() {
        let filter = Filter::new("source=a%2Db&state=failed&state=running&page=2&q=a+%E5%BA%93");
        let filter = filter.unwrap();
        assert_eq!(filter.sources, ["a-b"]);
        assert_eq!(filter.states, [TaskState::Failed, TaskState::Running]);
        assert_eq!(filter.text, "a 库");
    }

    #[test]
    fn an_empty_form_asks_for_everything() {
        assert_eq!(Filter::new("").unwrap(), Filter::default());
        assert_eq!(Filter::new("source=&state=&q=").unwrap(), Filter::default());
        assert!(Filter::new("q=+").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_state_is_named_and_a_text_too_long_refused() {
        assert_eq!(
            Filter::new("state=Broken").unwrap_err(),
            "no state is called \"Broken\"; the states are pending, running, paused, succeeded, \
             failed, canceled, unknown"
        );
        assert!(Filter::new(&format!("q={}", "%E5%BA%93".repeat(200))).is_ok());
        let sentence = Filter::new(&format!("q={}", "x".repeat(201))).unwrap_err();
        assert_eq!(sentence, "a text to look for has at most 200 characters");
    }

    #[test]
    fn a_filter_written_as_a_query_reads_back_the_same() {
        let query = "source=a.b-c_d&state=failed&state=unknown&q=50%25%20%26%20%22%E5%BA%93%22&";
        let filter = Filter::new(query).unwrap();
        assert_eq!(filter.text, "50% & \"库\"");
        assert_eq!(filter.query(), query);
        assert_eq!(Filter::new(&filter.query()).unwrap(), filter);
    }

    #[test]
    fn every_word_must_be_somewhere_whatever_its_case() {
        let mut task = Task::new("1742", TaskState::Failed, "FAILED");
        task.kind = "ONLINE UPGRADE".into();
        task.resource =
            Arc::new(Resource { id: "cdb-1".into(), name: Some("Große Bestände 订单".into()) });
        task.error = Some(Box::new(TaskError { code: "E1".into(), message: "disk full".into() }));
        let now = Timestamp::from_second(1).unwrap();
        let tracked = Tracked {
            task,
            last_seen: now,
            progress_changed: now,
            estimated_end: None,
            settled: None,
        };
        let source = SourceInfo { name: "mysql-gz".into(), ..SourceInfo::default() };
        let found = |text: &str| {
            let filter = Filter::new(&format!("q={}", encoded(text))).unwrap();
            filter.has_text(&source, &tracked)
        };
        for text in
            ["174", "upgrade online", "BESTÄNDE", "订单", "e1 FULL", "mysql-GZ", "cdb-1 ", ""]
        {
            assert!(found(text), "{text}");
        }
        for text in ["1743", "upgrade offline", "disk full stop"] {
            assert!(!found(text), "{text}");
        }
    }
}
