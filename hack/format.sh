#!/usr/bin/env bash
# Formats everything: TypeScript, JavaScript, JSON and Markdown by prettier, C and C++ by clang-format.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
node_modules/.bin/prettier --write --log-level warn .
bash hack/check-c-format.sh --fix
