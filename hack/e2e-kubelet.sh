#!/usr/bin/env bash
# Runs a whole Kubernetes node over the built tree, as root: e2e-kubelet.sh [MOCHA_OPTION…], for example
# e2e-kubelet.sh --grep probe.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"

bash hack/setup/go-tools.sh kubernetes etcd metrics-server
exec bash hack/node-namespaces.sh node_modules/.bin/mocha --no-config --forbid-only --timeout 180000 --slow 20000 \
  --reporter hack/mocha-totals.js 'dist/e2e/kubelet/*.scenarios.js' "$@"
