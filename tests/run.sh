#!/usr/bin/env bash
# Runs the named steps and what they need, or all steps, those that wait beside those that compute.
# The line of a step is printed when it ends, and the end of its log too if it has failed; the log of
# each is kept under target/test-logs/. The last line counts the tests: a step that is no test runner
# counts as one.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=target/test-logs
mkdir -p $logs

# In the order in which they are begun: the step, how many cores it keeps busy, and the steps that
# must have gone well before it. A step of no core mostly waits.
steps='
format         1
build          2
tools          2
clippy         2
alerting       0 build tools
restarts       0 tools
release        1 tools
rebuild        1
prometheus     0 release
cluster-tools  2 tools
rustdoc        2
tests          1 build
simulate       1 build
cluster        1 build cluster-tools
chart          1 build tools
dashboards     1 build tools
browser        1 build tools
rules          1 tools
sdk            1 build tools
image          1 release
deb            1 release
artifacts      1 release
reproducible   1 release rebuild
promtool       1 release
deny           1 tools
workflows      1 tools
peer           1
without-demo   1 build
'
# Only by name: what `tests` holds too.
by_name='
unit           2
'
# Steps at a time that mostly wait.
waiting=2
cores=$(nproc)

format() { cargo fmt --all --check; }
# What other steps run. target/debug/ may change meanwhile, the copies do not. The program is built by
# `cargo test`: `cargo build` would take some dependencies with fewer features, and compile them anew.
build() {
    mkdir -p target/test-programs && tests/without-demo.sh build &&
        cargo test --quiet --workspace --locked --no-run && tests/simulate.sh --build &&
        cp --remove-destination target/debug/dbtask-exporter target/debug/examples/simulate target/test-programs/
}
with_debug() { DBTASK_EXPORTER_BIN=$PWD/target/test-programs/dbtask-exporter "$@"; }
pytest() { .tools/python/bin/python -m pytest -q -p no:cacheprovider "$@"; }
tools() { tests/setup.sh; }
cluster-tools() { tests/setup.sh cluster; }
clippy() {
    cargo clippy --quiet --workspace --all-targets --locked -- -D warnings &&
        cargo clippy --quiet --lib --bins --test allocations --no-default-features --locked -- -D warnings &&
        cargo clippy --quiet --lib --bins --example simulate --features sabotage --locked -- -D warnings
}
rustdoc() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked --document-private-items; }
unit() { cargo test --workspace --lib --bins --locked; }
# Some tests wait for what takes a minute; others have the cores meanwhile.
tests() { RUST_TEST_THREADS=$((2 * cores)) cargo test --workspace --locked; }
# In virtual time, so it can take whatever the tests leave it.
simulate() { nice -n 10 target/test-programs/simulate; }
deny() { .tools/bin/cargo-deny --log-level error check licenses bans sources; }
release() { packaging/release.sh; }
rebuild() { tests/reproducible.sh build; }
reproducible() { tests/reproducible.sh compare; }
image() { tests/image.sh; }
deb() { tests/deb.sh; }
artifacts() { tests/artifacts.sh; }
workflows() { .tools/bin/actionlint -shellcheck= -pyflakes=; }
promtool() { tests/promtool.sh; }
prometheus() { tests/prometheus.sh; }
rules() { pytest tests/rules; }
restarts() { pytest -s tests/alerting/test_restarts.py; }
alerting() { with_debug pytest -s tests/alerting/test_alerting.py; }
sdk() { with_debug pytest tests/sdk; }
chart() { with_debug pytest tests/chart; }
cluster() { with_debug pytest tests/cluster; }
dashboards() { with_debug pytest tests/dashboards; }
browser() { with_debug node --test --test-reporter=tap tests/browser/; }
without-demo() { tests/without-demo.sh check; }
peer() { (cd benches/peers && go vet ./... && go build -o ../../target/peer .); }

declare -A load needs state begun of_pid
order=()
while read -r step cores_of_it wants; do
    [ -z "$step" ] || { order+=("$step") && load[$step]=$cores_of_it needs[$step]=$wants; }
done <<<"$steps$by_name"

