//! `Plan`: what has to be done with each source to get from one configuration to another. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::SourceConfig;

/// What has to be done with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it goes on, and notices nothing.
    Keep,
    /// It goes on in another way, from what is known of it.
    Change,
    /// It begins.
    Start,
    /// It ends.
    Stop,
}

impl Step {
    /// Every step, and the word for a source with which it has been done.
    const ALL: [(Self, &'static str); 4] = [
        (Self::Keep, "unchanged"),
        (Self::Change, "changed"),
        (Self::Start, "new"),
        (Self::Stop, "gone"),
    ];
}

/// A step for each source, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(BTreeMap<String, Step>);

impl Plan {
    /// From the sources that are watched to those that are to be.
    pub fn new<'a>(
        old: impl IntoIterator<Item = &'a SourceConfig>,
        new: impl IntoIterator<Item = &'a SourceConfig>,
    ) -> Self {
        let old: BTreeMap<&str, &SourceConfig> =
            old.into_iter().map(|source| (source.name.as_str(), source)).collect();
        let mut steps: BTreeMap<String, Step> =
            old.keys().map(|name| ((*name).to_owned(), Step::Stop)).collect();
        for source in new {
            let step = match old.get(source.name.as_str()) {
                Some(old) if old.is_same(source) => Step::Keep,
                Some(_) => Step::Change,
                None => Step::Start,
            };
            steps.insert(source.name.clone(), step);
        }
        Self(steps)
    }

    /// What has to be done with the source of this name; `None` if there is none, and never was.
    pub fn step(&self, source: &str) -> Option<Step> {
        self.0.get(source).copied()
    }

    /// The sources with which this has to be done, in order.
    pub fn sources(&self, step: Step) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, of)| **of == step).map(|(name, _)| name.as_str())
    }
}

/// `2 sources unchanged; changed: mysql; new: redis, dds`, without what is nothing.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sources unchanged", self.sources(Step::Keep).count())?;
        for (step, word) in Step::ALL.into_iter().filter(|(step, _)| *step != Step::Keep) {
            let names: Vec<&str> = self.sources(step).collect();
            if !names.is_empty() {
                write!(f, "; {word}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::platform::environment::Environment;

    /// Two sources of one account.
    const BASE: &str = "
credentials: [{name: a, cloud: tencent, secret_id: AKID, secret_key: one, daily_budget: 9000}]
sources:
  - {name: mysql, api: tencent_cdb, region: ap-guangzhou, credentials: a}
  - {name: redis, api: tencent_redis, region: ap-guangzhou, credentials: a}
";

    fn sources(text: &str) -> Vec<SourceConfig> {
        Config::parse(text, "test", &Environment::default()).unwrap().sources
    }

    fn plan(old: &str, new: &str) -> String {
        Plan::new(&sources(old), &sources(new)).to_string()
    }

    #[test]
    fn a_configuration_that_says_the_same_changes_nothing() {
        assert_eq!(plan(BASE, BASE), "2 sources unchanged");
        let spelled_otherwise = BASE.replace(
            "{name: mysql, api: tencent_cdb,",
            "{poll: {interval: 30s}, enabled: true, api: tencent_cdb, name: mysql,",
        );
        assert_eq!(plan(BASE, &spelled_otherwise), "2 sources unchanged");
        let (head, tail) = BASE.split_once("  - {name: mysql").unwrap();
        let (mysql, redis) = tail.split_once('\n').unwrap();
        let in_another_order = format!("{head}{redis}  - {{name: mysql{mysql}\n");
        assert_eq!(plan(BASE, &in_another_order), "2 sources unchanged");
    }

    #[test]
    fn what_is_changed_in_one_source_changes_no_other() {
        for key in [
            "resources: [cdb-1]",
            "tasks: [{id: '7', resource: cdb-1}]",
            "utc_offset: '+00:00'",
            "poll: {interval: 10s}",
            "poll: {timeout: 5s}",
            "retention: {failed: 1h}",
            "limits: {tasks_per_source: 5}",
            "per_task_metrics: false",
            "proxy_url: 'http://proxy:3128'",
            "ca_file: /no/such/file.pem",
            "endpoint: 'https://cdb.example.com'",
        ] {
            let new = BASE.replace("{name: mysql,", &format!("{{name: mysql, {key},"));
            assert_eq!(plan(BASE, &new), "1 sources unchanged; changed: mysql", "{key}");
            assert_eq!(plan(&new, BASE), "1 sources unchanged; changed: mysql", "back: {key}");
            assert_eq!(plan(&new, &new), "2 sources unchanged", "{key}");
        }
        let elsewhere =
            BASE.replace("tencent_cdb, region: ap-guangzhou", "tencent_cdb, region: ap-beijing");
        assert_eq!(plan(BASE, &elsewhere), "1 sources unchanged; changed: mysql");
    }

    #[test]
    fn what_is_changed_for_an_account_changes_all_its_sources() {
        let other_key = BASE.replace("secret_key: one", "secret_key: two");
        assert_eq!(plan(BASE, &other_key), "0 sources unchanged; changed: mysql, redis");
        let other_way = BASE.replace("secret_key: one", "secret_key_env: KEY");
        assert_eq!(plan(BASE, &other_way), "0 sources unchanged; changed: mysql, redis");
        let budget = BASE.replace("9000", "9001");
        assert_eq!(plan(BASE, &budget), "0 sources unchanged; changed: mysql, redis");
        let another = BASE.replace("credentials: [", "credentials: [{name: b, cloud: alibaba}, ");
        let another = another
            .replace("cloud: alibaba", "cloud: alibaba, access_key_id: x, access_key_secret: y");
        assert_eq!(plan(BASE, &another), "2 sources unchanged");
    }

    #[test]
    fn what_is_changed_for_all_changes_those_that_do_not_say_otherwise() {
        let general = format!("retention: {{failed: 48h}}\n{BASE}");
        assert_eq!(plan(BASE, &general), "0 sources unchanged; changed: mysql, redis");
        let own = BASE.replace("{name: mysql,", "{name: mysql, retention: {failed: 24h},");
        let general = format!("retention: {{failed: 48h}}\n{own}");
        assert_eq!(plan(BASE, &general), "1 sources unchanged; changed: redis");
    }

    #[test]
    fn sources_come_and_go() {
        let (one, _) = BASE.split_once("  - {name: redis").unwrap();
        assert_eq!(plan(BASE, one), "1 sources unchanged; gone: redis");
        assert_eq!(plan(one, BASE), "1 sources unchanged; new: redis");
        let disabled = BASE.replace("{name: redis,", "{name: redis, enabled: false,");
        assert_eq!(plan(BASE, &disabled), "1 sources unchanged; gone: redis");
        let renamed = BASE.replace("{name: redis,", "{name: cache,");
        assert_eq!(plan(BASE, &renamed), "1 sources unchanged; new: cache; gone: redis");
    }

    #[test]
    fn what_a_tasks_file_lists_is_no_change_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tasks.yml");
        let text = format!(
            "sources: [{{name: adb, api: alibaba_adb, region: cn-x, tasks_file: {}}}]",
            file.display()
        );
        std::fs::write(&file, "[{id: 1, resource: am-1}]").unwrap();
        let old = sources(&text);
        std::fs::write(&file, "[{id: 2, resource: am-1}]").unwrap();
        assert_eq!(Plan::new(&old, &sources(&text)).to_string(), "1 sources unchanged");
    }
}
