//! The machine: clock, environment, files, network, log.

pub mod clock;
pub mod environment;
pub mod files;
pub mod listen;
pub mod log;
pub mod network;
pub mod printable;
pub mod proxy;
pub mod reading;
pub mod sabotage;
pub mod vendor_clock;
