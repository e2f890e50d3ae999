# shellcheck shell=bash
# Sourced by every script of the local stack. In: the environment. Out: paths, ports and addresses, and how to speak to the
# person. Keeps: all that a stack owns lies below $TIDEWATCH_STATE, so that two stacks never share anything but the tools.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$here/../.." && pwd -P)

TIDEWATCH_STATE=${TIDEWATCH_STATE:-$repo/.tidewatch}
case $TIDEWATCH_STATE in /*) ;; *) TIDEWATCH_STATE=$PWD/$TIDEWATCH_STATE ;; esac
# Programs that install and resolve bring: shared by all stacks of a checkout, kept by clean-data.
TIDEWATCH_TOOLS=${TIDEWATCH_TOOLS:-$repo/.tidewatch/tools}

TIDEWATCH_PORT=${TIDEWATCH_PORT:-8080}
TIDEWATCH_KAFKA_PORT=${TIDEWATCH_KAFKA_PORT:-29092}
# The one node is its own KRaft controller, which wants a port too: the next one, unless told.
TIDEWATCH_KAFKA_CONTROLLER_PORT=${TIDEWATCH_KAFKA_CONTROLLER_PORT:-$((TIDEWATCH_KAFKA_PORT + 1))}
TIDEWATCH_POSTGRES_PORT=${TIDEWATCH_POSTGRES_PORT:-25432}
TIDEWATCH_REDIS_PORT=${TIDEWATCH_REDIS_PORT:-26379}
# What the supervisor runs. Tests leave tidewatch out and start its services themselves.
TIDEWATCH_PARTS=${TIDEWATCH_PARTS:-kafka postgres redis tidewatch}
export TIDEWATCH_STATE TIDEWATCH_TOOLS TIDEWATCH_PORT TIDEWATCH_KAFKA_PORT TIDEWATCH_KAFKA_CONTROLLER_PORT
export TIDEWATCH_POSTGRES_PORT TIDEWATCH_REDIS_PORT TIDEWATCH_PARTS

run=$TIDEWATCH_STATE/run
logs=$TIDEWATCH_STATE/logs
# The node that install.sh may have brought, for hosts whose own is too old.
PATH=$TIDEWATCH_TOOLS/node_modules/node/bin:$HOME/.cargo/bin:$PATH

say() { printf '%s\n' "$*"; }

# One sentence, then the end. 64 is the status of a usage error in the services too.
die() {
    printf 'tidewatch: %s\n' "$*" >&2
    exit 1
}

make_state() {
    mkdir -p "$run" "$logs" || die "cannot create $TIDEWATCH_STATE"
    # Logs may quote what the services saw; the state folder itself stays open, since PostgreSQL may run as another user below it.
    chmod 700 "$run" "$logs"
}

# Keeps one older generation, so that a log never grows for ever and the run before the crash can still be read.
rotate() {
    if [[ -s $1 ]]; then mv -f "$1" "$1.1"; fi
}

port_of() {
    case $1 in
        kafka) REPLY="$TIDEWATCH_KAFKA_PORT $TIDEWATCH_KAFKA_CONTROLLER_PORT" ;;
        postgres) REPLY=$TIDEWATCH_POSTGRES_PORT ;;
        redis) REPLY=$TIDEWATCH_REDIS_PORT ;;
        tidewatch) REPLY=$TIDEWATCH_PORT ;;
        *) die "there is no part named '$1' (kafka, postgres, redis, tidewatch)" ;;
    esac
}

port_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

postgres_url() {
    local password
    read -r password <"$TIDEWATCH_STATE/postgres.password" || return 1
    REPLY="postgres://tidewatch:$password@127.0.0.1:$TIDEWATCH_POSTGRES_PORT/tidewatch"
}

# The directory of the newest installed PostgreSQL from 14 on; REPLY.
postgres_bin() {
    local candidate version best=0
    REPLY=
    for candidate in "${TIDEWATCH_POSTGRES_BIN:-}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [[ -x $candidate/postgres && -x $candidate/initdb ]] || continue
        if [[ $candidate == "${TIDEWATCH_POSTGRES_BIN:-}" ]]; then
            REPLY=$candidate
            return
        fi
        version=${candidate%/bin}
        version=${version##*[/-]}
        if [[ $version =~ ^[0-9]+$ ]] && ((version >= 14 && version > best)); then
            best=$version
            REPLY=$candidate
        fi
    done
    [[ -n $REPLY ]]
}

# The java of version 17 or later; REPLY. The release file spares the start of a JVM only to ask.
java_program() {
    local candidate home version
    for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [[ -x $candidate ]] || continue
        home=$(readlink -f "$candidate")
        home=${home%/bin/java}
        version=
        if [[ -r $home/release ]]; then
            version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
        else
            version=$("$candidate" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
        fi
        if [[ -n $version ]] && ((version >= 17)); then
            REPLY=$candidate
            return
        fi
    done
    REPLY=
    return 1
}
