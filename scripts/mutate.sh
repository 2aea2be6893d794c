#!/usr/bin/env bash
# Breaks the code on purpose, one small change at a time, and shows which changes no test caught.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: scripts/mutate.sh [PART...]

Breaks a copy of the tree in hundreds of small ways, one at a time, and runs the part's tests after
each. A change that no test catches "lived": the tests do not check what the code does there. Prints
each change that lived, the efficacy of each part, and, for all parts, the coverage of those that
decide. src/launch takes two minutes on two cores, and all parts together an hour. Leave it the
machine: tests that take more than three minutes count as endless.

PART is src/plain, src/sslmode, src/rds, src/binding, src/launch, src/truststore, src/client,
src/explain, src/wire, src/verify, src/tunnel, src/cf, src/audit, src/seen, src/drivers or by-hand;
a file of a part, such as src/rds/rds.go; or a line of it, such as src/rds/rds.go:48. The default is
all parts. by-hand stands for the changes in tools/mutate/byhand.go.

Needs go (https://go.dev/dl), openssl and bash, and what scripts/test.sh installs.
Exit status: 0 each part has 99% or more, 1 one has less, 2 the command was not understood.
TEXT
}

case ${1-} in
-h | --help)
  usage
  exit
  ;;
-*)
  echo "mutate.sh: $* was not understood" >&2
  usage >&2
  exit 2
  ;;
esac
for tool in go git tar openssl; do
  if ! command -v "$tool" >/dev/null; then
    echo "mutate.sh: $tool is not on the PATH; install it and try again" >&2
    exit 1
  fi
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/mutate" ./tools/mutate
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard |
  tar -c --null --files-from=- --ignore-failed-read 2>/dev/null | tar -x -C "$work/tree"
cd "$work/tree"
git init -q && git add -A # the tests of packaging ask git for the files
# Compiled as in scripts/test.sh, without the paths of the copies, what does not change is compiled once.
export CGO_ENABLED=0 GOFLAGS='-trimpath -gcflags=all=-dwarf=false'
# A mutant may append forever. This limit ends it before it takes all memory.
ulimit -v 8000000
"$work/mutate" "$work" "$@"
