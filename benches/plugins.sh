#!/bin/bash
# What plugins cost: rates beside the same filters compiled natively, the share of an export's time,
# and the memory of a file far larger than the spool.
#
#   cargo build --release && cargo build --release -p plugin-host --example throughput
#   benches/plugins.sh [rates] [share] [memory]
#
# Fails when a filter by metadata takes more than 5 % of the time of an export of mails of 50 KB at
# the pace that the service allows, or a file of 20 GiB more than 128 MiB. 20 minutes, 21 GB of disk
# (BIG_FILE=4GiB: less of both). Needs GNU time and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
tar365=$PWD/${TAR365:-target/release/tar365}
throughput=$PWD/target/release/examples/throughput
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tar365-plugins.XXXXXX")
simulator=
cleanup() {
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
export TAR365_PLUGIN_CACHE=$work/cache

# Starts a simulator with these flags.
simulate() {
    [ -z "$simulator" ] || { kill "$simulator" && wait "$simulator" || true; }
    : >environment
    "$tar365" simulate --ordinary --no-limits --users 1 "$@" >environment &
    simulator=$!
    until grep -q '^# ready' environment; do sleep 0.1; done
    # shellcheck disable=SC1091
    . ./environment
}

# What an export with these flags takes: seconds of the processor, seconds elapsed.
cost() {
    /usr/bin/time -o time -f '%U %S %e' "$tar365" export --service mail,onedrive --progress none --spool-dir "$work" "$@" \
        >/dev/null 2>said || { cat said >&2; exit 1; }
    awk '{ print $1 + $2, $3 }' time
}

# $1 mails of 50 KB.
mails() {
    rm -rf content
    mkdir content
    python3 - "$1" <<'PYTHON'
import base64, random, sys
random.seed(365)
for number in range(int(sys.argv[1])):
    body = base64.encodebytes(random.randbytes(36_000)).decode()
    with open(f"content/{number:04}.eml", "w", newline="\r\n") as mail:
        mail.write(f"Subject: report {number}\nFrom: a@example.org\nMIME-Version: 1.0\n"
                   "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
                   + body)
PYTHON
    simulate --mails 10 --files 0 --content content
}

# $1 pairs of exports with these flags, without and with the filter.
pairs() {
    local count=$1
    shift
    cost --pace none --plugin keep-only=settings.json >/dev/null # the compiled plugin is kept
    for _ in $(seq "$count"); do
        echo "$(cost "$@") $(cost "$@" --plugin keep-only=settings.json)"
    done >pairs
}

share() {
    echo '{"keep": "has(item.subject) && !item.subject.startsWith(\"secret\")"}' >settings.json
    echo '| | without | with keep-only | share |'
    echo '|---|---|---|---|'
    mails 5000
    pairs 5 --pace none
    python3 - <<'PYTHON'
from statistics import median
plain, _, filtered, _ = (median(map(float, column)) for column in zip(*map(str.split, open("pairs"))))
print(f"| processor, 5,000 mails, as fast as it can | {plain:.2f} s | {filtered:.2f} s "
      f"| {100 * (filtered - plain) / filtered:.1f} % |", flush=True)
PYTHON
    # The rate of the service's documented limit, 10,000 requests a mailbox in 600 seconds, without
    # the burst of as many that comes before it.
    mails 500
    pairs 3 --budget mailbox=50/3
    python3 - <<'PYTHON'
from statistics import median
_, plain, _, filtered = (median(map(float, column)) for column in zip(*map(str.split, open("pairs"))))
share = (filtered - plain) / filtered
print(f"| elapsed, 500 mails, at the pace of a mailbox | {plain:.2f} s | {filtered:.2f} s "
      f"| **{100 * share:.1f} %** |")
raise SystemExit("more than 5 %" if share > 0.05 else 0)
PYTHON
}

memory() {
    simulate --mails 1 --files 1 --big-file "${BIG_FILE:-20GiB}"
    for plugin in "$@"; do
        /usr/bin/time -o time -f '%M %e' "$tar365" export --service onedrive --pace none \
            --progress none --spool-dir "$work" --spool-limit 64MiB --plugin "$plugin" \
            2>said | cat >/dev/null || { cat said >&2; exit 1; }
        read -r peak elapsed <time
        echo "| ${BIG_FILE:-20GiB} through $(basename "$plugin") | **$((peak / 1024)) MiB** | $elapsed s |"
        [ "$peak" -le $((128 * 1024)) ] || { echo "$peak KiB is above 128 MiB" >&2; exit 1; }
    done
}

[ $# -gt 0 ] || set -- rates share memory
for part in "$@"; do
    case $part in
    rates) "$throughput" ;;
    share) share ;;
    memory)
        "$throughput" --write-guests "$work"
        memory "$work/keeps.wat" "$work/copies.wat"
        ;;
    esac
done
