#!/usr/bin/env bash
# Builds the program as it is released: the same sources make the same bytes, in whatever folder
# they and Cargo's registry lie.
#
#     packaging/build.sh [TARGET_FOLDER [OPTION…]]
#
# The program is then TARGET_FOLDER/release/dbtask-exporter. Cargo gets the options, such as
# --no-default-features, which leaves the commands `demo` and `simulate` out.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${1:-target/dist}")

# Paths that end up in the program: panics name their source, in Rust and in C.
rust=() c=()
map() { # path name
    rust+=("--remap-path-prefix=$1=$2")
    c+=("-ffile-prefix-map=$1=$2")
}
map "${CARGO_HOME:-$HOME/.cargo}" /cargo
map "$PWD" /dbtask-exporter
map "$target" /dbtask-exporter/target
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${rust[*]}")
export CARGO_ENCODED_RUSTFLAGS CFLAGS="${c[*]}" CARGO_INCREMENTAL=0
cargo build --quiet --release --locked --bin dbtask-exporter --target-dir "$target" "${@:2}"
