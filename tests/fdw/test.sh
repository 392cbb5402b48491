#!/usr/bin/env bash
# Proves docs/other-databases.md: employees that live in MariaDB, read through Postgres's mysql_fdw, arrive in Wazzup; a
# MariaDB that is away or silent fails the cycle within its time limit and removes nobody. Debian and Ubuntu only.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "fdw: $*" >&2; }
ok() { echo "ok    $*"; }
fail() { echo "FAIL  $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# ---- Programs ------------------------------------------------------------------------------------------------------------

# fdw_binaries: the directory of the newest PostgreSQL that has mysql_fdw.
fdw_binaries() {
    local library
    library=$(compgen -G '/usr/lib/postgresql/*/lib/mysql_fdw.so' | sort --version-sort | tail -n 1) || return
    echo "${library%/lib/*}/bin"
}

install_programs() {
    local packages=() postgres
    # The programs alone, without a service.
    command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || packages+=(mariadb-server-core)
    command -v mariadb >/dev/null || packages+=(mariadb-client-core)
    command -v curl >/dev/null || packages+=(curl)
    command -v jq >/dev/null || packages+=(jq)
    if [ -z "$(fdw_binaries)" ]; then
        postgres=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort --version-sort | tail -n 1)
        postgres=${postgres#/usr/lib/postgresql/}
        packages+=("postgresql-${postgres%%/*}-mysql-fdw")
    fi
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { say "please install: ${packages[*]}"; exit 1; }
    say "installing ${packages[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

install_programs
PATH=$PATH:/usr/sbin
PGBIN=$(fdw_binaries)
export PGBIN
cargo build --locked --quiet --package wazzup-sync --package sandbox --package test-postgres --bins
target=${CARGO_TARGET_DIR:-target}/debug

# ---- The world -----------------------------------------------------------------------------------------------------------

umask 022
work=$(mktemp -d)
started=()
mariadb_pid=
finish() {
    local status=$?
    [ -z "$mariadb_pid" ] || kill -CONT "$mariadb_pid" 2>/dev/null || true
    for pid in "${started[@]}" $mariadb_pid; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
    exit $status
}
trap finish EXIT

# eventually WHAT SECONDS COMMAND…
eventually() {
    local what=$1 until=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ $SECONDS -lt $until ] || fail "$what"
        sleep 0.1
    done
}

# start FILE PROGRAM ARGUMENT…: one of ours in the background, what it prints in FILE.
start() {
    local out=$1
    shift
    : >"$out"
    "$target/$1" "${@:2}" >>"$out" 2>&1 &
    started+=($!)
    eventually "$1 did not start: $(cat "$out")" 30 grep -q '://' "$out"
}

mariadb_user=$(id -un)
[ "$(id -u)" != 0 ] || mariadb_user=nobody
# A free port, which MariaDB keeps over its restarts.
mariadb_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

start_mariadb() {
    mariadbd --no-defaults --user="$mariadb_user" --datadir="$work/mariadb" --socket="$work/mariadb/socket" \
        --bind-address=127.0.0.1 --port="$mariadb_port" --character-set-server=utf8mb4 \
        --pid-file="$work/mariadb/pid" >>"$work/mariadb.log" 2>&1 &
    mariadb_pid=$!
    eventually "MariaDB did not start: $(tail -n 5 "$work/mariadb.log")" 30 remote 'SELECT 1'
}

stop_mariadb() {
    kill -KILL "$mariadb_pid"
    wait "$mariadb_pid" 2>/dev/null || true
    mariadb_pid=
}

# remote STATEMENT: in MariaDB.
remote() {
    mariadb --no-defaults --default-character-set=utf8mb4 --socket="$work/mariadb/socket" --user=root --batch \
        --skip-column-names --execute "$1" ${2:+"$2"} >"$work/remote" 2>&1
}

# in_crm STATEMENT: in the company's database there.
in_crm() { remote "$1" company || fail "MariaDB: $(cat "$work/remote")"; }

# sql DATABASE STATEMENT: in Postgres.
sql() { psql --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --dbname "${admin/\/postgres\?//$1?}" --command "$2"; }

# documented LANGUAGE: the page's blocks for mysql_fdw.
documented() { awk -v head='^```'"$1 mysql_fdw" '/^```/ { inside = $0 ~ head; next } inside' docs/other-databases.md; }

wazzup() { curl --silent --fail "${base_url%/v3}/_sandbox/$1" | jq --raw-output "$2"; }
names() { wazzup users '[.[].name] | sort | join(", ")'; }
writes() { wazzup requests '[.[] | select(.writing)] | length'; }

say "MariaDB on port $mariadb_port, a Postgres with mysql_fdw ($PGBIN), the stand-in for Wazzup"
install -d -o "$mariadb_user" "$work/mariadb"
chmod a+rx "$work"
mariadb-install-db --no-defaults --user="$mariadb_user" --datadir="$work/mariadb" --auth-root-authentication-method=normal \
    --skip-test-db >"$work/mariadb.log" 2>&1 || fail "mariadb-install-db: $(tail -n 5 "$work/mariadb.log")"
start_mariadb
remote 'CREATE DATABASE company CHARACTER SET utf8mb4'
in_crm "CREATE TABLE staff (id INT PRIMARY KEY AUTO_INCREMENT, full_name VARCHAR(200) NOT NULL, phone VARCHAR(64),
    is_active TINYINT(1) NOT NULL DEFAULT 1)"
in_crm "CREATE USER wazzup_reader@'%' IDENTIFIED BY 'sample-only'; GRANT SELECT ON company.staff TO wazzup_reader@'%'"
in_crm "INSERT INTO staff (full_name, phone, is_active) VALUES ('Анна Орлова', '+7 (926) 123-45-01', 1),
    ('Boris Sokolov', NULL, 1), ('Vera Lebedeva', '79261234503', 1), ('Gleb Morozov', NULL, 0)"

