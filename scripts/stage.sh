#!/usr/bin/env bash
# Stages an app as the platform's builder does, and starts it as the launcher does. Builds
# tools/stage and runs it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
need_tools go

STAGE_BINARY=$(mktemp)
trap 'rm -f "$STAGE_BINARY"' EXIT
go build -C "$root" -buildvcs=false -o "$STAGE_BINARY" ./tools/stage

# exec lets signals reach the program itself. The program removes its file, since the trap no longer
# can.
export STAGE_BINARY
exec "$STAGE_BINARY" "$root" "$@"
