#!/usr/bin/env bash
# The simulation, with its own flags (--seeds 1000, …), or only built (--build), as
# target/debug/examples/simulate. It shares every dependency with the other tests: only what is
# simulated is compiled in its own way.
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--quiet --locked --profile test --features sabotage --example simulate)
# What makes up a line of Cargo.toml elsewhere, for this build alone.
for package in dbtask-exporter dbtask-clouds dbtask-simulator; do
    options+=(--config "profile.test.package.$package.opt-level=1")
done
if [ "${1:-}" = --build ]; then
    cargo build "${options[@]}"
else
    cargo run "${options[@]}" -- "$@"
fi
