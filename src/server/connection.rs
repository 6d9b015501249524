//! One connection: TLS where that is configured, then HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connections::{MAX_UNDER_WAY, Place};
use super::content::Sent;
use super::stall::Stall;
use super::{App, HEADER_TIMEOUT, MAX_HEADER_BYTES, MAX_STREAMS, READER_TIMEOUT, response, routes};

/// How much is read ahead on a connection of HTTP/1.1, and how much of an answer is held for it
/// besides what is being sent.
const BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;
/// How much of what is sent over TLS is encrypted ahead.
const TLS_BUFFER_BYTES: usize = 16 * 1024;
/// How much of an answer is held for a stream of HTTP/2, besides what is being sent.
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// How much may come on a connection of HTTP/2, or on one of its streams, before it is read.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Requests that a client of HTTP/2 may take back before they are looked at, and faults that it may
/// be told of, before its connection ends.
const MAX_RESETS: usize = 20;
/// The first byte of a TLS connection: a record with a handshake.
const TLS_HANDSHAKE: u8 = 22;
/// What whoever speaks HTTP to a port with TLS is told.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\ncontent-type: text/plain\r\n\r\n\
                         this port takes https, not http\n";

/// Serves one connection. It ends soon after `shutdown`, or once another web configuration is in
/// force than the one that it was made under, or when its place is needed.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    place: Place,
    app: Arc<App>,
    shutdown: CancellationToken,
) {
    let place = Arc::new(place);
    tokio::select! {
        () = place.closed() => tracing::debug!(%peer, "a connection is closed to make room"),
        () = serve_to_its_end(stream, peer, &place, app, shutdown) => {}
    }
}

async fn serve_to_its_end(
    stream: TcpStream,
    peer: IpAddr,
    place: &Arc<Place>,
    app: Arc<App>,
    shutdown: CancellationToken,
) {
    let terms = app.web.current();
    let stop = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = terms.superseded() => {}
        }
    };
    let Some(tls) = terms.tls() else { return http1(stream, peer, place, app, stop).await };
    let handshake = timeout(HEADER_TIMEOUT, handshake(stream, Arc::clone(tls)));
    match shutdown.run_until_cancelled(handshake).await {
        None => {}
        Some(Err(_)) => tracing::debug!(%peer, "a TLS handshake took too long"),
        Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "a TLS handshake broke off"),
        Some(Ok(Ok(stream))) => {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, peer, place, app, stop).await;
            } else {
                http1(stream, peer, place, app, stop).await;
            }
        }
    }
}

async fn handshake(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? > 0 && first != [TLS_HANDSHAKE] {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("it does not speak TLS"));
    }
    let mut stream = TlsAcceptor::from(config).accept(stream).await?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    Ok(stream)
}

/// HTTP/1.1 on whatever carries it.
pub(super) async fn http1<IO>(
    stream: IO,
    peer: IpAddr,
    place: &Arc<Place>,
    app: Arc<App>,
    stop: impl Future<Output = ()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request| exchange(&app, peer, place, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stall::http1(stream, Arc::clone(place))), service);
    drive(connection, http1::Connection::graceful_shutdown, peer, stop).await;
}

/// HTTP/2 on whatever carries it.
async fn http2<IO>(
    stream: IO,
    peer: IpAddr,
    place: &Arc<Place>,
    app: Arc<App>,
    stop: impl Future<Output = ()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_streams = Arc::clone(place);
    let service = service_fn(move |request| {
        let (app, place) = (Arc::clone(&app), Arc::clone(&of_streams));
        async move { exchange(&app, peer, &place, request).await }
    });
    let connection = http2::Builder::new(Streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stall::http2(stream, Arc::clone(place))), service);
    drive(connection, http2::Connection::graceful_shutdown, peer, stop).await;
}

/// Runs each request of HTTP/2, for no longer than an answer may take: a client that takes none of
/// it writes and reads nothing that [`Stall`] could see.
#[derive(Clone, Debug)]
struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(timeout(READER_TIMEOUT, stream));
    }
}

/// One request and its answer.
async fn exchange(
    app: &Arc<App>,
    peer: IpAddr,
    place: &Arc<Place>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let mut under_way = place.begin();
    let answer = routes::answer(app, peer, place, request).await;
    let bytes = answer.body().held_bytes();
    let of_old_ones = app.metrics.bytes_of_old_ones().saturating_sub(MAX_UNDER_WAY);
    let has_room = under_way.holds(bytes, of_old_ones);
    let answer = if has_room { answer } else { response::no_room() };
    Ok(answer.map(|content| Sent::new(content, under_way)))
}

