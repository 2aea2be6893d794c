#!/usr/bin/env bash
# Renews the certificates in ca/ from AWS's bundles (--help tells how): builds src/cmd/update-rds-ca and runs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -C "$root" -buildvcs=false -o "$program" ./src/cmd/update-rds-ca
"$program" update "$root/ca" "$@"
