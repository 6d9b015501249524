//! Readers for the vendors' oddities: XML or JSON, numbers as strings, words for "nothing", times
//! with and without zones.
//!
//! Both formats become one [`Value`] tree, so an API is decoded once. In XML an element that
//! repeats becomes an array, which is why [`rows`] takes one object for an array of one.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use super::{DecodeError, TaskApi, Unreadable};
use crate::task::{Ratio, TaskState, Timestamp};

/// The deepest nesting of elements or objects that is read. `serde_json` has its own, of 128.
const MAX_DEPTH: usize = 64;

/// The tree of an answer, whatever its format. The first byte that is no blank decides, never the
/// header: gateways answer XML to a request for JSON. A wrapping root element (`<…Response>`,
/// `<Error>`) is taken off, so that both formats have the same shape.
pub fn document(body: &[u8]) -> Result<Value, DecodeError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            serde_json::from_slice(body).map_err(|error| DecodeError::Syntax(error.to_string()))
        }
        Some(b'<') if !is_html(body) => xml(body),
        _ => {
            let start = body.get(..body.len().min(16)).unwrap_or_default();
            Err(DecodeError::Format(String::from_utf8_lossy(start).into_owned()))
        }
    }
}

/// Whether this is a page for people, as load balancers send.
fn is_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    [b"<html".as_slice(), b"<!doctype"]
        .iter()
        .any(|mark| start.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark)))
}