# Postgres reaches MariaDB through a proxy that can cut the connection after some bytes.
python3 tests/fdw/cut.py "$mariadb_port" "$work/limit" >"$work/cut.out" &
started+=($!)
eventually "the proxy did not start" 10 test -s "$work/cut.out"

start "$work/postgres.out" test-postgres
admin=$(grep -m1 '^postgres' "$work/postgres.out")
sql postgres 'CREATE DATABASE crm'
# What docs/other-databases.md says, with this test's host and port.
documented sql | sed "s/'mariadb.internal'/'127.0.0.1'/; s/'3306'/'$(cat "$work/cut.out")'/" >"$work/fdw.sql"
[ -s "$work/fdw.sql" ] || fail "docs/other-databases.md has no SQL for mysql_fdw"
psql --quiet --set ON_ERROR_STOP=1 --dbname "${admin/\/postgres\?//crm?}" --file "$work/fdw.sql"

start "$work/wazzup.out" sandbox --listen 127.0.0.1:0
base_url=$(sed -n 's/^base URL *//p' "$work/wazzup.out")
port=$(sed -E 's/.*:([0-9]+)\/.*/\1/' <<<"$admin")
query_timeout=3
{
    echo 'account = "main"'
    printf '[crm]\nurl = "postgres://crm_reader@127.0.0.1:%s/crm"\nquery_timeout = "%ss"\n' "$port" $query_timeout
    documented toml | grep '^query = '
    printf '[wazzup]\nbase_url = "%s"\napi_key = "sandbox-key"\n' "$base_url"
    printf '[state]\nurl = "postgres://wazzup_sync@127.0.0.1:%s/crm"\n' "$port"
    printf '[removals]\ngrace = "0s"\n[log]\nformat = "json"\n'
} >"$work/wazzup-sync.toml"

# once STATUS WHAT: one cycle, which must end with that exit code.
once() {
    local status=0
    timeout --kill-after=10 60 "$target/wazzup-sync" --config "$work/wazzup-sync.toml" once >"$work/once" 2>&1 || status=$?
    [ $status = "$1" ] || fail "$2: exit $status, expected $1: $(cat "$work/once")"
}

# fails WHAT: the cycle must fail for the CRM's sake, and nobody's user is touched.
fails() {
    local before kind
    before="$(writes) $(names)"
    once 1 "$1"
    kind=$(jq --raw-output 'select(.event == "cycle.failed") | .error_kind // ."error.kind"' "$work/once")
    [[ $kind == crm_unavailable || $kind == crm_query ]] || fail "$1: ${kind:-no cycle.failed}: $(cat "$work/once")"
    [ "$before" = "$(writes) $(names)" ] || fail "$1: Wazzup was written to: $(names)"
    ok "$1: cycle.failed, $kind, nobody is touched"
}

# ---- What is proved ------------------------------------------------------------------------------------------------------

once 0 "first cycle"
[ "$(names)" = "Boris Sokolov, Vera Lebedeva, Анна Орлова" ] || fail "in Wazzup: $(names)"
[ "$(wazzup users '."1".phone')" = 79261234501 ] || fail "the phone: $(wazzup users '."1"')"
ok "the active employees of MariaDB are in Wazzup: $(names)"

in_crm "INSERT INTO staff (full_name) VALUES ('Дарья Волкова 🙂')"
in_crm "UPDATE staff SET full_name = 'Boris Sokolow' WHERE id = 2"
once 0 "second cycle"
[ "$(names)" = "Boris Sokolow, Vera Lebedeva, Анна Орлова, Дарья Волкова 🙂" ] || fail "in Wazzup: $(names)"
ok "a row inserted there, and one renamed, are in Wazzup: $(names)"

in_crm 'DELETE FROM staff WHERE id = 3'
once 0 "third cycle"
[ "$(names)" = "Boris Sokolow, Анна Орлова, Дарья Волкова 🙂" ] || fail "in Wazzup: $(names)"
ok "a row deleted there is gone from Wazzup"

in_crm "INSERT INTO staff (full_name) SELECT concat('Employee ', seq, repeat('x', 150)) FROM seq_1_to_500"
once 0 "500 employees more"
[ "$(wazzup users length)" = 503 ] || fail "in Wazzup: $(wazzup users length)"
for bytes in 0 1000 20000 60000; do
    echo $bytes >"$work/limit"
    fails "the connection breaks after $bytes bytes"
done
rm "$work/limit"

stop_mariadb
fails "MariaDB is dead"

start_mariadb
kill -STOP "$mariadb_pid"
before=$SECONDS
fails "MariaDB takes connections and says nothing"
# Ours ends 5 seconds after Postgres's own limit, which the wrapper cannot obey while it waits.
took=$((SECONDS - before))
[ $took -le $((query_timeout + 8)) ] || fail "the silent MariaDB held the cycle for $took seconds"
ok "the time limit of $query_timeout s held: the cycle ended after $took s"
kill -CONT "$mariadb_pid"

in_crm 'RENAME TABLE staff TO staff_old'
fails "the table is missing there"
in_crm 'RENAME TABLE staff_old TO staff'

before=$(writes)
once 0 "MariaDB is back"
[ "$(writes)" = "$before" ] || fail "MariaDB is back: a request was made"
ok "MariaDB is back: in sync, without a request"

in_crm 'TRUNCATE staff'
once 4 "the table is empty there"
[ "$(writes)" = "$before" ] || fail "the table is empty there: a request was made"
ok "an empty table there removes nobody: held"
