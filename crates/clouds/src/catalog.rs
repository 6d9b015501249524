//! The list of all APIs. Nothing else names one.

use crate::api::TaskApi;
use crate::{alibaba, huawei, tencent};

/// Every API, in the order in which documents list them.
pub static APIS: &[&TaskApi] = &[
    &alibaba::adb::API,
    &alibaba::polardb::API,
    &alibaba::history::RDS,
    &alibaba::history::POLARDB,
    &huawei::dds::API,
    &tencent::redis::API,
    &tencent::cdb::API,
];

/// The API that the configuration calls `name`.
pub fn named(name: &str) -> Option<&'static TaskApi> {
    APIS.iter().copied().find(|api| api.facts.name == name)
}
