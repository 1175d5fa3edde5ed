#!/usr/bin/env bash
# From a fresh machine to a running pod: quickstart.sh [IMAGE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash hack/setup.sh quickstart
exec node dist/hack/quickstart.js "$@"
