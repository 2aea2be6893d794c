#!/usr/bin/env bash
# Sourced by the scripts beside it: functions that more than one of them needs.

# not_understood WORD...: ends the script with an error and its usage. The script defines usage.
not_understood() {
  echo "${0##*/}: $* was not understood" >&2
  usage >&2
  exit 2
}

# no_arguments ARGUMENT...: for a script that takes no arguments but --help.
no_arguments() {
  case $#:${1-} in
  0:) ;;
  1:-h | 1:--help)
    usage
    exit
    ;;
  *) not_understood "$@" ;;
  esac
}

# need_tools TOOL...: ends the script if a tool is not on the PATH, and says where to get it.
need_tools() {
  local tool hint
  for tool; do
    case $tool in
    go) hint='see https://go.dev/dl' ;;
    java) hint='apt-get install default-jdk-headless libpostgresql-jdbc-java' ;;
    psql) hint='apt-get install postgresql' ;;
    *) hint="apt-get install $tool" ;;
    esac
    if ! command -v "$tool" >/dev/null; then
      echo "${0##*/}: $tool is not on the PATH; install it ($hint) and try again" >&2
      exit 1
    fi
  done
}

# run_rds_ca COMMAND ARGUMENT...: builds tools/update-rds-ca and runs its COMMAND on ca/. It keeps
# the program's exit status, where "go run" would turn every error into 1.
run_rds_ca() {
  local root
  need_tools go
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  program=$(mktemp)
  trap 'rm -f "$program"' EXIT
  go build -C "$root" -buildvcs=false -o "$program" ./tools/update-rds-ca
  "$program" "$1" "$root/ca" "${@:2}"
}
