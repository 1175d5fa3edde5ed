#!/bin/bash
# Generates protos/gen (TypeScript and a FileDescriptorSet) from protos/**/*.proto. Needs no network; does nothing
# when the result is newer than its sources. Safe to run twice at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root/protos"

sources=(cri/runtime/v1/api.proto criu/rpc.proto containerd/*/*/*.proto containerd/*/*/*/*.proto
  buf.yaml buf.gen.cri.yaml buf.gen.criu.yaml buf.gen.cadvisor.yaml
  ../hack/build-protos.sh ../node_modules/ts-proto/package.json)
stamp=gen/descriptors.binpb

up_to_date() {
  local source
  [ -f "$stamp" ] || return 1
  for source in "${sources[@]}"; do
    if [ "$source" -nt "$stamp" ]; then return 1; fi
  done
}

exec 9<"$root/protos"
flock 9
if up_to_date; then exit 0; fi

if [ ! -x ../node_modules/.bin/buf ]; then
  echo 'build-protos: node_modules is missing: run npm ci first' >&2
  exit 1
fi
export PATH="$root/node_modules/.bin:$PATH"
# buf asks its registry for nothing here: every import is in this directory.
export BUF_CACHE_DIR="$root/.cache/buf"

scratch=$(mktemp -d "$root/protos/.gen.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
buf generate --template buf.gen.cri.yaml -o "$scratch"
buf generate --template buf.gen.criu.yaml -o "$scratch"
buf generate --template buf.gen.cadvisor.yaml -o "$scratch"
buf build -o "$scratch/gen/descriptors.binpb"
rm -rf gen
mv "$scratch/gen" gen
# The stamp decides whether anything is newer: it must be the last file written.
touch "$stamp"
