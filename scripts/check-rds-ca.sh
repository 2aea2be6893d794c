#!/usr/bin/env bash
# Lists the certificates in ca/ that expire soon, for a scheduled job; see --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run_rds_ca check "$@"
