#!/usr/bin/env bash
# Tells which certificates in ca/ expire soon, for a scheduled job (--help tells more): builds src/cmd/update-rds-ca and runs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -C "$root" -buildvcs=false -o "$program" ./src/cmd/update-rds-ca
"$program" check "$root/ca" "$@"
