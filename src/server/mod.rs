//! What is served over HTTP: the metrics, health, the tasks as JSON, and a page for people; and how
//! task ids are registered.
//!
//! Knows no metric: it asks [`Metrics`] for bytes. Nothing that is served waits for a poll.

mod connection;
mod filter;
mod json;
mod negotiate;
mod page;
mod passwords;
mod registration;
mod routes;
mod stall;
mod token;
mod web;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::counts::Counts;
use crate::metrics::Metrics;
use crate::registration::Registrations;
use crate::reload::Reload;
use crate::store::{Snapshot, Store};
pub use token::Token;
pub use web::Web;

/// Connections at a time on one listener. More wait in the kernel: a scrape that comes late is
/// better than one that fails.
pub const MAX_CONNECTIONS: usize = 512;
/// The longest head of a request, in bytes; 431 beyond.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The longest body of a request, in bytes; 413 beyond.
pub const MAX_BODY_BYTES: u64 = 64 * 1024;
/// The time in which the head of a request must have come, counted from the end of the last
/// answer; that of a TLS handshake too. An idle connection is closed by it.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which the body of a request must have come; 408 beyond.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which an answer must have been taken.
pub const READER_TIMEOUT: Duration = Duration::from_mins(1);
/// The time that answers under way get once the server is told to stop. With what else there is to
/// end, the process is gone within five seconds.
pub const GRACE: Duration = Duration::from_secs(4);

/// Rest after an accept that went wrong, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server serves.
#[derive(Debug)]
pub struct App {
    /// The sources and their tasks. A source counts for readiness as soon as it has a snapshot,
    /// so the first one ([`crate::store::Snapshot::before_first_poll`]) must be there before the
    /// server is.
    pub store: Arc<Store>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What is told who has fetched them.
    pub counts: Arc<Counts>,
    /// What time it is.
    pub clock: Clock,
    /// Where: `/metrics`.
    pub metrics_path: String,
    /// How task ids are registered; empty as long as that is not configured.
    pub registering: Arc<ArcSwapOption<Registering>>,
    /// How all of it is reached, and by whom.
    pub web: Arc<Web>,
    /// How the configuration is read again at somebody's request.
    pub lifecycle: Lifecycle,
    /// Cancelled when the program begins to stop: not ready any more, though still serving.
    pub stopping: CancellationToken,
}

/// How the configuration is read again at somebody's request.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Who reads it; `None` where there is nothing to read.
    pub reload: Option<Reload>,
    /// Whether everybody may ask. Else it takes a password.
    pub is_open: bool,
}

/// How task ids are registered.
#[derive(Debug)]
pub struct Registering {
    /// What is registered.
    pub registrations: Arc<Registrations>,
    /// What it takes to change that.
    pub token: Token,
}

/// What `/api/v1/tasks` answers without a filter.
pub fn tasks_json(snapshots: &[Arc<Snapshot>]) -> String {
    let json = json::tasks(snapshots, &filter::Filter::default());
    String::from_utf8_lossy(&json).into_owned()
}

/// Serves until `shutdown`, then lets answers under way come to their end for [`GRACE`]. A caller
/// who has less time drops the future.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &slots)).await {
        let (stream, peer, slot) = accepted;
        let app = Arc::clone(&app);
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            connection::serve(stream, peer, app, shutdown).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections with open answers");
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // Only a closed semaphore gives none, and nobody closes it.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it only small answers on a busy connection would be slower.
                let _ = stream.set_nodelay(true);
                return (stream, peer.ip().to_canonical(), slot);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::journal::{Contents, Journal};
    use crate::metrics::Instruments;
    use crate::registration::Limits;

    /// An exporter without a source, on which ids could be registered with the token `t`.
    pub(super) fn app(token_file: std::path::PathBuf) -> Arc<App> {
        let instruments = Instruments::new().unwrap();
        let journal = Arc::new(Journal::default());
        let registrations = Registrations::restore(
            Clock::System,
            instruments.clone(),
            Arc::clone(&journal),
            &mut Contents::default(),
        );
        let limits = Limits { tasks: 1, ttl: Duration::from_secs(1) };
        registrations.open(std::collections::BTreeMap::new(), Some(limits));
        std::fs::write(&token_file, "t").unwrap();
        Arc::new(App {
            store: Arc::default(),
            metrics: Arc::new(Metrics::new(instruments.clone())),
            counts: Arc::new(Counts::new(instruments, journal)),
            clock: Clock::System,
            metrics_path: "/metrics".into(),
            registering: Arc::new(ArcSwapOption::from_pointee(Registering {
                registrations: Arc::new(registrations),
                token: Token::new(token_file),
            })),
            web: Arc::default(),
            lifecycle: Lifecycle::default(),
            stopping: CancellationToken::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = duplex(1024);
        let peer = IpAddr::from([127, 0, 0, 1]);
        let app = app(folder.path().join("token"));
        tokio::spawn(connection::http1(far, peer, app, pending()));
        let (mut read, mut write) = tokio::io::split(near);
        write
            .write_all(
                b"POST /api/v1/tasks HTTP/1.1\r\nhost: here\r\nauthorization: Bearer t\r\n\
                  content-type: application/json\r\ncontent-length: 100\r\n\r\n",
            )
            .await
            .unwrap();
        let trickle = tokio::spawn(async move {
            while write.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let mut answer = String::new();
        read.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(begun.elapsed(), BODY_TIMEOUT);
        trickle.abort();
    }
}
