# `make demo` and `make test` need Python 3.11+ and make; `make test` also root once, to install Redis and PostgreSQL.
PYTHON ?= python3
FOLDER ?= samples
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
export CUEMILL_DATA_DIR ?= $(CURDIR)/.venv/data

.DEFAULT_GOAL := help
.PHONY: help demo test faults check format services bench clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/serving ## Classify samples/, or FOLDER=..., and print the results
	$(BIN)/cuemill classify "$(FOLDER)"

test: $(VENV)/development services ## Run all tests, with a private Redis and PostgreSQL
	$(BIN)/python -m pytest

faults: $(VENV)/development services ## Kill, stop, cut and fill everything, in full doses, and print what was lost: nothing
	$(BIN)/python -m tests.faults

check: $(VENV)/development ## Check format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/development ## Format the code and mend what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

services: ## Install Redis and PostgreSQL from Debian, if they are missing
	@if ! command -v redis-server >/dev/null || ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
		echo "Installing redis-server and postgresql ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			redis-server postgresql >/dev/null; \
	fi

bench: $(VENV)/development services ## Measure the whole way against the bare network and a plain script
	$(BIN)/python -m benchmarks.end_to_end

clean: ## Remove the virtual environment and caches, and with it the demo's database
	rm -rf $(VENV) *.egg-info build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		echo "Installing python3-venv ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
		$(PYTHON) -m venv --clear $(VENV); }

$(VENV)/serving: pyproject.toml constraints.txt $(VENV)/bin/pip
	@echo "Installing Cuemill into $(VENV); the first time takes a minute ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/development: $(VENV)/serving
	@echo "Installing what training and tests need into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@
