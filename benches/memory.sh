#!/bin/bash
# Peak memory of `tar365 export`, from a simulator in a process of its own, with a consumer that
# stops again and again so that all that may be ahead is ahead. One line of a table a case.
#
#   cargo build --release && benches/memory.sh [CASE...]
#
# Cases: NUMBER (that many mails in one mailbox), wide and wider (50 mailboxes and drives, with 200
# and 64 requests at once), spooled (a file of 4 GiB), streamed (a file of 20 GiB, with a spool of
# 64 MiB), each (eight streams at a time of mailboxes with 12,500 mails). Default: all of them, with 1000, 10000, 100000 and 1000000 mails: 20 minutes, 10 GB.
#
# Fails when a case takes more than 128 MiB (wide: 176), or 1,000,000 mails more than 16 MiB above 100,000.
# Needs GNU time and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
tar365=${TAR365:-target/release/tar365}
most=$((128 * 1024))
most_growth=$((16 * 1024))
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tar365-memory.XXXXXX")
simulator=
cleanup() {
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# Reads $1 bytes at a time and stops for $2 seconds in between; counts.
consumer() {
    local total=0 bytes
    while bytes=$(head -c "$1" | wc -c) && [ "$bytes" != 0 ]; do
        total=$((total + bytes))
        sleep "$2"
    done
    echo "$total" >"$work/bytes"
}

# CPU seconds of a process so far.
cpu_of() {
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%.0f", ($12 + $13) / hz }' "/proc/$1/stat"
}

# NAME, then flags of `simulate`, `--`, flags of `export`.
measure() {
    local name=$1 flags=() code=0
    shift
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    : >"$work/environment"
    "$tar365" simulate --ordinary --no-limits "${flags[@]}" >"$work/environment" &
    simulator=$!
    until grep -q '^# ready' "$work/environment"; do sleep 0.1; done
    (
        # shellcheck disable=SC1091
        . "$work/environment"
        /usr/bin/time -o "$work/time" -f '%M %U %S %e' \
            "$tar365" export --service mail,onedrive --pace none --progress none --include-recoverable --spool-dir "$work" \
            --report "$work/report.json" "$@"
    ) | consumer "${PAUSE_EACH:-134217728}" "${PAUSE:-1}" || code=$?
    local server bytes
    server=$(cpu_of "$simulator")
    kill "$simulator" && wait "$simulator" || true
    simulator=
    [ "$code" = 0 ] || { echo "$name: exit code $code" >&2; exit 1; }
    read -r peak user system elapsed <"$work/time"
    bytes=$(cat "$work/bytes")
    local items
    items=$(python3 -c "import json; print(json.load(open('$work/report.json'))['summary']['items'])")
    python3 - "$name" "$items" "$bytes" "$peak" "$user" "$system" "$server" "$elapsed" <<'PYTHON'
import sys
name, items, size, peak, user, system, server, elapsed = sys.argv[1:]
size, elapsed = int(size), float(elapsed)
print(f"| {name} | {int(items):,} | {size / 2**30:.2f} GiB | **{int(peak) / 1024:.1f} MiB** "
      f"| {float(user) + float(system):.0f} s | {server} s | {elapsed:.0f} s "
      f"| {int(items) / elapsed:,.0f} |", flush=True)
PYTHON
    # Fifty mailboxes at a time take what that many connections and inventories take.
    case $name in '50 mailboxes and drives') most=$((176 * 1024)) ;; *) most=$((128 * 1024)) ;; esac
    [ "$peak" -le "$most" ] || { echo "$name: $peak KiB is above $most KiB" >&2; failed=1; }
    case $name in
    '100000 mails') middle=$peak ;;
    '1000000 mails')
        if [ -n "$middle" ] && [ $((peak - middle)) -gt "$most_growth" ]; then
            echo "$name: $((peak - middle)) KiB above 100000 mails" >&2
            failed=1
        fi
        ;;
    esac
}

failed=0
middle=
[ $# -gt 0 ] || set -- 1000 10000 100000 1000000 wide wider each spooled streamed
echo '| case | items | stream | peak RSS | CPU of export | CPU of simulator | elapsed | items/s |'
echo '|---|---|---|---|---|---|---|---|'
for case in "$@"; do
    case $case in
    wide) measure '50 mailboxes and drives' --users 50 --mails 1000 --files 200 -- ;;
    wider)
        measure '50 mailboxes and drives, 64 requests at once' \
            --users 50 --mails 1000 --files 200 -- --concurrency 64
        ;;
    each)
        measure '8 mailboxes and drives, 8 streams at a time (`--each`)' \
            --users 8 --mails 12500 --files 500 -- --each 'sh -c "cat >/dev/null"' --streams 8
        ;;
    spooled)
        measure 'a file of 4 GiB, spooled' \
            --users 1 --mails 10 --files 10 --big-file 4GiB -- --spool-limit 8GiB
        ;;
    streamed)
        measure 'a file of 20 GiB, streamed' \
            --users 1 --mails 10 --files 10 --big-file 20GiB -- --spool-limit 64MiB
        ;;
    *) measure "$case mails" --users 1 --mails "$case" --files 0 -- --service mail ;;
    esac
done
exit "$failed"
