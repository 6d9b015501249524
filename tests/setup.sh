#!/usr/bin/env bash
# Installs what the tests need beside Rust, pinned, and only what is missing. Cargo's tools go to
# .tools/, Python packages to .venv/; Debian packages need root (or sudo).
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DENY=0.20.2

say() { printf '\033[2msetup: %s\033[0m\n' "$*" >&2; }
missing=()

debian() { # package command…
    local package=$1
    shift
    command -v "$1" >/dev/null && return
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    say "installing the Debian package $package"
    if ! command -v apt-get >/dev/null; then
        missing+=("$1 (Debian package $package)")
        return
    fi
    # Services of a package that was installed for its tools stay off.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod +x $policy && made=1
    fi
    { $sudo apt-get -o DPkg::Lock::Timeout=300 -qq update &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
            -qq install -y --no-install-recommends "$package"; } >/dev/null ||
        missing+=("$1 (Debian package $package)")
    [ -z "$made" ] || $sudo rm -f $policy
}

cargo_tool() { # crate version
    local binary=.tools/bin/$1
    [ -x "$binary" ] && "$binary" --version | grep -qF "$2" && return
    say "building $1 $2"
    cargo install --quiet --locked --debug --root .tools "$1@$2" || missing+=("$1 $2")
}

python_packages() { # requirements
    local stamp=.venv/installed
    cmp -s "$1" "$stamp" && return
    say "installing the Python packages of $1"
    { python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r "$1" &&
        cp "$1" "$stamp"; } || missing+=("the Python packages of $1")
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
