#!/usr/bin/env bash
# Builds the pages that the visualizer embeds, when anything they are made of has changed.
# In: visualizer/web. Out: visualizer/web/dist. Keeps: what was unchanged is not built again, half a build never counts.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"

web=$repo/visualizer/web
stamps=$repo/.tidewatch/build
mkdir -p "$stamps"
cd "$web"

digest() { sha256sum | cut -c 1-32; }

# Exactly what the lock file says, fetched again only when it changed or the Node that compiled for it did.
install() {
    local wanted
    wanted=$({ cat package-lock.json package.json && node --version; } | digest)
    if [[ -d node_modules && $(cat "$stamps/web-packages" 2>/dev/null) == "$wanted" ]]; then
        say "packages are as the lock file says"
        return
    fi
    rm -f "$stamps/web-packages"
    npm ci --no-audit --no-fund
    printf '%s\n' "$wanted" >"$stamps/web-packages"
}

build() {
    local wanted
    wanted=$(find . \( -name node_modules -o -name dist -o -name tests \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | digest)
    if [[ -s dist/index.html && $(cat "$stamps/web-pages" 2>/dev/null) == "$wanted" ]]; then
        say "pages are unchanged"
        return
    fi
    rm -f "$stamps/web-pages"
    npm run build
    printf '%s\n' "$wanted" >"$stamps/web-pages"
}

case ${1:-} in
    install) install ;;
    build) install && build ;;
    *) die "usage: web.sh install | build" ;;
esac
