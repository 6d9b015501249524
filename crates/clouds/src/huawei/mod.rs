//! HUAWEI CLOUD and Open Telekom Cloud.

pub(crate) mod dds;
pub mod signature;
