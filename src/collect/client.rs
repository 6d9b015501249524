//! `Caller`: puts one query to one API, for one account, in one region.
//!
//! Here alone a query becomes a request, is signed and sent, and its answer decoded. No API and no
//! cloud is known by name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::{Operation, Page, Query, Target, TaskApi};
use dbtask_clouds::cloud::Credentials;
use dbtask_clouds::document::DecodeError;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::reason::Reason;
use dbtask_clouds::redaction::{Redactor, Secrets};
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::{Signing, SigningError, digest};
use dbtask_clouds::transport::{Transport, TransportError};
use http::Response;
use tokio::time::{Instant, timeout};

use crate::collect::budget::{Need, Slowed, Spent};
use crate::collect::limits::Account;
use crate::credentials::guard::{Guarded, Guards, Key, Turn};
use crate::credentials::{CredentialsError, Issued, Lead, Outside, Provider};
use crate::metrics::Instruments;
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::platform::vendor_clock::VendorClock;
use crate::snapshot::daily_calls::Tally;
use crate::snapshot::{Left, SourceInfo};
use crate::track::tenant::Tenant;

/// How often somebody looks whether keys that are refused have been mended.
const LOOK: Duration = Duration::from_secs(5);

/// The most exchanges that a session takes: roles may stand on one another.
const EXCHANGES: u32 = 10;
/// Over all timeouts and the reading of files: what takes longer hangs, and is given up.
const SLACK: Duration = Duration::from_secs(30);

/// Whom to ask, in whose name, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What names the source.
    pub info: Arc<SourceInfo>,
    /// What is asked.
    pub api: &'static TaskApi,
    /// Where.
    pub target: Target,
    /// Who asks.
    pub credentials: Arc<Provider>,
    /// The limits that are shared with the other sources of the account.
    pub account: Arc<Account>,
    /// Keep keys that are refused from being locked.
    pub guards: Arc<Guards>,
    /// How requests are sent.
    pub transport: Arc<dyn Transport>,
    /// How the services of this machine that hand out keys are reached.
    pub machine: Arc<dyn Transport>,
    /// What the transport grants one call.
    pub timeout: Duration,
    /// Counts the calls.
    pub instruments: Instruments,
    /// Tells our time.
    pub clock: Clock,
    /// Tells the vendor's.
    pub vendor_clock: Arc<VendorClock>,
    /// The calls made today.
    pub tally: Tally,
    /// Whether its calls are no part of a poll: the budget does not expect the next poll to make
    /// them again.
    pub is_aside: bool,
    /// What led to the keys of the last call.
    pub basis: Option<Basis>,
}

/// What led to the keys of a call, by which others are told from them.
#[derive(Clone, Debug)]
pub struct Basis {
    /// What was found; else why nothing was.
    lead: Result<Lead, String>,
    /// When they were looked for.
    at: Instant,
    /// Why the key had to wait, if it had.
    guarded: Option<Guarded>,
}

/// Why a poll, or part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There are no credentials to ask with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The credentials cannot sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// No answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The vendor said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer made no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The answer makes sense, but what was looked for is not there. Says what helps.
    #[error("{0}")]
    NothingFound(&'static str),
    /// Not asked, to spare the account's budget.
    #[error(transparent)]
    Budget(#[from] Spent),
}

impl FetchError {
    /// Takes out what we have sent and nobody else may see.
    fn redact(&mut self, redactor: &Redactor) {
        match self {
            Self::Transport(error) => error.redact(redactor),
            Self::Refused(refusal) => refusal.redact(redactor),
            Self::Decode(error) => error.redact(redactor),
            // In our own words, or redacted where the session was asked for.
            Self::Credentials(_) | Self::Signing(_) | Self::NothingFound(_) | Self::Budget(_) => {}
        }
    }

    /// The `reason` label, and the field in the log.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Credentials(error) => error.reason(),
            Self::Signing(_) => Reason::Auth,
            Self::Transport(_) if sabotage::is(Bug::SilenceIsAuth) => Reason::Auth,
            Self::Transport(error) => error.reason(),
            Self::Decode(_) => Reason::Decode,
            Self::Budget(_) => Reason::Budget,
            Self::NothingFound(_) => Reason::Client,
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Unauthenticated
                | RefusalKind::CredentialsExpired
                | RefusalKind::Forbidden => Reason::Auth,
                RefusalKind::Clock => Reason::Clock,
                RefusalKind::Throttled => Reason::Throttled,
                RefusalKind::Server => Reason::Server,
                RefusalKind::NotFound | RefusalKind::NoSuchOperation | RefusalKind::Client => {
                    Reason::Client
                }
            },
        }
    }

    /// How long the vendor, or its token service, asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Credentials(error) => error.retry_after(),
            Self::Signing(_)
            | Self::Transport(_)
            | Self::Decode(_)
            | Self::NothingFound(_)
            | Self::Budget(_) => None,
        }
    }

    /// When the key may be used again, where it waits because it has been refused too often.
    pub fn guarded_until(&self) -> Option<Instant> {
        match self {
            Self::Credentials(error) => Some(error.guarded()?.until),
            Self::Refused(_)
            | Self::Signing(_)
            | Self::Transport(_)
            | Self::Decode(_)
            | Self::NothingFound(_)
            | Self::Budget(_) => None,
        }
    }

    /// What kind of refusal it is, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Credentials(_)
            | Self::Signing(_)
            | Self::Transport(_)
            | Self::Decode(_)
            | Self::NothingFound(_)
            | Self::Budget(_) => None,
        }
    }

    /// Whether the rest of the poll would meet the same trouble.
    pub fn ends_the_poll(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Signing(_) | Self::Transport(_) | Self::Budget(_) => true,
            Self::Decode(_) | Self::NothingFound(_) => false,
            Self::Refused(refusal) => match refusal.kind {
                RefusalKind::Unauthenticated
                | RefusalKind::CredentialsExpired
                | RefusalKind::Clock
                | RefusalKind::Throttled
                | RefusalKind::Server => true,
                RefusalKind::Forbidden
                | RefusalKind::NotFound
                | RefusalKind::NoSuchOperation
                | RefusalKind::Client => false,
            },
        }
    }
}

