//! HUAWEI CLOUD: paths, their parameters, and answers.

mod dds;
pub(crate) mod gateway;

use bytes::Bytes;
use http::{Request, Response};

use crate::World;

/// The answer of a service; `None` for a path that it does not have.
pub(crate) fn answer(
    service: &str,
    request: &Request<Bytes>,
    world: &World<'_>,
) -> Option<Response<Bytes>> {
    match service {
        "dds" => dds::answer(request, world),
        _ => None,
    }
}
