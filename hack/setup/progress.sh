# shellcheck shell=bash
# Sourced by the scripts of hack/: where things are, progress lines with their time, stamps, one sentence on failure.

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cache="${PODWRIGHT_CACHE:-$repo/.cache}"
PATH="$cache/bin:$PATH"
export PODWRIGHT_CACHE="$cache" PODWRIGHT_CNI_BIN="$cache/cni/bin" PATH
if [ ! -x /usr/bin/docker-registry ]; then export DOCKER_REGISTRY="$cache/bin/docker-registry"; fi

# fail SENTENCE: says why and ends the script, once a step beside it has ended too.
fail() {
  wait
  printf 'podwright: %s\n' "$*" >&2
  exit 1
}

mkdir -p "$cache/bin" "$cache/stamps" "$cache/log" 2>/dev/null ||
  fail "$cache cannot be written to: run this as root, or name another folder in PODWRIGHT_CACHE"

# seconds_since START: the time since START (a value of EPOCHREALTIME) as "12.3".
seconds_since() {
  local from="${1/[.,]/}" to="${EPOCHREALTIME/[.,]/}"
  local tenths=$(((to - from + 50000) / 100000))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# run_logged NAME COMMAND…: runs the command with its output in the log file of that name. Its status is left in
# step_status: a call inside `if` or `||` would make bash ignore errexit in everything called.
run_logged() {
  local log="$cache/log/${1//[^A-Za-z0-9.]/-}.log"
  shift
  set +e
  (
    set -euo pipefail
    "$@"
  ) >"$log" 2>&1 </dev/null
  step_status=$?
  set -e
}

# report_step NAME SECONDS STATUS: ends a step's line with its time, or the script with the end of its log.
report_step() {
  local log="$cache/log/${1//[^A-Za-z0-9.]/-}.log"
  if [ "$3" -ne 0 ]; then
    printf ' failed\n'
    tail -n 20 "$log" >&2
    fail "$1 failed after $2 s; its whole output is in $log"
  fi
  printf '%6s s\n' "$2"
}

# step NAME COMMAND…: one line with the name and the time it took; the output goes to a log file.
step() {
  local start="$EPOCHREALTIME"
  printf '  %-58s' "$1"
  run_logged "$@"
  report_step "$1" "$(seconds_since "$start")" "$step_status"
}

# begin_step NAME COMMAND…: starts a step beside those that follow; end_step waits for it, if
# there is one, and prints its line.
begin_step() {
  local start="$EPOCHREALTIME"
  background_name="$1"
  background_time="$cache/log/${1//[^A-Za-z0-9.]/-}.time"
  {
    run_logged "$@"
    seconds_since "$start" >"$background_time"
    exit "$step_status"
  } &
  background_pid=$!
}

end_step() {
  local status=0
  if [ -z "${background_pid:-}" ]; then return; fi
  printf '  %-58s' "$background_name"
  wait "$background_pid" || status=$?
  background_pid=''
  report_step "$background_name" "$(<"$background_time")" "$status"
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
