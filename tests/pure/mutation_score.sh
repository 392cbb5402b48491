#!/usr/bin/env bash
# Changes the pure core in every way that cargo-mutants knows, one at a time, and prints in Markdown how many changes the tests
# notice, and which they do not, each with a verdict from tests/pure/survivors.txt. Arguments go to cargo-mutants, such as
# `--shard 0/3 --sharding round-robin`; all mutants take hours. RESULTS="DIR DIR…" runs nothing, and puts together the outputs of
# several runs; where two tested the same mutant, the later directory counts.
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in jq cargo-mutants; do
    command -v "$program" >/dev/null || { echo "mutation_score: $program is not installed" >&2 && exit 1; }
done

# What `Debug` shows decides nothing.
not_behaviour='impl (std::)?fmt::Debug'
# Each mutant is compiled and tested anew, so both are made cheap: a twentieth of the random worlds, which are not shrunk; the
# search with one change of the CRM; no optimisation. All of this can only lower the score.
run() {
    MODEL_EDITS=1 PURE_PERCENT=5 PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0 \
        cargo mutants --package pure-core --timeout 60 --exclude-re "$not_behaviour" --output target/mutants \
        -C --config=profile.dev.package.pure-core.opt-level=0 -C --config=profile.dev.debug=false "$@" >&2 ||
        # 2: some were missed, 3: some timed out.
        [ $? -le 3 ]
}

if [ -z "${RESULTS:-}" ]; then
    run "$@"
    RESULTS=target/mutants
fi
read -ra results <<<"$RESULTS"
all=$(cargo mutants --package pure-core --exclude-re "$not_behaviour" --list | wc -l)
jq --slurp --raw-output --rawfile verdicts tests/pure/survivors.txt --argjson all "$all" '
    # A name begins with the place: the path by way of tests/pure, line and column.
    def mutant: .scenario.Mutant.name | sub("^tests/pure/src/../../../"; "");
    def place: mutant | split(": ")[0];
    def change: mutant | sub("^[^ ]+ "; "");
    def row($name): [
        $name, length,
        (map(select(.summary != "Unviable")) | length),
        (map(select(.summary == "CaughtMutant" or .summary == "Timeout")) | length),
        (map(select(.summary == "Timeout")) | length),
        (map(select(.summary == "MissedMutant")) | length)
    ] | . + [if .[2] == 0 then "" else "\(.[3] * 1000 / .[2] | floor / 10) %" end];
    def line: "| \(map(tostring) | join(" | ")) |";
    ($verdicts | split("\n") | map(select(startswith("#") or . == "" | not) | split(" => ") | {(.[0]): .[1]}) | add // {}) as $verdicts
    | (map(.outcomes[] | select(.scenario != "Baseline")) | INDEX(mutant) | [.[]]) as $outcomes
    | "Tested: \($outcomes | length) of \($all) mutants.",
      "",
      "| folder | mutants | viable | caught | of these by a time-out | missed | score |",
      "|---|---|---|---|---|---|---|",
      ($outcomes | group_by(mutant | split("/")[1])[] | row("`src/\(.[0] | mutant | split("/")[1])`") | line),
      ($outcomes | row("all") | line),
      "",
      "| missed | verdict |",
      "|---|---|",
      ($outcomes[] | select(.summary == "MissedMutant")
        | "| `\(place)`: \(change | gsub("\\|"; "\\|")) | \($verdicts["\(place | split(":")[0]): \(change)"] // "none yet") |")
' "${results[@]/%//mutants.out/outcomes.json}"
