#!/usr/bin/env bash
# Everything: set-up, build, lint, unit tests, native tests, end-to-end tests, the CRI validation suite. As root.
#
# test.sh [STAGE…] runs only these of: lint unit native e2e critest. The last line holds the totals of all of them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"

stages=(lint unit native e2e critest)
if [ "$#" -gt 0 ]; then stages=("$@"); fi
limit_seconds=1200
totals_line='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'
passed=0 failed=0 skipped=0
table=''

lint() { bash hack/lint.sh; }
unit() { node_modules/.bin/mocha --reporter hack/mocha-totals.js; }
native() {
  local status=0
  bash hack/test-native.sh || status=1
  bash native/unpack/test/run.sh || status=1
  return "$status"
}
e2e() { bash hack/e2e.sh; }
critest() { bash hack/critest.sh; }

# count STAGE SECONDS STATUS LOG: adds a stage's own totals. One that ended badly without a failed test counts as one.
count() {
  local good=0 bad=0 left=0
  read -r good bad left < <(awk "/$totals_line/"' { p += $1; f += $3; s += $5 } END { print p + 0, f + 0, s + 0 }' "$4")
  if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  if [ "$3" -eq 0 ] && [ "$((good + bad))" -eq 0 ]; then bad=1; fi
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
  table+="$(printf '  %-10s%8s s%7d passed%6d failed%6d skipped' "$1" "$2" "$good" "$bad" "$left")"$'\n'
}

run_stage() {
  local stage="$1" start="$EPOCHREALTIME" log status
  log="$cache/log/stage-$stage.log"
  declare -F "$stage" >/dev/null || fail "no such stage: $stage (${stages[*]})"
  printf '\n== %s\n' "$stage"
  export -f "${stage?}"
  set +e
  # The stages' own totals are left out here: only the sum at the end is the result.
  timeout --foreground "$limit_seconds" bash -euc "$stage" </dev/null 2>&1 | tee "$log" | grep --line-buffered -vE "$totals_line"
  status="${PIPESTATUS[0]}"
  set -e
  if [ "$status" -eq 124 ]; then printf '%s did not end within %d s\n' "$stage" "$limit_seconds"; fi
  count "$stage" "$(seconds_since "$start")" "$status" "$log"
}

begin="$EPOCHREALTIME"
printf '== set-up\n'
if ! bash hack/setup.sh test; then
  printf '\n0 passed, 1 failed, 0 skipped\n'
  exit 1
fi
table+="$(printf '  %-10s%8s s' set-up "$(seconds_since "$begin")")"$'\n'
for stage in "${stages[@]}"; do run_stage "$stage"; done
printf '\n%s  %-10s%8s s\n\n' "$table" all "$(seconds_since "$begin")"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
