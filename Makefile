# Two commands for a newcomer: `make demo` and `make test`. Everything else: `make help`.

# The first interpreter on this machine that qcov supports; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format bench lock clean

help: ## Show what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 14

setup: $(STAMP) ## Make the virtual environment in .venv (every other target does it when needed)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "qcov needs Python 3.11, 3.12 or 3.13: install one, or say PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml $(wildcard constraints/dev-*.txt)
	@echo "Setting up $(VENV): this takes some minutes, once ..."
	@$(PIP) install --quiet --editable '.[dev]' \
	  --constraint constraints/dev-$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
	@touch $@

demo: $(STAMP) ## Run the main job: the dissociation curve of H2 by VQE (ARGS="--help" for its options)
	$(BIN)/qcov demo $(ARGS)

test: $(STAMP) ## Run every test, in random order, and show the coverage of qcov
	$(BIN)/python -m pytest tests/unit -n logical --maxprocesses 4 --cov --cov-report=
	$(BIN)/python -m pytest tests/integration tests/security tests/services -n logical --maxprocesses 2 --cov --cov-append --cov-report=
	$(BIN)/python -m pytest tests/crash -n logical --maxprocesses 2 --cov --cov-append --cov-report=term

lint: $(STAMP) ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

check: lint ## The same, and the fast unit tests; under two minutes
	$(BIN)/python -m pytest tests/unit -q -m "not process and not slow" -n logical --maxprocesses 4 $(ARGS)

format: $(STAMP) ## Put the code into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure qcov against its yardsticks, side by side
	$(BIN)/python -m qcov_bench $(ARGS)

lock: ## Resolve the dependencies anew, for every supported Python that is installed
	for v in 3.11 3.12 3.13; do \
	  python$$v -c '' 2>/dev/null || { echo "python$$v is not here: its constraints stay as they are"; continue; }; \
	  python$$v -m venv --clear build/lock-$$v && build/lock-$$v/bin/python constraints/lock.py dev all || exit 1; \
	done

clean: ## Remove what was built, the virtual environment too
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
