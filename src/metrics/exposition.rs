//! `Exposition`: what the snapshots look like to Prometheus, compressed once.
//!
//! Scrapes ask for gzip, and compressing is what costs, so it is done once for each publication,
//! and for the counters once for each change. A deflate stream may be cut wherever it was flushed
//! to a whole byte: the counters' stream, the snapshots' and a last block, stored as it is, follow
//! one another behind one gzip header, their checksums combined. It is one gzip member; several one
//! after another are legal, but curl and others read the first alone.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::table::{CHUNK, ROOM, Rendering, Table};
use crate::snapshot::Snapshot;

/// How much gzip is kept, and sent, in one piece: larger ones need fewer calls of the kernel.
const PIECE: usize = 256 * 1024;

/// The knee of zlib-rs: 3 costs half as much time again for 4 % fewer bytes.
pub(super) const LEVEL: Compression = Compression::new(2);

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
    pub(super) bytes: usize,
    /// What of that the one before does not.
    pub(super) own_bytes: usize,
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
pub(super) fn deflate_some<'a>(
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
