# make run      an experiment on real disk, and its report (about a minute)
# make test     everything, with the race detector where there is concurrency
# make help     all targets

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS   += --warn-undefined-variables --no-builtin-rules
.DEFAULT_GOAL := help

EXPERIMENT ?= experiments/backends.toml
OUT        ?=
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE    := golang.org/x/tools/cmd/deadcode@v0.49.0
VULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The race detector needs cgo. It runs everywhere but in packages that start no
# goroutine and compute much; in that of the program raftlab, whose commands compute
# reports again and again, but for 'new', which waits for answers on a goroutine; and in
# coretest, where the properties are to find what is broken, and not the detector.
RACE  := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race,)
PLAIN := bench/experiment bench/model bench/raftlab bench/report bench/stats bench/verify core/coretest

# Those that wait longest begin first, beside the compiler.
LONG := ./kv/kvnode ./bench/runner ./kv/node ./cmd/clusterctl ./cluster/process ./engines/...

# hashicorp/raft v1.7.3 reads a peer without its lock while the address of that peer is
# updated (updateLastAppended), which ends any test in which a member moves, now and then.
# Those run without the detector.
MOVES := ^(TestMoves|TestAddressIsTaken|TestAddressesGoRound|TestStrayOfAnotherGroup|TestWithGossip)$$|^TestEngine$$/./^Address$$

# Modules of their own: plug-ins as a third party's are, and the systems that raftlab is
# set beside.
PLUGINS := examples/plugins
PEERS   := peers

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# The commit, where Go does not stamp it: in a worktree of git, or with -buildvcs=false.
STAMP = -ldflags "-X github.com/themilchenko/raftlab/core.stamped=$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || true)"

.PHONY: build
build: ## build the programs into bin/
	mkdir -p bin
	go build $(STAMP) -o bin/ ./cmd/...

# With every release: later ones have to open what it has written.
NAME ?=
.PHONY: old-data
old-data: build ## add folders of this program's nodes as NAME to kv/node/testdata/old
	test -n "$(NAME)" || { echo "name the version: make old-data NAME=v1.0.0"; exit 2; }
	go test ./kv/node -run '^TestRecordOldData$$' -count=1 -args -old-data.record "$(NAME)" -old-data.program "$(CURDIR)/bin/kvnode"

