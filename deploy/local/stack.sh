#!/usr/bin/env bash
# The supervisor of the local stack: starts the parts, watches them, stops them in order.
#   run            in the foreground, until INT, TERM or HUP
#   down | status | check | env | forget
#   start | stop | kill PART     one part alone, while the stack runs
# Keeps: one supervisor for each state folder (a lock); no part outlives it (the kernel ends them, whatever ended it); what a
# killed stack left is recognised and removed by the next.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=process.sh
source "$here/process.sh"

began=${TIDEWATCH_BEGAN:-$EPOCHSECONDS}
declare -A state child since
read -ra parts <<<"$TIDEWATCH_PARTS"
stopping=0
up=0

tell() { printf '%4d s  %s\n' $((EPOCHSECONDS - began)) "$*"; }

# The supervisor's word on a part, for those who asked it to start or stop one.
enter() {
    state[$1]=$2
    since[$1]=$EPOCHSECONDS
    printf '%s\n' "$2" >"$run/$1.state.new"
    mv -f "$run/$1.state.new" "$run/$1.state"
}

output_of() {
    case $1 in
        # These two write their log themselves; what they say before that goes beside it.
        kafka | tidewatch) REPLY=$logs/$1.out ;;
        *) REPLY=$logs/$1.log ;;
    esac
}

lock() {
    if [[ -n ${TIDEWATCH_LOCKED:-} ]]; then return; fi
    exec 9>"$run/lock"
    flock -n 9 || return 1
}

# One sentence about the stack that holds the lock. Fails unless that one works.
describe_running() {
    local pid='?'
    if process_of supervisor; then pid=$REPLY; fi
    if [[ -e $run/ready ]]; then
        say "Tidewatch is already running here (process $pid): http://127.0.0.1:$TIDEWATCH_PORT/, the admin key is in $TIDEWATCH_STATE/admin.key"
    else
        say "Tidewatch is being started or stopped here by process $pid"
        return 1
    fi
}

check() {
    local part port free tool holder tries variable
    for tool in setpriv setsid flock sha256sum; do
        command -v "$tool" >/dev/null || die "'$tool' is missing (util-linux, coreutils)"
    done
    free=$(df -Pk "$TIDEWATCH_STATE" | awk 'NR == 2 { print int($4 / 1024) }')
    ((free >= 2048)) || die "only $free MB are free where $TIDEWATCH_STATE lies, and Kafka and PostgreSQL need 2048 MB"
    for part in "${parts[@]}"; do
        if [[ -n ${TIDEWATCH_CHECK_TOOLS-yes} ]]; then
            case $part in
                kafka) java_program || die "Java 17 or later is missing: run scripts/install.sh" ;;
                postgres) postgres_bin || die "PostgreSQL 14 or later is missing: run scripts/install.sh" ;;
                redis) command -v redis-server >/dev/null || die "redis-server is missing: run scripts/install.sh" ;;
            esac
        fi
        variable=TIDEWATCH_${part^^}_PORT
        if [[ $part == tidewatch ]]; then variable=TIDEWATCH_PORT; fi
        port_of "$part"
        for port in $REPLY; do
            if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((port < 1 || port > 65535)); then die "'$port' is not a port (for $part)"; fi
            # What was killed a moment ago may hold its port for a moment still, after it has left the process list.
            for ((tries = 0; tries < 30; tries++)); do
                port_open "$port" || break
                sleep 0.1
            done
            if ((tries == 30)); then
                holder=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' | head -n 1)
                die "port $port, which $part needs, is in use$holder: free it or set $variable"
            fi
        done
    done
}

launch() {
    output_of "$1"
    rotate "$REPLY"
    # Bound to our life from the first moment, and without the lock: a part must not hold it when we are gone.
    setsid setpriv --pdeathsig KILL -- "$here/$1.sh" run </dev/null >"$REPLY" 2>&1 9>&- {nap}<&- &
    child[$1]=$!
    enter "$1" starting
}

