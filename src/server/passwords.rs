//! `Passwords`: who a request comes from, by basic authentication.
//!
//! A comparison takes tens of milliseconds of one core, so it runs on another thread, one at a time,
//! and its outcome is remembered. Whatever is wrong takes the same work: whether there is such a
//! user cannot be told from the time.
//!
//! Who guesses holds up nobody else: the next comparison is one for the address that has tried least
//! of late, and an address gets a few tries a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::crypto::ring::default_provider;
use sha2::Sha256;
use tokio::sync::oneshot;

use super::guesses::{Guesses, TRIES, WINDOW};
use crate::config::PasswordHash;

/// Wrong passwords that are remembered. Right ones are remembered apart, so that nobody pushes them
/// out by guessing.
const MAX_WRONG: usize = 1024;
/// Requests that wait for a comparison.
const MAX_WAITING: usize = 256;
/// What whoever finds no room among those is told to wait.
const CROWDED: Duration = Duration::from_secs(1);

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// There have been too many; the next one may come after so long.
    TooMany(Duration),
    /// It shows no user and password, or wrong ones.
    Unknown,
}

/// The users and their passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    users: Arc<BTreeMap<String, PasswordHash>>,
    queue: Arc<Queue>,
    /// Of the digests.
    key: [u8; 64],
    remembered: Mutex<Remembered>,
}

/// What has been shown before, as keyed digests of user and password.
#[derive(Debug, Default)]
struct Remembered {
    /// The right one of each user.
    right: BTreeMap<String, Shown>,
    wrong: BTreeSet<Shown>,
}

type Shown = [u8; 32];

impl Passwords {
    /// `before` is what was in force until now: who guesses stays known, and who was right, as long
    /// as their password is the same.
    pub(super) fn new(users: &BTreeMap<String, PasswordHash>, before: Option<&Self>) -> Self {
        let users = Arc::new(users.clone());
        let Some(before) = before else {
            let mut key = [0; 64];
            // Without randomness there is no TLS either; what is kept is a digest all the same.
            let _ = default_provider().secure_random.fill(&mut key);
            return Self { users, queue: Arc::default(), key, remembered: Mutex::default() };
        };
        let is_same = |user: &String| {
            let hashes = users.get(user).zip(before.users.get(user));
            hashes.is_some_and(|(new, old)| new.is_same(old))
        };
        let mut right = before.remembered().right.clone();
        right.retain(|user, _| is_same(user));
        let remembered = Mutex::new(Remembered { right, wrong: BTreeSet::new() });
        Self { users, queue: Arc::clone(&before.queue), key: before.key, remembered }
    }

    /// Whether a request with these headers comes from one of the users, or there are none.
    pub(super) async fn accept(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Rejection> {
        if self.users.is_empty() {
            return Ok(());
        }
        let (user, password) = basic(headers).ok_or(Rejection::Unknown)?;
        let shown = self.digest(&user, &password);
        if let Some(known) = self.recall(&user, &shown) {
            return known;
        }
        let turn = self.queue.turn(peer).await?;
        // Somebody may have shown the same meanwhile.
        if let Some(known) = self.recall(&user, &shown) {
            self.queue.lock().guesses.forgive(peer);
            return known;
        }
        let users = Arc::clone(&self.users);
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = compare(&users, &user, &password);
            // The turn lasts until here, whether the answer is waited for or not.
            drop(turn);
            (is_right, user)
        });
        let Ok((is_right, user)) = compared.await else { return Err(Rejection::Unknown) };
        self.remember(user, shown, is_right);
        if is_right {
            self.queue.lock().guesses.forgive(peer);
        }
        is_right.then_some(()).ok_or(Rejection::Unknown)
    }

    fn recall(&self, user: &str, shown: &Shown) -> Option<Result<(), Rejection>> {
        let remembered = self.remembered();
        if remembered.right.get(user) == Some(shown) {
            return Some(Ok(()));
        }
        remembered.wrong.contains(shown).then_some(Err(Rejection::Unknown))
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

    /// So that passwords themselves are not kept, and how they compare tells nothing of them.
    fn digest(&self, user: &str, password: &[u8]) -> Shown {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(&user.len().to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password);
        mac.finalize().into_bytes().into()
    }
}

