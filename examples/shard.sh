#!/bin/bash
# Backs one shard of a tenant up into a restic repository: what a scheduler starts once for each
# shard, on as many hosts as there are. See slurm/ and kubernetes/.
#
#   TAR365_SHARDS=16 JOB_COMPLETION_INDEX=3 RESTIC_REPOSITORY=… RESTIC_PASSWORD_FILE=… \
#   TAR365_TENANT_ID=… examples/shard.sh [options of `tar365 export`]
#
# All shards may write into one repository at once; `restic init` was done before. Each has its own
# snapshots, and what has not changed comes out of its last one. Needs restic 0.17 or newer. Ends
# with the exit code of the export: 75 is worth another try, 2 and 77 are not.
set -euo pipefail
tar365=${TAR365:-tar365}
: "${TAR365_SHARDS:?says how many shards there are}"
# The same variables tell tar365 which shard to export.
index=${JOB_COMPLETION_INDEX:-${SLURM_ARRAY_TASK_ID:?no scheduler says which shard this is}}
# Without the number of shards: with one more, most of each is still in its last snapshot.
name=m365-$index.tar
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The newest snapshot by its id: "latest" may be another one when it is read.
newest=$(restic snapshots --json --host m365 --path "/$name" --latest 1)
newest=$(sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' <<<"$newest")
base=()
[ -z "$newest" ] || base=(--base-command "restic dump $newest $name")

# restic starts the export, so that one that fails leaves no snapshot. It does not tell how the
# export ended, whose report does.
status=0
restic backup --quiet --host m365 --tag "shard-$index-of-$TAR365_SHARDS" \
    --stdin-filename "$name" --stdin-from-command -- \
    "$tar365" export --report "$work/report.json" "${base[@]}" "$@" || status=$?
code=$(sed -n 's/^ *"exit_code": \([0-9]*\).*/\1/p' "$work/report.json" 2>/dev/null || true)
[ "${code:-0}" = 0 ] || exit "$code"
exit "$status"
