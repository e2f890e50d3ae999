#!/usr/bin/env bash
# make bench-NAME: builds what a benchmark measures, and runs it. In: the benchmark's name; its own settings from the environment.
# Keeps: what is measured is built as an image builds it (PROFILE=dist), unless the caller says where built programs are.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"
cd "$repo"

bench=bench/${1:?name of a benchmark}.py
[[ -e $bench ]] || die "there is no benchmark named $1"
profile=${PROFILE:-dist}
packages=(-p tidewatch -p tidewatch-bench)
case $1 in
    stream) packages+=(-p tidewatch-stream-processor) ;;
    sink | packing) packages+=(-p tidewatch-sink) ;;
    query | plans) packages+=(-p tidewatch-sink -p tidewatch-visualizer) ;;
    analyzer | fleet) packages=(-p tidewatch-bench) ;;
esac

if [[ -z ${TIDEWATCH_TEST_PROGRAMS:-} ]]; then
    cargo build --locked --profile "$profile" "${packages[@]}"
    TIDEWATCH_TEST_PROGRAMS=${CARGO_TARGET_DIR:-$repo/target}/$profile
fi
export TIDEWATCH_TEST_PROGRAMS
if [[ $1 == analyzer ]]; then
    # a project of its own: the peer is no dependency of ours
    cargo build --locked --profile "$profile" --manifest-path bench/peers/forest/Cargo.toml --target-dir bench/peers/target/forest
fi
venv=$(scripts/venv.sh)
case $1 in
    # no Kafka, so no Java
    analyzer | fleet) REPLY= ;;
    *) java_program || die "Java 17 or later is missing: run scripts/install.sh" ;;
esac
TIDEWATCH_BENCH_JAVA=$REPLY PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$bench"
