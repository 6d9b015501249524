//! The tasks that are measured: running ones, as a vendor's list describes them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Ratio, Resource, Task, TaskState, Timestamp};
use dbtask_exporter::snapshot::{Snapshot, SourceInfo, Tracked};

/// A source with these tasks of 15 series each: ids of 20 bytes, ten tasks on each resource.
pub(crate) fn snapshot(source: &str, tasks: Range<u32>) -> Snapshot {
    let source = SourceInfo {
        name: source.into(),
        cloud: "tencent",
        api: "tencent_cdb",
        region: "ap-guangzhou".into(),
        account: "tencent-prod".into(),
        per_task_metrics: true,
    };
    let mut snapshot = Snapshot::before_first_poll(Arc::new(source), Duration::from_secs(30));
    let start = Timestamp::from_second(1_772_352_000).expect("a date");
    let last_seen = start + Duration::from_hours(25);
    snapshot.tried = true;
    snapshot.up = true;
    snapshot.last_success = Some(last_seen);
    snapshot.last_poll_duration = Some(Duration::from_millis(250));
    snapshot.states[1] = u64::from(tasks.end - tasks.start);
    let kinds: [Arc<str>; 3] = ["BACKUP", "ONLINE UPGRADE", "RESTORE"].map(Into::into);
    let running: Arc<str> = "RUNNING".into();
    let mut resource = Arc::default();
    snapshot.tasks.reserve_exact(tasks.len());
    for i in tasks {
        if i % 10 == 0 {
            let name = format!("orders-{i:05}").into();
            resource = Arc::new(Resource { id: format!("cdb-{i:08x}").into(), name: Some(name) });
        }
        let seconds = |step: u32, below: u32| Duration::from_secs((i * step % below).into());
        // Spread over all digits, as a vendor's ids are; ordered, as a snapshot's are.
        let id = format!("{:020}", u64::from(i) * 1_844_674_407_370_955);
        let mut task = Task::new(id, TaskState::Running, Arc::clone(&running));
        task.kind = Arc::clone(&kinds[i as usize % kinds.len()]);
        task.resource = Arc::clone(&resource);
        task.progress = Ratio::clamped(f64::from(i * 7919 % 10_000) / 10_000.0);
        task.remaining = Some(seconds(10_473, 7200));
        task.started = Some(start + seconds(31, 86_400));
        let progress_changed = last_seen.saturating_sub(seconds(1, 600));
        let estimated_end = task.remaining.map(|left| last_seen + left);
        let settled = None;
        snapshot.tasks.push(Tracked { task, last_seen, progress_changed, estimated_end, settled });
    }
    snapshot
}
