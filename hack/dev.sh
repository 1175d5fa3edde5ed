#!/usr/bin/env bash
# A daemon to play with, on a scratch root: dev.sh [KEY=VALUE…] (options of the configuration). Ctrl-C removes it all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash hack/setup.sh quickstart
exec node dist/hack/dev.js "$@"
