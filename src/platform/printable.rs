//! Text from elsewhere, made harmless for a terminal or a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character escaped that could end a line, move the cursor, or change the
/// direction of writing: `\n`, `\u{1b}`, `\u{202e}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_treacherous(c) {
            // Writing to a string cannot fail.
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// The same inside of JSON, whose only escapes for such characters are `\u001b` and the like.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_treacherous) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_treacherous(c) {
            // All of them are below U+10000. Writing to a string cannot fail.
            let _ = write!(clean, "\\u{:04x}", u32::from(c));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Control characters, Unicode's line and paragraph separators, and the marks that are invisible
/// or change the direction of writing.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped_and_the_rest_left_alone() {
        assert_eq!(printable("数据库 é \"x\" \\"), "数据库 é \"x\" \\");
        assert_eq!(printable("a\nb\tc\u{1b}[2J"), r"a\nb\tc\u{1b}[2J");
        assert_eq!(printable("\u{9b}31m \u{85} \u{2028}"), r"\u{9b}31m \u{85} \u{2028}");
        assert_eq!(printable("\u{202e}dcba"), r"\u{202e}dcba");
    }

    #[test]
    fn in_json_it_is_escaped_as_json_has_it() {
        let text = "\u{9b}2J \u{85} \u{2028} \u{202e} \u{feff} \u{7f} é";
        let json = serde_json::to_string(text).unwrap();
        let clean = printable_json(&json);
        assert_eq!(clean, r#""\u009b2J \u0085 \u2028 \u202e \ufeff \u007f é""#);
        assert_eq!(serde_json::from_str::<String>(&clean).unwrap(), text);
    }
}