/// The tree of an XML document or fragment: elements become objects, repeated ones arrays, text
/// strings. Attributes, comments and document types are dropped, so no entity is ever defined.
fn xml(body: &[u8]) -> Result<Value, DecodeError> {
    use quick_xml::events::Event;

    struct Element {
        name: String,
        text: String,
        children: serde_json::Map<String, Value>,
    }
    fn syntax(error: impl std::fmt::Display) -> DecodeError {
        DecodeError::Syntax(error.to_string())
    }
    fn close(element: Element, parent: &mut Element) {
        let value = if element.children.is_empty() {
            Value::String(element.text)
        } else {
            Value::Object(element.children)
        };
        match parent.children.get_mut(&element.name) {
            None => {
                parent.children.insert(element.name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    fn open(name: &str) -> Element {
        Element { name: name.to_owned(), text: String::new(), children: serde_json::Map::new() }
    }

    let mut reader = quick_xml::Reader::from_str(std::str::from_utf8(body).map_err(syntax)?);
    let mut top = open("");
    let mut stack: Vec<Element> = Vec::new();
    loop {
        let event = reader.read_event().map_err(syntax)?;
        let current = stack.last_mut().unwrap_or(&mut top);
        match event {
            Event::Start(start) => {
                if stack.len() >= MAX_DEPTH {
                    return Err(syntax("it is nested too deeply"));
                }
                stack.push(open(start.local_name().as_ref()));
            }
            Event::Empty(start) => close(open(start.local_name().as_ref()), current),
            Event::End(_) => {
                let Some(element) = stack.pop() else {
                    return Err(syntax("an element ends that never began"));
                };
                close(element, stack.last_mut().unwrap_or(&mut top));
            }
            Event::Text(text) => {
                current.text.push_str(&text.xml10_content());
            }
            Event::CData(text) => {
                current.text.push_str(&text.xml10_content());
            }
            Event::GeneralRef(reference) => {
                if let Some(character) = reference.resolve_char_ref().map_err(syntax)? {
                    current.text.push(character);
                } else {
                    let known = quick_xml::escape::resolve_predefined_entity(&reference);
                    current
                        .text
                        .push_str(known.ok_or_else(|| syntax("it uses an unknown entity"))?);
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if !stack.is_empty() {
        return Err(syntax("it ends before its last element does"));
    }
    let wraps = |name: &str| name.ends_with("Response") || name == "Error";
    let mut children = top.children;
    if children.len() == 1
        && let Some(name) = children.keys().next().filter(|name| wraps(name)).cloned()
        && let Some(root) = children.remove(&name)
    {
        return Ok(root);
    }
    Ok(Value::Object(children))
}

/// The records under a JSON pointer such as `/Tasks/Task`. One object counts as a list of one;
/// null and the empty text, which is what an empty XML element is, as a list of none.
pub fn rows<'a>(document: &'a Value, pointer: &'static str) -> Result<&'a [Value], DecodeError> {
    let mut value = document;
    for name in pointer.split('/').skip(1) {
        value = match value.get(name) {
            Some(inner) => inner,
            None if is_nothing(value) => return Ok(&[]),
            None => return Err(DecodeError::Missing(pointer)),
        };
    }
    match value {
        Value::Array(list) => Ok(list),
        Value::Object(_) => Ok(std::slice::from_ref(value)),
        _ if is_nothing(value) => Ok(&[]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(DecodeError::Missing(pointer))
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_nothing_text(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn is_nothing_text(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.eq_ignore_ascii_case("null")
}

/// The text of a field, without outer blanks; numbers as they are written. Absent, `""`, null and
/// the word `null` are all `None`, and so is anything that is neither text nor number.
pub fn text<'a>(row: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    match row.get(field)? {
        Value::String(text) if !is_nothing_text(text) => Some(Cow::Borrowed(text.trim())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// A whole number that is used to count or to compare; `None` where it is absent or no number.
pub fn integer(row: &Value, field: &str) -> Option<i64> {
    text(row, field)?.parse().ok()
}

/// A task id. A missing one, and one too long for a label, is counted and is `None`.
pub fn task_id(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<String> {
    let id = text(row, field).filter(|id| id.len() <= crate::task::Task::MAX_ID_BYTES);
    if id.is_none() {
        unreadable.task_id = unreadable.task_id.saturating_add(1);
    }
    id.map(Cow::into_owned)
}

/// Our state and the vendor's word for it. A word that `api` does not list is counted.
pub fn status(
    api: &TaskApi,
    row: &Value,
    field: &str,
    unreadable: &mut Unreadable,
) -> (TaskState, Arc<str>) {
    let word = text(row, field).unwrap_or_default();
    let state = api.state(&word);
    if state == TaskState::Unknown && row.get(field).is_some_and(|value| !is_nothing(value)) {
        unreadable.status = unreadable.status.saturating_add(1);
    }
    (state, word.into())
}

/// A percentage: `9`, `9.5`, `"9"`, `"9%"`, `"9 %"`. Out of range is clamped.
pub fn percent(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Ratio> {
    let number = number(row, field, unreadable)?;
    Ratio::clamped(number / 100.0)
}

/// A fraction, 0 to 1. What is above one can only be a percentage.
pub fn fraction(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Ratio> {
    let number = number(row, field, unreadable)?;
    Ratio::clamped(if number > 1.0 { number / 100.0 } else { number })
}

/// A time left, in seconds. A negative one means "not known" with every vendor.
pub fn seconds(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Duration> {
    let number = number(row, field, unreadable)?;
    if number < 0.0 {
        return None;
    }
    let duration = Duration::try_from_secs_f64(number).ok();
    if duration.is_none() {
        unreadable.progress = unreadable.progress.saturating_add(1);
    }
    duration
}

fn number(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<f64> {
    let value = row.get(field).filter(|value| !is_nothing(value))?;
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_end_matches('%').trim_end().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let number = number.filter(|number: &f64| number.is_finite());
    if number.is_none() {
        unreadable.progress = unreadable.progress.saturating_add(1);
    }
    number
}

/// A time in any of the vendors' formats. One that names no zone is taken to be at `offset`. The
/// vendors' words for "no time yet" (`0000-00-00 00:00:00`, year 1, the epoch) are `None`.
pub fn time(
    row: &Value,
    field: &str,
    offset: Offset,
    unreadable: &mut Unreadable,
) -> Option<Timestamp> {
    let text = text(row, field)?;
    if ["0000-", "0001-", "1970-01-01"].iter().any(|none| text.starts_with(none)) {
        return None;
    }
    let time = parse_time(&text, offset);
    if time.is_none() {
        unreadable.time = unreadable.time.saturating_add(1);
    }
    time
}

fn parse_time(text: &str, offset: Offset) -> Option<Timestamp> {
    // RFC 3339, `2021-07-13T07:28:43+0000` and `2024-09-26 19:11:45+08:00`.
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Timestamp::from_second(instant.as_second());
    }
    // A zone behind a time without seconds.
    for format in ["%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M%z"] {
        if let Ok(parts) = strtime::parse(format, text)
            && let Ok(civil) = parts.to_datetime()
        {
            let zone = parts.offset().unwrap_or(Offset::UTC);
            return at_offset(civil, zone);
        }
    }
    // No zone at all.
    at_offset(text.parse::<jiff::civil::DateTime>().ok()?, offset)
}

fn at_offset(civil: jiff::civil::DateTime, offset: Offset) -> Option<Timestamp> {
    let instant = TimeZone::fixed(offset).to_timestamp(civil).ok()?;
    Timestamp::from_second(instant.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read_time(text: &str) -> Option<String> {
        let row = json!({ "At": text });
        let mut unreadable = Unreadable::default();
        let time = time(&row, "At", Offset::constant(8), &mut unreadable);
        assert!(unreadable.time <= 1);
        if unreadable.time == 1 {
            return Some("unreadable".to_owned());
        }
        time.map(|time| time.to_string())
    }

    #[test]
    fn times_of_every_vendor_are_read() {
        for (text, expected) in [
            ("2020-01-07T07:39:56Z", "2020-01-07T07:39:56Z"),
            ("2020-01-07T07:39Z", "2020-01-07T07:39:00Z"),
            ("2021-07-13T07:28:43+0000", "2021-07-13T07:28:43Z"),
            ("2026-03-12T21:40:00+0800", "2026-03-12T13:40:00Z"),
            ("2024-09-26T19:11:45+08:00", "2024-09-26T11:11:45Z"),
            ("2020-06-17T08:18:06.597Z", "2020-06-17T08:18:06Z"),
            ("2018-11-01 17:25:14", "2018-11-01T09:25:14Z"),
            ("2019-01-17T07:05:52", "2019-01-16T23:05:52Z"),
            (" 2018-11-01 17:25:14 ", "2018-11-01T09:25:14Z"),
        ] {
            assert_eq!(read_time(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn words_for_no_time_are_no_time() {
        for text in [
            "",
            " ",
            "null",
            "0000-00-00 00:00:00",
            "0001-01-01 00:00:00",
            "0001-01-01T00:00:00Z",
            "0001-01-01 00:00:00 +0000 UTC",
            "1970-01-01 08:00:00",
            "1970-01-01 08:00:01",
            "1970-01-01T00:00:00Z",
        ] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_in_no_known_format_is_counted() {
        for text in ["yesterday", "2024-13-01 00:00:00", "2024-02-30", "2024-01-01 25:00:00"] {
            assert_eq!(read_time(text).as_deref(), Some("unreadable"), "{text}");
        }
    }

    #[test]
    fn percentages_are_read_in_every_spelling() {
        let mut unreadable = Unreadable::default();
        for (value, expected) in [
            (json!(37), Some(0.37)),
            (json!("37"), Some(0.37)),
            (json!("9%"), Some(0.09)),
            (json!(" 9 % "), Some(0.09)),
            (json!(12.5), Some(0.125)),
            (json!(1e300), Some(1.0)),
            (json!(-4), Some(0.0)),
            (json!(""), None),
            (json!("null"), None),
            (json!(null), None),
        ] {
            let row = json!({ "Progress": value });
            let read = percent(&row, "Progress", &mut unreadable).map(Ratio::get);
            assert_eq!(read, expected, "{row}");
        }
        assert_eq!(unreadable.progress, 0);
        for value in [json!("half"), json!([]), json!({}), json!(true), json!("NaN"), json!("inf")]
        {
            assert_eq!(percent(&json!({ "P": value }), "P", &mut unreadable), None, "{value}");
        }
        assert_eq!(unreadable.progress, 6);
    }

    #[test]
    fn a_fraction_above_one_is_a_percentage() {
        let mut unreadable = Unreadable::default();
        for (value, expected) in [(json!(0.42), 0.42), (json!(1), 1.0), (json!(42), 0.42)] {
            let read = fraction(&json!({ "P": value }), "P", &mut unreadable).map(Ratio::get);
            assert_eq!(read, Some(expected));
        }
    }

    #[test]
    fn remaining_seconds_are_never_negative_or_endless() {
        let mut unreadable = Unreadable::default();
        let mut read =
            |value: Value| seconds(&json!({ "Remain": value }), "Remain", &mut unreadable);
        assert_eq!(read(json!(1767)), Some(Duration::from_secs(1767)));
        assert_eq!(read(json!("0")), Some(Duration::ZERO));
        assert_eq!(read(json!(-1)), None);
        assert_eq!(read(json!(1e300)), None);
        assert_eq!(unreadable.progress, 1);
    }

    #[test]
    fn xml_and_json_become_the_same_tree() {
        let expected = json!({
            "TaskInfo": { "Status": "Running", "FinishTime": "", "Note": "a<b & \"c\" é <raw>" },
            "RequestId": "1AD2",
        });
        for body in [
            "<?xml version='1.0' encoding='UTF-8'?><DescribeTaskInfoResponse><RequestId>1AD2</RequestId>\
             <TaskInfo><Status>Running</Status><FinishTime/>\
             <Note>a&lt;b &amp; &quot;c&quot; &#233; <![CDATA[<raw>]]></Note></TaskInfo>\
             </DescribeTaskInfoResponse>",
            "\u{feff}  <RequestId>1AD2</RequestId><!-- x --><TaskInfo a='b'><Status>Running</Status>\
             <FinishTime></FinishTime>\
             <Note>a&lt;b &amp; &quot;c&quot; &#xe9; <![CDATA[<raw>]]></Note></TaskInfo>",
        ] {
            assert_eq!(document(body.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn lists_have_one_shape_in_both_formats() {
        for (body, count) in [
            (r#"{"Tasks":{"Task":[{"A":1},{"A":2}]}}"#, 2),
            (r#"{"Tasks":{"Task":{"A":1}}}"#, 1),
            (r#"{"Tasks":{"Task":[]}}"#, 0),
            (r#"{"Tasks":{"Task":null}}"#, 0),
            (r#"{"Tasks":null}"#, 0),
            (
                "<R1Response><Tasks><Task><A>1</A></Task><Task><A>2</A></Task></Tasks></R1Response>",
                2,
            ),
            ("<R1Response><Tasks><Task><A>1</A></Task></Tasks></R1Response>", 1),
            ("<R1Response><Tasks></Tasks></R1Response>", 0),
            ("<R1Response><Tasks/></R1Response>", 0),
        ] {
            let document = document(body.as_bytes()).unwrap();
            assert_eq!(rows(&document, "/Tasks/Task").unwrap().len(), count, "{body}");
        }
        let missing = Err(DecodeError::Missing("/Tasks/Task"));
        assert_eq!(rows(&json!({ "Items": [] }), "/Tasks/Task"), missing);
        assert_eq!(rows(&json!({ "Tasks": { "Task": 7 } }), "/Tasks/Task"), missing);
    }

    #[test]
    fn broken_documents_are_errors() {
        for body in [
            "",
            "   ",
            "null",
            "[]",
            "OK",
            "{\"Tasks\": {\"Task\": [{\"TaskId\": \"1",
            "<Tasks><Task>",
            "<Tasks></Task>",
            "</Tasks>",
            "<Tasks>&evil;</Tasks>",
            "<html><body>503</body></html>",
            "<!DOCTYPE html><html></html>",
        ] {
            assert!(document(body.as_bytes()).is_err(), "{body}");
        }
        assert!(document("<a>".repeat(100_000).as_bytes()).is_err());
        assert!(document("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = document(&body);
            for prefix in ["{", "<"] {
                let _ = document(&[prefix.as_bytes(), &body].concat());
            }
        }

        #[test]
        fn no_text_makes_the_time_reader_panic(text in "[-0-9T: +Z.]{0,40}|\\PC{0,40}") {
            let _ = read_time(&text);
        }
    }
}
