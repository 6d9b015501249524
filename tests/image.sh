#!/usr/bin/env bash
# The container image, as far as it can be shown without pulling one: the Dockerfile's own final
# stage is built (buildah, no engine) over what its first stage would hand it; then what is in it,
# whether it is whole, and whether it runs read-only as nobody. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${DBTASK_EXPORTER_BIN:-target/dist/release/dbtask-exporter}
folder=$(mktemp -d)
exporter='' container=
store=(--root "$folder/store" --runroot "$folder/run" --storage-driver vfs)
finish() {
    [ -z "$exporter" ] || kill "$exporter" 2>/dev/null || true
    wait || true
    [ -z "$container" ] || buildah "${store[@]}" rm "$container" >/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
fail() { echo "FAILED: $*"; cat "$folder"/*.log 2>/dev/null || true; exit 1; }
[ "$(id -u)" = 0 ] || fail "this takes root"

packaging/image/rootfs.sh "$binary" "$folder/build/rootfs"
buildah "${store[@]}" build --quiet --format docker --isolation chroot \
    --build-context build="$folder/build" --build-arg VERSION=1.2.3 --build-arg REVISION=abc \
    --tag dbtask-exporter:test . >"$folder/build.log" 2>&1 || fail "buildah build"

buildah "${store[@]}" inspect --type image dbtask-exporter:test >"$folder/config.json"
python3 - "$folder/config.json" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
assert config["User"] == "65534:65534", config["User"]
assert config["Entrypoint"] == ["/usr/bin/dbtask-exporter"], config["Entrypoint"]
assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/dbtask-exporter", "healthcheck"], config["Healthcheck"]
assert list(config["ExposedPorts"]) == ["10118/tcp"], config["ExposedPorts"]
label = "org.opencontainers.image."
wanted = {"title": "dbtask-exporter", "licenses": "Apache-2.0", "version": "1.2.3", "revision": "abc"}
for name, value in wanted.items():
    assert config["Labels"][label + name] == value, (name, config["Labels"])
PYTHON

container=$(buildah "${store[@]}" from dbtask-exporter:test)
root=$(buildah "${store[@]}" mount "$container")
(cd "$root" && find . ! -type d | sort) >"$folder/files"
libraries=$(ldd "$binary" | grep -o '/[^ ]*' | sort -u)
allowed=$(printf '.%s\n' $libraries /etc/group /etc/nsswitch.conf /etc/passwd \
    /etc/ssl/certs/ca-certificates.crt /usr/bin/dbtask-exporter)
unknown=$(grep -vxF "$allowed" "$folder/files" | grep -v '^\./usr/share/doc/[^/]*/copyright$' || true)
[ -z "$unknown" ] || fail "what is this for: $unknown"
missing=$(printf '%s\n' "$allowed" | grep -vxF -f "$folder/files" || true)
[ -z "$missing" ] || fail "missing: $missing"
[ -z "$(find "$root" -perm /6000 -type f)" ] || fail "files that change who runs them"
# The libraries of the image, and no others, serve the program.
loader=$(echo "$libraries" | grep '/ld-linux')
chroot "$root" "$loader" --list /usr/bin/dbtask-exporter >"$folder/ldd" || fail "a library is missing"
! grep 'not found' "$folder/ldd" || fail "a library is missing"
printf 'image: %d files, %d bytes, no shell; linked: %s\n' "$(wc -l <"$folder/files")" \
    "$(du -sb "$root" | cut -f 1)" "$(grep -oE '^\s*[^ ]+' "$folder/ldd" | tr -d '\t' | tr '\n' ' ')"

# Read-only, as nobody, in a mount namespace that ends with it.
inside=(unshare --mount bash -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
    exec chroot --userspec=65534:65534 "$0" "$@"' "$root" /usr/bin/dbtask-exporter)
[[ $("${inside[@]}" --version) == dbtask-exporter\ * ]] || fail "it does not start"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The first process of its own, as in a container.
mkdir -p "$root/proc"
unshare --pid --fork --kill-child=TERM --mount bash -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
    mount -t proc proc "$0/proc" && exec chroot --userspec=65534:65534 "$0" "$@"' \
    "$root" /usr/bin/dbtask-exporter demo --web.listen-address="127.0.0.1:$port" >"$folder/demo.out" 2>"$folder/demo.log" &
exporter=$!
for _ in $(seq 150); do
    curl -fsS "http://127.0.0.1:$port/-/ready" >/dev/null 2>&1 && break
    kill -0 $exporter 2>/dev/null || fail "it has stopped"
    sleep 0.2
done
first=$(tr -d ' ' <"/proc/$exporter/task/$exporter/children")
curl -fsS "http://127.0.0.1:$port/metrics" >"$folder/metrics"
grep -q '^dbtask_source_up{.*} 1$' "$folder/metrics" || fail "it does not poll"
[ "$(stat -c %u "/proc/$first")" = 65534 ] || fail "it is not nobody"
check() { "${inside[@]}" healthcheck --web.listen-address="127.0.0.1:$port" >/dev/null; }
check || fail "the health check finds it ill"
# As an engine runs it, without arguments: it follows the flags of the server.
nsenter --target "$first" --mount --pid chroot --userspec=65534:65534 "$root" /usr/bin/dbtask-exporter healthcheck \
    >/dev/null || fail "the health check of the image does not follow the flags of the server"
kill "$first"
wait $exporter || fail "it stopped with $?"
exporter=''
! check 2>/dev/null || fail "the health check finds it well when it is gone"
echo 'ran read-only as 65534, and its health check told whether it does'
