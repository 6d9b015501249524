//! What is where.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, REFRESH, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use super::connections::Place;
use super::content::Content;
use super::filter::Filter;
use super::json::{Listing, Of};
use super::passwords::Rejection;
use super::response::{Answer, JSON, answer_with, fresh, full, json, plain, set};
use super::web::Terms;
use super::{App, Lifecycle, MAX_BODY_BYTES, json as api, negotiate, page, registration};
use crate::config::control::NotTaken;
use crate::metrics::Encoding;
use crate::metrics::scrapes::Scraper;

/// Pages are written two at a time, so that they take no thread from what else is done aside.
static PAGES: Semaphore = Semaphore::const_new(2);

/// Answers one request.
pub(super) async fn answer(
    app: &Arc<App>,
    peer: IpAddr,
    place: &Place,
    request: Request<Incoming>,
) -> Answer {
    let is_head = request.method() == Method::HEAD;
    let terms = app.web.current();
    let mut answer = route(app, &terms, peer, place, request).await;
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'",
        ),
    );
    for (name, value) in terms.headers() {
        headers.insert(name, value.clone());
    }
    if is_head { answer.map(|_| Content::default()) } else { answer }
}

/// Something that is served.
enum Route {
    Metrics,
    Healthy,
    Ready,
    Reload,
    Tasks,
    Task { source: String, id: String },
    Sources,
    Page,
    Style,
    Icon(&'static str),
}

impl Route {
    fn new(app: &App, path: &str) -> Option<Self> {
        Some(match path {
            path if path == app.metrics_path => Self::Metrics,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/-/reload" => Self::Reload,
            "/api/v1/tasks" => Self::Tasks,
            "/api/v1/sources" => Self::Sources,
            "/" => Self::Page,
            "/style.css" => Self::Style,
            "/icon.svg" => Self::Icon(page::ICON),
            "/icon-failed.svg" => Self::Icon(page::ICON_FAILED),
            path => {
                let (source, id) = path.strip_prefix("/api/v1/tasks/")?.split_once('/')?;
                // A slash in an id is written %2F.
                if id.contains('/') {
                    return None;
                }
                let decoded =
                    |part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
                Self::Task { source: decoded(source)?, id: decoded(id)? }
            }
        })
    }

    /// What can be done with it.
    fn methods(&self) -> &'static str {
        match self {
            Self::Tasks => "GET, HEAD, POST",
            Self::Task { .. } => "GET, HEAD, DELETE",
            Self::Reload => "POST",
            Self::Metrics
            | Self::Healthy
            | Self::Ready
            | Self::Sources
            | Self::Page
            | Self::Style
            | Self::Icon(_) => "GET, HEAD",
        }
    }
}

async fn route(
    app: &Arc<App>,
    terms: &Terms,
    peer: IpAddr,
    place: &Place,
    request: Request<Incoming>,
) -> Answer {
    let path = request.uri().path();
    let refuse = |status, sentence: &str| {
        if path.starts_with("/api/") {
            json(status, api::error(sentence))
        } else {
            plain(status, format!("{sentence}\n"))
        }
    };
    let route = Route::new(app, path);
    match admit(app, terms, peer, route.as_ref(), &request).await {
        Ok(()) => {}
        Err(Rejection::TooMany(rest)) => {
            let mut answer = refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            let seconds = rest.as_secs().saturating_add(1);
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            return answer;
        }
        Err(Rejection::Unknown) => {
            let sentence = "this takes a user and a password";
            let mut answer = refuse(StatusCode::UNAUTHORIZED, sentence);
            set(
                &mut answer,
                WWW_AUTHENTICATE,
                "Basic realm=\"dbtask-exporter\", charset=\"UTF-8\"",
            );
            return answer;
        }
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.is_some_and(|length| length.parse().is_ok_and(|length: u64| length > MAX_BODY_BYTES))
    {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "a request may have 64 KiB");
    }
    let Some(route) = route else {
        return refuse(StatusCode::NOT_FOUND, "there is nothing here");
    };
    let methods = route.methods();
    if !methods.split(", ").any(|method| method == request.method().as_str()) {
        let sentence = if matches!(route, Route::Reload) {
            "this is done by POST: curl -X POST …/-/reload".to_owned()
        } else {
            format!("only {methods}")
        };
        let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, &sentence);
        set(&mut answer, ALLOW, methods);
        return answer;
    }
    match route {
        Route::Metrics => metrics(app, peer, place, &request),
        Route::Healthy => plain(StatusCode::OK, "healthy\n"),
        Route::Ready => ready(app),
        Route::Reload => reload(app, terms).await,
        Route::Tasks if request.method() == Method::POST => {
            registration::post(app, peer, request).await
        }
        Route::Tasks => listing(app, Of::Tasks, &request),
        Route::Task { source, id } if request.method() == Method::DELETE => {
            registration::delete(app, peer, request.headers(), &source, &id).await
        }
        Route::Task { source, id } => registration::get(app, &source, &id),
        Route::Sources => listing(app, Of::Sources, &request),
        Route::Page => page(app, &request).await,
        Route::Style => full(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
        Route::Icon(icon) => full(StatusCode::OK, "image/svg+xml", icon),
    }
}

