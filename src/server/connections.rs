//! `Connections`: who is connected, and who has to go when there is no room.
//!
//! A new connection never waits. When all places are taken, another one is closed for it: one of
//! the address that has the most, so that no address crowds out another. Where no address has more
//! than its share, which is smaller the more there are, all addresses are looked at together. Among
//! those the one goes that has been idle longest, or, where most are being answered, the one whose
//! answer takes longest.
//!
//! The same for the memory of answers under way: when too much is held for clients that do not read,
//! the one that has been reading longest is closed, of an address for which more than its share is
//! held if there is one, and a new answer is not kept waiting.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at a time, on all listeners together.
pub const MAX_CONNECTIONS: usize = 512;
/// Connections and requests under way of one address that count as no more than anybody's. An
/// address may have more as long as nobody else needs the room. Where there are many addresses it is
/// less, but no less than `LEAST_SHARE`.
pub const SHARE: usize = 32;
/// What an address may have however many there are: two scrapers and a person's browser.
const LEAST_SHARE: usize = 8;
/// Bytes that may be held for answers under way, besides what new requests are answered from.
pub const MAX_UNDER_WAY: usize = 12 * 1024 * 1024;

/// What a request under way takes for itself: its head, its task, its place in the send buffer.
const REQUEST_BYTES: usize = 16 * 1024;
/// Bytes that may be held for one address before it is the first to give way.
const SHARE_BYTES: usize = SHARE * REQUEST_BYTES;
/// What may wait on a connection to be sent, besides what the answers themselves hold.
const UNSENT_BYTES: usize = 64 * 1024;
/// The log says no more often that connections are closed to make room.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// All connections, on whichever listener.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    loads: BTreeMap<IpAddr, Load>,
    /// Bytes held for answers under way. What is about to be closed is not counted any more.
    held: usize,
    told: Option<Instant>,
}

/// A connection that may be closed for another.
#[derive(Debug)]
struct Entry {
    client: IpAddr,
    closed: CancellationToken,
    /// Requests under way, and one more while something waits to be sent.
    requests: usize,
    /// Bytes held for them.
    held: usize,
    /// How many requests have begun since the connection was made.
    begun: u64,
    /// Since when it has been idle, or, with requests under way, since when it has had any.
    since: Instant,
}

/// What one address has.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    connections: usize,
    requests: usize,
    /// Bytes held for its requests.
    held: usize,
}

/// A connection's place among the others; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    closed: CancellationToken,
    /// Tells this connection from others for as long as it lives.
    mark: Arc<()>,
}

/// Something under way on a connection: a request, from its head until all of its answer is on its
/// way; or what waits to be sent.
#[derive(Debug)]
pub(super) struct UnderWay {
    place: Arc<Place>,
    bytes: usize,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Activity {
    /// How many requests have begun on it.
    pub(super) begun: u64,
    /// Since when it has had none under way; `None` while it has.
    pub(super) idle_since: Option<Instant>,
}

/// What has to be made room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Connection,
    Memory,
}

/// How many connections there are of a kind, and the one that has been of it longest.
#[derive(Default)]
struct Longest {
    count: usize,
    longest: Option<(Instant, u64)>,
}

impl Longest {
    fn add(&mut self, since: Instant, id: u64) {
        self.count += 1;
        let longest = self.longest.get_or_insert((since, id));
        *longest = (since, id).min(*longest);
    }
}

impl Default for Connections {
    /// With room for [`MAX_CONNECTIONS`], or for half as many as the process may open files: the
    /// other half is for the clouds and the journal.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current.map(|files| files / 2);
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        Self::with_room_for(MAX_CONNECTIONS.min(files).max(1))
    }
}

impl Connections {
    pub(super) fn with_room_for(most: usize) -> Self {
        Self { most, table: Mutex::default() }
    }

    /// How many may enter before those that are here get their turn: many, so that nobody waits for
    /// long behind a crowd that comes at once, but so few that nobody who has just come has to go
    /// before it could ask.
    pub(super) fn at_once(&self) -> usize {
        (self.most / 2).max(1)
    }

