//! Readers for the vendors' oddities: numbers as strings, words for "nothing", times with and
//! without zones. They read from the tree that [`document`] makes of XML and JSON alike.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use crate::api::{Facts, Unreadable};
use crate::document::{DecodeError, is_nothing};
pub use crate::document::{document, integer, rows, text};
use crate::model::{Ratio, TaskState, Timestamp};

/// The records about one task, as [`rows`]. An answer of the [vendor's](is_vendors) may leave them
/// out: then there are none.
pub fn rows_if_any<'a>(
    document: &'a Value,
    pointer: &'static str,
) -> Result<&'a [Value], DecodeError> {
    let envelope = pointer.rsplit_once('/').and_then(|(parent, _)| document.pointer(parent));
    match document.pointer(pointer) {
        None if envelope.is_some_and(is_vendors) => Ok(&[]),
        _ => rows(document, pointer),
    }
}

/// The rows of a page, as [`rows`]. XML has no empty list: an answer of the [vendor's](is_vendors) whose
/// `total` is 0 may leave it out.
pub fn listed<'a>(
    document: &'a Value,
    pointer: &'static str,
    total: Option<i64>,
) -> Result<&'a [Value], DecodeError> {
    if total == Some(0) { rows_if_any(document, pointer) } else { rows(document, pointer) }
}

/// Whether this is the envelope of an answer of the vendor's, not of a gateway before it.
pub fn is_vendors(envelope: &Value) -> bool {
    text(envelope, "RequestId").is_some()
}

/// Whether a record has something in any of these fields.
pub fn says_any(record: &Value, fields: &[&str]) -> bool {
    fields.iter().any(|field| record.get(field).is_some_and(|value| !is_nothing(value)))
}

