#!/usr/bin/env bash
# Installs what tests, demo and benchmarks start by themselves and do not find: PostgreSQL's programs, PgBouncer, a C compiler
# and the command `kill`; for `tests/install.sh bench` also Python and curl. Says what it installs; does nothing where all
# are there. Nothing is left running: tests start their own throw-away servers.
set -euo pipefail

say() { echo "tests/install.sh: $*" >&2; }

has_postgres() {
    [ -x "${PGBIN:-/nonexistent}/initdb" ] && return
    command -v initdb >/dev/null && command -v postgres >/dev/null && return
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
    compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null && return
    compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null && return
    compgen -G '/usr/local/opt/postgresql*/bin/initdb' >/dev/null
}

# Debian's is in /usr/sbin, which is not on everybody's PATH.
has_pgbouncer() { [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null; }

# Rust links with it, and the crate `ring` has C in it.
has_compiler() { command -v cc >/dev/null; }

# The program, not the shell's own: tests stop daemons with it, and a minimal Debian does not have it.
has_kill() { [ -x /bin/kill ] || [ -x /usr/bin/kill ]; }

has_python() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

has_curl() { command -v curl >/dev/null; }

checks=()
names=()
debian=()
homebrew=()
# want CHECK NAME DEBIAN_PACKAGES HOMEBREW_FORMULA
want() {
    ! "$1" || return 0
    checks+=("$1")
    names+=("$2")
    read -ra packages <<<"$3"
    debian+=("${packages[@]}")
    [ -z "$4" ] || homebrew+=("$4")
}
want has_postgres "PostgreSQL's server programs" postgresql postgresql@17
want has_pgbouncer PgBouncer pgbouncer pgbouncer
# On macOS these come with the system and the command line tools, which make needs too.
want has_compiler "a C compiler" "gcc libc6-dev" ""
want has_kill "the program kill" procps ""
if [ "${1:-}" = bench ]; then
    want has_python "Python with venv" python3-venv python
    want has_curl curl curl curl
fi
[ ${#names[@]} -gt 0 ] || exit 0
missing=$(printf ', %s' "${names[@]}")
missing=${missing:2}

install_with_apt() {
    local command="apt-get install --no-install-recommends ${debian[*]}"
    if [ "$(id -u)" = 0 ]; then
        as_root() { "$@"; }
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
        as_root() { sudo "$@"; }
    else
        say "missing: $missing; you may not install packages here, so ask an administrator to run: $command"
        exit 1
    fi
    say "missing: $missing; running: $command"
    as_root apt-get update -qq
    # Only the programs: no cluster of the system's own is created or started.
    if [[ " ${debian[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${debian[@]}" >/dev/null
    if [[ " ${debian[*]} " == *" pgbouncer "* ]] && [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now pgbouncer
    fi
}

if command -v apt-get >/dev/null; then
    install_with_apt
elif command -v brew >/dev/null && [ ${#homebrew[@]} = ${#names[@]} ]; then
    say "missing: $missing; running: brew install ${homebrew[*]}"
    brew install --quiet "${homebrew[@]}"
else
    say "missing: $missing; there is neither apt-get nor brew to install that with, so please install it by hand" \
        "(PostgreSQL 13 or newer; PGBIN may name the directory of initdb and postgres)"
    exit 1
fi

for check in "${checks[@]}"; do
    if ! "$check"; then
        say "$missing: installed, but not found where it is looked for; PGBIN may name the directory of initdb and postgres"
        exit 1
    fi
done
