//! Ids that people give: what they may look like, and whether an API can be asked for them.

use std::sync::Arc;

use crate::api::{TaskApi, TaskRef};
use crate::model::{Resource, Task};

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

impl TaskApi {
    /// Whether this API can be asked for `task`; else a sentence that says what it would need.
    pub fn can_ask_for(&self, task: &TaskRef) -> Result<(), String> {
        if (self.by_id)(task).is_some() {
            return Ok(());
        }
        let resource = Some(Arc::new(Resource::new("example")));
        let with_resource = TaskRef { resource, ..task.clone() };
        let of_a_number = TaskRef { id: "225685759".into(), ..with_resource.clone() };
        Err(if (self.by_id)(&with_resource).is_some() {
            format!("needs a `resource`: {} finds a task only by both", self.name)
        } else if (self.by_id)(&of_a_number).is_some() {
            format!("{:?} is not a task id of {}. One is {}", task.id, self.name, self.task_id)
        } else {
            format!("{} cannot be asked for one task", self.name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    /// What is said to an id; empty if it can be asked for.
    fn said(api: &str, id: &str) -> String {
        let resource = Some(Arc::new(Resource::new("cdb-1")));
        let task = TaskRef { id: id.into(), resource, started: None };
        catalog::named(api).unwrap().can_ask_for(&task).err().unwrap_or_default()
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
    fn ids_cannot_break_an_address() {
        for good in ["225685759", "cdb-qlfpnobr", "fd9a9a2c-1", "4fe9:1_2.3"] {
            assert_eq!(id(good), Ok(good));
        }
        for bad in ["..", "a/b", "a?b", "a b", "a%2f", "a&b", "ä", "-x", &"x".repeat(129)] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
