//! Registering a task id, taking it back, and looking at one task.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::content::Content;
use super::response::{Answer, json};
use super::token::Denied;
use super::{App, BODY_TIMEOUT, MAX_BODY_BYTES, Registering, json};
use crate::track::registrations::{Kept, Refusal};

/// What `POST /api/v1/tasks` takes: never where to ask, nor in whose name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    source: String,
    id: String,
    resource: Option<String>,
}

/// An answer that is no success.
struct Refused {
    status: StatusCode,
    sentence: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { status, sentence: sentence.into(), header: None }
    }
}

/// `POST /api/v1/tasks`.
pub(super) async fn post(app: &App, peer: IpAddr, request: Request<Incoming>) -> Answer {
    answer(app, register(app, peer, request).await)
}

/// `DELETE /api/v1/tasks/{source}/{id}`.
pub(super) async fn delete(
    app: &App,
    peer: IpAddr,
    headers: &HeaderMap,
    source: &str,
    id: &str,
) -> Answer {
    answer(app, forget(app, peer, headers, source, id).await)
}

/// `GET /api/v1/tasks/{source}/{id}`.
pub(super) fn get(app: &App, source: &str, id: &str) -> Answer {
    let snapshot = app.store.snapshot(source);
    let tracked = snapshot.as_ref().and_then(|snapshot| snapshot.task(id));
    let registering = app.registering.load();
    let registration = registering.as_ref().and_then(|it| it.registrations.get(source, id));
    if tracked.is_none() && registration.is_none() {
        return json(StatusCode::NOT_FOUND, json::error("no such task is known or registered"));
    }
    let mut answer = json(StatusCode::OK, json::task(source, id, tracked, registration.as_ref()));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn answer(app: &App, outcome: Result<Answer, Refused>) -> Answer {
    if let Some(registering) = &*app.registering.load() {
        registering.registrations.request_answered(outcome.is_ok());
    }
    outcome.unwrap_or_else(|refused| {
        let mut answer = json(refused.status, json::error(&refused.sentence));
        answer.headers_mut().extend(refused.header);
        answer
    })
}

async fn register(app: &App, peer: IpAddr, request: Request<Incoming>) -> Result<Answer, Refused> {
    let registering = allowed(app, peer, request.headers()).await?;
    let Body { source, id, resource } = read(request).await?;
    let registrations = &registering.registrations;
    let registered = registrations
        .register(&source, &id, resource.as_deref())
        .await
        .map_err(|refusal| refused(&refusal, StatusCode::BAD_REQUEST))?;
    let status = if registered.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let warning = warning(registered.kept);
    let text = json::registered(&source, &id, &registered.registration, warning);
    let mut answer = json(status, text);
    // Of what names and ids are made of nothing has to be escaped.
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/tasks/{source}/{id}")) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

async fn forget(
    app: &App,
    peer: IpAddr,
    headers: &HeaderMap,
    source: &str,
    id: &str,
) -> Result<Answer, Refused> {
    let registering = allowed(app, peer, headers).await?;
    let forgotten = registering.registrations.forget(source, id).await;
    match forgotten.map_err(|refusal| refused(&refusal, StatusCode::NOT_FOUND))? {
        // Without a journal there is nothing that could bring it back.
        Kept::Durably | Kept::InMemory => {
            let mut answer = Answer::new(Content::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        Kept::InMemoryForNow => Ok(json(StatusCode::OK, json::warning(IN_MEMORY_FOR_NOW))),
    }
}

const IN_MEMORY_FOR_NOW: &str = "the journal cannot be written at present: if the exporter is \
                                 restarted before it can, this change is lost";

/// What somebody should know whose registration succeeds.
fn warning(kept: Kept) -> Option<&'static str> {
    match kept {
        Kept::Durably => None,
        Kept::InMemoryForNow => Some(IN_MEMORY_FOR_NOW),
        Kept::InMemory => {
            Some("kept in memory only: without --storage.path a restart of the exporter forgets it")
        }
    }
}

fn refused(refusal: &Refusal, unknown_source: StatusCode) -> Refused {
    let status = match refusal {
        Refusal::UnknownSource(_) => unknown_source,
        Refusal::Unaskable(_) => StatusCode::BAD_REQUEST,
        Refusal::Full(_) => StatusCode::CONFLICT,
        Refusal::Closed => StatusCode::FORBIDDEN,
    };
    Refused::new(status, refusal.to_string())
}

/// Where to register, if whoever asks may. Until then nothing of the body is read, and nothing of
/// the configuration told.
async fn allowed(
    app: &App,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<Arc<Registering>, Refused> {
    let Some(registering) = app.registering.load_full() else {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "task ids cannot be registered here: the configuration has no `registration` with a \
             `token_file`",
        ));
    };
    let unauthorized = |sentence: &'static str, challenge| Refused {
        header: Some((WWW_AUTHENTICATE, HeaderValue::from_static(challenge))),
        ..Refused::new(StatusCode::UNAUTHORIZED, sentence)
    };
    match registering.token.check(peer, headers).await {
        Ok(()) => Ok(registering),
        Err(Denied::Missing) => Err(unauthorized(
            "this takes the header `Authorization: Bearer …` with the token of \
             `registration.token_file`",
            "Bearer realm=\"dbtask-exporter\"",
        )),
        Err(Denied::Wrong) => Err(unauthorized(
            "this is not the token of `registration.token_file`",
            "Bearer realm=\"dbtask-exporter\", error=\"invalid_token\"",
        )),
        Err(Denied::TooOften(rest)) => Err(Refused {
            header: Some((RETRY_AFTER, (rest + Duration::from_secs(1)).as_secs().into())),
            ..Refused::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens have come from your address; try again in a minute",
            )
        }),
        Err(Denied::Unusable) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "`registration.token_file` cannot be used at present; the exporter's log says why",
        )),
    }
}

async fn read(request: Request<Incoming>) -> Result<Body, Refused> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON, with the header `Content-Type: application/json`",
        ));
    }
    let limit = usize::try_from(MAX_BODY_BYTES).unwrap_or(usize::MAX);
    let body = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), limit).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "a request may have 64 KiB"));
        }
        Ok(Err(_)) => {
            return Err(Refused::new(StatusCode::BAD_REQUEST, "the body broke off"));
        }
        Err(_) => {
            return Err(Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come within 10 s",
            ));
        }
    };
    let wrong = |problem: &str| {
        let like = r#"{"source": "…", "id": "…", "resource": "…"}"#;
        Refused::new(StatusCode::BAD_REQUEST, format!("{problem}; the body looks like {like}"))
    };
    // An array would do as well, if serde were asked.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("the body must be a JSON object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))
}
