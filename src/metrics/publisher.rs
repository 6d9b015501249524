//! `publish`: keeps the exposition as fresh as the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exposition::{Exposition, Metrics};
use crate::store::{Snapshot, Store};

/// The least time between two publications: polls that end together are published together.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes what is in the store, at once and after each change, until `stop`.
pub async fn publish(store: Arc<Store>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut changes = store.watch();
    changes.mark_changed();
    let work = async {
        // The store is ours too, so it cannot go away while we wait.
        while changes.changed().await.is_ok() {
            let snapshots = store.snapshots();
            let previous = metrics.exposition();
            let next = move || at_leisure(snapshots, &previous);
            match tokio::task::spawn_blocking(next).await {
                Ok(exposition) => metrics.replace(exposition),
                // Told to stop, or a defect: better to end than to serve old snapshots for ever.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return,
                },
            }
            tokio::time::sleep(PUBLISH_INTERVAL).await;
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}

/// Works half of the time and rests the other half, in turns of less than a millisecond: on a
/// machine with few cores, fifty milliseconds of compressing would hold up the scrapes meanwhile.
fn at_leisure(snapshots: Vec<Arc<Snapshot>>, previous: &Exposition) -> Exposition {
    let mut begun = Instant::now();
    Exposition::with_rests(snapshots, Some(previous), || {
        std::thread::sleep(begun.elapsed());
        begun = Instant::now();
    })
}