# A part is gone. Meant, it is off; otherwise that is said once, with where to look.
ended() {
    local status=0
    wait "${child[$1]}" 2>/dev/null || status=$?
    rm -f "$run/$1.pid"
    if [[ ! -e $run/$1.off ]]; then
        output_of "$1"
        tell "$1 ended unexpectedly (status $status): $(tail -qn 1 "$REPLY" "$logs/$1.log" 2>/dev/null | tail -n 1 | cut -c 1-300); more in $logs/$1.log"
        : >"$run/$1.off"
        if ((!up)) || [[ $1 == tidewatch ]]; then
            stopping=2
        else
            tell "the others go on; to start it again: deploy/local/stack.sh start $1"
        fi
    fi
    enter "$1" off
}

watch() {
    case ${state[$1]} in
        off)
            if [[ -e $run/$1.off ]]; then return; fi
            # The services want all of what they stand on the first time; later they must cope.
            if [[ $1 == tidewatch ]] && ((!up)) && ! all_ready_but tidewatch; then return; fi
            launch "$1"
            ;;
        starting)
            if ! start_ticks "${child[$1]}"; then
                ended "$1"
            elif "$here/$1.sh" ready 9>&-; then
                enter "$1" ready
                tell "$1 is ready"
            elif ((EPOCHSECONDS - since[$1] > 120)); then
                tell "$1 is not ready after 120 s: giving up"
                kill_part "$1"
            fi
            ;;
        ready) start_ticks "${child[$1]}" || ended "$1" ;;
    esac
}

all_ready_but() {
    local part
    for part in "${parts[@]}"; do
        [[ $part == "$1" || ${state[$part]} == ready ]] || return 1
    done
}

announce() {
    local word value link='' key='' kafka=127.0.0.1:$TIDEWATCH_KAFKA_PORT
    if [[ " ${parts[*]} " != *" tidewatch "* ]]; then
        tell "the stack is ready: ${parts[*]}"
        return
    fi
    while read -r word value; do
        case $word in
            ready) link=$value ;;
            admin-key) key=$value ;;
            kafka) kafka=$value ;;
        esac
    done <"$run/tidewatch.out"
    tell "Tidewatch is up"
    say
    say "  open       $link  (this link works once)"
    say "  admin key  in $key"
    say "  Kafka      $kafka  (topics tidewatch.*)"
    say "  logs       $logs/"
    say
    if [[ -n ${TIDEWATCH_DETACHED:-} ]]; then say "make down stops all of it."; else say "Ctrl-C stops all of it."; fi
}

# The services first, while what they drain into still lives.
stop_all() {
    local part pids=()
    rm -f "$run/ready"
    for part in "${parts[@]}"; do : >"$run/$part.off"; done
    if process_of tidewatch; then
        tell "draining the services"
        stop_part tidewatch
    fi
    for part in "${parts[@]}"; do
        [[ $part != tidewatch ]] || continue
        stop_part "$part" 9>&- &
        pids+=($!)
    done
    for part in "${pids[@]}"; do wait "$part" || true; done
    rm -f "$run/supervisor.pid"
}

