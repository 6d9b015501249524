//! A Prometheus exporter for the long-running operations of managed cloud databases.
//!
//! # How data moves
//!
//! ```text
//! config ─► fleet ─► poller ─► source ─► client [ request ─► sign ─► send ─► decode ]* ─► findings
//!                      │                                                                     │
//!                      └─────────────────── Tracker::enter(findings, now) ◄──────────────────┘
//!                                            │ tasks, completions, coverage
//!                                            ├─► rows ─► storage
//!                                            ├─► counters ─► metrics
//!                                            └─► Snapshot ─► store ─► metrics ─► server ─► Prometheus
//! ```
//!
//! What is pure is a package of its own, [`dbtask_clouds`]: the model, and the vendors' APIs with
//! their signatures. It knows neither network nor clock. The simulated vendors are another, which
//! only the commands `demo` and `simulate` need. Every room may import `dbtask_clouds`.
//!
//! # Rooms
//!
//! Arrows never turn back. A test compares every `use` with this table.
//!
//! | room | what it holds | imports |
//! | --- | --- | --- |
//! | [`platform`] | The machine: clock, environment, files, network, log | - |
//! | [`snapshot`] | What each source looked like at its last poll, and the newest of each | - |
//! | [`credentials`] | Where keys come from, and what keeps refused ones from being locked | platform |
//! | [`config`] | What the operator writes, and handing over a new one | credentials platform |
//! | [`metrics`] | Families, instruments, text and compression | snapshot platform |
//! | [`storage`] | What survives a restart: rows in one SQLite file | metrics platform |
//! | [`track`] | What is known between polls: tasks, completions, counters, coverage, watched ids | storage metrics snapshot platform |
//! | [`collect`] | Asks the clouds: limits, budget, client, source, poller | track storage metrics config credentials snapshot platform |
//! | [`server`] | HTTP: metrics, health, JSON, status page, registration | track metrics config credentials snapshot platform |
//! | [`exporter`] | One running exporter: plan, fleet, accounts | server collect track storage metrics config credentials snapshot platform |
//! | [`cli`] | Flags and commands | exporter server collect config snapshot platform |

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

pub mod cli;
pub mod collect;
pub mod config;
pub mod credentials;
pub mod exporter;
pub mod metrics;
pub mod platform;
pub mod server;
pub mod snapshot;
pub mod storage;
pub mod track;