/// Who compares next.
#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    guesses: Guesses,
    /// Whether somebody has the turn.
    is_taken: bool,
    /// In the order of arrival.
    waiters: Vec<Waiter>,
    /// Whether the next turn is for the one who came last.
    is_for_last: bool,
}

#[derive(Debug)]
struct Waiter {
    /// How often its address had tried before.
    tries: u32,
    turn: oneshot::Sender<Turn>,
}

/// Whoever has it compares; when it is dropped, the next one does.
#[derive(Debug)]
struct Turn(Arc<Queue>);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, which counts as a try that was wrong until that is taken back.
    async fn turn(self: &Arc<Self>, peer: IpAddr) -> Result<Turn, Rejection> {
        let coming = {
            let mut queue = self.lock();
            if let Some(rest) = queue.guesses.rest(peer) {
                return Err(Rejection::TooMany(rest));
            }
            let tries = queue.guesses.of(peer);
            if queue.guesses.note(peer) {
                tracing::warn!(
                    %peer,
                    "somebody shows wrong passwords, {TRIES} within {} s; further ones are not \
                     compared for as long",
                    WINDOW.as_secs()
                );
            }
            if !queue.is_taken {
                queue.is_taken = true;
                return Ok(Turn(Arc::clone(self)));
            }
            queue.waiters.retain(|waiter| !waiter.turn.is_closed());
            let (turn, coming) = oneshot::channel();
            queue.waiters.push(Waiter { tries, turn });
            if queue.waiters.len() > MAX_WAITING {
                let most = queue.waiters.iter().map(|waiter| waiter.tries).max();
                // Not the one who has come just now, if others have tried as often.
                let one = queue.waiters.iter().position(|waiter| Some(waiter.tries) == most);
                let last = queue.waiters.len() - 2;
                let before = queue.waiters.get(last).is_some_and(|it| Some(it.tries) == most);
                if let Some(one) = if before { Some(last) } else { one } {
                    queue.waiters.remove(one);
                }
            }
            coming
        };
        coming.await.map_err(|_| Rejection::TooMany(CROWDED))
    }
}

