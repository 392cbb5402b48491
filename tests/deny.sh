#!/usr/bin/env bash
# Checks licenses, bans, duplicates and sources of all dependencies, as deny.toml says. Arguments replace that choice.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/tool.sh
source tests/tool.sh

tool cargo-deny 0.20.2
[ $# -gt 0 ] || set -- check licenses bans sources
cargo deny --locked "$@"
