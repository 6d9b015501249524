//! `ScrapeBody`: the frames of one answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use super::exposition::Exposition;
use super::table::{CHUNK, ROOM, Rendering};

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
    exposition: Arc<Exposition>,
    head: Bytes,
    middle: Middle,
    tail: Bytes,
}

#[derive(Debug)]
enum Middle {
    /// Rendered while it is sent, each time into the first buffer that has been sent. After each
    /// piece it `rests`.
    Rendered { rendering: Rendering, buffers: [BytesMut; 2], rests: bool },
    /// Sent as it is, from the piece `next` on.
    Compressed { next: usize },
}

impl ScrapeBody {
    pub(super) fn rendered(head: Bytes, exposition: Arc<Exposition>, tail: Bytes) -> Self {
        let rendering = Rendering::new(Arc::clone(&exposition.tables));
        let buffers = std::array::from_fn(|_| {
            let mut buffer = BytesMut::with_capacity(ROOM);
            // Makes it one that can be shared now, whether it comes to be used or not.
            drop(buffer.split());
            buffer
        });
        let middle = Middle::Rendered { rendering, buffers, rests: false };
        Self { exposition, head, middle, tail }
    }

    pub(super) fn compressed(head: Bytes, exposition: Arc<Exposition>, tail: Bytes) -> Self {
        Self { exposition, head, middle: Middle::Compressed { next: 0 }, tail }
    }

    /// How much memory it holds as long as it is not taken, besides the exposition.
    pub fn held_bytes(&self) -> usize {
        let buffers = match self.middle {
            Middle::Rendered { .. } => 2 * ROOM,
            Middle::Compressed { .. } => 0,
        };
        self.head.len() + self.tail.len() + buffers
    }
}

impl Iterator for ScrapeBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        let middle = match &mut self.middle {
            Middle::Rendered { rendering, buffers, .. } => {
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
            Middle::Compressed { next } => {
                let piece = self.exposition.deflated.get(*next).cloned();
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
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Middle::Rendered { rests, .. } = &mut self.middle {
            // Others get their turn after each piece.
            *rests = !*rests;
            if !*rests {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(self.next().map(|bytes| Ok(Frame::data(bytes))))
    }
}
