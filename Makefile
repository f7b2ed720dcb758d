# `make demo` needs Python 3.11 or newer and make. `make test` also needs root, once, to install Redis, PostgreSQL and Chromium.
PYTHON ?= python3
FOLDER ?= samples
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# Exact versions with their hashes, so that an installation today equals the one that was tested.
LOCKED := $(PIP) --require-hashes --requirement
export CUEMILL_DATA_DIR ?= $(CURDIR)/.venv/data

.DEFAULT_GOAL := help
.PHONY: help demo trainer test check format bench faults docs lock services clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/serving ## Classify samples/, or FOLDER=..., and print the results
	$(BIN)/cuemill classify "$(FOLDER)"

trainer: $(VENV)/trainer ## Install what `cuemill train` needs

test: $(VENV)/development services ## Run all tests, with a private Redis and PostgreSQL and Chromium
	$(BIN)/python -m pytest

check: $(VENV)/development ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --package cuemill_client
	$(BIN)/lint-imports

format: $(VENV)/development ## Format the code and fix what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/development services ## Measure throughput against a plain script (10 minutes)
	$(BIN)/python -m benchmarks.end_to_end

faults: $(VENV)/development services ## Kill, stop and cut everything, and count what was lost (an hour)
	$(BIN)/python -m tests.faults

docs: $(VENV)/serving ## Regenerate docs/configuration.md, docs/errors.md, docs/demo.svg and docs/annotated.jpg
	$(BIN)/python -m docs.configuration
	$(BIN)/python -m docs.errors
	$(BIN)/python -m docs.demo

lock: ## Refresh requirements/ from pyproject.toml; UPGRADE=--upgrade takes newer versions
	PYTHON=$(PYTHON) requirements/lock.sh $(UPGRADE)

services: ## Install Redis, PostgreSQL, Chromium and curl from Debian, if they are missing
	@missing=; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	if [ -n "$$missing" ]; then \
		echo "Installing$$missing ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			$$missing >/dev/null; \
	fi

clean: ## Remove the virtual environment, the demo's database and all caches
	rm -rf $(VENV) *.egg-info build client/*.egg-info client/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		echo "Installing python3-venv ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
		$(PYTHON) -m venv --clear $(VENV); }

$(VENV)/serving: pyproject.toml requirements/serving.txt $(VENV)/bin/pip
	@echo "Installing Cuemill into $(VENV); the first time takes a minute ..."
	@$(LOCKED) requirements/serving.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/trainer: $(VENV)/serving requirements/trainer.txt
	@echo "Installing the trainer's libraries into $(VENV) ..."
	@$(LOCKED) requirements/trainer.txt
	@touch $@

$(VENV)/development: $(VENV)/serving requirements/development.txt
	@echo "Installing the trainer's libraries and the development tools into $(VENV) ..."
	@$(LOCKED) requirements/development.txt
	@touch $@
