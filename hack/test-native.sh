#!/usr/bin/env bash
# Builds the helper with ASan and UBSan and runs its test programs (native/helper/test/*_test.c), TAP on stdout.
#   hack/test-native.sh [NAME...]        only these ("launch" is launch_test.c)
#   hack/test-native.sh --fuzz SECONDS   the fuzz drivers, for that long each
#   hack/test-native.sh --bench          how long launches take, without sanitizers
# KEEP=1 keeps the scratch directories of the tests.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
cd "$(dirname "$0")/../native/helper" || exit 1
out=../build/test-helper
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9

sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1)
warnings=(-Wall -Wextra -Werror -Wshadow -Wformat=2 -Wwrite-strings)
compile=(gcc -std=c11 -D_GNU_SOURCE "${warnings[@]}")
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

# newest_header: objects older than it are built again
newest_header="$(find . -name '*.h' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)"

build() { # build SOURCE OBJECT
  if [ "$2" -ot "$1" ] || [ "$2" -ot "$newest_header" ]; then
    "${compile[@]}" "${sanitize[@]}" -c "$1" -o "$2" || exit 1
  fi
}

objects=()
for source in ./*.c test/*.c; do
  case "$source" in ./main.c | test/*_test.c | test/*_fuzz.c | test/*_bench.c | test/probe.c) continue ;; esac
  object="$out/$(basename "$source" .c).o"
  build "$source" "$object"
  objects+=("$object")
done
rm -f "$out/helper.a"
ar rcs "$out/helper.a" "${objects[@]}" || exit 1
if [ "$out/probe" -ot test/probe.c ]; then
  "${compile[@]}" -static -Os test/probe.c -o "$out/probe" || exit 1
fi
# The program as it is shipped: static, without sanitizers, against musl where it is there; its memory is measured.
newest_source="$(ls -t ./*.c ./*.h | head -n 1)"
if [ "$out/podwright-init" -ot "$newest_source" ]; then
  read -ra musl < <(bash musl.sh compile && echo)
  "${compile[@]}" "${musl[@]}" -static -no-pie -fno-pie -Os -ffunction-sections -fdata-sections \
    -Wl,--gc-sections -s ./*.c -o "$out/podwright-init" || exit 1
fi
PROBE="$(realpath "$out")/probe"
HELPER="$(realpath "$out")/podwright-init"
export PROBE HELPER

link() { # link SOURCE PROGRAM
  "${compile[@]}" "${sanitize[@]}" "$1" "$out/helper.a" -o "$2" || exit 1
}

if [ "${1:-}" = --fuzz ]; then
  for source in test/*_fuzz.c; do
    link "$source" "$out/$(basename "$source" .c)"
    "$out/$(basename "$source" .c)" --seconds "${2:-60}" || exit 1
  done
  exit 0
fi

if [ "${1:-}" = --bench ]; then
  mapfile -t sources < <(find . -maxdepth 1 -name '*.c' ! -name main.c)
  "${compile[@]}" -O2 -static "${sources[@]}" test/{builder,fixture,tap,launch_bench}.c -o "$out/launch_bench" || exit 1
  exec "$out/launch_bench"
fi

for source in test/*_test.c test/*_fuzz.c; do
  name="$(basename "$source" .c)"
  if [ $# -gt 0 ] && [[ " $* " != *" ${name%_test} "* && " $* " != *" $name "* ]]; then continue; fi
  link "$source" "$out/$name"
  case "$name" in
    *_fuzz) run "$name" "$out/$name" --runs 200000 ;;
    *) run "$name" "$out/$name" ;;
  esac
done
totals
