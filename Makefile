# Everything a newcomer needs; each target sets up what it uses. `make help` lists them.
PYTHON ?= $(shell command -v python3.12 || command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test check format doctor clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/ready ## The virtual environment, pinned by constraints.txt

demo: setup ## The whole loop on a small household, with real parts
	@$(BIN)/event-detection demo --folder $(DEMO)

ui: setup ## The Dagster UI at http://127.0.0.1:3000, on your Chronicle or on the demo's data
	@PATH="$(CURDIR)/$(BIN):$$PATH" BIN=$(BIN) DEMO=$(DEMO) sh scripts/ui.sh

doctor: setup ## What a run needs and what is missing
	@$(BIN)/event-detection doctor

test: setup ## The whole test suite
	$(BIN)/pytest

check: setup ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup ## Let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and the demo's data (never your own data)
	rm -rf $(VENV) $(DEMO)

$(VENV)/ready: pyproject.toml constraints.txt
	PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/setup.sh
	@touch $@
