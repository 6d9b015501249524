//! Times, durations and texts from elsewhere, in the words of the page.

use std::time::Duration;

use dbtask_clouds::model::{Ratio, Timestamp};

use crate::platform::printable::printable;

/// An instant, as seen from now.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
}

impl When {
    /// `3 min ago`, `in 2 h 5 min`, `now`.
    pub(super) fn relative(&self) -> String {
        if self.at > self.now {
            return format!("in {}", span(self.at.since(self.now)));
        }
        match self.now.since(self.at) {
            Duration::ZERO => "now".to_owned(),
            age => format!("{} ago", span(age)),
        }
    }

    /// `2026-03-01 08:00:00 UTC`.
    pub(super) fn absolute(&self) -> String {
        self.at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    }

    /// Whether it has passed.
    pub(super) fn is_past(&self) -> bool {
        self.at < self.now
    }
}

/// `90 s`, `59 min`, `2 h 5 min`, `3 d 4 h`, rounded down.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large, large_unit, small, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// A whole percentage, rounded down: 99.9 % is not done.
pub(super) fn percent(ratio: Ratio) -> String {
    // 0.53 is a little less than that in binary.
    format!("{:.0}", (ratio.get() * 100.0 + 0.001).floor())
}

/// `1 failed`, `2 sources`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `12 345`, with a narrow space that does not break.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `text` on one line, without what could deceive, and at most `limit` characters of it.
pub(super) fn shown(text: &str, limit: usize) -> String {
    let (text, cut) = match text.char_indices().nth(limit) {
        Some((end, _)) => (text.get(..end).unwrap_or_default(), "…"),
        None => (text, ""),
    };
    let line: String = text
        .trim()
        .chars()
        .map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c })
        .collect();
    printable(&line).into_owned() + cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(offset: i64) -> String {
        let now = Timestamp::from_second(1_772_352_000).unwrap();
        When { at: now.offset_by(offset), now }.relative()
    }

    #[test]
    fn times_are_told_as_seen_from_now() {
        assert_eq!(relative(0), "now");
        assert_eq!(relative(-1), "1 s ago");
        assert_eq!(relative(-119), "119 s ago");
        assert_eq!(relative(-120), "2 min ago");
        assert_eq!(relative(3599), "in 59 min");
        assert_eq!(relative(3600), "in 1 h");
        assert_eq!(relative(2 * 3600 + 300), "in 2 h 5 min");
        assert_eq!(relative(-(3 * 86_400 + 4 * 3600)), "3 d 4 h ago");
        let at = Timestamp::from_second(1_772_352_000).unwrap();
        assert_eq!(When { at, now: at }.absolute(), "2026-03-01 08:00:00 UTC");
    }

    #[test]
    fn what_is_not_done_is_not_called_done() {
        let percent = |value| percent(Ratio::clamped(value).unwrap());
        assert_eq!([percent(0.53), percent(0.999), percent(1.0)], ["53", "99", "100"]);
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        let numbers = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!(plural(1, "source", "sources"), "1 source");
        assert_eq!(plural(0, "source", "sources"), "0 sources");
    }

    #[test]
    fn text_is_one_line_that_does_not_deceive_and_ends() {
        assert_eq!(shown(" a\r\nb\u{202e}c ", 100), "a  b\\u{202e}c");
        assert_eq!(shown("订单订单", 3), "订单订…");
        assert_eq!(shown("订单", 2), "订单");
    }
}
