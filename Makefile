# consul_cluster_exporter needs Go, make and git; everything else is built by the targets that need it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := build

PKG      := github.com/prometheus/common/version
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X $(PKG).Version=$(VERSION) -X $(PKG).Revision=$(REVISION)
FUZZTIME ?= 30s
SOAK     ?= 30m
BINARY   := consul_cluster_exporter
TOOL     := go run ./tools
PROVE    := go run ./internal/proof/run
# How many packages of tests with real clusters run at one time, and how many tests of each: more than there are processors, because they mostly
# wait. How many of them have clusters is bounded by internal/consultest.
TESTS    ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 2)))
# How many of the tests of alerts run at one time: they mostly wait.
ACTS     ?= 4
# How many tests with clusters run at one time on the machine, in targets that set ACTS.
TEST_CLUSTERS ?= $(ACTS)

# help: list the targets.
.PHONY: help
help:
	@sed -n 's/^# \([a-z0-9-]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# build: the exporter, as ./consul_cluster_exporter.
.PHONY: build
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) .

# tools: Consul, Prometheus, Alertmanager and the checkers, built from source into the user's cache; minutes the first time.
.PHONY: tools
tools:
	@$(TOOL)

# demo: a real cluster, the exporter, Prometheus and Alertmanager on this machine, until Ctrl-C (or for DEMO_SECONDS).
.PHONY: demo
demo:
	@echo "Compiling the demo, which takes a minute or two once ..."
	@dir=$$(mktemp -d); go build -o $$dir/demo ./internal/demo; trap 'rm -rf '$$dir EXIT; $$dir/demo

# test: all checks and tests a change must pass, with a sample of each long proof. At the end it prints which proofs are older than their code.
.PHONY: test
test: tools check
	@$(MAKE) --no-print-directory -j 2 -O test-packages test-program
	@$(PROVE) -state

# test-packages: the tests of the packages, with the race detector.
.PHONY: test-packages
test-packages:
	go test -race -vet=off -shuffle=on -timeout 20m $$(go list ./... | grep -v /test/)

# test-program: the tests of the whole program with real clusters. The race detector, with which it takes twice as long, is on in e2e and test-stack.
.PHONY: test-program
test-program:
	go test -vet=off -shuffle=on -timeout 20m -p $(TESTS) -parallel $(TESTS) ./test/...

# prove: run the long proofs, or PROOF=name of internal/proof/table.go, and write docs/proof/name.json; SEED=n repeats one. Takes minutes each.
.PHONY: prove
prove:
	@$(TOOL) consul
	TEST_CLUSTERS=$(TEST_CLUSTERS) $(PROVE) $(if $(SEED),-seed $(SEED)) $(PROOF)

# proven: fail unless each long proof has passed and is as new as the code it is about, as a release needs.
.PHONY: proven
proven:
	@$(PROVE) -require

# test-matrix: the tests of services in all states and of broken clusters against older Consuls, too.
.PHONY: test-matrix
test-matrix:
	@$(TOOL) consul consul-1.19 consul-1.17 consul-1.13 consul_exporter
	@for consul in consul consul-1.19 consul-1.17 consul-1.13; do \
	  echo "== $$consul"; \
	  CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL=$$($(TOOL) -path $$consul) \
	    go test -count 1 -timeout 15m -p 1 -run '^Test(DropIn|HealthyCluster|Outages|Rights|Telemetry)' ./test/catalog ./test/outage; \
	done

# e2e: the tests that need root: real clusters in a network namespace of their own, behind a packet filter.
.PHONY: e2e
e2e:
	@$(TOOL) consul
	go test -race -tags e2e -count 1 -timeout 15m -v -run '^TestE2E' -exec $(CURDIR)/tools/e2e.sh ./test/netns

# e2e-alerts: the tests with the whole stack that need root, because they break networks.
.PHONY: e2e-alerts
e2e-alerts:
	@$(TOOL) consul prometheus alertmanager
	TEST_CLUSTERS=$(TEST_CLUSTERS) go test -race -tags e2e,stack -count 1 -timeout 15m -parallel $(ACTS) -v -run '^TestE2EAlerts$$' -exec $(CURDIR)/tools/e2e.sh ./test/stack

# soak: break and mend a cluster for SOAK and watch the exporter; needs root, as e2e does.
.PHONY: soak
soak:
	@$(TOOL) consul
	go test -tags e2e -count 1 -timeout 2h -v -run '^TestSoak$$' -exec $(CURDIR)/tools/e2e.sh ./test/netns -soak $(SOAK)

# reliability: write docs/reliability.md from a soak.
.PHONY: reliability
reliability:
	@$(TOOL) consul
	go test -tags e2e -count 1 -timeout 2h -v -run '^TestSoak$$' -exec $(CURDIR)/tools/e2e.sh ./test/netns -soak $(SOAK) -update

# test-browser: the tests that look at the status page in Chromium, which they install with axe-core; PICTURES=folder keeps pictures.
.PHONY: test-browser
test-browser:
	@$(TOOL) consul
	AXE=$$(tools/browser.sh) && export AXE && \
	go test -race -tags browser -count 1 -timeout 10m -p 1 -run '^TestStatusPage' ./test/outage ./web

# test-stack: the tests with the whole stack: Consul, exporter, Prometheus, Alertmanager and a webhook; minutes.
.PHONY: test-stack
test-stack:
	@$(TOOL) consul prometheus alertmanager
	TEST_CLUSTERS=$(TEST_CLUSTERS) go test -race -tags stack -count 1 -timeout 30m -parallel $(ACTS) -run '^TestStack' ./test/stack

