//! `Token`: the bearer token that a change takes.
//!
//! Read from its file for each request that shows one, so that it can be replaced at any time. What
//! is compared are hashes, in a time that tells neither where they differ nor how long the token
//! is. Whoever guesses gets a few tries a minute; then they are turned away unread.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, timeout};

use crate::credentials::read_file;

/// How long a request waits for the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// Wrong tokens that a client may show within [`WINDOW`].
const TRIES: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// Clients whose tries are remembered: more than anybody has.
const MAX_CLIENTS: usize = 4096;

/// A bearer token in a file.
#[derive(Debug)]
pub struct Token {
    file: PathBuf,
    /// One at a time: whoever guesses in parallel gets no more tries, and a file system that hangs
    /// holds one thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    wrong: Mutex<BTreeMap<IpAddr, Tries>>,
    /// Whether it has been logged that the file cannot be used.
    unusable: AtomicBool,
}

/// Wrong tokens that a client has shown, and since when.
#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    since: Instant,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// They have shown no token.
    Missing,
    /// It is not the one.
    Wrong,
    /// They have shown too many that were not; they may try again after so long.
    TooOften(Duration),
    /// The file cannot be read or holds no token, so nobody may.
    Unusable,
}

impl Token {
    /// The token that `file` holds, whenever it is asked for.
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            turn: Arc::default(),
            wrong: Mutex::default(),
            unusable: AtomicBool::default(),
        }
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a request with these headers, from `peer`, may change anything.
    pub(super) async fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Denied> {
        let shown = Sha256::digest(bearer(headers).ok_or(Denied::Missing)?);
        self.may_try(peer)?;
        let (turn, file) = (Arc::clone(&self.turn), self.file.clone());
        let read = async {
            let turn = turn.lock_owned().await;
            // The turn lasts until the file has been read, whether we wait for that or not.
            let read = async move { (read_file("registration.token_file", &file).await, turn) };
            tokio::spawn(read).await
        };
        let (token, _turn) = match timeout(PATIENCE, read).await {
            Ok(Ok((Ok(token), turn))) => (token, turn),
            Ok(Ok((Err(error), _))) => return Err(self.unusable(&error.to_string())),
            Ok(Err(stopped)) => return Err(self.unusable(&stopped.to_string())),
            Err(_) => return Err(self.unusable("the file with the token cannot be read in time")),
        };
        if self.unusable.swap(false, Ordering::Relaxed) {
            tracing::info!("the token for registration can be read again");
        }
        // Others may have tried from there meanwhile.
        self.may_try(peer)?;
        let expected = Sha256::digest(token.expose_secret());
        if bool::from(shown.as_slice().ct_eq(expected.as_slice())) {
            return Ok(());
        }
        self.note_wrong(peer);
        Err(Denied::Wrong)
    }

    fn unusable(&self, why: &str) -> Denied {
        if !self.unusable.swap(true, Ordering::Relaxed) {
            tracing::error!("nobody can register tasks: {why}");
        }
        Denied::Unusable
    }

    fn may_try(&self, peer: IpAddr) -> Result<(), Denied> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.get(&network(peer)) {
            Some(tries) if tries.count >= TRIES => {
                match WINDOW.checked_sub(tries.since.elapsed()) {
                    Some(rest) => Err(Denied::TooOften(rest)),
                    None => Ok(()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note_wrong(&self, peer: IpAddr) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MAX_CLIENTS {
            wrong.retain(|_, tries| tries.since.elapsed() < WINDOW);
        }
        if wrong.len() >= MAX_CLIENTS {
            wrong.clear();
        }
        let fresh = Tries { count: 0, since: Instant::now() };
        let tries = wrong.entry(network(peer)).or_insert(fresh);
        if tries.since.elapsed() >= WINDOW {
            *tries = fresh;
        }
        tries.count = tries.count.saturating_add(1);
        if tries.count == TRIES {
            tracing::warn!(%peer, "somebody shows wrong tokens; they are not read for a minute");
        }
    }
}

/// Who counts as one client: anybody has a whole /64 of IPv6 addresses.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.as_bytes())
}
