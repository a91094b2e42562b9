#!/bin/bash
# Backs a tenant up into a borg repository, proves what was stored and gets one mail back.
#
#   BORG_REPO=/srv/backup BORG_PASSPHRASE=… TAR365_TENANT_ID=… TAR365_CLIENT_ID=… \
#   TAR365_CLIENT_CERTIFICATE=… examples/borg.sh [options of `tar365 export`]
#
# Every archive is a full one; what has not changed comes out of the archive before, not from the
# service. For that the stream is stored as it is (`borg import-tar` takes it apart, and deduplicates
# a little better, but can't be a base). Needs borg 1.2 or newer. The mail is written below
# $RESTORE_TO (./restored).
set -euo pipefail
tar365=${TAR365:-tar365}
name=m365.tar # what borg calls the stream
restore_to=${RESTORE_TO:-restored}
archive=m365-$(date -u +%Y-%m-%dT%H:%M:%SZ)

borg info >/dev/null 2>&1 || borg init --encryption=repokey-blake2

# borg 1 locks its repository against reading while it writes. The reader goes past that lock, with a
# cache of its own because that one is locked as well. This is safe here: nothing can be taken out of
# the repository (prune, compact) while the writer holds it.
newest=$(borg list --short --last 1 --glob-archives 'm365-*')
base=()
if [ -n "$newest" ]; then
    cache=$(mktemp -d)
    trap 'rm -rf "$cache"' EXIT
    base=(--base-command
        "env BORG_CACHE_DIR=$cache borg extract --bypass-lock --stdout ::$newest $name")
fi

# tar365 starts borg, not the other way round: if the export fails, borg is ended before it sees the
# end of its input, and keeps no archive. `::name` is an archive in $BORG_REPO. Small chunks, because
# mails are small.
"$tar365" export "${base[@]}" "$@" \
    --to-command "borg create --chunker-params 10,23,16,4095 --stdin-name $name ::$archive -"
echo "backed up as archive $archive"

# Digests, order, counts and completeness, as the repository gives them back.
borg extract --stdout "::$archive" "$name" | "$tar365" verify -

# Any tar can read it. The first mail stands for the one that somebody misses.
mails=$(borg extract --stdout "::$archive" "$name" | tar -t --quoting-style=literal |
    grep '\.eml$' || true)
mail=${mails%%$'\n'*}
[ -n "$mail" ] || { echo "no mail in the archive"; exit 0; }
mkdir -p "$restore_to"
borg extract --stdout "::$archive" "$name" | tar -x -C "$restore_to" -- "$mail"
echo "restored $restore_to/$mail"
