#!/usr/bin/env bash
# Everything that a release consists of, into target/release-artifacts/: the program as an archive
# and as a Debian package, the Helm chart, what it is made of (SBOM), the licences of its
# dependencies, and checksums of all that.
set -euo pipefail
cd "$(dirname "$0")/.."
artifacts=target/release-artifacts
target=target/dist

# The time of the last commit stands in archives, instead of the time of the build.
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
version=$(cargo metadata --no-deps --locked --format-version 1 | python3 -c 'import json, sys
print(*(it["version"] for it in json.load(sys.stdin)["packages"] if it["name"] == "dbtask-exporter"))')
host=$(rustc -vV | sed -n 's/^host: //p')
name=dbtask-exporter-$version-$host

rm -rf $artifacts
mkdir -p $artifacts
packaging/build.sh $target

packaging/licenses.py "$host" >"$artifacts/dbtask-exporter-$version-licenses.txt"

.tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --target "$host" --spec-version 1.5 \
    --override-filename sbom
# It writes beside each Cargo.toml. Its serial number is random, and its references name the folder of
# the build; what is released is the same everywhere.
python3 - sbom.json >"$artifacts/dbtask-exporter-$version-sbom.cdx.json" <<'PYTHON'
import json, os, sys
text = open(sys.argv[1]).read().replace(f"path+file://{os.getcwd()}", "path+file:///dbtask-exporter")
sbom = json.loads(text)
sbom.pop("serialNumber", None)
print(json.dumps(sbom, indent=1))
PYTHON
rm sbom.json crates/*/sbom.json

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/$name"
cp -r $target/release/dbtask-exporter README.md CHANGELOG.md LICENSE examples packaging/man \
    packaging/completions packaging/systemd "$folder/$name"
cp "$artifacts/dbtask-exporter-$version-licenses.txt" "$folder/$name/THIRD-PARTY-LICENSES.txt"
tar --sort=name --mtime=@"$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
    -C "$folder" -c "$name" | gzip -n >"$artifacts/$name.tar.gz"

CARGO_TARGET_DIR=$target .tools/bin/cargo-deb --quiet --no-build --no-strip --locked \
    --output "$artifacts/" >/dev/null

.tools/bin/helm3 package --version "$version" --app-version "$version" \
    --destination $artifacts helm/dbtask-exporter >/dev/null

(cd $artifacts && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
