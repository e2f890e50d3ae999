#!/usr/bin/env bash
# Installs what a checkout needs to build and run, and only what is missing. --for tests: what `make test` needs besides.
# In: the host. Out: packages from the system's own archive; says which before it does. Keeps: no service of the host is
# started, stopped or changed, and a second run finds nothing to do.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"

purpose=run
case "$*" in
    '') ;;
    '--for tests') purpose=tests ;;
    *) die "usage: install.sh [--for tests]" ;;
esac

# What keeps packages from starting services while we install, and the mark by which we know our own file again.
policy=/usr/sbin/policy-rc.d
mark='# placed by tidewatch/scripts/install.sh for the duration of an installation'
cluster=/etc/postgresql-common/createcluster.d/tidewatch.conf
as_root=()
packages=()
# Services that come with packages of ours.
new_services=()

need() { packages+=("$@"); }

node_major() {
    local version
    version=$(node --version 2>/dev/null) || version=v0
    version=${version#v}
    REPLY=${version%%.*}
}

missing() {
    if ! command -v cc >/dev/null || ! command -v make >/dev/null; then need build-essential; fi
    if ! command -v pkg-config >/dev/null; then
        need pkg-config libssl-dev zlib1g-dev
    else
        pkg-config --exists openssl || need libssl-dev
        pkg-config --exists zlib || need zlib1g-dev
    fi
    java_program || need openjdk-17-jre-headless
    command -v mvn >/dev/null || need maven
    postgres_bin || need postgresql
    if ! command -v redis-server >/dev/null; then
        need redis-server
        new_services+=(redis-server)
    fi
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then need nodejs npm; fi
    if [[ $purpose == tests ]]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
        command -v chromium >/dev/null || need chromium
        command -v shellcheck >/dev/null || need shellcheck
        if ! command -v prometheus-alertmanager >/dev/null; then
            need prometheus-alertmanager
            new_services+=(prometheus-alertmanager)
        fi
    fi
}

# The present release of Debian may name its Java otherwise.
choose_java() {
    local i candidate
    for i in "${!packages[@]}"; do
        [[ ${packages[i]} == openjdk-17-jre-headless ]] || continue
        for candidate in openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless; do
            if apt-cache show "$candidate" >/dev/null 2>&1; then
                packages[i]=$candidate
                return
            fi
        done
    done
}

hold_services() {
    trap release_services EXIT
    trap 'exit 130' INT TERM HUP
    if [[ -e $policy ]] && ! grep -qF "$mark" "$policy"; then
        "${as_root[@]}" mv -f "$policy" "$policy.tidewatch"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    "${as_root[@]}" mkdir -p "${cluster%/*}"
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$cluster" >/dev/null
}

# Also after an installation that was killed: the next one comes by here.
release_services() {
    if [[ -e $policy ]] && grep -qF "$mark" "$policy"; then "${as_root[@]}" rm -f "$policy"; fi
    if [[ -e $policy.tidewatch ]]; then "${as_root[@]}" mv -f "$policy.tidewatch" "$policy"; fi
    if [[ -e $cluster ]]; then
        "${as_root[@]}" rm -f "$cluster"
        dpkg -S "${cluster%/*}" >/dev/null 2>&1 || "${as_root[@]}" rmdir --ignore-fail-on-non-empty "${cluster%/*}"
    fi
}

install_packages() {
    ((${#packages[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "these are missing and this system has no apt-get to install them by: ${packages[*]}"
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "these are missing: ${packages[*]}; run scripts/install.sh as root"
        as_root=(sudo)
    fi
    say "installing from the system's package archive: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq || die "the package lists could not be fetched: see above"
    choose_java
    hold_services
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" |
        sed -un 's/^\(Need to get .*\|Setting up [^ ]*\).*/  \1/p' ||
        die "the packages could not be installed: ${packages[*]}"
    # The package would start its service at the next boot; ours is a private one.
    local service
    for service in "${new_services[@]}"; do
        command -v update-rc.d >/dev/null || break
        "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || say "note: the service $service will start at boot"
    done
    release_services
    trap - EXIT INT TERM HUP
}

# Node 20 for the web build. Where the system's is older, the npm registry has the same program as a package.
install_node() {
    node_major
    ((REPLY < 20)) || return 0
    command -v npm >/dev/null || die "Node 20 or later is missing, and npm to fetch it by: install it from nodejs.org"
    say "the system's Node ($REPLY) is older than 20: installing Node 20 from the npm registry into $TIDEWATCH_TOOLS"
    mkdir -p "$TIDEWATCH_TOOLS"
    # Its install script only puts the program of this platform, a package of its own, where node_modules/node/bin is.
    npm install --silent --no-save --no-audit --no-fund --ignore-scripts=false --prefix "$TIDEWATCH_TOOLS" node@20 ||
        die "Node 20 or later is missing and could not be fetched: install it from nodejs.org"
    hash -r
    node_major
    ((REPLY >= 20)) || die "Node 20 or later is missing: install it from nodejs.org"
}

if [[ -e $policy.tidewatch || -e $cluster ]]; then
    if ((EUID != 0)); then as_root=(sudo); fi
    release_services
fi
missing
install_packages
install_node
command -v cargo >/dev/null ||
    die "Rust is missing: install rustup from rustup.rs, which brings the toolchain that rust-toolchain.toml names, then start again"
