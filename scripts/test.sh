#!/usr/bin/env bash
# scripts/test.sh, the one test command: installs what the tests need, and runs all of them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/test.sh

Installs what the tests need (with apt-get, if root on Debian or Ubuntu), lints the code, and runs
every test. Says how long each step takes. Needs go (https://go.dev/dl).
TEXT
}

no_arguments "$@"
need_tools go
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# step WHAT: begins a step, and says how long the previous one took.
step() {
  if [[ ${begun-} ]]; then
    echo "       took $((SECONDS - begun)) s"
  fi
  begun=$SECONDS
  echo "-----> $*"
}

# What one step compiles is there for the next, because all compile as scripts/build.sh does.
export CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags=-w'

# The tests write and delete many small files, at most 2 GB at a time. If these are in memory, all
# takes a seventh less time. That needs room, and a place where programs may run.
memory=
read -r options room < <(findmnt --noheadings --bytes --output OPTIONS,AVAIL /dev/shm) || true
if [[ -z ${TMPDIR-} && ${options:-noexec} != *noexec* && ${room:-0} -gt 6000000000 ]]; then
  memory=$(mktemp -d /dev/shm/postgres-ssl-test.XXXX)
  chmod 755 "$memory" # Postgres runs as a user of its own
  export TMPDIR=$memory
fi

# install installs what the tests need.
install() {
  local missing=()
  # need PACKAGE COMMAND: if there is no COMMAND, PACKAGE is missing.
  need() { command -v "$2" >/dev/null || missing+=("$1"); }
  need openssl openssl
  need shellcheck shellcheck
  need util-linux unshare
  need curl curl
  need unzip unzip
  need jq jq
  need ca-certificates update-ca-certificates
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
  if [[ ${#missing[@]} -gt 0 ]]; then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
      echo "test.sh: please install: ${missing[*]} (these are Debian's names)" >&2
      exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
  fi
  scripts/install_drivers.sh
}

# lint_fixtures_and_scripts is what no test waits for, and what needs shellcheck.
lint_fixtures_and_scripts() {
  local module
  for module in fixtures/stratos/src/jetstream fixtures/drivers/pgx fixtures/drivers/go-pg; do
    go -C "$module" vet ./...
  done
  git ls-files -z --cached --others --exclude-standard -- bin scripts tools .ci fixtures |
    xargs -0 grep -lZE '^#!.*\b(ba)?sh\b' -- | xargs -0 shellcheck -x
  # actionlint needs a newer yaml than the other tools, so it has a module file of its own.
  go run -modfile=tools/actionlint.mod github.com/rhysd/actionlint/cmd/actionlint
}

step 'gofmt, go vet, staticcheck; and what the tests need'
install &
installing=$!
# An installation that is cut off may leave a lock behind.
trap 'wait; rm -rf "$memory"' EXIT
unformatted=$(gofmt -l src tools fixtures)
if [[ -n $unformatted ]]; then
  printf 'test.sh: not formatted, run gofmt -w on:\n%s\n' "$unformatted" >&2
  exit 1
fi
# With GOGC=400, these take three quarters of the time. go run, because go tool ignores GOFLAGS and
# would compile all of Go once more.
GOGC=400 go vet ./...
GOGC=400 go run -modfile=tools/tools.mod honnef.co/go/tools/cmd/staticcheck ./...
wait $installing

# Fuzz targets run only their committed inputs, so the same commit gives the same result.
# scripts/fuzz.sh searches for new ones.
step 'Tests; beside them go vet of the fixtures, shellcheck, actionlint'
lint_fixtures_and_scripts &
# The longest begin first, and those that wait for a clock. Twice as many as there are cores run
# side by side, because tests wait for servers and clocks. go vet has run. No result is taken from
# the cache of go test: it does not see what scripts build, and several packages test that.
side=$((2 * $(nproc)))
go test -count=1 -vet=off -timeout 30m -p $side -parallel $side \
  ./src/{packaging,integration,faults,tunnel,cmd/postgres-ssl,wire} \
  ./tools/{mutate,update-rds-ca} ./...
if ! wait $!; then
  echo 'test.sh: go vet, shellcheck or actionlint complains, see above' >&2
  exit 1
fi
step "Done, after $SECONDS s"
