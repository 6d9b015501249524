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
mod api_alibaba_dts;
mod api_alibaba_history;
mod api_alibaba_instances;
mod api_alibaba_maintenance;
mod api_alibaba_oceanbase;
mod api_huawei;
mod api_huawei_drs;
mod api_huawei_dws;
mod api_huawei_jobs;
mod api_huawei_lists;
mod api_huawei_scheduled;
mod api_tencent;
mod api_tencent_more;
mod budget;
mod check_online;
mod child;
mod clocks;
mod config;
mod connections;
mod counting;
mod coverage;
mod credentials;
mod crowd;
mod discovery;
mod docs;
mod documented;
mod estimates;
mod exposed;
mod exposition;
mod golden;
mod healthcheck;
mod journal;
mod keeping;
mod keys;
mod kill;
mod logs;
mod manual;
mod page;
mod permissions;
mod poller;
mod process;
mod proxy;
mod quota;
mod quoted;
mod refusals;
mod refused_keys;
mod registration;
mod reload;
mod resources;
mod restart;
mod rooms;
mod secrets;
mod server;
mod signing;
mod simulator;
mod storage;
mod support;
mod tasks_file;
mod tencent_polls;
mod texts;
mod token_services;
mod trouble;
mod unreadable;
mod vanished;
mod web;
mod web_keys;
