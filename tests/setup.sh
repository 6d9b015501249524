#!/usr/bin/env bash
# Installs what the tests need beside Rust, Go, Python and Node, pinned, and only what is missing.
# Debian packages need root (or sudo). All else is built once into a cache that checkouts share,
# DBTASK_TOOLS, each version in a folder of its own; .tools/ links to what this checkout uses.
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DENY=0.20.2

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
    keep "$1-$2" install "$1@$2"
    link
}

go_tool() { # name package version [ldflags]
    install() { GOBIN=$folder/bin go install -ldflags "${2:-}" "$1"; }
    keep "$1-$3" install "$2@$3" "${4:-}"
    link
}

# For tools whose own go.mod replaces modules: a module of ours that repeats that and imports them.
go_module() { # name folder package…
    install() { (cd "$1" && CGO_ENABLED=0 go build -buildvcs=false -o "$folder/bin/" "${@:2}"); }
    keep "$1-$(hash "$2/go.mod" "$2/go.sum")" install "${@:2}"
    link
}

python_packages() { # requirements
    install() {
        python3 -m venv "$folder" &&
            "$folder/bin/pip" install --disable-pip-version-check -r "$1"
    }
    keep "python-$(hash "$1")" install "$1"
    ln -sfn "$folder" .tools/python
}

debian prometheus promtool
debian curl curl
python_packages tests/requirements.txt
cargo_tool cargo-deny "$CARGO_DENY"
command -v go >/dev/null || missing+=("go (for the peer of the benchmarks)")

if [ ${#missing[@]} -gt 0 ]; then
    printf 'setup: could not install: %s\n' "${missing[@]}" >&2
    exit 1
fi
