//! `Content`: what an answer consists of; `Sent`, the same while it is under way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connections::UnderWay;
use super::json::{CHUNK, Listing};
use crate::metrics::ScrapeBody;

/// What an answer consists of.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it.
    Whole(Bytes),
    /// The metrics.
    Scrape(ScrapeBody),
    /// Sources or tasks.
    Listing(Listing),
}

impl Content {
    /// How much memory it holds as long as it is not taken, besides what is shared by all.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Scrape(body) => body.held_bytes(),
            Self::Listing(_) => Listing::HELD_BYTES,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(rest) if rest.len() > CHUNK => {
                // Copied, so that what is left to be sent at the end is not all of it.
                let chunk = Bytes::copy_from_slice(&rest.split_to(CHUNK));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Self::Whole(rest) => {
                let rest = Bytes::copy_from_slice(&std::mem::take(rest));
                Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
            }
            Self::Scrape(body) => Pin::new(body).poll_frame(cx),
            Self::Listing(listing) => Pin::new(listing).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Scrape(_) | Self::Listing(_) => SizeHint::default(),
        }
    }
}

/// Content on its way: the request ends with it.
#[derive(Debug)]
pub(super) struct Sent {
    content: Content,
    _under_way: UnderWay,
}

impl Sent {
    pub(super) fn new(content: Content, under_way: UnderWay) -> Self {
        Self { content, _under_way: under_way }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
