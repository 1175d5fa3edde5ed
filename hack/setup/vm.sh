#!/usr/bin/env bash
# Provides what `npm run e2e:vm` boots: QEMU and the disk of a guest with cgroup v2, systemd and AppArmor.
#
# Both come from the Debian release below. QEMU with every library it needs is unpacked into a folder of its own, and
# a wrapper starts it through the libc of that folder: nothing on the machine is replaced.
set -euo pipefail
. "$(dirname "$0")/progress.sh"
. "$(dirname "$0")/debian.sh"

suite=trixie
vm="$cache/vm"
disk_mib=3072
root_partition=8e1fd4a6-0f0b-4d5c-8b5e-6b8f1c7d2a10
guest_packages=(linux-image-cloud-amd64 systemd-sysv dbus udev kmod apparmor criu nodejs busybox-static iproute2 nftables
  procps netbase util-linux ca-certificates libseccomp2 libarchive13t64 libisal2 libssl3t64)

unpack_qemu() {
  local libraries
  private_apt "$suite"
  rm -f "$cache/apt/$suite/archives"/*.deb
  apt-get install -y -q --download-only --no-install-recommends qemu-system-x86
  unpack_packages "$vm/qemu" "$cache/apt/$suite/archives"/*.deb
  rm -f "$cache/apt/$suite/archives"/*.deb
  libraries="usr/lib/x86_64-linux-gnu"
  cat >"$vm/qemu/run" <<WRAPPER
#!/bin/sh
dir="\$(dirname "\$(readlink -f "\$0")")"
export QEMU_MODULE_DIR="\$dir/$libraries/qemu"
exec "\$dir/usr/lib64/ld-linux-x86-64.so.2" --library-path "\$dir/$libraries" "\$dir/usr/bin/qemu-system-x86_64" \\
  -L "\$dir/usr/share/qemu" -L "\$dir/usr/share/seabios" "\$@"
WRAPPER
  chmod 755 "$vm/qemu/run"
}

install_guest() {
  install_packages debootstrap
  rm -rf --one-file-system "$vm/root"
  debootstrap --variant=minbase --include="$(join_commas "${guest_packages[@]}")" "$suite" "$vm/root" "$(debian_mirror)"
  rm -rf "$vm/root"/boot/initrd* "$vm/root"/var/cache/apt/archives/*.deb "$vm/root"/var/lib/apt/lists/*
}

# make_disk: the guest's kernel beside its disk, which is one ext4 partition; the kernel finds it without an initramfs.
make_disk() {
  local image="$vm/root.img.partial"
  install_packages e2fsprogs fdisk
  configure_guest "$vm/root"
  cp "$vm/root"/boot/vmlinuz-* "$vm/vmlinuz"
  rm -f "$image"
  truncate --size="${disk_mib}M" "$image"
  sfdisk --quiet "$image" <<TABLE
label: gpt
start=2048, type=linux, uuid=$root_partition
TABLE
  mkfs.ext4 -q -F -d "$vm/root" -E offset=1048576 "$image" "$((disk_mib - 2))M"
  mv "$image" "$vm/root.img"
}

join_commas() {
  local IFS=,
  printf '%s' "$*"
}

# configure_guest FOLDER: the guest runs one thing, the script of the disk that it is handed, and then turns itself off.
# May be repeated.
configure_guest() {
  local root="$1"
  echo podwright-guest >"$root/etc/hostname"
  echo '127.0.0.1 localhost podwright-guest' >"$root/etc/hosts"
  echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
  echo 'LABEL=podwright /podwright ext4 defaults,noatime 0 0' >"$root/etc/fstab"
  mkdir -p "$root/podwright"
  printf '%s\n' overlay veth bridge br_netfilter tun >"$root/etc/modules-load.d/podwright.conf"
  echo 'SUBSYSTEM=="virtio-ports", TAG+="systemd"' >"$root/etc/udev/rules.d/90-podwright.rules"
  cp "$repo/e2e/vm/guest.service" "$root/etc/systemd/system/podwright-guest.service"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -sf ../podwright-guest.service "$root/etc/systemd/system/multi-user.target.wants/"
  # The CRI validation suite calls apparmor_parser through it.
  printf '#!/bin/sh\nexec "$@"\n' >"$root/usr/local/bin/sudo"
  chmod 755 "$root/usr/local/bin/sudo"
  # Nobody logs in, nothing needs its packages kept up to date, and none of the programs that Debian has profiles for is here.
  rm -f "$root"/etc/systemd/system/getty.target.wants/* "$root"/etc/systemd/system/timers.target.wants/*
  ln -sf /dev/null "$root/etc/systemd/system/serial-getty@.service"
  find "$root/etc/apparmor.d" -maxdepth 1 -type f -delete
}

if [ "$(uname -m)" != x86_64 ]; then fail "the virtual machine is one of x86_64; this is $(uname -m)"; fi
mkdir -p "$vm"
hash="$(fingerprint "$suite" "$(declare -f unpack_qemu unpack_packages)")"
if ! stamped vm-qemu "$hash" "$vm/qemu/run"; then
  step "QEMU from Debian $suite, in a folder of its own" unpack_qemu
  stamp vm-qemu "$hash"
fi
hash="$(fingerprint "$suite" "${guest_packages[@]}" "$(declare -f install_guest)")"
if ! stamped vm-guest "$hash" "$vm/root/etc/fstab"; then
  step "guest from Debian $suite" install_guest
  stamp vm-guest "$hash"
fi
hash="$(fingerprint "$hash" "$disk_mib" "$root_partition" "$(declare -f make_disk configure_guest)" "$repo/e2e/vm/guest.service")"
if ! stamped vm-disk "$hash" "$vm/root.img" "$vm/vmlinuz"; then
  step 'disk of the guest' make_disk
  stamp vm-disk "$hash"
fi
