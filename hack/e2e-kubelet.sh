#!/usr/bin/env bash
# Runs a whole Kubernetes node over the built tree, as root: e2e-kubelet.sh [MOCHA_OPTION…], for example
# e2e-kubelet.sh --grep probe. Ports, mounts, interfaces and processes stay in namespaces of their own; the kernel settings that
# the kubelet writes for the whole machine are put back.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"

# The node's address; e2e/kubelet/places.ts has the same.
address=10.199.0.1
settings=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys
  kernel/keys/root_maxbytes)

# run_inside OPTION…: the second half, in the namespaces. There may be no dummy device: the address is that of a veth's end.
run_inside() {
  local folder
  mount --make-rshared /
  for folder in /var/log/pods /var/log/containers; do
    mkdir -p "$folder"
    mount -t tmpfs -o mode=0755 kubelet-logs "$folder"
  done
  ip link set lo up
  ip link add node0 type veth peer name node0-far
  ip address add "$address/24" dev node0
  ip link set node0-far up
  ip link set node0 up
  ip route add default via "${address%.*}.254" dev node0
  node_modules/.bin/mocha --no-config --forbid-only --timeout 180000 --slow 20000 \
    --reporter hack/mocha-totals.js 'dist/e2e/kubelet/*.scenarios.js' "$@"
}

put_back() {
  local name
  for name in "${!before[@]}"; do printf '%s\n' "${before[$name]}" >"/proc/sys/$name"; done
}

if [ "${1:-}" = --inside ]; then
  shift
  run_inside "$@"
  exit
fi

bash hack/setup/go-tools.sh kubernetes etcd metrics-server
# One at a time: the second would take for the machine's settings what the first one's kubelet wrote.
exec 9>"$cache/.e2e-kubelet.lock"
flock -n 9 || step 'waiting for another run' flock 9
declare -A before
for name in "${settings[@]}"; do before[$name]="$(<"/proc/sys/$name")"; done
trap put_back EXIT
# Whatever runs is gone with the first process of the pid namespace.
unshare --net --mount --pid --fork --kill-child --mount-proc bash "$0" --inside "$@" 9>&-
