//! alibaba

use bytes::Bytes;
use http::{Request, Response};

use super::{Refusal, Signing, SigningError};

pub(super) fn sign(
    _request: &mut Request<Bytes>,
    _signing: &Signing<'_>,
) -> Result<(), SigningError> {
    Ok(())
}

pub(super) fn refusal(_response: &Response<Bytes>) -> Option<Refusal> {
    None
}
