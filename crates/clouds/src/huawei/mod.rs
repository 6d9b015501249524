//! HUAWEI CLOUD and Open Telekom Cloud.

pub mod dds;
pub mod signature;