    /// A place for a new connection from `peer`, made free by closing another if need be.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        let mut table = self.lock();
        while table.entries.len() >= self.most && table.close_one(Need::Connection, None) {}
        let (client, closed) = (network(peer), CancellationToken::new());
        let id = table.next;
        table.next += 1;
        let since = Instant::now();
        let closed_too = closed.clone();
        let entry = Entry { client, closed: closed_too, requests: 0, held: 0, begun: 0, since };
        table.entries.insert(id, entry);
        table.loads.entry(client).or_default().connections += 1;
        drop(table);
        Place { connections: Arc::clone(self), id, closed, mark: Arc::default() }
    }

    /// Closes the connection that needs its place least. Returns whether there was one.
    pub(super) fn close_one(&self) -> bool {
        self.lock().close_one(Need::Connection, None)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing here panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn close_one(&mut self, need: Need, sparing: Option<u64>) -> bool {
        let of = |load: &Load| load.connections + load.requests;
        let greediest = self.loads.iter().max_by_key(|(_, load)| of(load));
        let share = (self.entries.len() / self.loads.len().max(1)).clamp(LEAST_SHARE, SHARE);
        let greediest = greediest.filter(|(_, load)| of(load) > share);
        let (client, share) = greediest.map_or((None, share), |(it, load)| (Some(*it), of(load)));
        let any_holds = self.loads.values().any(|load| load.held > SHARE_BYTES);
        let may_go = |entry: &Entry| match need {
            Need::Connection => client.is_none_or(|client| entry.client == client),
            Need::Memory if any_holds => {
                self.loads.get(&entry.client).is_some_and(|load| load.held > SHARE_BYTES)
            }
            Need::Memory => true,
        };
        // How many are idle and how many are not, and which has been so longest.
        let (mut idle, mut answered) = (Longest::default(), Longest::default());
        for (&id, entry) in &self.entries {
            if may_go(entry) && Some(id) != sparing {
                (if entry.requests == 0 { &mut idle } else { &mut answered }).add(entry.since, id);
            }
        }
        // Half of the places for those that have just come and not asked yet.
        let longest = if need == Need::Memory || answered.count > idle.count {
            answered.longest
        } else {
            idle.longest
        };
        let Some((_, id)) = longest else { return false };
        let now = Instant::now();
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY) {
            self.told = Some(now);
            let client = client.map(tracing::field::display);
            tracing::warn!(
                client,
                share,
                "there is no room for more clients; those that have been idle or reading longest \
                 are closed"
            );
        }
        if let Some(entry) = self.remove(id) {
            entry.closed.cancel();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.held -= entry.held;
        if let Some(load) = self.loads.get_mut(&entry.client) {
            load.connections -= 1;
            load.requests -= entry.requests;
            load.held -= entry.held;
            if load.connections == 0 {
                self.loads.remove(&entry.client);
            }
        }
        Some(entry)
    }

    /// Notes that something is under way, or is not any more, and how many bytes that holds.
    fn note(&mut self, id: u64, begins: bool, bytes: usize) {
        // One that was closed for another is not here any more.
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(load) = self.loads.get_mut(&entry.client) else { return };
        if begins {
            entry.requests += 1;
            load.requests += 1;
            load.held += bytes;
            entry.held += bytes;
            self.held += bytes;
        } else {
            entry.requests -= 1;
            load.requests -= 1;
            load.held -= bytes;
            entry.held -= bytes;
            self.held -= bytes;
        }
        // The first, or the last.
        if entry.requests == usize::from(begins) {
            entry.since = Instant::now();
        }
    }
}

impl Place {
    /// Ends when the connection is to be closed for another.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Tells this connection from others for as long as it lives.
    pub(super) fn mark(&self) -> &Arc<()> {
        &self.mark
    }

    /// What the connection does at present.
    pub(super) fn activity(&self) -> Activity {
        let table = self.connections.lock();
        match table.entries.get(&self.id) {
            Some(entry) => Activity {
                begun: entry.begun,
                idle_since: (entry.requests == 0).then_some(entry.since),
            },
            // About to be closed.
            None => Activity { begun: 0, idle_since: None },
        }
    }

