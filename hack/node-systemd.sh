#!/usr/bin/env bash
# Stands in for systemd where Kubernetes' node conformance suite runs: it starts, ends and restarts the kubelet by systemd-run and
# systemctl, mostly by way of sudo. Called by those names, with $SYSTEMD_STANDIN naming the directory of its state; knows one
# service, and of each program no more than the suite asks of it.
set -euo pipefail
state="$SYSTEMD_STANDIN"

start_service() {
  local command
  mapfile -t -d '' command <"$state/command"
  setsid "${command[@]}" </dev/null >>"$(<"$state/log")" 2>&1 9>&- &
  echo $! >"$state/pid"
}

service_runs() { [ -e "$state/pid" ] && kill -0 "$(<"$state/pid")" 2>/dev/null; }

end_service() {
  if ! service_runs; then return; fi
  kill "$(<"$state/pid")" 2>/dev/null || true
  tail --pid="$(<"$state/pid")" -f /dev/null
}

# systemd_run [-p PROPERTY]… --unit=NAME [OPTION]… COMMAND [ARGUMENT]…
systemd_run() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --version)
        echo 'systemd 252'
        return
        ;;
      -p)
        case "$2" in StandardError=*) printf '%s\n' "${2#StandardError=*:}" >"$state/log" ;; esac
        shift
        ;;
      --unit=*) printf '%s\n' "${1#--unit=}" >"$state/unit" ;;
      -*) ;;
      *) break ;;
    esac
    shift
  done
  printf '%s\0' "$@" >"$state/command"
  start_service
}

# systemctl COMMAND [UNIT] [OPTION]…
systemctl() {
  case "$1" in
    list-units)
      # Those that run, if only those are wanted.
      if [[ "$*" != *--state=running* ]] || service_runs; then cat "$state/unit"; fi
      ;;
    kill | stop) end_service ;;
    start) service_runs || start_service ;;
    restart)
      end_service
      start_service
      ;;
    reset-failed) ;;
    *)
      echo "systemctl: the stand-in does not know $1" >&2
      return 1
      ;;
  esac
}

case "${0##*/}" in
  sudo) exec "$@" ;;
  systemd-run) systemd_run "$@" ;;
  systemctl) systemctl "$@" ;;
esac
