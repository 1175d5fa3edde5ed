#!/usr/bin/env bash
# Measures Podwright beside containerd + runc in one run, as root. Options: see hack/bench/main.ts.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"
bash hack/setup.sh bench
exec node dist/hack/bench/main.js "$@"
