#!/usr/bin/env bash
# A real Prometheus scrapes the exporter, which is killed and started again while tasks fail:
# increase() must be the number of new failures, not more and not fewer.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${DBTASK_EXPORTER_BIN:-target/dist/release/dbtask-exporter}")
folder=$(mktemp -d)
simulator='' exporter='' prometheus=''
trap 'kill $simulator $exporter $prometheus 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
say() { printf '%3d s  %s\n' $((SECONDS - begun)) "$*"; }
give_up() { say "$*"; tail -n 20 "$folder"/*.log; exit 1; }

# Two that had failed before anybody watched; then three failures, five while the exporter is down,
# one of them of a kind never seen before, and two more at the end.
{
    echo 'sources: [{name: mysql, api: tencent_cdb, region: ap-guangzhou, resources: [{id: cdb-1}], tasks: ['
    task() { echo "{id: '$1', resource: cdb-1, kind: $2, at: $3, life: [{run: {for: $4s}}, {fail: {}}]},"; }
    task 1 ROLLBACK -600s 60; task 2 ROLLBACK -600s 90
    task 11 ROLLBACK 0s 8; task 12 ROLLBACK 0s 9; task 13 ROLLBACK 0s 9
    task 21 ROLLBACK 0s 92; task 22 ROLLBACK 0s 93; task 23 ROLLBACK 90s 2; task 24 ROLLBACK 90s 3
    task 25 UPGRADE 90s 2
    task 31 ROLLBACK 0s 188; task 32 ROLLBACK 0s 190
    echo ']}]'
} >"$folder/scenario.yml"
begun=$SECONDS
"$binary" simulate --scenario "$folder/scenario.yml" >"$folder/printed.yml" 2>"$folder/simulator.log" &
simulator=$!
until grep -qxF ... "$folder/printed.yml"; do sleep 0.1; done
sed -E 's/(interval: ).*/\11s/' "$folder/printed.yml" >"$folder/config.yml"

start() { # port
    "$binary" --config.file="$folder/config.yml" --storage.path="$folder/journal" \
        --web.listen-address="127.0.0.1:$1" 2>>"$folder/exporter.log" &
    exporter=$!
}
start 0
until port=$(grep -m1 -oP 'message=serving address=127.0.0.1:\K\d+' "$folder/exporter.log"); do sleep 0.1; done

ui=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/prometheus.yml" <<YAML
global: {scrape_interval: 1s}
scrape_configs: [{job_name: dbtask, static_configs: [{targets: ['127.0.0.1:$port']}]}]
YAML
prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
    --web.listen-address="127.0.0.1:$ui" --log.level=warn 2>"$folder/prometheus.log" &
prometheus=$!

# The value of a query now, or at a time; empty if it has none.
value() { # query [time]
    curl -fsS "http://127.0.0.1:$ui/api/v1/query" --data-urlencode "query=$1" ${2:+-d "time=$2"} 2>/dev/null |
        python3 -c 'import json, sys
result = json.load(sys.stdin)["data"]["result"]
print(result[0]["value"][1] if result else "")' 2>/dev/null || true
}
counter() { echo "dbtask_task_failures_total{task_kind=\"$1\"}"; }
until_value() { # query wanted seconds
    local last=$((SECONDS + $3))
    until [ "$(value "$1")" = "$2" ]; do
        [ $SECONDS -lt $last ] || give_up "$1 is $(value "$1"), not $2"
        sleep 0.3
    done
}
sleep_until() { while [ $((SECONDS - begun)) -lt "$1" ]; do sleep 0.1; done; }
failures=$(counter ROLLBACK) upgrades=$(counter UPGRADE)

# A new series, and every series after a start, stays as it was for a minute.
until_value "$failures" 3 80
sleep 3
flat=$(date +%s)
sleep 1
kill -9 $exporter
wait $exporter 2>/dev/null || true
say "killed; it has counted 3"
[ $((SECONDS - begun)) -lt 88 ] || give_up "too slow: the failures of the outage were to come later"
sleep_until 97
start "$port"
say "started again"
until_value "$failures" 7 80
until_value "$upgrades" 1 5
sleep 2
[ $((SECONDS - begun)) -lt 187 ] || give_up "too slow: the last failures were to come later"
after=$(date +%s)
until_value "$failures" 9 45
sleep 2

# Both ends of each window lie where nothing moves. increase() scales what it sees to the whole
# window, of which a second or two are missing: to less than half a failure, so rounding is exact.
check() { # what query time wanted
    local got
    got=$(value "$2" "$3")
    say "$1: $2 = $got"
    [ -n "$got" ] && python3 -c "import sys; sys.exit(round(float('$got')) != $4 or abs(float('$got') - $4) >= 0.5)" ||
        give_up "not $4"
}
now=$(date +%s) outage=$((after - flat)) whole=$(($(date +%s) - flat + 40))
check 'over the outage' "increase($failures[${outage}s])" "$after" 4
check 'a new kind' "increase($upgrades[${outage}s])" "$after" 1
check 'all in all' "increase($failures[${whole}s])" "$now" 9
check 'never set back' "resets($failures[${whole}s])" "$now" 0
check 'by the samples' "$failures - min_over_time($failures[${whole}s])" "$now" 9
say 'increase() is what failed, over a kill'
