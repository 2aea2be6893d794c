#!/usr/bin/env bash
# Sourced by bin/run.sh of a git clone. It builds the program postgres-ssl, with the Go on PATH or
# else with the pinned one. It keeps the program in the app's cache, under a hash of everything that
# it was built from. The next staging builds and downloads nothing. A packaged buildpack has the
# program, and not this script.
#
# We run the program from the cache without proof that it is ours: any buildpack of the app can
# write there, and nothing in the cache can show who did. SECURITY.md says what that means, and what
# to do.

# shellcheck source=scripts/install_go.sh
source "$BUILDPACK_DIR/scripts/install_go.sh"

# build_program CACHE_DIR: sets program to the path of the program.
build_program() {
  local cache toolchain pinned='' modules
  mkdir -p "$1/postgres-ssl"
  cache=$(cd "$1/postgres-ssl" && pwd)
  if ! toolchain=$(go_on_path); then
    toolchain=go-$GO_SHA256
    pinned=yes
  fi
  program=$cache/program-$(program_key "$toolchain")
  if [[ -x $program ]]; then
    return
  fi
  modules=mod-$(sha256sum <"$BUILDPACK_DIR/go.sum" | cut -d ' ' -f 1)

  echo "-----> This buildpack is a git clone: building postgres-ssl $(<"$BUILDPACK_DIR/VERSION")"
  (
    # Whatever happens, nothing unfinished stays in the cache.
    work=$(mktemp -d "$cache/.unfinished-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    flags=()
    if [[ $pinned ]]; then
      install_go "$cache" "$work"
      echo "       Compiling with Go $GO_VERSION"
      export PATH=$cache/$toolchain/bin:$PATH GOPATH=$work/gopath GOCACHE=$work/build GOMODCACHE=$cache/$modules
      unset GOROOT # the app's; go knows its own
      # Go makes its module cache read-only by default, and the platform could not clear the app's
      # cache.
      flags=(-modcacherw)
    else
      echo "       Compiling with $toolchain, found on PATH"
    fi
    # With 64 cores, one compiler per core would take 1.2 GB, and staging containers often have
    # 1 GB. With four compilers, the build takes 420 MB. GOGC=100 is not the default: without it, a
    # compiler takes 128 MB before it collects any garbage (cmd/compile, base.AdjustStartingHeap).
    export GOMAXPROCS=4 GOGC=100 GOMEMLIMIT=off
    if ! output=$(GOTOOLCHAIN=local "$BUILDPACK_DIR/scripts/build.sh" "$work/postgres-ssl" ${flags[@]+"${flags[@]}"} 2>&1); then
      printf '%s\n' "$output" | sed 's/^/       /'
      fail 'postgres-ssl could not be built. Where staging has no network, use the packaged buildpack, which needs neither Go nor a module proxy.'
    fi
    mv "$work/postgres-ssl" "$program"
    # Remove older toolchains, modules and programs: the cache must not grow with each commit.
    find "$cache" -mindepth 1 -maxdepth 1 ! -name "$toolchain" ! -name "$modules" ! -name "${program##*/}" ! -name '.unfinished-*' \
      -exec rm -rf {} +
  )
  echo "       Done in $SECONDS s; the next staging uses the app's cache"
}

# go_on_path: prints the version of the Go on PATH, if there is one that is new enough for go.mod.
# With GOTOOLCHAIN=local, go itself fails if it is too old.
go_on_path() (
  cd "$BUILDPACK_DIR" || exit
  export GO111MODULE=on GOWORK=off GOFLAGS=-mod=readonly GOTOOLCHAIN=local
  unset GOEXPERIMENT GOFIPS140
  command -v go >/dev/null && go list -m >/dev/null 2>&1 && go env GOVERSION
)

# program_key TOOLCHAIN: prints a hash of everything that the program is built from.
program_key() (
  cd "$BUILDPACK_DIR" || exit
  {
    echo "$1"
    find go.mod go.sum VERSION scripts/build.sh src -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -d ' ' -f 1
)

# fail MESSAGE: stops the staging with an error in libbuildpack's format.
fail() {
  echo "       **ERROR** $*"
  exit 1
}
