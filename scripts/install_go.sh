#!/usr/bin/env bash
# Sourced by scripts/program.sh. The stacks have no Go, so a git clone downloads the one that Cloud
# Foundry's own buildpacks pin. On a foundation that reaches only its own mirror,
# POSTGRES_SSL_GO_URL names the URL of the same file there.

GO_VERSION=1.25.6
GO_URL=https://buildpacks.cloudfoundry.org/dependencies/go/go_1.25.6_linux_x64_cflinuxfs4_0ed64e3b.tgz
GO_SHA256=0ed64e3b9cb9b1c2ec57880dae2427b0ee2676f2ae2fb53c2e1bb838c500f9fb

HIDDEN='the mirror in POSTGRES_SSL_GO_URL'

# shown URL: prints what the log may say of a URL: the host and the path, without user, password and
# query. A password may have a /, ? or # in it that is not escaped. It then looks like the path or the
# query, with an @ behind it, and nothing of the URL is printed.
shown() {
  local url=${1#*://} host
  host=${url%%[/?#]*}
  url=${url:${#host}}
  if [[ $url == *@* ]]; then
    echo "$HIDDEN"
  else
    echo "${host##*@}${url%%[?#]*}"
  fi
}

# install_go CACHE WORK: puts Go into CACHE/go-SHA256, complete or not at all. WORK is an empty
# folder on the same file system.
install_go() {
  local home=$1/go-$GO_SHA256 work=$2 url=${POSTGRES_SSL_GO_URL:-$GO_URL} from error sum top
  if [[ -x $home/bin/go ]]; then
    return
  fi
  from=$(shown "$url")
  echo "       Downloading Go $GO_VERSION from $from"
  if ! error=$(curl --silent --show-error --fail --location --proto =https,http --retry 3 --retry-connrefused \
    --connect-timeout 20 --speed-limit 1000 --speed-time 60 --output "$work/go.tgz" --url "$url" 2>&1); then
    error=${error##*$'\n'}
    if [[ $from == "$HIDDEN" ]]; then # curl's words name what it took for the host
      error='write a /, ?, # or @ in its password as %2F, %3F, %23 or %40'
    fi
    fail "Go $GO_VERSION could not be downloaded from $from: $error. Set POSTGRES_SSL_GO_URL to a mirror, or use the packaged buildpack, which needs no Go."
  fi
  sum=$(sha256sum <"$work/go.tgz" | cut -d ' ' -f 1)
  if [[ $sum != "$GO_SHA256" ]]; then
    fail "What came from $from is not Go $GO_VERSION: its SHA-256 is $sum, and not $GO_SHA256."
  fi
  top=$work/unpacked
  mkdir "$top"
  if ! error=$(tar -xzf "$work/go.tgz" --no-same-owner -C "$top" 2>&1); then
    fail "Go $GO_VERSION could not be unpacked: ${error%%$'\n'*}"
  fi
  if [[ -x $top/go/bin/go ]]; then # go.dev's archive has a folder go, the buildpacks' has none
    top=$top/go
  fi
  if [[ ! -x $top/bin/go ]]; then
    fail "What came from $from has no bin/go."
  fi
  rm -rf "$home" "$work/go.tgz"
  mv "$top" "$home"
}
