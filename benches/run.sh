#!/usr/bin/env bash
# Compares one cycle of wazzup-sync with a shell and a Python script that do the same job, and measures the daemon.
#
#   benches/run.sh                     1,000, 10,000 and 100,000 rows: about five minutes
#   benches/run.sh 1000 1000000        other sizes; a million takes some minutes and 6 GB of memory
#   benches/run.sh --write             … and writes docs/benchmarks.md and docs/growth.svg
#
# Everything it needs is a throw-away: Postgres and Wazzup are the sandbox's, Python's packages go below the target directory.
set -euo pipefail
cd "$(dirname "$0")/.."

# Two commands: cargo would otherwise build the product with what the benchmark's packages want of its dependencies.
cargo build --locked --release --bin wazzup-sync
cargo build --locked --release --package benches --bin peers
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
exec "$target/release/peers" "$@"
