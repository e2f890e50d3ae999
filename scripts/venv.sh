#!/usr/bin/env bash
# A Python that tests and benchmarks run with: made once for each content of a file of requirements, tests/requirements.txt unless
# another is named. Out: its folder's path.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"

requirements=${1:-tests/requirements.txt}
hash=$({ cat "$repo/$requirements" && python3 --version; } | sha256sum)
venv=$TIDEWATCH_TOOLS/venv-${hash:0:12}
if [[ ! -e $venv/complete ]]; then
    say "installing $requirements" >&2
    rm -rf "$venv"
    mkdir -p "$TIDEWATCH_TOOLS"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$repo/$requirements" >&2
    : >"$venv/complete"
fi
say "$venv"
