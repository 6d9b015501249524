//! What answers are made of.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;

use super::content::Content;

/// What is sent back.
pub(super) type Answer = Response<Content>;

const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// What is answered where there is no memory for more.
pub(super) fn no_room() -> Answer {
    let sentence = "too many answers are being read; try again\n";
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, sentence);
    set(&mut answer, RETRY_AFTER, "1");
    answer
}

/// An answer that is not kept: the next may differ.
pub(super) fn fresh(mut answer: Answer) -> Answer {
    set(&mut answer, CACHE_CONTROL, "no-store");
    answer
}

pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    full(status, TEXT, text)
}

pub(super) fn json(status: StatusCode, text: Vec<u8>) -> Answer {
    full(status, JSON, text)
}

pub(super) fn full(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    answer_with(status, content_type, Content::Whole(body.into()))
}

pub(super) fn answer_with(
    status: StatusCode,
    content_type: &'static str,
    content: Content,
) -> Answer {
    let length = content.size_hint().exact();
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, content_type);
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    answer
}

pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}
