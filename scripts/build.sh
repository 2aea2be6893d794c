#!/usr/bin/env bash
# scripts/build.sh [PROGRAM [FLAG...]]: builds postgres-ssl for the platform's stacks. PROGRAM is
# bin/postgres-ssl by default, where bin/supply looks for it. FLAGs are go build's. The program is
# static and stripped: the same commit and the same Go give the same bytes on every machine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${1:-$root/bin/postgres-ssl}
case $program in
-*)
  sed -n '2,4s/^# //p' "$0"
  [[ $program == --help ]] && exit 0 || exit 2
  ;;
/*) ;;
*) program=$PWD/$program ;;
esac
cd "$root"
# Don't let the environment's settings for go apply: at staging, they are the app's.
export GO111MODULE=on GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOAMD64=v1
unset GOEXPERIMENT GOFIPS140
# The program is stripped (-s -w), so what debuggers need is not compiled either: a seventh of the time.
exec go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags "-s -w -X main.version=$(<VERSION)" -o "$program" "${@:2}" ./src/cmd/postgres-ssl
