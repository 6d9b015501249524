//! What the exporter promises, one file per promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should stop; tests own their clocks and environment"
)]

mod api_alibaba;
mod api_huawei;
mod api_tencent;
mod config;
mod docs;
mod exposed;
mod exposition;
mod golden;
mod poller;
mod process;
mod refusals;
mod restart;
mod server;
mod signing;
mod simulator;
mod support;
mod trouble;
