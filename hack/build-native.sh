#!/usr/bin/env bash
# Builds the addon, the static helper and the unpacker with the headers of the Node that runs us.
set -euo pipefail
cd "$(dirname "$0")/../native"
mkdir -p build
exec 9>build/.lock
flock 9
nodedir="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
if [ ! -d "$nodedir/include/node" ]; then
  echo "build-native: no Node headers in $nodedir/include/node (install the headers of this Node)" >&2
  exit 1
fi
jobs="$(nproc)"
../node_modules/.bin/node-gyp configure --nodedir="$nodedir" --loglevel=warn
../node_modules/.bin/node-gyp build --nodedir="$nodedir" --loglevel=warn --jobs="$jobs"
