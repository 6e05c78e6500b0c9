# Coral. Needs Go, Python 3 and make; the rest is installed into .cache in this checkout.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)
PREFIX  ?= /usr/local
export CGO_ENABLED = 0

.PHONY: build demo test unit lint race narrow integration suites fuzz crash bench venv tools install clean

# The static binary: bin/coral.
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/coral ./cmd/coral

# A real model and a real fine-tune through a real mount, in a temporary directory.
demo: build
	@py=$$(integration/python/venv.sh) && python3 integration/python/demo.py bin/coral "$$py"

# Everything: checks, unit tests with -race, fuzz for a while, all of integration/ through real mounts.
test: lint race fuzz integration narrow

# Unit tests, fast.
unit:
	$(GO) test $$($(GO) list ./... | grep -v /integration)

# gofmt, vet, staticcheck, and the import rules.
lint:
	@out=$$(gofmt -s -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt -s needed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags purego ./delta/...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/archtest
	$(GO) mod tidy -diff

# Unit tests under the race detector (which needs cgo and a C compiler; without one they run plain, and say so), and the codecs and stores in full without it, with assembly and without.
race:
	@if command -v $${CC:-gcc} >/dev/null; then echo "unit tests with -race"; CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /integration); \
	else echo "NOT RUN WITH -race: no C compiler; running the unit tests without it"; $(GO) test $$($(GO) list ./... | grep -v /integration); fi
	$(GO) test ./delta/... ./vcs ./vcs/content ./objstore/local
	$(GO) test -tags purego,noasm ./delta/...

# Each fuzz target for FUZZTIME; the corpus in testdata/fuzz is always run by the unit tests.
FUZZTIME ?= 3s
fuzz:
	@GO=$(GO) FUZZTIME=$(FUZZTIME) sh integration/fuzz.sh

# Black-box tests: the built binary, real mounts, real programs.
integration: venv tools
	@sh integration/tools.sh test
	$(GO) test -v -count=1 -timeout 40m $$($(GO) list ./integration/... | grep -v /suites)

# Test suites that others wrote (pjdfstest, fsx, fio, stress-ng, dbench, fs_mark, git, sqlite, tar), the model and the power-cut test. Installs them with
# cargo and apt into .cache/tools. As root for all of it. Minutes; SUITES=long for the long runs. SUITE=TestFsx for one.
SUITES ?= ci
SUITE  ?= .
suites:
	@sh integration/suites/install.sh
	SUITES=$(SUITES) $(GO) test -v -count=1 -timeout 24h -run '$(SUITE)' ./integration/suites

# A part of the integration tests with one processor, and with a daemon built with the race detector (which needs a C compiler).
NARROW ?= TestFirstUse|TestMountAt|TestTwoMounts|TestControlFile|TestManyWritersAndReaders|TestSnapshotOfOpenFile|TestLiveSemantics
narrow:
	GOMAXPROCS=1 $(GO) test -count=1 -timeout 20m -run '$(NARROW)' ./integration
	@if command -v $${CC:-gcc} >/dev/null; then CGO_ENABLED=1 $(GO) build -race -o bin/coral-race ./cmd/coral && \
	GORACE="halt_on_error=1 log_path=$(CURDIR)/bin/race" CORAL_BIN=$(CURDIR)/bin/coral-race $(GO) test -count=1 -timeout 20m -run '$(NARROW)' ./integration && ! ls bin/race.* 2>/dev/null; \
	else echo "NOT RUN WITH -race: no C compiler"; fi

# Only the kill -9 test; KILLS=1000 for a long one.
KILLS ?= 200
crash:
	CORAL_KILLS=$(KILLS) $(GO) test -count=1 -timeout 3h -run TestKill9 -v ./integration

# Measures against the alternatives on this machine; prints the tables of docs/benchmarks.md: ratios and speeds on real checkpoints (BENCHFLAGS=--small for a short try), then the mount.
bench: build peers
	@py=$$(integration/python/venv.sh) && "$$py" integration/bench/ratios.py bin/coral $(BENCHFLAGS) && "$$py" integration/bench/bench.py bin/coral $(BENCHFLAGS)

# Speed of each codec on one core, with assembly and without.
bench-codecs:
	@GO=$(GO) python3 integration/bench/codecs.py $(BENCHFLAGS)

# The other tools that coral bench compares with, in .cache/tools and .cache/peers.
peers: venv
	@sh integration/tools.sh peers

# Python with torch and friends, in .cache/venv.
venv:
	@integration/python/venv.sh >/dev/null

# Outside programs of the tests, in .cache/tools.
tools:
	@sh integration/tools.sh

install: build
	install -D -m 755 bin/coral $(DESTDIR)$(PREFIX)/bin/coral

clean:
	rm -rf bin .cache