/// Runs a connection to its end, which comes after the answers under way once `stop` does.
async fn drive<C>(
    connection: C,
    say_goodbye: impl FnOnce(Pin<&mut C>),
    peer: IpAddr,
    stop: impl Future<Output = ()>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            say_goodbye(connection.as_mut());
            match timeout(READER_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(%peer, "a connection does not end; it is closed"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::super::connections::Connections;
    use super::super::tests::app;
    use super::super::{IDLE_TIMEOUT, MAX_READ_BYTES};
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// The client's end of a connection to an exporter without a source, and the server's task.
    fn connect(is_http2: bool) -> (DuplexStream, JoinHandle<()>) {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = duplex(16 * 1024);
        let app = app(folder.path().join("token"));
        let place = Arc::new(Arc::new(Connections::with_room_for(1)).enter(PEER));
        let served = tokio::spawn(async move {
            if is_http2 {
                http2(far, PEER, &place, app, pending()).await;
            } else {
                http1(far, PEER, &place, app, pending()).await;
            }
        });
        (near, served)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_over_two_scrapes_a_minute_apart_and_more() {
        let (mut near, served) = connect(false);
        for pause in [0, 60, 120, 300] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            near.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"healthy\n") {
                assert!(near.read_buf(&mut answer).await.unwrap() > 0, "closed after {pause} s");
            }
        }
        let asked = Instant::now();
        assert_eq!(near.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        served.await.unwrap();
        assert_eq!(asked.elapsed(), IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_does_not_keep_a_connection() {
        for pause in [0, 60] {
            let (mut near, served) = connect(false);
            if pause > 0 {
                near.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"healthy\n") {
                    near.read_buf(&mut answer).await.unwrap();
                }
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            let begun = Instant::now();
            near.write_all(b"GET /metrics HTTP/1.1\r\nho").await.unwrap();
            near.read_to_end(&mut Vec::new()).await.unwrap();
            served.await.unwrap();
            assert_eq!(begun.elapsed(), HEADER_TIMEOUT);
        }
    }

    type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

    async fn connect_http2(window: u32) -> (Client, JoinHandle<hyper::Result<()>>, JoinHandle<()>) {
        let (near, served) = connect(true);
        let (client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(near))
            .await
            .unwrap();
        (client, tokio::spawn(connection), served)
    }

    fn get(path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://here{path}")).body(Empty::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http2_without_requests_ends_as_others_do() {
        let (mut client, connection, served) = connect_http2(65_535).await;
        for _ in 0..3 {
            tokio::time::sleep(HEADER_TIMEOUT / 2).await;
            let answer = client.send_request(get("/-/healthy")).await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
        }
        let asked = Instant::now();
        served.await.unwrap();
        assert_eq!(asked.elapsed().as_secs(), IDLE_TIMEOUT.as_secs());
        let _ = connection.await.unwrap();

        let (_client, connection, served) = connect_http2(65_535).await;
        let begun = Instant::now();
        served.await.unwrap();
        assert_eq!(begun.elapsed(), HEADER_TIMEOUT);
        let _ = connection.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_a_stream_of_http2_does_not_take_is_given_up() {
        let (mut client, _connection, served) = connect_http2(0).await;
        let asked = Instant::now();
        let answer = client.send_request(get("/metrics")).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap_err();
        assert_eq!(asked.elapsed(), READER_TIMEOUT);
        // That was all; the connection is idle now.
        served.await.unwrap();
        assert_eq!(asked.elapsed(), READER_TIMEOUT + IDLE_TIMEOUT);
    }

    /// A frame of HTTP/2.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn floods_of_http2_end_their_connection_at_once() {
        // GET / of the authority `a`, in three entries of the static table and a literal one.
        let head = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
        let resets = (0..1000_u32).flat_map(|number| {
            let stream = 2 * number + 1;
            let cancel = 8_u32.to_be_bytes();
            [frame(1, 0x4 | 0x1, stream, &head), frame(3, 0, stream, &cancel)].concat()
        });
        let pings = (0..=MAX_READ_BYTES / 17).flat_map(|_| frame(6, 0, 0, &[0; 8]));
        for flood in [resets.collect::<Vec<_>>(), pings.collect()] {
            let (near, served) = connect(true);
            let begun = Instant::now();
            let (mut read, mut write) = tokio::io::split(near);
            tokio::spawn(async move {
                let hello =
                    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
                let _ = write.write_all(&hello).await;
                let _ = write.write_all(&flood).await;
                pending::<()>().await;
            });
            let _ = read.read_to_end(&mut Vec::new()).await;
            served.await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    }
}
