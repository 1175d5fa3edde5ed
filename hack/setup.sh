#!/usr/bin/env bash
# Installs what a level needs and builds the tree: setup.sh quickstart|test|bench. A level includes those before it.
# Safe to repeat: what is there and current is left alone.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
. "$repo/hack/setup/debian.sh"

level="${1:-quickstart}"

quickstart_packages=(build-essential musl-tools python3 libseccomp-dev libarchive-dev libisal-dev libssl-dev
  busybox-static nftables iproute2 ca-certificates util-linux)
test_packages=(procps netbase shellcheck)
if [ "$(debian_release)" -le 12 ]; then test_packages+=(clang-format); fi
bench_packages=(isal pigz pkgconf)

# version_at_least WANTED ACTUAL
version_at_least() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "Podwright runs on Linux only; this is $(uname -s)"
  [ "$(id -u)" -eq 0 ] || fail 'this needs root: containers, mounts and packages are set up'
  grep -qE '^ *0 +0 +4294967295' /proc/self/uid_map || fail "this needs the machine's root, not that of a user namespace"
  command -v apt-get >/dev/null && [ -f /etc/debian_version ] ||
    fail 'the set-up installs Debian packages: it needs Debian 12 or newer'
  version_at_least 12 "$(debian_release)" || fail "the set-up needs Debian 12 or newer; this is Debian $(debian_release)"
  version_at_least 6.1 "$(uname -r)" || fail "Podwright needs Linux 6.1 or newer; this is $(uname -r)"
  command -v node >/dev/null && command -v npm >/dev/null || fail 'found no node and npm: install Node 20.19 or newer'
  version_at_least 20.19 "$(node -p process.versions.node)" ||
    fail "Podwright needs Node 20.19 or newer; this is $(node --version)"
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null && grep -qw overlay /proc/filesystems ||
    fail 'this kernel has no overlay filesystem (module overlay)'
  grep -qE '^[^ ]+ /sys/fs/cgroup(/[^ ]*)? (cgroup|cgroup2|tmpfs) ' /proc/mounts || fail 'no cgroups are mounted on /sys/fs/cgroup'
  unshare --mount --propagation unchanged --net --pid --fork true 2>/dev/null ||
    fail 'this environment may not make namespaces; in a container it must be a privileged one'
}

# header_packages: the package with Node's headers, where node is Debian's own and they are not there yet.
header_packages() {
  if bash "$repo/hack/build-native.sh" --headers >/dev/null; then return; fi
  if dpkg-query --search "$(readlink -f "$(command -v node)")" 2>/dev/null | grep -q '^nodejs'; then printf '%s\n' libnode-dev; fi
}

install_system_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [ "${#missing[@]}" -gt 0 ]; then
    step "Debian packages: ${#missing[@]} of $#" install_packages "${missing[@]}"
  fi
}

# The stamp lies in node_modules, not in the cache: the cache may serve several checkouts.
npm_stamp="$repo/node_modules/.podwright-stamp"

npm_fingerprint() {
  fingerprint "$repo/package-lock.json" "$(node -p 'process.platform + process.arch + process.versions.modules')"
}

npm_packages_current() {
  [ -f "$npm_stamp" ] && [ "$(<"$npm_stamp")" = "$(npm_fingerprint)" ]
}

install_npm_packages() {
  npm --prefix "$repo" ci --ignore-scripts --no-audit --no-fund
  npm_fingerprint >"$npm_stamp"
}

# Debian's and npm's packages come side by side: one waits for the network and dpkg, the other for the network.
install_packages_of_both() {
  if ! npm_packages_current; then begin_step 'npm packages' install_npm_packages; fi
  install_system_packages "$@"
  end_step
}

# The unpacked package is enough: installing it would start a registry service on the machine.
unpack_registry() {
  local folder
  folder="$(mktemp -d "$cache/docker-registry.XXXXXX")"
  cd "$folder"
  apt-get -o APT::Sandbox::User=root download -q docker-registry || {
    apt-get update -q
    apt-get -o APT::Sandbox::User=root download -q docker-registry
  }
  unpack_packages "$cache/docker-registry" "$folder"/*.deb
  rm -rf "$folder"
  ln -sf "$cache/docker-registry/usr/bin/docker-registry" "$cache/bin/docker-registry"
}

# sources_fingerprint PATH…: one hash over the Node version and the sources below the paths, links and products aside.
sources_fingerprint() {
  local files
  mapfile -t files < <(find "$@" -path native/build -prune -o -type f \
    \( -name '*.ts' -o -name '*.json' -o -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.gyp' -o -name '*.sh' \) -print |
    LC_ALL=C sort)
  { node --version && sha256sum -- "${files[@]}"; } | sha256sum | cut -c 1-32
}

# built PRODUCT HASH: true if the product, a file or the files of a folder, was made from those sources and by us;
# whoever builds by hand writes it anew.
built() {
  [ -e "$1" ] && [ -f "$1.stamp" ] && [ "$(<"$1.stamp")" = "$2" ] &&
    [ -z "$(find "$1" -maxdepth 1 -type f -newer "$1.stamp")" ]
}

# build PART PRODUCT HASH
build() {
  npm run --silent "build:$1"
  printf '%s\n' "$3" >"$2.stamp"
}

build_tree() {
  local native=native/build/Release typescript=dist/.tsbuildinfo native_hash typescript_hash
  cd "$repo"
  step 'build: protos' npm run --silent build:protos
  native_hash="$(sources_fingerprint native package-lock.json)"
  typescript_hash="$(sources_fingerprint cri runtime native protos/gen e2e hack tsconfig.json package-lock.json)"
  if ! built "$native" "$native_hash"; then begin_step 'build: native' build native "$native" "$native_hash"; fi
  if ! built "$typescript" "$typescript_hash"; then
    step 'build: TypeScript' build ts "$typescript" "$typescript_hash"
  fi
  end_step
}

case "$level" in
  quickstart) packages=("${quickstart_packages[@]}") ;;
  test) packages=("${quickstart_packages[@]}" "${test_packages[@]}") ;;
  bench) packages=("${quickstart_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
  *) fail "no such level: $level (quickstart, test or bench)" ;;
esac

check_machine
printf 'set-up for %s (Debian %s, Node %s)\n' "$level" "$(debian_release)" "$(node --version)"
exec 8>"$cache/.lock"
flock -n 8 || step 'waiting for another set-up' flock 8
mapfile -t headers < <(header_packages)
install_packages_of_both "${packages[@]}" "${headers[@]}"
build_tree
if [ "$level" = quickstart ]; then exit; fi

if [ ! -x /usr/bin/docker-registry ] && [ ! -x "$cache/bin/docker-registry" ]; then
  step 'docker-registry, unpacked' unpack_registry
fi
bash "$repo/hack/setup/image-programs.sh"
bash "$repo/hack/setup/criu.sh"
bash "$repo/hack/setup/go-tools.sh" cri-tools cni-plugins
if [ "$level" = bench ]; then bash "$repo/hack/setup/go-tools.sh" containerd runc; fi
