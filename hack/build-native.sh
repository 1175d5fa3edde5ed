#!/usr/bin/env bash
# Builds the addon, the static helper and the unpacker with the headers of the Node that runs us.
# With --headers it only prints the folder of those headers, and fails if there are none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../native"

# node_headers: prints the folder that node-gyp takes as --nodedir. Node's own packages bring the headers along below
# their prefix, Debian's libnode-dev puts them into a folder of its own.
node_headers() {
  local prefix major folder header
  prefix="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
  major="$(node -p 'process.versions.node.split(".")[0]')"
  for folder in "$prefix" /usr/include/nodejs; do
    for header in "$folder"/include/node/node_version.h "$folder"/src/node_version.h; do
      [ -f "$header" ] && grep -qE "^#define NODE_MAJOR_VERSION $major\$" "$header" || continue
      printf '%s\n' "$folder"
      return
    done
  done
  return 1
}

if [ "${1:-}" = --headers ]; then
  node_headers
  exit
fi
headers="$(node_headers)" || {
  echo "build-native: found no headers of Node $(node --version): install them (Debian: libnode-dev)" >&2
  exit 1
}
mkdir -p build
exec 9>build/.lock
flock 9
gyp=(../node_modules/.bin/node-gyp --nodedir="$headers" --loglevel=warn)
"${gyp[@]}" configure
"${gyp[@]}" build --jobs="$(nproc)"
