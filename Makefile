# `make run` and `make test` do all their own set-up in .venv; the second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXPERIMENTS := $(basename $(notdir $(wildcard conf/experiment/*.yaml)))
# The versions that the tests ran on.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# What pip would do in one process, this does on all cores; a few files are for a newer Python.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint type docs bench smoke experiments build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	$(COMPILE)
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[peers,chinese,launch,tune,dashboards,dev]'
	$(COMPILE)
	@touch $(VENV)/run.stamp $@

run: $(VENV)/run.stamp ## set up, and train the main job: a Performer language model with Lion
	$(BIN)/suexp attention=performer optimizer=lion

test: $(VENV)/test.stamp ## set up, and run all tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-fast: $(VENV)/test.stamp ## the tests of less than a second each, for while you work
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup

lint: $(VENV)/test.stamp ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(VENV)/test.stamp ## static types
	$(BIN)/mypy

docs: $(VENV)/run.stamp ## README's tables, the cards and the maps of conf/ and src/suexp/
	$(BIN)/python scripts/docs.py

bench: $(VENV)/test.stamp ## speed, as ratios against peers
	for script in scripts/bench_*.py; do $(BIN)/python $$script || exit 1; done

smoke: $(VENV)/run.stamp ## every experiment in seconds; decides nothing
	for name in $(EXPERIMENTS); do $(BIN)/suexp experiment=$$name scale=smoke || exit 1; done

experiments: $(VENV)/run.stamp ## every experiment at laptop scale, its report recorded in experiments/
	for name in $(EXPERIMENTS); do $(BIN)/suexp experiment=$$name && $(BIN)/python scripts/record.py $$name || exit 1; done

build: $(VENV)/test.stamp ## wheel and source archive in dist/
	$(PIP) build
	$(BIN)/python -m build

clean: ## remove what these commands made, the results in outputs/ excepted
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