# Nothing in here may read: a read inside the timed read of a pause takes its clock away, and the pause never ends.
on_signal() {
    if ((stopping)) && ((${#child[@]})); then kill -s KILL "${child[@]}" 2>/dev/null || true; fi
    stopping=1
}

supervise() {
    local part
    make_state
    lock || { describe_running; exit; }
    record_process supervisor $$
    trap on_signal INT TERM HUP
    pause 0
    for part in "${parts[@]}"; do
        if process_of "$part"; then
            tell "$part was left by a stack that was killed: ending it"
            if [[ $part == postgres ]]; then stop_part postgres; else kill_part "$part"; fi
        fi
        rm -f "$run/$part.pid" "$run/$part.off"
    done
    rm -f "$run/ready"
    check
    if [[ " ${parts[*]} " == *" kafka "* ]]; then "$here/kafka.sh" fetch 9>&-; fi
    tell "starting ${parts[*]}"
    for part in "${parts[@]}"; do enter "$part" off; done
    while ((!stopping)); do
        for part in "${parts[@]}"; do watch "$part"; done
        if ((!up)) && all_ready_but none; then
            up=1
            : >"$run/ready"
            announce
        fi
        pause 0.1
    done
    stop_all
    if ((stopping == 2)); then
        tell "stopped, because a part failed"
        exit 1
    fi
    tell "all stopped; the data stays in $TIDEWATCH_STATE"
}

down() {
    [[ -d $run ]] || { say "nothing is running"; return; }
    exec 9>"$run/lock"
    if flock -n 9; then
        say "nothing is running"
    elif process_of supervisor; then
        kill -s TERM "$REPLY"
        flock -w 90 9 || die "process $REPLY has not stopped within 90 s: see $logs"
        say "stopped"
    else
        die "the lock $run/lock is held by a process that is not a supervisor"
    fi
}

await_state() {
    local wanted=$1 part=$2 left=$(($3 * 10)) now=
    while ((left-- > 0)); do
        { read -r now <"$run/$part.state"; } 2>/dev/null || now=
        if [[ $now == "$wanted" ]]; then return; fi
        if [[ $wanted == ready && $now == off && -e $run/$part.off ]]; then break; fi
        pause 0.1
    done
    die "$part is not $wanted: see $logs"
}

one_part() {
    port_of "$2"
    process_of supervisor || die "no stack runs in $TIDEWATCH_STATE"
    case $1 in
        start)
            if process_of "$2"; then return; fi
            await_state off "$2" 10
            rm -f "$run/$2.off"
            await_state ready "$2" 130
            ;;
        stop | kill)
            : >"$run/$2.off"
            "$1_part" "$2"
            await_state off "$2" 10
            ;;
    esac
}

status() {
    local part now
    for part in "${parts[@]}"; do
        now=off
        if process_of supervisor && [[ -r $run/$part.state ]]; then read -r now <"$run/$part.state"; fi
        if process_of "$part"; then now="$now (process $REPLY)"; fi
        printf '%-10s %s\n' "$part" "$now"
    done
    [[ -e $run/ready ]] && process_of supervisor
}

# What a program needs to know to use this stack, as a shell would read it.
addresses() {
    postgres_url || die "no stack was ever started in $TIDEWATCH_STATE"
    printf 'TIDEWATCH_KAFKA_BROKERS=127.0.0.1:%s\nTIDEWATCH_POSTGRES_URL=%s\nTIDEWATCH_REDIS_URL=redis://127.0.0.1:%s/\n' \
        "$TIDEWATCH_KAFKA_PORT" "$REPLY" "$TIDEWATCH_REDIS_PORT"
}

forget() {
    make_state
    lock || die "a stack is running in $TIDEWATCH_STATE: stop it first (make down)"
    if [[ -d $TIDEWATCH_STATE/postgres || -e $TIDEWATCH_STATE/postgres.path ]]; then "$here/postgres.sh" forget; fi
    # By name: the tools stay, and so does whatever somebody else put there.
    rm -rf "${TIDEWATCH_STATE:?}"/{kafka,redis,logs,admin.key,keys.yaml,run}
    say "all data in $TIDEWATCH_STATE is forgotten"
}

case "${1:-} $#" in
    "run 1") supervise ;;
    "down 1") down ;;
    "status 1") status ;;
    "check 1") make_state && check ;;
    "running 1") describe_running ;;
    "env 1") addresses ;;
    "forget 1") forget ;;
    "start 2" | "stop 2" | "kill 2") one_part "$1" "$2" ;;
    *) die "usage: stack.sh run | down | status | check | env | forget | start PART | stop PART | kill PART" ;;
esac
