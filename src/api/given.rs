//! Ids that people give: what they may look like, and whether an API can be asked for them.

use std::sync::Arc;

use super::{TaskApi, TaskRef};
use crate::task::{Resource, Task};

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
            let (id, like) = (&task.id, &of_a_number.id);
            format!("{id:?} is not a task id of {}; one looks like {like:?}", self.name)
        } else {
            format!("{} cannot be asked for one task", self.name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