# Marks a step and what it needs as wanted.
want() { # step
    local need
    [ -n "${load[$1]:-}" ] || { echo "there is no step $1; there are: ${order[*]}" >&2 && exit 2; }
    [ -n "${state[$1]:-}" ] || wanted=$((wanted + 1))
    state[$1]=wanted
    for need in ${needs[$1]}; do want "$need"; done
}
wanted=0
[ $# -gt 0 ] || set -- $(awk '{print $1}' <<<"$steps")
for step; do want "$step"; done

# Whether what a step needs has gone well: `yes`, `not yet`, or what has not.
ready() { # step
    local need
    for need in ${needs[$1]}; do
        case ${state[$need]} in
        ok) ;;
        FAILED) echo "$need" && return ;;
        *) echo 'not yet' && return ;;
        esac
    done
    echo yes
}

busy=0 at_rest=0
has_room() { # step
    if [ "${load[$1]}" = 0 ]; then
        [ $at_rest -lt $waiting ]
    else
        # Whatever it takes, it may have the machine to itself.
        [ $busy = 0 ] || [ $((busy + load[$1])) -le "$cores" ]
    fi
}
occupy() { # step 1|-1
    busy=$((busy + $2 * load[$1]))
    [ "${load[$1]}" != 0 ] || at_rest=$((at_rest + $2))
}

begin() { # step
    # A compiler leaves way to what measures time.
    local more=0
    [ "${load[$1]}" -lt 2 ] || more=5
    (trap - INT && renice -n $more $BASHPID >/dev/null && "$1") >"$logs/$1.log" 2>&1 </dev/null &
    of_pid[$!]=$1 state[$1]=running begun[$1]=$SECONDS
    occupy "$1" 1
}

# On a terminal a line that is written over says what is at work.
clear=''
[ ! -t 1 ] || clear=$'\r\e[K'

passed=0 failed=0 skipped=0 ended=0
# Adds what a runner's summary says: "12 passed; 1 failed; 0 ignored" or "1 failed, 12 passed".
count() { grep -oE "[0-9]+ ($2)" "$1" | awk '{sum += $1} END {print sum + 0}'; }

# Counts a step, prints its line, and its log if it has failed.
finish() { # step ok|FAILED
    local step=$1 log=$logs/$1.log p=0 f=0 s=0 counts=''
    state[$step]=$2
    rm -f "$log.sums"
    case $step in unit | tests | simulate | sdk | rules | alerting | restarts | dashboards | browser | chart | cluster)
        # Only the lines that sum up: test names may hold such words too.
        grep -E '^(test result|simulate):|^[=0-9].*(passed|failed|skipped).* in [0-9.]+s' "$log" >"$log.sums"
        # Node says "# pass 12".
        [ "$step" != browser ] ||
            sed -nE 's/^# (pass|fail|skipp)(ed)? ([0-9]+)$/\3 \1ed/p; s/^# cancelled ([0-9]+)$/\1 failed/p' "$log" >"$log.sums"
        p=$(count "$log.sums" passed) f=$(count "$log.sums" 'failed|error') s=$(count "$log.sums" 'skipped|ignored')
        [ "${state[$step]}" = FAILED ] || [ $((p + f)) -gt 0 ] || { state[$step]=FAILED && echo "no test ran" >>"$log"; }
        ;;
    *) [ "${state[$step]}" = FAILED ] || p=1 ;;
    esac
    [ "${state[$step]}" = ok ] || [ "$f" -gt 0 ] || f=1
    [ ! -e "$log.sums" ] || counts=", $p passed, $f failed, $s skipped"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) ended=$((ended + 1))
    printf '%s[%d/%d] %-13s %s%s (%d s)\n' "$clear" $ended $wanted "$step" "${state[$step]}" "$counts" $((SECONDS - ${begun[$step]:-SECONDS}))
    [ "${state[$step]}" = ok ] || { tail -n 60 "$log" | sed 's/^/    /'; }
}

while [ $ended -lt $wanted ]; do
    for step in "${order[@]}"; do
        [ "${state[$step]:-}" = wanted ] || continue
        case $(ready "$step") in
        yes) ! has_room "$step" || begin "$step" ;;
        'not yet') ;;
        *) echo "not run, as $(ready "$step") has failed" >"$logs/$step.log" && finish "$step" FAILED ;;
        esac
    done
    [ ${#of_pid[@]} -gt 0 ] || continue
    [ -z "$clear" ] || printf '%sat work: %s' "$clear" "${of_pid[*]}"
    status=ok
    wait -n -p pid "${!of_pid[@]}" || status=FAILED
    step=${of_pid[$pid]}
    unset "of_pid[$pid]"
    occupy "$step" -1
    finish "$step" $status
done

printf '%s\nin %d s\n%d passed, %d failed, %d skipped\n' "$clear" $SECONDS $passed $failed $skipped
[ $failed -eq 0 ]
