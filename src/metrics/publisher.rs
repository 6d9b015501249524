//! `publish`: keeps the exposition as fresh as the store.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::exposition::Exposition;
use super::served::{Metrics, PUBLISH_INTERVAL};
use crate::snapshot::Store;

/// Publishes what is in the store, at once and after each change, until `stop`.
pub async fn publish(store: Arc<Store>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut changes = store.watch();
    changes.mark_changed();
    let work = async {
        // The store is ours too, so it cannot go away while we wait.
        while changes.changed().await.is_ok() {
            let (snapshots, metrics) = (store.snapshots(), Arc::clone(&metrics));
            // To its very end on another thread: freeing what was served before takes time too.
            let work = move || {
                let previous = metrics.exposition();
                metrics.replace(Exposition::new(snapshots, Some(&previous)));
            };
            if let Err(error) = tokio::task::spawn_blocking(work).await {
                // Told to stop, or a defect: better to end than to serve old snapshots for ever.
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return,
                }
            }
            tokio::time::sleep(PUBLISH_INTERVAL).await;
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}
