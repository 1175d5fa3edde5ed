#!/usr/bin/env bash
# Everything that is checked without running the product; needs a built tree. Ends with one line of totals.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"
PATH="$repo/node_modules/.bin:$PATH"

# What .clang-format means differs between versions.
clang_format_version=14

passed=0 failed=0 skipped=0

# check NAME COMMAND…: one check; its output is shown if it fails.
check() {
  local name="$1" start="$EPOCHREALTIME" output
  shift
  if output="$("$@" 2>&1)"; then
    passed=$((passed + 1))
    printf '  %-58s%6s s\n' "$name" "$(seconds_since "$start")"
  else
    failed=$((failed + 1))
    printf '  %-58s failed\n%s\n' "$name" "$output"
  fi
}

# skip NAME REASON
skip() {
  skipped=$((skipped + 1))
  printf '  %-58s skipped: %s\n' "$1" "$2"
}

shell_scripts() {
  printf '%s\n' .ci/run hack/podwright
  find hack native -name build -prune -o -name '*.sh' -print
}

mapfile -t scripts < <(shell_scripts)

check 'eslint: typed rules, direction of imports' eslint .
check 'the rule on the direction of imports' node --test hack/lint/rooms.test.js
check 'prettier' prettier --check --log-level warn .
check 'import cycles' madge --circular --no-spinner --extensions js dist/cri dist/runtime dist/native dist/e2e dist/hack
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  check 'shellcheck' shellcheck "${scripts[@]}"
else
  skip 'shellcheck' 'it is not installed'
fi
if clang-format --version 2>/dev/null | grep -q "version $clang_format_version\\."; then
  check 'clang-format' bash hack/check-c-format.sh
else
  skip 'clang-format' "needs version $clang_format_version (Debian 12's)"
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
