#!/usr/bin/env bash
# Builds the unpacker with ASan and UBSan and runs its tests, TAP on stdout:
#   the C test programs here, then runtime/snapshot's tests of the whole program (root, and `npm run build:ts` before).
#   native/unpack/test/run.sh [--fuzz SECONDS]    the fuzz driver alone, for that long
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../hack/tap.sh"
cd "$(dirname "$0")/.." || exit 1
out=../build/test-unpack
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9

sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
compile=(gcc -std=c11 -D_GNU_SOURCE -DUNPACK_SANITIZED -Wall -Wextra -Werror "${sanitize[@]}")
tap=../helper/test/tap.c
reader=(tar.c tar_header.c tar_number.c tar_pax.c tar_sparse.c tar_stream.c)
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

"${compile[@]}" test/tar_fuzz.c "$tap" "${reader[@]}" -o "$out/tar_fuzz" || exit 1
if [ "${1:-}" = --fuzz ]; then
  exec "$out/tar_fuzz" --seconds "${2:-60}" --seed "$(date +%s)"
fi

"${compile[@]}" test/number_test.c "$tap" tar_number.c -o "$out/number_test" || exit 1
run number_test "$out/number_test"
run tar_fuzz "$out/tar_fuzz" --runs 100000

tests=../../dist/runtime/snapshot
if [ ! -f "$tests/unpack.test.js" ]; then
  echo "ok - sanitized podwright-unpack # SKIP dist/ is not built"
  skipped=$((skipped + 1))
else
  "${compile[@]}" ./*.c -larchive -lisal -lcrypto -lseccomp -o "$out/podwright-unpack" || exit 1
  UNPACK="$(realpath "$out/podwright-unpack")" run "sanitized podwright-unpack" \
    ../../node_modules/.bin/mocha --no-config --timeout 60000 --reporter tap \
    "$tests/unpack.test.js" "$tests/hostile.test.js" "$tests/snapshotter.test.js"
fi
totals
