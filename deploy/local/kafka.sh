#!/usr/bin/env bash
# Apache Kafka, one KRaft node. fetch: resolve it into the tools; run: become the broker; ready: has it started?
# Keeps: the data outlives any end, the port may change between two runs, nothing is written outside the state and the tools.
set -euo pipefail
# shellcheck source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=process.sh
source "$here/process.sh"

pom=$here/pom.xml
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$pom")
hash=$(sha256sum "$pom")
libs=$TIDEWATCH_TOOLS/kafka-$version-${hash:0:12}
data=$TIDEWATCH_STATE/kafka

# A broker does not read what a later one has formatted, and says so in words of its own.
refuse_newer_data() {
    [[ -f $data/data/meta.properties ]] || return 0
    local wrote
    # The first versions of this script left no note; theirs was 4.3.0.
    wrote=$(cat "$data/version" 2>/dev/null || echo 4.3.0)
    [[ $(printf '%s\n' "$wrote" "$version" | sort -V | tail -n 1) == "$version" ]] ||
        die "the data in $data was written by Kafka $wrote, and $version can't read it: make clean-data forgets it"
}

fetch() {
    refuse_newer_data
    [[ -d $libs ]] && return
    local work=$libs.part
    mkdir -p "$TIDEWATCH_TOOLS"
    # Two stacks may start at once in a fresh checkout.
    exec 8>"$TIDEWATCH_TOOLS/kafka.lock"
    flock 8
    [[ -d $libs ]] && return
    command -v mvn >/dev/null || die "Maven is missing: run scripts/install.sh"
    say "resolving Apache Kafka $version (54 MB) from Maven Central"
    rm -rf "$work"
    # A repository of its own, thrown away afterwards: ~/.m2 is not ours.
    mvn -B -ntp -q -Dmaven.repo.local="$work/repository" -f "$pom" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$work/libs" >"$TIDEWATCH_TOOLS/kafka-fetch.log" 2>&1 8>&- ||
        die "Apache Kafka $version could not be resolved: $(grep -m 1 ERROR "$TIDEWATCH_TOOLS/kafka-fetch.log" || tail -n 1 "$TIDEWATCH_TOOLS/kafka-fetch.log")"
    mv "$work/libs" "$libs"
    rm -rf "$work"
}

write_properties() {
    cat >"$data/server.properties" <<EOF
process.roles=broker,controller
node.id=1
# Static voters rather than format --standalone: the port is then a setting, not part of the data.
controller.quorum.voters=1@127.0.0.1:$TIDEWATCH_KAFKA_CONTROLLER_PORT
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$TIDEWATCH_KAFKA_PORT,CONTROLLER://127.0.0.1:$TIDEWATCH_KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$TIDEWATCH_KAFKA_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/data
# One node: every copy is the only one.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# The defaults (50) are for fleets; each partition costs start-up time.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=1
# A topic that nobody declared is a mistake: say so instead of making it.
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# A stack that slept for three weeks still finds its place; longer than any topic's retention.
offsets.retention.minutes=43200
num.network.threads=2
num.io.threads=4
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=33554432
EOF
}

java_run() {
    java_program || die "Java 17 or later is missing: run scripts/install.sh"
    # Compressors unpack native code into the temporary folder, and the JVM leaves counters in /tmp: keep both here or not at all.
    command=("$REPLY" -XX:-UsePerfData "-Djava.io.tmpdir=$data/tmp" -Djava.awt.headless=true
        "-Dlog4j2.configurationFile=$here/log4j2.xml" "-Dtidewatch.logs=$logs" -cp "$libs/*")
}

broker() {
    record_process kafka $$
    [[ -d $libs ]] || die "Apache Kafka is not resolved: run deploy/local/kafka.sh fetch"
    mkdir -p "$data/tmp"
    chmod 700 "$data"
    write_properties
    rotate "$logs/kafka.log"
    local -a command
    java_run
    if [[ ! -f $data/data/meta.properties ]]; then
        # A format that was interrupted leaves a folder the broker refuses.
        rm -rf "$data/data"
        # Without "-": an id that begins with one would be taken for an option.
        "${command[@]}" -XX:TieredStopAtLevel=1 -Xmx128m kafka.tools.StorageTool format --config "$data/server.properties" \
            --cluster-id "$(head -c 16 /dev/urandom | base64 | tr '+/' '__' | tr -d '=')"
        rotate "$logs/kafka.log"
        echo "$version" >"$data/version"
    fi
    refuse_newer_data
    # Kafka's log survives SIGKILL; a graceful end could outlast the supervisor's successor.
    become KILL "${command[@]}" -Xms256m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError \
        kafka.Kafka "$data/server.properties"
}

case ${1:-} in
    fetch) fetch ;;
    run) broker ;;
    ready) grep -q 'Kafka Server started' "$logs/kafka.log" 2>/dev/null ;;
    tool)
        shift
        declare -a command
        java_run
        # The broker's log is the broker's alone.
        exec "${command[@]}" "-Dtidewatch.logs=$data/tmp" "$@"
        ;;
    *) die "usage: kafka.sh fetch | run | ready | tool CLASS ARGUMENT.." ;;
esac