    /// Notes a request, which ends when what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        if let Some(entry) = self.connections.lock().entries.get_mut(&self.id) {
            entry.begun += 1;
        }
        self.under_way(REQUEST_BYTES)
    }

    /// Notes that something waits to be sent, until what is returned is dropped.
    pub(super) fn waits_to_send(self: &Arc<Self>) -> UnderWay {
        self.under_way(UNSENT_BYTES)
    }

    fn under_way(self: &Arc<Self>, bytes: usize) -> UnderWay {
        self.connections.lock().note(self.id, true, bytes);
        UnderWay { place: Arc::clone(self), bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
    }
}

impl UnderWay {
    /// Makes room for an answer that holds so many bytes, by closing who has been reading longest.
    /// `elsewhere` tells of bytes that they hold besides, and give back when they are gone: for
    /// those one goes. Returns whether there is room, as there is for what holds nothing.
    pub(super) fn holds(&mut self, bytes: usize, elsewhere: usize) -> bool {
        let id = self.place.id;
        let mut table = self.place.connections.lock();
        let Some(entry) = table.entries.get_mut(&id) else { return true };
        entry.held += bytes;
        let client = entry.client;
        if let Some(load) = table.loads.get_mut(&client) {
            load.held += bytes;
        }
        table.held += bytes;
        self.bytes += bytes;
        if elsewhere > 0 {
            table.close_one(Need::Memory, Some(id));
        }
        while table.held > MAX_UNDER_WAY {
            if !table.close_one(Need::Memory, Some(id)) {
                return bytes == 0;
            }
        }
        true
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.place.connections.lock().note(self.place.id, false, self.bytes);
    }
}

