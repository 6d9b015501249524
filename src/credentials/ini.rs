//! The files that the vendors' tools call ini: sections of `key = value`.

use std::collections::BTreeMap;

/// The values of section `[name]` by their keys, in lower case; `None` if there is no such section.
/// What is no pair is passed over, as is a line that begins with `#` or `;`; of a key that repeats
/// the last value counts.
pub(super) fn section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found = None;
    let mut inside = false;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = head.trim() == name;
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if inside
            && let Some((key, value)) = line.split_once(['=', ':'])
            && let Some(values) = &mut found
        {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_holds_its_own_pairs_only() {
        let text = "\u{feff}a = 0\n[one]\n# a = 1\n A = 2 \nb: 3=4\nnothing\n[ two ]\r\na = 5\r\n";
        let pairs = |name| section(text, name).map(|values| values.into_iter().collect::<Vec<_>>());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("one"), Some(vec![pair("a", "2"), pair("b", "3=4")]));
        assert_eq!(pairs("two"), Some(vec![pair("a", "5")]));
        assert_eq!(pairs("three"), None);
    }
}
