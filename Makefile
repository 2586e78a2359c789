# Targets with a "##" comment are shown by make help.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN := bin
COMPONENT_DIR := .cache/bin
COMPONENTS := etcd kube-apiserver kube-controller-manager kubectl restic-0.19 restic-0.18 rest-server versitygw prometheus promtool helm kube-score crds
BENCH_PEERS := resticprofile
BINARIES := restic-manager-controller restic-manager-gateway restic-manager-agent kubectl-restic
LDFLAGS := -s -w -X github.com/restic-manager/restic-manager/internal/version.Version=$(VERSION)
FUZZ_TIME ?= 60s
BENCH_AGENTS ?= 1000
TEST_FLAGS ?= -timeout 20m

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: build components ## Show the whole way once, from enrolment to restore, and compare the files, keep the repository healthy, and mind a fleet (about five minutes).
	go run ./test/demo

.PHONY: up
up: build components ## Start a playground that stays: API server, operator, gateway, rest-server.
	go run ./test/playground up

.PHONY: down
down: ## End the playground.
	go run ./test/playground down

##@ Build

.PHONY: build
build: $(addprefix build-,$(BINARIES)) ## Build the four programs into bin/.

.PHONY: $(addprefix build-,$(BINARIES))
$(addprefix build-,$(BINARIES)): build-%:
	@echo "building $(BIN)/$* ($(VERSION))"
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/$* ./cmd/$*

.PHONY: components
components: ## Build Kubernetes, etcd, restic, rest-server, an S3 server and Prometheus for demo and tests, once (25 minutes on two cores the first time).
	@hack/components/build.sh $(COMPONENT_DIR) $(COMPONENTS)

.PHONY: install-artifacts
install-artifacts: ## Write dist/install, which a gateway serves with --install-dir: the agent's tarballs, pinned builds of restic, install.sh.
	@hack/packages/build.sh dist $(VERSION) install

.PHONY: packages
packages: ## Build the agent for each architecture into dist/ as .deb, .rpm and .tar.gz, and dist/install.
	@hack/packages/build.sh dist $(VERSION) packages

.PHONY: image
image: install-artifacts ## Build the image of controllers and gateway for amd64 and arm64 as an OCI archive in dist/, without a Docker daemon.
	@VERSION=$(VERSION) hack/release/image.sh

.PHONY: chart
chart: components ## Package the Helm chart into dist/chart.
	@VERSION=$(VERSION) hack/release/chart.sh

.PHONY: release
release: components packages image chart ## Make everything that a release publishes in dist/release: packages, plugin, image, chart, manifests, licences, bills of materials, checksums, notes.
	@VERSION=$(VERSION) hack/release/release.sh

.PHONY: generate
generate: ## Write deep copies, CRDs, roles and pages anew from types, markers and commands.
	@hack/generate.sh .

.PHONY: clean
clean: ## Remove built programs and packages; built components stay in .cache.
	rm -rf $(BIN) dist

##@ Check

.PHONY: verify
verify: verify-modules verify-format verify-vet verify-staticcheck verify-generated verify-imports verify-compat verify-manifests verify-chart ## Run every check that is not a behaviour test.
	@echo "verify: everything is in order"

.PHONY: verify-modules
verify-modules:
	@echo "checking that go.mod is tidy"
	@go mod tidy -diff

.PHONY: verify-format
verify-format:
	@echo "checking the format of Go files"
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do if [ -e "$$f" ]; then echo "$$f"; fi; done | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; fi

.PHONY: verify-vet
verify-vet:
	@echo "running go vet"
	@go vet ./...

.PHONY: verify-staticcheck
verify-staticcheck:
	@echo "running staticcheck"
	@go tool staticcheck ./...

.PHONY: verify-generated
verify-generated:
	@echo "checking that generated files are up to date"
	@hack/verify-generated.sh

# -count=1: what these tests read through the go command, the test cache does not see.
.PHONY: verify-imports
verify-imports:
	@echo "checking import rules and the agent's binary"
	@go test -count=1 ./test/imports/...

.PHONY: verify-compat
verify-compat:
	@echo "comparing CRDs with those of the last release"
	@go test -count=1 -run 'CRD|Incompatible|Kind|Newest' ./test/compat

.PHONY: verify-manifests
verify-manifests: components
	@echo "checking CRDs and samples against a real API server"
	@go test -count=1 ./test/manifests/...

.PHONY: verify-chart
verify-chart: components
	@echo "checking the Helm chart: lint, schema, what it renders on a real API server, and that config/default is the same"
	@go test -count=1 ./test/chart/...

# The end-to-end tests wait more than they work (a lost replica is noticed after 90 s), so the others run beside them. Never from the
# test cache: it does not see that the programs changed.
.PHONY: test
test: components ## Run all tests, on real components (about 40 minutes on two cores).
	@echo "running all tests; the end-to-end tests run beside the others and are printed last"
	@go test $(TEST_FLAGS) -count=1 -parallel 6 ./test/e2e >.cache/e2e.log 2>&1 & e2e=$$!; result=0; \
	go test $(TEST_FLAGS) $$(go list ./... | grep -v '/test/e2e$$') || result=1; \
	go test -C hack/release ./... || result=1; \
	echo "waiting for the end-to-end tests (.cache/e2e.log)"; \
	wait $$e2e || result=1; \
	cat .cache/e2e.log; exit $$result

.PHONY: test-install
test-install: components ## Install with Helm, enrol a machine with its one line, back up, upgrade, restore, uninstall (needs root; in make test too).
	go test -count=1 -v ./test/install

.PHONY: fuzz
fuzz: ## Run each fuzz target of the wire for a minute (FUZZ_TIME=60s).
	@hack/fuzz.sh $(FUZZ_TIME) api/wire

.PHONY: bench
bench: components ## Run all benchmarks, and the fleet by the thousand (BENCH_AGENTS=1000), each against a baseline of its own run.
	@hack/components/build.sh $(COMPONENT_DIR) $(BENCH_PEERS)
	@packages=$$(grep -rlE --include='*_test.go' '^func Benchmark[A-Z]' . | xargs -r -n1 dirname | sort -u || true); \
	if [ -z "$$packages" ]; then echo "no benchmarks"; exit 0; fi; \
	echo "running benchmarks in" $$packages; \
	go test -run '^$$' -bench . -benchmem $$packages
	go run ./test/bench -agents $(BENCH_AGENTS)
