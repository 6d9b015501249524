//! Which kinds of task a source's counters name: a label that a vendor fills needs a bound.

use std::collections::BTreeSet;

use super::text::{MAX_LABEL_BYTES, cut};

/// The most kinds that one source names.
const MAX_KINDS: usize = 50;

/// The kind that stands for all the others.
const OTHER: &str = "other";

/// The kinds that one source has named so far.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    named: BTreeSet<Box<str>>,
}

impl Kinds {
    /// The `task_kind` label of a kind: itself, cut, if it is one of the first 50.
    pub(super) fn label<'a>(&mut self, kind: &'a str) -> &'a str {
        let kind = cut(kind, MAX_LABEL_BYTES);
        if self.named.contains(kind) {
            return kind;
        }
        // The label itself is no kind: it must not take a place when labels are restored.
        if self.named.len() >= MAX_KINDS || kind == OTHER {
            return OTHER;
        }
        self.named.insert(kind.into());
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifty_first_kind_is_other() {
        let mut kinds = Kinds::default();
        for i in 0..50 {
            let kind = format!("kind-{i}");
            assert_eq!(kinds.label(&kind), kind);
        }
        assert_eq!(kinds.label("kind-50"), "other");
        assert_eq!(kinds.label("kind-7"), "kind-7");
    }

    #[test]
    fn the_label_of_the_rest_takes_no_place() {
        let mut kinds = Kinds::default();
        assert_eq!(kinds.label("other"), "other");
        for i in 0..50 {
            let kind = format!("kind-{i}");
            assert_eq!(kinds.label(&kind), kind);
        }
    }

    #[test]
    fn a_long_kind_is_cut_between_characters() {
        let long = "备".repeat(43);
        assert_eq!(Kinds::default().label(&long), "备".repeat(42));
    }
}
