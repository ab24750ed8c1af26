# One command each; every target does its own set-up. A fresh machine needs Python 3.11 or newer, and make.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV  := .venv
BIN   := $(VENV)/bin
# What serving needs, and what testing needs on top.
READY := $(VENV)/.ready
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup serve test check conformance torture bench demo mutants fuzz clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments;" \
	  "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(READY): pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMP): pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY) $@

setup: $(STAMP) ## the virtual environment with everything that the tests need

serve: $(READY) ## serve on 127.0.0.1:8080 (ARGS="--port 9090" for more)
	$(BIN)/mirror serve $(ARGS)

check: $(STAMP) ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## check, then the tests (about 7 minutes on 2 cores; ARGS="-k name" for some of them)
	$(BIN)/python -m tests.support.suite $(ARGS)

conformance: $(STAMP) ## run what the conformance table claims, and write docs/protocols/conformance.md and differences.md
	$(BIN)/pytest -m proves --numprocesses 2 --dist loadfile --conformance=docs/protocols/conformance.md $(ARGS)
	$(BIN)/python -m tests.conformance.differences

torture: $(STAMP) ## full counts of kills, faults, states and spellings; writes docs/torture-last-run.txt
	nice -n 10 $(BIN)/python -m pytest -q -p tests.support.tally --tally docs/torture-last-run.txt -m torture --timeout 3600 $(ARGS)

bench: $(STAMP) ## run every measurement under bench/
	@for file in bench/[a-z]*.py; do name=$$(basename "$$file" .py); echo "== $$name"; $(BIN)/python -m "bench.$$name" $(ARGS) || exit 1; done

demo: $(STAMP) ## a stand-in hub, the mirror, a sample policy and a few refusals; no network
	$(BIN)/python -m tests.support.demo $(ARGS)

mutants: $(STAMP) ## take each guard away in turn; its test must go red
	$(BIN)/python -m tests.mutants --write docs/traps-last-run.txt $(ARGS)

fuzz: $(STAMP) ## parsers, renderers and a whole mirror under hostile input, 3 minutes each (ARGS="--seconds 20 routing")
	$(BIN)/python -m tests.fuzz $(ARGS)

clean: ## the environment and all caches (the mirror's data under var/ stays)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find mirror tests -name __pycache__ -type d -prune -exec rm -rf {} +
