//! YAML as a tree in which everything knows its place.
//!
//! The tree, rather than structs that serde fills, is what lets one reading report every problem:
//! serde stops at the first. A number or a boolean keeps its spelling, so that the task id `0123`
//! stays `0123`, and so that a message can never be about a value that nobody wrote.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, MessageFormatter as _, NonFiniteFloatPolicy, Spanned};

use super::shape;

/// Line and column, from 1; 0 where there is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value and where it is used: an alias counts, not its anchor.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any scalar, as it is spelled.
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key occurs once.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: Place,
}

/// The tree of the only document of `text`, or the first place where it is not YAML and why. The reason holds no value
/// from the file. Merge keys (`<<`) have been resolved.
pub(super) fn parse(text: &str) -> Result<Node, (Place, String)> {
    let options = serde_saphyr::options! {
        // A snippet of the file might show a secret.
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_nodes: 200_000,
            max_anchors: 1_000,
            max_aliases: 10_000,
            max_merge_keys: 1_000,
        },
        // Aliases are what makes a small file large.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
    };
    // Empty documents are left out: many files end in a separator.
    let documents = serde_saphyr::from_multiple_with_options::<Raw>(text, options);
    let mut documents = documents.map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        (place, reason(error.without_snippet()))
    })?;
    documents.truncate(2);
    match (documents.pop(), documents.pop()) {
        (None, _) => Ok(Node { value: Value::Null, at: Place { line: 1, column: 1 } }),
        (Some(only), None) => Ok(only.finish(text)),
        (Some(second), Some(_)) => {
            let place = second.0.referenced.into();
            Err((place, "a second document begins here; a file holds one".to_owned()))
        }
    }
}

/// What is wrong, without any value: a tag may be a password that nobody has quoted.
fn reason(error: &serde_saphyr::Error) -> String {
    if matches!(error, serde_saphyr::Error::UnsupportedTag { .. }) {
        return "a value that begins with \"!\" is a tag; quote it".to_owned();
    }
    let reason = serde_saphyr::UserMessageFormatter.format_message(error);
    let words = reason.split(' ').map(|word| if shape::may_be_secret(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// What serde delivers, before numbers and booleans have got their spelling back.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Null,
    Text(String),
    /// Something that YAML takes for a number or a boolean, in its canonical spelling.
    Plain(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn finish(self, text: &str) -> Node {
        let Self(Spanned { value, referenced, defined }) = self;
        let value = match value {
            RawValue::Null => Value::Null,
            RawValue::Text(text) => Value::Text(text),
            RawValue::Plain(canonical) => {
                Value::Text(spelling(text, defined).map_or(canonical, str::to_owned))
            }
            RawValue::List(items) => {
                Value::List(items.into_iter().map(|item| item.finish(text)).collect())
            }
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        (Key { name: key.value, at: key.referenced.into() }, value.finish(text))
                    })
                    .collect(),
            ),
        };
        Node { value, at: referenced.into() }
    }
}

/// How the scalar at `location` is written in the file.
fn spelling(text: &str, location: Location) -> Option<&str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?).filter(|spelling| !spelling.is_empty())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<RawValue, E> {
                Ok(RawValue::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
                Ok(RawValue::Plain(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
                Ok(RawValue::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<RawValue, E> {
                Ok(RawValue::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawValue, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(RawValue::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawValue::Map(entries))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line, each value with its place.
    fn outline(node: &Node) -> String {
        let Place { line, column } = node.at;
        match &node.value {
            Value::Null => format!("null@{line}:{column}"),
            Value::Text(text) => format!("{text:?}@{line}:{column}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(outline).collect::<Vec<_>>().join(" "))
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    format!("{}@{}:{} {}", key.name, key.at.line, key.at.column, outline(value))
                });
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(node) => outline(&node),
            Err((place, reason)) => format!("{}:{}: {reason}", place.line, place.column),
        }
    }

    #[test]
    fn numbers_and_booleans_keep_their_spelling() {
        assert_eq!(
            read("[007, 1e3, 0x1F, True, -0.0, .nan, 1e999, '1', yes]"),
            r#"["007"@1:2 "1e3"@1:7 "0x1F"@1:12 "True"@1:18 "-0.0"@1:24 ".nan"@1:30 "1e999"@1:36 "1"@1:43 "yes"@1:48]"#
        );
        assert_eq!(read("\u{feff}é: 042"), r#"{é@1:1 "042"@1:4}"#);
    }

    #[test]
    fn an_alias_stands_where_it_is_used() {
        assert_eq!(
            read("a: &a 012\nb: *a\nc: &c {x: 1}\nd: {<<: *c}\n"),
            r#"{a@1:1 "012"@1:7, b@2:1 "012"@2:4, c@3:1 {x@3:8 "1"@3:11}, d@4:1 {x@4:9 "1"@4:9}}"#
        );
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(read(""), "null@1:1");
        assert_eq!(read("a:\nb: ~\n"), "{a@1:1 null@1:2, b@2:1 null@2:4}");
    }

    #[test]
    fn an_empty_second_document_is_nothing_and_a_real_one_is_an_error_that_says_so() {
        for text in ["a: 1\n---\n", "---\na: 1\n---\n", "a: 1\n...\n", "a: 1\n---\n# end\n---\n"] {
            assert!(read(text).starts_with("{a@"), "{text:?}: {}", read(text));
        }
        let problem = "a second document begins here; a file holds one";
        assert_eq!(read("a: 1\n---\nb: 2\n"), format!("3:1: {problem}"));
        assert_eq!(read("a: 1\n---\nb: 2\n---\nc: 3\n"), format!("3:1: {problem}"));
        assert_eq!(read("---\n---\n"), "null@1:1");
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        assert_eq!(read("a: [1"), "1:4: unclosed bracket '['");
        assert_eq!(read("a: 1\na: 2\n"), "2:1: duplicate mapping key: a not allowed here");
        assert_eq!(read("a: !x 1\n"), "1:7: a value that begins with \"!\" is a tag; quote it");
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let level = |level: u32| {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{aliases}]\n")
        };
        let bomb = "a0: &a0 [x]\n".to_owned() + &(1..9).map(level).collect::<String>();
        assert!(read(&bomb).contains("too large or too complex"), "{}", read(&bomb));
    }
}
