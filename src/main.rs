//! The `dbtask-exporter` program.

fn main() {}
