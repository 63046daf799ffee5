# `make demo` and `make test` do all the set-up on a machine with Rust, Python 3.11+ and make. See CONTRIBUTING.md.

PYTHON ?= $(firstword $(shell scripts/pythons) python3)
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml
PACKAGE := $(shell find python stubs -name '*.py' -o -name '*.pyi' -o -name py.typed)
SECONDS ?= 60

# Where cmake is missing, .venv has one (libopus is built with it).
export PATH := $(PATH):$(abspath $(BIN))

.PHONY: help demo test check bench bench-signalling bench-media wheel fuzz build test-rust test-python test-examples test-interop fmt clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     a PBX on this machine that calls itself, then waits for your phone"
	@echo "make test     all tests: Rust, Python (each version found), examples, real peers"
	@echo "make check    formatting, lints, types"
	@echo "make bench    what a call costs, beside a peer and the machine's own floor"
	@echo "make bench-signalling   registrar, passwords, idle connections, a flood"
	@echo "make bench-media   what RTP and audio cost, in the same way"
	@echo "make wheel    dist/ringback-*.whl"
	@echo "make fuzz SECONDS=60   each fuzz target for so long"

$(VENV)/.tools: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --group build --group test --group check 'numpy>=1.26' 'rich>=13.7'
	@command -v cmake >/dev/null || $(BIN)/python -m pip install -q cmake
	@touch $@

# The wheel, built optimised and installed into .venv: what is run, tested and measured is what users get.
$(VENV)/.built: $(VENV)/.tools $(NATIVE) $(PACKAGE)
	@echo "building ringback (the first time takes a few minutes)"
	@rm -f dist/ringback-*.whl
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin build --release --quiet --interpreter $(abspath $(BIN)/python) --out dist
	@$(BIN)/python -m pip install -q --force-reinstall --no-deps dist/ringback-*.whl
	@touch $@

build wheel: $(VENV)/.built

demo: build
	@$(BIN)/python -P -m ringback demo $(ARGS)

test: test-rust test-python test-examples test-interop

test-rust: $(VENV)/.tools
	cargo test --quiet --locked

test-python: wheel
	scripts/test-wheel tests/python tests/lifecycle

test-examples: build
	scripts/test-examples $(BIN)/python

test-interop: build
	scripts/peers $(BIN)/python
	$(BIN)/python -P -m pytest -q tests/interop

fmt:
	cargo fmt --all
	$(BIN)/ruff format python tests examples benches
	$(BIN)/ruff check --fix python tests examples benches

check: build
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff format --check python tests examples benches
	$(BIN)/ruff check python tests examples benches
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -P -m mypy.stubtest ringback._ringback
	PATH=$(abspath $(BIN)):$$PATH pyright --verifytypes ringback --ignoreexternal

bench: build
	$(BIN)/python benches/run.py $(ARGS)

bench-signalling: build
	$(BIN)/python benches/signalling.py $(ARGS)

bench-media: build
	$(BIN)/python benches/media.py $(ARGS)

# libFuzzer needs a nightly compiler or RUSTC_BOOTSTRAP; the targets' bodies run in `make test` as well, over seeded mutations.
fuzz:
	scripts/fuzz $(SECONDS)

clean:
	rm -rf target dist .venv .venv-3.* fuzz/target
