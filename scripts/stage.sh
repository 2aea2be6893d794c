#!/usr/bin/env bash
# Stages an app as the platform's builder does and starts it as its launcher does: builds src/cmd/stage and runs it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
need_tools go

STAGE_BINARY=$(mktemp)
trap 'rm -f "$STAGE_BINARY"' EXIT
go build -C "$root" -buildvcs=false -o "$STAGE_BINARY" ./src/cmd/stage

# exec, so that a signal reaches the program itself; the program then removes its file, as the trap no longer can.
export STAGE_BINARY
exec "$STAGE_BINARY" "$root" "$@"
