#!/usr/bin/env bash
# Builds the pinned Go tools of hack/tools/<family>/go.mod into the cache: go-tools.sh FAMILY…
set -euo pipefail
. "$(dirname "$0")/progress.sh"
. "$(dirname "$0")/debian.sh"

# Go 1.21 is the first that fetches the toolchain which a go.mod asks for.
oldest_go=21
kubernetes=(kubelet kube-apiserver kube-controller-manager kube-scheduler kubectl)

# find_go: prints the path of a usable go command.
find_go() {
  local candidate minor
  for candidate in "$(command -v go || true)" /usr/local/go/bin/go "$cache"/go/usr/lib/go-1.*/bin/go; do
    [ -x "$candidate" ] || continue
    minor="$(GOTOOLCHAIN=local "$candidate" env GOVERSION | sed -nE 's/^go1\.([0-9]+).*/\1/p')"
    if [ "${minor:-0}" -ge "$oldest_go" ]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

# Debian 12's own Go is too old; the one of its backports is unpacked, so that it can stand beside whatever is installed.
install_go() {
  if [ "$(debian_release)" -ge 13 ]; then
    install_packages golang-go
    return
  fi
  private_apt bookworm-backports
  cd "$(mktemp -d "$cache/go.XXXXXX")"
  apt-get download -q golang-1.23-go golang-1.23-src
  unpack_packages "$cache/go" ./*.deb
  rm -rf "$PWD"
}

# build FAMILY OUTPUT_FOLDER PACKAGE…: builds the commands of a family, statically.
build() {
  local family="$1" folder="$2"
  shift 2
  mkdir -p "$folder"
  (cd "$repo/hack/tools/$family" && CGO_ENABLED="${cgo:-0}" "$go" build -trimpath "${flags[@]}" -o "$folder/" "$@")
}

build_cri_tools() {
  local module=sigs.k8s.io/cri-tools flags=(-ldflags '-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=v1.36.0')
  build cri-tools "$cache/bin" "$module/cmd/crictl"
  cd "$repo/hack/tools/cri-tools"
  CGO_ENABLED=0 "$go" test -c -trimpath "${flags[@]}" -o "$cache/bin/critest" "$module/cmd/critest"
}

build_cni_plugins() {
  local module=github.com/containernetworking/plugins/plugins
  local flags=(-ldflags '-s -w -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v1.9.1')
  build cni-plugins "$cache/cni/bin" \
    "$module"/main/{bridge,loopback,macvlan,ptp} "$module"/ipam/host-local "$module"/meta/{bandwidth,firewall,portmap,tuning}
}

build_runc() {
  local cgo=1 flags=(-tags seccomp -ldflags '-s -w -X main.version=1.5.2')
  build runc "$cache/bench/bin" github.com/opencontainers/runc
}

build_containerd() {
  local module=github.com/containerd/containerd/v2
  local flags=(-tags no_btrfs -ldflags "-s -w -X $module/version.Version=v2.4.2")
  build containerd "$cache/bench/bin" "$module"/cmd/{containerd,containerd-shim-runc-v2,ctr}
}

build_kubernetes() {
  local module=k8s.io/kubernetes version=k8s.io/component-base/version
  local flags=(-ldflags "-s -w -X $version.gitVersion=v1.36.3 -X $version.gitMajor=1 -X $version.gitMinor=36")
  build kubernetes "$cache/kubernetes/bin" "${kubernetes[@]/#/$module/cmd/}" "$module/test/images/agnhost"
}

build_node_conformance() {
  local version=k8s.io/component-base/version
  local flags=(-ldflags "-s -w -X $version.gitVersion=v1.36.3 -X $version.gitMajor=1 -X $version.gitMinor=36")
  build node-conformance "$cache/kubernetes/bin" github.com/onsi/ginkgo/v2/ginkgo k8s.io/kubernetes/test/images/sample-device-plugin
  cd "$repo/hack/tools/node-conformance"
  # agnhost's certificate, which is part of its image.
  install -m 644 "$("$go" list -m -f '{{.Dir}}' k8s.io/kubernetes)"/test/images/agnhost/porter/localhost.{crt,key} "$cache/kubernetes/bin/"
  CGO_ENABLED=0 "$go" test -c -vet=off -trimpath "${flags[@]}" -o "$cache/kubernetes/bin/e2e_node.test" k8s.io/kubernetes/test/e2e_node
}

build_etcd() {
  local flags=(-ldflags '-s -w')
  build etcd "$cache/kubernetes/etcd" go.etcd.io/etcd/server/v3
  mv "$cache/kubernetes/etcd/server" "$cache/kubernetes/bin/etcd"
  rmdir "$cache/kubernetes/etcd"
}

build_metrics_server() {
  local flags=(-ldflags '-s -w')
  build metrics-server "$cache/kubernetes/bin" sigs.k8s.io/metrics-server/cmd/metrics-server
}

outputs() {
  case "$1" in
    cri-tools) printf '%s\n' "$cache"/bin/{crictl,critest} ;;
    cni-plugins) printf '%s\n' "$cache"/cni/bin/{bridge,host-local,portmap,loopback} ;;
    runc) printf '%s\n' "$cache/bench/bin/runc" ;;
    containerd) printf '%s\n' "$cache"/bench/bin/{containerd,containerd-shim-runc-v2,ctr} ;;
    kubernetes) printf '%s\n' "${kubernetes[@]/#/$cache/kubernetes/bin/}" "$cache/kubernetes/bin/agnhost" ;;
    metrics-server) printf '%s\n' "$cache/kubernetes/bin/metrics-server" ;;
    node-conformance) printf '%s\n' "$cache"/kubernetes/bin/{e2e_node.test,ginkgo,sample-device-plugin,localhost.crt,localhost.key} ;;
    etcd) printf '%s\n' "$cache/kubernetes/bin/etcd" ;;
    *) fail "no such family of Go tools: $1" ;;
  esac
}

for family in "$@"; do
  mapfile -t made < <(outputs "$family")
  hash="$(fingerprint "$repo/hack/tools/$family"/go.{mod,sum} "$(declare -f "build_${family//-/_}" build)")"
  if stamped "$family" "$hash" "${made[@]}"; then continue; fi
  if ! go="$(find_go)"; then
    step 'Go from Debian' install_go
    go="$(find_go)" || fail 'found no Go 1.21 or newer, and Debian has none to install'
  fi
  export GOTOOLCHAIN=auto GOFLAGS=-buildvcs=false GOWORK=off
  step "Go tools: $family" "build_${family//-/_}"
  stamp "$family" "$hash"
done
