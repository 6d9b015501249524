//! A Prometheus exporter for the long-running operations of managed cloud databases.
//!
//! # How data moves
//!
//! ```text
//! config ─► Source ─► [ request ─► sign ─► send ─► decode ]* ─► tasks ─► Ledger, Book ─► Snapshot
//!                      clouds    clouds transport clouds                 (poller)         store
//!                                                                                            │
//!               Prometheus ◄─ server ◄─ exposition ◄────────── metrics ◄─────────────────────┘
//! ```
//!
//! Arrows never turn back. What is pure is a package of its own, [`dbtask_clouds`]: it knows neither
//! network nor clock. The simulated vendors are another, which only `demo` and `simulate` need. `metrics` knows no vendor; `server` knows no metric.
//!
//! # Layout
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | What the operator writes, checked into a list of sources |
//! | [`credentials`] | Where keys come from |
//! | [`reading`] | Reads small files in bounded time |
//! | [`files`] | Small files that may change while the exporter runs |
//! | [`transport`] | `Transport`, the crate's only trait, and the network behind it |
//! | [`proxy`] | Which proxy of the environment a host is asked through. Pure |
//! | [`clock`] | The only place that asks what time it is |
//! | [`tally`] | How many calls a source has made today |
//! | [`budget`] | How many calls an account may make in a day, and who gets the last of them |
//! | [`vendor_clock`] | What time it is by a vendor, as its answers tell |
//! | [`pace`] | Token buckets and backoff |
//! | [`guard`] | Keeps keys that are refused from being locked |
//! | [`caller`] | `Caller`: one query, admitted, signed, sent and decoded |
//! | [`check`] | One question to each source, and what its answer proves |
//! | [`discovery`] | Which clusters there are, looked for at an interval of its own |
//! | [`coverage`] | Over which time tasks have been seen, and where there are gaps |
//! | [`retries`] | Which clusters, instances and ids fail, and when each is asked again. Pure |
//! | [`source`] | `Source`: one API, account and region; `fetch` is one poll |
//! | [`progress`] | What a poll tells while it lasts, and how it goes on where it was throttled |
//! | [`watchlist`] | The task ids that a source asks for besides what the vendor lists |
//! | [`tasks_file`] | Keeps a watchlist as the source's tasks file has it |
//! | [`journal`] | What survives a restart: rows in one SQLite file |
//! | [`registration`] | `Registrations`: the task ids that people register at run time, and for how long |
//! | [`ledger`] | Which ends of tasks have been counted |
//! | [`estimate`] | When a running task should end, from the vendor's word or its pace. Pure |
//! | [`book`] | What is kept of a source's tasks, what is unknown, what is forgotten |
//! | [`tenant`] | Whose tasks a source shows: another project or account is another source |
//! | [`texts`] | The error texts of failed tasks, asked for between polls |
//! | [`transition`], [`trouble`] | What of tasks and of polls is worth a line in the log. Pure |
//! | [`counts`] | Counters of ended tasks, served at 0 before they are served at more |
//! | [`poller`] | `Poller`: fetch, enter, publish, wait |
//! | [`store`] | The latest `Snapshot` of every source |
//! | [`metrics`] | `FAMILIES`: every metric, one row each; tables, rendering, compression |
//! | [`scrapes`] | Who scrapes, how often, and what they have been served |
//! | [`server`] | `/metrics`, health, JSON, status page |
//! | [`exporter`] | `Exporter`: all of the above for one configuration after the other, until told to stop |
//! | [`healthcheck`] | Asks a running exporter how it is, for container engines and clusters |
//! | [`reload`] | `Reload`: asks for the configuration to be read again |
//! | [`sabotage`] | Bugs that the simulation plants; nothing at all in a release |
//! | [`cli`], [`environment`], [`listen`], [`log`], [`table`], [`printable`] | Flags and subcommands; the environment, ports, log lines and tables as people see them |

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

pub mod book;
pub mod budget;
pub mod caller;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counts;
pub mod coverage;
pub mod credentials;
pub mod discovery;
pub mod environment;
pub mod estimate;
pub mod exporter;
pub mod files;
pub mod guard;
pub mod healthcheck;
pub mod journal;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod pace;
pub mod poller;
pub mod printable;
pub mod progress;
pub mod proxy;
pub mod reading;
pub mod registration;
pub mod reload;
pub mod retries;
pub mod sabotage;
pub mod scrapes;
pub mod server;

pub mod source;
pub mod store;
pub mod table;
pub mod tally;
pub mod tasks_file;
pub mod tenant;
pub mod texts;
pub mod transition;
pub mod transport;
pub mod trouble;
pub mod vendor_clock;
pub mod watchlist;
