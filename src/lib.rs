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
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod credentials;
pub mod document;
pub mod environment;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod printable;
pub mod scrapes;
pub mod server;
pub mod store;
pub mod table;
pub mod task;
pub mod transport;
