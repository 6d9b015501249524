//! `Metrics`: what is served: the counters, the newest exposition, and what the kernel says about the
//! process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Crc, FlushCompress};
use tokio::time::Instant;

use super::body::{Encoding, ScrapeBody};
use super::exposition::{Exposition, LEVEL, deflate_some};
use super::instruments::Instruments;
use super::table::CHUNK;
use super::text::{self, Format};

/// The least time between two publications: polls that end together are published together.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// What `/metrics` serves: counters, the newest exposition, and the process.
pub struct Metrics {
    /// What outlives a poll.
    pub instruments: Instruments,
    exposition: ArcSwap<Exposition>,
    /// Those that it has replaced, as long as somebody may still be reading them.
    old: Mutex<Vec<Weak<Exposition>>>,
    /// What was last served of the counters, in the order of [`Format::ALL`].
    counters: [ArcSwapOption<Counters>; Format::ALL.len()],
}

/// The counters in one format, as text and as gzip.
struct Counters {
    /// [`Instruments::changes`] before they were read.
    changes: u64,
    made: Instant,
    text: Bytes,
    /// A gzip header and the deflated text, flushed at its end.
    deflated: Bytes,
    crc: Crc,
}

impl Counters {
    /// A gzip header: deflate, no name, no time, no system named.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

    fn new(instruments: &Instruments, format: Format) -> Self {
        let (changes, made) = (instruments.changes(), Instant::now());
        let mut text = BytesMut::with_capacity(CHUNK / 4);
        for family in instruments.gather() {
            text::collected(&mut text, format, &family);
        }
        let mut deflated = Vec::with_capacity(Self::HEADER.len() + text.len() / 4 + 256);
        deflated.extend_from_slice(&Self::HEADER);
        let mut compress = Compress::new(LEVEL, false);
        let mut rest: &[u8] = &text;
        loop {
            rest = deflate_some(&mut compress, rest, &mut deflated, FlushCompress::Full);
            if rest.is_empty() && deflated.capacity() > deflated.len() {
                break;
            }
            deflated.reserve(CHUNK / 4);
        }
        let mut crc = Crc::new();
        crc.update(&text);
        Self { changes, made, text: text.freeze(), deflated: deflated.into(), crc }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("instruments", &self.instruments).finish_non_exhaustive()
    }
}

/// One answer to Prometheus.
#[derive(Debug)]
pub struct Scrape {
    /// Bytes of the body as it is sent.
    pub length: u64,
    /// What is sent.
    pub body: ScrapeBody,
}

impl Metrics {
    /// With no snapshot yet.
    pub fn new(instruments: Instruments) -> Self {
        Self {
            instruments,
            exposition: ArcSwap::default(),
            old: Mutex::default(),
            counters: Default::default(),
        }
    }

    /// The newest exposition.
    pub fn exposition(&self) -> Arc<Exposition> {
        self.exposition.load_full()
    }

    /// Serves `exposition` from now on, and gets the counters ready for whoever asks next.
    pub fn replace(&self, exposition: Exposition) {
        let before = self.exposition.swap(Arc::new(exposition));
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        old.retain(|old| old.strong_count() > 0);
        old.push(Arc::downgrade(&before));
        drop(old);
        drop(before);
        for format in Format::ALL {
            if self.slot(format).load().is_some() {
                self.counters(format);
            }
        }
    }

    /// How much memory those expositions hold that are not served any more and still being read,
    /// beyond as much as the one that is served.
    pub fn bytes_of_old_ones(&self) -> usize {
        let old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        let old: usize = old.iter().filter_map(Weak::upgrade).map(|old| old.own_bytes).sum();
        old.saturating_sub(self.exposition.load().bytes)
    }

    /// An answer from what is known now; nothing in it waits for a poll or a publication.
    pub fn scrape(&self, format: Format, encoding: Encoding) -> Scrape {
        // First the counters: what they count may be missing in the snapshots, and comes with the
        // next; the other way round a task would be seen to fail before it is counted.
        let counters = self.counters(format);
        let exposition = self.exposition();
        let mut end = BytesMut::with_capacity(2048);
        for family in self.instruments.process() {
            text::collected(&mut end, format, &family);
        }
        end.put_slice(format.end());
        match encoding {
            Encoding::Identity => identity(&counters, exposition, end.freeze()),
            Encoding::Gzip => gzip(&counters, exposition, &end),
        }
    }

    /// The counters, at most [`PUBLISH_INTERVAL`] old; written anew only if any has changed. Who
    /// asks never waits for somebody else who is writing them.
    fn counters(&self, format: Format) -> Arc<Counters> {
        let slot = self.slot(format);
        if let Some(counters) = slot.load_full()
            && (counters.changes == self.instruments.changes()
                || counters.made.elapsed() < PUBLISH_INTERVAL)
        {
            return counters;
        }
        let counters = Arc::new(Counters::new(&self.instruments, format));
        slot.store(Some(Arc::clone(&counters)));
        counters
    }

    fn slot(&self, format: Format) -> &ArcSwapOption<Counters> {
        let [text, open_metrics] = &self.counters;
        match format {
            Format::Text => text,
            Format::OpenMetrics => open_metrics,
        }
    }
}

fn identity(counters: &Counters, exposition: Arc<Exposition>, end: Bytes) -> Scrape {
    let length = (counters.text.len() + end.len()) as u64 + exposition.length;
    let body = ScrapeBody::rendered(counters.text.clone(), exposition, end);
    Scrape { length, body }
}

fn gzip(counters: &Counters, exposition: Arc<Exposition>, end: &[u8]) -> Scrape {
    let mut crc = Crc::new();
    crc.combine(&counters.crc);
    crc.combine(&exposition.crc);
    let mut crc_of_end = Crc::new();
    crc_of_end.update(end);
    crc.combine(&crc_of_end);
    let length = (counters.text.len() + end.len()) as u64 + exposition.length;

    // The last block: stored as it is, with its length and the complement of it. The process has
    // a dozen lines, far from the 64 KiB that a block can hold.
    let mut tail = Vec::with_capacity(end.len() + 13);
    let end_length = u16::try_from(end.len()).unwrap_or_default();
    tail.put_u8(1);
    tail.put_u16_le(end_length);
    tail.put_u16_le(!end_length);
    tail.put_slice(end);
    tail.put_u32_le(crc.sum());
    #[expect(clippy::cast_possible_truncation, reason = "gzip keeps the length modulo 2^32")]
    tail.put_u32_le(length as u32);

    let deflated: usize = exposition.deflated.iter().map(Bytes::len).sum();
    let length = (counters.deflated.len() + deflated + tail.len()) as u64;
    let body = ScrapeBody::compressed(counters.deflated.clone(), exposition, tail.into());
    Scrape { length, body }
}
