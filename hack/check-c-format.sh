#!/usr/bin/env bash
# Checks C and C++ against .clang-format; --fix rewrites the files instead.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
  echo 'check-c-format: clang-format is not installed, nothing was checked' >&2
  exit 0
fi
mapfile -t files < <(find native e2e -path native/build -prune -o -name '*.c' -print -o -name '*.h' -print -o -name '*.cc' -print)
if [ "${1:-}" = --fix ]; then
  exec clang-format -i "${files[@]}"
fi
exec clang-format --dry-run --Werror "${files[@]}"
