//! Lists that do not add up: rows that are taken out of a page after it was counted, and totals
//! that are wrong.

use bytes::Bytes;
use serde_json::Value;

use super::fault::{Fault, FaultKind};

/// What the fault makes of a body. What is not JSON stays as it is.
pub(super) fn bend(fault: &Fault, body: Bytes) -> Bytes {
    if !matches!(fault.kind, FaultKind::ShortPages | FaultKind::WrongTotal) {
        return body;
    }
    let Ok(mut tree) = serde_json::from_slice::<Value>(&body) else { return body };
    bend_tree(fault, &mut tree);
    tree.to_string().into()
}

fn bend_tree(fault: &Fault, tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_u64().filter(|_| name.starts_with("Total")) {
                    Some(total) if fault.kind == FaultKind::WrongTotal => {
                        *value = (total / 2).into();
                    }
                    _ => bend_tree(fault, value),
                }
            }
        }
        Value::Array(rows) => {
            rows.retain(|row| !id(row).is_some_and(|id| fault.hides(&id)));
            for row in rows {
                bend_tree(fault, row);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The id of the task in a row of a list; `None` where the row is no task.
fn id(row: &Value) -> Option<String> {
    let names = ["TaskId", "JobId", "DtsJobId", "ID", "Id", "id"];
    let id = names.into_iter().find_map(|name| row.get(name))?;
    match id {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
