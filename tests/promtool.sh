#!/usr/bin/env bash
# What the demo serves, in both formats, under promtool's eyes; then a stop by SIGTERM.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${DBTASK_EXPORTER_BIN:-target/dist/release/dbtask-exporter}
folder=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT

"$binary" demo --web.listen-address=127.0.0.1:0 >"$folder/out" 2>"$folder/log" &
pid=$!
for _ in $(seq 100); do
    url=$(sed -n 's/^Metrics: *//p' "$folder/out")
    [ -n "$url" ] && curl -fsS "${url%/metrics}/-/ready" >/dev/null 2>&1 && break
    sleep 0.2
done
# Polls that end together are published together, within a second.
sleep 1.5

scrape() { curl -fsS --compressed -H "Accept: $1" "$url" >"$folder/metrics"; }
report() { printf '%s: %d series, nothing to complain about\n' "$1" "$(grep -vc '^#' "$folder/metrics")"; }

scrape 'text/plain;version=0.0.4'
promtool check metrics <"$folder/metrics"
grep -q '^dbtask_task_state{' "$folder/metrics"
sources=$(grep -c '^dbtask_source_up{' "$folder/metrics")
[ "$sources" -ge 5 ]
[ "$(grep -c '^dbtask_source_up{source="[a-z-]*"} 1$' "$folder/metrics")" = "$sources" ]
report 'text 0.0.4'

# promtool reads no OpenMetrics; the reference parser of its Python client is strict.
scrape 'application/openmetrics-text;version=1.0.0'
.tools/python/bin/python - "$folder/metrics" <<'PYTHON'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(open(sys.argv[1], encoding="utf-8").read()))
assert len(families) > 40, len(families)
assert {family.type for family in families} == {"counter", "gauge", "histogram"}
PYTHON
report 'OpenMetrics 1.0.0'

begun=$(date +%s%N)
kill -TERM "$pid"
wait "$pid"
printf 'stopped with exit code 0 after %d ms\n' $((($(date +%s%N) - begun) / 1000000))
