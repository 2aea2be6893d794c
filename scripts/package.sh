#!/usr/bin/env bash
# Packages the buildpack as a zip with libbuildpack's buildpack-packager. The zip has the built
# program and the certificates.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/package.sh [--stack STACK | --any-stack] [--cached] [--fips]

Packages the buildpack in the folder above scripts/ as postgres-ssl_buildpack-vVERSION.zip, and lists
what is in it. Staging with the zip needs neither Go nor the network.

  --any-stack    the zip is for every stack (the default: its program is static)
  --stack STACK  the zip is for that stack only, such as cflinuxfs4
  --cached       names the zip like other buildpacks' packages with all dependencies; this buildpack
                 has none to download, so the files in it are the same
  --fips         builds the program with the validated Go Cryptographic Module v1.0.0 (GOFIPS140), and
                 names the zip so

The zip also has the certificates in ca/extra/*.pem. Each staging lists them, and apps trust them
like the platform's own store.

Needs go (https://go.dev/dl) and unzip.
Exit status: 0 done, 1 something is wrong, 2 the command was not understood.
TEXT
}

stack=any
cached=
fips=
while [[ $# -gt 0 ]]; do
  case $1 in
  --any-stack) stack=any ;;
  --stack)
    stack=${2:-}
    if [[ -z $stack || $stack == -* ]]; then
      echo 'package.sh: the value of --stack is missing' >&2
      exit 2
    fi
    shift
    ;;
  --cached) cached=--cached ;;
  --fips) fips=-fips ;;
  -h | --help)
    usage
    exit
    ;;
  *) not_understood "$1" ;;
  esac
  shift
done
need_tools go unzip

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# The environment's settings for go apply to no tool. All are compiled as our program is, so what they
# have in common is compiled once. go tool would ignore GOFLAGS.
export GOFLAGS='-trimpath -gcflags=all=-dwarf=false' CGO_ENABLED=0 GOAMD64=v1
echo '-----> Certificates'
status=0
scripts/check-rds-ca.sh || status=$?
if [[ $status -gt 1 ]]; then # 1 only says that a root expires soon
  exit 1
fi

# The packager copies the folder that it runs in, and packs the files that the manifest lists. So we
# give it a folder with nothing else in it, and add this checkout's own certificates to the
# manifest.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/buildpack"
cp -R CHANGELOG.md LICENSE README.md VERSION bin ca go.mod go.sum manifest.yml scripts src "$work/buildpack"
cd "$work/buildpack"
rm -f bin/postgres-ssl # from an earlier scripts/build.sh
if [[ $fips ]]; then # the packager calls this copy of scripts/build.sh without arguments
  sed -i 's/^unset GOEXPERIMENT GOFIPS140$/unset GOEXPERIMENT; export GOFIPS140=v1.0.0/' scripts/build.sh
  grep -q '; export GOFIPS140=v1.0.0$' scripts/build.sh
fi
for file in ca/*.pem ca/extra/*.pem; do
  if [[ -e $file ]] && ! grep -qxF "  - $file" manifest.yml; then
    printf "  - '%s'\n" "${file//\'/\'\'}" >>manifest.yml
  fi
done

if [[ $stack == any ]]; then
  flags=(--any-stack)
else
  flags=(--stack "$stack")
fi
packager=github.com/cloudfoundry/libbuildpack/packager/buildpack-packager
echo '-----> Packaging'
if ! output=$(go run -modfile="$root/tools/tools.mod" "$packager" build "${flags[@]}" ${cached:+"$cached"} 2>&1); then
  printf '%s\n' "$output" >&2
  exit 1
fi
zips=(*.zip)
zip=${zips[0]/_buildpack/_buildpack$fips}
if [[ $fips ]]; then
  mv "${zips[0]}" "$zip"
fi
cd "$root"
# The same commit gives the same bytes wherever it is packaged. Without a repository, the time is
# 1980-01-01, the first that a zip can hold.
time=315532800
if [[ -e .git ]]; then
  time=$(git log -1 --format=%ct)
fi
go run ./tools/repack "$work/buildpack/$zip" "$time"
mv "$work/buildpack/$zip" .
unzip -l "$zip"
commit='no git clone'
if [[ -e .git ]]; then
  commit=$(git describe --always --dirty='-changed' --exclude='*')
fi
sum=$(sha256sum "$zip")
echo "-----> $zip: $(wc -c <"$zip" | tr -d ' ') bytes, SHA-256 ${sum%% *}, $(go env GOVERSION), $commit"
