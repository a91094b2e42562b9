#!/bin/bash
# Backs a tenant up into plain files, one a night, and keeps the newest $KEEP (7).
#
#   BACKUP_DIR=/srv/backup TAR365_TENANT_ID=… TAR365_CLIENT_ID=… TAR365_CLIENT_CERTIFICATE=… \
#   examples/rotate.sh [options of `tar365 export`]
#
# Every file is a full backup; what has not changed comes out of the file before, not from the
# service. A first export that does not come to its end goes on where it was the next time.
set -euo pipefail
tar365=${TAR365:-tar365}
dir=${BACKUP_DIR:?is where the archives are kept}
keep=${KEEP:-7}
mkdir -p "$dir"
cd "$dir"
exec 9>.lock
flock --nonblock 9 || { echo "another run is under way in $dir" >&2; exit 1; }

shopt -s nullglob
whole=(m365-*Z.tar) # in the order of their time
if [ ${#whole[@]} -gt 0 ]; then
    base=(--base "${whole[-1]}")
else
    # The first export may take days: what it has so far is kept beside it.
    base=(--partial-copy unfinished.tar)
    # A second try that came less far than the first is of no use.
    size() { stat -c %s "$1" 2>/dev/null || echo 0; }
    [ "$(size unfinished.tar)" -le "$(size before.tar)" ] || mv unfinished.tar before.tar
    [ ! -s before.tar ] || base+=(--base before.tar --resume)
fi

# The file has its name only when it is whole.
archive=m365-$(date -u +%Y%m%dT%H%M%SZ).tar
"$tar365" export "${base[@]}" --output "$archive" "$@"
"$tar365" verify "$archive"
rm -f before.tar unfinished.tar
echo "backed up as $dir/$archive"

# Only now: a night that failed takes no older one away.
whole=(m365-*Z.tar)
for ((number = 0; number < ${#whole[@]} - keep; number++)); do
    rm "${whole[number]}"
done
