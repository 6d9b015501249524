#!/usr/bin/env bash
# Runs the named steps, or all of them, one after another; shows which one it is at and how long
# each took. The output of each is kept under target/test-logs/. The last line counts the tests: a
# step that is no test runner counts as one.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=target/test-logs
mkdir -p $logs

format() { cargo fmt --all --check; }
clippy() {
    cargo clippy --quiet --workspace --all-targets --all-features --locked -- -D warnings &&
        cargo clippy --quiet --test simulate --features sabotage --locked -- -D warnings
}
rustdoc() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked --document-private-items; }
tests() { cargo test --locked --workspace; }
simulate() {
    cargo test --quiet --locked --profile simulate --features sabotage --test simulate
}
deny() { .tools/bin/cargo-deny --log-level error check licenses bans sources; }
release() { packaging/release.sh; }
reproducible() { tests/reproducible.sh; }
image() { tests/image.sh; }
deb() { tests/deb.sh; }
workflows() { .tools/bin/actionlint -shellcheck= -pyflakes=; }
promtool() { tests/promtool.sh; }
prometheus() { tests/prometheus.sh; }
rules() { .tools/python/bin/python -m pytest -q -p no:cacheprovider tests/rules; }
alerting() {
    cargo build --quiet --locked && .tools/python/bin/python -m pytest -q -s -p no:cacheprovider tests/alerting
}
sdk() {
    cargo build --quiet --locked && .tools/python/bin/python -m pytest -q -p no:cacheprovider tests/sdk
}
chart() {
    cargo build --quiet --locked && .tools/python/bin/python -m pytest -q -p no:cacheprovider tests/chart
}
cluster() {
    tests/setup.sh cluster && .tools/python/bin/python -m pytest -q -p no:cacheprovider tests/cluster
}
dashboards() {
    cargo build --quiet --locked && .tools/python/bin/python -m pytest -q -p no:cacheprovider tests/dashboards
}
browser() {
    cargo build --quiet --locked && node --test --test-reporter=tap tests/browser/
}
peer() { (cd benches/peers && go vet ./... && go build -o ../../target/peer .); }

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(format clippy rustdoc tests simulate deny sdk dashboards browser rules alerting
    release promtool prometheus reproducible image deb chart cluster workflows peer)

passed=0 failed=0 skipped=0
# Adds what a runner's summary says: "12 passed; 1 failed; 0 ignored" or "1 failed, 12 passed".
count() { grep -oE "[0-9]+ ($2)" "$1" | awk '{sum += $1} END {print sum + 0}'; }

number=0
for step in "${steps[@]}"; do
    number=$((number + 1)) log=$logs/$step.log begun=$SECONDS
    printf '[%d/%d] %-10s ' $number ${#steps[@]} "$step"
    if "$step" >"$log" 2>&1; then status=ok; else status=FAILED; fi
    ran=0
    case $step in tests | simulate | sdk | rules | alerting | dashboards | browser | chart | cluster)
        # Only the lines that sum up: test names may hold such words too.
        grep -E '^(test result|simulate):|^[=0-9].*(passed|failed|skipped).* in [0-9.]+s' "$log" >"$log.sums"
        # Node says "# pass 12".
        [ "$step" != browser ] ||
            sed -nE 's/^# (pass|fail|skipp)(ed)? ([0-9]+)$/\3 \1ed/p; s/^# cancelled ([0-9]+)$/\1 failed/p' "$log" >"$log.sums"
        p=$(count "$log.sums" passed) f=$(count "$log.sums" 'failed|error') s=$(count "$log.sums" 'skipped|ignored')
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) ran=$((p + f))
        [ $status = ok ] || [ "$f" -gt 0 ] || failed=$((failed + 1))
        [ $ran -gt 0 ] || { status=FAILED; failed=$((failed + 1)); echo "no test ran" >>"$log"; }
        printf '%s, %d passed, %d failed, %d skipped (%d s)\n' $status "$p" "$f" "$s" $((SECONDS - begun))
        ;;
    *)
        if [ $status = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
        printf '%s (%d s)\n' $status $((SECONDS - begun))
        ;;
    esac
    [ $status = ok ] || { tail -n 60 "$log" | sed 's/^/    /'; }
done

printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed -eq 0 ]
