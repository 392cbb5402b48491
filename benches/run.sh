#!/usr/bin/env bash
# Compares wazzup-sync with a shell and a Python script that do the same job, measures the daemon, and prints Markdown.
#
#   benches/run.sh                1,000 and 100,000 rows: about five minutes on an idle machine
#   ROUNDS=3 benches/run.sh 500   other sizes, and fewer runs of each program
#   WRITE=1 benches/run.sh        also replaces the figures in docs/benchmarks.md
#
# Postgres is a throw-away one, Wazzup the sandbox; Python's packages go below the target directory.
set -euo pipefail
cd "$(dirname "$0")/.."

# Two commands: cargo would otherwise build the product with what the others want of its dependencies.
cargo build --locked --quiet --release --bin wazzup-sync
cargo build --locked --quiet --release --package sandbox --package test-postgres
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')

python=$target/bench-python/bin/python3
if ! "$python" -c 'import httpx, psycopg' 2>/dev/null; then
    echo "benches/run.sh: installing psycopg and httpx into $target/bench-python" >&2
    python3 -m venv "$target/bench-python"
    "$python" -m pip install --quiet 'psycopg[binary]==3.3.*' 'httpx==0.28.*'
fi

# Debian's `psql` is a Perl script that starts the real one 25 ms later, which says nothing about shell scripts.
for directory in /usr/lib/postgresql/*/bin; do
    [ ! -x "$directory/psql" ] || PATH=$directory:$PATH
done

describe() {
    local cpu
    cpu=$(sed -n 's/^model name\s*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "Printed by \`make bench${*:+ ROWS=\"$*\"}\` of commit $(git describe --always --dirty 2>/dev/null || echo unknown) on"
    echo "$(getconf _NPROCESSORS_ONLN) cores of ${cpu:-an unknown CPU}, $(uname -s); $(psql --version), $("$python" --version), $(rustc --version)."
    echo
}
{
    describe "$@"
    "$python" benches/peers/bench.py "$target/release" "$@"
} | tee "$target/benchmarks.md"

if [ -n "${WRITE:-}" ]; then
    page=$(sed '/^<!-- figures -->$/q' docs/benchmarks.md)
    printf '%s\n\n' "$page" | cat - "$target/benchmarks.md" >docs/benchmarks.md
fi
