//! One connection: TLS where that is configured, then HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::stall::Stall;
use super::{App, HEADER_TIMEOUT, MAX_HEADER_BYTES, READER_TIMEOUT, routes};

/// How much of an answer is held for a connection besides what is being sent.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Requests at a time on one connection of HTTP/2: more than a browser makes here.
const MAX_STREAMS: u32 = 16;
/// The first byte of a TLS connection: a record with a handshake.
const TLS_HANDSHAKE: u8 = 22;
/// What whoever speaks HTTP to a port with TLS is told.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\ncontent-type: text/plain\r\n\r\n\
                         this port takes https, not http\n";

/// Serves one connection. It ends soon after `shutdown`, or once another web configuration is in
/// force than the one that it was made under.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
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
    let Some(tls) = terms.tls() else { return http1(stream, peer, app, stop).await };
    let handshake = timeout(HEADER_TIMEOUT, handshake(stream, Arc::clone(tls)));
    match shutdown.run_until_cancelled(handshake).await {
        None => {}
        Some(Err(_)) => tracing::debug!(%peer, "a TLS handshake took too long"),
        Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "a TLS handshake broke off"),
        Some(Ok(Ok(stream))) => {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, peer, app, stop).await;
            } else {
                http1(stream, peer, app, stop).await;
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
    TlsAcceptor::from(config).accept(stream).await
}

/// HTTP/1.1 on whatever carries it.
pub(super) async fn http1<IO>(
    stream: IO,
    peer: IpAddr,
    app: Arc<App>,
    stop: impl Future<Output = ()>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(routes::answer(app, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(WRITE_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stall::new(stream, READER_TIMEOUT)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log(peer, ended);
}

/// HTTP/2 on whatever carries it. As with HTTP/1.1, a connection without a request for
/// [`HEADER_TIMEOUT`] ends, and its answers get no longer than [`READER_TIMEOUT`] then.
async fn http2<IO>(stream: IO, peer: IpAddr, app: Arc<App>, stop: impl Future<Output = ()>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = watch::Sender::new(());
    let mut asked = requests.subscribe();
    let service = service_fn(move |request| {
        requests.send_replace(());
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(routes::answer(app, peer, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(WRITE_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stall::new(stream, READER_TIMEOUT)), service);
    let mut connection = std::pin::pin!(connection);
    let idle = async { while let Ok(Ok(())) = timeout(HEADER_TIMEOUT, asked.changed()).await {} };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = stop => {} () = idle => {} } } => {
            connection.as_mut().graceful_shutdown();
            match timeout(READER_TIMEOUT, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(%peer, "a connection does not end; it is closed"),
            }
        }
    };
    log(peer, ended);
}

fn log(peer: IpAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::super::tests::app;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http2_without_requests_ends_as_others_do() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = duplex(1024);
        let app = app(folder.path().join("token"));
        tokio::spawn(http2(far, IpAddr::from([127, 0, 0, 1]), app, pending()));
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..3 {
            tokio::time::sleep(HEADER_TIMEOUT / 2).await;
            let request = Request::get("http://here/-/healthy").body(Empty::<Bytes>::new());
            assert_eq!(client.send_request(request.unwrap()).await.unwrap().status(), 200);
        }
        let asked = Instant::now();
        connection.await.unwrap().unwrap();
        assert_eq!(asked.elapsed().as_secs(), HEADER_TIMEOUT.as_secs());
    }
}
