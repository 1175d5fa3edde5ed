#!/usr/bin/env bash
# Runs the CRI validation suite against the built tree, as root. Options: see e2e/critest.ts.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"
exec node dist/e2e/critest.js "$@"