/// Whether a request is answered at all. Nobody is kept from asking for health, not even by the
/// limit: else many scrapes would be answered by a restart.
async fn admit(
    app: &App,
    terms: &Terms,
    peer: IpAddr,
    route: Option<&Route>,
    request: &Request<Incoming>,
) -> Result<(), Rejection> {
    match route {
        Some(Route::Healthy | Route::Ready) => return Ok(()),
        Some(Route::Tasks | Route::Task { .. })
            if app.registering.load().is_some()
                && matches!(*request.method(), Method::POST | Method::DELETE) =>
        {
            // The token of registration stands in for a password: one header cannot hold both.
            return terms.count();
        }
        Some(_) | None => {}
    }
    terms.count()?;
    terms.identify(peer, request.headers()).await
}

fn listing(app: &Arc<App>, of: Of, request: &Request<Incoming>) -> Answer {
    match Filter::new(request.uri().query().unwrap_or_default()) {
        Ok(filter) => {
            let begun = Listing::begin(Arc::clone(app), of, filter);
            let content = begun.map_or_else(Content::Whole, Content::Listing);
            fresh(answer_with(StatusCode::OK, JSON, content))
        }
        Err(sentence) => json(StatusCode::BAD_REQUEST, api::error(&sentence)),
    }
}

async fn page(app: &Arc<App>, request: &Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let write = move |app: &App| {
        page::page(&query, &app.store.snapshots(), &app.metrics_path, app.clock.now())
    };
    // Nobody closes it. The permit lasts until the page is written, whether it is waited for or not.
    let permit = PAGES.acquire().await.ok();
    let app = Arc::clone(app);
    let written = tokio::task::spawn_blocking(move || (write(&app), permit));
    match written.await {
        Ok((page, _permit)) => {
            let status = if page.is_good { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            let mut answer = full(status, "text/html; charset=utf-8", page.html);
            if let Some(seconds) = page.refresh_seconds {
                answer.headers_mut().insert(REFRESH, seconds.into());
            }
            fresh(answer)
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "a defect in the exporter\n"),
    }
}

fn metrics(app: &App, peer: IpAddr, place: &Place, request: &Request<Incoming>) -> Answer {
    let format = negotiate::format(request.headers());
    let encoding = negotiate::encoding(request.headers());
    if request.method() == Method::GET {
        // Before it is rendered: what is born in between has not been served.
        app.counts.scraped(Scraper::new(peer, request.headers(), place.mark()));
    }
    let scrape = app.metrics.scrape(format, encoding);
    let mut answer = Response::new(Content::Scrape(scrape.body));
    set(&mut answer, CONTENT_TYPE, format.content_type());
    set(&mut answer, VARY, "Accept, Accept-Encoding");
    if encoding == Encoding::Gzip {
        set(&mut answer, CONTENT_ENCODING, "gzip");
    }
    answer.headers_mut().insert(CONTENT_LENGTH, scrape.length.into());
    answer
}

fn ready(app: &App) -> Answer {
    if app.stopping.is_cancelled() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let waiting = app.store.awaited();
    if waiting == 0 {
        return plain(StatusCode::OK, "ready\n");
    }
    let all = app.store.snapshots().len();
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{waiting} of {all} sources not tried yet\n"))
}

/// Reads the configuration again, if that may be asked for.
async fn reload(app: &App, terms: &Terms) -> Answer {
    let Lifecycle { reload, is_open } = &app.lifecycle;
    let Some(reload) = reload.as_ref().filter(|_| *is_open || terms.asks_for_passwords()) else {
        let sentence = "the configuration cannot be reloaded in this way: that takes \
                        --web.enable-lifecycle, or passwords in --web.config.file\n";
        return plain(StatusCode::FORBIDDEN, sentence);
    };
    match reload.ask().await {
        Ok(done) => plain(StatusCode::OK, format!("reloaded: {done}\n")),
        Err(NotTaken::Stopping) => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        Err(NotTaken::Refused(problems)) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("refused, and the configuration before stays in force:\n{problems}\n"),
        ),
    }
}
