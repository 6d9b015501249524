//! `Guesses`: who has shown something wrong of late, and may not try again for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::connections::network;

/// What a client may show within [`WINDOW`] that is wrong.
pub(super) const TRIES: u32 = 10;
/// How long they count, from the first.
pub(super) const WINDOW: Duration = Duration::from_mins(1);
/// Clients that are remembered: more than anybody has.
const MAX_CLIENTS: usize = 4096;

/// The tries of each client: an address, or a /64 of IPv6.
#[derive(Debug, Default)]
pub(super) struct Guesses(BTreeMap<IpAddr, Tries>);

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    since: Instant,
}

impl Guesses {
    /// How many tries a client has made within the window.
    pub(super) fn of(&self, peer: IpAddr) -> u32 {
        self.recent(peer).map_or(0, |tries| tries.count)
    }

    /// How long a client has to wait that has no try left.
    pub(super) fn rest(&self, peer: IpAddr) -> Option<Duration> {
        let tries = self.recent(peer).filter(|tries| tries.count >= TRIES)?;
        WINDOW.checked_sub(tries.since.elapsed())
    }

    fn recent(&self, peer: IpAddr) -> Option<&Tries> {
        self.0.get(&network(peer)).filter(|tries| tries.since.elapsed() < WINDOW)
    }

    /// Counts a try. Returns whether it was the last.
    pub(super) fn note(&mut self, peer: IpAddr) -> bool {
        if self.0.len() >= MAX_CLIENTS {
            self.0.retain(|_, tries| tries.since.elapsed() < WINDOW);
        }
        if self.0.len() >= MAX_CLIENTS
            && let Some((&oldest, _)) = self.0.iter().min_by_key(|(_, tries)| tries.since)
        {
            self.0.remove(&oldest);
        }
        let fresh = Tries { count: 0, since: Instant::now() };
        let tries = self.0.entry(network(peer)).or_insert(fresh);
        if tries.since.elapsed() >= WINDOW {
            *tries = fresh;
        }
        tries.count = tries.count.saturating_add(1);
        tries.count == TRIES
    }

    /// Takes a try back: it was none.
    pub(super) fn forgive(&mut self, peer: IpAddr) {
        if let Some(tries) = self.0.get_mut(&network(peer)) {
            tries.count = tries.count.saturating_sub(1);
        }
    }
}
