//! `Token`: the bearer token that a change takes.
//!
//! Read from its file for each request that shows one, so that it can be replaced at any time. What
//! is compared are hashes, in a time that tells neither where they differ nor how long the token
//! is. Whoever guesses gets a few tries a minute; then they are turned away unread, but for the
//! token that was the right one last.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::guesses::Guesses;
use crate::credentials::read_file;

/// How long a request waits for the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bearer token in a file.
#[derive(Debug)]
pub struct Token {
    file: PathBuf,
    /// One at a time: whoever guesses in parallel gets no more tries, and a file system that hangs
    /// holds one thread.
    turn: Arc<tokio::sync::Mutex<()>>,
    wrong: Mutex<Guesses>,
    /// A digest of the token that was the right one last.
    known: Mutex<Option<[u8; 32]>>,
    /// Whether it has been logged that the file cannot be used.
    unusable: AtomicBool,
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
            known: Mutex::default(),
            unusable: AtomicBool::default(),
        }
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a request with these headers, from `peer`, may change anything.
    pub(super) async fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Denied> {
        let shown: [u8; 32] = Sha256::digest(bearer(headers).ok_or(Denied::Missing)?).into();
        // Whoever guesses from the same address does not keep it from being looked at.
        let is_known = self.known().is_some_and(|known| known.ct_eq(&shown).into());
        if !is_known {
            self.may_try(peer)?;
        }
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
        if !is_known {
            // Others may have tried from there meanwhile.
            self.may_try(peer)?;
        }
        let expected: [u8; 32] = Sha256::digest(token.expose_secret()).into();
        if bool::from(shown.ct_eq(&expected)) {
            *self.known() = Some(expected);
            return Ok(());
        }
        if self.wrong().note(peer) {
            tracing::warn!(%peer, "somebody shows wrong tokens; they are not read for a minute");
        }
        Err(Denied::Wrong)
    }

    fn unusable(&self, why: &str) -> Denied {
        if !self.unusable.swap(true, Ordering::Relaxed) {
            tracing::error!("nobody can register tasks: {why}");
        }
        Denied::Unusable
    }

    fn may_try(&self, peer: IpAddr) -> Result<(), Denied> {
        self.wrong().rest(peer).map_or(Ok(()), |rest| Err(Denied::TooOften(rest)))
    }

    fn wrong(&self) -> MutexGuard<'_, Guesses> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Option<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
