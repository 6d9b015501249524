//! The two ways to reach the simulated clouds: over HTTP, and without a network.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::transport::{self, Sending, Transport, TransportError};
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::SimulatedCloud;
use super::fault::PATIENCE;
use super::gateway::{Delivery, Reaction};

/// The vendors take bodies of 10 to 12 MB; none of the calls here needs a hundredth of it.
const MAX_BODY_BYTES: usize = 10 << 20;

impl SimulatedCloud {
    /// Answers on `listener` until `shutdown`. All clouds share the address.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely; they come back.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let cloud = Arc::clone(&self);
            connections.spawn(async move {
                let service = service_fn(move |request| exchange(Arc::clone(&cloud), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
        }
    }
}

impl Transport for SimulatedCloud {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(async move {
            let Reaction { response, delay, delivery, .. } = self.react(&addressed(request));
            tokio::time::sleep(delay.min(PATIENCE)).await;
            match delivery {
                Delivery::Never => {
                    tokio::time::sleep(PATIENCE.saturating_sub(delay)).await;
                    Err(TransportError::Timeout)
                }
                _ if delay >= PATIENCE => Err(TransportError::Timeout),
                Delivery::Reset => Err(TransportError::Network("connection reset".to_owned())),
                Delivery::Cut => Err(TransportError::Body("the body ended early".to_owned())),
                Delivery::Whole if response.body().len() <= transport::MAX_BODY_BYTES => {
                    Ok(response)
                }
                Delivery::Whole | Delivery::Endless => {
                    Err(TransportError::Body("the body is too long".to_owned()))
                }
            }
        })
    }
}

/// One request over HTTP. An error closes the connection.
async fn exchange(
    cloud: Arc<SimulatedCloud>,
    request: Request<Incoming>,
) -> io::Result<Response<Answer>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(io::Error::other)?;
    let Reaction { response, delay, delivery, .. } =
        cloud.react(&addressed(Request::from_parts(head, body.to_bytes())));
    tokio::time::sleep(delay).await;
    match delivery {
        Delivery::Never => std::future::pending().await,
        Delivery::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
        Delivery::Whole | Delivery::Cut | Delivery::Endless => {}
    }
    Ok(response.map(|body| Answer::new(body, delivery)))
}

/// The request in one form, however it came: an absolute URI and a `Host` that agree.
fn addressed(mut request: Request<Bytes>) -> Request<Bytes> {
    let host = match request.headers().get(HOST) {
        Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        None => request.uri().authority().map(ToString::to_string).unwrap_or_default(),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(uri) = format!("http://{host}{path}").parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    request
}

/// A body as it goes over the wire, whole or not.
#[derive(Debug)]
struct Answer {
    first: Option<Bytes>,
    length: Option<u64>,
    then: Then,
}

/// What follows the first part of a body.
#[derive(Debug)]
enum Then {
    End,
    /// The connection ends, once what was sent has had time to leave.
    Break(Pin<Box<Sleep>>),
    Blanks,
}

impl Answer {
    fn new(body: Bytes, delivery: Delivery) -> Self {
        let length = Some(body.len() as u64);
        match delivery {
            Delivery::Cut => {
                let first = Some(body.slice(..body.len() / 2));
                let soon = tokio::time::sleep(Duration::from_millis(50));
                Self { first, length, then: Then::Break(Box::pin(soon)) }
            }
            Delivery::Endless => {
                // Without its last byte, so that no reader finds an end in it.
                let first = Some(body.slice(..body.len().saturating_sub(1)));
                Self { first, length: None, then: Then::Blanks }
            }
            Delivery::Whole | Delivery::Never | Delivery::Reset => {
                Self { first: Some(body), length, then: Then::End }
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        static BLANKS: [u8; 16 << 10] = [b' '; 16 << 10];
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.then {
            Then::End => Poll::Ready(None),
            Then::Break(soon) => soon
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(io::ErrorKind::ConnectionAborted.into()))),
            Then::Blanks => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLANKS))))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
