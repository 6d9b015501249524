//! Data Warehouse Service. A task whose id is that of a cluster, a slash and a name is an action of that
//! cluster; any other is a job that is asked for by its id.

use dbtask_clouds::model::{Task, TaskState};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Answer, Asked, Fault};
use crate::World;

fn percent(task: &Task) -> String {
    let percent = task.progress.map_or(0.0, |progress| f64::from(progress.get()) * 100.0);
    format!("{percent:.0}%")
}

/// All clusters. What one does is a key of `action_progress`.
pub(super) fn clusters(asked: &Asked, world: &World<'_>) -> Answer {
    if asked.text("enterprise_project_id") == Some("") {
        let message = "The enterprise project ID is invalid.";
        return Err(Fault(StatusCode::BAD_REQUEST, "DWS.0013", message));
    }
    let cluster = |(id, name): (&str, Option<&str>)| {
        let action_of = |task: &Task| {
            let (cluster, action) = task.id.split_once('/')?;
            (cluster == id).then(|| action.to_owned())
        };
        let own = || world.tasks.iter().filter_map(|task| Some((action_of(task)?, task)));
        let at_work = own().filter(|(_, task)| !task.state.is_final());
        let progress = at_work.map(|(action, task)| (action, percent(task).into()));
        let failed = own().find(|(_, task)| task.state == TaskState::Failed);
        let status = own().next().map(|(_, task)| &*task.vendor_status);
        json!({
            "id": id,
            "name": name,
            "status": "AVAILABLE",
            "sub_status": "NORMAL",
            "task_status": status,
            "action_progress": progress.collect::<Map<String, Value>>(),
            "failed_reasons": failed.map(|(_, task)| json!({
                "error_code": task.error.as_ref().map(|error| &error.code),
                "error_msg": "jdbc:postgresql://dws.example.com/gaussdb is not reached",
            })),
            "version": "9.1.0",
            "created": "2026-02-10T14:26:14Z",
            "updated": "2026-03-14T01:28:14Z",
            "port": 8000,
            "endpoints": [{
                "connect_info": "dws.example.com",
                "jdbc_url": "jdbc:postgresql://dws.example.com/gaussdb",
            }],
            "public_endpoints": [],
            "public_ip": { "public_bind_type": "not_use" },
            "nodes": [],
            "tags": [],
            "user_name": "dbadmin",
            "number_of_node": 3,
            "recent_event": 6,
            "availability_zone": "cn-north-4b",
            "enterprise_project_id": "0",
            "node_type": "dws.d1.xlarge.ultrahigh",
            "vpc_id": "85b20d7e-0000-4b2a-98f3-3c8843ea0001",
            "subnet_id": "374eca02-0000-4de7-8ab5-dbebf7d90001",
            "security_group_id": "dc3ec145-0000-4029-b5a3-ace5a01f0001",
        })
    };
    let all = world.resources.iter().map(|resource| (&*resource.id, resource.name.as_deref()));
    let clusters: Vec<Value> = all.map(cluster).collect();
    Ok(json!({ "count": clusters.len(), "clusters": clusters }))
}

/// One job, whose times have no zone.
pub(super) fn job(asked: &Asked, world: &World<'_>) -> Answer {
    let found = world.tasks.iter().find(|task| *task.id == *asked.part(3));
    let unknown = Fault(StatusCode::NOT_FOUND, "DWS.0001", "The job does not exist.");
    let task = found.ok_or(unknown)?;
    let bare = |time: Option<dbtask_clouds::model::Timestamp>| {
        time.map(|time| time.to_jiff().strftime("%Y-%m-%dT%H:%M:%S").to_string())
    };
    Ok(json!({
        "job_id": *task.id,
        "job_name": *task.kind,
        "begin_time": bare(task.started),
        "end_time": bare(task.ended),
        "status": *task.vendor_status,
        "failed_code": task.error.as_ref().map(|error| &error.code),
        "failed_detail": task.error.as_ref().map(|error| &error.message),
        "progress": percent(task),
    }))
}
