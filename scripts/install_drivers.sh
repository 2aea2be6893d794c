#!/usr/bin/env bash
# scripts/install_drivers.sh [--check]: installs the Postgres drivers for the integration tests. As
# root on Debian or Ubuntu, it uses apt-get. Otherwise, or with --check, it only says what is
# missing. It installs Node's drivers from npm into their fixture, and two newer versions of Node.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../fixtures/drivers/node"

missing=()
# need PACKAGE COMMAND...: PACKAGE is missing if COMMAND fails.
need() {
  if ! "${@:2}" >/dev/null 2>&1; then
    missing+=("$1")
  fi
}
need postgresql-client command -v psql
need jq command -v jq
need python3-psycopg2 /usr/bin/python3 -c 'import psycopg2'
need python3-django /usr/bin/python3 -c 'import django'
need python3-psycopg /usr/bin/python3 -c 'import psycopg'
need python3-asyncpg /usr/bin/python3 -c 'import asyncpg'
need python3-pg8000 /usr/bin/python3 -c 'import pg8000'
need python3-pygresql /usr/bin/python3 -c 'import pgdb'
need python3-pyodbc /usr/bin/python3 -c 'import pyodbc'
need odbc-postgresql compgen -G '/usr/lib/*/odbc/psqlodbcw.so'
need libdbd-pg-perl /usr/bin/perl -MDBD::Pg -e ''
need ruby-pg /usr/bin/ruby -rpg -e ''
need php-cli command -v php
need php-pgsql php -r 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);'
need libpostgresql-jdbc-java test -e /usr/share/java/postgresql.jar
need libhikaricp-java test -e /usr/share/java/HikariCP.jar
need libslf4j-java test -e /usr/share/java/slf4j-nop.jar
need libtomcat9-java test -e /usr/share/java/tomcat9-jdbc.jar
need default-jdk-headless command -v javac
need erlang-base command -v escript
need erlang-ssl erl -noinput -eval 'case code:which(ssl) of non_existing -> halt(1); _ -> halt(0) end.'
need nodejs command -v node

# npm writes what it installed to node_modules/.package-lock.json.
npm_done() { [[ node_modules/.package-lock.json -nt package-lock.json ]]; }
if ! npm_done; then
  need npm command -v npm
fi

if [[ ${1:-} != --check && $(id -u) == 0 && ${#missing[@]} -gt 0 ]] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends --no-upgrade "${missing[@]}" >/dev/null
  missing=()
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "install_drivers.sh: drivers are missing; on Debian or Ubuntu: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
if [[ ${1:-} != --check ]] && ! npm_done; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
if ! npm_done; then
  echo "install_drivers.sh: Node's drivers are missing; run: scripts/install_drivers.sh" >&2
  exit 1
fi
# --check leaves these to the test that needs them.
if [[ ${1:-} != --check && ! ../../node/node_modules/.package-lock.json -nt ../../node/package-lock.json ]]; then
  npm ci --prefix ../../node --no-audit --no-fund --loglevel=error
  touch ../../node/node_modules/.package-lock.json
fi
