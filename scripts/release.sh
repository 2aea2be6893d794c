#!/usr/bin/env bash
# Makes a release in dist/: the zips, their checksums, the program's SBOM, and the notes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/release.sh

Makes in dist/, for the version in VERSION:
  postgres-ssl_buildpack-vVERSION.zip         the buildpack, for every stack
  postgres-ssl_buildpack-cached-vVERSION.zip  the same, named like packages with all dependencies
  postgres-ssl_buildpack-vVERSION.cdx.json    the SBOM of its program, in CycloneDX
  SHA256SUMS                                  for sha256sum --check
  notes.md                                    what to paste into the release's notes; printed too

Needs go (https://go.dev/dl) and unzip.
TEXT
}

# changelog VERSION: prints that version's section for a code host's release notes. These keep line
# breaks, so it joins wrapped lines. They have no folder, so it makes links absolute.
changelog() {
  awk -v heading="## [$1]" '
    function flush() { if (line != "") print line; line = "" }
    index($0, heading) == 1 { inside = 1; next }
    !inside { next }
    /^## / || /^\[[^]]*\]: / { exit }
    /^$/ { flush(); print; next }
    /^#|^ *- / { flush(); line = $0; next }
    { sub(/^ +/, ""); line = line == "" ? $0 : line " " $0 }
    END { flush() }
  ' CHANGELOG.md | sed -E "s#\]\(([^):]+)\)#](https://github.com/$repository/blob/v$1/\1)#g"
}

no_arguments "$@"
need_tools go unzip

cd "$(dirname "${BASH_SOURCE[0]}")/.."
repository=cloudfoundry-community/postgres-ssl-buildpack
version=$(<VERSION)
name=postgres-ssl_buildpack
changes=$(changelog "$version")
changes=${changes#$'\n'}
if [[ -z $changes ]]; then
  echo "release.sh: CHANGELOG.md has no section ## [$version], the version in VERSION; write it and try again" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/package.sh
scripts/package.sh --cached
rm -rf dist
mkdir dist
mv "$name-v$version.zip" "$name-cached-v$version.zip" dist

echo '-----> SBOM and checksums'
unzip -q "dist/$name-v$version.zip" bin/postgres-ssl -d "$work"
go run ./tools/sbom "$work/bin/postgres-ssl" "v$version" >"dist/$name-v$version.cdx.json"
cd dist
sha256sum "$name"* >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" .

echo "-----> What to paste into the notes of v$version"
tee notes.md <<TEXT
$changes

### Checksums

\`\`\`
$(<SHA256SUMS)
\`\`\`

Download what you want and \`SHA256SUMS\` into one folder, and check it there:

\`\`\`
sha256sum --check --ignore-missing SHA256SUMS
\`\`\`

The program in both zips is built with $(go env GOVERSION). \`git checkout v$version && scripts/build.sh\` gives the same bytes:

\`\`\`
$(cd "$work" && sha256sum bin/postgres-ssl)
\`\`\`
TEXT
