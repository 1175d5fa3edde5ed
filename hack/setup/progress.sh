# shellcheck shell=bash
# Sourced by the scripts of hack/: where things are, progress lines with their time, stamps, one sentence on failure.

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cache="${PODWRIGHT_CACHE:-$repo/.cache}"
mkdir -p "$cache/bin" "$cache/stamps" "$cache/log"
PATH="$cache/bin:$PATH"
export PODWRIGHT_CACHE="$cache" PATH

# fail SENTENCE: says why and ends the script.
fail() {
  printf 'podwright: %s\n' "$*" >&2
  exit 1
}

# seconds_since START: the time since START (a value of EPOCHREALTIME) as "12.3".
seconds_since() {
  local from="${1/[.,]/}" to="${EPOCHREALTIME/[.,]/}"
  local tenths=$(((to - from + 50000) / 100000))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# step NAME COMMAND…: runs the command with its output in a log file and prints one line with the time it took.
step() {
  local name="$1" start="$EPOCHREALTIME" log status
  shift
  log="$cache/log/${name//[^A-Za-z0-9.]/-}.log"
  printf '  %-58s' "$name"
  # Not inside an `if`: bash would then ignore errexit in the functions called.
  set +e
  (
    set -euo pipefail
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ "$status" -ne 0 ]; then
    printf ' failed\n'
    tail -n 20 "$log" >&2
    fail "$name failed after $(seconds_since "$start") s; its whole output is in $log"
  fi
  printf '%6s s\n' "$(seconds_since "$start")"
}

# fingerprint WORD|FILE…: one hash over the words and the contents of the files among them.
fingerprint() {
  local item
  for item in "$@"; do
    if [ -f "$item" ]; then sha256sum <"$item"; else printf '%s\n' "$item"; fi
  done | sha256sum | cut -c 1-32
}

# stamped NAME HASH OUTPUT…: true when NAME was last made from HASH and every output is still there.
stamped() {
  local stamp="$cache/stamps/$1" hash="$2" output
  shift 2
  [ -f "$stamp" ] && [ "$(<"$stamp")" = "$hash" ] || return 1
  for output in "$@"; do
    [ -e "$output" ] || return 1
  done
}

# stamp NAME HASH: remembers that NAME was made from HASH.
stamp() {
  printf '%s\n' "$2" >"$cache/stamps/$1"
}

# debian_release: the number of the Debian release, "13" for trixie; a testing system counts as the newest.
debian_release() {
  local VERSION_ID=''
  # shellcheck disable=SC1091
  . /etc/os-release
  printf '%s' "${VERSION_ID:-99}"
}