/// A task id. A missing one, and one too long for a label, is counted and is `None`.
pub fn task_id(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<String> {
    let id = text(row, field).filter(|id| id.len() <= crate::model::Task::MAX_ID_BYTES);
    if id.is_none() {
        unreadable.task_id = unreadable.task_id.saturating_add(1);
    }
    id.map(Cow::into_owned)
}

/// Whether an id is a number as a vendor that counts its tasks writes it. Written in any other way
/// (`+7`, `007`) it would be a second id for one task, and no answer would name it.
pub fn is_number(id: &str) -> bool {
    id.parse::<u64>().is_ok_and(|number| number.to_string() == *id)
}

/// Our state and the vendor's word for it. A word that `facts` does not list is counted.
pub fn status(
    facts: &Facts,
    row: &Value,
    field: &str,
    unreadable: &mut Unreadable,
) -> (TaskState, Arc<str>) {
    let word = text(row, field).unwrap_or_default();
    let state = facts.state(&word);
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

/// A fraction, 0 to 1. What is above one, or has the sign, can only be a percentage.
pub fn fraction(row: &Value, field: &str, unreadable: &mut Unreadable) -> Option<Ratio> {
    let number = number(row, field, unreadable)?;
    let is_percentage = number > 1.0 || text(row, field).is_some_and(|text| text.ends_with('%'));
    Ratio::clamped(if is_percentage { number / 100.0 } else { number })
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
/// vendors' words for "no time yet" (`0`, `0000-00-00 00:00:00`, year 1, the epoch) and for "never"
/// (year 9999 and later) are `None`.
pub fn time(
    row: &Value,
    field: &str,
    offset: Offset,
    unreadable: &mut Unreadable,
) -> Option<Timestamp> {
    let text = text(row, field)?;
    let is_none =
        text == "0" || ["0000-", "0001-", "1970-01-01"].iter().any(|none| text.starts_with(none));
    if is_none || is_never(&text) {
        return None;
    }
    let time = parse_time(&text, offset);
    if time.is_none() {
        unreadable.time = unreadable.time.saturating_add(1);
    }
    time
}

/// Whether a time is in a year that no calendar of a vendor reaches: `9999-12-31T23:59:59Z`.
fn is_never(text: &str) -> bool {
    let Some((year, rest)) = text.trim_start_matches('+').split_once('-') else { return false };
    let year = year.trim_start_matches('0');
    let has_month = rest.bytes().take(2).filter(u8::is_ascii_digit).count() == 2;
    let is_far = year == "9999" || year.len() > 4;
    has_month && is_far && year.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_time(text: &str, offset: Offset) -> Option<Timestamp> {
    // RFC 3339, `2021-07-13T07:28:43+0000` and `2024-09-26 19:11:45+08:00`.
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Timestamp::from_second(instant.as_second());
    }
    // Unix milliseconds, which have so many digits from 1973 to 2286.
    if matches!(text.len(), 12 | 13)
        && let Ok(millisecond) = text.parse::<i64>()
    {
        return Timestamp::from_second(millisecond.div_euclid(1000));
    }
    // As Go prints it: `2025-01-16 16:26:15 +0800 CST`, with a fraction of the second or without.
    let without_name = text.trim_end_matches(|c: char| c.is_ascii_uppercase() || c == ' ');
    if let Ok(parts) = strtime::parse("%Y-%m-%d %H:%M:%S%.f %z", without_name)
        && let (Ok(civil), Some(zone)) = (parts.to_datetime(), parts.offset())
    {
        return at_offset(civil, zone);
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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
    fn a_list_may_be_left_out_only_where_its_answer_counts_none() {
        let answer = |text: &str| {
            let document = document(text.as_bytes()).unwrap();
            let total = integer(&document, "TotalCount");
            listed(&document, "/Data", total).map(<[Value]>::len).ok()
        };
        for (text, found) in [
            ("<aResponse><RequestId>x</RequestId><TotalCount>0</TotalCount></aResponse>", Some(0)),
            (r#"{"RequestId":"x","TotalCount":"0"}"#, Some(0)),
            (r#"{"RequestId":"x","TotalCount":0,"Data":[]}"#, Some(0)),
            (r#"{"RequestId":"x","TotalCount":1,"Data":[{}]}"#, Some(1)),
            (r#"{"RequestId":"x","TotalCount":1}"#, None),
            (r#"{"RequestId":"x"}"#, None),
            (r#"{"TotalCount":0}"#, None),
        ] {
            assert_eq!(answer(text), found, "{text}");
        }
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
            ("1659344800845", "2022-08-01T09:06:40Z"),
            ("2018-11-01 17:25:14\t", "2018-11-01T09:25:14Z"),
            ("2025-01-16 16:26:15 +0800 CST", "2025-01-16T08:26:15Z"),
            ("2025-01-16 16:26:15.25 +0800 CST", "2025-01-16T08:26:15Z"),
            ("2025-01-16 08:26:15 +0000 UTC", "2025-01-16T08:26:15Z"),
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
            "0",
            "0000-00-00 00:00:00",
            "0001-01-01 00:00:00",
            "0001-01-01T00:00:00Z",
            "0001-01-01 00:00:00 +0000 UTC",
            "1970-01-01 08:00:00",
            "1970-01-01 08:00:01",
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31 23:59:59",
            "9999-12-31T15:59Z",
            "9999-01-01T00:00:00+0000",
            "10000-01-01T00:00:00Z",
            "+292278994-08-17T07:12:55Z",
        ] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_in_no_known_format_is_counted() {
        for text in [
            "9998-13-01",
            "99999",
            "99999-",
            "yesterday",
            "2024-13-01 00:00:00",
            "2024-02-30",
            "2024-01-01 25:00:00",
        ] {
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
    fn a_number_beyond_all_numbers_costs_its_field_and_not_the_page() {
        let mut unreadable = Unreadable::default();
        let row = document(br#"{"Progress": 1e400, "TaskId": 123456789012345678901234567890}"#);
        let row = row.unwrap();
        assert_eq!(percent(&row, "Progress", &mut unreadable), None);
        assert_eq!(unreadable.progress, 1);
        let id = task_id(&row, "TaskId", &mut unreadable);
        assert_eq!(id.as_deref(), Some("123456789012345678901234567890"));
    }

    #[test]
    fn a_fraction_above_one_is_a_percentage() {
        let mut unreadable = Unreadable::default();
        for (value, expected) in [
            (json!(0.42), 0.42),
            (json!(1), 1.0),
            (json!(42), 0.42),
            (json!("42%"), 0.42),
            (json!("1%"), 0.01),
            (json!("0.5 %"), 0.005),
        ] {
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

    proptest! {
        #[test]
        fn no_text_makes_the_time_reader_panic(text in "[-0-9T: +Z.]{0,40}|\\PC{0,40}") {
            let _ = read_time(&text);
        }
    }
}
