//! `Stall`: a connection that breaks off when its other end does not take an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Counts from the first write that has to wait to the next request, so that taking a byte now and
/// then does not help.
#[derive(Debug)]
pub(super) struct Stall<IO> {
    io: IO,
    patience: Duration,
    /// Whether a write has had to wait since the last read.
    waiting: bool,
    /// Made when it is first needed, then used again.
    end: Option<Pin<Box<Sleep>>>,
}

impl<IO> Stall<IO> {
    pub(super) fn new(io: IO, patience: Duration) -> Self {
        Self { io, patience, waiting: false, end: None }
    }

    /// The outcome of a write, or the end of patience.
    fn or_end<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            let deadline = Instant::now() + self.patience;
            let end = self.end.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if !std::mem::replace(&mut self.waiting, true) {
                end.as_mut().reset(deadline);
            }
            ready!(end.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
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
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.waiting = false;
        }
        read
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
        self.or_end(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.or_end(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_reading_is_dropped() {
        let (_far, near) = duplex(16);
        let start = Instant::now();
        let error = Stall::new(near, PATIENCE).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), PATIENCE);
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
        let mut near = Stall::new(near, PATIENCE);
        near.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(start.elapsed(), PATIENCE);
        drop(near);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_starts_anew() {
        let (mut far, near) = duplex(16);
        let mut near = Stall::new(near, PATIENCE);
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
}
