#!/bin/sh
# Builds my-filter.wasm; the first time it installs the compiler here (75 MB).
set -eu
cd "$(dirname "$0")"
compiler=.venv/bin/componentize-py
if [ ! -x "$compiler" ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
fi
# Without --stub-wasi the component would import more than tar365 gives.
"$compiler" --quiet -d wit -w filter componentize --stub-wasi app -o my-filter.wasm
echo "$PWD/my-filter.wasm"
