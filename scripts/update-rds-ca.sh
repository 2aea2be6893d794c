#!/usr/bin/env bash
# Renews the certificates in ca/ from AWS's bundles; see --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run_rds_ca update "$@"
