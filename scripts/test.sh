#!/usr/bin/env bash
# make test: every suite, one after the other; the last line is the sum, `N passed, N failed`.
# In: the checkout, or the names of some suites. Out: a log for each suite in .tidewatch/logs/test. Keeps: a suite that fails
# does not hide the next; one that ends without a count has failed; all builds use the same flags and target folder.
set -uo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"
cd "$repo" || exit 1

log_dir=$repo/.tidewatch/logs/test
mkdir -p "$log_dir"
# Counts are parsed: no colours, no cursor tricks.
export NO_COLOR=1 CARGO_TERM_COLOR=never FORCE_COLOR=0 PYTHONDONTWRITEBYTECODE=1 CI=1
# The tests start stacks of their own; a state that the caller chose is not theirs to touch.
unset TIDEWATCH_STATE TIDEWATCH_PORT TIDEWATCH_KAFKA_PORT TIDEWATCH_KAFKA_CONTROLLER_PORT TIDEWATCH_POSTGRES_PORT \
    TIDEWATCH_REDIS_PORT TIDEWATCH_PARTS RUSTFLAGS

# Each prints "passed failed" for the log in $1 and the status in $2; nothing when it finds no count.
count_one() { if (($2 == 0)); then echo 1 0; else echo 0 1; fi; }

count_cargo() {
    sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$1" |
        awk '{ p += $1; f += $2 } END { if (NR) print p + 0, f + 0 }'
}

count_vitest() {
    # "Tests  1 failed | 11 passed (12)"; the files have a line of their own.
    grep -E '^ *Tests +[0-9]' "$1" | tail -n 1 |
        awk '{ for (i = 2; i <= NF; i++) { if ($i == "passed") p = $(i - 1); if ($i == "failed") f = $(i - 1) } print p + 0, f + 0 }'
}

count_pytest() {
    # "2 failed, 10 passed, 1 error in 3.2s", between equals signs or not.
    grep -E '(passed|failed|error|errors).* in [0-9.]+ ?s' "$1" | tail -n 1 |
        awk '{ for (i = 2; i <= NF; i++) { w = $i; sub(/,$/, "", w)
               if (w == "passed") p += $(i - 1); if (w ~ /^(failed|errors?)$/) f += $(i - 1) } print p + 0, f + 0 }'
}

build_program() {
    cargo build --release --locked --workspace
}

# Wherever tests are: the services' main.rs and the documentation have none, and each would be built and linked for that.
cargo_tests() {
    local unseen
    if unseen=$(grep -lE '#\[(tokio::)?test' -- */src/main.rs bench/src/bin/*.rs | grep -v '^tidewatch/'); then
        say "tests that nobody runs: $unseen"
        return 1
    fi
    cargo test --release --locked --workspace --no-fail-fast --lib --bin tidewatch --test '*'
}

web_test() {
    scripts/web.sh install && (cd visualizer/web && npm test)
}

web_check() {
    (cd visualizer/web && npm run check)
}

shell_check() {
    git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -x -P SCRIPTDIR
}

python_tests() {
    local venv
    venv=$(scripts/venv.sh) || return 1
    "$venv/bin/python" -m pytest -p no:cacheprovider --color=no -ra --durations=10 "$@"
}

helm_check() {
    local venv
    venv=$(scripts/venv.sh) || return 1
    PATH=$venv/bin:$PATH deploy/helm/check.sh
}

fault_runs() {
    if [[ -z ${TIDEWATCH_TEST_PROGRAMS:-} ]]; then
        cargo build --release --locked -p tidewatch-stream-processor || return
    fi
    # -s: each run tells how it went
    python_tests -s tests/e2e/test_moving_partitions.py -k test_every_run_is_exact
}

alert_fault_runs() {
    if [[ -z ${TIDEWATCH_TEST_PROGRAMS:-} ]]; then
        cargo build --release --locked -p tidewatch -p tidewatch-analyzer || return
    fi
    # -s: the mishaps are told as they were
    python_tests -s tests/e2e/test_moving_alerts.py
}

broken_builds() {
    # a folder of its own: the other programs are the ones for use
    local target=${CARGO_TARGET_DIR:-$repo/target}/broken
    CARGO_TARGET_DIR=$target cargo build --release --locked -p tidewatch-stream-processor --features broken || return
    TIDEWATCH_TEST_PROGRAMS=$target/release python_tests -s tests/e2e/broken_builds.py
}

# name, how to count, command; in this order: quick ones first, those that need the programs after the build.
suites=(
    'shell one shell_check'
    'fmt one cargo fmt --all --check'
    'web vitest web_test'
    'web-check one web_check'
    'web-build one scripts/web.sh build'
    'build one build_program'
    'clippy one cargo clippy --release --locked --workspace --all-targets -- -D warnings'
    'cargo cargo cargo_tests'
    'contracts pytest python_tests tests/contracts'
    'helm one helm_check'
    # two files at a time: they wait more than they work
    'e2e pytest python_tests -n 2 --no-loadscope-reorder tests/e2e'
)
# Only for those who ask for them by name: e2e plays some of these runs too.
if [[ " $* " == *" fault-runs "* ]]; then suites+=('fault-runs pytest fault_runs'); fi
if [[ " $* " == *" alert-fault-runs "* ]]; then suites+=('alert-fault-runs pytest alert_fault_runs'); fi
if [[ " $* " == *" broken-builds "* ]]; then suites+=('broken-builds pytest broken_builds'); fi

if ! scripts/install.sh --for tests; then
    say '0 passed, 1 failed'
    exit 1
fi

passed=0 failed=0 broken=() ran=0
for suite in "${suites[@]}"; do
    read -r name counter command <<<"$suite"
    if (($#)) && [[ " $* " != *" $name "* ]]; then continue; fi
    ran=$((ran + 1))
    log=$log_dir/$name.log
    say "== $name"
    began=$EPOCHSECONDS
    # shellcheck disable=SC2086 # a command and its words, of the table above
    $command </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    # rustc repeats the warnings of what it did not have to build again, so this is no matter of luck.
    if [[ $name == build || $name == cargo ]] && grep -q '^warning:' "$log"; then
        say "the compiler warned: a warning fails"
        status=1
    fi
    read -r good bad <<<"$("count_$counter" "$log" "$status")"
    good=${good:-0} bad=${bad:-0}
    # Failed without a failed test: it did not compile, or died. No test at all is a failure too.
    if ((bad == 0)) && ((status || good == 0)); then bad=1; fi
    passed=$((passed + good)) failed=$((failed + bad))
    if ((bad)); then broken+=("$name"); fi
    say "== $name: $good passed, $bad failed, $((EPOCHSECONDS - began)) s"
done

if ((ran == 0)); then
    say "no suite is named so: $*"
    failed=1
fi
if ((${#broken[@]})); then say "failed: ${broken[*]} (logs in $log_dir)"; fi
say "$passed passed, $failed failed"
((failed == 0))
