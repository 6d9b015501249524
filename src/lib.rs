//! A Prometheus exporter for the long-running operations of managed cloud databases.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that cannot go on should stop"
    )
)]

pub mod api;
pub mod clock;
pub mod cloud;
pub mod document;
pub mod simulator;
pub mod store;
pub mod task;
pub mod transport;
