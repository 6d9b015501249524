//! Lists of instances.

use std::sync::Arc;

use dbtask_clouds::model::Resource;
use serde_json::{Value, json};

use super::{Answer, Asked, Fault};
use crate::World;

/// The list of instances of DDS.
pub(super) fn of_dds(asked: &Asked, world: &World<'_>) -> Answer {
    let parameters = &asked.parameters;
    let (offset, limit) = (asked.number("offset", 0)?, asked.number("limit", 100)?);
    if !(1..=100).contains(&limit) {
        return Err(Fault::parameter());
    }
    let name_matches = |name: &str| match parameters.get("name").map(String::as_str) {
        None => true,
        Some(wanted) => match wanted.strip_prefix('*') {
            Some(part) => name.contains(part),
            None => name == wanted,
        },
    };
    if parameters.get("name").is_some_and(|name| name == "*") {
        return Err(Fault::parameter());
    }
    // What a simulated instance has no value for filters nothing.
    let found: Vec<&Arc<Resource>> = world
        .resources
        .iter()
        .filter(|resource| parameters.get("id").is_none_or(|id| **id == *resource.id))
        .filter(|resource| name_matches(resource.name.as_deref().unwrap_or_default()))
        .collect();
    let instances: Vec<Value> =
        found.iter().skip(offset).take(limit).map(|resource| instance(resource, world)).collect();
    Ok(json!({ "instances": instances, "total_count": found.len() }))
}

fn instance(resource: &Resource, world: &World<'_>) -> Value {
    json!({
        "id": resource.id,
        "name": resource.name.as_deref().unwrap_or_default(),
        "remark": "",
        "status": "normal",
        "port": "8635",
        "mode": "ReplicaSet",
        "region": world.target.region,
        "datastore": {
            "type": "DDS-Community",
            "version": "4.4",
            "patch_available": false,
            "whole_version": "4.4.10.1",
        },
        "engine": "wiredTiger",
        // These two carry no zone.
        "created": "2025-11-02T07:05:52",
        "updated": "2026-03-14T02:11:10",
        "db_user_name": "rwuser",
        "ssl": 1,
        "vpc_id": "674e9b42-0000-4d25-a2e6-5abcc565b961",
        "subnet_id": "f1df08c5-0000-406a-aff0-de435a51007b",
        "security_group_id": "7aa51dbf-0000-40db-9724-dad3c4828b58",
        "backup_strategy": { "start_time": "16:00-17:00", "keep_days": 7 },
        "pay_mode": "0",
        "maintenance_window": "02:00-06:00",
        "groups": [],
        "disk_encryption_id": "",
        "enterprise_project_id": "0",
        "time_zone": "",
        "actions": [],
        "tags": [],
    })
}
