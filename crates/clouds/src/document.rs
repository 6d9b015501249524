//! The tree of an answer, whatever its format: XML and JSON become one [`Value`], so whatever reads
//! it is written once.
//!
//! In XML an element that repeats becomes an array, which is why [`rows`] takes one object for an
//! array of one.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::redaction::Redactor;

/// The deepest nesting of elements or objects that is read. `serde_json` has its own, of 128.
const MAX_DEPTH: usize = 64;

/// The format asked for; what comes back is recognised by its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON, the default.
    #[default]
    Json,
    /// XML, Alibaba only.
    Xml,
}

/// Why an answer could not be read. Never holds the answer itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Neither JSON nor XML.
    #[error("the answer is neither JSON nor XML (it begins with {0:?})")]
    Format(String),
    /// JSON or XML, but broken.
    #[error("the answer is broken: {0}")]
    Syntax(String),
    /// Well-formed, but without the part that must be there.
    #[error("the answer has no {0}")]
    Missing(&'static str),
}

impl DecodeError {
    /// Takes out what we have sent and nobody else may see.
    pub fn redact(&mut self, redactor: &Redactor) {
        match self {
            Self::Format(text) | Self::Syntax(text) => redactor.redact(text),
            Self::Missing(_) => {}
        }
    }
}

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
/// null, an empty object and the empty text, which is what an empty XML element is, as a list of
/// none.
pub fn rows<'a>(document: &'a Value, pointer: &'static str) -> Result<&'a [Value], DecodeError> {
    let mut value = document;
    for name in pointer.split('/').skip(1) {
        value = match value.get(name) {
            Some(inner) => inner,
            // The answer itself must not be empty.
            None if is_empty(value) && !std::ptr::eq(value, document) => return Ok(&[]),
            None => return Err(DecodeError::Missing(pointer)),
        };
    }
    match value {
        Value::Array(list) => Ok(list),
        _ if is_empty(value) => Ok(&[]),
        Value::Object(_) => Ok(std::slice::from_ref(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(DecodeError::Missing(pointer))
        }
    }
}

/// [`is_nothing`], or a list or object without anything in it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => is_nothing(value),
    }
}

/// Null, the empty text, and the word `null`.
pub fn is_nothing(value: &Value) -> bool {
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

/// The text of a field, without outer blanks; a whole number without a point. Absent, `""`, null and
/// the word `null` are all `None`, and so is anything that is neither text nor number.
pub fn text<'a>(row: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    match row.get(field)? {
        Value::String(text) if !is_nothing_text(text) => Some(Cow::Borrowed(text.trim())),
        Value::Number(number) => Some(Cow::Owned(spelling(number))),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// A number as text. Backends that know but one sort of number write the id 7 as `7.0`, and the id
/// 225685759 as `2.25685759E8`.
fn spelling(number: &Number) -> String {
    /// From here on not every whole number is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

/// A whole number that is used to count or to compare; `None` where it is absent or no number.
pub fn integer(row: &Value, field: &str) -> Option<i64> {
    text(row, field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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
    fn a_whole_number_is_spelled_without_a_point() {
        for (number, expected) in [
            ("225685759", "225685759"),
            ("225685759.0", "225685759"),
            ("2.25685759E8", "225685759"),
            ("18446744073709551615", "18446744073709551615"),
            ("-4.0", "-4"),
            ("0.0", "0"),
            ("12.5", "12.5"),
            ("1e300", "1e+300"),
        ] {
            let row: Value = serde_json::from_str(&format!("{{\"Id\":{number}}}")).unwrap();
            assert_eq!(text(&row, "Id").as_deref(), Some(expected), "{number}");
        }
        assert_eq!(integer(&json!({ "TotalCount": 45.0 }), "TotalCount"), Some(45));
    }

    #[test]
    fn an_empty_list_has_many_shapes() {
        for body in [
            r#"{"Tasks":{}}"#,
            r#"{"Tasks":[]}"#,
            r#"{"Tasks":{"Task":{}}}"#,
            r#"{"Tasks":{"Task":""}}"#,
        ] {
            let document = document(body.as_bytes()).unwrap();
            assert_eq!(rows(&document, "/Tasks/Task"), Ok(&[][..]), "{body}");
        }
        // That there is no list at all says nothing about how long it is.
        for body in ["{}", r#"{"TotalRecordCount":0}"#, r#"{"Tasks":{"task":[]}}"#] {
            let document = document(body.as_bytes()).unwrap();
            assert_eq!(rows(&document, "/Tasks/Task"), Err(DecodeError::Missing("/Tasks/Task")));
        }
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
    }
}
