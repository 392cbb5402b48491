#!/usr/bin/env bash
# Writes what the binary is made of, as CycloneDX 1.5, to wazzup-sync.cdx.json. (A CycloneDX document in JSON is what
# vulnerability scanners and registries take.)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/tool.sh
source tests/tool.sh

tool cargo-cyclonedx 0.5.9
# It writes a document beside the manifest of each package of the workspace; only one of them is shipped.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git archive HEAD | tar --extract --directory "$work"
# The time of the commit, and no random serial number: the same commit gives the same document.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps \
    --manifest-path "$work/Cargo.toml"
sed "s|file://$work|file:///wazzup-sync|g" "$work/wazzup-sync_bin.cdx.json" >wazzup-sync.cdx.json
echo "wazzup-sync.cdx.json: $(grep -c '"purl": "pkg:cargo/' wazzup-sync.cdx.json) crates"
