# Every verb prepares .venv itself; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := embedded,demo,dev

.DEFAULT_GOAL := help
.PHONY: help run demo check test bench bench-check chaos clean format docs

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

run: $(VENV)/.ready ## the main job: OTLP on 4317/4318, everything under ./data
	$(BIN)/headrace run

demo: $(VENV)/.ready ## send a small shop's telemetry to `make run` and show what was stored
	$(BIN)/headrace demo

check: $(VENV)/.ready ## format, lint, types, import rules, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

test: $(VENV)/.ready ## all tests, with a real ClickHouse server that the suite starts by itself
	$(BIN)/python -m pytest

chaos: $(VENV)/.ready ## kill -9, cuts, outages and rebalances under load, embedded and on Kafka (about an hour); prints the fault tables
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos_kafka

bench: $(VENV)/.ready ## every number of the README
	$(BIN)/python -m bench

bench-check: $(VENV)/.ready ## fail if a stage has become slower than its baseline
	$(BIN)/python -m bench.check

format: $(VENV)/.ready ## rewrite the source the way `check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.ready ## rewrite docs/settings.md and docs/metrics.md
	$(BIN)/python -m docs.generate

clean: ## remove what the verbs made
	rm -rf $(VENV) .services data .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache *.egg-info
