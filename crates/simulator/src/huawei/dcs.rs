//! Distributed Cache Service: its task centre, and migrations of data.

use dbtask_clouds::huawei::dcs::LIMIT;
use dbtask_clouds::model::{Task, TaskState, Timestamp};
use http::StatusCode;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Answer, Asked, Fault, is_otc};
use crate::World;

fn refused() -> Fault {
    Fault(StatusCode::BAD_REQUEST, "DCS.4001", "The request parameter is invalid.")
}

/// With milliseconds, in UTC.
fn fine(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_jiff().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string())
}

/// Reads `20260313000000`.
fn digits(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.into())
}

fn paging(asked: &Asked, most: usize) -> Result<(usize, usize), Fault> {
    let (offset, limit) = (asked.number("offset", 0)?, asked.number("limit", 10)?);
    if (1..=most).contains(&limit) { Ok((offset, limit)) } else { Err(refused()) }
}

/// The task centre, which only the main cloud has.
pub(super) fn tasks(asked: &Asked, world: &World<'_>) -> Answer {
    if is_otc(world) || world.target.region == "eu-west-101" {
        return Err(Fault::no_such_api());
    }
    let (offset, limit) = paging(asked, LIMIT as usize)?;
    let instant = |name: &str| match asked.text(name) {
        Some(text) => digits(text).map(Some).ok_or_else(refused),
        None => Ok(None),
    };
    let (begin, end) = (instant("start_time")?, instant("end_time")?);
    let is_asked = |created: Timestamp| {
        begin.is_none_or(|begin| begin <= created) && end.is_none_or(|end| created <= end)
    };
    let found = world.tasks.iter().filter(|task| task.created.is_none_or(is_asked));
    let found: Vec<&Task> = found.collect();
    let row = |task: &&Task| {
        json!({
            "id": *task.id,
            "job_id": format!("job-{}", task.id),
            "name": *task.kind,
            "details": { "old_capacity": 2, "new_capacity": 4 },
            "user_name": "ops",
            "user_id": "d53977d1adfb49c5b025ba7d33a1aaaa",
            "status": *task.vendor_status,
            "created_at": fine(task.created),
            "updated_at": fine(task.ended.or(task.created)),
            // One that ended well has a code, too.
            "error_code": match &task.error {
                Some(error) => Some(&*error.code),
                None => (task.state == TaskState::Succeeded).then_some("111400063"),
            },
            "enable_show": true,
        })
    };
    let rows: Vec<Value> = found.iter().skip(offset).take(limit).map(row).collect();
    Ok(json!({ "task_count": found.len(), "tasks": rows }))
}

pub(super) fn migrations(asked: &Asked, world: &World<'_>) -> Answer {
    let (offset, limit) = paging(asked, 100)?;
    let row = |task: &Task| {
        json!({
            "task_id": *task.id,
            "task_name": "dcs-migration",
            "status": *task.vendor_status,
            "migration_type": *task.kind,
            "migration_method": "full_amount_migration",
            "ecs_tenant_private_ip": "192.0.2.9",
            "data_source": "192.0.2.200:6379",
            "source_instance_id": "132e0017-0000-4556-930a-95c7db7e0001",
            "source_instance_name": "redis-old",
            "target_instance_addrs": "192.0.2.153:6379",
            "target_instance_id": task.resource.id,
            "target_instance_name": task.resource.name,
            "created_at": fine(task.created),
            "description": "",
            "error_message": task.error.as_ref().map(|error| &error.message),
            "released_at": null,
            "resume_mode": "auto",
            "version": "6.0.21",
            "supported_features": [],
        })
    };
    let rows: Vec<Value> = world.tasks.iter().skip(offset).take(limit).map(row).collect();
    Ok(json!({ "count": world.tasks.len(), "migration_tasks": rows }))
}

/// How far a migration is, in numbers where the vendor's clients declare texts.
pub(super) fn stats(asked: &Asked, world: &World<'_>) -> Answer {
    let found = world.tasks.iter().find(|task| *task.id == *asked.part(3));
    let unknown = Fault(StatusCode::BAD_REQUEST, "DCS.4133", "The migration task does not exist.");
    let task = found.ok_or(unknown)?;
    let percent = task.progress.map_or(0.0, |progress| f64::from(progress.get()) * 100.0);
    Ok(json!({
        "full_migration_progress": percent.round(),
        "is_migrating": true,
        "offset": 100,
        "source_dbsize": 531_221,
        "target_dbsize": 531_211,
        "target_input_kbps": 50,
        "target_ops": 5300,
    }))
}