# alerts-proven: write docs/alerts-proven.md from what the tests of alerts see, an hour and a half of it in real time; needs root as e2e does.
.PHONY: alerts-proven
alerts-proven:
	@$(TOOL) consul prometheus alertmanager
	TEST_CLUSTERS=$(TEST_CLUSTERS) go test -tags stack -count 1 -timeout 20m -parallel $(ACTS) -run '^TestStackAlerts$$' ./test/stack -update
	TEST_CLUSTERS=$(TEST_CLUSTERS) go test -tags e2e,stack -count 1 -timeout 15m -parallel $(ACTS) -run '^TestE2EAlerts$$' -exec $(CURDIR)/tools/e2e.sh ./test/stack -update
	go test -tags stack -count 1 -timeout 10m -run '^TestStackResponder(Hung|Slow)Leader$$' ./test/stack -update
	go test -tags stack -count 1 -timeout 60m -run '^TestAlertsRealTime$$' ./test/stack -update
	go test -tags e2e,stack -count 1 -timeout 60m -run '^TestE2ERealTime$$' -exec $(CURDIR)/tools/e2e.sh ./test/stack -update

# test-root: all tests that need root, one target after another.
.PHONY: test-root
test-root:
	@for target in e2e soak e2e-alerts; do $(MAKE) --no-print-directory SOAK=$(SOAK) $$target; done

# test-packaging: the tests of Dockerfile, examples and release with the parsers of those who read them; reproducible builds; minutes the first time.
.PHONY: test-packaging
test-packaging:
	@command -v systemd-analyze >/dev/null || { echo "systemd-analyze, which checks the unit, is missing: install systemd"; exit 1; }
	cd tools/packaging && go vet -tags release ./... && go test -count 1 -timeout 60m ./...

# test-release: a whole release of a tag, which is not published: archives, packages, checksums, SBOMs; and that it has the same bytes twice.
.PHONY: test-release
test-release:
	@$(TOOL) goreleaser syft
	cd tools/packaging && go test -tags release -count 1 -timeout 60m -v -run '^TestRelease' .

# snapshot: archives, Debian packages, checksums and SBOMs of this commit, in dist/.
.PHONY: snapshot
snapshot:
	@$(TOOL) goreleaser syft
	PATH="$$(dirname "$$($(TOOL) -path syft)"):$$PATH" $$($(TOOL) -path goreleaser) release --clean --snapshot

# release: the same of a tag, as a draft of a release on GitHub, if all is proven; GITHUB_TOKEN has to allow that.
.PHONY: release
release: proven
	@$(TOOL) goreleaser syft
	PATH="$$(dirname "$$($(TOOL) -path syft)"):$$PATH" $$($(TOOL) -path goreleaser) release --clean

# check: formatting, vet and staticcheck.
.PHONY: check
check:
	@$(TOOL) gofumpt staticcheck
	@unformatted=$$($$($(TOOL) -path gofumpt) -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "run 'make fmt' to format:"; echo "$$unformatted"; exit 1; fi
	go vet -tags e2e,browser,stack,prove ./...
	$$($(TOOL) -path staticcheck) -tags e2e,browser,stack,prove ./...
	GOOS=windows go vet ./probe ./consul ./catalog ./telemetry ./cluster ./inputs ./verdict ./memory ./status ./collector ./config ./responder ./web ./internal/cli .
	GOOS=darwin go vet ./probe ./consul ./catalog ./telemetry ./cluster ./inputs ./verdict ./memory ./status ./collector ./config ./responder ./web ./internal/cli .

# lint: golangci-lint, which takes minutes to build the first time, and actionlint for the workflows.
.PHONY: lint
lint:
	@$(TOOL) golangci-lint actionlint
	$$($(TOOL) -path golangci-lint) run ./...
	$$($(TOOL) -path actionlint) -shellcheck= -pyflakes=

# fmt: format all Go files.
.PHONY: fmt
fmt:
	@$(TOOL) gofumpt
	$$($(TOOL) -path gofumpt) -w $$(git ls-files --cached --others --exclude-standard '*.go')

# docs: write the generated tables in docs/.
.PHONY: docs
docs:
	go test ./test/docs -run '^TestTables' -update
	go test ./verdict -run '^TestTables' -update

# rules: write the rule files in alerts/ from their templates.
.PHONY: rules
rules:
	go test ./alerts -run '^TestPack_Files$$' -update

# examples: write the rules and dashboards in examples/kubernetes from those in alerts/ and dashboards/.
.PHONY: examples
examples:
	go test ./test/docs -run '^TestExamples_Generated$$' -update

# dashboards: write the dashboards in dashboards/ with their generator.
.PHONY: dashboards
dashboards:
	go test ./dashboards -run '^TestFiles$$' -update

# pictures: draw the dashboards in docs/images, with a program named by RENDERER (see test/stack/pictures_test.go).
.PHONY: pictures
pictures:
	@$(TOOL) consul prometheus
	go test -count=1 -tags stack,pictures -run '^TestPictures$$' -v ./test/stack

# golden: write the golden files of the tests.
.PHONY: golden
golden:
	@$(TOOL) consul consul_exporter
	go test ./collector -run Golden -update
	go test ./test/catalog -run '^TestDropIn$$' -update

# bench: the benchmarks, on real clusters where they need one.
.PHONY: bench
bench:
	@$(TOOL) consul prometheus promtool
	go test -tags stack -run '^$$' -bench . -benchmem ./...

# fuzz: every fuzz target for FUZZTIME.
.PHONY: fuzz
fuzz:
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done
