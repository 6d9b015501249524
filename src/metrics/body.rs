//! `ScrapeBody`: the frames of one answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use super::table::{CHUNK, ROOM, Rendering, Table};

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// One gzip member.
    Gzip,
}

/// Counters, then snapshots, then the end. Nothing is copied that has been rendered before, and
/// the number of heap allocations does not depend on the number of tasks.
#[derive(Debug)]
pub struct ScrapeBody {
    head: Bytes,
    middle: Middle,
    tail: Bytes,
}

#[derive(Debug)]
enum Middle {
    /// Rendered while it is sent, each time into the first buffer that has been sent.
    Rendered { rendering: Rendering, buffers: [BytesMut; 2] },
    /// Sent as it is, from the piece `next` on.
    Compressed { pieces: Arc<[Bytes]>, next: usize },
}

impl ScrapeBody {
    pub(super) fn rendered(head: Bytes, tables: &Arc<[Arc<Table>]>, tail: Bytes) -> Self {
        let rendering = Rendering::new(Arc::clone(tables));
        let buffers = std::array::from_fn(|_| {
            let mut buffer = BytesMut::with_capacity(ROOM);
            // Makes it one that can be shared now, whether it comes to be used or not.
            drop(buffer.split());
            buffer
        });
        Self { head, middle: Middle::Rendered { rendering, buffers }, tail }
    }

    pub(super) fn compressed(head: Bytes, pieces: Arc<[Bytes]>, tail: Bytes) -> Self {
        Self { head, middle: Middle::Compressed { pieces, next: 0 }, tail }
    }
}

impl Iterator for ScrapeBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        let middle = match &mut self.middle {
            Middle::Rendered { rendering, buffers } => {
                // A third one only while both are still on their way.
                let [one, other] = buffers;
                let buffer = if is_back(one) {
                    one
                } else if is_back(other) {
                    other
                } else {
                    &mut BytesMut::new()
                };
                buffer.resize(ROOM, 0);
                let length = rendering.fill(buffer, CHUNK);
                (length > 0).then(|| buffer.split_to(length).freeze())
            }
            Middle::Compressed { pieces, next } => {
                let piece = pieces.get(*next).cloned();
                *next += 1;
                piece
            }
        };
        middle.or_else(|| Some(std::mem::take(&mut self.tail)).filter(|tail| !tail.is_empty()))
    }
}

/// Whether all that was taken from a buffer has been sent, so that it can be used again.
fn is_back(buffer: &mut BytesMut) -> bool {
    buffer.clear();
    buffer.try_reclaim(ROOM)
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|bytes| Ok(Frame::data(bytes))))
    }
}
