#!/usr/bin/env bash
# Packages the buildpack as a zip, with libbuildpack's buildpack-packager: builds the program, and puts it and the certificates into it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/package.sh [--stack STACK | --any-stack] [--cached]

Packages the buildpack in the folder above scripts/, as postgres-ssl_buildpack-vVERSION.zip, and lists what is in it.
Staging with the zip needs neither Go nor the network.

  --any-stack    the zip serves every stack (the default: its program is static)
  --stack STACK  the zip serves that stack only, such as cflinuxfs4
  --cached       names the zip as the field names packages that hold all their dependencies; this
                 buildpack has none to download, so the files in it are the same

The certificates in ca/extra/*.pem go on board too: each staging lists them, and apps trust them as they trust the
platform's own store.

Needs go (https://go.dev/dl) and unzip.
Exit status: 0 done, 1 something is wrong, 2 the command was not understood.
TEXT
}

stack=any
cached=
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

echo '-----> Certificates'
status=0
scripts/check-rds-ca.sh || status=$?
if [[ $status -gt 1 ]]; then # 1: all can be read, but a root expires soon
  exit 1
fi

# The packager copies the folder that it is run in, and lists files one by one: it gets a folder with nothing else in it, whose
# manifest also names the certificates that this checkout has more than others.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/buildpack"
cp -R CHANGELOG.md LICENSE README.md VERSION bin ca go.mod go.sum manifest.yml scripts src "$work/buildpack"
cd "$work/buildpack"
rm -f bin/postgres-ssl # of an earlier scripts/build.sh
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
echo '-----> Packaging'
if ! output=$(go tool -modfile=scripts/tools.mod buildpack-packager build "${flags[@]}" ${cached:+"$cached"} 2>&1); then
  printf '%s\n' "$output" >&2
  exit 1
fi
zips=(./*.zip)
mv "${zips[0]}" "$root"
cd "$root"
zip=${zips[0]#./}
unzip -l "$zip"
echo "-----> $zip: $(wc -c <"$zip" | tr -d ' ') bytes"
