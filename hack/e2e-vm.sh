#!/usr/bin/env bash
# Runs tests in a virtual machine with cgroup v2, systemd and AppArmor, as root: e2e-vm.sh [GROUP…], see e2e/vm/groups.ts
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"
bash hack/setup.sh test
bash hack/setup/vm.sh
exec node dist/e2e/vm/run.js "$@"
