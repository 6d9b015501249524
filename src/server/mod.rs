//! What is served over HTTP: the metrics, health, the tasks as JSON, and a page for people; and how
//! task ids are registered.
//!
//! Knows no metric: it asks [`Metrics`] for bytes. Nothing that is served waits for a poll.

mod connection;
mod connections;
mod content;
mod filter;
mod guesses;
mod json;
mod negotiate;
mod page;
mod passwords;
mod registration;
mod response;
mod routes;
mod stall;
mod token;
mod web;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use connections::Connections;
pub use connections::{MAX_CONNECTIONS, MAX_UNDER_WAY, SHARE};
use futures_util::future::join_all;
use socket2::SockRef;
pub use token::Token;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio_util::sync::CancellationToken;
pub use web::Web;

use crate::config::reload::Reload;
use crate::metrics::Metrics;
use crate::platform::clock::Clock;
use crate::snapshot::{Snapshot, Store};
use crate::track::counters::Counters;
use crate::track::registrations::Registrations;

/// The longest head of a request, in bytes; 431 beyond.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The longest body of a request, in bytes; 413 beyond.
pub const MAX_BODY_BYTES: u64 = 64 * 1024;
/// What may come on a connection before it asks for something, and between two requests.
pub const MAX_READ_BYTES: usize = 256 * 1024;
/// Requests at a time on one connection of HTTP/2: more than a browser makes here.
pub const MAX_STREAMS: u32 = 16;
/// The time in which a TLS handshake must be done, the first request begin, and the head of a later
/// one be complete once its first byte has come.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which a connection is closed on which nothing has been asked. A little longer
/// than the five minutes after which Prometheus closes it itself, so that it never asks just then.
pub const IDLE_TIMEOUT: Duration = Duration::from_mins(6);
/// The time in which the body of a request must have come; 408 beyond.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which an answer must have been taken, from its first byte that had to wait; with
/// HTTP/2 from its request.
pub const READER_TIMEOUT: Duration = Duration::from_mins(1);
/// The time that answers under way get once the server is told to stop. With what else there is to
/// end, the process is gone within five seconds.
pub const GRACE: Duration = Duration::from_secs(4);

/// How much of an answer the kernel holds for a client.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Rest after an accept that went wrong, if nothing can be closed for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server serves.
#[derive(Debug)]
pub struct App {
    /// The sources and their tasks. A source counts for readiness as soon as it has a snapshot,
    /// so the first one ([`crate::snapshot::Snapshot::before_first_poll`]) must be there before the
    /// server is.
    pub store: Arc<Store>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What is told who has fetched them.
    pub counts: Arc<Counters>,
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
    String::from_utf8_lossy(&json::tasks(snapshots)).into_owned()
}

/// Serves until `shutdown`, then lets answers under way come to their end for [`GRACE`]. A caller
/// who has less time drops the future. All listeners share what connections there may be.
pub async fn serve(listeners: Vec<TcpListener>, app: Arc<App>, shutdown: CancellationToken) {
    let connections = Arc::new(Connections::default());
    let each =
        listeners.into_iter().map(|listener| listen(listener, &connections, &app, &shutdown));
    join_all(each).await;
    // Also where there is nothing to listen to.
    shutdown.cancelled().await;
}

async fn listen(
    listener: TcpListener,
    connections: &Arc<Connections>,
    app: &Arc<App>,
    shutdown: &CancellationToken,
) {
    // What is accepted has both from here. Without either it works as well, if less evenly.
    let _ = SockRef::from(&listener).set_tcp_nodelay(true);
    let _ = SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES);
    let mut served = JoinSet::new();
    let at_once = connections.at_once();
    let mut turns = (1..=at_once).cycle();
    let accept = || shutdown.run_until_cancelled(accept(&listener, connections));
    while let Some((stream, peer)) = accept().await {
        let place = connections.enter(peer);
        served.spawn(connection::serve(stream, peer, place, Arc::clone(app), shutdown.clone()));
        while served.try_join_next().is_some() {}
        if turns.next() == Some(at_once) {
            yield_now().await;
        }
    }
    drop(listener);
    let rest = async { while served.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!(connections = served.len(), "closing connections with open answers");
    }
}

/// The next connection.
async fn accept(listener: &TcpListener, connections: &Connections) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            // Most likely for want of file descriptors, of which a connection has one.
            Err(error) if connections.close_one() => {
                tracing::debug!(%error, "a connection could not be accepted");
                yield_now().await;
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
    use crate::metrics::Instruments;
    use crate::storage::{Contents, Journal};
    use crate::track::registrations::Limits;

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
            counts: Arc::new(Counters::new(instruments, journal)),
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
        tokio::spawn(async move {
            let place = Arc::new(Arc::new(Connections::with_room_for(1)).enter(peer));
            connection::http1(far, peer, &place, app, pending()).await;
        });
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
