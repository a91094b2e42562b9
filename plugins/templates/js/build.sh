#!/bin/sh
# Builds my-filter.wasm; the first time it installs the compiler here (40 MB).
set -eu
cd "$(dirname "$0")"
compiler=node_modules/.bin/componentize-qjs
[ -x "$compiler" ] || npm install --loglevel=error --no-audit --no-fund --no-package-lock >&2
# Without --sync and --stub-wasi the component would import more than tar365 gives.
"$compiler" --wit wit --world filter --js filter.js --sync --stub-wasi -o my-filter.wasm >&2
echo "$PWD/my-filter.wasm"
