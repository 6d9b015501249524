# The two commands of the README are `cargo run --release -- demo` and `make test`; the rest are
# parts of them. Every target can be run again at any time.

.DEFAULT_GOAL := help
.PHONY: help setup test quick lint tests simulate plants sdk dashboards metrics chart test-cluster deny release package bench docs clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what the tests need, pinned, where it is missing
	@tests/setup.sh

test: ## Run every test
	@tests/run.sh

quick: ## Format, clippy and unit tests
	@tests/run.sh format clippy unit

lint: ## Format, clippy and documentation, warnings refused
	@tests/run.sh format clippy rustdoc

tests: ## Unit and integration tests
	@tests/run.sh tests

SEEDS ?= 1000
FIRST ?= 0
DAYS ?= 1

simulate: ## Simulated days of the whole exporter: SEEDS=10000 FIRST=0 DAYS=1
	@tests/simulate.sh --seeds $(SEEDS) --first $(FIRST) --days $(DAYS) $(if $(RULE),--rule "$(RULE)")

plants: ## The planted bugs, and at which seed the simulation finds each
	@tests/simulate.sh --plants

sdk: ## The vendors' official SDK clients against the simulated clouds
	@tests/run.sh sdk

dashboards: ## The dashboards against Grafana's types and a real Prometheus
	@tests/run.sh dashboards

metrics: ## promtool on what the demo serves, and a real Prometheus over a kill
	@tests/run.sh promtool prometheus

chart: ## The chart: rendered, checked, refused, packaged
	@tests/run.sh chart

test-cluster: ## The chart in a real Kubernetes control plane with simulated nodes
	@tests/run.sh cluster

deny: ## Licences, bans and sources of the dependencies
	@tests/run.sh deny

release: setup ## The program, package, chart, SBOM and checksums, in target/release-artifacts/
	@packaging/release.sh

package: ## What a release holds: built twice, installed, in a container
	@tests/run.sh reproducible image deb

bench: ## The benchmarks behind docs/performance.md
	cargo bench

clean: ## Remove everything that was built or installed here
	rm -rf target .tools
