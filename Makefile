# The commands of this repository. `make` alone lists them.
.PHONY: help demo test capture bench fuzz fmt packages

help:
	@echo "make demo     six real virtual machines boot, attest and are judged (ONCE=1: end when done)"
	@echo "make test     format, lints and every test"
	@echo "make bench    benchmarks, with their ratios to raw cost"
	@echo "make fuzz     fuzzes the parsers, SECONDS_EACH=60"
	@echo "make capture  boots variants and renews crates/testkit/corpus"
	@echo "make fmt      formats the code"
	@echo "make packages installs what demo and test need"

demo:
	@scripts/packages.sh build demo
	@cargo xtask demo

test:
	@scripts/packages.sh build demo test
	@scripts/test.sh

capture:
	@scripts/packages.sh build demo capture
	@cargo xtask capture

bench:
	@scripts/packages.sh build
	@cargo bench --workspace --benches

fuzz:
	@scripts/fuzz.sh

fmt:
	@cargo fmt --all

packages:
	@scripts/packages.sh build demo test
