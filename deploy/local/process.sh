# shellcheck shell=bash
# Sourced. Which processes are ours, and how to end them. In: run/<part>.pid, written by the part itself before anything else.
# Keeps: a signal only ever goes to a process that this state folder started; a reused process id is told apart by boot and start time.

# Where the records lie; settings.sh says so too, and this line is for those who read this file alone.
run=${run:-$TIDEWATCH_STATE/run}

# Start of a process in clock ticks since boot; REPLY. Fails for one that is gone or only waits to be reaped.
start_ticks() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    local -a field
    # The name in parentheses may hold blanks: count from behind it.
    read -ra field <<<"${stat##*) }"
    [[ ${field[0]} != Z && ${field[0]} != X ]] || return 1
    REPLY=${field[19]}
}

record_process() {
    local boot
    read -r boot </proc/sys/kernel/random/boot_id
    start_ticks "$2" || return 1
    printf '%s %s %s\n' "$2" "$REPLY" "$boot" >"$run/$1.pid.new"
    mv -f "$run/$1.pid.new" "$run/$1.pid"
}

# The living process of a part; REPLY. A stale file is no process.
process_of() {
    local pid ticks boot now
    { read -r pid ticks boot <"$run/$1.pid"; } 2>/dev/null || return 1
    read -r now </proc/sys/kernel/random/boot_id
    [[ $boot == "$now" ]] || return 1
    start_ticks "$pid" && [[ $REPLY == "$ticks" ]] || return 1
    REPLY=$pid
}

# Waits until a part's process is gone. $2: seconds.
await_end() {
    local left=$(($2 * 10))
    while process_of "$1"; do
        ((left-- > 0)) || return 1
        pause 0.1
    done
}

# Sleeps without a process of its own: a pipe that nobody writes to.
pause() {
    [[ -n ${nap:-} ]] || exec {nap}<> <(:)
    read -r -t "$1" -u "$nap" _ || true
}

# Ends a part: asks, waits, insists. $2: the signal that asks; $3: seconds it has.
end_part() {
    if process_of "$1"; then
        kill -s "$2" "$REPLY" 2>/dev/null || true
        if ! await_end "$1" "$3"; then
            if process_of "$1"; then
                say "$1 has not ended within $3 s: killing it"
                kill_part "$1"
            fi
        fi
    fi
    rm -f "$run/$1.pid"
}

# SIGKILL, with the children that would outlive their parent (PostgreSQL's backends finish their query first).
kill_part() {
    local pid children=
    process_of "$1" || return 0
    pid=$REPLY
    { read -r children <"/proc/$pid/task/$pid/children"; } 2>/dev/null || true
    # shellcheck disable=SC2086 # a list of process ids
    kill -s KILL "$pid" $children 2>/dev/null || true
    await_end "$1" 10 || die "process $pid ($1) does not die"
}

# How each part likes to be asked, and how long it may take.
stop_part() {
    case $1 in
        kafka) end_part kafka TERM 30 ;;
        postgres) end_part postgres INT 30 ;;
        redis) end_part redis TERM 10 ;;
        # The services drain for at most 15 s.
        tidewatch) end_part tidewatch TERM 20 ;;
    esac
}

# Becomes the program, in a session of its own (Ctrl-C is for the supervisor, which stops the parts in order) and bound to
# the supervisor's life: the kernel sends $1 when the supervisor is gone, however it went.
become() {
    local farewell=$1
    shift
    exec setpriv --pdeathsig "$farewell" -- "$@"
}
