#!/usr/bin/env bash
# promtool check metrics on OpenMetrics.
#
# A guess: it reads both formats that Prometheus scrapes, or refuses the one that it cannot read.
# What is so: it reads the older text format only. In OpenMetrics the name of a counter's family has
# no _total and its sample has, so promtool takes HELP and TYPE for those of another metric: each
# counter has "no help text", and no word says why. The same exposition in the text format is clean.
# Version: promtool 2.42 of Debian 12.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download --quiet prometheus=2.42.0+ds-5+deb12u1 >/dev/null
dpkg-deb --extract prometheus_*.deb .
promtool=usr/bin/promtool
$promtool --version 2>&1 | head -n 1
cat >openmetrics <<'TXT'
# HELP tasks_failed Tasks that have failed.
# TYPE tasks_failed counter
tasks_failed_total 1
# EOF
TXT
cat >text <<'TXT'
# HELP tasks_failed_total Tasks that have failed.
# TYPE tasks_failed_total counter
tasks_failed_total 1
TXT
text=$($promtool check metrics <text 2>&1) || true
openmetrics=$($promtool check metrics <openmetrics 2>&1) || true
echo "text format: ${text:-nothing to say}"
echo "OpenMetrics: $openmetrics"
[ -z "$text" ] && [ "$openmetrics" = "tasks_failed_total no help text" ]
