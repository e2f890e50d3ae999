# Every way into the checkout. The work is done in scripts/ and deploy/local/; this names it.
.DEFAULT_GOAL := help
.PHONY: help up down status build test bench-stream bench-sink bench-packing bench-query bench-analyzer bench-fleet eval-detection check-plans simulate-crashes fault-runs alert-fault-runs broken-builds fmt lint clean-data
# By the environment, not before the command: make then runs the script without a shell in between, whose death would hide make's.
export DETACH PARTS QUICK THREADS PEERS PROFILE SEED
MAKEFLAGS += --no-print-directory

help: ## this list
	@sed -n 's/^\([a-z%-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

up: ## install, build, start everything and print the page's address (DETACH=1: return when it is ready)
	@scripts/up.sh

down: ## stop what make up started
	@deploy/local/stack.sh down

status: ## what runs
	@deploy/local/stack.sh status

build: ## the pages and the programs
	@scripts/install.sh
	@scripts/web.sh build
	cargo build --release --locked --workspace

test: ## every suite; SUITES="fmt e2e" for some. The last line is the sum
	@scripts/test.sh $(SUITES)

bench-stream: ## the stream processor beside Kafka Streams and Flink (PARTS="frames rows", QUICK=1)
	@scripts/bench.sh stream

bench-sink: ## the sink beside psql's \copy of the same rows (QUICK=1)
	@scripts/bench.sh sink

bench-packing: ## a day of rows before and after packing: bytes a row, time of a read (QUICK=1)
	@scripts/bench.sh packing

bench-query: ## the query API's answers, from Redis and from PostgreSQL, beside a bare GET of Redis (QUICK=1)
	@scripts/bench.sh query

eval-detection: ## the detector on labelled series of ../shared/eval (TIDEWATCH_EVAL), beside its references and simple peers
	@scripts/eval.sh

bench-analyzer: ## the analyzer's core: values a second, bytes a series, its replay; Random Cut Forest beside it (PARTS="core forest", QUICK=1)
	@scripts/bench.sh analyzer

bench-fleet: ## what the analyzer says of a simulated fleet in which forty things go wrong (SEED=1, QUICK=1)
	@scripts/bench.sh fleet

check-plans: ## every statement planned on 50 M rows: none may read a large table from end to end (QUICK=1)
	@scripts/bench.sh plans

simulate-crashes: ## the window protocol's simulation over SEEDS logs (10,000 in make test)
	TIDEWATCH_SEEDS=$(or $(SEEDS),1000000) cargo test --release --locked -p tidewatch-stream-processor simulate

fault-runs: ## RUNS=60 runs of the stream processor under faults, from SEED=1 on
	@TIDEWATCH_MOVING_RUNS=$(or $(RUNS),60) TIDEWATCH_MOVING_SEED=$(or $(SEED),1) scripts/test.sh fault-runs

alert-fault-runs: ## the analyzer's alerts of INCIDENTS=1000 incidents under faults, against those of one left alone (SEED=1)
	@TIDEWATCH_MOVING_ALERTS_INCIDENTS=$(or $(INCIDENTS),1000) TIDEWATCH_MOVING_ALERTS_SEED=$(or $(SEED),1) scripts/test.sh alert-fault-runs

broken-builds: ## the fault runs against stream processors with one rule of the protocol broken each: every one has to be found
	@scripts/test.sh broken-builds

fmt: ## format the code
	cargo fmt --all

lint: ## format, clippy, shellcheck
	@scripts/test.sh fmt clippy shell

clean-data: ## forget all collected data, keys and logs
	@deploy/local/stack.sh forget
