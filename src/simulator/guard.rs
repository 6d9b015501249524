//! What a vendor remembers of its callers: how fast they call, how often they failed to prove who
//! they are, and which nonces they have used.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;

use crate::cloud::{Cloud, query};
use crate::task::Timestamp;

/// After this many failures in a row, Huawei locks a key.
const MAX_FAILURES: u32 = 5;

/// For how long Huawei locks a key.
const LOCKED: Duration = Duration::from_mins(5);

/// For how long Alibaba remembers a nonce: as long as it takes the time that was signed with it.
const NONCE_AGE: Duration = Duration::from_mins(15);

/// How many nonces are kept before old ones are looked for.
const MANY_NONCES: usize = 10_000;

/// The memory of all vendors. Accounts are known by their index.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Calls in the second that is given.
    rates: HashMap<(usize, &'static str, String), (Timestamp, u32)>,
    /// Failures in a row, and the last of them.
    failures: HashMap<usize, (u32, Timestamp)>,
    nonces: HashMap<String, Timestamp>,
}

impl Guard {
    /// Counts a call, and says whether it is one too many in its second.
    pub(super) fn is_over(
        &mut self,
        account: usize,
        service: &'static str,
        operation: &str,
        limit: u32,
        now: Timestamp,
    ) -> bool {
        let key = (account, service, operation.to_owned());
        let (second, calls) = self.rates.entry(key).or_insert((now, 0));
        if *second != now {
            (*second, *calls) = (now, 0);
        }
        *calls = calls.saturating_add(1);
        *calls > limit
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
