#!/usr/bin/env bash
# What packaging/release.sh has made: the right program, licences of others and of nobody else, a list
# of components that names the program, and checksums. Nothing is left beside the sources.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "FAILED: $*"; exit 1; }

cd target/release-artifacts
sha256sum --check --quiet SHA256SUMS || fail "checksums"
[ "$(ls | wc -l)" = $(($(wc -l <SHA256SUMS) + 1)) ] || fail "a file without a checksum: $(ls)"
archive=$(ls dbtask-exporter-*.tar.gz)
folder=${archive%.tar.gz}
for file in dbtask-exporter README.md CHANGELOG.md LICENSE THIRD-PARTY-LICENSES.txt man/dbtask-exporter.1 \
    completions/dbtask-exporter.bash systemd/dbtask-exporter.service examples/minimal.yml; do
    tar -tzf "$archive" "$folder/$file" >/dev/null || fail "$file is not in the archive"
done
cmp <(tar -xzOf "$archive" "$folder/dbtask-exporter") ../dist/release/dbtask-exporter || fail "another program"
python3 - *-licenses.txt *.cdx.json <<'PYTHON' || fail "licences or components"
import json, re, sys
licences, sbom = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
listed = set(re.findall(r"^([\w-]+ [\w.+-]+): ", licences.split("\n\n", 2)[1], re.MULTILINE))
program = sbom["metadata"]["component"]
assert (program["name"], program["type"]) == ("dbtask-exporter", "application"), program
components = {f"{it['name']} {it['version']}" for it in sbom["components"]}
# Our own packages are components, and no software of others.
ours = {it for it in components if it.startswith("dbtask-")}
assert {it.split()[0] for it in ours} == {"dbtask-clouds", "dbtask-simulator"}, ours
assert not [it for it in listed if it.startswith("dbtask-")], listed
assert {it.split()[0] for it in listed} >= {"tokio", "rustls", "rusqlite"}, listed
assert listed < components - ours, f"linked, and no component: {listed - components}"
assert "serialNumber" not in sbom
own = re.findall(r"path\+file://([^#\"]*)", json.dumps(sbom))
assert own and all(it.startswith("/dbtask-exporter") for it in own), set(own)
print(f"{len(listed)} licences, {len(components)} components")
PYTHON
cd ../..
left=$(find . -path ./target -prune -o -name 'sbom*.json' -print)
[ -z "$left" ] || fail "left behind: $left"
