#!/usr/bin/env bash
# Checks the chart: what it renders, what it refuses, and that every setting it names is one of the service it names it to.
# In: the checkout; PYTHON (with tests/requirements.txt) and a helm if there are any. Out: a line for each check, the sum last.
# Keeps: nothing is written outside the tools and a temporary folder; no cluster is needed or asked.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$here/../.." && pwd -P)
export TIDEWATCH_TOOLS=${TIDEWATCH_TOOLS:-$repo/.tidewatch/tools}
export PYTHONDONTWRITEBYTECODE=1

fit() { "$1" -c 'import kubernetes_validate, yaml' 2>/dev/null; }

# The Python of the environment, else the tests' own, made as scripts/test.sh makes it.
find_python() {
    local candidate hash venv
    for candidate in "${PYTHON:-}" python3; do
        if [[ -n $candidate ]] && fit "$candidate"; then
            PYTHON=$candidate
            return
        fi
    done
    hash=$({ cat "$repo/tests/requirements.txt" && python3 --version; } | sha256sum)
    venv=$TIDEWATCH_TOOLS/venv-${hash:0:12}
    if [[ ! -e $venv/complete ]]; then
        printf 'installing tests/requirements.txt\n'
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check -r "$repo/tests/requirements.txt"
        : >"$venv/complete"
    fi
    PYTHON=$venv/bin/python
}

find_python
export PYTHON
HELM=$("$here/get-helm.sh")
export HELM
exec "$PYTHON" "$here/check/main.py" "$@"
