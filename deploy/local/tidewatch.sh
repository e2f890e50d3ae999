#!/usr/bin/env bash
# Every service of ours in one process. run: become it; ready: has it printed its addresses?
# Keeps: its standard output is the three lines that say it is ready; its log is JSON, in logs/tidewatch.log.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=process.sh
source "$here/process.sh"

program=${TIDEWATCH_BIN:-$repo/target/release/tidewatch}

case ${1:-} in
    run)
        record_process tidewatch $$
        [[ -x $program ]] || die "$program is missing: run make build"
        postgres_url || die "cannot read $TIDEWATCH_STATE/postgres.password"
        # By the environment: a command line is everybody's to read.
        export TIDEWATCH_POSTGRES_URL=$REPLY
        export TIDEWATCH_KAFKA_BROKERS=127.0.0.1:$TIDEWATCH_KAFKA_PORT
        export TIDEWATCH_REDIS_URL=redis://127.0.0.1:$TIDEWATCH_REDIS_PORT/
        export TIDEWATCH_LISTEN=${TIDEWATCH_LISTEN:-127.0.0.1:$TIDEWATCH_PORT}
        # Ours alone: the services refuse settings that they do not know.
        unset TIDEWATCH_PORT TIDEWATCH_KAFKA_PORT TIDEWATCH_KAFKA_CONTROLLER_PORT TIDEWATCH_POSTGRES_PORT \
            TIDEWATCH_REDIS_PORT TIDEWATCH_PARTS TIDEWATCH_TOOLS TIDEWATCH_BIN TIDEWATCH_POSTGRES_BIN
        : >"$run/tidewatch.out"
        rotate "$logs/tidewatch.log"
        become KILL "$program" up >"$run/tidewatch.out" 2>"$logs/tidewatch.log"
        ;;
    ready) grep -q '^kafka ' "$run/tidewatch.out" 2>/dev/null ;;
    *) die "usage: tidewatch.sh run | ready" ;;
esac
