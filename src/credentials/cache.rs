//! `Sessions`: how a session is kept, and renewed in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::cloud::Credentials;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::redaction::Redactor;
use tokio::time::Instant;

use super::Outside;
use super::exchange::{Session, SessionError};
use super::recipe::Recipe;
use crate::platform::network::Witness;

/// A session is renewed so long before its end, or a quarter of its life before, if that is less.
const MARGIN: Duration = Duration::from_mins(15);
/// The least and the most time before a session that is due is asked for again, where the last
/// answer was one that is due already: a metadata service may keep it until shortly before its end.
const SETTLE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));
/// The session of one provider. One request for a new one is under way at a time; the old one is
/// used until it really ends.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: Mutex<Known>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// How the rest was got.
    recipe: Option<Recipe>,
    session: Option<Session>,
    /// From when on a new one is wanted, by the vendor's clock.
    due: Option<Timestamp>,
    /// Before then nothing is asked.
    next: Option<Instant>,
    /// How often in a row it has failed, and why the last time.
    failures: u32,
    failure: Option<SessionError>,
}

impl Known {
    /// The session that may be used; fails if there is none and it is too early to ask again.
    /// `None`: ask.
    fn settled(&self, now: Timestamp) -> Option<Result<Session, SessionError>> {
        let early = self.next.is_some_and(|next| Instant::now() < next);
        match (&self.session, &self.failure) {
            (Some(session), _) if self.due.is_some_and(|due| now < due) => {
                Some(Ok(session.clone()))
            }
            (Some(session), Some(failure)) if early && session.ends <= now => {
                Some(Err(failure.clone()))
            }
            // Without a failure even one that seems to have ended: our clock may be wrong.
            (Some(session), _) if early => Some(Ok(session.clone())),
            (None, Some(failure)) if early => Some(Err(failure.clone())),
            (Some(_) | None, _) => None,
        }
    }

    fn enter(&mut self, asked: Result<Session, SessionError>, now: Timestamp) {
        match asked {
            Ok(session) => {
                let life = session.ends.since(now);
                self.due = Some(session.ends.saturating_sub(MARGIN.min(life / 4)));
                let (least, most) = SETTLE;
                self.next = Some(Instant::now() + (life / 4).clamp(least, most));
                if self.failures > 0 && self.session.is_some() {
                    tracing::info!("a session has been renewed again");
                }
                (self.failures, self.failure) = (0, None);
                self.session = Some(session);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.next = Some(Instant::now() + error.pause(self.failures));
                if self.failures == 1
                    && let (Some(session), Some(recipe)) = (&self.session, &self.recipe)
                    && now < session.ends
                {
                    tracing::warn!(
                        from = %recipe,
                        error = %error,
                        ends = %session.ends,
                        "a session could not be renewed; the old one is used until it ends"
                    );
                }
                self.failure = Some(error);
            }
        }
    }
}

impl Sessions {
    /// The session that `recipe` leads to.
    pub(super) async fn get(
        &self,
        recipe: &Recipe,
        outside: &Outside<'_>,
    ) -> Result<Session, SessionError> {
        if let Some(settled) = self.known(recipe).settled(outside.clock.now()) {
            return settled;
        }
        let old = self.usable(recipe, outside.clock.now());
        let _turn = match old {
            // Somebody has asked already; what there is will do until then.
            Some(session) => match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(session),
            },
            None => self.turn.lock().await,
        };
        if let Some(settled) = self.known(recipe).settled(outside.clock.now()) {
            return settled;
        }
        let sent = Mutex::default();
        let cloud = Witness::new(outside.cloud, &sent);
        let machine = Witness::new(outside.machine, &sent);
        let witnessed = Outside { cloud: &cloud, machine: &machine, ..*outside };
        let mut asked = recipe.ask(&witnessed).await;
        if asked.as_ref().is_err_and(|error| error.is_clock(outside)) && outside.clock.obey() {
            asked = recipe.ask(&witnessed).await;
        }
        match &mut asked {
            Ok(_) => outside.clock.learn(),
            Err(error) => {
                let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
                error.redact(&Redactor::new(sent));
            }
        }
        let now = outside.clock.now();
        let mut known = self.known(recipe);
        known.enter(asked, now);
        let usable = known.session.as_ref().filter(|session| now < session.ends).cloned();
        match (usable, &known.failure) {
            (Some(session), _) => Ok(session),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => {
                known.session.clone().ok_or(SessionError::Answer("there is no session".to_owned()))
            }
        }
    }

    /// Takes the vendor's word that `used` is good for nothing any more. Whether another try may go
    /// better: with keys that are no session, and with those that have only just come, it will not.
    pub(super) fn end(&self, used: &Arc<Credentials>) -> bool {
        let mut known = self.lock();
        match &known.session {
            Some(session) if !Arc::ptr_eq(&session.credentials, used) => true,
            Some(_) if known.next.is_some_and(|next| Instant::now() < next) => false,
            Some(_) => {
                (known.session, known.next) = (None, None);
                true
            }
            // Somebody has said so already.
            None => known.recipe.is_some(),
        }
    }

    fn usable(&self, recipe: &Recipe, now: Timestamp) -> Option<Session> {
        self.known(recipe).session.clone().filter(|session| now < session.ends)
    }

    /// What is known of `recipe`; what belongs to another is forgotten.
    fn known(&self, recipe: &Recipe) -> MutexGuard<'_, Known> {
        let mut known = self.lock();
        if known.recipe.as_ref() != Some(recipe) {
            *known = Known { recipe: Some(recipe.clone()), ..Known::default() };
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing in here can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
