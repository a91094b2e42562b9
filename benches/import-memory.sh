#!/bin/bash
# Peak memory of `tar365 import`: a plan of 100,000 and 1,000,000 mails, a restore of 100,000 mails
# from a file and from a pipe, a file of 20 GiB from a file and passing by on a pipe. One line a case.
#
#   cargo build --release && cargo build --release -p archive --example make
#   benches/import-memory.sh
#
# Fails when a case takes more than 128 MiB, or the larger plan more than 16 MiB above the smaller.
# 20 minutes, 30 GB of disk. Needs GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."
tar365=$PWD/${TAR365:-target/release/tar365}
make=$PWD/target/release/examples/make
most=$((128 * 1024))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tar365-memory.XXXXXX")
simulator=
cleanup() {
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

# Starts a simulator with these flags.
simulate() {
    [ -z "$simulator" ] || { kill "$simulator" && wait "$simulator" || true; }
    : >environment
    "$tar365" simulate --ordinary --no-limits --users 1 --mails 1 --files 1 "$@" >environment &
    simulator=$!
    until grep -q '^# ready' environment; do sleep 0.1; done
    # shellcheck disable=SC1091
    . ./environment
}

# NAME, then the arguments of `import`.
measure() {
    local name=$1
    shift
    /usr/bin/time -o time -f '%M %e' "$tar365" import "$@" --spool-dir "$work" \
        --progress none >/dev/null 2>said || { cat said >&2; exit 1; }
    read -r peak elapsed <time
    printf '| %s | **%d.%d MiB** | %s s |\n' "$name" $((peak / 1024)) $((peak % 1024 * 10 / 1024)) \
        "$elapsed"
    [ "$peak" -le "$most" ] || { echo "$name: $peak KiB is above $most KiB" >&2; exit 1; }
}

"$make" 100000 600 >small.tar
"$make" 1000000 600 >large.tar
measure 'plan of 100,000 mails' small.tar --to "directory:$work/out" --dry-run
before=$peak
measure 'plan of 1,000,000 mails' large.tar --to "directory:$work/out" --dry-run
[ $((peak - before)) -le $((16 * 1024)) ] || { echo 'it grows with the archive' >&2; exit 1; }
rm large.tar

simulate --writable --forget-content-over 64MiB
user=$("$tar365" export --pace none --service mail 2>/dev/null | tar t | sed -n 's|^users/\([^/]*\)/.*|\1|p' | head -n 1)
measure '100,000 mails from a file' small.tar --to-user "$user" --label a --pace none --journal j1
cat small.tar | measure 'the same from a pipe, all there already' - --to-user "$user" --label a \
    --pace none --journal j2
rm small.tar

simulate --big-file 20GiB
"$tar365" export --pace none --service onedrive -o big.tar 2>/dev/null
simulate --writable --forget-content-over 64MiB
measure 'a file of 20 GiB from a file' big.tar --label f --pace none --journal j3
cat big.tar | measure 'the same passing by on a pipe' - --label p --pace none --journal j4 \
    --spool-limit 1GiB
