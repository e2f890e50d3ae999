#!/usr/bin/env bash
# make up: from a fresh clone to a page that shows this machine. Install > resolve Kafka > pages > programs > start.
# DETACH=1 returns when it is ready. Keeps: a port in use or a full disk is said before anything is built; one at a time.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"
# shellcheck source=../deploy/local/process.sh
source "$here/process.sh"

began=$EPOCHSECONDS
worker=

step() { printf '%4d s  %s\n' $((EPOCHSECONDS - began)) "$*"; }

# In a session of its own, so that a signal is acted on at once, by all that works below, and not when the compiler is done.
work() {
    local status=0
    setsid "$@" </dev/null 9>&- &
    worker=$!
    wait "$worker" || status=$?
    worker=
    if ((status)); then die "'$*' failed (status $status)"; fi
}

interrupted() {
    trap '' INT TERM HUP
    if [[ -n $worker ]]; then
        kill -s TERM -- "-$worker" 2>/dev/null || true
        wait "$worker" 2>/dev/null || true
    fi
    rm -f "$run/supervisor.pid"
    step "interrupted; what is done so far is kept"
    exit 130
}

make_state
exec 9>"$run/lock"
if ! flock -n 9; then
    exec "$here/stack.sh" running
fi
export TIDEWATCH_LOCKED=1 TIDEWATCH_BEGAN=$began
rm -f "$run/ready"
record_process supervisor $$
trap interrupted INT TERM HUP

TIDEWATCH_CHECK_TOOLS='' "$here/stack.sh" check 9>&-
step "looking at what is installed"
# In the foreground: sudo may have to ask.
"$repo/scripts/install.sh" 9>&-
step "Apache Kafka"
work "$here/kafka.sh" fetch
step "pages"
work "$repo/scripts/web.sh" build
step "programs (the first time takes minutes)"
cd "$repo"
# The whole workspace, like the tests: the same features, hence the same artefacts.
work cargo build --release --locked --workspace

if [[ -z ${DETACH:-} || $DETACH == 0 ]]; then
    # Bound to whoever called us: a terminal or a make that is gone can no longer press Ctrl-C.
    exec setpriv --pdeathsig TERM -- "$here/stack.sh" run
fi

rotate "$logs/stack.log"
: >"$logs/stack.log"
TIDEWATCH_DETACHED=1 setsid "$here/stack.sh" run </dev/null >"$logs/stack.log" 2>&1 &
supervisor=$!
# From here on the supervisor holds the lock, and it alone.
exec 9>&-
trap 'kill -s TERM "$supervisor" 2>/dev/null; wait "$supervisor"; exit 130' INT TERM HUP
# Its words, as they come, until it is ready or gone.
shown=0
follow() {
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        shown=$((shown + 1))
    done < <(tail -n +$((shown + 1)) "$logs/stack.log")
}
while [[ ! -e $run/ready ]] && start_ticks "$supervisor"; do
    follow
    pause 0.2
done
pause 0.3
follow
[[ -e $run/ready ]] || exit 1
