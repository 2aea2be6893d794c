#!/usr/bin/env bash
# Makes a release in dist/: the zips, their checksums, and what the program is made of.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/release.sh

Makes in dist/, for the version in VERSION:
  postgres-ssl_buildpack-vVERSION.zip         the buildpack, for every stack
  postgres-ssl_buildpack-cached-vVERSION.zip  the same files, under the field's name for packages with all dependencies
  postgres-ssl_buildpack-vVERSION.cdx.json    the SBOM of its program, in CycloneDX
  SHA256SUMS                                  for sha256sum --check

Needs go (https://go.dev/dl) and unzip.
TEXT
}

no_arguments "$@"
need_tools go unzip

cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(<VERSION)
name=postgres-ssl_buildpack
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/package.sh
scripts/package.sh --cached
rm -rf dist
mkdir dist
mv "$name-v$version.zip" "$name-cached-v$version.zip" dist

echo '-----> SBOM and checksums'
unzip -q "dist/$name-v$version.zip" bin/postgres-ssl -d "$work"
# Made by CycloneDX's own program for Go, from what go has written into ours (go version -m). It needs a lot that nothing else here does,
# so it has a module file of its own.
go tool -modfile=scripts/sbom.mod cyclonedx-gomod bin -json -std -noserial -notimestamp -version "v$version" \
  -output "dist/$name-v$version.cdx.json" "$work/bin/postgres-ssl"
cd dist
sha256sum "$name"* >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" .
cat SHA256SUMS
