//! Asks the clouds: limits, budget, client, source, poller.

pub mod budget;
pub mod check;
pub mod client;
pub mod discovery;
pub mod limits;
pub mod poller;
pub mod progress;
pub mod retries;
pub mod source;
pub mod texts;
