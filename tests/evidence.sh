#!/usr/bin/env bash
# Runs what tries to break the product and writes the figures into docs/reliability.md, each with the commit and the command:
# tests/evidence.sh [PART…]; all parts if none is given. All of them take about three hours; `soak` alone takes one.
set -euo pipefail
cd "$(dirname "$0")/.."
document=docs/reliability.md
parts=(simulation crash variants healing chaos model rules mutants soak)
[ $# = 0 ] || parts=("$@")

EVIDENCE_DIR=$(mktemp -d)
export EVIDENCE_DIR
trap 'rm -rf "$EVIDENCE_DIR"' EXIT
commit=$(git rev-parse --short=7 HEAD)
[ -z "$(git status --porcelain --untracked-files=no -- src migrations tests Cargo.toml Cargo.lock)" ] || commit="$commit, with changes"

it() { cargo test --locked --test it -- "$@" >&2; }

# measure PART: writes $EVIDENCE_DIR/PART.md.
measure() {
    case $1 in
        simulation) SEEDS=${SEEDS:-1000} it simulation::simulation ;;
        crash) it crash::a_death_at_any_step_heals ;;
        variants) it variants:: ;;
        healing) it healing:: ;;
        chaos) CHAOS_MINUTES=${MINUTES:-10} it chaos:: ;;
        model) make --silent model | grep '^|' >"$EVIDENCE_DIR/model.md" ;;
        rules) tests/pure/mutants.sh >"$EVIDENCE_DIR/rules.md" || echo "evidence: a broken rule is not noticed" >&2 ;;
        mutants) make --silent mutants >"$EVIDENCE_DIR/mutants.md" ;;
        soak) make --silent soak MINUTES="${MINUTES:-60}" >&2 ;;
        *) echo "evidence: there is no part $1" >&2 && exit 2 ;;
    esac
}

# insert PART: puts the figures between the part's marks in the document.
insert() {
    local figures=$EVIDENCE_DIR/$1.md command="make evidence PARTS=$1"
    [ "$1" != simulation ] || command="SEEDS=${SEEDS:-1000} $command"
    [ "$1" != soak ] || command="MINUTES=${MINUTES:-60} $command"
    # shellcheck disable=SC2016 # the backticks are Markdown's
    printf '\n`%s`, commit %s, %s.\n' "$command" "$commit" "$(date +%F)" >>"$figures"
    awk -v begin="<!-- evidence: $1 -->" -v end="<!-- end: $1 -->" -v figures="$figures" '
        $0 == end { inside = 0 }
        !inside { print }
        $0 == begin { inside = 1; found = 1; while ((getline line < figures) > 0) print line }
        END { exit !found }
    ' "$document" >"$EVIDENCE_DIR/document" || { echo "evidence: $document has no place for $1" >&2 && exit 1; }
    cat "$EVIDENCE_DIR/document" >"$document"
}

for part in "${parts[@]}"; do
    measure "$part"
    insert "$part"
done
