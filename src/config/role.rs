//! The role that an entry of `credentials` assumes.

use std::ops::RangeInclusive;
use std::time::Duration;

use dbtask_clouds::cloud::Cloud;

use super::report::Section;
use super::shape;
use crate::credentials::{DURATION_SECONDS, Role, RoleName, SESSION_NAME};

/// Every key that has to do with a role, in any cloud.
const KEYS: [&str; 6] =
    ["role_arn", "external_id", "agency_name", "agency_domain", "session_name", "session_duration"];
/// The key that says where a role is assumed, or a token asked for.
pub(super) const ENDPOINT: &str = "sts_endpoint";
/// What every vendor grants, if the role does.
const DURATIONS: RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_hours(12);

/// The keys that `cloud` has.
pub(super) fn keys(cloud: Cloud) -> impl Iterator<Item = &'static str> {
    let not_its_own: &[&str] = match cloud {
        Cloud::Alibaba | Cloud::Tencent => &["agency_name", "agency_domain"],
        Cloud::Huawei => &["role_arn", "external_id"],
    };
    KEYS.into_iter().chain([ENDPOINT]).filter(|key| !not_its_own.contains(key))
}

/// The role, if the entry has one; wrong values have been reported.
pub(super) fn read(section: &Section<'_>, cloud: Cloud) -> Option<Role> {
    let text = |key: &str| section.get(key).and_then(|field| field.text()).map(str::to_owned);
    let (arn, external_id) = (text("role_arn"), text("external_id"));
    let (agency, domain) = (text("agency_name"), text("agency_domain"));
    let session_name = section.get("session_name").and_then(|field| field.parse(session_name));
    let duration = section.get("session_duration").and_then(|field| field.duration(&DURATIONS));
    let name = match cloud {
        Cloud::Alibaba => arn.map(|arn| RoleName::Alibaba { arn, external_id, policy: None }),
        Cloud::Tencent => arn.map(|arn| RoleName::Tencent { arn, external_id }),
        Cloud::Huawei => match (agency, domain) {
            (Some(agency), Some(domain)) => Some(RoleName::Huawei { agency, domain }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                section.wrong("`agency_name` and `agency_domain` belong together");
                return None;
            }
        },
    };
    if name.is_none() {
        for key in ["external_id", "session_name", "session_duration"] {
            section.refuse(key, "belongs to a role, and there is none");
        }
    }
    Some(Role {
        name: name?,
        session_name: session_name.unwrap_or(SESSION_NAME).to_owned(),
        duration_seconds: duration
            .and_then(|it| u32::try_from(it.as_secs()).ok())
            .unwrap_or(DURATION_SECONDS),
    })
}

/// Where a role is assumed, or a token asked for, if the entry says so.
pub(super) fn endpoint(section: &Section<'_>) -> Option<String> {
    section.get(ENDPOINT)?.parse(|text| shape::endpoint(text, false))
}

/// What all vendors take.
fn session_name(text: &str) -> Result<&str, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"=,.@_-".contains(&byte);
    if (2..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text)
    } else {
        Err("must be 2 to 64 letters, digits or =,.@_-".to_owned())
    }
}
