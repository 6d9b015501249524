//! `Passwords`: who a request comes from, by basic authentication.
//!
//! A comparison takes tens of milliseconds of one core, so it runs on another thread, one at a time,
//! and its outcome is remembered. Whatever is wrong takes the same work: whether there is such a
//! user cannot be told from the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use crate::config::PasswordHash;

/// Wrong passwords that are remembered. Right ones are remembered apart, so that nobody pushes them
/// out by guessing.
const MAX_WRONG: usize = 1024;

/// The users and their passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    users: Arc<BTreeMap<String, PasswordHash>>,
    /// Whoever holds it compares.
    turn: Arc<tokio::sync::Mutex<()>>,
    remembered: Mutex<Remembered>,
}

/// What has been shown before, as digests of user and password.
#[derive(Debug, Default)]
struct Remembered {
    /// The right one of each user.
    right: BTreeMap<String, Shown>,
    wrong: BTreeSet<Shown>,
}

type Shown = [u8; 32];

impl Passwords {
    pub(super) fn new(users: &BTreeMap<String, PasswordHash>) -> Self {
        let users = Arc::new(users.clone());
        Self { users, turn: Arc::default(), remembered: Mutex::default() }
    }

    /// Whether a request with these headers comes from one of the users, or there are none.
    pub(super) async fn accept(&self, headers: &HeaderMap) -> bool {
        if self.users.is_empty() {
            return true;
        }
        let Some((user, password)) = basic(headers) else { return false };
        let shown = digest(&user, &password);
        if let Some(known) = self.recall(&user, &shown) {
            return known;
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Somebody may have shown the same meanwhile.
        if let Some(known) = self.recall(&user, &shown) {
            return known;
        }
        let users = Arc::clone(&self.users);
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = compare(&users, &user, &password);
            // The turn lasts until here, whether the answer is waited for or not.
            drop(turn);
            (is_right, user)
        });
        let Ok((is_right, user)) = compared.await else { return false };
        self.remember(user, shown, is_right);
        is_right
    }

    fn recall(&self, user: &str, shown: &Shown) -> Option<bool> {
        let remembered = self.remembered();
        if remembered.right.get(user) == Some(shown) {
            return Some(true);
        }
        remembered.wrong.contains(shown).then_some(false)
    }

    fn remember(&self, user: String, shown: Shown, is_right: bool) {
        let mut remembered = self.remembered();
        if is_right {
            remembered.right.insert(user, shown);
            return;
        }
        if remembered.wrong.len() >= MAX_WRONG {
            remembered.wrong.clear();
        }
        remembered.wrong.insert(shown);
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is the user's password. The work of a wrong one is 2^(highest cost of all users),
/// for whatever user: what the comparison itself leaves of it is done in vain.
fn compare(users: &BTreeMap<String, PasswordHash>, user: &str, password: &[u8]) -> bool {
    let highest = users.values().map(PasswordHash::cost).max().unwrap_or_default();
    let in_vain = |cost| {
        // Fails for costs that no hash has.
        let _ = std::hint::black_box(bcrypt::hash_with_salt(password, cost, [0; 16]));
    };
    let Some(hash) = users.get(user) else {
        in_vain(highest);
        return false;
    };
    if hash.matches(password) {
        return true;
    }
    // 2^a + 2^a + 2^(a+1) + … + 2^(b-1) = 2^b
    (hash.cost()..highest).for_each(in_vain);
    false
}

/// So that passwords themselves are not kept, and how they compare tells nothing of them.
fn digest(user: &str, password: &[u8]) -> Shown {
    let mut hash = Sha256::new();
    hash.update(user.len().to_be_bytes());
    hash.update(user);
    hash.update(password);
    hash.finalize().into()
}

/// The user and the password that a request shows.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, encoded) = only.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim_matches(' ')).ok()?;
    let colon = user.iter().position(|&byte| byte == b':')?;
    let password = user.split_off(colon).split_off(1);
    // A name that is not text is nobody's, and takes as long as any other.
    Some((String::from_utf8_lossy(&user).into_owned(), password))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::config::WebConfig;

    #[test]
    fn what_is_wrong_takes_the_same_work_for_every_user_and_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let hash = |cost| bcrypt::hash("right", cost).unwrap();
        let text = format!("basic_auth_users: {{quick: {}, slow: {}}}", hash(4), hash(10));
        std::fs::write(&file, text).unwrap();
        let users = WebConfig::load(&file).config.unwrap().users;
        // The least of a few, for the machine may be busy.
        let time = |user| {
            let runs = (0..5).map(|_| {
                let begun = Instant::now();
                assert!(!compare(&users, user, b"wrong"));
                begun.elapsed()
            });
            runs.min().unwrap_or(Duration::MAX).as_secs_f64()
        };
        let slow = time("slow");
        for user in ["quick", "nobody"] {
            let ratio = time(user) / slow;
            // Without the work in vain it would be a sixty-fourth, or nothing.
            assert!((0.25..4.0).contains(&ratio), "{user}: {ratio}");
        }
        assert!(compare(&users, "quick", b"right") && compare(&users, "slow", b"right"));
    }
}
