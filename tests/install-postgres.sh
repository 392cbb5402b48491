#!/usr/bin/env bash
# Installs PostgreSQL's server binaries where there are none: tests, demo and benchmarks start their own throw-away servers.
set -euo pipefail

found() {
    [ -x "${PGBIN:-/nonexistent}/initdb" ] && return
    command -v initdb >/dev/null && command -v postgres >/dev/null && return
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
    compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null && return
    compgen -G '/usr/local/opt/postgresql*/bin/initdb' >/dev/null
}

found && exit
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if command -v apt-get >/dev/null; then
    echo "No PostgreSQL server binaries found: installing Debian's package postgresql" >&2
    as_root apt-get update -qq
    # Only the programs: no cluster of the system's own is created or started.
    as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
elif command -v brew >/dev/null; then
    echo "No PostgreSQL server binaries found: installing Homebrew's postgresql@17" >&2
    brew install --quiet postgresql@17
else
    echo "No PostgreSQL server binaries found, and neither apt-get nor brew to install them: install PostgreSQL 13 or" \
        "newer, or set PGBIN to the directory of initdb and postgres" >&2
    exit 1
fi
found || { echo "PostgreSQL is installed, but initdb is not where it is looked for: set PGBIN to its directory" >&2; exit 1; }
