#!/usr/bin/env bash
# Installs what the tests need beside Rust, Go, Python and Node, pinned, and only what is missing.
# Debian packages need root (or sudo). All else is built once into a cache that checkouts share,
# DBTASK_TOOLS, each version in a folder of its own; .tools/ links to what this checkout uses.
set -euo pipefail
cd "$(dirname "$0")/.."

ACTIONLINT=v1.7.12
CARGO_CYCLONEDX=0.5.9
CARGO_DEB=3.8.0
CARGO_DENY=0.20.2
HELM_3=v3.21.4
HELM_4=v4.2.4
HELM_DOCS=v1.14.2
GRAFANA_OPERATOR=v5.18.0
PROMETHEUS_OPERATOR=v0.85.0

cache=${DBTASK_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/dbtask-exporter}
mkdir -p "$cache" .tools/bin
# One at a time, also from other checkouts.
exec 9>"$cache/lock"
flock 9

say() { printf '\033[2msetup: %s\033[0m\n' "$*" >&2; }
missing=()

debian() { # package command
    command -v "$2" >/dev/null && return
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    say "installing the Debian package $1"
    if ! command -v apt-get >/dev/null; then
        missing+=("$2 (Debian package $1)")
        return
    fi
    # Services of a package that was installed for its tools stay off.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod +x $policy && made=1
    fi
    { $sudo apt-get -o DPkg::Lock::Timeout=300 -qq update &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
            -qq install -y --no-install-recommends "$1"; } >/dev/null ||
        missing+=("$2 (Debian package $1)")
    [ -z "$made" ] || $sudo rm -f $policy
}

# Builds into a folder of the cache, which the command finds in $folder, unless it is there whole.
# What cannot be built is named in the end; its links are not made.
keep() { # name command…
    folder=$cache/$1
    [ -e "$folder/.complete" ] && return
    say "building $1"
    rm -rf "$folder"
    mkdir -p "$folder/bin"
    if "${@:2}" >"$folder/log" 2>&1; then
        touch "$folder/.complete"
    else
        tail -n 20 "$folder/log" >&2
        missing+=("$1")
        return 1
    fi
}
# Folders whose content comes from files are named after what is in them.
hash() { cat "$@" | sha256sum | cut -c 1-12; }
link() { ln -sfn "$folder"/bin/* .tools/bin/; }

cargo_tool() { # crate version
    install() {
        cargo install --locked --debug --root "$folder" --target-dir "$folder/target" "$@" &&
            rm -r "$folder/target"
    }
    keep "$1-$2" install "$1@$2" || return 0
    link
}

go_tool() { # name package version [ldflags]
    install() { GOBIN=$folder/bin go install -ldflags "${2:-}" "$1"; }
    keep "$1-$3" install "$2@$3" "${4:-}" || return 0
    link
}

# For tools whose own go.mod replaces modules: a module of ours that repeats that and imports them.
go_module() { # name folder package…
    install() { (cd "$1" && CGO_ENABLED=0 go build -buildvcs=false -o "$folder/bin/" "${@:2}"); }
    keep "$1-$(hash "$2/go.mod" "$2/go.sum")" install "${@:2}" || return 0
    link
}

# Definitions of custom resources, which come with the operators' modules.
definitions() { # module version folder
    install() {
        local source
        source=$(go mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') &&
            mkdir "$folder/definitions" && cp "$source/$3"/*.yaml "$folder/definitions/" &&
            chmod u+w "$folder"/definitions/*
    }
    keep "definitions-$(basename "${1%/v[0-9]}")-$2" install "$@" || return 0
    mkdir -p .tools/definitions
    ln -sfn "$folder"/definitions/* .tools/definitions/
}

# Both versions of helm side by side, as helm3 and helm4. The Kubernetes that helm 3 supposes where
# it asks none is set by the linker.
helm_tool() { # major version [ldflags]
    install() {
        GOBIN=$folder/bin go install -ldflags "${3:-}" "helm.sh/helm/v$1/cmd/helm@$2" &&
            mv "$folder/bin/helm" "$folder/bin/helm$1"
    }
    keep "helm-$2" install "$@" || return 0
    link
}

python_packages() { # requirements
    install() {
        python3 -m venv "$folder" &&
            "$folder/bin/pip" install --disable-pip-version-check -r "$1"
    }
    keep "python-$(hash "$1")" install "$1" || return 0
    ln -sfn "$folder" .tools/python
}

chart_tools() {
    local packages=helm.sh/helm/v3/pkg
    helm_tool 3 "$HELM_3" "-X helm.sh/helm/v3/internal/version.version=$HELM_3
        -X $packages/chartutil.k8sVersionMajor=1 -X $packages/chartutil.k8sVersionMinor=34
        -X $packages/lint/rules.k8sVersionMajor=1 -X $packages/lint/rules.k8sVersionMinor=34"
    helm_tool 4 "$HELM_4"
    ln -sfn helm4 .tools/bin/helm
    go_tool helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs "$HELM_DOCS"
    go_module helm-unittest tests/tools/helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest
    definitions github.com/prometheus-operator/prometheus-operator "$PROMETHEUS_OPERATOR" example/prometheus-operator-crd
    definitions github.com/grafana/grafana-operator/v5 "$GRAFANA_OPERATOR" config/crd/bases
}

cluster_tools() {
    local kubernetes
    kubernetes=$(grep -oP '^require k8s.io/kubernetes \Kv[0-9.]+$' tests/tools/kubernetes/go.mod)
    go_module etcd tests/tools/etcd go.etcd.io/etcd/server/v3
    ln -sfn server .tools/bin/etcd
    go_module kubernetes tests/tools/kubernetes \
        "-ldflags=-X k8s.io/component-base/version.gitVersion=$kubernetes
            -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34" \
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
    go_module kwok tests/tools/kwok sigs.k8s.io/kwok/cmd/kwok
}

# What a lock file names, and no scripts of it.
node_packages() { # folder with package.json and its lock
    install() {
        cp "$1"/package.json "$1"/package-lock.json "$folder" &&
            npm ci --ignore-scripts --no-audit --no-fund --prefix "$folder"
    }
    keep "${1##*/}-$(hash "$1/package.json" "$1/package-lock.json")" install "$1" || return 0
    ln -sfn "$folder" ".tools/${1##*/}"
}

debian prometheus promtool
debian prometheus-alertmanager prometheus-alertmanager
debian curl curl
debian buildah buildah
debian man-db man
debian systemd systemd-analyze
debian openssl openssl
# Before chromium, which brings fc-list along, but no font.
debian fonts-dejavu-core fc-list
debian chromium chromium
node_packages tests/browser
# Modules are looked for beside the file that imports them.
ln -sfn ../../.tools/browser/node_modules tests/browser/node_modules
python_packages tests/requirements.txt
node_packages tests/dashboards/grafana-types
cargo_tool cargo-cyclonedx "$CARGO_CYCLONEDX"
cargo_tool cargo-deb "$CARGO_DEB"
cargo_tool cargo-deny "$CARGO_DENY"
go_tool actionlint github.com/rhysd/actionlint/cmd/actionlint "$ACTIONLINT"
# Prometheus 3 beside Debian's 2, without its discoveries, which are most of it.
go_module prometheus tests/tools/prometheus -tags=remove_all_sd \
    github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
chart_tools
[ "${1:-}" != cluster ] || cluster_tools
command -v go >/dev/null || missing+=("go (for helm, Prometheus 3, Kubernetes and the peer of the benchmarks)")

if [ ${#missing[@]} -gt 0 ]; then
    printf 'setup: could not install: %s\n' "${missing[@]}" >&2
    exit 1
fi