# A program has a build.sh, whose argument is the folder for what it builds, and may have a
# test.sh; Ratis' tests are run by its build. With exit code 3 they have said what is missing.
.PHONY: engines engines-test
engines: ## build the engines that are programs into bin/, as far as their tools are there
engines-test: ## run the unit tests of engines that are programs, as far as their tools are there
engines: script := build.sh bin
engines-test: script := test.sh
engines engines-test:
	@mkdir -p bin
	failed=0
	for dir in $(dir $(wildcard engines/programs/*/$(firstword $(script)))); do
		name=$$(basename "$$dir") code=0
		said=$$($${dir}$(script)) || code=$$?
		case $$code in
			0) echo "done: $$name" ;;
			3) echo "skipped: $$name: $$said" ;;
			*) echo "failed: $$name"; if [ -n "$$said" ]; then echo "$$said"; fi; failed=1 ;;
		esac
	done
	exit $$failed

.PHONY: run
run: build ## run EXPERIMENT (experiments/backends.toml) and write its report to OUT
	bin/raftlab run $(EXPERIMENT) $(if $(OUT),--out $(OUT))

# Not in test: building the official server takes longer than the test.
.PHONY: peers-test
peers-test: ## test the module peers, with the official etcd server
	cd $(PEERS)
	go test -count=1 $(RACE) -timeout 8m ./...
	go run $(STATICCHECK) ./...

.PHONY: peers
peers: build ## build bin/raftlab-peers, and set kvnode beside etcd: experiments/peers*.toml
	cd $(PEERS)
	go build $(STAMP) -o ../bin/ ./raftlab-peers
	cd ..
	bin/raftlab-peers run experiments/peers.toml experiments/peers-reads.toml experiments/peers-failover.toml $(if $(OUT),--out $(OUT))

# -count=1: some tests build and start the programs, and go's test cache does not
# notice when those have changed. -vet=off: lint vets. Tests wait more than they compute,
# so twice as many packages as cores are tested beside each other, and what runs without
# the detector beside those; a program under the race detector sleeps for a second at its
# end unless told not to. A failure does not keep the other lines from running; the whole
# output is in bin/test.log.
GOTEST := go test -count=1 -vet=off -timeout 8m

.PHONY: test
test: ## run all tests, with the race detector where there is concurrency
	mkdir -p bin
	export TMPDIR=$$(mktemp -d) GORACE=atexit_sleep_ms=0
	trap 'rm -rf "$$TMPDIR"' EXIT
	{
		(
			failed=0
			$(GOTEST) $(PLAIN:%=./%) || failed=1
			$(GOTEST) $(RACE) -run '^TestNew' ./bench/raftlab || failed=1
			$(GOTEST) -run '$(MOVES)' ./discovery/steward ./engines/hashicorp ./engines/etcd || failed=1
			(cd $(PLUGINS) && $(GOTEST) $(RACE) ./...) || failed=1
			exit $$failed
		) > "$$TMPDIR/beside" 2>&1 & beside=$$!
		trap 'kill $$beside 2> /dev/null' INT TERM
		failed=0
		$(GOTEST) -p $$((2 * $$(getconf _NPROCESSORS_ONLN))) $(RACE) -skip '$(MOVES)' $$(go list $(LONG) ./... | grep -v $(PLAIN:%=-e '/%$$')) || failed=1
		wait $$beside || failed=1
		cat "$$TMPDIR/beside"
		rm "$$TMPDIR/beside"
		left=$$(ls -A "$$TMPDIR")
		if [ -n "$$left" ]; then echo "tests have left in the temporary directory:" $$left; failed=1; fi
		exit $$failed
	} 2>&1 | tee bin/test.log | awk -v whole=bin/test.log -f .ci/failures.awk

# What to hunt with: how long in all and a round, the first round's seed (0: by the
# clock), cells, kinds of faults (empty: all), and another kvnode than this one (with
# ENGINE=, PERSISTENCE= and CLIENT=http if it does not know those settings).
DURATION  ?= 20m
ROUND     ?= 45s
SEED      ?= 0
ENGINE    ?= hashicorp,etcd
NODES     ?= 3,5
BACKEND   ?= bolt,mdb
DISCOVERY ?= static,gossip
PERSISTENCE ?= serial,overlapped
CLIENT    ?= http,resp
FAULTS    ?=
KVNODE    ?=

.PHONY: soak
soak: ## hunt for lost writes and stale reads with random faults for DURATION
	go test -count=1 -timeout 0 -run '^TestSoak$$' ./bench/hunt -v -args -soak $(DURATION) -round $(ROUND) -seed $(SEED) \
		-engine "$(ENGINE)" -nodes $(NODES) -backend $(BACKEND) -discovery $(DISCOVERY) -persistence "$(PERSISTENCE)" -client "$(CLIENT)" -faults "$(FAULTS)" -kvnode "$(abspath $(KVNODE))"

ROUNDS ?= 5

.PHONY: redis-benchmark
redis-benchmark: ## set the load generator beside redis-benchmark, a connection for each client, in turn, ROUNDS times
	go test -count=1 -timeout 0 -run '^TestRedisBenchmark$$' ./bench/system/kvnode -v -args -redis-rounds $(ROUNDS)

# Not in test: it needs a browser, and fetches axe-core from npm.
.PHONY: check-report
check-report: build ## look at the report of OUT in a browser (without OUT: of a quick run): tidy, axe, overlapping labels
	out='$(OUT)'
	if [ -z "$$out" ]; then
		out=$$(mktemp -d)/run
		trap 'rm -rf "$$(dirname "$$out")"' EXIT
		bin/raftlab run $(EXPERIMENT) --quick --out "$$out"
	fi
	.ci/check-report.sh "$$out"

.PHONY: reference
reference: ## write docs/experiment.md from the program
	go test ./bench/raftlab -run '^TestReference$$' -count=1 -args -update

# Not in test: it needs LaTeX.
.PHONY: check-tex
check-tex: ## compile chapters and figures with latexmk, where that is there
	if ! command -v latexmk > /dev/null; then
		echo "no latexmk; on Debian: apt install latexmk texlive-latex-extra texlive-pictures texlive-luatex texlive-lang-cyrillic cm-super fonts-liberation"
		exit 0
	fi
	go test ./bench/report -run '^TestLaTeX$$' -count=1 -timeout 15m -args -latex

.PHONY: lint
lint: tidy-check ## gofmt, vet, staticcheck, tidy-check
	unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	go vet ./...
	CGO_ENABLED=0 go vet ./...
	go run $(STATICCHECK) ./...
	(cd $(PLUGINS) && go vet ./... && go run $(STATICCHECK) ./...)
	(cd $(PEERS) && go vet ./...)

.PHONY: tidy-check
tidy-check: ## fail if go.mod or go.sum is not tidy
	for module in . $(PLUGINS) $(PEERS); do (cd $$module && go mod tidy -diff && go mod verify); done

.PHONY: cross
cross: ## build and vet for macOS and FreeBSD
	for os in darwin freebsd; do GOOS=$$os CGO_ENABLED=0 go build ./...; GOOS=$$os CGO_ENABLED=0 go vet ./...; done

.PHONY: deadcode
deadcode: ## fail if a function is reached from no program and no test
	dead=$$(go run $(DEADCODE) -test ./...)
	! grep -v _test.go: <<< "$$dead" | grep .

# It asks vuln.go.dev; where that cannot be reached, nothing is known, and nothing fails.
.PHONY: vuln
vuln: ## look for known vulnerabilities in what the programs call
	if ! found=$$(go run $(VULNCHECK) ./... 2>&1); then
		if [[ $$found == *"fetching vulnerabilities"* ]]; then echo "not checked: $$found"; exit 0; fi
		echo "$$found"; exit 1
	fi

# The hot paths, from the disk up: log stores, network, engine with its framing and
# persistence, trace, map, protocols with their clients, load generator. And what to run of
# them, how long each, and how often.
HOT       := ./backends ./transports ./engines/... ./core/trace ./kv ./kv/respapi ./kv/httpapi ./bench/workload
BENCH     ?= .
BENCHTIME ?= 300ms
COUNT     ?= 1

# PROGRAM: another than those in bin/, by its path. AUDIT: which of the two.
ROUNDS  ?= 20
PROGRAM ?=
AUDIT   ?= TestKvnode|TestPrograms

.PHONY: engine-audit
engine-audit: ## put kvnode with each engine, and the programs in bin/, through the suite of engines, with 20 rounds of faults (ROUNDS=20 PROGRAM=PATH)
	mkdir -p out
	go test -count=1 -timeout 2h -v -run '^($(AUDIT))$$' -artifacts -outputdir out ./engines/enginetest -rounds $(ROUNDS) $(if $(PROGRAM),-program '$(abspath $(PROGRAM))')

.PHONY: bench
bench: ## benchmarks of each hot path with allocations, in about two minutes; benchstat reads the output (BENCH=Propose BENCHTIME=2s COUNT=6)
	go test -run=NONE -bench='$(BENCH)' -benchtime=$(BENCHTIME) -count=$(COUNT) -benchmem -p=1 $(HOT)

.PHONY: clean
clean: ## remove what make built; runs stay
	rm -rf bin engines/programs/*/target engines/programs/*/build
