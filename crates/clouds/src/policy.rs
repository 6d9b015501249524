//! The least that the exporter has to be allowed, as documents that each vendor's console takes.
//! Pure; written from [`APIS`](crate::catalog::APIS), which alone says what is needed.
//!
//! - Alibaba RAM: <https://www.alibabacloud.com/help/en/ram/user-guide/policy-structure-and-syntax>
//! - Huawei IAM: <https://support.huaweicloud.com/intl/en-us/usermanual-iam/iam_01_0017.html>
//! - Tencent CAM: <https://www.tencentcloud.com/document/product/598/10603>

use std::collections::BTreeSet;

use crate::api::Operation;
use crate::cloud::Cloud;

/// One document to paste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What the vendor calls it, and where it is to be granted.
    pub title: &'static str,
    /// JSON, indented, without a line end at its end.
    pub document: String,
}

/// What allows `operations` of `cloud`, and nothing else: one document, but two where Huawei's
/// own identity service is among them, for global services take no part in a project's policy.
pub fn policies<'a>(
    cloud: Cloud,
    operations: impl IntoIterator<Item = &'a Operation>,
) -> Vec<Policy> {
    let actions: BTreeSet<&str> =
        operations.into_iter().map(|operation| operation.permission).collect();
    let is_global = |action: &&str| cloud == Cloud::Huawei && action.starts_with("iam:");
    let (global, regional): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_global);
    let title = match cloud {
        Cloud::Alibaba => "RAM policy",
        Cloud::Huawei => "IAM policy for the region's project",
        Cloud::Tencent => "CAM policy",
    };
    [(title, regional), ("IAM policy for global services", global)]
        .into_iter()
        .filter(|(_, actions)| !actions.is_empty())
        .map(|(title, actions)| Policy { title, document: document(cloud, &actions) })
        .collect()
}

fn document(cloud: Cloud, actions: &[&str]) -> String {
    let actions: Vec<String> =
        actions.iter().map(|action| format!("        \"{action}\"")).collect();
    let actions = actions.join(",\n");
    match cloud {
        Cloud::Alibaba => format!(
            r#"{{
  "Version": "1",
  "Statement": [
    {{
      "Effect": "Allow",
      "Action": [
{actions}
      ],
      "Resource": "*"
    }}
  ]
}}"#
        ),
        Cloud::Huawei => format!(
            r#"{{
  "Version": "1.1",
  "Statement": [
    {{
      "Effect": "Allow",
      "Action": [
{actions}
      ]
    }}
  ]
}}"#
        ),
        Cloud::Tencent => format!(
            r#"{{
  "version": "2.0",
  "statement": [
    {{
      "effect": "allow",
      "action": [
{actions}
      ],
      "resource": ["*"]
    }}
  ]
}}"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Call;

    fn of(cloud: Cloud, permissions: &[&'static str]) -> Vec<(&'static str, Value)> {
        let operations: Vec<_> = permissions
            .iter()
            .map(|&permission| Operation {
                name: "any",
                permission,
                per_second: 1,
                call: Call::Action(""),
            })
            .collect();
        policies(cloud, &operations)
            .into_iter()
            .map(|policy| (policy.title, serde_json::from_str(&policy.document).unwrap()))
            .collect()
    }

    #[test]
    fn an_action_that_two_operations_need_is_named_once() {
        let statement = json!({ "Effect": "Allow", "Action": ["a:One", "a:Two"], "Resource": "*" });
        assert_eq!(
            of(Cloud::Alibaba, &["a:Two", "a:One", "a:Two"]),
            [("RAM policy", json!({ "Version": "1", "Statement": [statement] }))]
        );
        let statement = json!({ "effect": "allow", "action": ["cdb:Any"], "resource": ["*"] });
        assert_eq!(
            of(Cloud::Tencent, &["cdb:Any"]),
            [("CAM policy", json!({ "version": "2.0", "statement": [statement] }))]
        );
    }

    #[test]
    fn huaweis_global_service_has_a_policy_of_its_own() {
        let policy = |action: &str| json!({ "Version": "1.1", "Statement": [{ "Effect": "Allow", "Action": [action] }] });
        assert_eq!(
            of(Cloud::Huawei, &["iam:projects:listProjects", "dds:task:list"]),
            [
                ("IAM policy for the region's project", policy("dds:task:list")),
                ("IAM policy for global services", policy("iam:projects:listProjects")),
            ]
        );
    }
}
