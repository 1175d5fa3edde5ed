#!/usr/bin/env bash
# Runs a command, as root, where a kubelet does no harm: node-namespaces.sh [--own-cgroups] COMMAND… Ports, mounts, interfaces,
# processes and System V objects stay in namespaces of their own; the kernel settings that a kubelet writes for the whole machine
# are put back. With --own-cgroups the top of every cgroup hierarchy in there is a cgroup made for this run.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"

# The node's address; e2e/kubelet/places.ts has the same.
address=10.199.0.1
settings=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys
  kernel/keys/root_maxbytes)

# cgroup_mounts: a line for each hierarchy, "MOUNT_POINT TYPE OPTIONS".
cgroup_mounts() {
  sed -nE 's/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ ([^ ]+) .* - (cgroup2?) [^ ]+ (.*)$/\1 \2 \3/p' /proc/self/mountinfo
}

# enter_cgroup NAME: makes a cgroup of that name at the top of every hierarchy and puts this process there.
enter_cgroup() {
  local point
  while read -r point _; do
    mkdir -p "$point/$1"
    if [ -e "$point/$1/cpuset.mems" ] && [ -e "$point/cpuset.mems" ]; then
      cat "$point/cpuset.cpus" >"$point/$1/cpuset.cpus"
      cat "$point/cpuset.mems" >"$point/$1/cpuset.mems"
    fi
    echo $$ >"$point/$1/cgroup.procs"
  done < <(cgroup_mounts)
}

# leave_cgroup NAME: puts this process back to the top and removes what a run has left.
leave_cgroup() {
  local point
  while read -r point _; do
    echo $$ >"$point/cgroup.procs"
    # The kernel lets go of the last processes a moment after they have ended.
    for _ in {1..50}; do
      if find "$point/$1" -depth -type d -exec rmdir {} + 2>/dev/null; then break; fi
      sleep 0.1
    done
  done < <(cgroup_mounts)
}

# mount_cgroups: shows every hierarchy from this cgroup namespace's top on.
mount_cgroups() {
  local point type options
  while read -r point type options; do
    options="${options#r[ow]}"
    options="${options#,}"
    # The kernel refuses a file system on top of itself.
    umount "$point"
    mount -t "$type" ${options:+-o "${options/#name=/none,name=}"} cgroup "$point"
  done < <(cgroup_mounts)
}

# run_inside COMMAND…: the second half, in the namespaces. There may be no dummy device: the address is that of a veth's end.
run_inside() {
  local folder
  mount --make-rshared /
  if [ -n "$own_cgroups" ]; then mount_cgroups; fi
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
  "$@"
}

put_back() {
  local name
  for name in "${!before[@]}"; do printf '%s\n' "${before[$name]}" >"/proc/sys/$name"; done
  if [ -n "$own_cgroups" ]; then leave_cgroup "$own_cgroups"; fi
}

own_cgroups="${PODWRIGHT_NODE_CGROUP:-}"
if [ "${1:-}" = --inside ]; then
  shift
  run_inside "$@"
  exit
fi

# One at a time: the second would take for the machine's settings what the first one's kubelet wrote.
exec 9>"$cache/.e2e-kubelet.lock"
flock -n 9 || step 'waiting for another run' flock 9
namespaces=(--net --mount --ipc --pid --fork --kill-child --mount-proc)
if [ "${1:-}" = --own-cgroups ]; then
  shift
  own_cgroups="podwright-node-$$"
  namespaces+=(--cgroup)
fi
declare -A before
for name in "${settings[@]}"; do before[$name]="$(<"/proc/sys/$name")"; done
trap put_back EXIT
if [ -n "$own_cgroups" ]; then enter_cgroup "$own_cgroups"; fi
# Whatever runs is gone with the first process of the pid namespace.
PODWRIGHT_NODE_CGROUP="$own_cgroups" unshare "${namespaces[@]}" bash "$0" --inside "$@" 9>&-
