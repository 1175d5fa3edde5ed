#!/usr/bin/env bash
# Runs Kubernetes' node conformance suite over the built tree, as root. Options: see e2e/node/run.ts.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"

# run_inside OPTION…: the second half, in the namespaces.
run_inside() {
  # The suite insists on this directory for the kubelet.
  mkdir -p /var/lib/kubelet
  mount --bind "$kubelet_root" /var/lib/kubelet
  node dist/e2e/node/run.js "$@"
}

if [ "${1:-}" = --inside ]; then
  kubelet_root="$2"
  shift 2
  run_inside "$@"
  exit
fi

bash hack/setup/go-tools.sh kubernetes node-conformance
bash hack/setup/image-programs.sh
kubelet_root="$(mktemp -d)"
trap 'rm -rf "$kubelet_root"' EXIT
bash hack/node-namespaces.sh --own-cgroups bash "$0" --inside "$kubelet_root" "$@"
