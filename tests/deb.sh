#!/usr/bin/env bash
# The Debian package: installed, run as its user as the service would, installed over, removed and
# purged, on this machine. Needs root or sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
simulator='' exporter='' sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
ours= # whether it is we who installed it
finish() {
    # shellcheck disable=SC2086
    kill $simulator 2>/dev/null || true
    [ -z "$exporter" ] || $sudo kill "$exporter" 2>/dev/null || true
    wait || true
    [ -z "$ours" ] || $sudo dpkg --purge dbtask-exporter >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap finish EXIT
say() { printf '%s\n' "$*"; }
fail() { say "FAILED: $*"; tail -n 20 "$folder"/*.log 2>/dev/null || true; exit 1; }

package=$(ls target/release-artifacts/*.deb)
[ "$(echo "$package" | wc -l)" = 1 ] || fail "one package is expected: $package"
! dpkg-query -s dbtask-exporter >/dev/null 2>&1 || fail "dbtask-exporter is installed here already: remove it first"
! id dbtask-exporter >/dev/null 2>&1 || fail "there is a user dbtask-exporter already"

# What is in it.
dpkg-deb --contents "$package" | awk '{print $6, $1}' >"$folder/contents"
for file in usr/bin/dbtask-exporter usr/lib/systemd/system/dbtask-exporter.service \
    etc/dbtask-exporter/dbtask.yml etc/default/dbtask-exporter usr/share/man/man1/dbtask-exporter.1.gz \
    usr/share/man/man1/dbtask-exporter-check.1.gz \
    usr/share/bash-completion/completions/dbtask-exporter usr/share/doc/dbtask-exporter/copyright \
    usr/share/zsh/vendor-completions/_dbtask-exporter \
    usr/share/fish/vendor_completions.d/dbtask-exporter.fish \
    usr/share/doc/dbtask-exporter/docs/configuration.md usr/share/doc/dbtask-exporter/examples/minimal.yml; do
    grep -qE "^(\./)?$file " "$folder/contents" || fail "$file is not in the package"
done
dpkg-deb --field "$package" Depends | grep -q 'libc6' || fail "it does not depend on libc6"
say "package: $(stat -c %s "$package") bytes, $(wc -l <"$folder/contents") files"

root=$folder/root
dpkg-deb --extract "$package" "$root"
unit=$root/usr/lib/systemd/system/dbtask-exporter.service
systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" >"$folder/security" ||
    fail "the unit is less confined than 1.5: $(tail -n 1 "$folder/security")"
say "unit: $(tail -n 1 "$folder/security" | grep -o 'exposure.*[0-9.]* [A-Z]*')"

ours=1
$sudo dpkg -i "$package" >"$folder/dpkg.log" 2>&1 || fail "dpkg -i"
systemd-analyze verify /usr/lib/systemd/system/dbtask-exporter.service >"$folder/verify" 2>&1 &&
    ! grep -F dbtask-exporter.service "$folder/verify" || fail "systemd says of the unit: $(cat "$folder/verify")"
user=$(id -u dbtask-exporter) group=$(id -g dbtask-exporter)
[ "$(stat -c '%U %a' /var/lib/dbtask-exporter)" = 'dbtask-exporter 750' ] || fail "the folder of the journal"
[ "$(stat -c '%U:%G %a' /etc/dbtask-exporter/dbtask.yml)" = 'root:dbtask-exporter 640' ] || fail "the configuration's mode"
man --warnings -E UTF-8 -l /usr/share/man/man1/dbtask-exporter.1.gz 2>&1 >/dev/null | grep . && fail "the manual page"
bash -c '. /usr/share/bash-completion/completions/dbtask-exporter && complete -p dbtask-exporter' >/dev/null ||
    fail "the completions of bash"
dbtask-exporter check /etc/dbtask-exporter/dbtask.yml 2>"$folder/check.log" && fail "an empty configuration is good"
grep -q 'there is nothing to watch' "$folder/check.log" || fail "what it says of the configuration as installed"

# The service's own command line, as its user, without privileges, over a stop and a start.
dbtask-exporter simulate >"$folder/config.yml" 2>"$folder/simulator.log" &
simulator=$!
until grep -qxF ... "$folder/config.yml"; do sleep 0.1; done
$sudo cp "$folder/config.yml" /etc/dbtask-exporter/dbtask.yml
command=$(sed -n 's/^ExecStart=//p' "$unit")
start() {
    # The shell's own splitting is what systemd does with $ARGS.
    # shellcheck disable=SC2086
    $sudo setpriv --reuid="$user" --regid="$group" --clear-groups --no-new-privs --bounding-set=-all \
        env -i ${command/\$ARGS/--web.listen-address=127.0.0.1:0} 2>"$folder/exporter.log" &
    exporter=$!
    for _ in $(seq 300); do
        port=$(grep -m1 -oP 'message=serving address=127.0.0.1:\K\d+' "$folder/exporter.log") &&
            curl -fsS "http://127.0.0.1:$port/-/ready" >/dev/null 2>&1 && return
        kill -0 $exporter 2>/dev/null || fail "it has stopped"
        sleep 0.2
    done
    fail "it does not get ready"
}
stop() {
    $sudo pkill -TERM -u dbtask-exporter -x dbtask-exporter
    wait $exporter || fail "it stopped with $?"
    exporter=''
}
start
curl -fsS "http://127.0.0.1:$port/metrics" >"$folder/metrics"
grep -q '^dbtask_exporter_journal_last_write_successful 1' "$folder/metrics" ||
    fail "the journal is not written"
dbtask-exporter healthcheck --web.listen-address="127.0.0.1:$port" >/dev/null || fail "healthcheck"
stop
[ -n "$($sudo ls /var/lib/dbtask-exporter)" ] || fail "there is no journal"
start
stop
say "ran twice as $(id dbtask-exporter | cut -d ' ' -f 1), without capabilities"

# An edited configuration outlives a new version; the journal outlives the package; a purge leaves nothing.
$sudo dpkg -i "$package" >>"$folder/dpkg.log" 2>&1 </dev/null || fail "dpkg -i over itself"
$sudo cmp -s "$folder/config.yml" /etc/dbtask-exporter/dbtask.yml || fail "the configuration was overwritten"
$sudo dpkg --remove dbtask-exporter >>"$folder/dpkg.log" 2>&1 || fail "dpkg --remove"
[ -e /etc/dbtask-exporter/dbtask.yml ] && $sudo test -d /var/lib/dbtask-exporter || fail "a removal is no purge"
[ ! -e /usr/bin/dbtask-exporter ] || fail "the program is still there"
$sudo dpkg --purge dbtask-exporter >>"$folder/dpkg.log" 2>&1 || fail "dpkg --purge"
ours=
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /root -o -path /home -o -path /work -o -path "$PWD" \) -prune \
    -o -name '*dbtask-exporter*' -print 2>/dev/null | grep -v '^/var/cache\|^/var/log' || true)
[ -z "$left" ] || fail "left behind: $left"
! id dbtask-exporter >/dev/null 2>&1 || fail "the user is still there"
say 'installed, ran, kept what was edited, and left nothing behind'
