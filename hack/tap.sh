# shellcheck shell=bash
# Sourced by the scripts that run test programs which speak TAP: counts what they say.

passed=0 failed=0 skipped=0

# run NAME PROGRAM ARGUMENT…: shows what the program says. One that died before its plan, or that a sanitizer stopped,
# counts as one failed test.
run() {
  local name=$1 status text
  shift
  text="$(timeout 300 "$@" 2>&1)"
  status=$?
  printf '# %s\n%s\n' "$name" "$text"
  skipped=$((skipped + $(grep -c '^ok .* # SKIP' <<<"$text")))
  passed=$((passed + $(grep '^ok ' <<<"$text" | grep -vc '# SKIP')))
  failed=$((failed + $(grep -c '^not ok ' <<<"$text")))
  # mocha writes its plan last, and totals as comments.
  if ! grep -q '^\(1\.\.\|# tests\)' <<<"$text" || { [ "$status" -ne 0 ] && ! grep -q '^not ok ' <<<"$text"; }; then
    echo "not ok - $name ended with status $status"
    failed=$((failed + 1))
  fi
}

# totals: the last line; fails if a test has failed.
totals() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ]
}
