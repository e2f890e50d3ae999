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

# The Python of the environment, else the tests' own, made as scripts/venv.sh makes it.
find_python() {
    local candidate venv
    for candidate in "${PYTHON:-}" python3; do
        if [[ -n $candidate ]] && fit "$candidate"; then
            PYTHON=$candidate
            return
        fi
    done
    venv=$("$repo/scripts/venv.sh")
    PYTHON=$venv/bin/python
}

find_python
export PYTHON
HELM=$("$here/get-helm.sh")
export HELM
exec "$PYTHON" "$here/check/main.py" "$@"
