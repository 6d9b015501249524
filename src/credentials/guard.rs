//! `Guards`: slow down the tries of a key that its vendor refuses, over everything that uses it.
//!
//! Vendors lock a key that is refused too often: Huawei after five failures in a row, for everybody.
//! So a guard belongs to a key, not to an entry of the configuration: several entries may hold one
//! key, and several roles may be assumed with it. Keys are known by digests of their ids, and told
//! apart from others of the same id, such as one whose secret has been mended, by digests of the
//! whole. All of it in tokio's time.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::refusal::RefusalKind;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::platform::sabotage;
use crate::platform::sabotage::Bug;

/// Refusals of one secret after which its tries become rare. One less than [`MOST`], so that a secret
/// that has been mended can be tried at once.
const FREE_TRIES: u32 = 3;
/// The most refusals of a key in a row, whatever the secrets: one less than Huawei takes.
const MOST: usize = 4;
/// The time between tries, once they are rare. After the least of it a row is over: Huawei forgets
/// failures after five minutes.
const RARE: RangeInclusive<Duration> = Duration::from_mins(6)..=Duration::from_mins(15);
/// How long a try counts as a possible refusal. Refusals come at once; what takes longer hangs, and
/// must not hold up others.
pub const OPEN: Duration = Duration::from_secs(5);
/// A key that has not been used for so long is forgotten.
const MEMORY: Duration = Duration::from_hours(24);

/// The digests of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    id: [u8; 32],
    whole: [u8; 32],
}

impl Key {
    /// The key of a cloud with this id and this secret.
    pub fn new(cloud: Cloud, id: &str, secret: &str) -> Self {
        let digest = |parts: [&str; 3]| {
            let mut hash = Sha256::new();
            for part in parts {
                hash.update(part);
                hash.update([0]);
            }
            hash.finalize().into()
        };
        Self { id: digest([cloud.as_str(), id, ""]), whole: digest([cloud.as_str(), id, secret]) }
    }

