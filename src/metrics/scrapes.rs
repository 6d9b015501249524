//! `Scrapes`: who has fetched the metrics, and when.
//!
//! A counter that is born at 1 tells Prometheus nothing: `increase()` needs to have seen the 0. So
//! the first increment of a new series waits until every scraper has.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, USER_AGENT};
use tokio::time::Instant;

use crate::metrics::PUBLISH_INTERVAL;

/// Scrapers that are remembered. Those that have come once make room first, then the one that has
/// been silent the longest.
const MAX_CLIENTS: usize = 16;
/// Looks at the metrics that are closer together than this are taken for one.
const SPACING: Duration = Duration::from_secs(5);
/// Looks that are remembered of each scraper: those of more than [`PATIENCE`].
const MAX_LOOKS: usize = 64;
/// Looks that tell how often a scraper comes.
const TELLING: usize = 6;
/// The gap that is expected of a scraper that has come once.
const FIRST_GAP: Duration = Duration::from_mins(1);
/// Nobody is given less time for a second look: there may be several where we see one.
const LEAST: Duration = Duration::from_mins(1);
/// A scraper that has been silent for so long is gone, unless it comes that rarely; and nothing
/// waits for longer.
const PATIENCE: Duration = Duration::from_mins(5);
/// What one scraper always sends alike, and two may not.
const HABITS: [HeaderName; 4] = [
    USER_AGENT,
    ACCEPT,
    ACCEPT_ENCODING,
    HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
];

/// Who scrapes, as far as that can be told. Behind one address there may be several: they differ in
/// what they send, or else in the connections that they keep.
#[derive(Clone, Debug)]
pub struct Scraper {
    address: IpAddr,
    /// A digest of [`HABITS`].
    habits: u64,
    /// Lives as long as the connection.
    connection: Weak<()>,
}

/// The last scrapes of each scraper.
#[derive(Debug, Default)]
pub struct Scrapes {
    clients: Mutex<Vec<Client>>,
}

#[derive(Debug)]
struct Client {
    scraper: Scraper,
    /// The newest last; never empty.
    looks: VecDeque<Instant>,
    /// How many of the newest came by one connection.
    steady: usize,
}

impl Scraper {
    /// One at `address` that sends these headers, on a connection that lives as long as the mark.
    pub fn new(address: IpAddr, headers: &HeaderMap, connection: &Arc<()>) -> Self {
        let mut habits = DefaultHasher::new();
        for name in HABITS {
            let values = headers.get_all(name);
            values.into_iter().for_each(|value| value.as_bytes().hash(&mut habits));
            0xff_u8.hash(&mut habits);
        }
        Self { address, habits: habits.finish(), connection: Arc::downgrade(connection) }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.address == other.address && self.habits == other.habits
    }
}

/// One of which nothing but the address is known.
impl From<IpAddr> for Scraper {
    fn from(address: IpAddr) -> Self {
        Self { address, habits: 0, connection: Weak::new() }
    }
}

impl Scrapes {
    /// Notes that a scraper is being served what there is `now`.
    pub fn record(&self, scraper: impl Into<Scraper>, now: Instant) {
        let scraper = scraper.into();
        let mut clients = self.lock();
        let mut alike = clients.iter_mut().filter(|client| client.scraper.is_like(&scraper));
        // Whoever is like one whose connection has gone is taken for it.
        let same = alike.find(|it| it.scraper.connection.ptr_eq(&scraper.connection));
        let known = match same {
            Some(same) => Some(same),
            None => clients.iter_mut().find(|client| {
                client.scraper.is_like(&scraper) && client.scraper.connection.strong_count() == 0
            }),
        };
        if let Some(client) = known {
            client.comes(scraper, now);
            return;
        }
        if clients.len() == MAX_CLIENTS {
            let least = clients
                .iter()
                .enumerate()
                .min_by_key(|(_, client)| (client.looks.len() > 1, client.last()));
            if let Some((index, _)) = least {
                clients.swap_remove(index);
            }
        }
        clients.push(Client { scraper, looks: VecDeque::from([now]), steady: 1 });
    }

    /// Whether a series born at `born` has been seen at its first value, so that it may take its
    /// first increment `now`: some scraper was served it, and every scraper that still comes has had
    /// the time for another look since its first; or five minutes have passed.
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
    fn comes(&mut self, scraper: Scraper, now: Instant) {
        let is_steady = self.scraper.connection.ptr_eq(&scraper.connection);
        self.scraper = scraper;
        if self.last().is_some_and(|last| now.saturating_duration_since(last) < SPACING) {
            return;
        }
        self.steady = if is_steady { self.steady + 1 } else { 1 };
        if self.looks.len() == MAX_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(now);
    }

    fn last(&self) -> Option<Instant> {
        self.looks.back().copied()
    }

    /// Whether it is still expected. One that comes every five minutes may be a little late.
    fn is_here(&self, now: Instant) -> bool {
        let patience = PATIENCE.max(self.gap().min(PATIENCE) * 2);
        self.last().is_some_and(|last| now.saturating_duration_since(last) < patience)
    }

