#!/usr/bin/env bash
# make eval-detection: builds the detector as an image builds it (PROFILE=dist) and judges it on labelled series.
# In: TIDEWATCH_EVAL, the folder of score.py and the references, ../shared/eval otherwise; TIDEWATCH_EVAL_DATA, the series, `data`
# beside that folder otherwise; TIDEWATCH_TEST_PROGRAMS, where built programs are. Keeps: what is missing is said before anything
# is built.
set -euo pipefail
# shellcheck source=../deploy/local/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/settings.sh"
cd "$repo"

eval=${TIDEWATCH_EVAL:-../shared/eval}
data=${TIDEWATCH_EVAL_DATA:-$eval/../data}
for file in score.py reference_detector.py reference_loud.py; do
    [[ -e $eval/$file ]] || die "$eval/$file is missing: TIDEWATCH_EVAL has to name the folder with score.py and the references"
done
for set in nab web servers; do
    [[ -d $data/$set ]] || die "$data/$set is missing: TIDEWATCH_EVAL_DATA has to name the folder with the labelled series"
done

if [[ -z ${TIDEWATCH_TEST_PROGRAMS:-} ]]; then
    profile=${PROFILE:-dist}
    cargo build --locked --profile "$profile" -p tidewatch
    TIDEWATCH_TEST_PROGRAMS=${CARGO_TARGET_DIR:-$repo/target}/$profile
fi
TIDEWATCH_EVAL=$(cd "$eval" && pwd -P)
TIDEWATCH_EVAL_DATA=$(cd "$data" && pwd -P)
export TIDEWATCH_TEST_PROGRAMS TIDEWATCH_EVAL TIDEWATCH_EVAL_DATA
venv=$(scripts/venv.sh bench/detection.txt)
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" bench/detection.py