/// One try of a query.
#[derive(Debug)]
pub struct Attempt {
    /// The answer, or why there is none.
    pub result: Result<Page, FetchError>,
    /// Seconds from our clock to the one that stamped the answer; `None` without a stamped answer.
    pub offset: Option<i64>,
    /// What the request was signed with; `None` if none was sent.
    used: Option<Arc<Credentials>>,
}

/// What can be put right between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    /// A kept connection has died: there is a new one for the next try.
    Connection,
    /// Our clock was wrong: the next request carries the vendor's time.
    Clock,
    /// The keys have ended: there are others.
    Keys,
}

impl Caller {
    /// The same for calls that are no part of a poll, counted apart.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self { tally: Tally::default(), is_aside: true, ..self.clone() }
    }

    /// Asks one query: admitted, signed, sent, decoded. What can be put right at once is, each thing
    /// once, and the query tried again: a kept connection that has died, our clock, by the answer's
    /// `Date`, and keys that have ended.
    pub async fn call(&mut self, query: &Query) -> Result<Page, FetchError> {
        let (first, last) = self.tries(query).await;
        last.unwrap_or(first).result
    }

    /// As [`Self::call`], but returns what became of the first try, and of the last, if there were
    /// several.
    pub async fn tries(&mut self, query: &Query) -> (Attempt, Option<Attempt>) {
        let first = self.attempt(query, false).await;
        let mut last = None;
        let mut mended = Vec::new();
        while let Some(mend) = self.put_right(last.as_ref().unwrap_or(&first), &mended) {
            mended.push(mend);
            last = Some(self.attempt(query, mended.contains(&Mend::Connection)).await);
        }
        (first, last)
    }

    /// What has been put right so that another try may go better; none of `mended` again.
    fn put_right(&mut self, tried: &Attempt, mended: &[Mend]) -> Option<Mend> {
        let Err(error) = &tried.result else { return None };
        let mend = match error {
            FetchError::Transport(TransportError::Stale(_)) => Mend::Connection,
            FetchError::Refused(refusal) => match refusal.kind {
                RefusalKind::Clock => Mend::Clock,
                // Some vendors have one word for a wrong key and for a wrong time.
                RefusalKind::Unauthenticated if self.is_clock_off() => Mend::Clock,
                RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired => Mend::Keys,
                RefusalKind::Forbidden
                | RefusalKind::Throttled
                | RefusalKind::Server
                | RefusalKind::NotFound
                | RefusalKind::NoSuchOperation
                | RefusalKind::Client => return None,
            },
            FetchError::Credentials(_)
            | FetchError::Signing(_)
            | FetchError::Transport(_)
            | FetchError::Decode(_)
            | FetchError::NothingFound(_)
            | FetchError::Budget(_) => return None,
        };
        let is_better = !mended.contains(&mend)
            && match mend {
                Mend::Connection => true,
                Mend::Clock => self.vendor_clock.obey(),
                Mend::Keys => tried.used.as_ref().is_some_and(|used| self.credentials.end(used)),
            };
        is_better.then_some(mend)
    }

    /// Whether the last answer shows that the vendor cannot have taken the time of its request.
    fn is_clock_off(&self) -> bool {
        self.vendor_clock.is_off_by(self.api.facts.cloud.clock_tolerance().as_secs())
    }

    /// One request and its answer, over a new connection if `anew`.
    async fn attempt(&mut self, query: &Query, anew: bool) -> Attempt {
        let operation = query.operation;
        let (credentials, turn) = match self.admitted(operation).await {
            Ok(admitted) => admitted,
            Err(error) => return Attempt { result: Err(error), offset: None, used: None },
        };
        let (begun, sent_at) = (Instant::now(), self.vendor_clock.steady());
        self.tally.add(self.clock.now());
        self.instruments.request_sent(&self.info.name, operation.name);
        let mut sent = Secrets::default();
        let answer = self.exchange(query, &credentials, anew, &mut sent).await;
        self.instruments.request_finished(&self.info, operation.name, begun.elapsed());
        let (mut result, offset) = match answer {
            Err(error) => (Err(error), None),
            Ok(response) => {
                let offset = self.vendor_clock.hear(&response, sent_at);
                (self.read(query, &response), offset)
            }
        };
        // The only way on from here: whatever the vendor says has passed it.
        let redactor = Redactor::new(sent);
        match &mut result {
            Ok(page) => page.redact(&redactor),
            Err(error) => error.redact(&redactor),
        }
        self.log_call(operation.name, begun.elapsed(), result.as_ref().err());
        self.learn_rate(operation, begun, &result);
        if let Err(error) = &result {
            self.instruments.request_failed(&self.info.name, operation.name, error.reason());
        }
        if is_vendors(&result) {
            self.vendor_clock.learn();
        }
        match (turn, &result) {
            (Some(turn), Ok(_)) => turn.accepted(),
            (Some(turn), Err(FetchError::Refused(refusal))) => {
                turn.judge(refusal.kind, &refusal.to_string());
            }
            (Some(_) | None, _) => {}
        }
        Attempt { result, offset, used: Some(credentials) }
    }

    /// Learns from an answer how fast the vendor lets the account call `operation`.
    fn learn_rate(
        &self,
        operation: &'static Operation,
        sent: Instant,
        result: &Result<Page, FetchError>,
    ) {
        match result.as_ref().err().map(|error| (error.reason(), error.refusal())) {
            Some((Reason::Throttled, refusal)) => {
                let asked = refusal.and_then(|refusal| refusal.retry_after);
                self.account.throttled(operation, sent, asked);
            }
            Some((Reason::Timeout | Reason::Network | Reason::Server, _)) => {}
            Some(_) | None => self.account.answered(operation),
        }
    }

    /// What to sign with, once the account may make one more call; and leave to use it, where it is
    /// no session.
    async fn admitted(
        &mut self,
        operation: &'static Operation,
    ) -> Result<(Arc<Credentials>, Option<Turn>), FetchError> {
        self.account.admit(operation).await;
        let longest = self.timeout.saturating_mul(EXCHANGES).saturating_add(SLACK);
        let issued = timeout(longest, self.issue()).await.map_err(|_| TransportError::Timeout)?;
        if let Some(Basis { lead: Ok(lead), guarded, .. }) = &mut self.basis
            && let Err(error) = &issued
        {
            *guarded = error.guarded().cloned();
            lead.read_token().await;
        }
        let issued = issued?;
        self.spend().await?;
        Ok(issued)
    }

    /// The credentials as they are now; and leave to use them, where they are no session.
    async fn issue(&mut self) -> Result<(Arc<Credentials>, Option<Turn>), CredentialsError> {
        let found = self.credentials.find().await;
        let lead = found.as_ref().map(Clone::clone).map_err(ToString::to_string);
        self.basis = Some(Basis { lead, at: Instant::now(), guarded: None });
        let outside = Outside {
            clock: &self.vendor_clock,
            guards: &self.guards,
            cloud: &*self.transport,
            machine: &*self.machine,
        };
        let Issued { credentials, ends } = self.credentials.issue(&found?, &outside).await?;
        if ends.is_some() {
            return Ok((credentials, None));
        }
        let turn = self.guards.turn(&Key::of(self.api.facts.cloud, &credentials)).await;
        Ok((credentials, Some(turn.map_err(CredentialsError::Guarded)?)))
    }

    /// Waits, after a call that failed for its keys, until another try makes sense before its time:
    /// until others are there, or the vendor takes the same ones from another source.
    pub async fn keys_mended(&self) {
        let Some(Basis { lead, at, guarded }) = &self.basis else {
            return std::future::pending().await;
        };
        let others = async {
            loop {
                let looks = at.elapsed().as_secs() / LOOK.as_secs() + 1;
                let next = LOOK.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX));
                tokio::time::sleep_until(*at + next).await;
                let mut found = self.credentials.find().await.map_err(|it| it.to_string());
                if let (Ok(found), Ok(lead)) = (&mut found, lead)
                    && lead.has_token()
                {
                    found.read_token().await;
                }
                if found != *lead {
                    return;
                }
            }
        };
        let accepted = async {
            match guarded {
                Some(guarded) => guarded.accepted().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = others => {}
            () = accepted => {}
        }
    }

    fn log_call(&self, operation: &str, took: Duration, error: Option<&FetchError>) {
        tracing::debug!(
            source = self.info.name,
            operation,
            duration_seconds = took.as_secs_f64(),
            reason = error.map(|error| error.reason().as_str()),
            "call"
        );
    }

    /// Takes one call from the account's budget, if it has one.
    async fn spend(&self) -> Result<(), FetchError> {
        let source = self.info.name.as_str();
        let poll = (!self.is_aside).then_some(source);
        let left = match self.account.spend(poll, self.clock).await {
            Ok(None) => return Ok(()),
            Ok(Some(left)) => left,
            Err(spent) => {
                self.instruments.request_shed(source);
                self.show_budget(Left { limit: spent.limit, remaining: 0 });
                return Err(spent.into());
            }
        };
        if left.has_become_scarce() {
            tracing::warn!(
                account = self.info.account,
                limit = left.limit,
                remaining = left.remaining,
                "little is left of the daily budget; polls slow down until midnight UTC"
            );
        }
        self.show_budget(left);
        Ok(())
    }

    /// Shows what is left at every source that shares it.
    fn show_budget(&self, Left { limit, remaining }: Left) {
        self.account
            .for_sources(|source| self.instruments.budget_changed(source, limit, remaining));
    }

    /// Makes the source, which would poll at `interval`, one of those that share the account's
    /// budget, if it has one.
    pub fn join_budget(&self, interval: Duration) {
        let source = &self.info.name;
        match self.account.join(source, interval, self.clock) {
            Some(Left { limit, remaining }) => {
                self.instruments.budget_changed(source, limit, remaining);
            }
            None => self.instruments.budget_removed(source),
        }
    }

    /// How the budget slows the source down after a poll; `None` if it does not.
    pub fn pace(&self, need: Need) -> Option<Slowed> {
        self.account.pace(&self.info.name, need, self.clock)
    }

    async fn exchange(
        &self,
        query: &Query,
        credentials: &Credentials,
        anew: bool,
        sent: &mut Secrets,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = self.api.facts.cloud.request(&self.target, query);
        let nonce = format!("{:032x}", fastrand::u128(..));
        let now = self.vendor_now();
        let signing = Signing { service: self.api.facts.service, credentials, now, nonce: &nonce };
        self.api.facts.cloud.sign(&mut request, &signing)?;
        sent.add(Secrets::of(&request));
        sent.add(self.transport.secrets());
        if sabotage::is(Bug::SentTwice) {
            let both = (self.transport.send(request.clone()), self.transport.send(request));
            return Ok(tokio::join!(both.0, both.1).1?);
        }
        let transport = &self.transport;
        let sending = if anew { transport.send_anew(request) } else { transport.send(request) };
        let answer = timeout(self.timeout.saturating_add(SLACK), sending).await;
        Ok(answer.map_err(|_| TransportError::Timeout)??)
    }

    fn read(&self, query: &Query, response: &Response<Bytes>) -> Result<Page, FetchError> {
        let facts = &self.api.facts;
        if let Some(refusal) = facts.cloud.refusal_of(facts.service, response) {
            return Err(FetchError::Refused(refusal));
        }
        Ok(self.api.decode(&self.target, query, response)?)
    }

    /// The time by the vendor's clock, as far as we know it.
    pub fn vendor_now(&self) -> Timestamp {
        self.vendor_clock.now()
    }
}

/// Whether the vendor itself has answered, and does not call our time wrong.
fn is_vendors(result: &Result<Page, FetchError>) -> bool {
    let Err(error) = result else { return true };
    error.refusal().is_some_and(|it| {
        let may_be_time = [RefusalKind::Clock, RefusalKind::Unauthenticated];
        it.has_code() && !may_be_time.contains(&it.kind)
    })
}
/// Whose tasks `caller` asks for, as far as it knows by now.
pub fn tenant_of(caller: &Caller) -> Tenant {
    let project = &caller.target.project_id;
    Tenant {
        project: (!project.is_empty()).then(|| project.clone()),
        account: caller.credentials.account(),
        credentials: Some(caller.info.account.clone()),
        key: caller.credentials.lasting_key_id().map(|id| digest(&id)),
    }
}
