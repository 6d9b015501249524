//! `Exposition`: what the snapshots look like to Prometheus, compressed once; and `Metrics`, which
//! serves it between the counters and what the kernel says about the process.
//!
//! Scrapes ask for gzip, and compressing is what costs, so it is done once for each publication,
//! and for the counters once for each change. A deflate stream may be cut wherever it was flushed
//! to a whole byte: the counters' stream, the snapshots' and a last block, stored as it is, follow
//! one another behind one gzip header, their checksums combined. It is one gzip member; several one
//! after another are legal, but curl and others read the first alone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};
use tokio::time::Instant;

use super::body::{Encoding, ScrapeBody};
use super::instruments::Instruments;
use super::table::{CHUNK, ROOM, Rendering, Table};
use super::text::{self, Format};
use crate::snapshot::Snapshot;

/// The least time between two publications: polls that end together are published together.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// How much gzip is kept, and sent, in one piece: larger ones need fewer calls of the kernel.
const PIECE: usize = 256 * 1024;

/// The knee of zlib-rs: 3 costs half as much time again for 4 % fewer bytes.
const LEVEL: Compression = Compression::new(2);

/// Some snapshots as text and as gzip. Never changed.
#[derive(Debug)]
pub struct Exposition {
    pub(super) tables: Arc<[Arc<Table>]>,
    /// Bytes of text.
    pub(super) length: u64,
    /// The text, deflated, flushed at its end.
    pub(super) deflated: Arc<[Bytes]>,
    pub(super) crc: Crc,
    /// What it keeps in memory, in bytes.
    bytes: usize,
    /// What of that the one before does not.
    own_bytes: usize,
}

impl Default for Exposition {
    fn default() -> Self {
        Self::new(Vec::new(), None)
    }
}

impl Exposition {
    /// Renders and compresses, which takes milliseconds for thousands of tasks. Labels of a
    /// snapshot that is also in `previous` are not escaped again.
    pub fn new(snapshots: Vec<Arc<Snapshot>>, previous: Option<&Self>) -> Self {
        let known = previous.map_or(&[] as &[_], |previous| &previous.tables);
        let table = |snapshot: Arc<Snapshot>| {
            let known = known.iter().find(|table| Arc::ptr_eq(&table.snapshot, &snapshot));
            known.cloned().unwrap_or_else(|| Arc::new(Table::new(snapshot)))
        };
        let tables: Arc<[_]> = snapshots.into_iter().map(table).collect();
        let mut pieces = Deflater::new();
        for_each_chunk(&tables, |chunk| pieces.write(chunk));
        let (deflated, length, crc) = pieces.finish();
        let is_new = |table: &&Arc<Table>| !known.iter().any(|known| Arc::ptr_eq(known, table));
        let gzip: usize = deflated.iter().map(Bytes::len).sum();
        let bytes = gzip + tables.iter().map(|table| table.bytes()).sum::<usize>();
        let own_bytes =
            gzip + tables.iter().filter(is_new).map(|table| table.bytes()).sum::<usize>();
        Self { tables, length, deflated, crc, bytes, own_bytes }
    }

    /// The text of the snapshots alone, in chunks, without anything kept of it.
    pub fn for_each_chunk(&self, each: impl FnMut(&[u8])) {
        for_each_chunk(&self.tables, each);
    }
}

fn for_each_chunk(tables: &Arc<[Arc<Table>]>, mut each: impl FnMut(&[u8])) {
    let mut rendering = Rendering::new(Arc::clone(tables));
    let mut buffer = BytesMut::zeroed(ROOM);
    loop {
        let length = rendering.fill(&mut buffer, CHUNK);
        match buffer.get(..length) {
            Some(chunk) if length > 0 => each(chunk),
            Some(_) | None => return,
        }
    }
}

/// A raw deflate stream that is kept in pieces.
struct Deflater {
    compress: Compress,
    pieces: Vec<Bytes>,
    piece: Vec<u8>,
    length: u64,
    crc: Crc,
}

impl Deflater {
    fn new() -> Self {
        let compress = Compress::new(LEVEL, false);
        Self { compress, pieces: Vec::new(), piece: Vec::new(), length: 0, crc: Crc::new() }
    }

    fn write(&mut self, text: &[u8]) {
        self.crc.update(text);
        self.length += text.len() as u64;
        self.deflate(text, FlushCompress::None);
    }

    fn finish(mut self) -> (Arc<[Bytes]>, u64, Crc) {
        if self.length > 0 {
            self.deflate(b"", FlushCompress::Full);
        }
        self.cut();
        (self.pieces.into(), self.length, self.crc)
    }

    fn deflate(&mut self, mut text: &[u8], flush: FlushCompress) {
        loop {
            if self.piece.capacity() == self.piece.len() {
                self.cut();
                self.piece.reserve_exact(PIECE);
            }
            text = deflate_some(&mut self.compress, text, &mut self.piece, flush);
            // Room that was left over means that there is nothing more to come.
            if text.is_empty() && self.piece.capacity() > self.piece.len() {
                return;
            }
        }
    }

    fn cut(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if !piece.is_empty() {
            // Counted from the start, so that the first scrape allocates no more than the others.
            self.pieces.push(Bytes::from_owner(piece.into_boxed_slice()));
        }
    }
}

/// Deflates as much as there is room for; returns the rest.
fn deflate_some<'a>(
    compress: &mut Compress,
    text: &'a [u8],
    out: &mut Vec<u8>,
    flush: FlushCompress,
) -> &'a [u8] {
    let before = compress.total_in();
    // It fails only on a stream that was finished, and none here ever is.
    let _ = compress.compress_vec(text, out, flush);
    let taken = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
    text.get(taken..).unwrap_or_default()
}

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
