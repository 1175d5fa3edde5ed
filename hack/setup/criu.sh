#!/usr/bin/env bash
# Provides criu 4 as a command in the cache's bin folder.
#
# Debian 13 and later package one that works. Debian 12's 3.17 fails on current kernels, and a newer package would
# replace the system's libc: there criu and every library it needs are unpacked into a folder of their own, and a
# wrapper starts it through the libc of that folder.
set -euo pipefail
. "$(dirname "$0")/progress.sh"
. "$(dirname "$0")/debian.sh"

suite=forky

install_system_criu() {
  install_packages criu
  ln -sf /usr/sbin/criu "$cache/bin/criu"
}

unpack_criu() {
  local libraries
  private_apt "$suite"
  rm -f "$cache/apt/$suite/archives"/*.deb
  apt-get install -y -q --download-only --no-install-recommends criu
  unpack_packages "$cache/criu" "$cache/apt/$suite/archives"/*.deb
  rm -f "$cache/apt/$suite/archives"/*.deb
  libraries="usr/lib/$(uname -m)-linux-gnu"
  cat >"$cache/bin/criu.partial" <<WRAPPER
#!/bin/sh
dir="\$(dirname "\$(readlink -f "\$0")")/../criu"
exec "\$dir/$libraries/$(loader)" --library-path "\$dir/$libraries" "\$dir/usr/sbin/criu" "\$@"
WRAPPER
  chmod 755 "$cache/bin/criu.partial"
  mv "$cache/bin/criu.partial" "$cache/bin/criu"
}

# loader: the file name of the program interpreter of this architecture.
loader() {
  case "$(uname -m)" in
    x86_64) echo ld-linux-x86-64.so.2 ;;
    aarch64) echo ld-linux-aarch64.so.1 ;;
    *) fail "no CRIU for $(uname -m)" ;;
  esac
}

# works: true if the cache's criu starts and is new enough.
works() {
  local version
  version="$("$cache/bin/criu" --version 2>/dev/null | sed -n 's/^Version: //p')"
  [ "${version%%.*}" -ge 4 ] 2>/dev/null
}

works && exit
if [ "$(debian_release)" -ge 13 ]; then
  step 'CRIU from Debian' install_system_criu
else
  step "CRIU from Debian $suite, in a folder of its own" unpack_criu
fi
works || fail "the criu in $cache/bin does not start, or is older than 4.0"
