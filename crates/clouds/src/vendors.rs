//! What every vendor does in its own way: requests, signatures, refusals.

use bytes::Bytes;
use http::{Request, Response};

use crate::api::{Query, Target};
use crate::cloud::{AccessKeys, Cloud};
use crate::refusal::Refusal;
use crate::signing::{Signing, SigningError, Steps};
use crate::{alibaba, huawei, tencent};

impl Cloud {
    /// The unsigned request for a query.
    pub fn request(self, target: &Target, query: &Query) -> Request<Bytes> {
        match self {
            Self::Alibaba => alibaba::request(target, query),
            Self::Huawei => huawei::request(target, query),
            Self::Tencent => tencent::request(target, query),
        }
    }

    /// Adds to `request` the headers that authenticate it, in place of any that it had. The URI must
    /// be absolute: its authority is the host that is signed and sent. The query must be in
    /// canonical form already, as the builders in this module leave it.
    pub fn sign(
        self,
        request: &mut Request<Bytes>,
        signing: &Signing<'_>,
    ) -> Result<(), SigningError> {
        match self {
            Self::Alibaba => alibaba::signature::sign(request, signing),
            Self::Huawei => huawei::signature::sign(request, signing),
            Self::Tencent => tencent::signature::sign(request, signing),
        }
    }

    /// The signature of `request` as it stands, over the headers named in `signed`, in any order:
    /// its host, time and content hash are those in its headers. `service` is for Tencent alone.
    pub fn steps(
        self,
        request: &Request<Bytes>,
        signed: &[&str],
        service: &str,
        keys: &AccessKeys,
    ) -> Steps {
        match self {
            Self::Alibaba => alibaba::signature::steps(request, signed, keys),
            Self::Huawei => huawei::signature::steps(request, signed, keys),
            Self::Tencent => tencent::signature::steps(request, signed, service, keys),
        }
    }

    /// The vendor's refusal, if that is what `response` is; `None` for an answer worth decoding. Where
    /// services mean different things by one code, what most of them mean: see
    /// [`refusal_of`](Self::refusal_of).
    pub fn refusal(self, response: &Response<Bytes>) -> Option<Refusal> {
        self.refusal_of("", response)
    }

    /// The refusal of a `service`, as hosts and signatures spell it, if that is what `response` is.
    pub fn refusal_of(self, service: &str, response: &Response<Bytes>) -> Option<Refusal> {
        match self {
            Self::Alibaba => alibaba::signature::refusal(response),
            Self::Huawei => huawei::signature::refusal(response),
            Self::Tencent => tencent::refusals::refusal(service, response),
        }
    }
}