/// Who counts as one client: anybody has a whole /64 of IPv6 addresses.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 4] = [10, 0, 0, 1];
    const B: [u8; 4] = [10, 0, 0, 2];

    fn room_for(most: usize) -> Arc<Connections> {
        Arc::new(Connections::with_room_for(most))
    }

    /// A little later than the one before.
    async fn enter(connections: &Arc<Connections>, peer: [u8; 4]) -> Arc<Place> {
        tokio::time::advance(Duration::from_millis(1)).await;
        Arc::new(connections.enter(peer.into()))
    }

    async fn many(connections: &Arc<Connections>, peer: [u8; 4], count: usize) -> Vec<Arc<Place>> {
        let mut places = Vec::new();
        for _ in 0..count {
            places.push(enter(connections, peer).await);
        }
        places
    }

    /// Which of them are closed, by index.
    fn closed(places: &[Arc<Place>]) -> Vec<usize> {
        let places = places.iter().enumerate();
        places.filter(|(_, place)| place.closed.is_cancelled()).map(|(index, _)| index).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_with_the_most_makes_room_for_others_up_to_as_many() {
        let connections = room_for(100);
        let crowd = many(&connections, A, 100).await;
        assert_eq!(closed(&crowd), [0; 0], "nobody else wants the room");
        let others = many(&connections, B, 50).await;
        assert_eq!(
            closed(&crowd),
            (0..50).collect::<Vec<_>>(),
            "those that have been idle longest"
        );
        many(&connections, B, 2).await;
        assert_eq!((closed(&others).len(), closed(&crowd).len()), (2, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_addresses_the_longest_idle_goes_and_not_who_is_being_answered() {
        let connections = room_for(64);
        let scraper = enter(&connections, A).await;
        let scrape = scraper.begin();
        let mut crowd = Vec::new();
        for client in 0..200 {
            crowd.push(enter(&connections, [10, 1, 0, client]).await);
        }
        assert!(!scraper.closed.is_cancelled());
        assert_eq!(closed(&crowd), (0..200 - 63).collect::<Vec<_>>());
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(scrape);
        for client in 0..63 {
            crowd.push(enter(&connections, [10, 2, 0, client]).await);
        }
        assert!(!scraper.closed.is_cancelled(), "it has just been answered");
        enter(&connections, B).await;
        assert!(scraper.closed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_who_come_at_once_nobody_goes_before_it_could_ask() {
        for most in [1, 2, 24, 512] {
            let connections = room_for(most);
            let _crowd = many(&connections, A, most).await;
            let newcomers = many(&connections, A, connections.at_once()).await;
            assert_eq!(closed(&newcomers), [0; 0], "of {most}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_answered_leave_half_of_the_places_to_who_has_just_come() {
        let connections = room_for(64);
        let mut readers = Vec::new();
        let mut answers = Vec::new();
        for client in 0..200 {
            let place = enter(&connections, [10, 1, 0, client]).await;
            answers.push(place.begin());
            readers.push(place);
        }
        let mut crowd = Vec::new();
        for client in 0..32 {
            crowd.push(enter(&connections, [10, 2, 0, client]).await);
        }
        assert_eq!(closed(&crowd), [0; 0]);
        assert_eq!(closed(&readers).len(), 200 - (64 - 32));
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_addresses_that_fill_every_place_do_not_push_out_one_with_a_place() {
        let connections = room_for(512);
        let mut crowd = many(&connections, A, 1).await;
        let scraper = enter(&connections, B).await;
        for client in 0..10_000_u16 {
            let [_, last] = (client % 20).to_be_bytes();
            crowd.push(enter(&connections, [10, 1, 0, last]).await);
        }
        assert!(!scraper.closed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_client() {
        let connections = room_for(2 * SHARE);
        let mut crowd = Vec::new();
        for host in 0..2 * SHARE as u128 {
            let address = 0x2001_0db8_0000_0001_u128 << 64 | host;
            crowd.push(Arc::new(connections.enter(std::net::Ipv6Addr::from(address).into())));
        }
        let others = many(&connections, B, SHARE).await;
        assert_eq!((closed(&crowd).len(), closed(&others).len()), (SHARE, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_scrape_goes_on_while_others_hold_more_than_their_share() {
        let connections = room_for(64);
        let scraper = enter(&connections, A).await;
        let mut scrape = scraper.begin();
        assert!(scrape.holds(100 * 1024, 0));
        let mut crowd = Vec::new();
        for client in 0..40 {
            let place = enter(&connections, [10, 1, 0, client]).await;
            let mut answers: Vec<_> = (0..16).map(|_| place.begin()).collect();
            for answer in &mut answers {
                assert!(answer.holds(20 * 1024, 0));
            }
            crowd.push((place, answers));
        }
        let (places, answers): (Vec<_>, Vec<_>) = crowd.into_iter().unzip();
        assert!(!scraper.closed.is_cancelled(), "it holds little");
        assert_eq!(closed(&places), (0..closed(&places).len()).collect::<Vec<_>>());
        assert!(!closed(&places).is_empty());
        drop((scrape, answers));
        assert_eq!(connections.lock().held, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_had_from_whoever_has_been_reading_longest() {
        let connections = room_for(64);
        let mut readers = Vec::new();
        for client in 0..10 {
            let place = enter(&connections, [10, 1, 0, client]).await;
            let mut answer = place.begin();
            assert!(answer.holds(MAX_UNDER_WAY / 4, 0));
            assert!(connections.lock().held <= MAX_UNDER_WAY);
            readers.push((place, answer));
        }
        let (places, answers): (Vec<_>, Vec<_>) = readers.into_iter().unzip();
        assert_eq!(closed(&places), (0..7).collect::<Vec<_>>());
        let place = enter(&connections, A).await;
        assert!(place.begin().holds(0, 1), "what is held elsewhere costs one");
        assert_eq!(closed(&places), (0..8).collect::<Vec<_>>());
        assert!(!place.begin().holds(2 * MAX_UNDER_WAY, 0));
        assert_eq!(closed(&places), (0..10).collect::<Vec<_>>());
        assert!(place.begin().holds(0, 1));
        drop(answers);
        assert_eq!(connections.lock().held, 0);
    }
}
