//! `Stall`: a connection that ends when its other end keeps it waiting.
//!
//! hyper has one time for the rest of a head and for the pause before the next one. Here they are
//! two, so that a scraper keeps its connection from one scrape to the next, and half a head does
//! not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::{Activity, Place, UnderWay};
use super::{HEADER_TIMEOUT, IDLE_TIMEOUT, MAX_READ_BYTES, READER_TIMEOUT};

/// Ends what is idle for longer than [`IDLE_TIMEOUT`], as if the client had closed it; and breaks
/// off when the first request, or the rest of a head, takes longer than [`HEADER_TIMEOUT`], when an
/// answer takes longer than [`READER_TIMEOUT`] to be taken, and when more than [`MAX_READ_BYTES`]
/// come for one request.
#[derive(Debug)]
pub(super) struct Stall<IO> {
    io: IO,
    place: Arc<Place>,
    /// Whether what arrives between requests is the head of one. In HTTP/2 it may be anything.
    has_bare_heads: bool,
    /// Which request's head is awaited, counted from 0, and since when.
    head: Option<(u64, Instant)>,
    /// What has been read since which request.
    read: (u64, usize),
    reading: Timer,
    /// Whether a write has had to wait since the last read. So taking a byte now and then does not
    /// help.
    is_writing: bool,
    writing: Timer,
    /// As long as something waits to be sent.
    unsent: Option<UnderWay>,
}

/// Made when it is first needed, then used again.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn set(&mut self, deadline: Instant) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl<IO> Stall<IO> {
    pub(super) fn http1(io: IO, place: Arc<Place>) -> Self {
        let head = Some((0, Instant::now()));
        Self {
            io,
            place,
            has_bare_heads: true,
            head,
            read: (0, 0),
            reading: Timer::default(),
            is_writing: false,
            writing: Timer::default(),
            unsent: None,
        }
    }

    pub(super) fn http2(io: IO, place: Arc<Place>) -> Self {
        Self { has_bare_heads: false, ..Self::http1(io, place) }
    }

    /// Something has been read.
    fn came(&mut self, bytes: usize) -> io::Result<()> {
        self.is_writing = false;
        let Activity { begun, idle_since } = self.place.activity();
        if self.has_bare_heads && idle_since.is_some() && !self.awaits_head(begun) {
            self.head = Some((begun, Instant::now()));
        }
        if self.read.0 != begun {
            self.read = (begun, 0);
        }
        self.read.1 += bytes;
        if self.read.1 > MAX_READ_BYTES {
            return Err(io::Error::other("too much came for one request"));
        }
        Ok(())
    }

    fn awaits_head(&self, begun: u64) -> bool {
        self.head.is_some_and(|(request, _)| request == begun)
    }

    /// Nothing has come: the end of the connection, if that has lasted for too long.
    fn or_end_of_idling(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Activity { begun, idle_since: Some(idle_since) } = self.place.activity() else {
            return Poll::Pending;
        };
        let head = self.head.filter(|(request, _)| *request == begun);
        self.reading.set(match head {
            Some((_, since)) => since + HEADER_TIMEOUT,
            None => idle_since + IDLE_TIMEOUT,
        });
        ready!(self.reading.poll(cx));
        Poll::Ready(match head {
            // Nothing read is the end.
            None => Ok(()),
            Some(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")),
        })
    }

    /// The outcome of a write, or the end of patience.
    fn or_end<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.unsent.get_or_insert_with(|| self.place.waits_to_send());
            if !std::mem::replace(&mut self.is_writing, true) {
                self.writing.set(Instant::now() + READER_TIMEOUT);
            }
            ready!(self.writing.poll(cx));
            let why = "the answer is not taken";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        written
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Stall<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => self.or_end_of_idling(cx),
            Poll::Ready(Ok(())) => Poll::Ready(self.came(buffer.filled().len() - before)),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Stall<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.or_end(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.or_end(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.unsent = None;
        }
        self.or_end(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.or_end(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::connections::Connections;
    use super::*;

    fn place() -> Arc<Place> {
        let connections = Arc::new(Connections::with_room_for(1));
        Arc::new(connections.enter(IpAddr::from([127, 0, 0, 1])))
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_reading_is_dropped() {
        let (_far, near) = duplex(16);
        let start = Instant::now();
        let error = Stall::http1(near, place()).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), READER_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_help() {
        let (mut far, near) = duplex(16);
        let trickle = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let start = Instant::now();
        let mut near = Stall::http1(near, place());
        near.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(start.elapsed(), READER_TIMEOUT);
        drop(near);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_starts_anew() {
        let (mut far, near) = duplex(16);
        let mut near = Stall::http1(near, place());
        for _ in 0..3 {
            far.write_u8(1).await.unwrap();
            near.read_u8().await.unwrap();
            let mut answer = [0; 32];
            let (written, read) = tokio::join!(near.write_all(&[0; 32]), async {
                tokio::time::sleep(Duration::from_secs(50)).await;
                far.read_exact(&mut answer).await
            });
            written.unwrap();
            read.unwrap();
        }
    }

    /// What `near` reads in the end, and when.
    async fn end(near: &mut Stall<impl AsyncRead + Unpin>) -> (io::Result<usize>, Duration) {
        let start = Instant::now();
        let mut rest = Vec::new();
        let read = near.read_to_end(&mut rest).await;
        (read, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_comes_soon_and_a_pause_between_two_may_be_long() {
        let (_far, near) = duplex(16);
        let (read, after) = end(&mut Stall::http1(near, place())).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(after, HEADER_TIMEOUT);

        let (_far, near) = duplex(16);
        let place = place();
        let mut near = Stall::http1(near, Arc::clone(&place));
        drop(place.begin());
        let (read, after) = end(&mut near).await;
        assert_eq!((read.unwrap(), after), (0, IDLE_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_does_not_last_however_it_trickles() {
        let (mut far, near) = duplex(16);
        let place = place();
        let mut near = Stall::http1(near, Arc::clone(&place));
        drop(place.begin());
        let pause = IDLE_TIMEOUT / 2;
        let trickle = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            while far.write_u8(b'G').await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let (read, after) = end(&mut near).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(after, pause + HEADER_TIMEOUT);
        drop(near);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_is_not_idle() {
        let (_far, near) = duplex(16);
        let place = place();
        let mut near = Stall::http2(near, Arc::clone(&place));
        let under_way = place.begin();
        let busy = IDLE_TIMEOUT * 2;
        assert!(tokio::time::timeout(busy, end(&mut near)).await.is_err());
        drop(under_way);
        let (read, after) = end(&mut near).await;
        assert_eq!((read.unwrap(), after), (0, IDLE_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_without_end_and_asks_for_nothing_is_cut_off() {
        let (mut far, near) = duplex(64 * 1024);
        let flood = tokio::spawn(async move { while far.write_all(&[0; 1024]).await.is_ok() {} });
        let mut near = Stall::http2(near, place());
        let mut read = 0;
        let mut buffer = [0; 4096];
        let error = loop {
            match near.read(&mut buffer).await {
                Ok(bytes) => read += bytes,
                Err(error) => break error,
            }
        };
        assert!(error.to_string().starts_with("too much came"), "{error}");
        assert!(read <= MAX_READ_BYTES);
        drop(near);
        flood.await.unwrap();
    }
}
