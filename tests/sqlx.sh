#!/usr/bin/env bash
# Checks .sqlx against the migrations (`check`), or writes it anew (`write`), with a throw-away Postgres.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cargo build --locked --quiet --package test-postgres
cat migrations/*.sql >"$work/migrations.sql"
"${CARGO_TARGET_DIR:-target}/debug/test-postgres" --sql "$work/migrations.sql" >"$work/out" 2>"$work/err" &
server=$!
until grep -q '^postgres' "$work/out"; do
    kill -0 "$server" || { cat "$work/err" >&2; exit 1; }
    read -rt 0.1 <> <(:) || true
done
mkdir "$work/sqlx"
# The macros write only what they compile, so what is left over in .sqlx shows as a difference.
touch src/lib.rs
DATABASE_URL=$(grep -m1 '^postgres' "$work/out") SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/sqlx" cargo check --locked --quiet --lib
touch src/lib.rs
case ${1:-check} in
write) rm -rf .sqlx && cp -r "$work/sqlx" .sqlx && echo ".sqlx is written" ;;
check) diff -r "$work/sqlx" .sqlx || { echo "run \`make sqlx\` and commit .sqlx" >&2; exit 1; } ;;
*) echo "usage: $0 check|write" >&2; exit 2 ;;
esac
