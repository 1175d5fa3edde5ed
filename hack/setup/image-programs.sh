#!/usr/bin/env bash
# Builds the static programs that the test images hold: busybox from Debian's source package with its default
# configuration (Debian's own static build lacks applets that the CRI test suite calls), and our small C programs.
set -euo pipefail
. "$(dirname "$0")/progress.sh"
. "$(dirname "$0")/debian.sh"

programs="$cache/image-programs"
sources="$repo/e2e/fixtures/programs"

build_busybox() {
  local work="$cache/busybox" codename
  codename="$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-sid}")"
  rm -rf "$work"
  mkdir -p "$work"
  private_apt "$codename" deb-src
  cd "$work"
  apt-get source -q --download-only busybox
  dpkg-source --no-check --extract ./*.dsc tree
  cd tree
  make -s defconfig
  # tc does not compile with the headers of current kernels; nothing here calls it.
  sed -i -e 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/' -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' .config
  make -s "-j$(nproc)" busybox
  install -D busybox "$programs/busybox"
  rm -rf "$work"
}

build_programs() {
  local source
  mkdir -p "$programs"
  for source in "$sources"/*.c; do
    gcc -std=c11 -D_GNU_SOURCE -Os -Wall -Wextra -Werror -static -s -o "$programs/$(basename "$source" .c)" "$source"
  done
}

hash="$(fingerprint busybox "$(declare -f build_busybox)" "$(debian_release)")"
if ! stamped busybox "$hash" "$programs/busybox"; then
  step 'busybox for the test images, from Debian source' build_busybox
  stamp busybox "$hash"
fi
hash="$(fingerprint "$sources"/*.c "$(declare -f build_programs)")"
if ! stamped image-programs "$hash" "$programs"/{nnp,web}; then
  step 'other programs for the test images' build_programs
  stamp image-programs "$hash"
fi
