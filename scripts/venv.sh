#!/usr/bin/env bash
# The Python that the tests and benchmarks run with: made once for each content of tests/requirements.txt. Out: its folder's path.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"

hash=$({ cat "$repo/tests/requirements.txt" && python3 --version; } | sha256sum)
venv=$TIDEWATCH_TOOLS/venv-${hash:0:12}
if [[ ! -e $venv/complete ]]; then
    say "installing tests/requirements.txt" >&2
    rm -rf "$venv"
    mkdir -p "$TIDEWATCH_TOOLS"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$repo/tests/requirements.txt" >&2
    : >"$venv/complete"
fi
say "$venv"