impl Waiting {
    /// Takes out the one whose address has tried least. Of equals by turns the one who has waited
    /// longest and the one who came last, so that many who come at once hold up neither.
    fn next(&mut self) -> Option<Waiter> {
        self.waiters.retain(|waiter| !waiter.turn.is_closed());
        let least = self.waiters.iter().map(|waiter| waiter.tries).min()?;
        let is_least = |waiter: &Waiter| waiter.tries == least;
        let index = if self.is_for_last {
            self.waiters.iter().rposition(is_least)
        } else {
            self.waiters.iter().position(is_least)
        };
        self.is_for_last = !self.is_for_last;
        index.map(|index| self.waiters.remove(index))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        let next = queue.next();
        queue.is_taken = next.is_some();
        drop(queue);
        if let Some(next) = next {
            // Comes back here if nobody is there to take it.
            let _ = next.turn.send(Turn(Arc::clone(&self.0)));
        }
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

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn stranger(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn headers(user: &str, password: &str) -> HeaderMap {
        let shown = STANDARD.encode(format!("{user}:{password}"));
        let value = http::HeaderValue::try_from(format!("Basic {shown}")).unwrap();
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    fn users(password: &str) -> BTreeMap<String, PasswordHash> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let hash = bcrypt::hash_with_salt(password, 4, [1; 16]).unwrap();
        std::fs::write(&file, format!("basic_auth_users: {{alice: {hash}}}")).unwrap();
        WebConfig::load(&file).config.unwrap().users
    }

    /// Waits for a turn somewhere else; the number of who gets it is noted.
    async fn wait(queue: &Arc<Queue>, number: u8, order: &Arc<Mutex<Vec<u8>>>) {
        let (queue, order) = (Arc::clone(queue), Arc::clone(order));
        tokio::spawn(async move {
            if let Ok(turn) = queue.turn(stranger(number)).await {
                order.lock().unwrap().push(number);
                drop(turn);
            }
        });
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_has_not_guessed_comes_first() {
        let queue = Arc::new(Queue::default());
        let order = Arc::default();
        for _ in 0..3 {
            drop(queue.turn(stranger(1)).await);
        }
        let first = queue.turn(HERE).await.unwrap();
        for number in [1, 1, 1, 2] {
            wait(&queue, number, &order).await;
        }
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*order.lock().unwrap(), [2, 1, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_newcomers_neither_the_first_nor_the_last_waits_for_the_others() {
        let queue = Arc::new(Queue::default());
        let order = Arc::default();
        let first = queue.turn(HERE).await.unwrap();
        for number in 1..=200 {
            wait(&queue, number, &order).await;
        }
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let order = order.lock().unwrap();
        assert_eq!((order.len(), &order[..4]), (200, &[1, 200, 2, 199][..]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_bounded_and_who_has_tried_most_goes_first() {
        let queue = Arc::new(Queue::default());
        let order = Arc::default();
        let first = queue.turn(HERE).await.unwrap();
        for _ in 0..5 {
            wait(&queue, 0, &order).await;
        }
        for number in 0..=u8::MAX {
            wait(&queue, number, &order).await;
        }
        assert_eq!(queue.lock().waiters.len(), MAX_WAITING);
        drop(first);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let order = order.lock().unwrap();
        assert_eq!(order.len(), MAX_WAITING);
        assert!((1..=u8::MAX).all(|number| order.contains(&number)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_takes_any_more_goes_to_the_next() {
        let queue = Arc::new(Queue::default());
        let first = queue.turn(HERE).await.unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(1), queue.turn(stranger(1))).await;
        assert!(gone.is_err());
        let next = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.turn(stranger(2)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(next.await.unwrap());
        assert!(!queue.lock().is_taken);
    }

    #[tokio::test]
    async fn who_guesses_is_turned_away_and_a_right_password_that_is_known_is_not() {
        let passwords = Passwords::new(&users("right"), None);
        let right = headers("alice", "right");
        assert_eq!(passwords.accept(HERE, &right).await, Ok(()));
        for guess in 0..TRIES {
            let wrong = headers("alice", &guess.to_string());
            assert_eq!(passwords.accept(HERE, &wrong).await, Err(Rejection::Unknown), "{guess}");
            // The same again is no other guess.
            assert_eq!(passwords.accept(HERE, &wrong).await, Err(Rejection::Unknown), "{guess}");
        }
        let turned = passwords.accept(HERE, &headers("alice", "another")).await;
        assert!(matches!(turned, Err(Rejection::TooMany(rest)) if rest <= WINDOW), "{turned:?}");
        let other = passwords.accept(stranger(1), &headers("alice", "another")).await;
        assert_eq!(other, Err(Rejection::Unknown));
        assert_eq!(passwords.accept(HERE, &right).await, Ok(()));

        // Nor is it after a new version of the file, unless that has another password.
        let same = Passwords::new(&users("right"), Some(&passwords));
        assert_eq!(same.accept(HERE, &right).await, Ok(()));
        let other = Passwords::new(&users("other"), Some(&same));
        assert!(matches!(other.accept(HERE, &right).await, Err(Rejection::TooMany(_))));
        assert_eq!(other.accept(stranger(2), &right).await, Err(Rejection::Unknown));
        assert_eq!(other.accept(stranger(2), &headers("alice", "other")).await, Ok(()));
    }

    #[tokio::test]
    async fn the_first_right_password_is_accepted_at_once_while_hundreds_guess_elsewhere() {
        let passwords = Arc::new(Passwords::new(&users("right"), None));
        let guessers: Vec<_> = (0..400_u32)
            .map(|number| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move {
                    let [.., high, low] = number.to_be_bytes();
                    for guess in 0..u32::MAX {
                        let wrong = headers("alice", &format!("{number} {guess}"));
                        let _ = passwords.accept(IpAddr::from([10, 1, high, low]), &wrong).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let compared = || passwords.remembered().wrong.len();
        let before = compared();
        assert_eq!(passwords.accept(HERE, &headers("alice", "right")).await, Ok(()));
        // Counted in comparisons, for the machine may be busy.
        assert!(compared() - before <= 4, "{before}, {}", compared());
        guessers.iter().for_each(tokio::task::JoinHandle::abort);
    }

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
