//! `Caller`: puts one query to one API, for one account, in one region.
//!
//! Here alone a query becomes a request, is signed and sent, and its answer decoded. No API and no
//! cloud is known by name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::time::{Instant, timeout};

use crate::api::{DecodeError, Operation, Page, Query, Target, TaskApi};
use crate::budget::{Left, Need, Slowed, Spent};
use crate::clock::Clock;
use crate::cloud::{Credentials, Refusal, RefusalKind, Signing, SigningError};
use crate::credentials::{CredentialsError, Outside, Provider};
use crate::metrics::{Instruments, Reason};
use crate::pace::Account;
use crate::redaction::{Redactor, Secrets};
use crate::sabotage::{self, Bug};
use crate::store::SourceInfo;
use crate::tally::Tally;
use crate::task::Timestamp;
use crate::transport::{Transport, TransportError};

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
    /// Seconds to add to our clock to get the vendor's, as far as we know it.
    pub clock_offset: i64,
    /// The calls made today.
    pub tally: Tally,
    /// Whether its calls are no part of a poll: the budget does not expect the next poll to make
    /// them again.
    pub is_aside: bool,
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
            Self::Credentials(_) | Self::Signing(_) | Self::Budget(_) => {}
        }
    }

    /// The `reason` label, and the field in the log.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Credentials(_) | Self::Signing(_) => Reason::Auth,
            Self::Transport(TransportError::Timeout) => Reason::Timeout,
            Self::Transport(TransportError::Network(_) | TransportError::Stale(_)) => {
                Reason::Network
            }
            Self::Transport(TransportError::Body(_)) | Self::Decode(_) => Reason::Decode,
            Self::Budget(_) => Reason::Budget,
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

    /// What kind of refusal it is, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Credentials(_)
            | Self::Signing(_)
            | Self::Transport(_)
            | Self::Decode(_)
            | Self::Budget(_) => None,
        }
    }

    /// Whether the rest of the poll would meet the same trouble.
    pub fn ends_the_poll(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Signing(_) | Self::Transport(_) | Self::Budget(_) => true,
            Self::Decode(_) => false,
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
                RefusalKind::CredentialsExpired => Mend::Keys,
                RefusalKind::Unauthenticated
                | RefusalKind::Forbidden
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
            | FetchError::Budget(_) => return None,
        };
        let is_better = !mended.contains(&mend)
            && match mend {
                Mend::Connection => true,
                Mend::Clock => self.follow_clock(tried),
                Mend::Keys => tried.used.as_ref().is_some_and(|used| self.credentials.end(used)),
            };
        is_better.then_some(mend)
    }

    /// Goes by the clock that stamped the answer. Whether that is another time.
    fn follow_clock(&mut self, tried: &Attempt) -> bool {
        let Some(offset) = tried.offset.filter(|it| *it != self.clock_offset) else {
            return false;
        };
        tracing::warn!(
            source = self.info.name,
            offset_seconds = offset,
            "the vendor's clock differs from ours; requests now carry its time"
        );
        self.clock_offset = offset;
        true
    }

    /// One request and its answer, over a new connection if `anew`.
    async fn attempt(&mut self, query: &Query, anew: bool) -> Attempt {
        let operation = query.operation;
        let credentials = match self.admitted(operation).await {
            Ok(credentials) => credentials,
            Err(error) => return Attempt { result: Err(error), offset: None, used: None },
        };
        let begun = Instant::now();
        self.tally.add(self.clock.now());
        self.instruments.request_sent(&self.info.name, operation.name);
        let mut sent = Secrets::default();
        let answer = self.exchange(query, &credentials, anew, &mut sent).await;
        self.instruments.request_finished(self.info.cloud, operation.name, begun.elapsed());
        let (mut result, offset) = match answer {
            Err(error) => (Err(error), None),
            Ok(response) => {
                let offset = self.offset(&response);
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
        match &result {
            Ok(_) => self.account.guard.accepted(),
            Err(error) => {
                self.instruments.request_failed(&self.info.name, operation.name, error.reason());
                match error.refusal().map(|refusal| refusal.kind) {
                    Some(RefusalKind::Unauthenticated | RefusalKind::CredentialsExpired) => {
                        self.account.guard.refused();
                    }
                    // Only somebody who is known is told this.
                    Some(RefusalKind::Forbidden | RefusalKind::NotFound) => {
                        self.account.guard.accepted();
                    }
                    Some(
                        RefusalKind::Clock
                        | RefusalKind::Throttled
                        | RefusalKind::Server
                        | RefusalKind::NoSuchOperation
                        | RefusalKind::Client,
                    )
                    | None => {}
                }
            }
        }
        Attempt { result, offset, used: Some(credentials) }
    }

    /// What to sign with, once the account may make one more call.
    async fn admitted(
        &self,
        operation: &'static Operation,
    ) -> Result<Arc<Credentials>, FetchError> {
        self.account.admit(operation).await;
        let outside =
            Outside { now: self.vendor_now(), cloud: &*self.transport, machine: &*self.machine };
        let longest = self.timeout.saturating_mul(EXCHANGES).saturating_add(SLACK);
        let credentials = timeout(longest, self.credentials.get(&outside)).await;
        let credentials = credentials.map_err(|_| TransportError::Timeout)??;
        self.spend().await?;
        Ok(credentials)
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
        let mut request = (self.api.request)(&self.target, query);
        let nonce = format!("{:032x}", fastrand::u128(..));
        let now = self.vendor_now();
        let signing = Signing { service: self.api.service, credentials, now, nonce: &nonce };
        self.api.cloud.sign(&mut request, &signing)?;
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
        if let Some(refusal) = self.api.cloud.refusal(response) {
            return Err(FetchError::Refused(refusal));
        }
        Ok((self.api.decode)(&self.target, query, response)?)
    }

    /// The time by the vendor's clock, as far as we know it.
    pub fn vendor_now(&self) -> Timestamp {
        self.clock.now().offset_by(self.clock_offset)
    }

    /// Seconds from our clock to the one that stamped the answer.
    fn offset(&self, response: &Response<Bytes>) -> Option<i64> {
        let date = response.headers().get(http::header::DATE)?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
        Some(theirs.saturating_sub(self.clock.now().as_second()))
    }
}
