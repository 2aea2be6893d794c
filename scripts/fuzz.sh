#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, to find cases that nobody thought of.
# Random search is no test, so scripts/test.sh runs only the inputs that were found and committed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/fuzz.sh [DURATION]

Runs every fuzz target of the module, each for DURATION: 2s, 10m, or 500x for 500 inputs. The default
is 2m. Stops at the first target that fails. The failing input is then in testdata/fuzz/ beside the
test. Fix the code, and commit the input with it: from then on, go test runs it.

Needs go (https://go.dev/dl) and openssl.
Exit status: 0 nothing found, 1 something found, 2 the command was not understood.
TEXT
}

duration=2m
case $#:${1-} in
0:) ;;
1:-h | 1:--help)
  usage
  exit
  ;;
1:[0-9]*[smhx]) duration=$1 ;;
*) not_understood "$@" ;;
esac
need_tools go openssl
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# go test -list prints the targets of a package, and then a line "ok PACKAGE TIME".
list=$(go test -list '^Fuzz' ./...)
targets=() packages=() found=()
while read -r first package _; do
  case $first in
  Fuzz*) found+=("$first") ;;
  ok)
    for target in ${found[@]+"${found[@]}"}; do
      targets+=("$target") packages+=("$package")
    done
    found=()
    ;;
  esac
done <<<"$list"
if [[ ${#targets[@]} -eq 0 ]]; then
  echo 'fuzz.sh: the module has no fuzz targets' >&2
  exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for i in "${!targets[@]}"; do
  echo "-----> ${targets[i]}, $((i + 1)) of ${#targets[@]}, for $duration"
  if ! go test -run '^$' -fuzz "^${targets[i]}\$" -fuzztime "$duration" "${packages[i]}" 2>&1 | tee "$log"; then
    # Before Go 1.27, the end of DURATION sometimes looks like an error: https://go.dev/issue/75804.
    if ! grep -qx '    context deadline exceeded' "$log" || grep -q 'Failing input written' "$log"; then
      exit 1
    fi
    echo "       Nothing found; the error above is only the end of $duration."
  fi
done
