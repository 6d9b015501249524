#!/usr/bin/env bash
# The program without the feature `demo`: no simulated clouds in it, and no commands for them.
#
#     tests/without-demo.sh build|check
set -euo pipefail
cd "$(dirname "$0")/.."
program=target/test-programs/without-demo
with=target/test-programs/dbtask-exporter
fail() { echo "FAILED: $*"; exit 1; }
build() {
    # With a test, so that dependencies have the features that all tests share: `cargo build` would
    # compile most of them anew.
    cargo test --quiet --locked --no-run --no-default-features --test allocations
    cp --remove-destination target/debug/dbtask-exporter $program
}
# Only the crates that are compiled in count, so the lock file does not answer this.
simulator() { cargo tree --locked --edges normal --prefix none "$@" | grep -c '^dbtask-simulator ' || true; }
check() {
    [ "$(simulator)" != 0 ] || fail "cargo tree does not show the simulator where it is"
    [ "$(simulator --no-default-features)" = 0 ] || fail "the simulator is linked into the program"
    for command in demo simulate; do
        grep -q "^  $command " <<<"$($with help)" || fail "the program with the feature has no command $command"
        ! grep -q "^  $command " <<<"$($program help)" || fail "the help lists $command"
        local status=0
        answer=$($program $command 2>&1) || status=$?
        [ $status = 2 ] && grep -qF "'$command'" <<<"$answer" || fail "it does not refuse $command: $status, $answer"
    done
    # The phrase is in the scenario that `demo` and `simulate` play.
    grep -aqF am-bp1demo00warehouse $with || fail "the program with the feature holds no scenario"
    ! grep -aqF am-bp1demo00warehouse $program || fail "it holds the scenario of the demo"
    sources=$(TENCENTCLOUD_SECRET_ID=id TENCENTCLOUD_SECRET_KEY=key DBTASK_API=tencent_cdb DBTASK_REGION=ap-guangzhou \
        $program --config.check) && grep -q tencent_cdb <<<"$sources" || fail "it does not read a configuration: $sources"
    echo "without the commands demo and simulate, and without the simulated clouds"
}
case ${1:-} in
build | check) "$1" ;;
*) build && check ;;
esac
