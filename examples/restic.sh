#!/bin/bash
# Backs a tenant up into a restic repository, proves what was stored and gets one mail back.
#
#   RESTIC_REPOSITORY=/srv/backup RESTIC_PASSWORD_FILE=… TAR365_TENANT_ID=… TAR365_CLIENT_ID=… \
#   TAR365_CLIENT_CERTIFICATE=… examples/restic.sh [options of `tar365 export`]
#
# Every snapshot is a full one; what has not changed comes out of the snapshot before, not from the
# service. Needs restic 0.17 or newer. The mail is written below $RESTORE_TO (./restored).
set -euo pipefail
tar365=${TAR365:-tar365}
name=m365.tar # what restic calls the stream
restore_to=${RESTORE_TO:-restored}

restic cat config >/dev/null 2>&1 || restic init

# The newest snapshot is the base, by its id: "latest" may be another one when it is read. restic
# lets its repository be read and written at once.
newest=$(restic snapshots --json --host m365 --path "/$name" --latest 1)
newest=$(sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' <<<"$newest")
base=()
[ -z "$newest" ] || base=(--base-command "restic dump $newest $name")

# restic starts the export itself. If that fails, no snapshot is made: behind a pipe
# (`tar365 export | restic backup --stdin`) the stump would be kept as the newest backup.
snapshot=$(
    restic backup --json --host m365 --stdin-filename "$name" \
        --stdin-from-command -- "$tar365" export "${base[@]}" "$@" |
        sed -n 's/.*"message_type":"summary".*"snapshot_id":"\([0-9a-f]*\)".*/\1/p'
)
[ -n "$snapshot" ] || { echo "restic made no snapshot" >&2; exit 1; }
echo "backed up as snapshot $snapshot"

# Digests, order, counts and completeness, as the repository gives them back.
restic dump "$snapshot" "$name" | "$tar365" verify -

# Any tar can read it. The first mail stands for the one that somebody misses.
mails=$(restic dump "$snapshot" "$name" | tar -t --quoting-style=literal | grep '\.eml$' || true)
mail=${mails%%$'\n'*}
[ -n "$mail" ] || { echo "no mail in the archive"; exit 0; }
mkdir -p "$restore_to"
restic dump "$snapshot" "$name" | tar -x -C "$restore_to" -- "$mail"
echo "restored $restore_to/$mail"
