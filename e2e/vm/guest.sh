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
# Nobody is at the other end, but a node has an address that is no loopback's.
ip link add node0 type veth peer name node0-peer
ip address add 198.51.100.10/24 dev node0
ip link set node0-peer up
ip link set node0 up
# The first set of rules would load these one after the other, longer than nft is waited for when the host is busy too.
modprobe -a nft_chain_nat nft_ct nft_fib_ipv4 nft_fib_ipv6 nft_masq nft_nat

printf '== up after %s s: Linux %s, %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$(uname -r)" \
  "$(cat /sys/fs/cgroup/cgroup.controllers)"
status=0
bash ../job.sh || status=$?
dmesg >"$results/dmesg.txt"
tar -C "$results" -cf /dev/virtio-ports/podwright.results .
printf '== ended with %d\n' "$status"
