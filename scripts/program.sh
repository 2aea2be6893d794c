#!/usr/bin/env bash
# Sourced by bin/supply and bin/finalize: finds the program postgres-ssl. A packaged buildpack holds it; a git clone builds it.

# postgres_ssl_program CACHE_DIR: prints the path of the program; what else there is to say goes to standard error.
postgres_ssl_program() {
  local cache=${1:-${TMPDIR:-/tmp}} program
  if [[ -x $BUILDPACK_DIR/bin/postgres-ssl ]]; then
    printf '%s\n' "$BUILDPACK_DIR/bin/postgres-ssl"
    return
  fi
  if ! command -v go >/dev/null; then
    echo '       **ERROR** This buildpack is a git clone, and has to be built with go, which is not on PATH.' >&2
    return 1
  fi
  program=$cache/postgres-ssl
  "$BUILDPACK_DIR/scripts/build.sh" "$program"
  printf '%s\n' "$program"
}
