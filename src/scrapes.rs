//! `Scrapes`: who has fetched the metrics, and when.
//!
//! A counter that is born at 1 tells Prometheus nothing: `increase()` needs to have seen the 0. So
//! the first increment of a new series waits until every scraper has.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::PUBLISH_INTERVAL;

/// Scrapers that are remembered; the one that has been silent the longest makes room.
const MAX_CLIENTS: usize = 16;
/// Instants that are remembered of each: five gaps.
const MAX_INSTANTS: usize = 6;
/// The gap that is expected of a scraper that has come once.
const FIRST_GAP: Duration = Duration::from_mins(1);
/// A scraper that has been silent for so long is gone, unless it comes that rarely; and nothing
/// waits for longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// The last scrapes of each client address.
#[derive(Debug, Default)]
pub struct Scrapes {
    clients: Mutex<Vec<Client>>,
}

#[derive(Debug)]
struct Client {
    address: IpAddr,
    /// The newest last; never empty.
    instants: VecDeque<Instant>,
}

impl Scrapes {
    /// Notes that `client` is being served what there is `now`.
    pub fn record(&self, client: IpAddr, now: Instant) {
        let mut clients = self.lock();
        if let Some(known) = clients.iter_mut().find(|known| known.address == client) {
            if known.instants.len() == MAX_INSTANTS {
                known.instants.pop_front();
            }
            known.instants.push_back(now);
            return;
        }
        if clients.len() == MAX_CLIENTS {
            let silent = clients.iter().enumerate().min_by_key(|(_, client)| client.last());
            if let Some((index, _)) = silent {
                clients.swap_remove(index);
            }
        }
        let mut instants = VecDeque::with_capacity(MAX_INSTANTS);
        instants.push_back(now);
        clients.push(Client { address: client, instants });
    }

    /// Whether a series born at `born` has been seen at its first value, so that it may take its
    /// first increment `now`: some client was served it, and every client that still comes has had
    /// two of its usual gaps' time since its first look; or five minutes have passed.
    pub fn served_since(&self, born: Instant, now: Instant) -> bool {
        if now.saturating_duration_since(born) >= PATIENCE {
            return true;
        }
        // Whoever was served after the birth is still here, for that was within five minutes.
        let clients = self.lock();
        let mut here = clients.iter().filter(|client| client.is_here(now)).peekable();
        here.peek().is_some() && here.all(|client| client.has_seen(born, now))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn last(&self) -> Option<Instant> {
        self.instants.back().copied()
    }

    /// Whether it is still expected. One that comes every five minutes may be a little late.
    fn is_here(&self, now: Instant) -> bool {
        let patience = PATIENCE.max(self.gap().min(PATIENCE) * 2);
        self.last().is_some_and(|last| now.saturating_duration_since(last) < patience)
    }

    fn has_seen(&self, born: Instant, now: Instant) -> bool {
        // Until then it may have been served what was rendered before the birth.
        let rendered = born + PUBLISH_INTERVAL;
        // If the very first look is forgotten, there have been five gaps since a later one.
        let first = self.instants.iter().find(|&&instant| instant >= rendered);
        first.is_some_and(|&first| now.saturating_duration_since(first) >= self.gap() * 2)
    }

    /// The median gap; the longer of the two in the middle.
    fn gap(&self) -> Duration {
        let later = self.instants.iter().skip(1);
        let mut gaps: Vec<_> =
            later.zip(&self.instants).map(|(b, &a)| b.saturating_duration_since(a)).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or(FIRST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::{advance, sleep};

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    async fn seconds(seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    async fn scrape_every(scrapes: &Scrapes, client: IpAddr, gap: u64, times: usize) {
        for _ in 0..times {
            seconds(gap).await;
            scrapes.record(client, Instant::now());
        }
    }

    fn served(scrapes: &Scrapes, born: Instant) -> bool {
        scrapes.served_since(born, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn two_gaps_after_the_first_look_are_enough() {
        let scrapes = Scrapes::default();
        scrape_every(&scrapes, A, 15, 10).await;
        let born = Instant::now();
        assert!(!served(&scrapes, born), "the scrape at its birth has not shown it");
        scrape_every(&scrapes, A, 15, 2).await;
        seconds(14).await;
        assert!(!served(&scrapes, born));
        seconds(1).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_gap_is_a_minute() {
        let scrapes = Scrapes::default();
        let born = Instant::now();
        scrape_every(&scrapes, A, 10, 1).await;
        seconds(119).await;
        assert!(!served(&scrapes, born));
        seconds(1).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_that_may_have_been_served_what_was_rendered_before_the_birth_is_no_look() {
        let scrapes = Scrapes::default();
        let born = Instant::now();
        advance(PUBLISH_INTERVAL / 2).await;
        scrapes.record(A, Instant::now());
        seconds(120).await;
        assert!(!served(&scrapes, born), "it comes every two minutes, and now for the second time");
        scrapes.record(A, Instant::now());
        seconds(240).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_there_means_five_minutes() {
        let scrapes = Scrapes::default();
        let born = Instant::now();
        seconds(299).await;
        assert!(!served(&scrapes, born));
        seconds(1).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn both_of_two_scrapers_have_to_see_it() {
        let scrapes = Scrapes::default();
        for _ in 0..6 {
            scrape_every(&scrapes, A, 15, 4).await;
            scrapes.record(B, Instant::now());
        }
        let born = Instant::now();
        scrape_every(&scrapes, A, 15, 3).await;
        assert!(!served(&scrapes, born), "the slow one has not come");
        scrape_every(&scrapes, A, 15, 1).await;
        scrapes.record(B, Instant::now());
        scrape_every(&scrapes, A, 15, 7).await;
        assert!(!served(&scrapes, born), "two minutes are not over for the slow one");
        scrape_every(&scrapes, A, 15, 1).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_that_is_gone_is_not_waited_for() {
        let scrapes = Scrapes::default();
        scrapes.record(B, Instant::now());
        scrape_every(&scrapes, A, 15, 18).await;
        let born = Instant::now();
        scrape_every(&scrapes, A, 15, 4).await;
        assert!(served(&scrapes, born), "B was last seen 330 s ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_that_comes_every_five_minutes_is_waited_for_though_it_is_a_little_late() {
        let scrapes = Scrapes::default();
        for _ in 0..3 {
            scrapes.record(B, Instant::now());
            scrape_every(&scrapes, A, 15, 20).await;
        }
        scrapes.record(B, Instant::now());
        seconds(2).await;
        let born = Instant::now();
        scrape_every(&scrapes, A, 15, 19).await;
        seconds(13).await;
        assert!(!served(&scrapes, born), "300 s after its last scrape it has not come yet");
    }

    #[tokio::test(start_paused = true)]
    async fn one_missed_scrape_does_not_change_the_gap() {
        let scrapes = Scrapes::default();
        scrape_every(&scrapes, A, 15, 4).await;
        scrape_every(&scrapes, A, 60, 1).await;
        let born = Instant::now();
        scrape_every(&scrapes, A, 15, 1).await;
        seconds(30).await;
        assert!(served(&scrapes, born));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sixteen_newest_clients_are_kept() {
        let scrapes = Scrapes::default();
        for i in 0..20 {
            advance(Duration::from_secs(1)).await;
            scrapes.record(IpAddr::V4(Ipv4Addr::new(10, 0, 1, i)), Instant::now());
        }
        let clients = scrapes.lock();
        assert_eq!(clients.len(), 16);
        assert!(clients.iter().all(|client| client.address >= Ipv4Addr::new(10, 0, 1, 4)));
    }
}
