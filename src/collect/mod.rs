//! Asks the clouds: limits, budget, client, source, poller.

pub mod budget;
pub mod check;
pub mod client;
pub mod discovery;
pub mod limits;
mod parts;
pub mod poller;
pub mod progress;
mod report;
pub mod retries;
pub mod schedule;
pub mod source;
pub mod texts;
