#!/usr/bin/env bash
# Sourced by bin/supply and bin/finalize, as `source run.sh COMMAND PARAMETERS ARGUMENT...`. It runs
# the program's COMMAND with the ARGUMENTs, one for each word in PARAMETERS.

# An unreadable GOMEMLIMIT ends a Go program before its first line. It is the app's; see main.go.
unset -v GOMEMLIMIT

read -ra parameters <<<"$2"
if [[ $# -ne $((2 + ${#parameters[@]})) ]]; then
  echo "Usage: bin/$1 $2" >&2
  exit 2
fi

BUILDPACK_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export BUILDPACK_DIR

program=$BUILDPACK_DIR/bin/postgres-ssl
if [[ ! -x $program ]]; then # this is a git clone
  # shellcheck source=scripts/program.sh
  source "$BUILDPACK_DIR/scripts/program.sh"
  build_program "$4" # CACHE_DIR
fi
exec "$program" "$1" "${@:3}"
