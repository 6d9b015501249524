//! `World`: what exists in a simulated region, and what its vendor answers to a request.

use std::sync::Arc;

use bytes::Bytes;
use dbtask_clouds::api::{Target, TaskApi};
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Resource, Task, Timestamp};
use http::{Request, Response};

use crate::{alibaba, huawei, tencent};

/// What exists in a simulated region.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The time there.
    pub now: Timestamp,
    /// Where it is: region, project and the zone of its times are the vendor's to know.
    pub target: &'a Target,
    /// Clusters or instances.
    pub resources: &'a [Arc<Resource>],
    /// Tasks, newest first.
    pub tasks: &'a [Task],
}

impl World<'_> {
    /// What the service of `api` answers to a request that is let in; `None` if it does not know what
    /// is asked.
    pub fn answer(&self, api: &TaskApi, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        match api.facts.cloud {
            Cloud::Alibaba => alibaba::answer(api.facts.service, request, self),
            Cloud::Huawei => huawei::answer(api, request, self),
            Cloud::Tencent => tencent::answer(api.facts.service, request, self),
        }
    }
}
