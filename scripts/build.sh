#!/usr/bin/env bash
# scripts/build.sh [PROGRAM]: builds postgres-ssl for the platform's stacks, by default to bin/postgres-ssl, where bin/supply looks for it.
# Static, without paths of the machine, and stripped: one commit gives the same bytes everywhere.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(realpath -m "${1:-$root/bin/postgres-ssl}")
cd "$root"
CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false \
  -ldflags "-s -w -X main.version=$(<VERSION)" -o "$program" ./src/cmd/postgres-ssl
