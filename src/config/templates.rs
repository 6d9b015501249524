//! Source templates: one entry of `sources` that stands for several.
//!
//! An entry whose `api` or `region` is a list, or whose `api` is a pattern, stands for a source for each
//! combination, named `<name>-<api>-<region>`. All else in it holds for each of them.

use std::borrow::Cow;

use dbtask_clouds::api::{Scope, TaskApi};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::model::Timestamp;

use super::report::Field;
use super::yaml::{Key, Node, Place, Value};

/// The most sources that one entry may stand for.
const MOST: usize = 2_000;

/// Keys whose value can hold for one combination only.
const SINGLE: &[&str] = &["tasks", "tasks_file", "resources", "project_id"];

/// The sources that an entry stands for: itself, unless it is a template.
pub(super) fn expand<'a>(entry: &Field<'a>) -> Vec<Cow<'a, Node>> {
    let itself = || vec![Cow::Borrowed(entry.node())];
    let Value::Map(keys) = &entry.node().value else { return itself() };
    let section = entry.section();
    let (api, region, name) = (section.get("api"), section.get("region"), section.get("name"));
    let is_template = api.as_ref().is_some_and(|api| is_list(api) || is_pattern(api.node()))
        || region.as_ref().is_some_and(is_list);
    let (true, Some(api), Some(region), Some(name)) = (is_template, api, region, name) else {
        return itself();
    };
    let Some(name_text) = name.text() else { return Vec::new() };
    let (Some(apis), Some(regions)) = (choices(&api, true), choices(&region, false)) else {
        return Vec::new();
    };
    let count = apis.len() * regions.len();
    if count > MOST {
        entry.wrong(format!("stands for {count} sources; {MOST} are allowed"));
        return Vec::new();
    }
    if count > 1 {
        for key in SINGLE {
            section.refuse(
                key,
                &format!("cannot hold for {count} sources; give the one it belongs to an entry of its own"),
            );
        }
    }
    let text = |text: &str, at: Place| Node { value: Value::Text(text.to_owned()), at };
    let source = |api: &(Cow<'_, str>, Place), region: &(Cow<'_, str>, Place)| {
        let full = format!("{name_text}-{}-{}", api.0, region.0);
        let with = |(key, node): &(Key, Node)| {
            let node = match key.name.as_str() {
                "name" => text(&full, name.at()),
                "api" => text(&api.0, api.1),
                "region" => text(&region.0, region.1),
                _ => node.clone(),
            };
            (key.clone(), node)
        };
        let value = Value::Map(keys.iter().map(with).collect());
        Cow::Owned(Node { value, at: entry.at() })
    };
    apis.iter().flat_map(|api| regions.iter().map(move |region| source(api, region))).collect()
}

fn is_list(field: &Field<'_>) -> bool {
    matches!(field.node().value, Value::List(_))
}

fn is_pattern(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text.contains('*'))
}

/// What a value, or each of a list, names, in this order and each once; `None` if something is wrong.
fn choices<'a>(field: &Field<'a>, patterns: bool) -> Option<Vec<(Cow<'a, str>, Place)>> {
    let items = if is_list(field) { field.items() } else { vec![field.clone()] };
    if items.is_empty() {
        field.wrong("is an empty list; name at least one");
        return None;
    }
    let mut named: Vec<(Cow<'a, str>, Place)> = Vec::new();
    // Explicit names, which may not be there twice; a pattern may well match one of them.
    let mut written: Vec<&str> = Vec::new();
    let mut is_good = true;
    for item in &items {
        let Some(text) = item.text() else {
            is_good = false;
            continue;
        };
        let matched: Vec<Cow<'a, str>> = if patterns && text.contains('*') {
            matching(text).map(|api| Cow::Borrowed(api.facts.name)).collect()
        } else if written.contains(&text) {
            item.wrong(format!("{text:?} is in the list twice"));
            is_good = false;
            continue;
        } else {
            written.push(text);
            vec![Cow::Borrowed(text)]
        };
        if matched.is_empty() {
            item.wrong(format!(
                "no API that has a list of tasks matches {text:?}; docs/apis.md lists all"
            ));
            is_good = false;
        }
        for name in matched {
            if !named.iter().any(|(known, _)| *known == name) {
                named.push((name, item.at()));
            }
        }
    }
    is_good.then_some(named)
}

/// The APIs whose names match a pattern, in which `*` stands for any text. Those that are only asked
/// for ids are left out: without ids there is nothing to ask.
fn matching(pattern: &str) -> impl Iterator<Item = &'static TaskApi> {
    APIS.iter().copied().filter(move |api| matches(pattern, api.facts.name) && has_list(api))
}

fn has_list(api: &TaskApi) -> bool {
    let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
    let scope = Scope { now, since: now, resources: &[], tags: &[] };
    api.discover(&scope).is_some() || !api.list(&scope).is_empty()
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = (0..=text.len()).filter_map(|from| text.get(from..));
            ends.any(|end| matches(rest, end))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("tencent_*", "tencent_cdb", true),
            ("*", "tencent_cdb", true),
            ("*_cdb", "tencent_cdb", true),
            ("t*_*b", "tencent_cdb", true),
            ("tencent_*", "huawei_dds", false),
            ("tencent_cdb*", "tencent_cdb", true),
            ("tencent_cd", "tencent_cdb", false),
            ("*_history", "alibaba_rds_history", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_leaves_out_what_is_only_asked_for_ids() {
        assert!(matching("*").all(has_list));
        assert!(APIS.iter().any(|api| !has_list(api)), "else this shows nothing");
    }
}
