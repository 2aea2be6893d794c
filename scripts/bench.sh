#!/usr/bin/env bash
# Measures staging, launch and the tunnel, compares them with other ways, and prints a Markdown
# table.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/bench.sh

Measures what staging, launch and the tunnel cost. Compares them with bare programs, with openssl
rehash, with a script that does the same by hand, and with direct TLS. Prints a Markdown table with
the medians of many runs. What is compared runs in turns. Takes some minutes, and wants the machine to
itself.

Needs go, openssl, jq, a JDK with pgjdbc, and PostgreSQL with psql.
TEXT
}

no_arguments "$@"
need_tools go openssl jq git tar psql java

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The files of a git clone, and those of a zip, which has the program too.
mkdir "$work/clone"
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- --ignore-failed-read 2>/dev/null | tar -x -C "$work/clone"
mkdir "$work/buildpack"
cp -R bin ca manifest.yml VERSION "$work/buildpack"
scripts/build.sh "$work/buildpack/bin/postgres-ssl"
go build -o "$work/empty" ./tools/bench/empty
go build -o "$work/peak" ./tools/bench/peak
go build -o "$work/bench" ./tools/bench
"$work/bench" "$work" "$root"
