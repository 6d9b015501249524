//! Ids that people give: what they may look like, and whether an API can be asked for them.

use crate::api::{Facts, IdRule, Needs, TaskRef};
use crate::model::Task;

/// `text`, if it can be the id of a task, a cluster or an instance: it becomes part of an address.
/// Else a sentence that says why not.
pub fn id(text: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= Task::MAX_ID_BYTES && text.chars().all(fits) {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is not an id: letters, digits, \"_\", \".\", \"-\" or \":\", at most {}",
        Task::MAX_ID_BYTES
    ))
}

impl IdRule {
    /// Whether a task can be asked for with what is known of it.
    pub fn admits(&self, task: &TaskRef) -> bool {
        (self.fits)(&task.id) && !self.lacks(task)
    }

    /// Whether something that has to be known beside the id is not.
    fn lacks(&self, task: &TaskRef) -> bool {
        let resource = task.resource.as_ref().is_some_and(|resource| !resource.id.is_empty());
        match self.needs {
            Needs::Nothing => false,
            Needs::Resource => !resource,
            Needs::ResourceOrStart => !resource && task.started.is_none(),
        }
    }
}

impl Facts {
    /// Whether this API can be asked for `task`; else a sentence that says what it would need.
    pub fn can_ask_for(&self, task: &TaskRef) -> Result<(), String> {
        let Some(rule) = &self.ids else {
            return Err(format!("{} cannot be asked for one task", self.name));
        };
        if !(rule.fits)(&task.id) {
            let (id, name, looks_like) = (&task.id, self.name, rule.looks_like);
            if **id == *"0" {
                return Err(format!(
                    "\"0\" is no task of {name}: a call that answers the id 0 has begun none, so there is \
                     nothing to wait for"
                ));
            }
            return Err(format!("{id:?} is not a task id of {name}. One is {looks_like}"));
        }
        if rule.lacks(task) {
            return Err(format!("needs a `resource`: {} finds a task only by both", self.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog;
    use crate::cloud::Cloud;
    use crate::model::Resource;

    /// What is said to an id; empty if it can be asked for.
    fn said(api: &str, id: &str) -> String {
        let resource = Some(Arc::new(Resource::new("cdb-1")));
        let task = TaskRef { id: id.into(), resource, started: None };
        catalog::named(api).unwrap().facts.can_ask_for(&task).err().unwrap_or_default()
    }

    #[test]
    fn an_id_that_can_never_match_is_refused_with_what_one_looks_like() {
        for (api, id) in [
            ("alibaba_adb", "225685759"),
            ("huawei_dds", "9d10bfd1-affb-49c3-b977-298950a8d6fa"),
            ("tencent_redis", "18215"),
            ("tencent_cdb", "70"),
        ] {
            assert_eq!(said(api, id), "", "{api}");
        }
        for (api, id, word) in [
            ("alibaba_adb", "t-0mqz5qhnhmvy", "`TaskId`"),
            ("alibaba_adb", "007", "`TaskId`"),
            ("alibaba_adb", "99999999999999999999999", "`TaskId`"),
            ("huawei_dds", "c99ed9b8a5fd4ef8ae8e94fd1d20dc3ein02", "`job_id`"),
            ("tencent_redis", "rollback", "`TaskId`"),
            ("tencent_redis", "crs-k3x9d0ab", "`DealId`"),
            ("tencent_cdb", "f2fe828c-773af816-0a08f542-94bb2a9c", "`AsyncRequestId`"),
            ("tencent_cdb", "upgrade", "`JobId`"),
            ("tencent_cdb", "0070", "`JobId`"),
        ] {
            let said = said(api, id);
            assert!(said.contains(id) && said.contains(word), "{api}: {said}");
        }
        assert!(said("alibaba_polardb", "1").contains("cannot be asked for one task"));
    }

    #[test]
    fn an_id_0_is_refused_since_there_is_nothing_to_wait_for() {
        let zeros = catalog::APIS.iter().filter(|api| api.facts.cloud == Cloud::Tencent);
        for api in zeros {
            let said = said(api.facts.name, "0");
            assert!(said.contains("nothing to wait for"), "{}: {said}", api.facts.name);
        }
    }

    #[test]
    fn each_product_has_ids_of_its_own() {
        for (api, good, bad) in [
            ("tencent_postgres", "120405", "postgres-q6fj84vb"),
            ("tencent_cynosdb", "9007199254740993", "cynosdbmysql-1"),
            ("tencent_dts_migration", "dts-amm1jw5q", "sync-amm1jw5q"),
            ("tencent_dts_sync", "sync-re000002", "dts-re000002"),
            ("tencent_dcdb", "15985", "tdsqlshard-1"),
            ("tencent_tcaplusdb", "5674209986-1300", "5674209986"),
            ("tencent_mongodb", "1750660112001309", "000"),
            ("tencent_mariadb", "52356", "x"),
        ] {
            assert_eq!(said(api, good), "", "{api}");
            assert!(said(api, bad).contains("is not a task id"), "{api}");
        }
    }

    #[test]
    fn ids_cannot_break_an_address() {
        for good in ["225685759", "cdb-qlfpnobr", "fd9a9a2c-1", "4fe9:1_2.3"] {
            assert_eq!(id(good), Ok(good));
        }
        for bad in ["..", "a/b", "a?b", "a b", "a%2f", "a&b", "ä", "-x", &"x".repeat(129)] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
