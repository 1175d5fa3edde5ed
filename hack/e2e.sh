#!/usr/bin/env bash
# Runs the end-to-end tests of the built tree, as root: e2e.sh [MOCHA_OPTION…], for example e2e.sh --grep exec
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup/progress.sh"
cd "$repo"
exec node_modules/.bin/mocha --no-config --forbid-only --timeout 120000 --reporter hack/mocha-totals.js \
  'dist/e2e/**/*.e2e.js' "$@"
