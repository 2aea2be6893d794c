#!/usr/bin/env bash
# scripts/build.sh [PROGRAM [FLAG...]]: builds postgres-ssl for the platform's stacks, by default to bin/postgres-ssl, where bin/supply
# looks for it. Static, without paths of the machine, and stripped: one commit and one Go give the same bytes everywhere.
# FLAGs are go build's.
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
# What else the environment tells go is somebody else's: at staging, the app's.
export GO111MODULE=on GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOAMD64=v1
exec go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(<VERSION)" -o "$program" "${@:2}" ./src/cmd/postgres-ssl
