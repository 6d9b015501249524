//! `Web`: the web configuration in force, and how a new one takes its place.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use http::HeaderMap;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::passwords::{Passwords, Rejection};
use crate::config::{ConfigError, LoadedWebConfig, MAX_FILE_BYTES, RateLimit, WebConfig};
use crate::platform::clock::TokioClock;
use crate::platform::files::{FileVersion, FilesWatch};

/// How what is served is reached, and by whom. Without a file: by everybody, over plain HTTP.
#[derive(Debug)]
pub struct Web {
    /// The file and what was read for it at the start.
    file: Option<(PathBuf, BTreeMap<PathBuf, FileVersion>)>,
    current: ArcSwap<Terms>,
}

/// One version of it.
#[derive(Debug)]
pub(super) struct Terms {
    config: WebConfig,
    passwords: Passwords,
    limit: Option<Limit>,
    /// Cancelled once another version is in force.
    superseded: CancellationToken,
}

impl Default for Web {
    fn default() -> Self {
        Self { file: None, current: ArcSwap::from_pointee(Terms::new(WebConfig::default(), None)) }
    }
}

impl Web {
    /// Begins with what the file `path` says.
    pub async fn load(path: PathBuf) -> Result<Self, ConfigError> {
        let LoadedWebConfig { config, files } = read(path.clone()).await;
        let current = ArcSwap::from_pointee(Terms::new(config?, None));
        Ok(Self { file: Some((path, files)), current })
    }

    /// Whether it begins with TLS, which it then stays with.
    pub fn is_tls(&self) -> bool {
        self.current.load().config.tls.is_some()
    }

    pub(super) fn current(&self) -> Arc<Terms> {
        self.current.load_full()
    }

    /// Takes over each new version of the files, until `shutdown`. One with any problem is refused
    /// whole, and the one before it stays in force.
    pub async fn keep_up(self: Arc<Self>, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&self) {
        let Some((path, files)) = &self.file else { return pending().await };
        let mut seen = files.clone();
        let mut watch = FilesWatch::default();
        loop {
            // The files of a version that is refused too: one of them may be what is mended.
            watch.may_have_changed(seen.keys(), MAX_FILE_BYTES).await;
            let LoadedWebConfig { config, files } = read(path.clone()).await;
            if files == seen {
                continue;
            }
            seen = files;
            let file = path.display();
            match config.map_err(|error| error.to_string()).and_then(|config| self.take(config)) {
                Ok(()) => {
                    tracing::info!(%file, "a new version of the web configuration is in force");
                }
                Err(problems) => tracing::error!(
                    %file,
                    "the web configuration is refused, and the one before it stays in force: {}",
                    problems.replace('\n', "; ")
                ),
            }
        }
    }

    fn take(&self, config: WebConfig) -> Result<(), String> {
        // A file that is being written must not open the door.
        if config.is_blank {
            return Err("it is empty; `basic_auth_users: {}` lets everybody in".to_owned());
        }
        if config.tls.is_some() != self.is_tls() {
            return Err(
                "to begin with TLS, or to end it, the exporter must be restarted".to_owned()
            );
        }
        let before = self.current();
        self.current.store(Arc::new(Terms::new(config, Some(&before))));
        before.superseded.cancel();
        Ok(())
    }
}

/// Reads it on another thread: a file system may hang.
async fn read(path: PathBuf) -> LoadedWebConfig {
    let work = tokio::task::spawn_blocking(move || WebConfig::load(&path));
    match work.await {
        Ok(loaded) => loaded,
        // Told to stop, or a defect: better to end than to go on with an old one for ever.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => pending().await,
        },
    }
}

impl Terms {
    fn new(config: WebConfig, before: Option<&Self>) -> Self {
        let passwords = Passwords::new(&config.users, before.map(|before| &before.passwords));
        let limit = config.rate_limit.map(Limit::new);
        Self { config, passwords, limit, superseded: CancellationToken::new() }
    }

    /// `None` for plain HTTP.
    pub(super) fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.config.tls.as_ref()
    }

    /// What every answer carries.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.config.headers
    }

    /// Ends when another version is in force: connections that were made under this one should end.
    pub(super) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// Counts a request, which may be one too many.
    pub(super) fn count(&self) -> Result<(), Rejection> {
        self.limit.as_ref().map_or(Ok(()), Limit::take)
    }

    /// Whether it takes a password to be answered.
    pub(super) fn asks_for_passwords(&self) -> bool {
        !self.config.users.is_empty()
    }

    /// Whether a request with these headers shows a user and the right password, if it has to.
    pub(super) async fn identify(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<(), Rejection> {
        self.passwords.accept(peer, headers).await
    }
}

/// A token bucket for all clients together.
#[derive(Debug)]
struct Limit {
    interval: Duration,
    clock: TokioClock,
    /// `None` if none may ever come.
    bucket: Option<RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>>,
}

impl Limit {
    fn new(RateLimit { interval, burst }: RateLimit) -> Self {
        let clock = TokioClock::start();
        let quota = Quota::with_period(interval).zip(NonZeroU32::new(burst));
        let bucket = quota
            .map(|(quota, burst)| RateLimiter::direct_with_clock(quota.allow_burst(burst), clock));
        Self { interval, clock, bucket }
    }

    fn take(&self) -> Result<(), Rejection> {
        let Some(bucket) = &self.bucket else { return Err(Rejection::TooMany(self.interval)) };
        bucket.check().map_err(|wait| {
            let rest = wait.earliest_possible().duration_since(self.clock.now());
            Rejection::TooMany(rest.into())
        })
    }
}
