#!/usr/bin/env bash
# Tells which certificates in ca/ expire soon, for a scheduled job (--help tells more).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run_rds_ca check "$@"
