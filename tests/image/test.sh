#!/usr/bin/env bash
# Runs the image for real, locked down as in production, against a throw-away Postgres and the stand-in for Wazzup.
# Prints what it proved and a table of figures; stops at the first thing that does not hold.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/image/engine.sh
source tests/image/engine.sh
need curl curl
need jq jq
need openssl openssl

image=${IMAGE:-wazzup-sync}
most_bytes=15000000
employees=1000
name=wazzup-sync-test-$$
umask 022 # what is mounted must be readable for uid 65532
work=$(mktemp -d)
started=()
figures=()

finish() {
    local status=$?
    [ $status = 0 ] || container logs "$name" 2>&1 | tail -n 20 >&2 || true
    container rm --force "$name" >/dev/null 2>&1 || true
    [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
    exit $status
}
trap finish EXIT

ok() { echo "ok    $*"; }
fail() { echo "FAIL  $*" >&2; exit 1; }
figure() { figures+=("$(printf '%-44s %9s' "$1" "$2")"); }
now_ms() { date +%s%3N; }

# eventually WHAT SECONDS COMMAND…
eventually() {
    local what=$1 until=$(($(now_ms) + $2 * 1000))
    shift 2
    until "$@"; do
        [ "$(now_ms)" -lt $until ] || fail "$what"
        sleep 0.1
    done
}

# ---- The world around it -----------------------------------------------------------------------------------------------

cargo build --locked --quiet --package sandbox --package test-postgres
target=${CARGO_TARGET_DIR:-target}/debug

# start FILE PROGRAM ARGUMENT…: one of ours in the background, what it prints in FILE.
start() {
    local out=$1
    shift
    : >"$out"
    "$target/$1" "${@:2}" >>"$out" 2>&1 &
    started+=($!)
    eventually "$1 did not start: $(cat "$out")" 30 grep -q '://' "$out"
}

start_postgres() {
    start "$work/postgres.out" test-postgres
    admin=$(grep -m1 '^postgres' "$work/postgres.out")
    port=$(sed -E 's/.*:([0-9]+)\/.*/\1/' <<<"$admin")
    sql postgres 'CREATE DATABASE crm'
    # The sample of compose.yaml, so that it is tried out here too.
    psql --quiet --set ON_ERROR_STOP=1 --dbname "${admin/\/postgres\?//crm?}" --file config/compose/crm.sql
    sql crm 'TRUNCATE employees'
}

# sql DATABASE STATEMENT
sql() {
    psql --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --dbname "${admin/\/postgres\?//$1?}" --command "$2"
}

# hire FROM TO
hire() {
    sql crm "INSERT INTO employees (full_name, phone)
        SELECT 'Employee ' || i, '+7 926 ' || lpad(i::text, 7, '0') FROM generate_series($1, $2) i"
}

# start_wazzup NAME ARGUMENT…: sets base_url.
start_wazzup() {
    local out=$work/$1.out
    shift
    start "$out" sandbox --listen 127.0.0.1:0 "$@"
    base_url=$(sed -n 's/^base URL *//p' "$out")
}

# wazzup PAGE FILTER: what the stand-in says about itself.
wazzup() { curl --silent --fail --insecure "${base_url%/v3}/_sandbox/$1" | jq -r "$2"; }
synced() { [ "$(wazzup users length)" = "$1" ]; }

# certificates CA HOST…: a CA, and a certificate for each host.
certificates() (
    cd "$work/tls"
    local ca=$1 host
    shift
    # An own configuration: the system's may add extensions of its own.
    printf '[req]\ndistinguished_name = dn\n[dn]\n' >openssl.cnf
    request() {
        openssl req -config openssl.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "$@" 2>/dev/null
    }
    request -subj "/CN=$ca" -keyout "$ca.key" -out "$ca.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    for host; do
        request -CA "$ca.pem" -CAkey "$ca.key" -subj "/CN=$host" -keyout "$host.key" -out "$host.pem" \
            -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=DNS:$host"
    done
)

# ---- The container -----------------------------------------------------------------------------------------------------

# What every run gets: production's locks, the host's network (where the world above listens), names for it that only
# /etc/hosts knows, the sample configuration, and secrets as files.
locked=(--network host --read-only --cap-drop ALL --security-opt no-new-privileges
    --memory 32m --memory-swap 32m --pids-limit 64
    --add-host crm.example:127.0.0.1 --add-host wazzup.example:127.0.0.1
    --volume "$work/etc:/etc/wazzup-sync:ro" --volume "$work/secrets:/run/secrets:ro")

prepare_mounts() {
    mkdir "$work/etc" "$work/secrets" "$work/tls"
    cp config/compose/wazzup-sync.toml "$work/etc/"
    echo sandbox-key >"$work/secrets/wazzup_api_key"
    secret crm_url "postgres://crm_reader@127.0.0.1:$port/crm"
    secret state_url "postgres://wazzup_sync@127.0.0.1:$port/crm"
    chmod a+rx "$work"
}

# secret NAME VALUE
secret() { echo "$2" >"$work/secrets/$1"; }

# run OPTION… IMAGE VERB: a short-lived one.
run() { container run --rm "${locked[@]}" --env WAZZUP_SYNC__WAZZUP__BASE_URL="$base_url" "$@"; }

# refused WHAT PATTERN OPTION…: `once` must exit with 1 and say why.
refused() {
    local what=$1 pattern=$2 status=0 error
    shift 2
    run "$@" "$image" once >"$work/refused" 2>&1 || status=$?
    [ $status = 1 ] || fail "$what: exit $status, expected 1: $(cat "$work/refused")"
    error=$(grep -E "$pattern" "$work/refused" | tail -n 1) || fail "$what, but does not say so: $(cat "$work/refused")"
    ok "$what: $(jq -r '.error // .message' <<<"$error" 2>/dev/null || echo "$error")"
}

# process FIELD: from /proc of the container's process; `VmRSS` in kB.
process() { sed -nE "s/^$1:\s*//p" "/proc/$pid/status"; }
kilobytes() { process "$1" | tr -dc 0-9; }

# ---- What is proved ------------------------------------------------------------------------------------------------------

prove_contents() {
    local bytes programs
    bytes=$(container image inspect --format '{{.Size}}' "$image")
    [ "$bytes" -le $most_bytes ] || fail "the image has $bytes bytes, at most $most_bytes are allowed"
    figure "image size, MB" "$(megabytes $((bytes / 1000)))"
    container create --name "$name" "$image" >/dev/null
    container export "$name" >"$work/files.tar"
    container rm "$name" >/dev/null
    programs=$(tar --list --verbose --file "$work/files.tar" | awk '/^-..x/ { print $NF }')
    [ "$programs" = usr/local/bin/wazzup-sync ] || fail "programs in the image: $programs"
    tar --extract --to-stdout --file "$work/files.tar" usr/share/doc/wazzup-sync/wazzup-sync.toml |
        cmp --quiet - config/wazzup-sync.toml || fail "the sample configuration in the image is another"
    ok "the image holds one program, no shell, and the sample configuration: $(container run --rm "$image" --version)"
}

megabytes() { awk "BEGIN { printf \"%.1f\", $1 / 1000 }"; }

prove_unhealthy_before() {
    local status=0
    run "$image" healthcheck >"$work/health" || status=$?
    [ "$status $(grep -c '^unhealthy' "$work/health")" = "1 1" ] || fail "before any cycle: $status, $(cat "$work/health")"
    ok "before the first cycle: $(cat "$work/health")"
}

# With one employee, since an empty CRM needs no request.
prove_start() {
    local begun first
    hire 1 1
    container run --detach --name "$name" "${locked[@]}" --env WAZZUP_SYNC__WAZZUP__BASE_URL="$base_url" "$image" >/dev/null
    pid=$(container inspect --format '{{.State.Pid}}' "$name")
    # When the process began, which the kernel counts in hundredths of a second since the machine's start.
    begun=$(($(now_ms) - 10 * $(cut -d' ' -f1 /proc/uptime | tr -d .) + 10 * $(cut -d' ' -f22 "/proc/$pid/stat")))
    eventually "no request after the start" 20 requested
    first=$(wazzup requests '[.[].at] | min')
    figure "start to first request, ms" $((first - begun))
    eventually "the container did not become healthy" 20 healthy
    ok "healthy: $(container exec "$name" wazzup-sync healthcheck)"
    sleep 2
    figure "resident memory idle, one employee, MB" "$(megabytes "$(kilobytes VmRSS)")"
}

requested() { [ "$(wazzup requests length)" -gt 0 ]; }

# The image's own HEALTHCHECK.
healthy() {
    if [ "$engine" = docker ]; then
        [ "$(docker inspect --format '{{.State.Health.Status}}' "$name")" = healthy ]
    else
        container healthcheck run "$name" >/dev/null 2>&1
    fi
}

prove_locks() {
    local directory refusal
    [ "$(process Uid | tr '\t' ' ')" = "65532 65532 65532 65532" ] || fail "runs as $(process Uid)"
    [ "$(process NSpid | awk '{ print $NF }')" = 1 ] || fail "is not PID 1"
    [ "$(process CapEff)$(process CapPrm)$(process CapBnd)" = "$(printf '%048d' 0)" ] || fail "has capabilities"
    [ "$(process NoNewPrivs)" = 1 ] || fail "may gain privileges"
    for directory in / /etc /usr/local/bin /run /etc/wazzup-sync /run/secrets; do
        # Not even root, from outside.
        refusal=$(LC_ALL=C as_root touch "/proc/$pid/root$directory/x" 2>&1) && fail "$directory can be written"
        [[ $refusal == *"Read-only file system"* ]] || fail "$directory: $refusal"
    done
    ! container exec "$name" sh -c true >/dev/null 2>&1 || fail "there is a shell"
    ok "PID 1, uid 65532, no capabilities, no shell, nothing can be written"
}

prove_sync() {
    local before counts
    before=$(now_ms)
    hire 2 $employees
    eventually "$employees employees were not synced" 60 synced $employees
    figure "$employees employees in Wazzup after, ms" $(($(now_ms) - before))
    sleep 2
    figure "resident memory at $employees employees, MB" "$(megabytes "$(kilobytes VmRSS)")"
    figure "  its highest, MB" "$(megabytes "$(kilobytes VmHWM)")"
    figure "  of it without the program file, MB" "$(megabytes "$(kilobytes RssAnon)")"
    counts=$(container exec "$name" wazzup-sync status --format json | jq --raw-output '"\(.in_sync) of \(.eligible)"')
    [ "$counts" = "$employees of $employees" ] || fail "status says that $counts are in sync"
    [ "$(wazzup violations '.violations | length')" = 0 ] || fail "the contract was violated: $(wazzup violations .)"
    [ "$(container inspect --format '{{.HostConfig.Memory}}' "$name")" = $((32 << 20)) ] || fail "there is no memory limit"
    ok "$employees employees synced within a limit of 32 MB"
}

prove_stop() {
    local before
    healthy || fail "is not healthy before it stops"
    before=$(now_ms)
    container stop --time 10 "$name" >/dev/null
    figure "stop, ms" $(($(now_ms) - before))
    [ "$(container inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' "$name")" = "0 false" ] ||
        fail "stopped with $(container inspect --format '{{json .State}}' "$name")"
    container logs "$name" >"$work/log" 2>&1
    jq --exit-status --slurp 'all(.[]; has("event")) and .[-1].event == "daemon.stopped"' "$work/log" >/dev/null ||
        fail "the log is not JSON lines that end with daemon.stopped: $(cat "$work/log")"
    ok "stopped politely, with exit 0; all $(wc -l <"$work/log") lines of its log are JSON"
    container rm "$name" >/dev/null
}

prove_rest() {
    local before
    before=$(wazzup requests '[.[] | select(.writing)] | length')
    run "$image" once >/dev/null 2>&1 || fail "once: exit $?"
    [ "$(wazzup requests '[.[] | select(.writing)] | length')" = "$before" ] || fail "a second cycle made requests"
    ok "run again: no request"
}

# Both connections encrypted, each with a private CA of its own, for an account of its own.
prove_tls() {
    local data file
    certificates crm-ca crm.example
    certificates wazzup-ca wazzup.example
    cp "$work"/tls/*-ca.pem "$work/etc/"
    data=$(sql postgres 'SHOW data_directory')
    for file in pem key; do
        # Postgres takes a private key only from a file of its own user.
        as_root install -m 600 -o "$(stat -c %U "$data")" "$work/tls/crm.example.$file" "$data/server.$file"
    done
    sql postgres "ALTER SYSTEM SET ssl_cert_file = 'server.pem'"
    sql postgres "ALTER SYSTEM SET ssl_key_file = 'server.key'"
    sql postgres 'ALTER SYSTEM SET ssl = on'
    sql postgres 'SELECT pg_reload_conf()' >/dev/null
    eventually "Postgres does not speak TLS" 5 encrypted
    cat "$work"/tls/wazzup.example.{pem,key} >"$work/tls/wazzup.example.both"
    start_wazzup wazzup-tls --tls "$work/tls/wazzup.example.both"
    over_tls=(--env WAZZUP_SYNC__ACCOUNT=tls --env WAZZUP_SYNC__WAZZUP__BASE_URL="${base_url/127.0.0.1/wazzup.example}")

    crm_verified crm.example wazzup-ca
    refused "a Postgres of an unknown CA is refused" 'certificate' "${over_tls[@]}" --env "$ca_of_wazzup"
    crm_verified 127.0.0.1 crm-ca
    refused "a Postgres with another's certificate is refused" 'certificate' "${over_tls[@]}" --env "$ca_of_wazzup"
    crm_verified crm.example crm-ca
    refused "a Wazzup of an unknown CA is refused" 'certificate' "${over_tls[@]}"
    run "${over_tls[@]}" --env "$ca_of_wazzup" "$image" once >"$work/tls.log" 2>&1 ||
        fail "TLS with the right CA: exit $?, $(cat "$work/tls.log")"
    synced $employees || fail "not synced over TLS: $(cat "$work/tls.log")"
    ok "$employees employees synced over TLS to Postgres (sslmode=verify-full) and Wazzup, each with a private CA"
}

ca_of_wazzup=SSL_CERT_FILE=/etc/wazzup-sync/wazzup-ca.pem

# crm_verified HOST CA
crm_verified() {
    local query="sslmode=verify-full&sslrootcert=/etc/wazzup-sync/$2.pem"
    secret crm_url "postgres://crm_reader@$1:$port/crm?$query"
    secret state_url "postgres://wazzup_sync@$1:$port/crm?$query"
}

encrypted() { [ "$(sql postgres 'SHOW ssl')" = on ]; }

container image inspect "$image" >/dev/null 2>&1 || tests/image/build.sh
prove_contents
start_postgres
start_wazzup wazzup
prepare_mounts
prove_unhealthy_before
prove_start
prove_locks
prove_sync
prove_stop
prove_rest
prove_tls
printf '\n'
printf '%s\n' "${figures[@]}"