    /// Whether it has had twice the time since its first look in which it usually takes another.
    fn has_seen(&self, born: Instant, now: Instant) -> bool {
        // Until then it may have been served what was rendered before the birth.
        let rendered = born + PUBLISH_INTERVAL;
        let first = self.looks.iter().find(|&&look| look >= rendered);
        let time = LEAST.max(self.gap() * 2);
        first.is_some_and(|&first| now.saturating_duration_since(first) >= time)
    }

    /// The longest of the last gaps. Where the connection changes, two scrapers may come by turns,
    /// each in every second gap.
    fn gap(&self) -> Duration {
        let span = if self.steady >= TELLING.min(self.looks.len()) { 1 } else { 2 };
        let last = || self.looks.iter().rev().take(TELLING);
        let gaps = last().zip(last().skip(span));
        gaps.map(|(b, &a)| b.saturating_duration_since(a)).max().unwrap_or(FIRST_GAP)
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
        scrape_every(&scrapes, A, 40, 10).await;
        let born = Instant::now();
        assert!(!served(&scrapes, born), "the scrape at its birth has not shown it");
        scrape_every(&scrapes, A, 40, 2).await;
        seconds(39).await;
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
        scrape_every(&scrapes, A, 15, 5).await;
        assert!(served(&scrapes, born), "B was last seen 345 s ago");
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
    async fn nobody_is_given_less_than_a_minute() {
        let scrapes = Scrapes::default();
        scrape_every(&scrapes, A, 1, 100).await;
        let born = Instant::now();
        // The look after the next is the first that counts.
        scrape_every(&scrapes, A, 1, 60).await;
        assert!(!served(&scrapes, born));
        scrape_every(&scrapes, A, 1, 10).await;
        assert!(served(&scrapes, born));
    }

    /// Prometheus, or whatever calls itself that, on a connection of its own or a new one each time.
    struct Prometheus {
        agent: &'static str,
        connection: Option<Arc<()>>,
    }

    impl Prometheus {
        fn scrape(&self, scrapes: &Scrapes) {
            let headers = [(USER_AGENT, http::HeaderValue::from_static(self.agent))];
            let connection = self.connection.clone().unwrap_or_default();
            let headers = headers.into_iter().collect();
            scrapes.record(Scraper::new(A, &headers, &connection), Instant::now());
        }
    }

    /// A pair behind one address, each of which scrapes once a minute, `apart` seconds apart, with
    /// a prober of its own kind in between; both have come twice when the series is born, between
    /// them or after both. The least number of looks that each has had when it may move.
    async fn looks_of_a_pair(agents: [&'static str; 2], keep: bool, apart: u64, late: bool) -> u64 {
        let scrapes = Scrapes::default();
        let connection = || keep.then(Arc::default);
        let [one, other] = agents.map(|agent| Prometheus { agent, connection: connection() });
        let prober = Prometheus { agent: "curl", connection: None };
        let mut looks = [0, 0];
        let mut born = None;
        for second in 0..600_u64 {
            seconds(1).await;
            if second % 60 == 0 {
                one.scrape(&scrapes);
                looks[0] += u64::from(born.is_some());
            }
            if second % 60 == apart {
                other.scrape(&scrapes);
                looks[1] += u64::from(born.is_some());
            }
            if second % 20 == 7 {
                prober.scrape(&scrapes);
            }
            if second == 180 + if late { apart + 1 } else { 1 } {
                born = Some(Instant::now());
            }
            if born.is_some_and(|born| served(&scrapes, born)) {
                return looks[0].min(looks[1]);
            }
        }
        unreachable!("nothing waits for ten minutes")
    }

    #[tokio::test(start_paused = true)]
    async fn both_of_a_pair_behind_one_address_see_the_zero_twice() {
        for agents in [["Prometheus/3.1", "Prometheus/3.1"], ["Prometheus/3.1", "vmagent"]] {
            for keep in [true, false] {
                for apart in [6, 20, 30, 45, 55] {
                    for late in [true, false] {
                        let looks = looks_of_a_pair(agents, keep, apart, late).await;
                        assert!(looks >= 2, "{agents:?}, {keep}, {apart}, {late}: {looks}");
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_that_connects_anew_is_the_same() {
        let scrapes = Scrapes::default();
        for _ in 0..100 {
            Prometheus { agent: "Prometheus/3.1", connection: None }.scrape(&scrapes);
            seconds(15).await;
        }
        assert_eq!(scrapes.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_once_does_not_push_out_who_comes_again_and_again() {
        let scrapes = Scrapes::default();
        scrape_every(&scrapes, A, 60, 3).await;
        for i in 0..100 {
            seconds(1).await;
            scrapes.record(IpAddr::V4(Ipv4Addr::new(10, 0, 1, i)), Instant::now());
        }
        assert!(scrapes.lock().iter().any(|client| client.scraper.address == A));
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
        assert!(clients.iter().all(|client| client.scraper.address >= Ipv4Addr::new(10, 0, 1, 4)));
    }
}
