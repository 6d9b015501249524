//! What a vendor remembers of its callers: how fast they call, how often they failed to prove who
//! they are, and which nonces they have used.

use std::collections::HashMap;
use std::time::Duration;

use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::signing::query;
use http::HeaderMap;

/// After this many failures in a row, Huawei locks a key.
const MAX_FAILURES: u32 = 5;

/// For how long Huawei locks a key.
const LOCKED: Duration = Duration::from_mins(5);

/// For how long Alibaba remembers a nonce: as long as it takes the time that was signed with it.
const NONCE_AGE: Duration = Duration::from_mins(15);

/// So many calls in each window of so many seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) calls: u32,
    pub(super) seconds: i64,
}

/// How many nonces are kept before old ones are looked for.
const MANY_NONCES: usize = 10_000;

/// The memory of all vendors. Accounts are known by their index.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Calls in the window that is given, by its length and number.
    rates: HashMap<(usize, &'static str, String, i64), (i64, u32)>,
    /// Failures in a row, and the last of them.
    failures: HashMap<usize, (u32, Timestamp)>,
    nonces: HashMap<String, Timestamp>,
}

impl Guard {
    /// Counts a call, and says whether it is one too many in its window.
    pub(super) fn is_over(
        &mut self,
        account: usize,
        service: &'static str,
        operation: &str,
        limit: Limit,
        now: Timestamp,
    ) -> bool {
        let key = (account, service, operation.to_owned(), limit.seconds);
        let present = now.as_second().div_euclid(limit.seconds.max(1));
        let (window, calls) = self.rates.entry(key).or_insert((present, 0));
        if *window != present {
            (*window, *calls) = (present, 0);
        }
        *calls = calls.saturating_add(1);
        *calls > limit.calls
    }

    /// Whether the account's key is locked, which only Huawei does.
    pub(super) fn is_locked(&self, account: usize, cloud: Cloud, now: Timestamp) -> bool {
        cloud == Cloud::Huawei
            && self.failures.get(&account).is_some_and(|&(failures, last)| {
                failures >= MAX_FAILURES && now.since(last) < LOCKED
            })
    }

    /// A call did not prove to be the account's.
    pub(super) fn failed(&mut self, account: usize, now: Timestamp) {
        let (failures, last) = self.failures.entry(account).or_insert((0, now));
        if now.since(*last) >= LOCKED {
            *failures = 0;
        }
        (*failures, *last) = (failures.saturating_add(1), now);
    }

    /// A call did.
    pub(super) fn succeeded(&mut self, account: usize) {
        self.failures.remove(&account);
    }

    /// Whether Alibaba has seen the nonce of a call before.
    pub(super) fn is_replayed(&mut self, headers: &HeaderMap, now: Timestamp) -> bool {
        let nonce = query::header(headers, "x-acs-signature-nonce").into_owned();
        if self.nonces.len() > MANY_NONCES {
            self.nonces.retain(|_, used| now.since(*used) < NONCE_AGE);
        }
        !nonce.is_empty() && self.nonces.insert(nonce, now).is_some()
    }
}
