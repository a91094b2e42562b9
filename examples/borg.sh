#!/bin/bash
# Backs a tenant up into a borg repository, one archive member a mail or file, and gets one back.
#
#   BORG_REPO=/srv/backup BORG_PASSPHRASE=… TAR365_TENANT_ID=… TAR365_CLIENT_ID=… \
#   TAR365_CLIENT_CERTIFICATE=… examples/borg.sh [options of `tar365 export`]
#
# Needs borg 1.2 or newer. The mail is written below the directory $RESTORE_TO (./restored).
set -euo pipefail
tar365=${TAR365:-tar365}
restore_to=${RESTORE_TO:-restored}
archive=m365-$(date -u +%Y-%m-%dT%H:%M:%SZ)

borg info >/dev/null 2>&1 || borg init --encryption=repokey-blake2

# tar365 starts borg, not the other way round: if the export fails, borg is ended before it sees the
# end of its input, and keeps no archive. `::name` is an archive in $BORG_REPO.
"$tar365" export --to-command "borg import-tar ::$archive -" "$@"
echo "backed up as archive $archive"

# Reads and checks every chunk.
borg extract --dry-run "::$archive"

# Members are ordinary files to borg. The first mail stands for the one that somebody misses.
mails=$(borg list --format '{path}{NL}' "::$archive" | grep '\.eml$' || true)
mail=${mails%%$'\n'*}
[ -n "$mail" ] || { echo "no mail in the archive"; exit 0; }
mkdir -p "$restore_to"
(cd "$restore_to" && borg extract "::$archive" "pp:$mail")
echo "restored $restore_to/$mail"
