#!/usr/bin/env bash
# The same sources in another folder make the same program, and so do those that a build of the
# container image is given: `build` makes the second one, `compare` holds it against that of the release.
set -euo pipefail
cd "$(dirname "$0")/.."
build() {
    local copy=$PWD/target/reproduced/sources
    # What git knows and .dockerignore lets through, as it is in the working tree. Files keep their
    # times, so that a second run builds nothing anew.
    [ "$(head -n 1 .dockerignore)" = '*' ] || { echo ".dockerignore is not a list of what is let through"; exit 1; }
    local context
    mapfile -t context < <(sed -n 's/^!//p' .dockerignore)
    rm -rf "$copy"
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard -- "${context[@]}" |
        tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory "$copy"
    "$copy/packaging/build.sh" "$PWD/target/reproduced/target"
}
compare() {
    cmp target/dist/release/dbtask-exporter target/reproduced/target/release/dbtask-exporter
    if grep -aqF "$PWD" target/dist/release/dbtask-exporter; then
        echo "the program holds the path of the folder that it was built in"
        exit 1
    fi
    sha256sum target/dist/release/dbtask-exporter target/reproduced/target/release/dbtask-exporter
}
case ${1:-} in
build | compare) "$1" ;;
*) build && compare ;;
esac
