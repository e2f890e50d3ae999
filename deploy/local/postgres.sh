#!/usr/bin/env bash
# PostgreSQL with the database and user tidewatch. run: become the server; ready: does it let us in?
# Keeps: never runs as root; only the holder of the password file gets in, over loopback; a crash loses nothing committed.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=process.sh
source "$here/process.sh"

postgres_bin || die "PostgreSQL 14 or later is missing: run scripts/install.sh"
bin=$REPLY
password_file=$TIDEWATCH_STATE/postgres.password
# The server refuses to run as root. As root we drop to the user that the package made; otherwise it runs as ourselves.
drop=()
if ((EUID == 0)); then
    id postgres >/dev/null 2>&1 || die "PostgreSQL does not run as root and there is no user 'postgres' to run it as"
    drop=(setpriv --reuid postgres --regid postgres --init-groups --)
fi

# Where the data lies; `data`. Below the state folder if the server's user can walk there, else under /var/tmp, and
# postgres.path tells where.
locate() {
    data=$TIDEWATCH_STATE/postgres
    if [[ -s $TIDEWATCH_STATE/postgres.path ]]; then
        read -r data <"$TIDEWATCH_STATE/postgres.path"
    elif [[ ! -d $data ]] && ! "${drop[@]}" test -x "$TIDEWATCH_STATE"; then
        # A name nobody can guess ahead: /var/tmp is everybody's.
        data=$(mktemp -d "/var/tmp/tidewatch-XXXXXXXXXX")/postgres
        printf '%s\n' "$data" >"$TIDEWATCH_STATE/postgres.path"
        chmod 711 "${data%/postgres}"
    fi
    if [[ ! -d $data ]]; then
        mkdir -p "$data"
        chmod 700 "$data"
        if ((EUID == 0)); then chown postgres:postgres "$data"; fi
    fi
}

create() {
    local password
    # Never half a cluster: it is made beside and moved when it is whole.
    "${drop[@]}" rm -rf "$data/new"
    "${drop[@]}" "$bin/initdb" -D "$data/new" -U postgres -E UTF8 --locale=C.UTF-8 --auth=reject --no-sync --no-instructions
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # The superuser can only be reached in single-user mode, by whoever owns the files; programs are tidewatch, with a
    # password: on a shared machine loopback is open to everyone. No Unix socket: nothing would use it.
    printf '%s\n' "CREATE ROLE tidewatch LOGIN CREATEDB PASSWORD '$password';" 'CREATE DATABASE tidewatch OWNER tidewatch;' |
        "${drop[@]}" "$bin/postgres" --single -D "$data/new" postgres >/dev/null
    "${drop[@]}" tee "$data/new/pg_hba.conf" >/dev/null <<<'host all tidewatch 127.0.0.1/32 scram-sha-256'
    (umask 077 && printf '%s\n' "$password" >"$password_file")
    "${drop[@]}" mv "$data/new" "$data/cluster"
    sync -f "$data"
}

# Whatever still works in our data folder is an orphan of a stack that was killed: no other process has that folder.
reap() {
    local process attempt
    for attempt in 1 2 3 4 5; do
        local found=
        for process in /proc/[0-9]*; do
            if [[ $process/cwd -ef $data/cluster ]]; then
                found=1
                kill -s KILL "${process#/proc/}" 2>/dev/null || true
            fi
        done
        [[ -n $found ]] || break
        pause "0.$attempt"
    done
    rm -f "$data/cluster/postmaster.pid"
}

server() {
    record_process postgres $$
    local data
    # The server's user may not be allowed where we stand.
    cd /
    locate
    [[ -f $data/cluster/PG_VERSION ]] || create
    local made
    read -r made <"$data/cluster/PG_VERSION"
    # A newer version that was installed since cannot read these files.
    if [[ -x /usr/lib/postgresql/$made/bin/postgres ]]; then bin=/usr/lib/postgresql/$made/bin; fi
    [[ $("$bin/postgres" --version) == *" $made"[.\ ]* ]] ||
        die "the data in $data is of PostgreSQL $made, which $bin is not: install that version or run make clean-data"
    reap
    local -a user=()
    if ((EUID == 0)); then user=(--reuid postgres --regid postgres --init-groups); fi
    # QUIT is its immediate shutdown: all backends end at once, and the next start replays the log.
    exec setpriv "${user[@]}" --pdeathsig QUIT -- "$bin/postgres" -D "$data/cluster" \
        -c listen_addresses=127.0.0.1 -c port="$TIDEWATCH_POSTGRES_PORT" -c unix_socket_directories= \
        -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=2GB -c wal_compression=on -c jit=off \
        -c log_line_prefix='%m [%p] %q%u@%d ' -c log_timezone=UTC -c log_checkpoints=off -c timezone=UTC \
        -c cluster_name=tidewatch
}

case ${1:-} in
    run) server ;;
    ready) "$bin/pg_isready" -q -h 127.0.0.1 -p "$TIDEWATCH_POSTGRES_PORT" -d tidewatch -U tidewatch ;;
    forget)
        locate
        rm -rf "$data" "$password_file" "$TIDEWATCH_STATE/postgres.path"
        case $data in /var/tmp/tidewatch-*/postgres) rmdir "${data%/postgres}" ;; esac
        ;;
    *) die "usage: postgres.sh run | ready | forget" ;;
esac
