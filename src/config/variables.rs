//! The configuration without a file: one source from the variables that begin with `DBTASK_`.

use std::collections::BTreeMap;

use dbtask_clouds::catalog;

use super::report::{ConfigError, Report};
use super::shape;
use super::yaml::{Key, Node, Place, Value};
use crate::platform::environment::Environment;

const PREFIX: &str = "DBTASK_";

/// Every variable, without the prefix and in small letters, and what its text is.
const VARIABLES: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("api", Kind::Text),
    ("region", Kind::Text),
    ("endpoint", Kind::Text),
    ("allow_plain_http", Kind::Text),
    ("project_id", Kind::Text),
    ("resources", Kind::List),
    ("tags", Kind::Tags),
    ("tasks", Kind::Tasks),
    ("tasks_file", Kind::Text),
    ("format", Kind::Text),
    ("utc_offset", Kind::Text),
    ("poll_interval", Kind::Under("poll")),
    ("poll_idle_interval", Kind::Under("poll")),
    ("poll_timeout", Kind::Under("poll")),
    ("poll_lookback", Kind::Under("poll")),
    ("poll_stale_after", Kind::Under("poll")),
    ("retention_finished", Kind::Under("retention")),
    ("retention_failed", Kind::Under("retention")),
    ("limits_tasks_per_source", Kind::Under("limits")),
    ("per_task_metrics", Kind::Text),
    ("proxy_url", Kind::Text),
    ("ca_file", Kind::Text),
];

#[derive(Clone, Copy)]
enum Kind {
    /// The value itself.
    Text,
    /// Values with commas in between.
    List,
    /// `key=value` with commas in between.
    Tags,
    /// `id` or `resource/id` with commas in between.
    Tasks,
    /// A value of the section that the name begins with.
    Under(&'static str),
}

/// The tree that a file with this one source would have; `None` if there is not even a hint of one.
pub(super) fn document(environment: &Environment, report: &Report) -> Option<Node> {
    let variables = environment
        .iter()
        .filter(|(name, value)| {
            name.starts_with(PREFIX) && !value.is_empty() && !is_from_kubernetes(name)
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables: BTreeMap<String, String> = match envy::prefixed(PREFIX).from_iter(variables) {
        Ok(variables) => variables,
        Err(error) => {
            report.add(Place::default(), "", error.to_string());
            return None;
        }
    };
    if variables.is_empty() {
        report.add(
            Place::default(),
            "",
            "there is no configuration: give --config.file, or set DBTASK_API and DBTASK_REGION",
        );
        return None;
    }
    let mut source = Vec::new();
    let mut sections: BTreeMap<&str, Vec<(Key, Node)>> = BTreeMap::new();
    for (name, value) in &variables {
        let Some(&(_, kind)) = VARIABLES.iter().find(|(known, _)| known == name) else {
            report.add(Place::default(), variable(name), hint(name));
            continue;
        };
        match kind {
            Kind::Text => source.push(entry(name, text(value))),
            Kind::List => source.push(entry(name, list(value, text))),
            Kind::Tasks => source.push(entry(name, list(value, task))),
            Kind::Tags => {
                let tag = |part: &str| {
                    let (key, value) = part.split_once('=').unwrap_or((part, ""));
                    entry(key.trim(), text(value.trim()))
                };
                source.push(entry(name, node(Value::Map(parts(value).map(tag).collect()))));
            }
            Kind::Under(section) => {
                let key = name.strip_prefix(section).unwrap_or(name).trim_start_matches('_');
                sections.entry(section).or_default().push(entry(key, text(value)));
            }
        }
    }
    if !variables.contains_key("name") {
        let api = variables.get("api").and_then(|name| catalog::named(name));
        source.push(entry("name", text(api.map_or("default", |api| api.facts.name))));
    }
    source.extend(sections.into_iter().map(|(name, keys)| entry(name, node(Value::Map(keys)))));
    let sources = node(Value::List(vec![node(Value::Map(source))]));
    Some(node(Value::Map(vec![entry("sources", sources)])))
}

/// Says `DBTASK_POLL_INTERVAL` in place of `sources[0].poll.interval`.
pub(super) fn name_variables(mut error: ConfigError) -> ConfigError {
    for problem in &mut error.problems {
        if problem.key == "sources[0]" {
            problem.key.clear();
        } else if let Some(path) = problem.key.strip_prefix("sources[0].") {
            let path = path.split('[').next().unwrap_or(path);
            problem.key = variable(&path.replace('.', "_"));
        }
    }
    error
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

fn hint(name: &str) -> String {
    let known: Vec<_> = VARIABLES.iter().map(|(known, _)| *known).collect();
    if let Some(meant) = shape::nearest(name, &known) {
        return format!("unknown variable; did you mean {}?", variable(meant));
    }
    let known: Vec<_> = known.into_iter().map(variable).collect();
    format!("unknown variable; there are {}", known.join(", "))
}

/// Kubernetes describes every service of the namespace to every pod. Ours is likely to be called
/// `dbtask-exporter`, which makes for `DBTASK_EXPORTER_SERVICE_HOST`,
/// `DBTASK_EXPORTER_PORT_10118_TCP_ADDR` and the like.
fn is_from_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| {
        let (port, protocol) = rest.split_once('_').unwrap_or((rest, ""));
        port.parse::<u16>().is_ok()
            && ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
}

fn node(value: Value) -> Node {
    Node { value, at: Place::default() }
}

fn text(text: &str) -> Node {
    node(Value::Text(text.trim().to_owned()))
}

fn entry(name: &str, value: Node) -> (Key, Node) {
    (Key { name: name.to_owned(), at: Place::default() }, value)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn list(value: &str, item: impl Fn(&str) -> Node) -> Node {
    node(Value::List(parts(value).map(item).collect()))
}

fn task(part: &str) -> Node {
    node(Value::Map(match part.rsplit_once('/') {
        Some((resource, id)) => vec![entry("resource", text(resource)), entry("id", text(id))],
        None => vec![entry("id", text(part))],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_is_no_configuration() {
        for name in [
            "DBTASK_EXPORTER_SERVICE_HOST",
            "DBTASK_EXPORTER_SERVICE_PORT",
            "DBTASK_EXPORTER_SERVICE_PORT_METRICS",
            "DBTASK_EXPORTER_PORT",
            "DBTASK_EXPORTER_PORT_10118_TCP",
            "DBTASK_EXPORTER_PORT_10118_TCP_ADDR",
            "DBTASK_PORT_53_UDP_PROTO",
        ] {
            assert!(is_from_kubernetes(name), "{name}");
        }
        for (name, _) in VARIABLES {
            assert!(!is_from_kubernetes(&variable(name)), "{name}");
        }
        assert!(!is_from_kubernetes("DBTASK_PORT_NUMBER"));
    }
}