    /// The key in these credentials. A token is its own id.
    pub fn of(cloud: Cloud, credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Keys(keys) => {
                let token = keys.security_token.as_ref().map_or("", |it| it.expose_secret());
                let secret = format!("{}\n{token}", keys.secret_access_key.expose_secret());
                Self::new(cloud, &keys.access_key_id, &secret)
            }
            Credentials::Token(token) => Self::new(cloud, token.expose_secret(), ""),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// The guards of all keys.
#[derive(Debug, Default)]
pub struct Guards(Mutex<HashMap<[u8; 32], Arc<Guard>>>);

/// The vendor has refused a key so often that it is not used for a while.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{words}the key has been refused several times, and is tried again only after minutes")]
pub struct Guarded {
    words: String,
    /// When it may be tried again.
    pub until: Instant,
    guard: Arc<Guard>,
    whole: [u8; 32],
}

impl Guarded {
    /// Waits until the vendor takes the key from somebody.
    pub async fn accepted(&self) {
        loop {
            let changed = self.guard.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.guard.lock().proven == Some(self.whole) {
                return;
            }
            changed.await;
        }
    }
}

/// The guard of one key.
#[derive(Debug)]
struct Guard {
    state: Mutex<State>,
    /// Somebody has learned what the vendor says to the key.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// The secret that the vendor took at the last use of the key.
    proven: Option<[u8; 32]>,
    /// What the vendor has refused since it last took it, by secret.
    refused: HashMap<[u8; 32], Refused>,
    /// When the key was refused since it was last taken, whatever the secret.
    row: Vec<Instant>,
    /// When each try of an unproven key began whose outcome is open.
    open: Vec<Instant>,
    used: Instant,
}

/// What is known of a secret that is refused.
#[derive(Debug, Default)]
struct Refused {
    times: u32,
    next_try: Option<Instant>,
    /// The vendor's, with what parts them from ours.
    words: String,
}

/// Why a key may not be used at present.
enum Wait {
    /// Others try it.
    Open(Instant),
    Refused(Instant, String),
}

/// Leave to use a key once. Dropped, it says nothing of the key.
#[derive(Debug)]
pub struct Turn {
    guard: Arc<Guard>,
    whole: [u8; 32],
    /// When it was given, if the key was not proven.
    begun: Option<Instant>,
}

impl Guards {
    /// Waits until the key may be used: for a moment, while others try it for the first time, because
    /// ten sources that start at once would be refused ten times in a row.
    pub async fn turn(&self, key: &Key) -> Result<Turn, Guarded> {
        let guard = self.guard(key);
        loop {
            let changed = guard.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let tried = guard.lock().try_now(&key.whole, Instant::now());
            match tried {
                Ok(begun) => {
                    let guard = Arc::clone(&guard);
                    return Ok(Turn { guard, whole: key.whole, begun });
                }
                Err(Wait::Refused(until, words)) => {
                    let guard = Arc::clone(&guard);
                    return Err(Guarded { words, until, guard, whole: key.whole });
                }
                Err(Wait::Open(until)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    fn guard(&self, key: &Key) -> Arc<Guard> {
        // Nothing in here can panic half-way through a change.
        let mut guards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = guards.get(&key.id) {
            return Arc::clone(guard);
        }
        guards.retain(|_, guard| guard.lock().used.elapsed() < MEMORY);
        let guard = Arc::new(Guard::new());
        guards.insert(key.id, Arc::clone(&guard));
        guard
    }
}

impl Guard {
    fn new() -> Self {
        let state = State {
            proven: None,
            refused: HashMap::new(),
            row: Vec::new(),
            open: Vec::new(),
            used: Instant::now(),
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the key may be used with this secret; when the try began, if it is one.
    fn try_now(&mut self, whole: &[u8; 32], now: Instant) -> Result<Option<Instant>, Wait> {
        self.used = now;
        if self.proven.as_ref() == Some(whole) {
            return Ok(None);
        }
        let refused = self.refused.get(whole);
        let words = |refused: Option<&Refused>| {
            refused.map_or_else(String::new, |refused| refused.words.clone())
        };
        if let Some(next) = refused.and_then(|it| it.next_try).filter(|&next| now < next) {
            return Err(Wait::Refused(next, words(refused)));
        }
        if self.row.last().is_some_and(|&last| now >= last + *RARE.start()) {
            self.row.clear();
        }
        if let Some(&last) = self.row.last().filter(|_| self.row.len() >= MOST) {
            let words = words(refused.or_else(|| self.refused.values().next()));
            return Err(Wait::Refused(last + *RARE.start(), words));
        }
        let times = refused.map_or(0, |refused| refused.times);
        let free = usize::try_from(FREE_TRIES.saturating_sub(times).max(1)).unwrap_or(1);
        let left = free.min(MOST.saturating_sub(self.row.len()));
        self.open.retain(|&begun| now < begun + OPEN);
        match self.open.first() {
            Some(&oldest) if self.open.len() >= left => Err(Wait::Open(oldest + OPEN)),
            Some(_) | None => {
                self.open.push(now);
                Ok(Some(now))
            }
        }
    }

    fn refused(&mut self, whole: [u8; 32], words: String, now: Instant) {
        if self.proven == Some(whole) {
            self.proven = None;
        }
        self.row.push(now);
        let refused = self.refused.entry(whole).or_default();
        refused.times = refused.times.saturating_add(1);
        refused.words = words;
        if let Some(beyond) = refused.times.checked_sub(FREE_TRIES) {
            let wait = RARE.start().saturating_mul(1 << beyond.min(4));
            refused.next_try = Some(now + wait.min(*RARE.end()));
        }
    }
}

impl Turn {
    /// What a refusal of this kind says of the key. `words` are the vendor's; they are shown.
    pub fn judge(self, kind: RefusalKind, words: &str) {
        match kind {
            RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired => self.refused(words),
            // Only somebody who is known is told this.
            RefusalKind::Forbidden | RefusalKind::NotFound => self.accepted(),
            RefusalKind::Clock
            | RefusalKind::Throttled
            | RefusalKind::Server
            | RefusalKind::NoSuchOperation
            | RefusalKind::Client => {}
        }
    }

    fn refused(self, words: &str) {
        if !sabotage::is(Bug::NoGuard) {
            let words = if words.is_empty() { String::new() } else { format!("{words}; ") };
            self.guard.lock().refused(self.whole, words, Instant::now());
        }
    }

    /// The vendor took the key. Whoever waits for it may go on.
    pub fn accepted(self) {
        let mut state = self.guard.lock();
        state.proven = Some(self.whole);
        state.refused.remove(&self.whole);
        state.row.clear();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(begun) = self.begun else { return };
        let mut state = self.guard.lock();
        if let Some(place) = state.open.iter().position(|&open| open == begun) {
            state.open.swap_remove(place);
        }
        drop(state);
        self.guard.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::new(Cloud::Huawei, "AK", secret)
    }

    /// Tries until it has to wait for longer than others may take; how often it was refused.
    async fn refusals(guards: &Guards, secret: &str) -> u32 {
        let mut refusals = 0;
        while let Ok(turn) = guards.turn(&key(secret)).await {
            turn.refused("APIGW.0301");
            refusals += 1;
        }
        refusals
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_tried_rarely_but_not_never() {
        let guards = Guards::default();
        assert_eq!(refusals(&guards, "wrong").await, FREE_TRIES);
        let (start, mut tries) = (Instant::now(), Vec::new());
        while tries.len() < 6 {
            match guards.turn(&key("wrong")).await {
                Ok(turn) => {
                    tries.push(start.elapsed());
                    turn.refused("APIGW.0301");
                }
                Err(guarded) => {
                    assert!(guarded.to_string().starts_with("APIGW.0301; the key"), "{guarded}");
                    sleep_until(guarded.until).await;
                }
            }
        }
        assert!(tries[0] >= *RARE.start());
        for pair in tries.windows(2) {
            let gap = pair[1].saturating_sub(pair[0]);
            assert!(RARE.contains(&gap), "{tries:?}");
        }
        guards.turn(&key("wrong")).await.unwrap_err();
        sleep_until(start + Duration::from_hours(2)).await;
        guards.turn(&key("wrong")).await.unwrap().accepted();
        for _ in 0..100 {
            guards.turn(&key("wrong")).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mended_secret_is_tried_at_once_and_no_key_five_times_in_a_row() {
        let guards = Guards::default();
        assert_eq!(refusals(&guards, "wrong").await, 3);
        assert_eq!(refusals(&guards, "mended, and wrong").await, 1);
        assert_eq!(refusals(&guards, "mended again").await, 0);
        let other = Key::new(Cloud::Huawei, "another AK", "wrong");
        guards.turn(&other).await.unwrap().accepted();
        tokio::time::sleep(*RARE.start()).await;
        guards.turn(&key("mended again")).await.unwrap().accepted();
        assert_eq!(refusals(&guards, "wrong").await, 1, "once in a while");
    }

    #[tokio::test(start_paused = true)]
    async fn sources_that_start_at_once_are_no_more_refusals_than_a_key_is_worth() {
        let guards = Arc::new(Guards::default());
        let mut sources = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let guards = Arc::clone(&guards);
            sources.spawn(async move {
                let Ok(turn) = guards.turn(&key("wrong")).await else { return 0 };
                tokio::time::sleep(Duration::from_secs(1)).await;
                turn.refused("APIGW.0301");
                1
            });
        }
        let start = Instant::now();
        assert_eq!(sources.join_all().await.into_iter().sum::<u32>(), FREE_TRIES);
        assert!(start.elapsed() <= Duration::from_secs(1), "and nobody waits for long");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_does_not_hold_up_the_others_of_its_key() {
        let guards = Guards::default();
        let mut hanging = Vec::new();
        for _ in 0..FREE_TRIES {
            hanging.push(guards.turn(&key("right")).await.unwrap());
        }
        let start = Instant::now();
        guards.turn(&key("right")).await.unwrap();
        assert_eq!(start.elapsed(), OPEN);
        // What has no verdict gives its place back.
        hanging.pop();
        guards.turn(&key("right")).await.unwrap();
        assert_eq!(start.elapsed(), OPEN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_key_hears_when_it_is_taken_again() {
        let guards = Guards::default();
        refusals(&guards, "wrong").await;
        let guarded = guards.turn(&key("wrong")).await.unwrap_err();
        sleep_until(guarded.until).await;
        let turn = guards.turn(&key("wrong")).await.unwrap();
        let start = Instant::now();
        tokio::join!(guarded.accepted(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            turn.accepted();
        });
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        guarded.accepted().await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_not_used_any_more_are_forgotten() {
        let guards = Guards::default();
        for day in 0..100 {
            let key = Key::new(Cloud::Huawei, &day.to_string(), "");
            guards.turn(&key).await.unwrap().accepted();
            tokio::time::sleep(MEMORY).await;
        }
        assert_eq!(guards.0.lock().unwrap().len(), 1);
    }
}
