#!/bin/bash
# Runs in the guest, started by guest.service: the job of this disk with its output on one serial port, then what the
# job left in results/ as a tar archive on another.
set -u
cd "$(dirname "$0")/tree" || exit
exec </dev/null >/dev/virtio-ports/podwright.log 2>&1

results="$(dirname "$0")/results"
mkdir -p "$results"
export HOME=/root RESULTS="$results" PODWRIGHT_CACHE="$PWD/.cache" PATH="$PWD/.cache/bin:$PATH"
export PODWRIGHT_CNI_BIN="$PODWRIGHT_CACHE/cni/bin" DOCKER_REGISTRY="$PODWRIGHT_CACHE/docker-registry"
ip link set lo up

printf '== up after %s s: Linux %s, %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$(uname -r)" \
  "$(cat /sys/fs/cgroup/cgroup.controllers)"
status=0
bash ../job.sh || status=$?
dmesg >"$results/dmesg.txt"
tar -C "$results" -cf /dev/virtio-ports/podwright.results .
printf '== ended with %d\n' "$status"
