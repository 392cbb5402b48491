#!/usr/bin/env bash
# Breaks one rule after the other in a copy of the tree, and prints what notices: the search of the small worlds first, with
# one fault and then with two, else the random worlds. Each patch in tests/pure/mutants names the rule that it breaks.
set -euo pipefail
cd "$(dirname "$0")/../.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/model-mutants" RUST_BACKTRACE=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -C "$work"

# Runs the tests that "$@" selects. Prints the invariant that breaks, after how many steps, or nothing.
seen() {
    local output
    if output=$(cd "$work" && timeout 900 cargo test --locked --quiet -p pure-core --test pure -- "$@" 2>&1); then
        return
    fi
    if grep -q '^error' <<<"$output" && ! grep -q 'test result' <<<"$output"; then
        printf 'does not compile'
        return
    fi
    sed -n "/^thread '/{n;p;q}" <<<"$output" |
        sed -E 's/^[a-z0-9 ,'"'"']+: ([^:]*):.*\(after ([0-9]+) steps\)$/\1 | \2/; s/^([^:|]*)(:[^|]*)?$/\1 | /'
}

printf '| rule | instead | found by | what breaks | steps |\n|---|---|---|---|---|\n'
missed=0
for patch in tests/pure/mutants/*.patch; do
    rule=$(sed -n 's/^Rule: //p' "$patch")
    instead=$(sed -n 's/^Instead: //p' "$patch")
    (cd "$work" && patch --quiet -p1 <"$OLDPWD/$patch")
    by='search, 1 fault' found=$(MODEL_EDITS=2 MODEL_FAULTS=1 seen --ignored model)
    if [ -z "$found" ]; then
        by='random worlds' found=$(seen properties regressions)
    fi
    if [ -z "$found" ]; then
        by='search, 2 faults' found=$(MODEL_EDITS=2 MODEL_FAULTS=2 seen --ignored model)
    fi
    if [ -z "$found" ]; then
        by='' found='**nothing** | '
        missed=$((missed + 1))
    fi
    printf '| %s | %s | %s | %s |\n' "$rule" "$instead" "$by" "$found"
    (cd "$work" && patch --quiet -p1 --reverse <"$OLDPWD/$patch")
done
exit "$((missed > 0))"
