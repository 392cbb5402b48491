#!/usr/bin/env bash
# Checks licenses, bans, duplicates and sources of all dependencies, as deny.toml says. Arguments replace that choice:
# `tests/deny.sh check advisories` needs the network.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/tool.sh
source tests/tool.sh

tool cargo-deny 0.20.2
[ $# -eq 0 ] || exec cargo deny --locked "$@"
cargo deny --locked check licenses bans sources
echo "Advisories were NOT checked: that needs the RustSec database from the network. The workflow advisories.yml does it" \
    "daily; here: make deny ARGS=\"check advisories\""
