//! The simulated clouds: they check signatures, answer, page, throttle and break as the vendors do.
//!
//! ```text
//!  http, Transport ─► whose key? ─► fault? ─► too many? ─► signature ─► World::answer
//!                       account      fault     gateway    Gateway::verify      ▲
//!                                              region ─► life ◄─ scenario ────┘
//! ```
//!
//! A [`Scenario`] is data. What tasks there are at some instant is computed from it (`life`), never
//! stored; what is stored is how many requests there were, and the faults switched on by hand.
//! [`SimulatedCloud::serve`] and its [`Transport`](dbtask_clouds::transport::Transport) share all but the
//! wire.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that cannot go on should stop"
    )
)]

mod account;
mod alibaba;
mod configuration;
mod fault;
mod gateway;
mod guard;
mod hash;
mod http;
mod huawei;
mod life;
mod paging;
mod refusal;
mod region;
mod scenario;
mod session;
mod signature;
mod span;
mod tencent;
mod vendors;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::header::DATE;
use ::http::{HeaderValue, Request};
use bytes::Bytes;
use dbtask_clouds::cloud::Credentials;
use dbtask_clouds::model::{Resource, Task, Timestamp};

use self::account::Holder;
pub use self::fault::{Fault, FaultKind};
use self::gateway::Reaction;
use self::guard::Guard;
pub use self::life::Failure;
use self::region::Region;
pub use self::scenario::{
    Account, Curve, End, Gone, Outcome, Phase, ResourceScript, Run, Scenario, SourceScript, Spawn,
    Stay, StepScript, TaskScript,
};
pub use self::span::{Offset, Span};
pub use self::vendors::Gateway;
pub use self::world::World;

/// All simulated clouds behind one address.
pub struct SimulatedCloud {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    start: Timestamp,
    seed: u64,
    accounts: Vec<Holder>,
    regions: Vec<Region>,
    state: Mutex<State>,
}

/// What a request was and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handled {
    /// The source's name; empty if the key is nobody's.
    pub source: String,
    /// The vendor's name of the operation.
    pub operation: String,
    /// `answered`, `rate_limited`, `locked`, why it was refused (`unauthenticated`, `clock`,
    /// `no_such_operation` …), or the word of the fault that hit it.
    pub outcome: &'static str,
}

/// What has happened, and what was switched on by hand.
#[derive(Debug, Default)]
struct State {
    count: u64,
    handled: BTreeMap<Handled, u64>,
    guard: Guard,
    /// Faults by source.
    injected: Vec<(String, Fault)>,
}

impl fmt::Debug for SimulatedCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedCloud").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl SimulatedCloud {
    /// Clouds in which the scenario begins now. `clock` says what time it is.
    pub fn new(
        scenario: &Scenario,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let seed = scenario.seed.unwrap_or_else(|| fastrand::u64(..));
        let start = clock();
        let mut accounts: Vec<Holder> = Vec::new();
        let mut regions = Vec::new();
        for script in &scenario.sources {
            let (name, cloud) = (script.account(), script.find_api()?.facts.cloud);
            let same = |holder: &Holder| holder.account == name && holder.cloud == cloud;
            let account = accounts.iter().position(same).unwrap_or_else(|| {
                accounts.push(Holder::new(scenario, name, cloud));
                accounts.len() - 1
            });
            regions.push(Region::new(script, start, seed, account)?);
        }
        Ok(Self { clock: Box::new(clock), start, seed, accounts, regions, state: Mutex::default() })
    }

    /// The number that decided everything that was left to chance.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many requests there were of each sort.
    pub fn requests(&self) -> BTreeMap<Handled, u64> {
        self.lock().handled.clone()
    }

    /// How many requests there were in all.
    pub fn request_count(&self) -> u64 {
        self.lock().count
    }

    /// Every failure so far, oldest first, whether its task still exists or not. A task that failed
    /// in two runs is in it twice.
    pub fn failures(&self) -> Vec<Failure> {
        let now = (self.clock)();
        let mut failures: Vec<Failure> =
            self.regions.iter().flat_map(|region| region.lives.failures(now)).collect();
        failures.sort_by_key(|failure| failure.at);
        failures
    }

    /// The tasks that a source has now, newest first; empty for a source that does not exist.
    pub fn tasks(&self, source: &str) -> Vec<Task> {
        let now = (self.clock)();
        self.region(source).map(|region| region.lives.tasks(now)).unwrap_or_default()
    }

    /// The resources that a source has now; empty for a source that does not exist.
    pub fn resources(&self, source: &str) -> Vec<Arc<Resource>> {
        let now = (self.clock)();
        self.region(source).map(|region| region.lives.resources(now)).unwrap_or_default()
    }

    /// The credentials that a source's account takes; `None` for a source that does not exist.
    pub fn credentials(&self, source: &str) -> Option<Credentials> {
        self.accounts.get(self.region(source)?.account).map(Holder::credentials)
    }

    /// Switches a fault on for a source. Its times count from now.
    pub fn inject(&self, source: &str, fault: Fault) {
        let elapsed = (self.clock)().since(self.start);
        let from = Span(elapsed.saturating_add(fault.from.0));
        self.lock().injected.push((source.to_owned(), Fault { from, ..fault }));
    }

    /// Switches off what [`inject`](Self::inject) switched on for a source. Scripted faults stay.
    pub fn heal(&self, source: &str) {
        self.lock().injected.retain(|(name, _)| name != source);
    }

    fn region(&self, source: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.name() == source)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of `request`, whose URI is absolute and which has a `Host`.
    fn react(&self, request: &Request<Bytes>) -> Reaction {
        let now = (self.clock)();
        let mut call = self.recognise(request, now);
        let mut state = self.lock();
        state.count = state.count.saturating_add(1);
        let mut reaction = self.decide(&mut call, &mut state, now);
        let source = call.region.map(Region::name).unwrap_or_default().to_owned();
        let (operation, outcome) = (call.operation, reaction.outcome);
        tracing::debug!(source, operation, outcome, "request");
        *state.handled.entry(Handled { source, operation, outcome }).or_default() += 1;
        drop(state);
        let date = http_date(now.as_second().saturating_add(reaction.skew));
        if let Ok(date) = HeaderValue::from_str(&date) {
            reaction.response.headers_mut().insert(DATE, date);
        }
        reaction
    }
}

/// As the `Date` header has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(second: i64) -> String {
    let instant = jiff::Timestamp::from_second(second).unwrap_or_default();
    instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
