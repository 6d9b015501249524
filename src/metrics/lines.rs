//! `Lines`: writes the lines of families, nearly as fast as memory can be moved.
//!
//! A line is a handful of short pieces, and for those a call of `memcpy` each costs more than the
//! bytes. So pieces are moved in blocks of a fixed size, which takes a few instructions and no
//! call; what a block holds too much is written over by the next piece.

use bytes::BytesMut;
use dbtask_clouds::model::TaskState;

use super::Family;
use super::text::{self, Digits, Format, Value};

/// How many bytes are moved at once.
const BLOCK: usize = 32;

/// Bytes of an arena, perhaps with more behind them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span<'a> {
    /// The bytes and whatever follows them.
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Span<'a> {
    /// What an arena needs behind its last byte, so that all of it can be read in blocks.
    pub(super) const PADDING: usize = BLOCK;

    pub(super) fn new(arena: &'a [u8], from: usize, to: usize) -> Self {
        let bytes = arena.get(from..).unwrap_or_default();
        Self { bytes, length: to.saturating_sub(from).min(bytes.len()) }
    }
}

impl<'a> From<&'a [u8]> for Span<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() }
    }
}

/// Writes lines into a buffer, from its start.
pub(super) struct Lines<'a> {
    /// Initialised beyond what has been written, so that blocks can be written over.
    out: &'a mut BytesMut,
    written: usize,
}

impl<'a> Lines<'a> {
    /// Grows where there is too little room; whatever is in `out` is written over.
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, written: 0 }
    }

    /// How many bytes have been written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// The lines that open a family of gauges.
    #[cold]
    pub(super) fn header(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        let mut header = BytesMut::new();
        text::header(&mut header, Format::Text, name, kind.as_str(), help);
        let mut line = self.room(header.len());
        line.put_span(Span::from(&*header));
        self.written = line.at;
    }

    /// `<name><key><labels>} <value>`; the key opens the brace.
    #[inline]
    pub(super) fn line(&mut self, name: &Name, key: Span<'_>, labels: Span<'_>, value: Value) {
        let mut digits = Digits::default();
        let digits = digits.of(value);
        let mut line = self.room(name.length + key.length + labels.length + digits.len());
        line.put_span(name.span());
        line.put_span(key);
        line.put_span(labels);
        line.put(b"} ", 2);
        line.put_short(digits);
        line.put(b"\n", 1);
        self.written = line.at;
    }

    /// A line for each state, 1 for the `current` one.
    #[inline]
    pub(super) fn states(&mut self, name: &Name, key: Span<'_>, current: TaskState) {
        let length = name.length + key.length + BLOCK;
        let mut lines = self.room(TaskState::ALL.len() * length);
        for (state, [zero, one]) in TaskState::ALL.into_iter().zip(&STATE_ENDS) {
            lines.put_span(name.span());
            lines.put_span(key);
            let end = if state == current { one } else { zero };
            lines.put(&end.bytes, end.length);
        }
        self.written = lines.at;
    }

    /// Room for so many bytes and for what a block may hold too much.
    #[inline]
    fn room(&mut self, bytes: usize) -> Line<'_> {
        let needed = self.written + bytes + 2 * BLOCK;
        if needed > self.out.len() {
            self.out.resize(needed.max(2 * self.out.len()), 0);
        }
        Line { out: self.out, at: self.written }
    }
}

/// The end of a buffer, with enough room.
struct Line<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Line<'_> {
    /// Writes `bytes`, of which only the first `length` count.
    #[inline]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        if let Some(to) = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            *to = *bytes;
            self.at += length;
        }
    }

    /// Writes the few bytes of a number.
    #[inline]
    fn put_short(&mut self, bytes: &[u8]) {
        const HALF: usize = 8;
        let (first, last) = (bytes.first_chunk::<HALF>(), bytes.last_chunk::<HALF>());
        if let (Some(first), Some(last), ..=16) = (first, last, bytes.len()) {
            // The halves overlap where there are fewer than 16.
            self.put(first, bytes.len() - HALF);
            self.put(last, HALF);
        } else {
            for &byte in bytes {
                self.put(&[byte], 1);
            }
        }
    }

    #[inline]
    fn put_span(&mut self, span: Span<'_>) {
        let Span { mut bytes, mut length } = span;
        while let Some((block, rest)) = bytes.split_first_chunk::<BLOCK>() {
            self.put(block, length.min(BLOCK));
            if length <= BLOCK {
                return;
            }
            length -= BLOCK;
            bytes = rest;
        }
        // Too close to the end of its arena for a block.
        let bytes = bytes.get(..length).unwrap_or_default();
        if let Some(to) = self.out.get_mut(self.at..self.at + bytes.len()) {
            to.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }
}

/// A short piece of many lines, in a block.
pub(super) struct Piece<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// The name of a family.
pub(super) type Name = Piece<64>;

impl<const N: usize> Piece<N> {
    /// `text` must not be longer than the block.
    pub(super) const fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        let (start, _) = bytes.split_at_mut(text.len());
        start.copy_from_slice(text.as_bytes());
        Self { bytes, length: text.len() }
    }

    fn span(&self) -> Span<'_> {
        Span { bytes: &self.bytes, length: self.length }
    }
}

/// How a line for a state goes on after the key, at 0 and at 1; as [`TaskState::ALL`].
const STATE_ENDS: [[Piece<32>; 2]; TaskState::ALL.len()] = [
    [Piece::new(",state=\"pending\"} 0\n"), Piece::new(",state=\"pending\"} 1\n")],
    [Piece::new(",state=\"running\"} 0\n"), Piece::new(",state=\"running\"} 1\n")],
    [Piece::new(",state=\"paused\"} 0\n"), Piece::new(",state=\"paused\"} 1\n")],
    [Piece::new(",state=\"succeeded\"} 0\n"), Piece::new(",state=\"succeeded\"} 1\n")],
    [Piece::new(",state=\"failed\"} 0\n"), Piece::new(",state=\"failed\"} 1\n")],
    [Piece::new(",state=\"canceled\"} 0\n"), Piece::new(",state=\"canceled\"} 1\n")],
    [Piece::new(",state=\"unknown\"} 0\n"), Piece::new(",state=\"unknown\"} 1\n")],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::FAMILIES;

    #[test]
    fn every_name_fits_into_a_block() {
        assert!(FAMILIES.iter().all(|family| family.name.len() <= 64));
        for (state, ends) in TaskState::ALL.into_iter().zip(STATE_ENDS) {
            for (value, end) in ends.into_iter().enumerate() {
                let expected = format!(",state=\"{}\"}} {value}\n", state.as_str());
                assert_eq!(&end.bytes[..end.length], expected.as_bytes());
            }
        }
    }

    #[test]
    fn a_line_grows_the_buffer_where_it_must() {
        for padding in [0, Span::PADDING] {
            for length in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
                let mut arena = vec![b'x'; length];
                arena.extend(std::iter::repeat_n(0, padding));
                let mut out = BytesMut::new();
                let mut lines = Lines::new(&mut out);
                let key = Span::new(&arena, 0, length);
                let values = [-1, 12_345_678, 123_456_789, 1_772_352_000, i64::MIN];
                for value in values {
                    lines.line(&Name::new("up"), key, Span::default(), Value::Integer(value));
                }
                let written = lines.written();
                let x = "x".repeat(length);
                let expected = values.map(|value| format!("up{x}}} {value}\n")).concat();
                assert_eq!(&out[..written], expected.as_bytes(), "{length} and {padding}");
            }
        }
    }
}
