#!/bin/bash
# What a night costs on a base, and what it adds to a repository.
#
#   cargo build --release && benches/base.sh [speed] [restic] [borg] [borg_small]
#
# speed: an export of an unchanged tenant on its base, file and pipe, against `cat` and `sha256sum`
# of that base; the median of three. restic, borg: the bytes that a second day adds to a repository,
# beside the same contents in a naive layout (folder order, the metadata of an item before it), once
# for changes to recent items and once for changes spread over three years. About 6 GB in $TMPDIR
# (/var/tmp), 10 minutes. The engines are those on the PATH; tests/setup installs them.
#
# Fails when a base in a file is merged below 0.8 of sha256sum, or when the naive layout does not add 2.5 times (recent changes) or
# twice (spread changes) as much.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/target/tools/bin:$PATH
tar365=$(realpath "${TAR365:-target/release/tar365}")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tar365-base.XXXXXX")
simulator=
cleanup() {
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# A tenant as it was at first.
start() {
    [ -d "$work/content" ] || python3 benches/day.py content "$work/content"
    [ -z "$simulator" ] || { kill "$simulator" && wait "$simulator" || true; }
    : >"$work/environment"
    "$tar365" simulate --no-limits --content "$work/content" >"$work/environment" &
    simulator=$!
    until grep -q '^# ready' "$work/environment"; do sleep 0.1; done
    # shellcheck disable=SC1091
    . "$work/environment"
}

export_to() {
    local output=$1
    shift
    "$tar365" export --service mail,onedrive --pace none --progress none --output "$output" "$@" 2>>"$work/log"
}

# Seconds that a command takes, the median of three.
median() {
    local times=() start end
    for _ in 1 2 3; do
        start=$(date +%s.%N)
        "$@" >/dev/null
        end=$(date +%s.%N)
        times+=("$(echo "$end - $start" | bc)")
    done
    printf '%s\n' "${times[@]}" | sort -n | sed -n 2p
}

on_base() { "$tar365" export --service mail,onedrive --pace none --progress none "$@" 2>>"$work/log"; }

speed() {
    start
    export_to "$work/base.tar"
    local size seconds name sums
    size=$(stat -c %s "$work/base.tar")
    echo "A base of $((size >> 20)) MiB:"
    echo '| | seconds | MiB/s | of sha256sum |'
    echo '|---|---|---|---|'
    sums=$(median sha256sum "$work/base.tar")
    for name in cat sha256sum 'export --base FILE' 'export --base-command cat'; do
        case $name in
        cat) seconds=$(median cat "$work/base.tar") ;;
        sha256sum) seconds=$sums ;;
        *FILE) seconds=$(median on_base --base "$work/base.tar") ;;
        *) seconds=$(median on_base --base-command "cat $work/base.tar") ;;
        esac
        awk -v name="$name" -v s="$seconds" -v size="$size" -v sums="$sums" 'BEGIN {
            printf "| %s | %.2f | %.0f | %.2f |\n", name, s, size / 2^20 / s, sums / s
            exit name ~ /FILE/ && sums / s < 0.8
        }' || failed=1
    done
    rm "$work/base.tar"
}

restic_adds() {
    export RESTIC_REPOSITORY=$work/restic RESTIC_PASSWORD=none RESTIC_CACHE_DIR=$work/cache
    [ -d "$work/restic" ] || restic --quiet init
    restic backup --json --host m365 --stdin-filename "$1.tar" --stdin <"$2" |
        sed -n 's/.*"data_added":\([0-9]*\).*/\1/p' | tail -n 1
}

borg_adds() {
    export BORG_BASE_DIR=$work/borg-base BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
    local repository=$work/borg
    [ ${#chunker[@]} = 0 ] || repository=$work/borg_small
    [ -d "$repository" ] || borg init --encryption=none "$repository"
    borg create --json -C none "${chunker[@]}" "$repository::$1-$(date +%s%N)" - <"$2" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["archive"]["stats"]["deduplicated_size"])'
}

# The chunks of examples/borg.sh, which are small for both layouts.
borg_small_adds() {
    local chunker=(--chunker-params 10,23,16,4095)
    borg_adds "$@"
}

# The engines' names; each day is measured in each of them.
engines() {
    start
    export_to "$work/first.tar"
    python3 benches/day.py naive <"$work/first.tar" >"$work/first-naive.tar"
    echo '| engine | changes | new and changed | this layout adds | naive layout adds | ratio |'
    echo '|---|---|---|---|---|---|'
    local engine changes wanted ours naive rows=()
    for engine in "$@"; do
        rm -rf "${work:?}/$engine"
        "${engine}_adds" ours "$work/first.tar" >/dev/null
        "${engine}_adds" naive "$work/first-naive.tar" >/dev/null
    done
    for changes in recent spread; do
        start
        wanted=$(python3 benches/day.py change "$changes" "$TAR365_GRAPH_URL")
        export_to "$work/day.tar" --base "$work/first.tar"
        python3 benches/day.py naive <"$work/day.tar" >"$work/day-naive.tar"
        for engine in "$@"; do
            # Each day on its own after the first one.
            cp -a "$work/$engine" "$work/before"
            ours=$("${engine}_adds" ours "$work/day.tar")
            naive=$("${engine}_adds" naive "$work/day-naive.tar")
            rm -rf "${work:?}/$engine" && mv "$work/before" "$work/$engine"
            # What borg remembers of the repository is newer than that now.
            rm -rf "$work/borg-base"
            awk -v engine="$engine" -v changes="$changes" -v w="$wanted" -v o="$ours" -v n="$naive" \
                'BEGIN {
                    printf "| %s | %s | %.1f MB | %.1f MB | %.1f MB | **%.2f** |\n",
                        engine, changes, w / 1e6, o / 1e6, n / 1e6, n / o
                    exit engine != "borg_small" && n / o < (changes == "recent" ? 2.5 : 2)
                }' || failed=1
        done
    done
}

failed=0
chunker=()
[ $# -gt 0 ] || set -- speed restic borg borg_small
wanted_engines=()
for part in "$@"; do
    case $part in
    speed) speed ;;
    restic | borg | borg_small) wanted_engines+=("$part") ;;
    *) echo "what is $part?" >&2; exit 2 ;;
    esac
done
[ ${#wanted_engines[@]} = 0 ] || engines "${wanted_engines[@]}"
exit "$failed"
