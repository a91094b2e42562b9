#!/bin/bash
# What plugins cost: rates beside the same filters compiled natively, the share of an export's time,
# and the memory of a file far larger than the spool.
#
#   cargo build --release && cargo build --release -p plugin-host --example throughput
#   benches/plugins.sh [rates] [share] [memory]
#
# Fails when a filter by metadata takes more than 5 % of an export of mails of 50 KB, or a file of
# 20 GiB more than 128 MiB beside what the plugin itself may have. 20 minutes, 21 GB of disk
# (BIG_FILE=4GiB: less of both). Needs GNU time.
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

# Seconds of the processor that an export with these flags takes.
cost() {
    /usr/bin/time -o time -f '%U %S' "$tar365" export --pace none --progress none \
        --spool-dir "$work" "$@" >/dev/null 2>said || { cat said >&2; exit 1; }
    python3 -c 'print(sum(float(part) for part in open("time").read().split()))'
}

share() {
    # Mails of 50 KB, as many and as large as in an ordinary mailbox's busy months.
    mkdir content
    python3 - <<'PYTHON'
import base64, random
random.seed(365)
for number in range(1000):
    body = base64.encodebytes(random.randbytes(36_000)).decode()
    with open(f"content/{number:04}.eml", "w", newline="\r\n") as mail:
        mail.write(f"Subject: report {number}\nFrom: a@example.org\nMIME-Version: 1.0\n"
                   "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
                   + body)
PYTHON
    simulate --mails 10 --files 0 --content content
    echo '{"keep": "has(item.subject) && !item.subject.startsWith(\"secret\")"}' >settings.json
    cost --plugin keep-only=settings.json >/dev/null # the compiled plugin is kept
    for _ in 1 2 3 4 5; do
        echo "$(cost) $(cost --plugin keep-only=settings.json)"
    done >pairs
    python3 - <<'PYTHON'
from statistics import median
pairs = [tuple(map(float, line.split())) for line in open("pairs")]
plain, filtered = (median(column) for column in zip(*pairs))
share = (filtered - plain) / filtered
print(f"| 1,000 mails of 50 KB | {plain:.2f} s | {filtered:.2f} s | **{100 * share:.1f} %** |")
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
