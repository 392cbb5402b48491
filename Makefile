# Everything an engineer needs; a bare `make` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: demo
demo: programs ## Play a working day: the real daemon, a throw-away Postgres and the sandbox (ARGS=--stay keeps it running)
	cargo build --locked --bin wazzup-sync --example demo
	cargo run --locked --quiet --example demo -- $(ARGS)

.PHONY: test
test: programs ## Run every test, with progress
	cargo test --locked --workspace

.PHONY: check
check: programs ## Check format, lints, docs and .sqlx
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items
	tests/sqlx.sh check

.PHONY: sqlx
sqlx: programs ## Regenerate .sqlx after our SQL or migrations changed
	tests/sqlx.sh write

.PHONY: simulation
simulation: programs ## Run the simulation for many seeds (SEEDS=1000, or SEEDS=17..18 to replay one)
	SEEDS=$(or $(SEEDS),1000) cargo test --locked --test it -- simulation --nocapture

.PHONY: soak
soak: programs ## Watch the daemon for an hour (MINUTES=60)
	SOAK_MINUTES=$(or $(MINUTES),60) cargo test --locked --test it -- soak --ignored --nocapture

.PHONY: chaos
chaos: programs ## Run a daemon with a standby over databases that fail at random (MINUTES=10, SEED=11)
	CHAOS_MINUTES=$(or $(MINUTES),10) CHAOS_SEED=$(or $(SEED),11) cargo test --locked --test it -- chaos --nocapture

.PHONY: evidence
evidence: programs ## Try to break the product, and write the figures into docs/reliability.md (PARTS="crash soak")
	tests/evidence.sh $(PARTS)

.PHONY: properties
properties: ## Play ten times as many random worlds with the pure core as a test run does (PERCENT=1000)
	PURE_PERCENT=$(or $(PERCENT),1000) cargo test --locked -p pure-core --test pure

.PHONY: model
model: ## Explore all that can happen in a small world (minutes; FAULTS=1 EDITS=2 for less)
	MODEL_EDITS=$(or $(EDITS),2) MODEL_FAULTS=$(or $(FAULTS),2) \
		cargo test --locked --release -p pure-core --test pure -- --ignored model --nocapture

.PHONY: model-mutants
model-mutants: ## Break one rule after the other, and print which invariant notices
	tests/pure/mutants.sh

.PHONY: mutants
mutants: ## Change the pure core in every way that cargo-mutants knows; the tests must notice (hours; ARGS="--shard 0/3")
	@tests/pure/mutation_score.sh $(ARGS)

.PHONY: bench
bench: ## Compare with a shell and a Python script that do the same (ROWS="1000 100000"; WRITE=1 writes docs/benchmarks.md)
	tests/install.sh bench
	benches/run.sh $(ROWS)

.PHONY: image
image: ## Build the container image (docker, else buildah)
	tests/image/build.sh

.PHONY: image-test
image-test: programs image ## Run the image against a real Postgres and the sandbox
	tests/image/test.sh

.PHONY: image-lint
image-lint: ## Lint Dockerfile, compose.yaml, kubernetes.yaml, the workflows and the shell scripts
	tests/image/lint.sh

.PHONY: dist
dist: ## Build the packages: dist/ gets the archive, the Debian package, the SBOM and SHA256SUMS
	packaging/dist.sh

.PHONY: dist-test
dist-test: ## Build the packages twice, compare them, lint them, install and purge the Debian package
	packaging/test.sh

.PHONY: fdw-test
fdw-test: programs ## Run the daemon over a table that lives in MariaDB (mysql_fdw; Debian only)
	tests/fdw/test.sh

.PHONY: sbom
sbom: ## Write the software bill of materials, wazzup-sync.cdx.json (CycloneDX)
	tests/sbom.sh

.PHONY: deny
deny: ## Check licenses, bans and sources of the dependencies (advisories: ARGS="check advisories")
	tests/deny.sh $(ARGS)

.PHONY: programs
programs:
	@tests/install.sh
