//! The task APIs of managed cloud databases: what is asked, how it is signed, what the answers mean.
//!
//! Everything here is pure. There is no network, no clock and no file: time and nonce are arguments.
//!
//! ```text
//! Scope ─► list ─► Query ─► request ─► sign ─► (sent by the caller) ─► refusal? ─► decode ─► Page
//!          API              vendor     vendor                          vendor       API
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`model`] | `Task`, the one model that every cloud is mapped to |
//! | [`api`] | The contract: `TaskApi`, `Query`, `Page` |
//! | [`catalog`] | `APIS`, the list of them |
//! | [`alibaba`], [`huawei`], [`tencent`] | One folder for each vendor: signature, envelope, and one file for each API |
//! | [`cloud`] | `Cloud`, the vendors, and their credentials |
//! | [`signing`] | Hashes, headers and query strings in the forms that signatures use |
//! | [`refusal`] | A vendor's "no", and what kind of "no" it is |
//! | [`reason`] | Why a request or a poll failed, as one word |
//! | [`transport`] | `Transport`: how a request reaches a cloud, real or simulated |
//! | [`endpoints`] | Where an API answers, by region |
//! | [`ids`] | Which ids people may give |
//! | [`paging`] | The pages of a list, and whether all of them have been read |
//! | [`document`], [`wire`] | JSON and XML as one tree, and fields read from it |
//! | [`redaction`] | Removes our secrets from what vendors answer |
//! | [`policy`] | The permissions that the APIs need, as documents to paste |

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

pub mod alibaba;
pub mod api;
pub mod catalog;
pub mod cloud;
pub mod document;
pub mod endpoints;
pub mod huawei;
pub mod ids;
pub mod model;
pub mod paging;
pub mod policy;
pub mod reason;
pub mod redaction;
pub mod refusal;
pub mod signing;
pub mod tencent;
pub mod transport;
mod vendors;
pub mod wire;
